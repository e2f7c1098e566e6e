//! Scalar indexes over the files of a lake.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use pandion_index::scalar::{ScalarIndexSpec, resolve_spec};
use pandion_query::{
    EngineOptions, IndexedField, QueryEngine, ScalarSegments, SegmentKey, Snapshot, build_segments,
};
use pandion_source::IoStats;
use pandion_types::{CollectionSchema, DataType, FieldSchema};
use tokio::sync::Semaphore;

/// Bytes of indexes kept in memory.
const BYTES_MAX: usize = 64 << 20;

/// The paths of JSON fields that are indexed, as clients write them after the field's name.
const PATHS: [&str; 4] = [r#"["k"]"#, r#"["l"]"#, r#"["k"]["l"]"#, r#"["k"][0]"#];

/// The casts of JSON indexes.
const CASTS: [&str; 6] =
    ["BOOL", "DOUBLE", "VARCHAR", "ARRAY_BOOL", "ARRAY_DOUBLE", "ARRAY_VARCHAR"];

/// The kinds of index; each is put on every field that it may stand on.
pub const KINDS: [&str; 7] =
    ["AUTOINDEX", "INVERTED", "BITMAP", "STL_SORT", "TRIE", "NGRAM", "RTREE"];

/// An engine, and a snapshot of the lake whose fields have indexes of one kind.
#[derive(Debug)]
pub struct Indexed {
    /// What answers.
    pub engine: QueryEngine,
    /// The files, as one manifest version names them.
    pub snapshot: Arc<Snapshot>,
}

/// Builds every index of this kind that the collection may have.
///
/// # Errors
/// Those of building.
pub(super) async fn build(
    snapshot: &Snapshot,
    kind: &str,
    options: &EngineOptions,
) -> Result<Indexed> {
    let wanted = wanted(snapshot.schema(), kind);
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let segments = Arc::new(ScalarSegments::load(store, BYTES_MAX).await?);
    let cores = Arc::new(Semaphore::new(1));
    for at in 0..snapshot.manifest().files.len() {
        let stats = Arc::new(IoStats::default());
        let (_, file) = snapshot.open(at, &stats).await?;
        let built = build_segments(file, wanted.clone(), &stats, &cores).await;
        for ((field, spec), index) in wanted.iter().zip(built) {
            let keys = SegmentKey::of_files(snapshot.manifest(), field, spec);
            segments.put(&keys[at], index?).await?;
        }
    }
    let indexed = wanted.into_iter().map(|(field, spec)| IndexedField { field: field.id, spec });
    let snapshot = snapshot.clone().with_scalar_indexes(indexed.collect());
    let options = EngineOptions { scalar_segments: Some(segments), ..options.clone() };
    Ok(Indexed { engine: QueryEngine::new(&options)?, snapshot: Arc::new(snapshot) })
}

fn wanted(schema: &CollectionSchema, kind: &str) -> Vec<(FieldSchema, ScalarIndexSpec)> {
    let mut wanted = Vec::new();
    for field in schema.mapped_fields().filter(|field| !field.data_type.is_vector()) {
        let mut params = BTreeMap::from([("index_type".to_owned(), kind.to_owned())]);
        if kind == "NGRAM" {
            params.insert("min_gram".to_owned(), "2".to_owned());
            params.insert("max_gram".to_owned(), "3".to_owned());
        }
        if field.data_type != DataType::Json {
            wanted.extend(resolve_spec(field, &params).ok().map(|spec| (field.clone(), spec)));
            continue;
        }
        for path in PATHS {
            for cast in CASTS {
                params.insert("json_path".to_owned(), format!("{}{path}", field.name));
                params.insert("json_cast_type".to_owned(), cast.to_owned());
                wanted.extend(resolve_spec(field, &params).ok().map(|spec| (field.clone(), spec)));
            }
        }
    }
    wanted
}
