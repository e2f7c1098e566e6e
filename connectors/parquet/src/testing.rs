//! Files for tests: written in memory, opened from an in-memory store.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pandion_source::{IoStats, PinnedObject};
use pandion_types::{ContentTag, DataType, FieldId, FieldSchema, FileIdentity, Result};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use crate::{ParquetFile, read_footer};

/// A field `name` that is mapped to the column of the same name.
pub(crate) fn field(name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema {
        id: FieldId(100),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        element_type: None,
        nullable: true,
        is_primary_key: false,
        auto_id: false,
        external_field: Some(name.to_owned()),
        type_params: std::collections::BTreeMap::new(),
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
