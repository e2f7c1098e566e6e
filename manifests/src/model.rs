//! The manifest in memory.

use bytes::Bytes;
use pandion_types::{CollectionId, FieldId, FileId, FileIdentity, ManifestVersion};

/// One immutable version of a collection's rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The collection.
    pub collection: CollectionId,
    /// The version, counted from 1.
    pub version: ManifestVersion,
    /// The next file id to hand out: larger than any id ever given, also to files now gone.
    pub next_file_id: u32,
    /// Version of the collection's schema that the columns were checked against.
    pub schema_version: i32,
    /// The data files, sorted by file id.
    pub files: Vec<DataFile>,
}

/// One file of the lake and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFile {
    /// The collection's number for this identity.
    pub id: FileId,
    /// Path inside the source's object store.
    pub location: String,
    /// The content that every read is pinned to.
    pub identity: FileIdentity,
    /// BLAKE3 of `footer`.
    pub footer_digest: [u8; 32],
    /// Rows of each row group, in order.
    pub row_groups: Vec<u64>,
    /// Statistics of the mapped columns, sorted by field.
    pub columns: Vec<ColumnStatistics>,
    /// The Parquet footer (thrift `FileMetaData`, without the trailing length and magic), so that
    /// it is read from the lake once per identity.
    pub footer: Bytes,
}

/// What a file's metadata says of one mapped column.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnStatistics {
    /// The field that the column is mapped to.
    pub field: FieldId,
    /// Rows without a value; `None` when unknown.
    pub null_count: Option<u64>,
    /// A lower bound of the values; `None` when unknown.
    pub min: Option<StatValue>,
    /// An upper bound of the values; `None` when unknown.
    pub max: Option<StatValue>,
}

/// A bound of a column's values.
#[derive(Clone, Debug, PartialEq)]
pub enum StatValue {
    /// A boolean.
    Bool(bool),
    /// Int8 to Int64, and Timestamptz in microseconds.
    Int(i64),
    /// Float and Double; never NaN.
    Float(f64),
    /// `VarChar` and Text.
    String(String),
}

impl DataFile {
    /// Rows of the file.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.row_groups.iter().sum()
    }
}

impl Manifest {
    /// Rows of all files.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.files.iter().map(DataFile::rows).sum()
    }

    /// The file with this id.
    #[must_use]
    pub fn file(&self, id: FileId) -> Option<&DataFile> {
        self.files.binary_search_by_key(&id, |file| file.id).ok().map(|at| &self.files[at])
    }
}
