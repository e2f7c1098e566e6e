//! Manifests for the tests of this crate.

use bytes::Bytes;
use pandion_types::{CollectionId, ContentTag, FieldId, FileId, FileIdentity, ManifestVersion};

use crate::{
    Bucket, ColumnStatistics, DataFile, DeleteFile, DeleteKind, DeleteVector, Manifest,
    RetiredFile, StatValue, TableColumn, TableFile, TableState,
};

pub(crate) fn manifest(files: Vec<DataFile>) -> Manifest {
    Manifest {
        collection: CollectionId(42),
        version: ManifestVersion(7),
        next_file_id: files.last().map_or(1, |file| file.id.get() + 1),
        schema_version: 3,
        table: None,
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
        deletes: None,
        table: None,
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

/// The manifest that the golden file of format version 2 holds: a table, with deletes of every
/// kind, and a file whose footer has not been read. Never changed either.
pub(crate) fn golden_v2() -> Manifest {
    let mut read = data_file(2, vec![100, 28]);
    read.identity.tag = ContentTag::Immutable;
    read.deletes = DeleteVector::new([0, 64, 127].into_iter().collect());
    read.table = Some(TableFile {
        manifest: 1,
        sequence_number: 4,
        spec_id: 1,
        partition: "[\"a\",null]".into(),
        first_row_id: Some(1000),
        constants: vec![(FieldId(100), Some(StatValue::String("a".into()))), (FieldId(101), None)],
        buckets: vec![
            Bucket { field: FieldId(100), buckets: 16, bucket: Some(3) },
            Bucket { field: FieldId(101), buckets: 4, bucket: None },
        ],
        deletes: vec![0, 1, 2],
    });
    let mut unread = data_file(5, vec![0]);
    unread.identity.tag = ContentTag::Immutable;
    unread.footer = Bytes::new();
    unread.footer_digest = *blake3::hash(&[]).as_bytes();
    unread.table = Some(TableFile::default());
    let mut manifest = manifest(vec![read, unread]);
    manifest.table = Some(table());
    manifest
}

fn table() -> TableState {
    let delete = |name: &str, kind| DeleteFile {
        location: format!("lake/{name}"),
        uri: format!("s3://lake.example/bucket/lake/{name}"),
        size: 60,
        records: 3,
        kind,
        manifest: 1,
        sequence_number: 5,
        spec_id: 1,
        partition: "[\"a\",null]".into(),
        data_file: None,
    };
    let equality = DeleteKind::Equality { column_ids: vec![1, 7], global: true };
    let mut vector = delete("vectors.puffin", DeleteKind::Vector { offset: 4, length: 50 });
    vector.data_file = Some("s3://bucket/lake/part-2.parquet".into());
    let column = |field: i64, default| TableColumn {
        field: FieldId(field),
        column_id: 7,
        name: "label".into(),
        names: vec!["Label".into(), "label".into()],
        column_type: "string".into(),
        default,
    };
    let retired =
        |id: u32| RetiredFile { uri: format!("{id}"), id: FileId::new(id).unwrap(), since_ms: 4 };
    TableState {
        uuid: "9c12d441-03fe-4693-9a96-a0705ddf69c1".into(),
        metadata_location: "s3://bucket/lake/metadata/v3.metadata.json".into(),
        snapshot_id: Some(-3_051_729_675_574_597_004),
        sequence_number: 5,
        timestamp_ms: 1_780_000_000_000,
        oldest_snapshot_ms: 1_770_000_000_000,
        schema_id: 2,
        manifests: vec!["s3://bucket/lake/a.avro".into(), "s3://bucket/lake/b.avro".into()],
        columns: vec![column(100, Some(StatValue::Bool(true))), column(101, None)],
        deletes: vec![
            delete("positions.parquet", DeleteKind::Position),
            delete("keys.parquet", equality),
            vector,
        ],
        retired: vec![retired(1), retired(3)],
    }
}
