//! Row groups are left out by their Bloom filters, and no row that matches is.

use arrow::array::Int64Array;
use parquet::file::properties::EnabledStatistics;

use super::*;

const ROWS: i64 = 4000;

/// One file of two row groups, whose values alternate, so that statistics cannot tell them apart.
fn lake(bloom: bool) -> (tokio::runtime::Runtime, QueryEngine, Arc<Snapshot>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut schema = schema();
    schema.fields.retain(|field| [100, 101, 103].contains(&field.id.0));
    schema.fields[1].data_type = DataType::Int64;
    let value = |row: i64| row % (ROWS / 2) * 2 + row / (ROWS / 2);
    let values: Int64Array = (0..ROWS).map(value).collect();
    let texts: StringArray = (0..ROWS).map(|row| Some(format!("text {}", value(row)))).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![("A", Arc::new(values)), ("S", Arc::new(texts))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(ROWS as usize / 2))
        .set_bloom_filter_enabled(bloom)
        .set_bloom_filter_ndv(ROWS as u64 / 2)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_dictionary_enabled(false)
        .build();
    let file = runtime.block_on(put_file(&store, 0, &batch, properties, &schema));
    let manifest = Manifest {
        collection: CollectionId(1),
        version: ManifestVersion(1),
        next_file_id: 2,
        schema_version: 0,
        table: None,
        files: vec![file],
    };
    let snapshot = Snapshot::new(Arc::new(schema), Arc::new(manifest), store, None);
    let engine = QueryEngine::new(&EngineOptions::default()).unwrap();
    (runtime, engine, Arc::new(snapshot))
}

#[test]
fn a_row_group_whose_filter_does_not_know_the_value_is_left_out() {
    let (runtime, engine, snapshot) = lake(true);
    let (_, unfiltered, without) = lake(false);
    for (text, rows, groups_left) in [
        // Odd numbers are in the second row group only.
        ("a == 101", 1, 1),
        ("a == 100", 1, 1),
        ("a in [100, 101]", 2, 2),
        ("s == \"text 7\"", 1, 1),
        ("s == \"text 7\" and a > 0", 1, 1),
        ("s in [\"text 7\", \"text -1\"]", 1, 1),
        ("a == 101 or s == \"text 8\"", 2, 2),
    ] {
        let filter = |snapshot: &Snapshot| {
            Some(pandion_filter::parse(text, snapshot.schema(), &Templates::new()).unwrap())
        };
        let ask = |engine: &QueryEngine, snapshot: &Arc<Snapshot>| {
            let options = QueryOptions { filter_caches: false, ..QueryOptions::default() };
            let filter = filter(snapshot);
            let request = QueryRequest { filter, options, ..QueryRequest::default() };
            runtime.block_on(engine.query(snapshot, request)).unwrap()
        };
        let found = ask(&engine, &snapshot);
        assert_eq!(found.rows.len(), rows, "{text}");
        assert_eq!(found.rows, ask(&unfiltered, &without).rows, "{text}");
        let left = found.cost.row_groups - found.cost.row_groups_pruned;
        // A filter may take a value for one that it knows.
        assert!(left >= groups_left, "{text}: {:?}", found.cost);
        if groups_left == 1 {
            assert_eq!(left, 1, "{text}: {:?}", found.cost);
        }
    }
}
