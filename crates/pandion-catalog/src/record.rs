//! The records of the catalogue, as they are stored.
//!
//! Every field but the ids has a default, so that a record that an older release wrote can be read.
//! No record holds a secret.

use std::collections::BTreeMap;
use std::fmt;

use pandion_index::scalar::{ScalarIndexSpec, resolve_spec};
use pandion_types::{
    CollectionId, CollectionSchema, FieldId, JobId, ManifestVersion, MetricType, Result,
};
use serde::{Deserialize, Deserializer, Serialize};

/// The name of the database that always exists.
pub const DEFAULT_DATABASE: &str = "default";

/// A database. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DatabaseId(pub i64);

impl DatabaseId {
    /// The default database.
    pub const DEFAULT: Self = Self(1);
}

impl fmt::Display for DatabaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An index of a collection. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IndexId(pub i64);

impl fmt::Display for IndexId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who may write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lease {
    /// Rises with every new holder; 0 before the first.
    pub epoch: u64,
    /// Name of the holder, for people.
    pub owner: String,
}

/// A name space of collections and aliases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Number of the database.
    pub id: DatabaseId,
    /// Name as clients use it.
    #[serde(default)]
    pub name: String,
    /// Properties as the user gave them.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// When it was created, in milliseconds since 1970; 0 for the default database.
    #[serde(default)]
    pub created_ms: i64,
}

/// A version of a collection's rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestPointer {
    /// The version.
    pub version: ManifestVersion,
    /// Path of the manifest in Pandion's own prefix.
    pub path: String,
    /// BLAKE3 of the manifest's bytes, in lower-case hexadecimal.
    #[serde(default)]
    pub digest: String,
    /// Rows of the version.
    #[serde(default)]
    pub rows: u64,
    /// Data files of the version.
    #[serde(default)]
    pub files: u64,
}

/// When a loaded collection serves a version that a refresh has published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishPolicy {
    /// At once.
    #[default]
    Immediate,
    /// After it was released and loaded again, as Milvus documents it.
    OnLoad,
}

/// A collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    /// Number of the collection.
    pub id: CollectionId,
    /// The database that it is in.
    pub database: DatabaseId,
    /// Name as clients use it.
    #[serde(default)]
    pub name: String,
    /// Fields, source and redacted specification.
    #[serde(default)]
    pub schema: CollectionSchema,
    /// Properties as the user gave them.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// Milvus's number of the consistency level; kept for descriptions only.
    #[serde(default)]
    pub consistency_level: i32,
    /// When it was created, in milliseconds since 1970.
    #[serde(default)]
    pub created_ms: i64,
    /// When its description last changed, in milliseconds since 1970.
    #[serde(default)]
    pub updated_ms: i64,
    /// The indexes. A field has at most one, a JSON field at most one for each path.
    #[serde(default, deserialize_with = "indexes_by_id")]
    pub indexes: BTreeMap<IndexId, IndexRecord>,
    /// Whether it may be queried.
    #[serde(default)]
    pub loaded: bool,
    /// What a load has chosen.
    #[serde(default)]
    pub publish: PublishPolicy,
    /// The newest published version; `None` before the first refresh.
    #[serde(default)]
    pub manifest: Option<ManifestPointer>,
    /// The version that was the newest at the load, under [`PublishPolicy::OnLoad`].
    #[serde(default)]
    pub loaded_manifest: Option<ManifestPointer>,
}

impl Collection {
    /// The version that queries read; `None` when it has no rows yet or is not loaded.
    #[must_use]
    pub fn serving(&self) -> Option<&ManifestPointer> {
        match self.publish {
            _ if !self.loaded => None,
            PublishPolicy::Immediate => self.manifest.as_ref(),
            PublishPolicy::OnLoad => self.loaded_manifest.as_ref(),
        }
    }

    /// The index with this name.
    #[must_use]
    pub fn index(&self, name: &str) -> Option<&IndexRecord> {
        self.indexes.values().find(|index| index.name == name)
    }

    /// The indexes of this field, oldest first.
    pub fn indexes_of(&self, field: FieldId) -> impl Iterator<Item = &IndexRecord> {
        self.indexes.values().filter(move |index| index.field == field)
    }

    /// The newest version; 0 before the first refresh.
    #[must_use]
    pub fn manifest_version(&self) -> ManifestVersion {
        self.manifest.as_ref().map_or(ManifestVersion(0), |pointer| pointer.version)
    }
}

