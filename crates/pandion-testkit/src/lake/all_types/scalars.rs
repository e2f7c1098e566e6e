//! The columns of [`AllTypes`](super::AllTypes) that hold no vectors.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, BooleanBuilder, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, LargeBinaryArray, LargeListArray,
    LargeStringArray, LargeStringBuilder, ListArray, ListBuilder, ListViewArray, StringArray,
    StringBuilder, StringViewArray, StringViewBuilder, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use pandion_types::DataType;

use super::encode::{Geometry, scalar_field_of_longs, scalar_field_of_strings};
use super::{Column, Value, rows_of};
use crate::convert::to_usize;

/// Texts with what encodings get wrong: nothing, one byte, several bytes, quotes, and more than
/// the twelve bytes that a view holds inline.
const TEXTS: [&str; 6] = [
    "",
    "a",
    "Grüße, 世界 🦅",
    "it's \"quoted\" \\",
    "a text that is longer than a view",
    "osprey",
];

pub(super) fn columns(rows: usize) -> Vec<Column> {
    let mut columns = numbers(rows);
    columns.extend(texts(rows));
    columns.extend(timestamps(rows));
    columns.extend(geometries(rows));
    columns.extend(arrays_of_numbers(rows));
    columns.extend(arrays_of_texts(rows));
    columns
}

fn text_of(row: i64) -> String {
    let text = TEXTS[to_usize(row.unsigned_abs()) % TEXTS.len()];
    if text.is_empty() { String::new() } else { format!("{text} {row}") }
}

/// Both ends of the range first, then numbers of either sign.
fn integer_of(row: i64, min: i64, max: i64) -> i64 {
    match row {
        0 => min,
        1 => max,
        _ => (row * 37 % 100) * if row % 2 == 0 { 1 } else { -1 },
    }
}

fn numbers(rows: usize) -> Vec<Column> {
    let bools = rows_of(rows, 0, |row| row % 3 == 0);
    let int8 = rows_of(rows, 1, |row| integer_of(row, i8::MIN.into(), i8::MAX.into()));
    let int16 = rows_of(rows, 2, |row| integer_of(row, i16::MIN.into(), i16::MAX.into()));
    let int32 = rows_of(rows, 3, |row| integer_of(row, i32::MIN.into(), i32::MAX.into()));
    let int64 = rows_of(rows, 4, |row| integer_of(row, i64::MIN, i64::MAX));
    let floats = rows_of(rows, 0, |row| [f32::MAX, f32::MIN_POSITIVE, -0.0, 1.5][low(row, 4)]);
    let doubles = rows_of(rows, 1, |row| [f64::MIN, 0.1 * row as f64, -0.0, 2.5][low(row, 4)]);
    // Narrow columns are made from wide values that are known to fit.
    let int8_array: Int8Array = narrow(&int8).into();
    let int16_array: Int16Array = narrow(&int16).into();
    let int32_array: Int32Array = narrow(&int32).into();
    let integer = |long: &i64| Value::Int(*long);
    vec![
        Column::new(
            "bool",
            DataType::Bool,
            &bools,
            |bool| Value::Bool(*bool),
            Arc::new(BooleanArray::from(bools.clone())),
        ),
        Column::new("int8", DataType::Int8, &int8, integer, Arc::new(int8_array)),
        Column::new("int16", DataType::Int16, &int16, integer, Arc::new(int16_array)),
        Column::new("int32", DataType::Int32, &int32, integer, Arc::new(int32_array)),
        Column::new(
            "int64",
            DataType::Int64,
            &int64,
            integer,
            Arc::new(Int64Array::from(int64.clone())),
        ),
        Column::new(
            "float",
            DataType::Float,
            &floats,
            |float| Value::Float(*float),
            Arc::new(Float32Array::from(floats.clone())),
        ),
        Column::new(
            "double",
            DataType::Double,
            &doubles,
            |double| Value::Double(*double),
            Arc::new(Float64Array::from(doubles.clone())),
        ),
    ]
}

fn low(row: i64, modulus: i64) -> usize {
    to_usize(row.rem_euclid(modulus).unsigned_abs())
}

fn narrow<T: TryFrom<i64>>(rows: &[Option<i64>]) -> Vec<Option<T>> {
    rows.iter().map(|row| row.and_then(|long| T::try_from(long).ok())).collect()
}

/// The same texts in every encoding of strings.
fn text_arrays(rows: &[Option<String>]) -> Vec<(&'static str, ArrayRef)> {
    let texts = || rows.iter().map(Option::as_deref);
    let bytes = || rows.iter().map(|text| text.as_deref().map(str::as_bytes));
    vec![
        ("utf8", Arc::new(StringArray::from_iter(texts())) as ArrayRef),
        ("large_utf8", Arc::new(LargeStringArray::from_iter(texts()))),
        ("utf8_view", Arc::new(StringViewArray::from_iter(texts()))),
        ("binary", Arc::new(BinaryArray::from_iter(bytes()))),
        ("large_binary", Arc::new(LargeBinaryArray::from_iter(bytes()))),
        ("binary_view", Arc::new(BinaryViewArray::from_iter(bytes()))),
    ]
}

