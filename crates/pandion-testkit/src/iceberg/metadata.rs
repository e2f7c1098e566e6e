//! Table metadata: what a `metadata.json` says, as JSON of the table's format version. Written here
//! and not by a library, so that its clock, its ids and its order follow from the seed.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use iceberg::spec::{
    DEFAULT_SCHEMA_NAME_MAPPING, FormatVersion, MAIN_BRANCH, MappedField, NameMapping,
    NestedFieldRef, PartitionSpec, PartitionSpecRef, SchemaRef, SnapshotReference, TableMetadata,
    Type,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// A snapshot, as the metadata lists it.
#[derive(Clone, Debug)]
pub(super) struct SnapshotEntry {
    pub(super) id: i64,
    pub(super) parent: Option<i64>,
    pub(super) sequence_number: i64,
    pub(super) timestamp_ms: i64,
    pub(super) manifest_list: String,
    /// Holds the operation, too.
    pub(super) summary: BTreeMap<String, String>,
    pub(super) schema_id: i32,
    /// First row id and number of rows that got one. Format version 3 only.
    pub(super) row_range: Option<(u64, u64)>,
}

/// The state of a table but for what its manifests hold.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    pub(super) format_version: FormatVersion,
    pub(super) uuid: Uuid,
    pub(super) location: String,
    pub(super) last_sequence_number: i64,
    pub(super) last_updated_ms: i64,
    pub(super) last_column_id: i32,
    /// In the order of their ids, which are their positions.
    pub(super) schemas: Vec<SchemaRef>,
    pub(super) current_schema_id: i32,
    /// In the order of their ids, which are their positions.
    pub(super) specs: Vec<PartitionSpecRef>,
    pub(super) default_spec_id: i32,
    pub(super) last_partition_id: i32,
    pub(super) properties: BTreeMap<String, String>,
    pub(super) snapshots: Vec<SnapshotEntry>,
    /// Time in milliseconds and snapshot, for every state of the main branch.
    pub(super) snapshot_log: Vec<(i64, i64)>,
    /// Time in milliseconds and URI of earlier metadata.
    pub(super) metadata_log: Vec<(i64, String)>,
    pub(super) refs: BTreeMap<String, SnapshotReference>,
    pub(super) next_row_id: u64,
    /// Every name that a top-level field ever had, if the table is read by name.
    pub(super) names: Option<BTreeMap<i32, Vec<String>>>,
}

impl Metadata {
    /// The schema in force.
    ///
    /// # Errors
    /// None in practice.
    pub(super) fn schema(&self) -> anyhow::Result<SchemaRef> {
        self.schema_by_id(self.current_schema_id)
    }

