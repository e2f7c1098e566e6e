use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int64Array, ListArray, StringArray, Time32MillisecondArray, Time64NanosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
};
use arrow::datatypes::Float32Type;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::*;
use crate::testing::{field, open, vector_field, write};

async fn statistics(array: ArrayRef, field: &FieldSchema, group_rows: usize) -> ColumnStatistics {
    let properties =
        WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let file = open(write(&[(field.name.as_str(), array)], properties)).await;
    file.statistics(std::slice::from_ref(field)).remove(0)
}

/// Three row groups, the second of which has no values.
fn rows<T>(a: T, b: T, c: T, d: T) -> Vec<Option<T>> {
    vec![Some(a), None, Some(b), None, None, None, Some(c), Some(d)]
}

async fn check(
    array: impl arrow::array::Array + 'static,
    data_type: DataType,
    (null_count, min, max): (Option<u64>, Option<StatValue>, Option<StatValue>),
) {
    let field = field("c", data_type);
    let found = statistics(Arc::new(array), &field, 3).await;
    assert_eq!(found, ColumnStatistics { field: field.id, null_count, min, max }, "{data_type}");
}

#[tokio::test]
async fn bounds_and_nulls_are_merged_over_row_groups() {
    let int = |value| Some(StatValue::Int(value));
    let float = |value| Some(StatValue::Float(value));
    let text = |value: &str| Some(StatValue::String(value.to_owned()));
    check(Int64Array::from(rows(5, -7, 9, 0)), DataType::Int64, (Some(4), int(-7), int(9))).await;
    check(Int8Array::from(rows(5, -7, 9, 0)), DataType::Int8, (Some(4), int(-7), int(9))).await;
    check(
        BooleanArray::from(rows(false, false, true, false)),
        DataType::Bool,
        (Some(4), Some(StatValue::Bool(false)), Some(StatValue::Bool(true))),
    )
    .await;
    check(
        Float32Array::from(rows(0.5, 2.5, -1.5, 1.0)),
        DataType::Float,
        (Some(4), float(-1.5), float(2.5)),
    )
    .await;
    check(
        StringArray::from(rows("m", "b", "ö", "c")),
        DataType::VarChar,
        (Some(4), text("b"), text("ö")),
    )
    .await;
    let nothing: Vec<Option<i64>> = vec![None; 5];
    check(Int64Array::from(nothing), DataType::Int64, (Some(5), None, None)).await;
}

#[tokio::test]
async fn floats_are_bounded_where_they_are_numbers() {
    let float = |value| Some(StatValue::Float(value));
    check(
        Float64Array::from(vec![1.0, f64::NAN, 2.0]),
        DataType::Double,
        (Some(0), float(1.0), float(2.0)),
    )
    .await;
    check(
        Float64Array::from(vec![1.0, f64::NAN, 2.0, f64::NAN, f64::NAN]),
        DataType::Double,
        (Some(0), None, None),
    )
    .await;
    let zeros =
        statistics(Arc::new(Float64Array::from(vec![0.0, 0.0])), &field("c", DataType::Double), 3)
            .await;
    let Some(StatValue::Float(min)) = zeros.min else { panic!("{zeros:?}") };
    assert!(min.is_sign_negative(), "-0.0 may be among the values");
}

#[tokio::test]
async fn timestamps_are_bounded_by_the_microseconds_that_they_are_read_as() {
    let int = |value| Some(StatValue::Int(value));
    let times = vec![-1_500_i64, 1_500];
    check(
        TimestampNanosecondArray::from(times.clone()),
        DataType::Timestamptz,
        (Some(0), int(-2), int(1)),
    )
    .await;
    check(
        TimestampMillisecondArray::from(times.clone()),
        DataType::Timestamptz,
        (Some(0), int(-1_500_000), int(1_500_000)),
    )
    .await;
    check(
        TimestampSecondArray::from(times.clone()),
        DataType::Timestamptz,
        (Some(0), int(-1_500_000_000), int(1_500_000_000)),
    )
    .await;
    check(Int64Array::from(times), DataType::Timestamptz, (Some(0), int(-1_500), int(1_500))).await;
    check(
        TimestampMillisecondArray::from(vec![0, i64::MAX]),
        DataType::Timestamptz,
        (Some(0), int(0), None),
    )
    .await;
}

