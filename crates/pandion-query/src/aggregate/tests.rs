use std::collections::BTreeMap;

use arrow::array::{
    Array, ArrayRef, AsArray, Float32Array, Float64Array, Int8Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType as ArrowType, Field, Float32Type, Float64Type, Int8Type, Int64Type, Schema,
    TimestampMicrosecondType,
};
use datafusion::datasource::memory::MemorySourceConfig;
use pandion_types::ErrorKind;
use proptest::prelude::*;

use super::*;
use crate::limits::QueryLimits;

/// One row; the fields are called `g`, `h`, `i`, `f`, `d` and `t`.
#[derive(Clone, Debug)]
struct Row {
    g: Option<String>,
    h: Option<i8>,
    i: Option<i64>,
    f: Option<f32>,
    d: Option<f64>,
    t: Option<i64>,
}

fn field(id: i64, name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema::mapped(id, name, data_type)
}

fn schema() -> CollectionSchema {
    CollectionSchema {
        fields: vec![
            field(101, "g", DataType::VarChar),
            field(102, "h", DataType::Int8),
            field(103, "i", DataType::Int64),
            field(104, "f", DataType::Float),
            field(105, "d", DataType::Double),
            field(106, "t", DataType::Timestamptz),
        ],
        ..CollectionSchema::default()
    }
}

fn id(name: &str) -> FieldId {
    schema().field(name).unwrap().id
}

fn column(field: &FieldSchema, rows: &[Row]) -> ArrayRef {
    match field.name.as_str() {
        "g" => Arc::new(rows.iter().map(|row| row.g.clone()).collect::<StringArray>()),
        "h" => Arc::new(rows.iter().map(|row| row.h).collect::<Int8Array>()),
        "i" => Arc::new(rows.iter().map(|row| row.i).collect::<Int64Array>()),
        "f" => Arc::new(rows.iter().map(|row| row.f).collect::<Float32Array>()),
        "d" => Arc::new(rows.iter().map(|row| row.d).collect::<Float64Array>()),
        _ => Arc::new(
            rows.iter()
                .map(|row| row.t)
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        ),
    }
}

fn aggregate(text: &str) -> AggregateOutput {
    let (name, argument) = text.strip_suffix(')').unwrap().split_once('(').unwrap();
    let functions = [
        AggregateFunction::Count,
        AggregateFunction::Sum,
        AggregateFunction::Avg,
        AggregateFunction::Min,
        AggregateFunction::Max,
    ];
    AggregateOutput::Aggregate(Aggregate {
        name: text.to_owned(),
        function: functions.into_iter().find(|function| function.name() == name).unwrap(),
        field: (argument != "*").then(|| id(argument)),
    })
}

fn request(group_by: &[&str], output: &[&str]) -> AggregateRequest {
    let output = output.iter().map(|text| {
        if text.contains('(') { aggregate(text) } else { AggregateOutput::Group(id(text)) }
    });
    AggregateRequest {
        group_by: group_by.iter().map(|name| id(name)).collect(),
        output: output.collect(),
        ..AggregateRequest::default()
    }
}

/// Aggregates rows in batches of `batch_rows`, dealt out to `partitions`.
fn run_within(
    request: &AggregateRequest,
    rows: &[Row],
    (batch_rows, partitions): (usize, usize),
    limits: QueryLimits,
) -> Result<Vec<OutputColumn>> {
    let aggregation = Aggregation::new(&schema(), request)?;
    let described = aggregation.inputs.iter().enumerate().map(|(at, input)| {
        Field::new(at.to_string(), input.form.arrow_type(&input.field).unwrap(), true)
    });
    let described = Arc::new(Schema::new(described.collect::<Vec<_>>()));
    let mut dealt: Vec<Vec<RecordBatch>> = vec![Vec::new(); partitions];
    for (at, rows) in rows.chunks(batch_rows).enumerate() {
        let inputs = aggregation.inputs.iter().zip(described.fields());
        let arrays = inputs
            .map(|(input, into)| {
                input.form.of(&column(&input.field, rows), into.data_type()).unwrap()
            })
            .collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&described), arrays, &options);
        dealt[at % partitions].push(batch.unwrap());
    }
    let source: Arc<dyn ExecutionPlan> =
        MemorySourceConfig::try_new_exec(&dealt, described, None).unwrap();
    let plan = aggregation.plan(&source)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    aggregation.finish(&runtime.block_on(bounded::collect(&plan, limits))?)
}

