#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the numbers are small"
)]

mod bloom;
mod distinct;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array,
    RecordBatch, StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType as ArrowType, Field, Schema};
use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use pandion_connector_parquet::{ParquetFile, read_footer};
use pandion_filter::Templates;
use pandion_index::{QueryBatch, ScoreRange};
use pandion_manifest::{DataFile, Manifest};
use pandion_source::{IoStats, PinnedObject};
use pandion_types::{
    CollectionId, CollectionSchema, ContentTag, DataType, FieldId, FieldSchema, FileId,
    FileIdentity, ManifestVersion, MetricType, RowId, VIRTUAL_PK_NAME, VectorElement, VectorType,
};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;

use crate::plan::CodecTransport;
use crate::{
    EngineOptions, QueryEngine, QueryOptions, QueryRequest, Refinement, SearchRequest, Snapshot,
};

mod search;

mod aggregates;
mod ordering;

const DIM: usize = 8;
const ROWS_PER_FILE: usize = 60;
const FILES: usize = 3;

/// One row as the oracle sees it.
#[derive(Clone, Debug)]
struct Row {
    id: RowId,
    a: Option<i32>,
    b: Option<f64>,
    s: Option<String>,
    flag: Option<bool>,
    /// The `n` member of the JSON document; `None` when document or member are missing.
    j: Option<f64>,
    vector: Option<Vec<f32>>,
}

/// Values that depend on nothing but the row's number, with nulls, NaN and both zeros among them.
fn row(file: usize, at: usize) -> Row {
    let n = file * ROWS_PER_FILE + at;
    let id = RowId::new(FileId::new(file as u32 + 1).unwrap(), at as u32);
    let float = match n % 11 {
        0 => f64::NAN,
        1 => -0.0,
        2 => 0.0,
        3 => f64::INFINITY,
        _ => n as f64 / 4.0 - 20.0,
    };
    Row {
        id,
        a: (n % 7 != 3).then_some(n as i32 / 3 - 20),
        b: (n % 5 != 1).then_some(float),
        s: (n % 6 != 2).then(|| format!("{}{}", ["ab", "b%", "c_", "ab\\"][n % 4], n % 9)),
        flag: (!n.is_multiple_of(4)).then_some(n.is_multiple_of(3)),
        j: (n % 8 > 1).then_some(n as f64 / 2.0),
        vector: (n % 9 != 4)
            .then(|| (0..DIM).map(|d| ((n * 37 + d * 11) % 23) as f32 - 11.0).collect()),
    }
}

fn rows() -> Vec<Row> {
    (0..FILES).flat_map(|file| (0..ROWS_PER_FILE).map(move |at| row(file, at))).collect()
}

fn batch(file: usize) -> RecordBatch {
    let rows: Vec<Row> = (0..ROWS_PER_FILE).map(|at| row(file, at)).collect();
    let json = rows.iter().enumerate().map(|(at, row)| match (row.j, at % 2) {
        (Some(n), _) => Some(format!("{{\"n\": {n}, \"t\": [1, {at}]}}")),
        (None, 0) => None,
        (None, _) => Some("{\"m\": null}".to_owned()),
    });
    let valid: NullBuffer = rows.iter().map(|row| row.vector.is_some()).collect::<Vec<_>>().into();
    let values: Vec<f32> =
        rows.iter().flat_map(|row| row.vector.clone().unwrap_or(vec![0.0; DIM])).collect();
    let element = Arc::new(Field::new("element", ArrowType::Float32, true));
    let vectors = FixedSizeListArray::try_new(
        element,
        DIM as i32,
        Arc::new(Float32Array::from(values)),
        Some(valid),
    );
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("A", Arc::new(rows.iter().map(|row| row.a).collect::<Int32Array>())),
        ("B", Arc::new(rows.iter().map(|row| row.b).collect::<Float64Array>())),
        ("S", Arc::new(rows.iter().map(|row| row.s.clone()).collect::<StringArray>())),
        ("F", Arc::new(rows.iter().map(|row| row.flag).collect::<BooleanArray>())),
        ("J", Arc::new(json.collect::<StringArray>())),
        ("V", Arc::new(vectors.unwrap())),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, values)| Field::new(*name, values.data_type().clone(), true))
        .collect();
    let values = columns.into_iter().map(|(_, values)| values).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), values).unwrap()
}