    /// The schema with an id.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn schema_by_id(&self, id: i32) -> anyhow::Result<SchemaRef> {
        let found = self.schemas.iter().find(|schema| schema.schema_id() == id);
        found.map(Arc::clone).with_context(|| format!("the table has no schema {id}"))
    }

    /// The partition spec with an id.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn spec_by_id(&self, id: i32) -> anyhow::Result<PartitionSpecRef> {
        let found = self.specs.iter().find(|spec| spec.spec_id() == id);
        found.map(Arc::clone).with_context(|| format!("the table has no partition spec {id}"))
    }

    /// A spec without fields, which is added if there is none. The default stays.
    pub(super) fn unpartitioned_spec(&mut self) -> PartitionSpecRef {
        if let Some(found) = self.specs.iter().find(|spec| spec.fields().is_empty()) {
            return Arc::clone(found);
        }
        let id = self.specs.iter().map(|spec| spec.spec_id()).max().map_or(0, |id| id + 1);
        let spec = Arc::new(PartitionSpec::unpartition_spec().with_spec_id(id));
        self.specs.push(Arc::clone(&spec));
        spec
    }

    /// The head of a branch or the snapshot of a tag.
    pub(super) fn reference(&self, name: &str) -> Option<i64> {
        self.refs.get(name).map(|reference| reference.snapshot_id)
    }

    /// The bytes of the metadata file.
    ///
    /// # Errors
    /// Metadata that another implementation does not take.
    pub(super) fn bytes(&self, gzip: bool) -> anyhow::Result<Bytes> {
        let text = serde_json::to_vec_pretty(&self.to_json()?).context("cannot write metadata")?;
        let parsed: TableMetadata =
            serde_json::from_slice(&text).context("the metadata is not well-formed")?;
        ensure!(parsed.current_snapshot_id() == self.reference(MAIN_BRANCH), "another snapshot");
        if !gzip {
            return Ok(text.into());
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&text).context("cannot compress metadata")?;
        Ok(encoder.finish().context("cannot compress metadata")?.into())
    }

    fn to_json(&self) -> anyhow::Result<Value> {
        let mut json = self.common()?;
        let mut add = |name: &str, value: Value| json.insert(name.to_owned(), value);
        if self.format_version == FormatVersion::V1 {
            // Readers of version 1 look for the one schema and the one spec.
            let spec = self.spec_by_id(self.default_spec_id)?;
            add("schema", serde_json::to_value(self.schema()?.as_ref())?);
            add("partition-spec", serde_json::to_value(spec.fields())?);
        } else {
            add("last-sequence-number", json!(self.last_sequence_number));
        }
        if self.format_version >= FormatVersion::V3 {
            add("next-row-id", json!(self.next_row_id));
        }
        Ok(Value::Object(json))
    }

    fn common(&self) -> anyhow::Result<Map<String, Value>> {
        let schemas: Vec<_> = self.schemas.iter().map(AsRef::as_ref).collect();
        let specs: Vec<_> = self.specs.iter().map(AsRef::as_ref).collect();
        let log = |(timestamp_ms, id): &(i64, i64)| json!({ "timestamp-ms": timestamp_ms, "snapshot-id": id });
        let metadata_log = |(timestamp_ms, uri): &(i64, String)| json!({ "timestamp-ms": timestamp_ms, "metadata-file": uri });
        let snapshots = self.snapshots.iter().map(|snapshot| self.snapshot(snapshot));
        let json = json!({
            "format-version": number(self.format_version),
            "table-uuid": self.uuid.to_string(),
            "location": self.location,
            "last-updated-ms": self.last_updated_ms,
            "last-column-id": self.last_column_id,
            "schemas": schemas,
            "current-schema-id": self.current_schema_id,
            "partition-specs": specs,
            "default-spec-id": self.default_spec_id,
            "last-partition-id": self.last_partition_id,
            "properties": self.properties()?,
            "current-snapshot-id": self.reference(MAIN_BRANCH).unwrap_or(-1),
            "snapshots": snapshots.collect::<Vec<Value>>(),
            "snapshot-log": self.snapshot_log.iter().map(log).collect::<Vec<Value>>(),
            "metadata-log": self.metadata_log.iter().map(metadata_log).collect::<Vec<Value>>(),
            "refs": self.refs,
            "sort-orders": [{ "order-id": 0, "fields": [] }],
            "default-sort-order-id": 0,
            "statistics": [],
            "partition-statistics": [],
        });
        match json {
            Value::Object(map) => Ok(map),
            _ => Ok(Map::new()),
        }
    }

    fn snapshot(&self, snapshot: &SnapshotEntry) -> Value {
        let mut json = json!({
            "snapshot-id": snapshot.id,
            "timestamp-ms": snapshot.timestamp_ms,
            "manifest-list": snapshot.manifest_list,
            "summary": snapshot.summary,
            "schema-id": snapshot.schema_id,
        });
        if let Some(parent) = snapshot.parent {
            json["parent-snapshot-id"] = json!(parent);
        }
        if self.format_version > FormatVersion::V1 {
            json["sequence-number"] = json!(snapshot.sequence_number);
        }
        if let Some((first, rows)) = snapshot.row_range {
            json["first-row-id"] = json!(first);
            json["added-rows"] = json!(rows);
        }
        json
    }

    fn properties(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut properties = self.properties.clone();
        if let Some(names) = &self.names {
            let fields = self.schema()?.as_struct().fields().to_vec();
            let mapping = NameMapping::new(mapped(&fields, names));
            let text = serde_json::to_string(&mapping).context("cannot write the name mapping")?;
            properties.insert(DEFAULT_SCHEMA_NAME_MAPPING.to_owned(), text);
        }
        Ok(properties)
    }
}

/// The number of a format version.
pub(super) fn number(version: FormatVersion) -> u8 {
    match version {
        FormatVersion::V1 => 1,
        FormatVersion::V2 => 2,
        FormatVersion::V3 => 3,
    }
}

fn mapped(fields: &[NestedFieldRef], names: &BTreeMap<i32, Vec<String>>) -> Vec<MappedField> {
    fields
        .iter()
        .map(|field| {
            let known = names.get(&field.id).cloned();
            let nested = match field.field_type.as_ref() {
                Type::Primitive(_) => Vec::new(),
                Type::Struct(nested) => mapped(nested.fields(), names),
                Type::List(list) => mapped(std::slice::from_ref(&list.element_field), names),
                Type::Map(map) => {
                    mapped(&[Arc::clone(&map.key_field), Arc::clone(&map.value_field)], names)
                }
            };
            let known = known.unwrap_or_else(|| vec![field.name.clone()]);
            MappedField::new(Some(field.id), known, nested)
        })
        .collect()
}