fn run(request: &AggregateRequest, rows: &[Row]) -> Result<Vec<OutputColumn>> {
    run_within(request, rows, (7, 1), QueryLimits::default())
}

/// A value that can be compared: floats by their order, NaN with itself.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Integer(i64),
    Float(f64),
    Text(String),
}

fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => {
            left == right || (left.is_nan() && right.is_nan())
        }
        _ => left == right,
    }
}

fn values(column: &ArrayRef) -> Vec<Value> {
    let value = |at: usize| {
        if column.is_null(at) {
            return Value::Null;
        }
        match column.data_type() {
            ArrowType::Utf8 => Value::Text(column.as_string::<i32>().value(at).to_owned()),
            ArrowType::Int8 => Value::Integer(column.as_primitive::<Int8Type>().value(at).into()),
            ArrowType::Int64 => Value::Integer(column.as_primitive::<Int64Type>().value(at)),
            ArrowType::Float32 => {
                Value::Float(column.as_primitive::<Float32Type>().value(at).into())
            }
            ArrowType::Float64 => Value::Float(column.as_primitive::<Float64Type>().value(at)),
            ArrowType::Timestamp(_, _) => {
                Value::Integer(column.as_primitive::<TimestampMicrosecondType>().value(at))
            }
            other => panic!("no column has type {other}"),
        }
    };
    (0..column.len()).map(value).collect()
}

/// The values of a column among `rows`, without those that are missing.
fn present(name: &str, rows: &[&Row]) -> Vec<Value> {
    let value = |row: &&Row| match name {
        "g" => row.g.clone().map(Value::Text),
        "h" => row.h.map(|value| Value::Integer(value.into())),
        "i" => row.i.map(Value::Integer),
        "f" => row.f.map(|value| Value::Float(value.into())),
        "d" => row.d.map(Value::Float),
        _ => row.t.map(Value::Integer),
    };
    rows.iter().filter_map(value).collect()
}

/// What `text` is for these rows; `None` when it does not fit in its type.
fn expected(text: &str, rows: &[&Row]) -> Option<Value> {
    let (function, name) = text.strip_suffix(')').unwrap().split_once('(').unwrap();
    if name == "*" {
        return Some(Value::Integer(i64::try_from(rows.len()).unwrap()));
    }
    let values = present(name, rows);
    if function == "count" {
        return Some(Value::Integer(i64::try_from(values.len()).unwrap()));
    }
    if values.is_empty() {
        return Some(Value::Null);
    }
    let order = |left: &Value, right: &Value| match (left, right) {
        (Value::Float(left), Value::Float(right)) => left.total_cmp(right),
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (Value::Integer(left), Value::Integer(right)) => left.cmp(right),
        _ => unreachable!("values of one column have one type"),
    };
    let count = values.len() as f64;
    match function {
        "min" => values.into_iter().min_by(order),
        "max" => values.into_iter().max_by(order),
        _ => {
            let integers: Option<i128> = values
                .iter()
                .map(|value| {
                    if let Value::Integer(value) = value { Some(i128::from(*value)) } else { None }
                })
                .sum();
            let floats = || {
                let value =
                    |value: &Value| if let Value::Float(value) = value { *value } else { 0.0 };
                values.iter().map(value).sum::<f64>()
            };
            match (function, integers) {
                ("sum", Some(sum)) => i64::try_from(sum).ok().map(Value::Integer),
                ("sum", None) => Some(Value::Float(floats())),
                (_, Some(sum)) => Some(Value::Float(sum as f64 / count)),
                (_, None) => Some(Value::Float(floats() / count)),
            }
        }
    }
}

/// Quarters, whose sums are exact in every order, and what is no number.
fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (-40_i32..40).prop_map(|n| f64::from(n) / 4.0),
        1 => prop::sample::select(vec![-0.0, f64::NAN, f64::INFINITY]),
    ]
}