fn schema() -> CollectionSchema {
    let field = |id: i64, name: &str, data_type, column: Option<&str>| FieldSchema {
        id: FieldId(id),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        element_type: None,
        nullable: column.is_some(),
        is_primary_key: column.is_none(),
        auto_id: column.is_none(),
        external_field: column.map(str::to_owned),
        type_params: BTreeMap::from([("dim".to_owned(), DIM.to_string())]),
    };
    CollectionSchema {
        fields: vec![
            field(100, VIRTUAL_PK_NAME, DataType::Int64, None),
            field(101, "a", DataType::Int32, Some("A")),
            field(102, "b", DataType::Double, Some("B")),
            field(103, "s", DataType::VarChar, Some("S")),
            field(104, "flag", DataType::Bool, Some("F")),
            field(105, "j", DataType::Json, Some("J")),
            field(106, "v", DataType::FloatVector, Some("V")),
        ],
        ..CollectionSchema::default()
    }
}

async fn data_file(
    store: &Arc<dyn ObjectStore>,
    file: usize,
    schema: &CollectionSchema,
) -> DataFile {
    // Small row groups and pages, so that pruning has something to leave out.
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(25))
        .set_data_page_row_count_limit(5)
        .set_write_batch_size(5)
        .build();
    put_file(store, file, &batch(file), properties, schema).await
}

/// Writes a file and gives its entry in the manifest.
async fn put_file(
    store: &Arc<dyn ObjectStore>,
    file: usize,
    batch: &RecordBatch,
    properties: WriterProperties,
    schema: &CollectionSchema,
) -> DataFile {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    let location = Path::from(format!("lake/{file}.parquet"));
    store.put(&location, Bytes::from(bytes).into()).await.unwrap();
    let meta = store.head(&location).await.unwrap();
    let identity = FileIdentity {
        uri: format!("memory://{location}"),
        size: meta.size,
        tag: ContentTag::ETag(meta.e_tag.unwrap()),
    };
    let object = PinnedObject::new(Arc::clone(store), location, identity);
    let footer = read_footer(&object, &IoStats::default()).await.unwrap();
    let open = ParquetFile::open(object.clone(), &footer).unwrap();
    let fields: Vec<FieldSchema> = schema.mapped_fields().cloned().collect();
    DataFile {
        id: FileId::new(file as u32 + 1).unwrap(),
        location: object.location.to_string(),
        identity: object.identity,
        footer_digest: [0; 32],
        row_groups: open.metadata().row_groups().iter().map(|it| it.num_rows() as u64).collect(),
        columns: open.statistics(&fields),
        footer,
        deletes: None,
        table: None,
    }
}

struct Lake {
    snapshot: Arc<Snapshot>,
    engine: QueryEngine,
    /// Divides its plans into partitions and sends them through the codec.
    coded: QueryEngine,
    runtime: tokio::runtime::Runtime,
}

