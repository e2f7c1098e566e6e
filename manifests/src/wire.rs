//! The messages of the body, and their conversion from and to the model.
//!
//! The conversion checks what the model's types demand; [`Manifest::check`](crate::Manifest::check)
//! does the rest.

mod table;

use bytes::Bytes;
use pandion_types::{ContentTag, Error, FieldId, FileId, FileIdentity, Result};

use crate::{ColumnStatistics, DataFile, Manifest, StatValue};

use table::OfFile;
pub(crate) use table::Table;

/// What stands before the files.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Head {
    #[prost(int64, tag = "1")]
    pub(crate) collection: i64,
    #[prost(uint64, tag = "2")]
    pub(crate) version: u64,
    #[prost(uint32, tag = "3")]
    pub(crate) next_file_id: u32,
    #[prost(int32, tag = "4")]
    pub(crate) schema_version: i32,
    #[prost(uint64, tag = "5")]
    pub(crate) file_count: u64,
}

/// One file, without its footer.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct File {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(string, tag = "2")]
    location: String,
    #[prost(string, tag = "3")]
    uri: String,
    #[prost(uint64, tag = "4")]
    size: u64,
    #[prost(oneof = "Mark", tags = "5, 6, 10")]
    tag: Option<Mark>,
    #[prost(bytes = "vec", tag = "7")]
    footer_digest: Vec<u8>,
    #[prost(uint64, repeated, tag = "8")]
    row_groups: Vec<u64>,
    #[prost(message, repeated, tag = "9")]
    columns: Vec<Column>,
    #[prost(message, optional, tag = "11")]
    table: Option<OfFile>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Mark {
    #[prost(string, tag = "5")]
    ETag(String),
    #[prost(string, tag = "6")]
    Version(String),
    #[prost(bool, tag = "10")]
    Immutable(bool),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Column {
    #[prost(int64, tag = "1")]
    field: i64,
    #[prost(uint64, optional, tag = "2")]
    null_count: Option<u64>,
    #[prost(message, optional, tag = "3")]
    min: Option<Bound>,
    #[prost(message, optional, tag = "4")]
    max: Option<Bound>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Bound {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(bool, tag = "1")]
    Bool(bool),
    #[prost(sint64, tag = "2")]
    Int(i64),
    #[prost(double, tag = "3")]
    Float(f64),
    #[prost(string, tag = "4")]
    String(String),
}

impl Head {
    pub(crate) fn of(manifest: &Manifest) -> Self {
        Self {
            collection: manifest.collection.0,
            version: manifest.version.0,
            next_file_id: manifest.next_file_id,
            schema_version: manifest.schema_version,
            file_count: manifest.files.len() as u64,
        }
    }
}

impl File {
    pub(crate) fn of(file: &DataFile) -> Self {
        let tag = match &file.identity.tag {
            ContentTag::ETag(tag) => Mark::ETag(tag.clone()),
            ContentTag::Version(version) => Mark::Version(version.clone()),
            ContentTag::Immutable => Mark::Immutable(true),
        };
        Self {
            id: file.id.get(),
            location: file.location.clone(),
            uri: file.identity.uri.clone(),
            size: file.identity.size,
            tag: Some(tag),
            footer_digest: file.footer_digest.to_vec(),
            row_groups: file.row_groups.clone(),
            columns: file.columns.iter().map(Column::of).collect(),
            table: file.table.as_ref().map(OfFile::of),
        }
    }

    pub(crate) fn into_model(self, footer: Bytes) -> Result<DataFile> {
        let id = FileId::new(self.id)?;
        let missing = |what| Error::invalid_argument(format!("file {id} has no {what}"));
        let tag = match self.tag.ok_or_else(|| missing("content tag"))? {
            Mark::ETag(tag) => ContentTag::ETag(tag),
            Mark::Version(version) => ContentTag::Version(version),
            Mark::Immutable(_) => ContentTag::Immutable,
        };
        let footer_digest = self
            .footer_digest
            .as_slice()
            .try_into()
            .map_err(|_error| missing("footer digest of 32 bytes"))?;
        Ok(DataFile {
            id,
            location: self.location,
            identity: FileIdentity { uri: self.uri, size: self.size, tag },
            footer_digest,
            row_groups: self.row_groups,
            columns: self.columns.into_iter().map(Column::into_model).collect::<Result<_>>()?,
            footer,
            deletes: None,
            table: self.table.map(OfFile::into_model).transpose()?,
        })
    }
}

impl Column {
    fn of(column: &ColumnStatistics) -> Self {
        Self {
            field: column.field.0,
            null_count: column.null_count,
            min: column.min.as_ref().map(Bound::of),
            max: column.max.as_ref().map(Bound::of),
        }
    }

    fn into_model(self) -> Result<ColumnStatistics> {
        Ok(ColumnStatistics {
            field: FieldId(self.field),
            null_count: self.null_count,
            min: self.min.map(Bound::into_model).transpose()?,
            max: self.max.map(Bound::into_model).transpose()?,
        })
    }
}

impl Bound {
    pub(crate) fn of(value: &StatValue) -> Self {
        let value = match value {
            StatValue::Bool(value) => Value::Bool(*value),
            StatValue::Int(value) => Value::Int(*value),
            StatValue::Float(value) => Value::Float(*value),
            StatValue::String(value) => Value::String(value.clone()),
        };
        Self { value: Some(value) }
    }

    pub(crate) fn into_model(self) -> Result<StatValue> {
        match self.value {
            Some(Value::Bool(value)) => Ok(StatValue::Bool(value)),
            Some(Value::Int(value)) => Ok(StatValue::Int(value)),
            Some(Value::Float(value)) => Ok(StatValue::Float(value)),
            Some(Value::String(value)) => Ok(StatValue::String(value)),
            None => Err(Error::invalid_argument("a bound without a value")),
        }
    }
}