fn row() -> impl Strategy<Value = Row> {
    let integer = prop_oneof![
        9 => -100_i64..100,
        1 => prop::sample::select(vec![i64::MIN, i64::MAX, i64::MAX - 1]),
    ];
    let text = prop::sample::select(vec!["", "a", "b", "ab", "a longer text than twelve bytes"]);
    use prop::option::of;
    (of(text), of(-1_i8..3), of(integer), of(float()), of(float()), of(-9_i64..9)).prop_map(
        |(g, h, i, f, d, t)| {
            let f = f.and_then(|f| format!("{f}").parse::<f32>().ok());
            Row { g: g.map(str::to_owned), h, i, f, d, t }
        },
    )
}

const ALL: [&str; 17] = [
    "count(*)", "count(g)", "count(i)", "sum(h)", "sum(i)", "sum(f)", "sum(d)", "avg(h)", "avg(i)",
    "avg(f)", "avg(d)", "min(g)", "max(i)", "min(f)", "max(d)", "min(t)", "max(g)",
];

#[test]
fn aggregates_agree_with_a_naive_reading() {
    let groupings = prop::sample::select(vec![
        vec![],
        vec!["g"],
        vec!["h"],
        vec!["t"],
        vec!["g", "h"],
        vec!["h", "i", "g"],
    ]);
    let outputs = prop::sample::subsequence(ALL.to_vec(), 1..ALL.len());
    let rows = prop::collection::vec(row(), 0..60);
    let strategy = (groupings, outputs, rows, (1_usize..20, 1_usize..4));
    proptest!(ProptestConfig::with_cases(300), |((by, outputs, rows, dealt) in strategy)| {
        let mut groups: BTreeMap<Vec<String>, Vec<&Row>> = BTreeMap::new();
        let key = |row: &Row| {
            by.iter().map(|name| format!("{:?}", present(name, &[row]))).collect::<Vec<_>>()
        };
        for row in &rows {
            groups.entry(key(row)).or_default().push(row);
        }
        if by.is_empty() {
            groups.entry(Vec::new()).or_default();
        }
        let all: Vec<&str> = by.iter().chain(&outputs).copied().collect();
        let found = run_within(&request(&by, &all), &rows, dealt, QueryLimits::default());
        let fits = groups.values().all(|rows| {
            outputs.iter().all(|text| expected(text, rows).is_some())
        });
        let Ok(found) = found else {
            prop_assert!(!fits, "{:?}", found);
            return Ok(());
        };
        prop_assert!(fits);
        let columns: Vec<Vec<Value>> = found.iter().map(|column| values(&column.values)).collect();
        prop_assert!(columns.iter().all(|column| column.len() == groups.len()));
        for at in 0..groups.len() {
            let key: Vec<String> = columns[..by.len()]
                .iter()
                .map(|column| match &column[at] {
                    Value::Null => "[]".to_owned(),
                    value => format!("[{value:?}]"),
                })
                .collect();
            let rows = groups.get(&key);
            prop_assert!(rows.is_some(), "no group {:?}", key);
            for (text, column) in outputs.iter().zip(&columns[by.len()..]) {
                let expected = expected(text, rows.unwrap()).unwrap();
                prop_assert!(same(&column[at], &expected), "{text}: {:?}, {expected:?}", column[at]);
            }
        }
    });
}

fn letters(letters: &str) -> Vec<Row> {
    letters
        .chars()
        .enumerate()
        .map(|(at, letter)| Row {
            g: (letter != '-').then(|| letter.to_string()),
            h: i8::try_from(at % 2).ok(),
            i: i64::try_from(at).ok(),
            f: None,
            d: None,
            t: None,
        })
        .collect()
}

fn texts(column: &OutputColumn) -> Vec<Option<&str>> {
    column.values.as_string::<i32>().iter().collect()
}

