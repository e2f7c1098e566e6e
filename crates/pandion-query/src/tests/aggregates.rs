//! Aggregates over a lake, and the limits of answers.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};
use pandion_types::ErrorKind;

use super::*;
use crate::{
    Aggregate, AggregateFunction, AggregateOutput, AggregateRequest, AggregateResult, QueryLimits,
};

fn aggregate(function: AggregateFunction, field: Option<i64>) -> AggregateOutput {
    AggregateOutput::Aggregate(Aggregate {
        name: function.name().to_owned(),
        function,
        field: field.map(FieldId),
    })
}

/// The answer of the engine, which is also that of plans that were divided and encoded.
fn answer(lake: &Lake, request: AggregateRequest) -> AggregateResult {
    let coded = lake.coded.aggregate(&lake.snapshot, request.clone());
    let coded = lake.runtime.block_on(coded).unwrap();
    let result = lake.runtime.block_on(lake.engine.aggregate(&lake.snapshot, request)).unwrap();
    for (direct, coded) in result.columns.iter().zip(&coded.columns) {
        assert_eq!(&direct.values, &coded.values, "{} through the codec", direct.field.name);
    }
    result
}

fn matching(term: &Term) -> Vec<Row> {
    rows().into_iter().filter(|row| term.test(row) == Some(true)).collect()
}

#[test]
fn filters_choose_the_rows_that_are_aggregated() {
    let lake = Lake::new();
    proptest!(ProptestConfig::with_cases(60), |(term in term())| {
        let request = AggregateRequest {
            filter: lake.filter(&term.text()),
            output: vec![
                aggregate(AggregateFunction::Count, None),
                aggregate(AggregateFunction::Sum, Some(101)),
                aggregate(AggregateFunction::Max, Some(100)),
            ],
            ..AggregateRequest::default()
        };
        let found = answer(&lake, request);
        let integer = |at: usize| {
            let column = found.columns[at].values.as_primitive::<Int64Type>();
            column.iter().next().unwrap()
        };
        let rows = matching(&term);
        prop_assert_eq!(integer(0), Some(rows.len() as i64));
        let sum = rows.iter().filter_map(|row| row.a.map(i64::from)).reduce(|sum, a| sum + a);
        prop_assert_eq!(integer(1), sum);
        prop_assert_eq!(integer(2), rows.iter().map(|row| row.id.get()).max());
    });
}

#[test]
fn groups_of_a_filter_are_complete() {
    let lake = Lake::new();
    let term = Term::A(">", -5);
    let request = AggregateRequest {
        filter: lake.filter(&term.text()),
        group_by: vec![FieldId(103)],
        output: vec![
            AggregateOutput::Group(FieldId(103)),
            aggregate(AggregateFunction::Count, Some(106)),
            aggregate(AggregateFunction::Avg, Some(101)),
        ],
        ..AggregateRequest::default()
    };
    let found = answer(&lake, request);
    let mut groups: BTreeMap<Option<String>, Vec<Row>> = BTreeMap::new();
    for row in matching(&term) {
        groups.entry(row.s.clone()).or_default().push(row);
    }
    let names = found.columns[0].values.as_string::<i32>();
    let vectors = found.columns[1].values.as_primitive::<Int64Type>();
    let means = found.columns[2].values.as_primitive::<Float64Type>();
    assert_eq!(names.len(), groups.len());
    for at in 0..names.len() {
        let name = names.is_valid(at).then(|| names.value(at).to_owned());
        let rows = &groups[&name];
        let with_vector = rows.iter().filter(|row| row.vector.is_some()).count();
        assert_eq!(vectors.value(at), with_vector as i64, "{name:?}");
        let sum: f64 = rows.iter().map(|row| f64::from(row.a.unwrap())).sum();
        assert_eq!(means.value(at), sum / rows.len() as f64, "{name:?}");
    }
}

#[test]
fn only_the_columns_that_are_needed_are_read() {
    let lake = Lake::new();
    let cost = |output: Vec<AggregateOutput>| {
        let request = AggregateRequest { output, ..AggregateRequest::default() };
        answer(&lake, request).cost
    };
    let counted = cost(vec![aggregate(AggregateFunction::Count, None)]);
    assert_eq!(counted.io.bytes_read, 0);
    let keys = cost(vec![aggregate(AggregateFunction::Min, Some(100))]);
    assert_eq!(keys.io.bytes_read, 0);
    let one = cost(vec![aggregate(AggregateFunction::Sum, Some(101))]);
    let two = cost(vec![
        aggregate(AggregateFunction::Sum, Some(101)),
        aggregate(AggregateFunction::Sum, Some(102)),
    ]);
    assert!(0 < one.io.bytes_read && one.io.bytes_read < two.io.bytes_read, "{one:?} {two:?}");
}

#[test]
fn answers_have_a_largest_size() {
    let limits = QueryLimits { answer_bytes_max: 1000, ..QueryLimits::default() };
    let options = EngineOptions { threads: 1, limits, ..EngineOptions::default() };
    let lake = Lake { engine: QueryEngine::new(&options).unwrap(), ..Lake::new() };
    let query = |output: &[i64], filter: &str, limit| {
        let request = QueryRequest {
            filter: lake.filter(filter),
            output: output.iter().copied().map(FieldId).collect(),
            limit,
            ..QueryRequest::default()
        };
        lake.runtime.block_on(lake.engine.query(&lake.snapshot, request))
    };
    assert_eq!(query(&[100], "", Some(125)).unwrap().rows.len(), 125);
    let error = query(&[100], "", Some(126)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(
        error.message(),
        "the answer would have at least 1008 bytes, more than the 1000 allowed: ask for fewer rows \
         or fields"
    );
    // Vectors have a size that is known before they are read, texts have not.
    assert_eq!(query(&[106], "", Some(31)).unwrap().rows.len(), 31);
    assert!(query(&[106], "a > -100", Some(32)).unwrap_err().message().contains("1024 bytes"));
    assert_eq!(query(&[105], "", Some(10)).unwrap().rows.len(), 10);
    assert!(query(&[105], "", Some(100)).unwrap_err().message().contains("more than the 1000"));
}
