#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "the numbers are small"
)]

use std::collections::BTreeMap;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int8Array, Int64Array,
    ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use object_store::memory::InMemory;
use pandion_connector_parquet::{ParquetFile, read_footer};
use pandion_filter::{PathSegment, Templates};
use pandion_index::scalar::{IndexedValues, JsonCast, Lookup, ScalarIndexKind};
use pandion_manifest::{DataFile, Manifest};
use pandion_source::{IoStats, PinnedObject};
use pandion_types::{
    CollectionId, CollectionSchema, ContentTag, DataType, FileId, ManifestVersion, VIRTUAL_PK_NAME,
};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use tokio::sync::Semaphore;

use super::*;
use crate::{EngineOptions, QueryOptions, QueryRequest};

const ROWS: usize = 250;

fn field(id: i64, name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema {
        id: FieldId(id),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        element_type: (data_type == DataType::Array).then_some(DataType::VarChar),
        nullable: true,
        is_primary_key: id == 100,
        auto_id: id == 100,
        external_field: (id != 100).then(|| name.to_uppercase()),
        type_params: BTreeMap::new(),
    }
}

fn schema() -> CollectionSchema {
    let fields = [
        (100, VIRTUAL_PK_NAME, DataType::Int64),
        (101, "flag", DataType::Bool),
        (102, "tiny", DataType::Int8),
        (103, "big", DataType::Int64),
        (104, "real", DataType::Float),
        (105, "wide", DataType::Double),
        (106, "text", DataType::VarChar),
        (107, "at", DataType::Timestamptz),
        (108, "tags", DataType::Array),
        (109, "doc", DataType::Json),
        // Of the type of another: the index of neither may answer for the other.
        (110, "small", DataType::Int64),
    ];
    let fields = fields.map(|(id, name, data_type)| field(id, name, data_type));
    CollectionSchema { fields: fields.into(), ..CollectionSchema::default() }
}

/// `None` for some rows, in a rhythm of its own for each column.
fn some<T>(row: usize, rhythm: usize, value: T) -> Option<T> {
    (row % rhythm != 1).then_some(value)
}

fn batch() -> RecordBatch {
    let rows = || 0..ROWS;
    let mut tags = ListBuilder::new(StringBuilder::new());
    for row in rows() {
        if let Some(count) = some(row, 9, row % 4) {
            (0..count).for_each(|at| tags.values().append_value(format!("t{}", (row + at) % 6)));
            tags.append(true);
        } else {
            tags.append(false);
        }
    }
    let doc = |row: usize| match row % 6 {
        0 => format!("{{\"n\": {}, \"t\": [\"x{}\", 1]}}", row / 3, row % 5),
        1 => format!("{{\"n\": {}.5}}", row / 3),
        2 => format!("{{\"n\": \"s{}\", \"t\": [\"x{}\"]}}", row % 7, row % 3),
        3 => "{\"n\": null}".to_owned(),
        4 => format!("{{\"n\": [{row}], \"t\": []}}"),
        _ => "{\"m\": 1}".to_owned(),
    };
    let micros = rows().map(|row| some(row, 6, row as i64 * 86_400_000_000));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("FLAG", Arc::new(rows().map(|row| some(row, 5, row % 3 == 0)).collect::<BooleanArray>())),
        ("TINY", Arc::new(rows().map(|row| some(row, 7, (row % 40) as i8)).collect::<Int8Array>())),
        ("BIG", Arc::new(rows().map(|row| some(row, 8, row as i64 / 2)).collect::<Int64Array>())),
        (
            "REAL",
            Arc::new(rows().map(|row| some(row, 4, row as f32 / 4.0)).collect::<Float32Array>()),
        ),
        (
            "WIDE",
            Arc::new(rows().map(|row| some(row, 3, row as f64 / 8.0)).collect::<Float64Array>()),
        ),
        (
            "TEXT",
            Arc::new(
                rows().map(|row| some(row, 5, format!("w{}", row % 30))).collect::<StringArray>(),
            ),
        ),
        ("AT", Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))),
        ("TAGS", Arc::new(tags.finish())),
        ("DOC", Arc::new(rows().map(|row| some(row, 10, doc(row))).collect::<StringArray>())),
        ("SMALL", Arc::new(rows().map(|row| some(row, 3, row as i64 % 9)).collect::<Int64Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, v)| (n, v, true)))
        .unwrap()
}

