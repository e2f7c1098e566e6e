//! The messages of what is kept of a table.

use pandion_types::{Error, FieldId, FileId, Result};

use super::Bound;
use crate::{Bucket, DeleteFile, DeleteKind, RetiredFile, TableColumn, TableFile, TableState};

/// The snapshot of a table.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Table {
    #[prost(string, tag = "1")]
    uuid: String,
    #[prost(string, tag = "2")]
    metadata_location: String,
    #[prost(sint64, optional, tag = "3")]
    snapshot_id: Option<i64>,
    #[prost(int64, tag = "4")]
    sequence_number: i64,
    #[prost(int64, tag = "5")]
    timestamp_ms: i64,
    #[prost(int32, tag = "6")]
    schema_id: i32,
    #[prost(string, repeated, tag = "7")]
    manifests: Vec<String>,
    #[prost(message, repeated, tag = "8")]
    columns: Vec<Column>,
    #[prost(message, repeated, tag = "9")]
    deletes: Vec<Delete>,
    #[prost(message, repeated, tag = "10")]
    retired: Vec<Retired>,
    #[prost(int64, tag = "11")]
    oldest_snapshot_ms: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Column {
    #[prost(int64, tag = "1")]
    field: i64,
    #[prost(int32, tag = "2")]
    column_id: i32,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, repeated, tag = "4")]
    names: Vec<String>,
    #[prost(string, tag = "5")]
    column_type: String,
    #[prost(message, optional, tag = "6")]
    default: Option<Bound>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Delete {
    #[prost(string, tag = "1")]
    location: String,
    #[prost(string, tag = "2")]
    uri: String,
    #[prost(uint64, tag = "3")]
    size: u64,
    #[prost(uint64, tag = "4")]
    records: u64,
    #[prost(oneof = "Kind", tags = "5, 6, 7")]
    kind: Option<Kind>,
    #[prost(uint32, tag = "8")]
    manifest: u32,
    #[prost(int64, tag = "9")]
    sequence_number: i64,
    #[prost(int32, tag = "10")]
    spec_id: i32,
    #[prost(string, tag = "11")]
    partition: String,
    #[prost(string, optional, tag = "12")]
    data_file: Option<String>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "5")]
    Position(Nothing),
    #[prost(message, tag = "6")]
    Equality(Equality),
    #[prost(message, tag = "7")]
    Vector(Vector),
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Nothing {}