fn texts(rows: usize) -> Vec<Column> {
    let texts = rows_of(rows, 2, text_of);
    let documents = rows_of(rows, 3, |row| match row % 4 {
        0 => serde_json::json!({ "row": row, "text": text_of(row), "nested": { "list": [1, 2] } }),
        1 => serde_json::json!([row, null, 1.5, "x"]),
        2 => serde_json::json!(text_of(row)),
        _ => serde_json::json!({ "missing": null, "flag": row % 8 == 3, "number": -1.25 }),
    });
    let written: Vec<Option<String>> =
        documents.iter().map(|document| document.as_ref().map(ToString::to_string)).collect();
    let mut columns = Vec::new();
    for (prefix, data_type) in [("varchar", DataType::VarChar), ("text", DataType::Text)] {
        for (encoding, array) in text_arrays(&texts) {
            let name = format!("{prefix}_{encoding}");
            let value = |text: &String| Value::Text(text.clone());
            columns.push(Column::new(name, data_type, &texts, value, array));
        }
    }
    for (encoding, array) in text_arrays(&written) {
        let name = format!("json_{encoding}");
        let value = |document: &serde_json::Value| Value::Json(document.clone());
        columns.push(Column::new(name, DataType::Json, &documents, value, array));
    }
    columns
}

fn timestamps(rows: usize) -> Vec<Column> {
    // From before 1970 to after it, with a fraction of a second.
    let micros = rows_of(rows, 4, |row| (row - 3) * 86_400_123_457);
    let in_units = |unit: i64| -> Vec<Option<i64>> {
        micros.iter().map(|micros| micros.map(|micros| micros.div_euclid(unit))).collect()
    };
    let (seconds, millis) = (in_units(1_000_000), in_units(1_000));
    let nanos: Vec<Option<i64>> =
        micros.iter().map(|micros| micros.map(|micros| micros * 1_000)).collect();
    let column = |name: &str, units: &[Option<i64>], micros_per_unit: i64, array: ArrayRef| {
        let value = |units: &i64| Value::TimestampMicros(units * micros_per_unit);
        Column::new(format!("timestamptz_{name}"), DataType::Timestamptz, units, value, array)
    };
    let micros_array = TimestampMicrosecondArray::from(micros.clone());
    vec![
        // Parquet has no seconds: only the Arrow schema in the file's metadata tells them from
        // plain integers.
        column(
            "s",
            &seconds,
            1_000_000,
            Arc::new(TimestampSecondArray::from(seconds.clone()).with_timezone("UTC")),
        ),
        column(
            "ms",
            &millis,
            1_000,
            Arc::new(TimestampMillisecondArray::from(millis.clone()).with_timezone("UTC")),
        ),
        column("us", &micros, 1, Arc::new(micros_array.clone().with_timezone("UTC"))),
        column(
            "ns",
            &micros,
            1,
            Arc::new(TimestampNanosecondArray::from(nanos).with_timezone("UTC")),
        ),
        column("us_without_zone", &micros, 1, Arc::new(micros_array.clone())),
        column("us_other_zone", &micros, 1, Arc::new(micros_array.with_timezone("+02:00"))),
        column("int64", &micros, 1, Arc::new(Int64Array::from(micros.clone()))),
    ]
}

fn geometries(rows: usize) -> Vec<Column> {
    let figures = rows_of(rows, 0, |row| {
        let x = row as f64 / 4.0;
        match row % 3 {
            0 => Geometry::Point([x, -x]),
            1 => Geometry::LineString(vec![[x, 0.0], [0.0, x], [-x, 1.5]]),
            _ => Geometry::Polygon(vec![[0.0, 0.0], [x, 0.0], [x, x], [0.0, 0.0]]),
        }
    });
    let texts = figures.iter().map(|figure| figure.as_ref().map(Geometry::wkt));
    let bytes = figures.iter().map(|figure| figure.as_ref().map(Geometry::wkb));
    let arrays: [(&str, ArrayRef); 2] = [
        ("geometry_wkt", Arc::new(StringArray::from_iter(texts))),
        ("geometry_wkb", Arc::new(BinaryArray::from_iter(bytes))),
    ];
    let value = |figure: &Geometry| Value::Wkt(figure.wkt());
    let column = |(name, array)| Column::new(name, DataType::Geometry, &figures, value, array);
    arrays.into_iter().map(column).collect()
}

/// Lengths from none to four.
fn elements_of<T>(row: i64, element: impl Fn(i64) -> T) -> Vec<T> {
    (0..row % 5).map(|number| element(row * 10 + number)).collect()
}