async fn data_file(store: &Arc<dyn ObjectStore>, name: &str, batch: &RecordBatch) -> DataFile {
    let mut bytes = Vec::new();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(100)).build();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    let location = Path::from(name);
    store.put(&location, Bytes::from(bytes).into()).await.unwrap();
    let meta = store.head(&location).await.unwrap();
    let identity = FileIdentity {
        uri: format!("memory://{name}"),
        size: meta.size,
        tag: ContentTag::ETag(meta.e_tag.unwrap()),
    };
    let object = PinnedObject::new(Arc::clone(store), location, identity);
    let footer = read_footer(&object, &IoStats::default()).await.unwrap();
    let open = ParquetFile::open(object.clone(), &footer).unwrap();
    let groups = open.metadata().row_groups().iter();
    DataFile {
        id: FileId::FIRST,
        location: name.to_owned(),
        identity: object.identity,
        footer_digest: [0; 32],
        row_groups: groups.map(|group| u64::try_from(group.num_rows()).unwrap()).collect(),
        columns: Vec::new(),
        footer,
        deletes: None,
        table: None,
    }
}

fn name_of(identity: &FileIdentity, field: &FieldSchema, spec: &ScalarIndexSpec) -> SegmentKey {
    let column = field.external_field.as_ref().unwrap_or(&field.name);
    SegmentKey::of_file(of_column(column, field, spec), identity)
}

fn open_file(store: &Arc<dyn ObjectStore>, file: &DataFile) -> ParquetFile {
    let location = Path::from(file.location.as_str());
    let object = PinnedObject::new(Arc::clone(store), location, file.identity.clone());
    ParquetFile::open(object, &file.footer).unwrap()
}

fn spec(kind: ScalarIndexKind, values: IndexedValues) -> ScalarIndexSpec {
    ScalarIndexSpec { kind, values }
}

fn json(cast: JsonCast, key: &str) -> ScalarIndexSpec {
    let path = vec![PathSegment::Key(key.to_owned())];
    spec(ScalarIndexKind::Inverted, IndexedValues::Json { path, cast })
}

/// An index on every field, and on two paths of the JSON field.
fn wanted(schema: &CollectionSchema) -> Vec<(FieldSchema, ScalarIndexSpec)> {
    let mut wanted = Vec::new();
    for field in schema.mapped_fields().cloned() {
        let values = match (field.data_type, field.element_type) {
            (DataType::Json, _) => {
                wanted.push((field.clone(), json(JsonCast::Double, "n")));
                wanted.push((field.clone(), json(JsonCast::TextElements, "t")));
                continue;
            }
            (DataType::Array, Some(element)) => IndexedValues::Elements(element),
            (data_type, _) => IndexedValues::Field(data_type),
        };
        wanted.push((field, spec(ScalarIndexKind::Inverted, values)));
    }
    wanted
}

async fn empty_segments() -> (Arc<dyn ObjectStore>, ScalarSegments) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let segments = ScalarSegments::load(Arc::clone(&store), 1 << 20).await.unwrap();
    (store, segments)
}

fn cores() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1))
}

/// The bytes of an index of three rows.
fn small_index() -> Bytes {
    let values = IndexedValues::Field(DataType::Int64);
    let mut builder =
        pandion_index::scalar::scalar_index_builder(&spec(ScalarIndexKind::Inverted, values))
            .unwrap();
    for value in [5, 7, 5] {
        builder.push(pandion_index::scalar::Datum::Int(value)).unwrap();
    }
    builder.finish().unwrap()
}

fn key(name: &str) -> SegmentKey {
    let identity = FileIdentity {
        uri: format!("s3://host/bucket/{name}"),
        size: 10,
        tag: ContentTag::ETag("tag".to_owned()),
    };
    let values = IndexedValues::Field(DataType::Int64);
    name_of(
        &identity,
        &field(103, "big", DataType::Int64),
        &spec(ScalarIndexKind::Inverted, values),
    )
}

