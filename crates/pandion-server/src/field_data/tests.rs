use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    ListBuilder, StringBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField};
use pandion_types::{ErrorKind, FileId};

use super::*;

fn field(data_type: DataType) -> FieldSchema {
    FieldSchema::mapped(107, "f", data_type)
}

fn vector_field(data_type: DataType, dim: usize) -> FieldSchema {
    let type_params = BTreeMap::from([("dim".to_owned(), dim.to_string())]);
    FieldSchema { type_params, ..field(data_type) }
}

fn encode(field: &FieldSchema, column: impl Array + 'static) -> FieldData {
    let column: ArrayRef = Arc::new(column);
    encode_column(field, &column, Tz::UTC).unwrap()
}

fn scalar(data: &FieldData) -> &Scalar {
    match data.field.as_ref().unwrap() {
        Field::Scalars(scalars) => scalars.data.as_ref().unwrap(),
        other => panic!("not a scalar column: {other:?}"),
    }
}

fn vector(data: &FieldData) -> (i64, &Vector) {
    match data.field.as_ref().unwrap() {
        Field::Vectors(vectors) => (vectors.dim, vectors.data.as_ref().unwrap()),
        other => panic!("not a vector column: {other:?}"),
    }
}

fn two_vectors_and_a_null(width: i32, vectors: [&[u8]; 2]) -> FixedSizeBinaryArray {
    let [first, last] = vectors;
    FixedSizeBinaryArray::try_from_sparse_iter_with_size(
        [Some(first), None, Some(last)].into_iter(),
        width,
    )
    .unwrap()
}

fn float_vectors(rows: &[Option<[f32; 2]>]) -> FixedSizeListArray {
    FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
        rows.iter().map(|row| row.map(|vector| vector.map(Some))),
        2,
    )
}

#[test]
fn column_names_its_field() {
    let data = encode(&field(DataType::Int64), Int64Array::from(vec![1]));
    assert_eq!(data.r#type, 5);
    assert_eq!(data.field_name, "f");
    assert_eq!(data.field_id, 107);
    assert!(!data.is_dynamic);
}

#[test]
fn scalars_are_dense_with_zero_for_missing() {
    let cases: Vec<(DataType, ArrayRef, Scalar)> = vec![
        (
            DataType::Bool,
            Arc::new(BooleanArray::from(vec![Some(true), None])),
            Scalar::BoolData(BoolArray { data: vec![true, false] }),
        ),
        (
            DataType::Int8,
            Arc::new(Int8Array::from(vec![Some(-8), None])),
            Scalar::IntData(IntArray { data: vec![-8, 0] }),
        ),
        (
            DataType::Int16,
            Arc::new(Int16Array::from(vec![Some(-16), None])),
            Scalar::IntData(IntArray { data: vec![-16, 0] }),
        ),
        (
            DataType::Int32,
            Arc::new(Int32Array::from(vec![Some(32), None])),
            Scalar::IntData(IntArray { data: vec![32, 0] }),
        ),
        (
            DataType::Int64,
            Arc::new(Int64Array::from(vec![Some(i64::MIN), None])),
            Scalar::LongData(LongArray { data: vec![i64::MIN, 0] }),
        ),
        (
            DataType::Float,
            Arc::new(Float32Array::from(vec![Some(0.5), None])),
            Scalar::FloatData(FloatArray { data: vec![0.5, 0.0] }),
        ),
        (
            DataType::Double,
            Arc::new(Float64Array::from(vec![Some(0.25), None])),
            Scalar::DoubleData(DoubleArray { data: vec![0.25, 0.0] }),
        ),
    ];
    for (data_type, column, expected) in cases {
        let data = encode_column(&field(data_type), &column, Tz::UTC).unwrap();
        assert_eq!(scalar(&data), &expected, "{data_type}");
        assert_eq!(data.valid_data, [true, false], "{data_type}");
    }
}

#[test]
fn texts_go_into_the_array_of_their_type() {
    let column = || StringArray::from(vec![Some("a"), None]);
    let owned = || vec!["a".to_owned(), String::new()];
    for data_type in [DataType::VarChar, DataType::Text] {
        let data = encode(&field(data_type), column());
        assert_eq!(scalar(&data), &Scalar::StringData(WireStrings { data: owned() }));
    }
    let data = encode(&field(DataType::Geometry), column());
    assert_eq!(scalar(&data), &Scalar::GeometryWktData(GeometryWktArray { data: owned() }));
    let data = encode(&field(DataType::Json), column());
    let expected = Scalar::JsonData(JsonArray { data: vec![b"a".to_vec(), Vec::new()] });
    assert_eq!(scalar(&data), &expected);
}

#[test]
fn valid_data_is_sent_for_every_nullable_field_and_no_other() {
    let full = || Int64Array::from(vec![1, 2]);
    assert_eq!(encode(&field(DataType::Int64), full()).valid_data, [true, true]);
    let key = FieldSchema { nullable: false, ..field(DataType::Int64) };
    assert!(encode(&key, full()).valid_data.is_empty());
    let column: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(2)]));
    let error = encode_column(&key, &column, Tz::UTC).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
}