impl Lake {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let schema = schema();
        let files = runtime.block_on(async {
            let mut files = Vec::new();
            for file in 0..FILES {
                files.push(data_file(&store, file, &schema).await);
            }
            files
        });
        let manifest = Manifest {
            collection: CollectionId(1),
            version: ManifestVersion(1),
            next_file_id: FILES as u32 + 1,
            schema_version: 0,
            table: None,
            files,
        };
        let snapshot = Snapshot::new(Arc::new(schema), Arc::new(manifest), store, None);
        let snapshot = Arc::new(snapshot);
        let options =
            EngineOptions { threads: 2, vector_cache_bytes: 1 << 20, ..EngineOptions::default() };
        let engine = QueryEngine::new(&options).unwrap();
        let transport = CodecTransport { snapshots: Arc::clone(&snapshot) as _ };
        let options =
            EngineOptions { partitions: 3, transport: Some(Arc::new(transport)), ..options };
        let coded = QueryEngine::new(&options).unwrap();
        Self { snapshot, engine, coded, runtime }
    }

    fn filter(&self, text: &str) -> Option<pandion_filter::Filter> {
        let filter = pandion_filter::parse(text, self.snapshot.schema(), &Templates::new());
        Some(filter.unwrap_or_else(|error| panic!("{text}: {error}")))
    }

    fn query(&self, text: &str, limit: Option<usize>, offset: usize) -> crate::QueryResult {
        let request = QueryRequest {
            filter: self.filter(text),
            output: vec![FieldId(101)],
            limit,
            offset,
            ..QueryRequest::default()
        };
        let coded = self.coded.query(&self.snapshot, request.clone());
        let coded = self.runtime.block_on(coded).unwrap();
        let result = self.runtime.block_on(self.engine.query(&self.snapshot, request)).unwrap();
        assert_eq!(result.rows, coded.rows, "{text}: through the codec");
        assert_eq!(
            &result.columns[0].values, &coded.columns[0].values,
            "{text}: through the codec"
        );
        result
    }

    fn matching(&self, text: &str) -> Vec<RowId> {
        self.query(text, None, 0).rows
    }

    fn search(
        &self,
        filter: &str,
        metric: MetricType,
        queries: &[Vec<f32>],
        (limit, offset): (usize, usize),
        range: Option<ScoreRange>,
    ) -> crate::SearchResult {
        let bytes: Vec<Vec<u8>> = queries
            .iter()
            .map(|query| query.iter().flat_map(|value| value.to_le_bytes()).collect())
            .collect();
        let vector_type = VectorType { element: VectorElement::Float32, dim: DIM };
        let request = || SearchRequest {
            field: FieldId(106),
            queries: QueryBatch::new(vector_type, &bytes).unwrap(),
            metric,
            limit,
            offset,
            range,
            filter: self.filter(filter),
            output: vec![FieldId(100), FieldId(101), FieldId(106)],
            options: QueryOptions::default(),
            refinement: Refinement::default(),
        };
        let coded = self.runtime.block_on(self.coded.search(&self.snapshot, request())).unwrap();
        let result = self.runtime.block_on(self.engine.search(&self.snapshot, request())).unwrap();
        assert_eq!(result.hits, coded.hits, "{filter}: through the codec");
        result
    }
}