#[test]
fn groups_are_in_the_order_of_their_values_and_cut_into_pages() {
    let rows = letters("cab-cab-d");
    let page = |order: Vec<OrderBy>, limit, offset| {
        let asked = AggregateRequest { order, limit, offset, ..request(&["g"], &["g"]) };
        let found = run(&asked, &rows).unwrap();
        texts(&found[0]).into_iter().map(|text| text.unwrap_or("-")).collect::<String>()
    };
    assert_eq!(page(vec![], None, 0), "abcd-");
    assert_eq!(page(vec![], Some(2), 0), "ab");
    assert_eq!(page(vec![], Some(2), 3), "d-");
    assert_eq!(page(vec![], Some(2), 9), "");
    let by = |descending, nulls_first| OrderBy { field: id("g"), descending, nulls_first };
    assert_eq!(page(vec![by(true, true)], Some(9), 0), "-dcba");
    assert_eq!(page(vec![by(true, false)], Some(3), 1), "cba");
}

#[test]
fn fields_that_are_not_named_break_ties() {
    let order = vec![OrderBy { field: id("h"), descending: true, nulls_first: false }];
    let asked = AggregateRequest { order, limit: Some(9), ..request(&["g", "h"], &["h", "g"]) };
    let found = run(&asked, &letters("abba")).unwrap();
    let order: Vec<Value> = values(&found[0].values);
    assert_eq!(order, [1, 1, 0, 0].map(Value::Integer));
    assert_eq!(texts(&found[1]), [Some("a"), Some("b"), Some("a"), Some("b")]);
}

#[test]
fn nothing_is_one_group_only_where_nothing_is_grouped_by() {
    let found = run(&request(&[], &["count(*)", "count(i)", "sum(i)", "avg(d)"]), &[]).unwrap();
    let found: Vec<Vec<Value>> = found.iter().map(|column| values(&column.values)).collect();
    let zero = vec![Value::Integer(0)];
    assert_eq!(found, [zero.clone(), zero, vec![Value::Null], vec![Value::Null]]);
    let found = run(&request(&["g"], &["g", "count(*)"]), &[]).unwrap();
    assert!(found.iter().all(|column| column.values.is_empty()));
}

#[test]
fn a_page_beyond_the_only_group_is_empty() {
    let asked = AggregateRequest { limit: Some(1), offset: 1, ..request(&[], &["max(i)"]) };
    assert_eq!(run(&asked, &letters("ab")).unwrap()[0].values.len(), 0);
}

#[test]
fn columns_say_what_they_are() {
    let text = ["g", "count(g)", "sum(h)", "sum(f)", "avg(i)", "min(f)", "max(t)"];
    let found = run(&request(&["g"], &text), &letters("a")).unwrap();
    let described: Vec<(&str, DataType, bool)> = found
        .iter()
        .map(|column| (column.field.name.as_str(), column.field.data_type, column.field.nullable))
        .collect();
    let expected = [
        ("g", DataType::VarChar, true),
        ("count(g)", DataType::Int64, false),
        ("sum(h)", DataType::Int64, true),
        ("sum(f)", DataType::Double, true),
        ("avg(i)", DataType::Double, true),
        ("min(f)", DataType::Float, true),
        ("max(t)", DataType::Timestamptz, true),
    ];
    assert_eq!(described, expected);
    for column in &found {
        let canonical = pandion_source::columns::canonical_type(&column.field).unwrap();
        assert_eq!(column.values.data_type(), &canonical, "{}", column.field.name);
    }
}

#[test]
fn too_many_groups_are_an_error_that_says_what_to_do() {
    let rows: Vec<Row> = (0..20_000)
        .map(|at| Row {
            g: Some(format!("a text that is unlike all others: {at}")),
            ..letters("a").remove(0)
        })
        .collect();
    let limits = QueryLimits { memory_bytes_max: 100_000, ..QueryLimits::default() };
    let asked = request(&["g"], &["g", "count(*)"]);
    let error = run_within(&asked, &rows, (1000, 1), limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("more than the 100000 bytes of memory"), "{error}");

    let limits = QueryLimits { answer_bytes_max: 100_000, ..QueryLimits::default() };
    let error = run_within(&asked, &rows, (1000, 1), limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("more than the 100000 allowed"), "{error}");
    let first = AggregateRequest { limit: Some(10), ..asked };
    assert_eq!(run_within(&first, &rows, (1000, 1), limits).unwrap()[0].values.len(), 10);
}