/// An index of one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexRecord {
    /// Number of the index.
    pub id: IndexId,
    /// Name, unique in the collection.
    #[serde(default)]
    pub name: String,
    /// The field.
    pub field: FieldId,
    /// `index_type`, `metric_type` for vectors, and what else the user gave.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// How vectors are compared; `None` for other fields.
    #[serde(default)]
    pub metric: Option<MetricType>,
    /// When it was created, in milliseconds since 1970.
    #[serde(default)]
    pub created_ms: i64,
}

impl IndexRecord {
    /// What is built for the index; `None` when nothing is: for vectors, which are compared exactly,
    /// and for fields that do not come from the source.
    ///
    /// # Errors
    /// `InvalidArgument` when no such index can stand on the field, which an earlier release may
    /// have let pass.
    pub fn scalar_spec(&self, schema: &CollectionSchema) -> Result<Option<ScalarIndexSpec>> {
        match schema.field_by_id(self.field) {
            Some(field) if !field.data_type.is_vector() && field.external_field.is_some() => {
                resolve_spec(field, &self.params).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// Reads indexes whatever they are keyed by: earlier releases had one for each field, by the field's
/// number.
fn indexes_by_id<'de, D: Deserializer<'de>>(
    records: D,
) -> Result<BTreeMap<IndexId, IndexRecord>, D::Error> {
    let records = BTreeMap::<String, IndexRecord>::deserialize(records)?;
    Ok(records.into_values().map(|index| (index.id, index)).collect())
}

/// Another name of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The database that it is in, which is that of the collection.
    pub database: DatabaseId,
    /// The name.
    pub name: String,
    /// The collection.
    pub collection: CollectionId,
    /// When it was last pointed somewhere, in milliseconds since 1970.
    #[serde(default)]
    pub created_ms: i64,
}

/// Milvus's four states of a refresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Accepted.
    #[default]
    Pending,
    /// Running.
    InProgress,
    /// Published.
    Completed,
    /// Ended without effect.
    Failed,
}

impl JobState {
    /// Whether the job still holds its collection.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Pending | Self::InProgress)
    }

    /// The published number.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Pending => 0,
            Self::InProgress => 1,
            Self::Completed => 2,
            Self::Failed => 3,
        }
    }

    /// The published name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "RefreshPending",
            Self::InProgress => "RefreshInProgress",
            Self::Completed => "RefreshCompleted",
            Self::Failed => "RefreshFailed",
        }
    }
}

/// What a refresh found and what it cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Receipt {
    /// Files that are new under their path.
    pub files_added: u64,
    /// Files that are gone.
    pub files_removed: u64,
    /// Files whose content is new under an old path.
    pub files_changed: u64,
    /// Files whose content is as before.
    pub files_kept: u64,
    /// Rows of the published version.
    pub rows: u64,
    /// Pages of listings asked for.
    pub list_requests: u64,
    /// Reads of objects.
    pub read_requests: u64,
    /// Bytes of objects received.
    pub bytes_read: u64,
    /// Milliseconds spent on building indexes.
    pub index_ms: u64,
    /// Rows of the published version that every scalar index of the collection covers; 0 when it
    /// has none.
    pub rows_indexed: u64,
    /// Indexes of single files that could not be built; the rows of these files are scanned.
    pub index_failures: u64,
    /// Indexes of single files that were made from those of the files that they replace, without
    /// reading the data.
    pub indexes_remapped: u64,
}

/// A refresh of one collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshJob {
    /// Number of the job.
    pub id: JobId,
    /// The collection.
    pub collection: CollectionId,
    /// The collection's name when the job started.
    #[serde(default)]
    pub collection_name: String,
    /// The database of the collection.
    pub database: DatabaseId,
    /// What clients see.
    #[serde(default)]
    pub state: JobState,
    /// The step that is under way, or in which the job ended.
    #[serde(default)]
    pub step: String,
    /// 0 to 100; 100 only when completed.
    #[serde(default)]
    pub progress: u8,
    /// Why it failed; empty otherwise.
    #[serde(default)]
    pub reason: String,
    /// URI of the source that is read.
    #[serde(default)]
    pub source: String,
    /// Specification of the source, with every secret replaced by stars.
    #[serde(default)]
    pub spec: String,
    /// Whether source and specification replace those of the collection when the job completes.
    #[serde(default)]
    pub overrides_source: bool,
    /// The collection's version when the job started; 0 before the first refresh.
    #[serde(default = "no_version")]
    pub base_version: ManifestVersion,
    /// When it started, in milliseconds since 1970.
    #[serde(default)]
    pub start_ms: i64,
    /// When it ended, in milliseconds since 1970; 0 until then.
    #[serde(default)]
    pub end_ms: i64,
    /// What it found and cost, as far as it came.
    #[serde(default)]
    pub receipt: Receipt,
}

fn no_version() -> ManifestVersion {
    ManifestVersion(0)
}