#[test]
fn times_are_written_in_the_zone_of_the_request() {
    let new_york: Tz = "America/New_York".parse().unwrap();
    let london: Tz = "Europe/London".parse().unwrap();
    let micros = 1_767_225_600_000_000;
    for (micros, timezone, expected) in [
        (micros, Tz::UTC, "2026-01-01T00:00:00Z"),
        (micros + 120_000, Tz::UTC, "2026-01-01T00:00:00.12Z"),
        (micros + 1, Tz::UTC, "2026-01-01T00:00:00.000001Z"),
        (-1, Tz::UTC, "1969-12-31T23:59:59.999999Z"),
        (micros, new_york, "2025-12-31T19:00:00-05:00"),
        (micros + 500_000, new_york, "2025-12-31T19:00:00.5-05:00"),
        (micros, london, "2026-01-01T00:00:00Z"),
    ] {
        assert_eq!(format_time(micros, timezone).unwrap(), expected);
    }
    assert_eq!(format_time(i64::MAX, Tz::UTC).unwrap_err().kind(), ErrorKind::Corrupt);

    let column = TimestampMicrosecondArray::from(vec![Some(micros), None]).with_timezone("UTC");
    let data = encode(&field(DataType::Timestamptz), column);
    let expected = vec!["2026-01-01T00:00:00Z".to_owned(), String::new()];
    assert_eq!(scalar(&data), &Scalar::StringData(WireStrings { data: expected }));
    assert_eq!(data.r#type, 26);
}

#[test]
fn arrays_hold_one_typed_array_per_row() {
    let mut builder = ListBuilder::new(StringBuilder::new());
    builder.append_value([Some("a"), Some("b")]);
    builder.append_null();
    builder.append_value(Vec::<Option<&str>>::new());
    let array_field =
        FieldSchema { element_type: Some(DataType::VarChar), ..field(DataType::Array) };
    let data = encode(&array_field, builder.finish());
    let row = |texts: &[&str]| {
        let data = texts.iter().map(|text| (*text).to_owned()).collect();
        scalars(Scalar::StringData(WireStrings { data }))
    };
    let expected =
        ArrayArray { data: vec![row(&["a", "b"]), row(&[]), row(&[])], element_type: 21 };
    assert_eq!(scalar(&data), &Scalar::ArrayData(expected));
    assert_eq!(data.valid_data, [true, false, true]);
}

#[test]
fn array_with_a_null_element_is_corrupt() {
    let item = Arc::new(ArrowField::new_list_field(ArrowType::Int64, true));
    let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let column: ArrayRef =
        Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([2]), values, None));
    let array_field = FieldSchema { element_type: Some(DataType::Int64), ..field(DataType::Array) };
    let error = encode_column(&array_field, &column, Tz::UTC).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn float_vectors_are_compressed() {
    let rows = [Some([1.0, 2.0]), None, Some([3.0, 4.0])];
    let data = encode(&vector_field(DataType::FloatVector, 2), float_vectors(&rows));
    let expected = Vector::FloatVector(FloatArray { data: vec![1.0, 2.0, 3.0, 4.0] });
    assert_eq!(vector(&data), (2, &expected));
    assert_eq!(data.valid_data, [true, false, true]);

    let sliced = float_vectors(&rows).slice(1, 2);
    let data = encode(&vector_field(DataType::FloatVector, 2), sliced);
    let expected = Vector::FloatVector(FloatArray { data: vec![3.0, 4.0] });
    assert_eq!(vector(&data), (2, &expected));
}

