//! What every command does and says.

mod aliases;
mod collections;
mod databases;
mod indexes;
mod jobs;
mod loads;

use std::sync::Arc;

use object_store::memory::InMemory;
use pandion_types::{
    CollectionId, CollectionSchema, DataType, Error, ErrorKind, FieldId, FieldSchema, JobId,
    ManifestVersion, MetricType, Result, Secret, Subject,
};

use super::*;
use crate::{
    Catalog, CatalogOptions, Collection, JobState, ManifestPointer, ObjectMetastore, PublishPolicy,
    Receipt,
};

async fn catalog() -> Catalog {
    let metastore = ObjectMetastore::open(Arc::new(InMemory::new())).await.unwrap();
    Catalog::open(Arc::new(metastore), CatalogOptions::default()).await.unwrap()
}

fn field(id: i64, name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema::mapped(id, name, data_type)
}

fn request(name: &str) -> CreateCollection {
    let fields = vec![
        field(101, "v", DataType::FloatVector),
        field(102, "n", DataType::Int64),
        field(103, "bits", DataType::BinaryVector),
    ];
    let schema = CollectionSchema {
        fields,
        external_source: "s3://b/p".to_owned(),
        external_spec: "{}".to_owned(),
        ..CollectionSchema::default()
    };
    CreateCollection {
        database: String::new(),
        name: name.to_owned(),
        schema,
        secret: None,
        properties: BTreeMap::new(),
        consistency_level: 2,
        now_ms: 10,
    }
}

/// A catalogue with the collections `c` and `d`.
async fn with_collections() -> Catalog {
    let catalog = catalog().await;
    for name in ["c", "d"] {
        catalog.create_collection(request(name)).await.unwrap();
    }
    catalog
}

fn error<T: std::fmt::Debug>(outcome: Result<T>) -> (ErrorKind, Subject, String) {
    let error: Error = outcome.unwrap_err();
    (error.kind(), error.subject(), error.to_string())
}

fn text<T: std::fmt::Debug>(outcome: Result<T>) -> String {
    error(outcome).2
}

fn set(name: &str, value: &str) -> PropertyChange {
    PropertyChange { set: [(name.to_owned(), value.to_owned())].into(), delete: Vec::new() }
}

fn delete(name: &str) -> PropertyChange {
    PropertyChange { set: BTreeMap::new(), delete: vec![name.to_owned()] }
}