#[derive(Clone, PartialEq, prost::Message)]
struct Equality {
    #[prost(int32, repeated, tag = "1")]
    column_ids: Vec<i32>,
    #[prost(bool, tag = "2")]
    global: bool,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Vector {
    #[prost(uint64, tag = "1")]
    offset: u64,
    #[prost(uint64, tag = "2")]
    length: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Retired {
    #[prost(string, tag = "1")]
    uri: String,
    #[prost(uint32, tag = "2")]
    id: u32,
    #[prost(int64, tag = "3")]
    since_ms: i64,
}

/// A table's part of one file.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OfFile {
    #[prost(uint32, tag = "1")]
    manifest: u32,
    #[prost(int64, tag = "2")]
    sequence_number: i64,
    #[prost(int32, tag = "3")]
    spec_id: i32,
    #[prost(string, tag = "4")]
    partition: String,
    #[prost(int64, optional, tag = "5")]
    first_row_id: Option<i64>,
    #[prost(message, repeated, tag = "6")]
    constants: Vec<Constant>,
    #[prost(message, repeated, tag = "7")]
    buckets: Vec<InBucket>,
    #[prost(uint32, repeated, tag = "8")]
    deletes: Vec<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Constant {
    #[prost(int64, tag = "1")]
    field: i64,
    #[prost(message, optional, tag = "2")]
    value: Option<Bound>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct InBucket {
    #[prost(int64, tag = "1")]
    field: i64,
    #[prost(uint32, tag = "2")]
    buckets: u32,
    #[prost(uint32, optional, tag = "3")]
    bucket: Option<u32>,
}

impl Table {
    pub(crate) fn of(table: &TableState) -> Self {
        Self {
            uuid: table.uuid.clone(),
            metadata_location: table.metadata_location.clone(),
            snapshot_id: table.snapshot_id,
            sequence_number: table.sequence_number,
            timestamp_ms: table.timestamp_ms,
            oldest_snapshot_ms: table.oldest_snapshot_ms,
            schema_id: table.schema_id,
            manifests: table.manifests.clone(),
            columns: table.columns.iter().map(Column::of).collect(),
            deletes: table.deletes.iter().map(Delete::of).collect(),
            retired: table
                .retired
                .iter()
                .map(|file| Retired {
                    uri: file.uri.clone(),
                    id: file.id.get(),
                    since_ms: file.since_ms,
                })
                .collect(),
        }
    }

    pub(crate) fn into_model(self) -> Result<TableState> {
        let retired = self.retired.into_iter().map(|file| {
            Ok(RetiredFile { uri: file.uri, id: FileId::new(file.id)?, since_ms: file.since_ms })
        });
        Ok(TableState {
            uuid: self.uuid,
            metadata_location: self.metadata_location,
            snapshot_id: self.snapshot_id,
            sequence_number: self.sequence_number,
            timestamp_ms: self.timestamp_ms,
            oldest_snapshot_ms: self.oldest_snapshot_ms,
            schema_id: self.schema_id,
            manifests: self.manifests,
            columns: self.columns.into_iter().map(Column::into_model).collect::<Result<_>>()?,
            deletes: self.deletes.into_iter().map(Delete::into_model).collect::<Result<_>>()?,
            retired: retired.collect::<Result<_>>()?,
        })
    }
}

impl Column {
    fn of(column: &TableColumn) -> Self {
        Self {
            field: column.field.0,
            column_id: column.column_id,
            name: column.name.clone(),
            names: column.names.clone(),
            column_type: column.column_type.clone(),
            default: column.default.as_ref().map(Bound::of),
        }
    }

    fn into_model(self) -> Result<TableColumn> {
        Ok(TableColumn {
            field: FieldId(self.field),
            column_id: self.column_id,
            name: self.name,
            names: self.names,
            column_type: self.column_type,
            default: self.default.map(Bound::into_model).transpose()?,
        })
    }
}

impl Delete {
    fn of(delete: &DeleteFile) -> Self {
        let kind = match &delete.kind {
            DeleteKind::Position => Kind::Position(Nothing {}),
            DeleteKind::Equality { column_ids, global } => {
                Kind::Equality(Equality { column_ids: column_ids.clone(), global: *global })
            }
            DeleteKind::Vector { offset, length } => {
                Kind::Vector(Vector { offset: *offset, length: *length })
            }
        };
        Self {
            location: delete.location.clone(),
            uri: delete.uri.clone(),
            size: delete.size,
            records: delete.records,
            kind: Some(kind),
            manifest: delete.manifest,
            sequence_number: delete.sequence_number,
            spec_id: delete.spec_id,
            partition: delete.partition.clone(),
            data_file: delete.data_file.clone(),
        }
    }

    fn into_model(self) -> Result<DeleteFile> {
        let kind = match self.kind {
            Some(Kind::Position(_)) => DeleteKind::Position,
            Some(Kind::Equality(Equality { column_ids, global })) => {
                DeleteKind::Equality { column_ids, global }
            }
            Some(Kind::Vector(Vector { offset, length })) => DeleteKind::Vector { offset, length },
            None => return Err(Error::invalid_argument("a delete file without a kind")),
        };
        Ok(DeleteFile {
            location: self.location,
            uri: self.uri,
            size: self.size,
            records: self.records,
            kind,
            manifest: self.manifest,
            sequence_number: self.sequence_number,
            spec_id: self.spec_id,
            partition: self.partition,
            data_file: self.data_file,
        })
    }
}

impl OfFile {
    pub(crate) fn of(file: &TableFile) -> Self {
        let constants = file.constants.iter().map(|(field, value)| Constant {
            field: field.0,
            value: value.as_ref().map(Bound::of),
        });
        let buckets = file.buckets.iter().map(|bucket| InBucket {
            field: bucket.field.0,
            buckets: bucket.buckets,
            bucket: bucket.bucket,
        });
        Self {
            manifest: file.manifest,
            sequence_number: file.sequence_number,
            spec_id: file.spec_id,
            partition: file.partition.clone(),
            first_row_id: file.first_row_id,
            constants: constants.collect(),
            buckets: buckets.collect(),
            deletes: file.deletes.clone(),
        }
    }

    pub(crate) fn into_model(self) -> Result<TableFile> {
        let constants = self.constants.into_iter().map(|constant| {
            let value = constant.value.map(Bound::into_model).transpose()?;
            Ok((FieldId(constant.field), value))
        });
        let buckets = self.buckets.into_iter().map(|bucket| Bucket {
            field: FieldId(bucket.field),
            buckets: bucket.buckets,
            bucket: bucket.bucket,
        });
        Ok(TableFile {
            manifest: self.manifest,
            sequence_number: self.sequence_number,
            spec_id: self.spec_id,
            partition: self.partition,
            first_row_id: self.first_row_id,
            constants: constants.collect::<Result<_>>()?,
            buckets: buckets.collect(),
            deletes: self.deletes,
        })
    }
}