#[test]
fn byte_vectors_are_compressed() {
    let expected = |bytes: &[u8]| bytes.to_vec();
    let data = encode(
        &vector_field(DataType::BinaryVector, 16),
        two_vectors_and_a_null(2, [&[1, 2], &[3, 4]]),
    );
    assert_eq!(vector(&data), (16, &Vector::BinaryVector(expected(&[1, 2, 3, 4]))));
    let data = encode(
        &vector_field(DataType::Int8Vector, 2),
        two_vectors_and_a_null(2, [&[1, 2], &[3, 4]]),
    );
    assert_eq!(vector(&data), (2, &Vector::Int8Vector(expected(&[1, 2, 3, 4]))));
    let data = encode(
        &vector_field(DataType::Float16Vector, 1),
        two_vectors_and_a_null(2, [&[1, 2], &[3, 4]]),
    );
    assert_eq!(vector(&data), (1, &Vector::Float16Vector(expected(&[1, 2, 3, 4]))));
    let data = encode(
        &vector_field(DataType::BFloat16Vector, 1),
        two_vectors_and_a_null(2, [&[1, 2], &[3, 4]]),
    );
    assert_eq!(vector(&data), (1, &Vector::Bfloat16Vector(expected(&[1, 2, 3, 4]))));
    assert_eq!(data.valid_data, [true, false, true]);
}

#[test]
fn column_without_rows_still_says_what_it_is() {
    let data = encode(&field(DataType::Int64), Int64Array::from(Vec::<i64>::new()));
    assert_eq!(scalar(&data), &Scalar::LongData(LongArray { data: Vec::new() }));
    let data = encode(&vector_field(DataType::FloatVector, 2), float_vectors(&[]));
    assert_eq!(vector(&data), (2, &Vector::FloatVector(FloatArray { data: Vec::new() })));
    assert!(data.valid_data.is_empty());
}

#[test]
fn column_of_another_type_is_a_defect() {
    let wrong: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    for field in [
        field(DataType::Int32),
        field(DataType::VarChar),
        field(DataType::Timestamptz),
        vector_field(DataType::FloatVector, 2),
        vector_field(DataType::Int8Vector, 2),
    ] {
        let error = encode_column(&field, &wrong, Tz::UTC).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
        assert!(error.message().contains("field f"), "{error}");
    }
    let two: ArrayRef = Arc::new(float_vectors(&[Some([1.0, 2.0])]));
    assert!(encode_column(&vector_field(DataType::FloatVector, 3), &two, Tz::UTC).is_err());
}

#[test]
fn row_ids_and_counts_are_int64() {
    let row = RowId::new(FileId::new(3).unwrap(), 7);
    let expected = IdField::IntId(LongArray { data: vec![(3 << 32) | 7] });
    assert_eq!(encode_row_ids([row]).id_field, Some(expected));
    let data = encode_count("count(*)", 42);
    assert_eq!((data.r#type, data.field_name.as_str()), (5, "count(*)"));
    assert_eq!(scalar(&data), &Scalar::LongData(LongArray { data: vec![42] }));
}