/// A filter that knows its own answer.
#[derive(Clone, Debug)]
enum Term {
    A(&'static str, i64),
    Arithmetic(i64, &'static str, i64),
    B(&'static str, f64),
    Text(&'static str, String),
    Prefix(String),
    Contains(String),
    Flag(bool),
    Json(&'static str, f64),
    InA(Vec<i64>),
    InB(Vec<f64>),
    Between(i64, i64),
    NullA(bool),
    NullJson(bool),
    Key(&'static str, usize),
    Not(Box<Term>),
    And(Box<Term>, Box<Term>),
    Or(Box<Term>, Box<Term>),
}

fn holds(op: &str, ordering: Option<Ordering>) -> bool {
    match op {
        "==" => ordering == Some(Ordering::Equal),
        "!=" => ordering != Some(Ordering::Equal),
        "<" => ordering == Some(Ordering::Less),
        "<=" => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        ">" => ordering == Some(Ordering::Greater),
        _ => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
    }
}

impl Term {
    fn text(&self) -> String {
        let quote = |text: &str| format!("{text:?}");
        match self {
            Self::A(op, value) => format!("a {op} {value}"),
            Self::Arithmetic(by, op, value) => {
                format!("a * 2 + {by} {op} {value}").replace("a * 2 + ", "a + ")
            }
            Self::B(op, value) => format!("b {op} {value:?}"),
            Self::Text(op, value) => format!("s {op} {}", quote(value)),
            Self::Prefix(prefix) => format!("s like {}", quote(&format!("{}%", escape(prefix)))),
            Self::Contains(part) => format!("s like {}", quote(&format!("%{}%", escape(part)))),
            Self::Flag(value) => format!("flag == {value}"),
            Self::Json(op, value) => format!("j[\"n\"] {op} {value:?}"),
            Self::InA(values) => format!("a in {values:?}"),
            Self::InB(values) => format!("b in {values:?}"),
            Self::Between(low, high) => format!("{low} <= a < {high}"),
            Self::NullA(true) => "a is null".to_owned(),
            Self::NullA(false) => "a is not null".to_owned(),
            Self::NullJson(true) => "j[\"n\"] is null".to_owned(),
            Self::NullJson(false) => "exists j[\"n\"]".to_owned(),
            Self::Key(op, at) => format!("{VIRTUAL_PK_NAME} {op} {}", rows()[*at].id),
            Self::Not(inner) => format!("not ({})", inner.text()),
            Self::And(left, right) => format!("({}) and ({})", left.text(), right.text()),
            Self::Or(left, right) => format!("({}) or ({})", left.text(), right.text()),
        }
    }

    /// True, false or unknown for a row.
    fn test(&self, row: &Row) -> Option<bool> {
        let a = row.a.map(i64::from);
        match self {
            Self::A(op, value) => a.map(|a| holds(op, Some(a.cmp(value)))),
            Self::Arithmetic(by, op, value) => a.map(|a| holds(op, Some((a + by).cmp(value)))),
            Self::B(op, value) => row.b.map(|b| holds(op, b.partial_cmp(value))),
            Self::Text(op, value) => {
                row.s.as_deref().map(|s| holds(op, Some(s.cmp(value.as_str()))))
            }
            Self::Prefix(prefix) => row.s.as_deref().map(|s| s.starts_with(prefix.as_str())),
            Self::Contains(part) => row.s.as_deref().map(|s| s.contains(part.as_str())),
            Self::Flag(value) => row.flag.map(|flag| flag == *value),
            Self::Json(op, value) => row.j.map(|j| holds(op, j.partial_cmp(value))),
            Self::InA(values) => a.map(|a| values.contains(&a)),
            Self::InB(values) => row.b.map(|b| values.contains(&b)),
            Self::Between(low, high) => a.map(|a| (*low..*high).contains(&a)),
            Self::NullA(null) => Some(a.is_none() == *null),
            Self::NullJson(null) => Some(row.j.is_none() == *null),
            Self::Key(op, at) => Some(holds(op, Some(row.id.cmp(&rows()[*at].id)))),
            Self::Not(inner) => inner.test(row).map(|value| !value),
            Self::And(left, right) => match (left.test(row), right.test(row)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(left, right) => match (left.test(row), right.test(row)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
        }
    }

    fn expected(&self) -> Vec<RowId> {
        let matching = rows().into_iter().filter(|row| self.test(row) == Some(true));
        matching.map(|row| row.id).collect()
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

fn op() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="])
}

fn term() -> impl Strategy<Value = Term> {
    let int = -25_i64..45;
    let float = prop_oneof![Just(0.0), Just(-0.0), (-90_i32..110).prop_map(|n| f64::from(n) / 4.0)];
    let text =
        prop::sample::select(vec!["ab", "ab1", "b%", "b%3", "c_", "_", "%", "ab\\", "", "z"])
            .prop_map(str::to_owned);
    let leaf = prop_oneof![
        (op(), int.clone()).prop_map(|(op, value)| Term::A(op, value)),
        (op(), Just(9_999_999_999_i64)).prop_map(|(op, value)| Term::A(op, value)),
        (-9_i64..9, op(), int.clone()).prop_map(|(by, op, v)| Term::Arithmetic(
            by.abs() + 1,
            op,
            v
        )),
        (op(), float.clone()).prop_map(|(op, value)| Term::B(op, value)),
        (op(), text.clone()).prop_map(|(op, value)| Term::Text(op, value)),
        text.clone().prop_map(Term::Prefix),
        text.prop_map(Term::Contains),
        any::<bool>().prop_map(Term::Flag),
        (op(), float.clone()).prop_map(|(op, value)| Term::Json(op, value)),
        prop::collection::vec(int.clone(), 0..4).prop_map(Term::InA),
        prop::collection::vec(float, 0..4).prop_map(Term::InB),
        (int.clone(), 0_i64..20).prop_map(|(low, by)| Term::Between(low, low + by + 1)),
        any::<bool>().prop_map(Term::NullA),
        any::<bool>().prop_map(Term::NullJson),
        (op(), 0..FILES * ROWS_PER_FILE).prop_map(|(op, at)| Term::Key(op, at)),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|term| Term::Not(Box::new(term))),
            (inner.clone(), inner.clone())
                .prop_map(|(left, right)| Term::And(Box::new(left), Box::new(right))),
            (inner.clone(), inner)
                .prop_map(|(left, right)| Term::Or(Box::new(left), Box::new(right))),
        ]
    })
}

#[test]
fn filters_agree_with_a_naive_reading() {
    let lake = Lake::new();
    proptest!(ProptestConfig::with_cases(400), |(term in term())| {
        let text = term.text();
        prop_assert_eq!(lake.matching(&text), term.expected(), "{}", text);
        // Every row is matched by the filter, by its opposite, or has no answer.
        let opposite = Term::Not(Box::new(term.clone()));
        let unknown = rows().iter().filter(|row| term.test(row).is_none()).count();
        let all = term.expected().len() + lake.matching(&opposite.text()).len() + unknown;
        prop_assert_eq!(all, FILES * ROWS_PER_FILE);
    });
}

#[test]
fn pages_of_a_query_are_windows_of_all_matching_rows() {
    let lake = Lake::new();
    let all = lake.matching("a > -5");
    for (limit, offset) in [(1, 0), (10, 3), (50, 49), (1000, 10), (5, 1000)] {
        let page = lake.query("a > -5", Some(limit), offset);
        let expected: Vec<RowId> = all.iter().skip(offset).take(limit).copied().collect();
        assert_eq!(page.rows, expected, "{limit} after {offset}");
        assert_eq!(page.columns[0].values.len(), expected.len());
    }
}

#[test]
fn statistics_leave_out_files_row_groups_and_pages() {
    let lake = Lake::new();
    let all = lake.query("flag == true or flag == false", None, 0).cost;
    // `a` rises with the row number, so that one value lies in one page of one file.
    let one = lake.query("a == -20", None, 0);
    assert_eq!(one.rows.len(), 3);
    assert_eq!(one.cost.files_pruned, 2, "{:?}", one.cost);
    assert!(one.cost.row_groups_pruned >= 2, "{:?}", one.cost);
    assert!(one.cost.rows_filtered < all.rows_filtered / 10, "{:?}", one.cost);
}

#[test]
fn a_key_is_read_without_looking_at_other_rows() {
    let lake = Lake::new();
    let key = row(1, 31).id;
    let found = lake.query(&format!("{VIRTUAL_PK_NAME} in [{key}, 5, -7]"), None, 0);
    assert_eq!(found.rows, [key]);
    assert_eq!(found.cost.rows_filtered, 1);
    assert_eq!(found.cost.files_pruned, 2);
}

fn score(metric: MetricType, left: &[f32], right: &[f32]) -> f64 {
    let pairs = || left.iter().zip(right).map(|(&l, &r)| (f64::from(l), f64::from(r)));
    let dot: f64 = pairs().map(|(l, r)| l * r).sum();
    let norm = |v: &[f32]| v.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    match metric {
        MetricType::L2 => pairs().map(|(l, r)| (l - r) * (l - r)).sum(),
        MetricType::Ip => dot,
        _ => dot / (norm(left) * norm(right)),
    }
}

/// The hits that a reader of all rows would give.
fn nearest(metric: MetricType, query: &[f32], filter: &Term, k: usize) -> Vec<(RowId, f64)> {
    let mut found: Vec<(RowId, f64)> = rows()
        .iter()
        .filter(|row| filter.test(row) == Some(true))
        .filter_map(|row| Some((row.id, score(metric, query, row.vector.as_deref()?))))
        .collect();
    found.sort_by(|left, right| {
        let order = left.1.total_cmp(&right.1);
        let order = if metric.larger_is_nearer() { order.reverse() } else { order };
        order.then(left.0.cmp(&right.0))
    });
    found.truncate(k);
    found
}

#[test]
fn searches_agree_with_reading_every_row() {
    let lake = Lake::new();
    let metrics = prop::sample::select(vec![MetricType::L2, MetricType::Ip, MetricType::Cosine]);
    let query = prop::collection::vec(-9_i32..9, DIM);
    let strategy = (metrics, prop::collection::vec(query, 1..5), term(), 1_usize..40);
    proptest!(ProptestConfig::with_cases(150), |((metric, queries, term, k) in strategy)| {
        let queries: Vec<Vec<f32>> = queries
            .into_iter()
            .map(|query| query.into_iter().map(|value| value as f32 + 0.5).collect())
            .collect();
        let found = lake.search(&term.text(), metric, &queries, (k, 0), None);
        for (query, hits) in queries.iter().zip(&found.hits) {
            let expected = nearest(metric, query, &term, k);
            prop_assert_eq!(hits.len(), expected.len());
            for (hit, (_, score)) in hits.iter().zip(&expected) {
                // Ties that rounding decides may change places, so that scores are compared.
                prop_assert!((f64::from(hit.score) - score).abs() < 1e-3, "{:?}", hit);
            }
        }
        let hits: usize = found.hits.iter().map(Vec::len).sum();
        prop_assert!(found.columns.iter().all(|column| column.values.len() == hits));
    });
}

#[test]
fn offset_and_range_cut_the_same_list() {
    let lake = Lake::new();
    let query = vec![vec![0.5; DIM]];
    let everything = Term::Or(Box::new(Term::NullA(true)), Box::new(Term::NullA(false)));
    let all = nearest(MetricType::L2, &query[0], &everything, 1000);
    let page = lake.search("", MetricType::L2, &query, (10, 25), None);
    let scores: Vec<f64> = page.hits[0].iter().map(|hit| f64::from(hit.score)).collect();
    let expected: Vec<f64> = all[25..35].iter().map(|(_, score)| *score).collect();
    assert_eq!(scores, expected);
    let (inner, radius) = (all[20].1 as f32, all[60].1 as f32);
    let range = ScoreRange { radius, range_filter: Some(inner) };
    let ring = lake.search("", MetricType::L2, &query, (1000, 0), Some(range));
    let inside = all.iter().filter(|(_, score)| (inner..radius).contains(&(*score as f32))).count();
    assert_eq!(ring.hits[0].len(), inside);
    assert_eq!(ring.cost.distances, all.len() as u64);
}

#[test]
fn a_second_search_finds_every_vector_in_the_cache() {
    let lake = Lake::new();
    let query = vec![vec![1.0; DIM]];
    let first = lake.search("", MetricType::L2, &query, (3, 0), None).cost.io;
    let second = lake.search("", MetricType::L2, &query, (3, 0), None).cost.io;
    assert_eq!((first.cache_hits, first.cache_misses), (0, 9));
    assert_eq!((second.cache_hits, second.cache_misses), (9, 0));
    assert!(second.bytes_read < first.bytes_read, "{second:?} after {first:?}");
}

#[test]
fn a_file_that_changed_since_the_snapshot_is_an_error_that_names_it() {
    let lake = Lake::new();
    let other = Bytes::from_static(b"PAR1 something else altogether");
    lake.runtime
        .block_on(lake.snapshot.store().put(&Path::from("lake/1.parquet"), other.into()))
        .unwrap();
    let request = QueryRequest { filter: lake.filter("a < 1000"), ..QueryRequest::default() };
    let error = lake.runtime.block_on(lake.engine.query(&lake.snapshot, request)).unwrap_err();
    assert_eq!(error.kind(), pandion_types::ErrorKind::Conflict);
    assert!(error.message().contains("lake/1.parquet"), "{error}");
}