/// An array column; `encoding` follows the element's type in its name.
fn array_column<T>(
    element: DataType,
    encoding: &str,
    rows: &[Option<Vec<T>>],
    value: impl Fn(&T) -> Value,
    array: impl Array + 'static,
) -> Column {
    let name = format!("array_{}_{encoding}", element.name().to_ascii_lowercase());
    let values = |elements: &Vec<T>| Value::Array(elements.iter().map(&value).collect());
    let mut column = Column::new(name, DataType::Array, rows, values, Arc::new(array));
    column.element_type = Some(element);
    column
}

fn list<T: ArrowPrimitiveType>(rows: &[Option<Vec<T::Native>>]) -> ListArray {
    let row = |row: &Option<Vec<T::Native>>| Some(row.as_ref()?.clone().into_iter().map(Some));
    ListArray::from_iter_primitive::<T, _, _>(rows.iter().map(row))
}

fn integers<T: TryFrom<i64>>(rows: usize, shift: usize) -> Vec<Option<Vec<T>>> {
    let element = |seed: i64| seed * 7 % 120 - 60;
    rows_of(rows, shift, |row| {
        elements_of(row, element).into_iter().flat_map(T::try_from).collect()
    })
}

fn arrays_of_numbers(rows: usize) -> Vec<Column> {
    let int8 = integers::<i8>(rows, 1);
    let int16 = integers::<i16>(rows, 2);
    let int32 = integers::<i32>(rows, 3);
    let int64 = rows_of(rows, 4, |row| elements_of(row, |seed| seed * -1_000_000_007));
    let floats = rows_of(rows, 0, |row| elements_of(row, |seed| seed as f32 / 8.0));
    let doubles = rows_of(rows, 1, |row| elements_of(row, |seed| seed as f64 / -3.0));
    let large = |rows: &[Option<Vec<i64>>]| {
        let row = |row: &Option<Vec<i64>>| Some(row.as_ref()?.clone().into_iter().map(Some));
        LargeListArray::from_iter_primitive::<Int64Type, _, _>(rows.iter().map(row))
    };
    let long = |long: &i64| Value::Int(*long);
    let protobuf = int64.iter().map(|row| row.as_deref().map(scalar_field_of_longs));
    vec![
        array_column(
            DataType::Int8,
            "list",
            &int8,
            |number| Value::Int((*number).into()),
            list::<Int8Type>(&int8),
        ),
        array_column(
            DataType::Int16,
            "list",
            &int16,
            |number| Value::Int((*number).into()),
            list::<Int16Type>(&int16),
        ),
        array_column(
            DataType::Int32,
            "list",
            &int32,
            |number| Value::Int((*number).into()),
            list::<Int32Type>(&int32),
        ),
        array_column(DataType::Int64, "list", &int64, long, list::<Int64Type>(&int64)),
        array_column(DataType::Int64, "large_list", &int64, long, large(&int64)),
        array_column(
            DataType::Int64,
            "list_view",
            &int64,
            long,
            ListViewArray::from(list::<Int64Type>(&int64)),
        ),
        array_column(DataType::Int64, "protobuf", &int64, long, BinaryArray::from_iter(protobuf)),
        array_column(
            DataType::Float,
            "list",
            &floats,
            |float| Value::Float(*float),
            list::<Float32Type>(&floats),
        ),
        array_column(
            DataType::Double,
            "list",
            &doubles,
            |double| Value::Double(*double),
            list::<Float64Type>(&doubles),
        ),
    ]
}

fn arrays_of_texts(rows: usize) -> Vec<Column> {
    let bools = rows_of(rows, 2, |row| elements_of(row, |seed| seed % 3 == 0));
    let mut bool_lists = ListBuilder::new(BooleanBuilder::new());
    for row in &bools {
        bool_lists.append_option(row.as_ref().map(|row| row.iter().copied().map(Some)));
    }

    let texts = rows_of(rows, 3, |row| elements_of(row, text_of));
    let mut utf8 = ListBuilder::new(StringBuilder::new());
    let mut large_utf8 = ListBuilder::new(LargeStringBuilder::new());
    let mut utf8_view = ListBuilder::new(StringViewBuilder::new());
    for row in &texts {
        let elements = || row.as_ref().map(|row| row.iter().map(Some));
        utf8.append_option(elements());
        large_utf8.append_option(elements());
        utf8_view.append_option(elements());
    }
    let protobuf = texts.iter().map(|row| row.as_deref().map(scalar_field_of_strings));
    let text = |text: &String| Value::Text(text.clone());
    let varchar = DataType::VarChar;
    vec![
        array_column(
            DataType::Bool,
            "list",
            &bools,
            |bool| Value::Bool(*bool),
            bool_lists.finish(),
        ),
        array_column(varchar, "list_utf8", &texts, text, utf8.finish()),
        array_column(varchar, "list_large_utf8", &texts, text, large_utf8.finish()),
        array_column(varchar, "list_utf8_view", &texts, text, utf8_view.finish()),
        array_column(varchar, "protobuf", &texts, text, BinaryArray::from_iter(protobuf)),
    ]
}
