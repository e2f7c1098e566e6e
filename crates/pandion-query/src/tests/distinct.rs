//! Columns of few distinct strings are tested string by string, with the same answers.

use super::*;

const ROWS: usize = 5000;

fn lake() -> (tokio::runtime::Runtime, Arc<Snapshot>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut schema = schema();
    schema.fields.retain(|field| [100, 101, 103, 105].contains(&field.id.0));
    let text = |row: usize| match row * 7919 % 6 {
        0 => None,
        1 => Some(String::new()),
        at => Some(format!("text {at}")),
    };
    let document = |row: usize| match row * 31 % 4 {
        0 => None,
        1 => Some("{\"k\": 1}".to_owned()),
        2 => Some("{\"k\": null}".to_owned()),
        _ => Some("no document".to_owned()),
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("A", Arc::new((0..ROWS).map(|row| Some(row as i32)).collect::<Int32Array>())),
        ("S", Arc::new((0..ROWS).map(text).collect::<StringArray>())),
        ("J", Arc::new((0..ROWS).map(document).collect::<StringArray>())),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(2100)).build();
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
    (runtime, Arc::new(snapshot))
}

#[test]
fn answers_are_those_of_every_row() {
    let (runtime, snapshot) = lake();
    let engine = QueryEngine::new(&EngineOptions::default()).unwrap();
    for (text, some) in [
        ("s == \"text 2\"", true),
        ("s != \"text 2\"", true),
        ("s == \"\"", true),
        ("s > \"text 3\"", true),
        ("s in [\"text 2\", \"text 4\", \"x\"]", true),
        ("s not in [\"text 2\"]", true),
        ("s like \"%3\"", true),
        ("s =~ \"[45]\"", true),
        ("s is null", true),
        ("s is not null", true),
        ("s is null or s == \"text 5\"", true),
        ("not (s == \"text 2\")", true),
        ("s == \"absent\"", false),
        ("s == \"text 2\" and a < 100", true),
        ("s == \"text 2\" and __virtual_pk__ > 0", true),
        ("j[\"k\"] == 1", true),
        ("j[\"k\"] is null", true),
        ("exists j[\"k\"]", true),
    ] {
        let ask = |filter_caches| {
            let filter = pandion_filter::parse(text, snapshot.schema(), &Templates::new());
            let options = QueryOptions { pruning: false, filter_caches, ..QueryOptions::default() };
            let request =
                QueryRequest { filter: Some(filter.unwrap()), options, ..QueryRequest::default() };
            runtime.block_on(engine.query(&snapshot, request)).unwrap()
        };
        let (plain, kept) = (ask(false), ask(true));
        assert_eq!(plain.rows, kept.rows, "{text}");
        assert_eq!(!plain.rows.is_empty(), some, "{text}");
        assert_eq!(kept.rows, ask(true).rows, "{text}: once more");
    }
}

#[test]
fn a_column_is_read_as_numbers_where_the_file_has_it_so() {
    let (runtime, snapshot) = lake();
    let (_, file) = snapshot.file(0).unwrap();
    let field = |name: &str| snapshot.schema().field(name).unwrap().clone();
    let io = IoStats::default();
    let read = |name: &str| runtime.block_on(file.read_dictionary(&field(name), 1, &io)).unwrap();
    let strings = ArrowType::Dictionary(Box::new(ArrowType::Int32), Box::new(ArrowType::Utf8));
    for name in ["s", "j"] {
        let column = read(name).unwrap();
        assert_eq!(column.data_type(), &strings);
        let plain = runtime.block_on(file.read(&[field(name)], 1, None, &io)).unwrap();
        let parts: Vec<&dyn arrow::array::Array> =
            plain.iter().map(|batch| batch.column(0).as_ref()).collect();
        let plain = arrow::compute::concat(&parts).unwrap();
        assert_eq!(&arrow::compute::cast(&column, &ArrowType::Utf8).unwrap(), &plain);
    }
    assert!(read("a").is_none());
}
