//! Manifests for the tests of this crate.

use bytes::Bytes;
use pandion_types::{CollectionId, ContentTag, FieldId, FileId, FileIdentity, ManifestVersion};

use crate::{ColumnStatistics, DataFile, Manifest, StatValue};

pub(crate) fn manifest(files: Vec<DataFile>) -> Manifest {
    Manifest {
        collection: CollectionId(42),
        version: ManifestVersion(7),
        next_file_id: files.last().map_or(1, |file| file.id.get() + 1),
        schema_version: 3,
        files,
    }
}

pub(crate) fn data_file(id: u32, row_groups: Vec<u64>) -> DataFile {
    let footer = Bytes::from(format!("footer of file {id}"));
    DataFile {
        id: FileId::new(id).unwrap(),
        location: format!("lake/part-{id}.parquet"),
        identity: FileIdentity {
            uri: format!("s3://lake.example/bucket/lake/part-{id}.parquet"),
            size: 1000 + u64::from(id),
            tag: ContentTag::ETag(format!("\"{id:032x}\"")),
        },
        footer_digest: *blake3::hash(&footer).as_bytes(),
        row_groups,
        columns: Vec::new(),
        footer,
    }
}

pub(crate) fn column(field: i64, min: StatValue, max: StatValue) -> ColumnStatistics {
    ColumnStatistics { field: FieldId(field), null_count: Some(0), min: Some(min), max: Some(max) }
}

/// The manifest that the golden file of format version 1 holds. Never changed: a later version of
/// the format gets a sample and a file of its own.
pub(crate) fn golden_v1() -> Manifest {
    let mut first = data_file(2, vec![100, 0, 28]);
    first.columns = vec![
        column(100, StatValue::Int(-5), StatValue::Int(i64::MAX)),
        column(101, StatValue::Float(-0.5), StatValue::Float(f64::INFINITY)),
        column(102, StatValue::String(String::new()), StatValue::String("öst".into())),
        column(103, StatValue::Bool(false), StatValue::Bool(true)),
        ColumnStatistics { field: FieldId(104), null_count: None, min: None, max: None },
        ColumnStatistics {
            field: FieldId(105),
            null_count: Some(128),
            min: None,
            max: Some(StatValue::Int(0)),
        },
    ];
    let mut second = data_file(i32::MAX as u32, vec![u64::from(u32::MAX)]);
    second.identity.tag = ContentTag::Version(
        "3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY+MTRCxf3vjVBH40Nr8X8gdRQBpUMLUo".into(),
    );
    second.footer = Bytes::new();
    second.footer_digest = *blake3::hash(&second.footer).as_bytes();
    manifest(vec![first, data_file(9, Vec::new()), second])
}
