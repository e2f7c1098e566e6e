//! Whole tables, read as a refresh reads them and compared with what their writers know.

mod hostile;
mod places;
mod random;
mod requests;
mod samples;
mod spark;
mod sql;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use pandion_manifest::Manifest;
use pandion_source::{Connector, IoCounts, IoStats, SnapshotChoice, SourceFile, SourceRoot};
use pandion_testkit::iceberg::{Row, TableWriter};
use pandion_types::{
    CollectionId, CollectionSchema, DataType, FieldId, FieldSchema, FileId, ManifestVersion, Result,
};

use crate::{IcebergConnector, TablePlace};

/// The bucket that all tables here lie in.
const BASE_URI: &str = "s3://lake/";

fn field(id: i64, name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema::mapped(id, name, data_type)
}

fn vector(id: i64, name: &str, dim: usize) -> FieldSchema {
    let mut field = field(id, name, DataType::FloatVector);
    field.type_params.insert("dim".to_owned(), dim.to_string());
    field
}

fn schema(fields: Vec<FieldSchema>) -> Arc<CollectionSchema> {
    Arc::new(CollectionSchema { fields, ..CollectionSchema::default() })
}

/// A field for each column that samples keep through all changes.
fn sample_schema() -> Arc<CollectionSchema> {
    schema(vec![
        field(100, "id", DataType::Int64),
        field(101, "ts", DataType::Timestamptz),
        vector(102, "embedding", 8),
    ])
}

fn root(store: Arc<dyn ObjectStore>, prefix: &str) -> SourceRoot {
    SourceRoot { store, base_uri: BASE_URI.to_owned(), prefix: Path::from(prefix) }
}

fn connector(
    root: SourceRoot,
    choice: SnapshotChoice,
    schema: &Arc<CollectionSchema>,
) -> IcebergConnector {
    let place = TablePlace::at(root.prefix.clone());
    IcebergConnector::new(root, place, choice, Arc::clone(schema))
}

/// A connector to the folder of a table that was written for a test.
fn connector_to(
    table: &TableWriter,
    choice: SnapshotChoice,
    schema: &Arc<CollectionSchema>,
) -> IcebergConnector {
    connector(root(table.place().store(), "table"), choice, schema)
}

/// What a refresh makes of a table: a manifest that obeys all rules.
async fn refresh(
    connector: &IcebergConnector,
    before: Option<&Manifest>,
) -> Result<(Manifest, IoCounts)> {
    let stats = IoStats::default();
    let state = connector.resolve(before, &stats).await?;
    complete(connector, state, before, stats).await
}

/// Numbers the files, asks for the dead rows, and checks the manifest.
async fn complete(
    connector: &IcebergConnector,
    state: pandion_source::SourceState,
    before: Option<&Manifest>,
    stats: IoStats,
) -> Result<(Manifest, IoCounts)> {
    let uris: Vec<_> = state.files.iter().map(|file| file.identity().uri.clone()).collect();
    assert!(uris.is_sorted_by(|left, right| left < right), "not sorted, or twice: {uris:?}");
    let known: BTreeMap<_, _> = before
        .into_iter()
        .flat_map(|before| &before.files)
        .map(|file| (file.identity.uri.clone(), file.id))
        .collect();
    let mut next_file_id = before.map_or(1, |before| before.next_file_id);
    let mut files = Vec::new();
    for file in state.files {
        let SourceFile::Known(mut file) = file else { panic!("tables know their files") };
        file.id = known.get(&file.identity.uri).copied().unwrap_or_else(|| {
            next_file_id += 1;
            FileId::new(next_file_id - 1).unwrap()
        });
        files.push(*file);
    }
    files.sort_by_key(|file| file.id);
    let mut manifest = Manifest {
        collection: CollectionId(1),
        version: ManifestVersion(before.map_or(1, |before| before.version.0 + 1)),
        next_file_id,
        schema_version: 0,
        table: state.table,
        files,
    };
    let vectors = connector.delete_vectors(before, &manifest, &stats).await?;
    assert_eq!(vectors.len(), manifest.files.len());
    for (file, vector) in manifest.files.iter_mut().zip(vectors) {
        file.deletes = vector;
    }
    manifest.check().unwrap();
    Ok((manifest, stats.counts()))
}

/// The live rows, as file and number in it.
fn live_rows(manifest: &Manifest) -> BTreeSet<(String, u64)> {
    let rows = manifest.files.iter().flat_map(|file| {
        let is_live = |row: &u64| {
            let row = u32::try_from(*row).unwrap();
            file.deletes.as_ref().is_none_or(|dead| !dead.contains(row))
        };
        (0..file.rows()).filter(is_live).map(|row| (file.identity.uri.clone(), row))
    });
    rows.collect()
}

fn expected_rows(rows: &[Row]) -> BTreeSet<(String, u64)> {
    rows.iter().map(|row| (row.file.clone(), row.position)).collect()
}