#[test]
fn a_name_depends_on_all_that_decides_the_content() {
    let identity = FileIdentity {
        uri: "s3://host/bucket/a".to_owned(),
        size: 10,
        tag: ContentTag::ETag("tag".to_owned()),
    };
    let column = field(103, "big", DataType::Int64);
    let of_field = |data_type| spec(ScalarIndexKind::Inverted, IndexedValues::Field(data_type));
    let same = || name_of(&identity, &column, &of_field(DataType::Int64));
    assert_eq!(same(), same());
    assert_eq!(SegmentKey::from_path(&same().path()), Some(same()));

    let mut names = HashSet::from([same()]);
    let mut differs = |identity: &FileIdentity, field: &FieldSchema, spec: &ScalarIndexSpec| {
        assert!(names.insert(name_of(identity, field, spec)), "{identity} {field:?} {spec:?}");
    };
    let other = |change: &dyn Fn(&mut FileIdentity)| {
        let mut identity = identity.clone();
        change(&mut identity);
        identity
    };
    let int64 = of_field(DataType::Int64);
    differs(&other(&|it| it.uri.push('b')), &column, &int64);
    differs(&other(&|it| it.size = 11), &column, &int64);
    differs(&other(&|it| it.tag = ContentTag::ETag("other".into())), &column, &int64);
    differs(&other(&|it| it.tag = ContentTag::Version("tag".into())), &column, &int64);
    let renamed = FieldSchema { external_field: Some("OTHER".into()), ..column.clone() };
    differs(&identity, &renamed, &int64);
    differs(&identity, &field(103, "big", DataType::Int8), &int64);
    differs(&identity, &column, &of_field(DataType::Int8));
    differs(&identity, &column, &spec(ScalarIndexKind::Bitmap, int64.values.clone()));
    differs(&identity, &column, &json(JsonCast::Double, "n"));
    differs(&identity, &column, &json(JsonCast::Double, "m"));
    differs(&identity, &column, &json(JsonCast::Text, "n"));
    // The name that clients use is none of it, nor is the field's number.
    let same_column = FieldSchema { name: "huge".into(), id: FieldId(200), ..column.clone() };
    assert_eq!(name_of(&identity, &same_column, &int64), same());
}

#[tokio::test]
async fn segments_are_found_again_after_a_restart() {
    let (store, segments) = empty_segments().await;
    assert!(segments.open(&key("a"), 3).await.is_none());
    segments.put(&key("a"), small_index()).await.unwrap();
    for segments in [segments, ScalarSegments::load(store, 1 << 20).await.unwrap()] {
        assert_eq!(segments.keys(), [key("a")]);
        assert_eq!(segments.open(&key("a"), 3).await.unwrap().rows(), 3);
        assert_eq!(segments.usage().entries, 1);
        assert!(segments.open(&key("b"), 3).await.is_none());
        assert_eq!(segments.missing(vec![key("b"), key("a")]).await, [key("b")]);
        assert_eq!(segments.sum_present([(&key("a"), 3), (&key("b"), 4)]), 3);
        assert_eq!(segments.damaged(), 0);
    }
}

#[tokio::test]
async fn damaged_segments_are_as_good_as_missing_and_can_be_replaced() {
    let whole = |key: &SegmentKey| [&small_index()[..], &key.0].concat();
    let mut flipped = whole(&key("a"));
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let cut = whole(&key("a"))[..middle].to_vec();
    let cases = [flipped, cut, Vec::new(), vec![0; 40], whole(&key("b"))];
    for bytes in cases {
        let (store, segments) = empty_segments().await;
        segments.put(&key("a"), small_index()).await.unwrap();
        store.put(&key("a").path(), Bytes::from(bytes).into()).await.unwrap();
        let losses = segments.losses();
        for _ in 0..2 {
            assert!(segments.open(&key("a"), 3).await.is_none());
        }
        assert!(losses.has_changed().unwrap());
        assert_eq!((segments.damaged(), segments.contains(&key("a"))), (1, false));
        segments.put(&key("a"), small_index()).await.unwrap();
        assert!(segments.open(&key("a"), 3).await.is_some());
    }
}

#[tokio::test]
async fn a_segment_that_does_not_fit_its_file_or_is_gone_is_not_used() {
    let (store, segments) = empty_segments().await;
    segments.put(&key("a"), small_index()).await.unwrap();
    assert!(segments.open(&key("a"), 4).await.is_none());
    segments.put(&key("b"), small_index()).await.unwrap();
    store.delete(&key("b").path()).await.unwrap();
    assert!(segments.open(&key("b"), 3).await.is_none());
    assert_eq!((segments.damaged(), segments.keys().len()), (2, 0));
}

#[tokio::test]
async fn only_what_is_not_needed_is_removed() {
    let (store, segments) = empty_segments().await;
    let keys: Vec<SegmentKey> = (0..200).map(|name| key(&name.to_string())).collect();
    for key in &keys {
        segments.put(key, small_index()).await.unwrap();
    }
    let held = segments.open(&keys[0], 3).await.unwrap();
    let removed = segments.remove(&keys, |key| *key == keys[7]).await.unwrap();
    assert_eq!((removed, segments.keys()), (199, vec![keys[7]]));
    assert!(segments.open(&keys[0], 3).await.is_none());
    assert_eq!(held.rows(), 3);
    let left: Vec<_> = store.list(None).try_collect().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(segments.damaged(), 0);
}