#[tokio::test]
async fn columns_in_another_form_are_bounded_in_the_form_of_the_field_or_not_at_all() {
    let int = |value| Some(StatValue::Int(value));
    let millis = TimestampMillisecondArray::from(vec![-1, 2]);
    check(millis, DataType::Int64, (Some(0), int(-1000), int(2000))).await;
    let times = Time32MillisecondArray::from(vec![1, 2]);
    check(times, DataType::Int64, (Some(0), int(1000), int(2000))).await;
    let times = Time64NanosecondArray::from(vec![1999, 2000]);
    check(times, DataType::Int64, (Some(0), int(1), int(2))).await;
    let (day, days) = (86_400_000_000, Date32Array::from(vec![-1, 2]));
    check(days.clone(), DataType::Timestamptz, (Some(0), int(-day), int(2 * day))).await;
    check(Date32Array::from(vec![-1, i32::MAX]), DataType::Timestamptz, (Some(0), int(-day), None))
        .await;
    check(days, DataType::VarChar, (Some(0), None, None)).await;
    for precision in [9, 18, 38] {
        let decimals = Decimal128Array::from(vec![150, -25]);
        let decimals = decimals.with_precision_and_scale(precision, 2).unwrap();
        check(decimals.clone(), DataType::VarChar, (Some(0), None, None)).await;
        check(decimals, DataType::Double, (Some(0), None, None)).await;
    }
}

#[tokio::test]
async fn long_strings_keep_bounds_that_hold() {
    let (low, high) = ("a".repeat(5000), "z".repeat(5000));
    let array = Arc::new(StringArray::from(vec![low.as_str(), high.as_str()]));
    let found = statistics(array, &field("c", DataType::VarChar), 3).await;
    let (Some(StatValue::String(min)), Some(StatValue::String(max))) = (found.min, found.max)
    else {
        panic!("bounds should be known");
    };
    assert!(min <= low && max >= high && max.len() < 5000);
}

#[tokio::test]
async fn what_is_not_known_is_not_made_up() {
    let unknown = |field: &FieldSchema| ColumnStatistics {
        field: field.id,
        null_count: None,
        min: None,
        max: None,
    };
    let numbers = || Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
    let missing = field("C", DataType::Int64);
    let file = open(write(&[("c", numbers())], WriterProperties::default())).await;
    assert_eq!(file.statistics(std::slice::from_ref(&missing)), [unknown(&missing)]);
    let other_type = field("c", DataType::Bool);
    assert_eq!(file.statistics(std::slice::from_ref(&other_type)), [unknown(&other_type)]);
    let field = field("c", DataType::Int64);
    let silent =
        WriterProperties::builder().set_statistics_enabled(EnabledStatistics::None).build();
    let file = open(write(&[("c", numbers())], silent)).await;
    assert_eq!(file.statistics(std::slice::from_ref(&field)), [unknown(&field)]);
    assert_eq!(file.row_group_statistics(std::slice::from_ref(&field), 0), [unknown(&field)]);
}

#[tokio::test]
async fn nulls_of_vectors_are_counted_only_when_there_are_none() {
    let vectors = |rows: Vec<Option<Vec<Option<f32>>>>| {
        Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows)) as ArrayRef
    };
    let field = vector_field("v", DataType::FloatVector, 2);
    let row = || Some(vec![Some(1.0); 2]);
    assert_eq!(statistics(vectors(vec![row(), row()]), &field, 9).await.null_count, Some(0));
    let found = statistics(vectors(vec![row(), None]), &field, 9).await;
    assert_eq!((found.null_count, found.min), (None, None));
}
