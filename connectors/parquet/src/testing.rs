//! Files for tests: written in memory, opened from an in-memory store.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Fields, Schema};
use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pandion_manifest::TableColumn;
use pandion_source::{IoStats, PinnedObject};
use pandion_types::{ContentTag, DataType, FieldSchema, FileIdentity, Result};
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use parquet::file::properties::WriterProperties;

use crate::{ParquetFile, read_footer};

/// A field `name` that is mapped to the column of the same name.
pub(crate) fn field(name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema {
        type_params: std::collections::BTreeMap::new(),
        ..FieldSchema::mapped(100, name, data_type)
    }
}

/// As [`field`], of a dimension.
pub(crate) fn vector_field(name: &str, data_type: DataType, dim: usize) -> FieldSchema {
    let mut field = field(name, data_type);
    field.type_params.insert("dim".to_owned(), dim.to_string());
    field
}

/// A file of these columns.
pub(crate) fn write(columns: &[(&str, ArrayRef)], properties: WriterProperties) -> Bytes {
    let columns = columns.iter().map(|(name, array)| (*name, Arc::clone(array), true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    Bytes::from(bytes)
}

/// The bytes as an object of a store.
pub(crate) async fn object(bytes: Bytes) -> PinnedObject {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let location = Path::from("a.parquet");
    let size = bytes.len() as u64;
    store.put(&location, bytes.into()).await.unwrap();
    let tag = store.head(&location).await.unwrap().e_tag.unwrap();
    let identity =
        FileIdentity { uri: "s3://bucket/a.parquet".to_owned(), size, tag: ContentTag::ETag(tag) };
    PinnedObject::new(store, location, identity)
}

/// Opens a file as a refresh does, from its footer in the store.
pub(crate) async fn try_open(bytes: Bytes) -> Result<ParquetFile> {
    let object = object(bytes).await;
    let footer = read_footer(&object, &IoStats::default()).await?;
    ParquetFile::open(object, &footer)
}

/// A file that must be openable.
pub(crate) async fn open(bytes: Bytes) -> ParquetFile {
    try_open(bytes).await.unwrap()
}

/// A file of these columns, each with its id, if it has one.
pub(crate) fn write_with_ids(
    columns: &[(&str, Option<i32>, ArrayRef)],
    properties: WriterProperties,
) -> Bytes {
    let fields: Fields = columns
        .iter()
        .map(|(name, id, array)| {
            let id = id.map(|id| (PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string()));
            Field::new(*name, array.data_type().clone(), true)
                .with_metadata(id.into_iter().collect())
        })
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let arrays = columns.iter().map(|(_, _, array)| Arc::clone(array)).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema, Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    Bytes::from(bytes)
}

/// The column of a table that `field` is read from.
pub(crate) fn table_column(field: &FieldSchema, column_id: i32, column_type: &str) -> TableColumn {
    TableColumn {
        field: field.id,
        column_id,
        name: field.external_field.clone().unwrap(),
        names: Vec::new(),
        column_type: column_type.to_owned(),
        default: None,
    }
}