/// Terms of which each index answers one at least.
const TERMS: [&str; 15] = [
    "flag == true",
    "tiny in [3, 5, 39]",
    "10 < big <= 77",
    "big is null",
    "small < 4",
    "real >= 20.25",
    "wide < 3.5",
    "text like \"w1%\"",
    "text == \"w29\"",
    "at > ISO \"1970-04-01T00:00:00Z\"",
    "array_contains(tags, \"t3\")",
    "array_length(tags) == 2",
    "doc[\"n\"] > 20",
    "doc[\"n\"] == 30.5",
    "json_contains(doc[\"t\"], \"x2\")",
];

/// Whatever an index answers, a scan of the column answers too.
#[tokio::test(flavor = "multi_thread")]
async fn indexes_of_every_type_answer_as_a_scan_does() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let schema = schema();
    let file = data_file(&store, "a.parquet", &batch()).await;
    let wanted = wanted(&schema);
    let stats = Arc::new(IoStats::default());
    let built = build_segments(&open_file(&store, &file), wanted.clone(), &stats, &cores()).await;
    // Three row groups, each read once for all columns.
    assert_eq!(stats.counts().read_requests, 3);

    let segments = ScalarSegments::load(Arc::new(InMemory::new()), 1 << 24).await.unwrap();
    for ((field, spec), built) in wanted.iter().zip(built) {
        let key = name_of(&file.identity, field, spec);
        segments.put(&key, built.unwrap()).await.unwrap();
    }
    let indexed: Vec<IndexedField> =
        wanted.into_iter().map(|(field, spec)| IndexedField { field: field.id, spec }).collect();
    let manifest = Manifest {
        collection: CollectionId(1),
        version: ManifestVersion(1),
        next_file_id: 2,
        schema_version: 0,
        table: None,
        files: vec![file],
    };
    let schema = Arc::new(schema);
    let snapshot = Snapshot::new(Arc::clone(&schema), Arc::new(manifest), store, None)
        .with_scalar_indexes(indexed.clone());
    let snapshot = Arc::new(snapshot);
    let options = EngineOptions {
        threads: 2,
        scalar_segments: Some(Arc::new(segments)),
        ..EngineOptions::default()
    };
    let engine = QueryEngine::new(&options).unwrap();
    let opened = engine.indexes(&snapshot, 0, &schema.fields).await;
    assert_eq!(opened.len(), indexed.len());
    let of_one_field = engine.indexes(&snapshot, 0, &schema.fields[9..10]).await;
    assert_eq!(of_one_field.len(), 2);
    assert!(engine.indexes(&snapshot, 1, &schema.fields).await.is_empty());

    let mut answered = HashSet::new();
    for text in TERMS {
        let filter = pandion_filter::parse(text, &schema, &Templates::new()).unwrap();
        let term = filter.predicate.clone();
        let scan = QueryOptions { scalar_indexes: false, ..QueryOptions::default() };
        let request =
            QueryRequest { filter: Some(filter), options: scan, ..QueryRequest::default() };
        let expected: Vec<usize> = engine
            .query(&snapshot, request)
            .await
            .unwrap()
            .rows
            .iter()
            .map(|row| row.row_in_file() as usize)
            .collect();
        for (at, index) in opened.iter().enumerate() {
            assert_eq!(index.rows(), ROWS);
            if let Some(Lookup::Exact { matches, .. }) = index.lookup(&term).unwrap() {
                assert_eq!(matches.iter().collect::<Vec<_>>(), expected, "{text}");
                answered.insert(at);
            }
        }
    }
    assert_eq!(answered.len(), indexed.len(), "{answered:?}");
}

#[tokio::test]
async fn a_bad_column_does_not_cost_the_others_their_indexes() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("TEXT", Arc::new(BinaryArray::from_vec(vec![b"ok", b"\xff\xfe", b"ok"]))),
        ("BIG", Arc::new(Int64Array::from(vec![1, 2, 3]))),
    ];
    let file =
        data_file(&store, "bad.parquet", &RecordBatch::try_from_iter(columns).unwrap()).await;
    let wanted = wanted(&schema());
    let wanted: Vec<_> = wanted
        .into_iter()
        .filter(|(field, _)| ["text", "big"].contains(&field.name.as_str()))
        .collect();
    let stats = Arc::new(IoStats::default());
    let built = build_segments(&open_file(&store, &file), wanted, &stats, &cores()).await;
    let [big, text] = built.as_slice() else { panic!("{built:?}") };
    assert_eq!(open_scalar_index(big.as_ref().unwrap().clone()).unwrap().rows(), 3);
    let error = text.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}
