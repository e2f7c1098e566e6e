use std::collections::HashMap;

use arrow::array::{
    Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array, Int8Array, Int16Array,
    Int32Array, Int64Array, ListArray, MapArray, StringArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use pandion_types::ErrorKind;

use super::*;

fn column(data_type: ArrowType) -> Field {
    Field::new("old", data_type, true)
}

fn with_id(name: &str, data_type: ArrowType, id: i32) -> FieldRef {
    let metadata = HashMap::from([(FIELD_ID_KEY.to_owned(), id.to_string())]);
    Arc::new(Field::new(name, data_type, true).with_metadata(metadata))
}

fn project(column_type: &str, array: &ArrayRef) -> ArrayRef {
    let found = column(array.data_type().clone());
    let projection = Projection::new(&IcebergType::parse(column_type).unwrap(), &found).unwrap();
    let projected = projection.apply(array).unwrap();
    assert_eq!(projected.data_type(), projection.arrow_type());
    assert_eq!(projection.keeps(), projected.data_type() == array.data_type());
    projected
}

fn refusal(column_type: &str, found: ArrowType) -> Error {
    Projection::new(&IcebergType::parse(column_type).unwrap(), &column(found)).unwrap_err()
}

#[test]
fn numbers_widen_as_the_specification_says() {
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(7)]));
    let long = project("long", &ints);
    let expected = [Some(i64::from(i32::MIN)), None, Some(7)];
    assert_eq!(long.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), expected);
    let narrow: [ArrayRef; 2] =
        [Arc::new(Int8Array::from(vec![-3])), Arc::new(Int16Array::from(vec![-3]))];
    for narrow in narrow {
        assert_eq!(project("int", &narrow).as_primitive::<Int32Type>().value(0), -3);
        assert_eq!(project("long", &narrow).as_primitive::<Int64Type>().value(0), -3);
    }
    let floats: ArrayRef = Arc::new(Float32Array::from(vec![Some(0.1), None, Some(f32::MAX)]));
    let double = project("double", &floats);
    let expected = [Some(f64::from(0.1_f32)), None, Some(f64::from(f32::MAX))];
    assert_eq!(double.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), expected);
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![Some(-1), Some(365), None]));
    let stamps = project("timestamp", &dates);
    let expected = [Some(-86_400_000_000), Some(365 * 86_400_000_000), None];
    let micros = stamps.as_primitive::<TimestampMicrosecondType>();
    assert_eq!(micros.iter().collect::<Vec<_>>(), expected);
    let decimals = Decimal128Array::from(vec![150]).with_precision_and_scale(9, 2).unwrap();
    let decimals: ArrayRef = Arc::new(decimals);
    assert_eq!(&project("decimal(12, 2)", &decimals), &decimals);
    for same in ["int", "long"] {
        let kept: ArrayRef = match same {
            "int" => Arc::new(Int32Array::from(vec![1])),
            _ => Arc::new(Int64Array::from(vec![1])),
        };
        assert_eq!(&project(same, &kept), &kept);
    }
}

#[test]
fn no_other_type_is_turned_into_the_tables() {
    use ArrowType as A;
    for (column_type, found, expected) in [
        ("int", A::Int64, "expected Arrow int32, actual Arrow int64"),
        ("long", A::Utf8, "expected Arrow int64, actual Arrow string"),
        ("long", A::UInt32, "expected Arrow int64, actual Arrow uint32"),
        ("long", A::Float32, "expected Arrow int64, actual Arrow float"),
        ("float", A::Float64, "expected Arrow float, actual Arrow double"),
        ("double", A::Int32, "expected Arrow double, actual Arrow int32"),
        ("date", A::Int32, "expected Arrow date32[day], actual Arrow int32"),
        (
            "timestamptz",
            A::Date32,
            "expected Arrow timestamp[us, tz=UTC], actual Arrow date32[day]",
        ),
        ("string", A::Date32, "expected Arrow string, actual Arrow date32[day]"),
        (
            "decimal(9,2)",
            A::Decimal128(10, 2),
            "expected Arrow decimal128(9, 2), actual Arrow decimal128(10, 2)",
        ),
        (
            "decimal(9,2)",
            A::Decimal128(9, 3),
            "expected Arrow decimal128(9, 2), actual Arrow decimal128(9, 3)",
        ),
        (
            "uuid",
            A::FixedSizeBinary(15),
            "expected Arrow string, actual Arrow fixed_size_binary[15]",
        ),
        ("list<int>", A::Int32, "expected Arrow list<item: int32>, actual Arrow int32"),
        ("variant", A::Binary, "expected Iceberg variant, actual Arrow binary"),
    ] {
        let error = refusal(column_type, found);
        assert_eq!((error.kind(), error.message()), (ErrorKind::InvalidArgument, expected));
    }
}

#[test]
fn types_that_differ_in_how_they_are_written_are_kept() {
    use ArrowType as A;
    for (column_type, found) in [
        ("string", A::LargeUtf8),
        ("string", A::Binary),
        ("binary", A::FixedSizeBinary(3)),
        ("fixed[8]", A::Binary),
        ("timestamp", A::Timestamp(TimeUnit::Millisecond, None)),
        ("timestamptz", A::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))),
        ("time", A::Time32(TimeUnit::Millisecond)),
        ("geometry", A::Binary),
        ("list<float>", A::new_fixed_size_list(A::Float32, 3, true)),
    ] {
        let column_type = IcebergType::parse(column_type).unwrap();
        assert!(Projection::new(&column_type, &column(found)).unwrap().keeps());
    }
}

#[test]
fn uuids_become_text() {
    let bytes: Vec<u8> = (0..16).collect();
    let nulls = Some(NullBuffer::from(vec![true, false]));
    let array = FixedSizeBinaryArray::new(16, [bytes, vec![0xff; 16]].concat().into(), nulls);
    let texts = project("uuid", &(Arc::new(array) as ArrayRef));
    let expected = StringArray::from(vec![Some("00010203-0405-0607-0809-0a0b0c0d0e0f"), None]);
    assert_eq!(texts.as_string::<i32>(), &expected);
}

/// What `STRUCT` was when the file was written: other names, another order, narrower, and with a
/// field that is gone.
fn old_struct() -> ArrayRef {
    let (gone, narrow): (ArrayRef, ArrayRef) = (
        Arc::new(StringArray::from(vec!["x", "y", "z"])),
        Arc::new(Int32Array::from(vec![Some(1), None, Some(3)])),
    );
    let inner = StructArray::from(vec![(
        with_id("deep", ArrowType::Float32, 7),
        Arc::new(Float32Array::from(vec![0.5, 1.5, 2.5])) as ArrayRef,
    )]);
    let inner: ArrayRef = Arc::new(inner);
    let fields: Fields = vec![
        with_id("new", ArrowType::Utf8, 9),
        with_id("inside", inner.data_type().clone(), 6),
        with_id("number", ArrowType::Int32, 4),
    ]
    .into();
    let nulls = Some(NullBuffer::from(vec![true, true, false]));
    Arc::new(StructArray::new(fields, vec![gone, inner, narrow], nulls))
}

const STRUCT: &str = r#"{"type": "struct", "fields": [
    {"id": 4, "name": "count", "required": false, "type": "long"},
    {"id": 5, "name": "new", "required": false, "type": "string"},
    {"id": 6, "name": "inside", "required": false, "type": {"type": "struct", "fields": [
        {"id": 7, "name": "deep", "required": false, "type": "double"}]}}
]}"#;

#[test]
fn fields_of_structs_are_found_by_their_ids() {
    let projected = project(STRUCT, &old_struct());
    let projected = projected.as_struct();
    let names: Vec<_> = projected.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["count", "new", "inside"]);
    assert_eq!(projected.nulls().unwrap().iter().collect::<Vec<_>>(), [true, true, false]);
    let counts = projected.column(0).as_primitive::<Int64Type>();
    assert_eq!(counts.iter().collect::<Vec<_>>(), [Some(1), None, Some(3)]);
    // The name was that of another field once.
    assert_eq!(projected.column(1).null_count(), 3);
    let deep = projected.column(2).as_struct().column(0).as_primitive::<Float64Type>();
    assert_eq!(deep.values(), &[0.5, 1.5, 2.5]);
}

#[test]
fn structs_without_ids_must_have_the_tables_fields() {
    let same: Fields =
        vec![Field::new("new", ArrowType::Utf8, true), Field::new("count", ArrowType::Int32, true)]
            .into();
    let two = r#"{"type": "struct", "fields": [
        {"id": 4, "name": "count", "required": false, "type": "long"},
        {"id": 5, "name": "new", "required": false, "type": "string"}]}"#;
    let columns: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(vec!["x"])), Arc::new(Int32Array::from(vec![1]))];
    let array: ArrayRef = Arc::new(StructArray::new(same, columns, None));
    assert_eq!(project(two, &array).as_struct().column(0).as_primitive::<Int64Type>().value(0), 1);
    for names in [&["count", "old"][..], &["count"], &["count", "new", "more"], &["new", "new"]] {
        let fields: Fields =
            names.iter().map(|name| Field::new(*name, ArrowType::Utf8, true)).collect();
        let error = refusal(two, ArrowType::Struct(fields));
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("without column ids"), "{error}");
    }
}

#[test]
fn what_a_nested_field_would_be_is_not_guessed() {
    let with_default = r#"{"type": "struct", "fields": [
        {"id": 4, "name": "n", "required": false, "type": "long"},
        {"id": 5, "name": "d", "required": false, "type": "long", "initial-default": 3}]}"#;
    let held: Fields = vec![with_id("n", ArrowType::Int64, 4)].into();
    let error = refusal(with_default, ArrowType::Struct(held));
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("lacks field 'd'"), "{error}");
    let held: Fields = vec![with_id("n", ArrowType::Utf8, 4)].into();
    let error = refusal(STRUCT, ArrowType::Struct(held));
    let expected = "field 'count' of the struct: expected Arrow int64, actual Arrow string";
    assert_eq!(error.message(), expected);
}

#[test]
fn elements_of_lists_and_maps_evolve_too() {
    let lists = vec![Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(3)])];
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists));
    let expected = vec![Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(3)])];
    let expected = ListArray::from_iter_primitive::<Int64Type, _, _>(expected);
    assert_eq!(project("list<long>", &lists).as_list::<i32>(), &expected);
    let fixed: ArrayRef = Arc::new(FixedSizeListArray::new(
        Arc::new(Field::new_list_field(ArrowType::Int32, true)),
        2,
        Arc::new(Int32Array::from(vec![1, 2, 3, 4])),
        None,
    ));
    let projected = project("list<long>", &fixed);
    let values = projected.as_fixed_size_list().values();
    assert_eq!(values.as_primitive::<Int64Type>().values(), &[1, 2, 3, 4]);
    assert_eq!(project("list<long>", &lists.slice(3, 1)).as_list::<i32>(), &expected.slice(3, 1));

    let pairs = StructArray::from(vec![
        (
            Arc::new(Field::new("key", ArrowType::Utf8, false)),
            Arc::new(StringArray::from(vec!["a", "b", "c"])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("value", ArrowType::Float32, true)),
            Arc::new(Float32Array::from(vec![0.5, 1.5, 2.5])) as ArrayRef,
        ),
    ]);
    let entries = Arc::new(Field::new("entries", pairs.data_type().clone(), false));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 2, 2, 3]));
    let map: ArrayRef = Arc::new(MapArray::new(entries, offsets, pairs, None, false));
    let projected = project("map<string, double>", &map);
    let projected = projected.as_map();
    assert_eq!(projected.values().as_primitive::<Float64Type>().values(), &[0.5, 1.5, 2.5]);
    assert_eq!(projected.offsets().as_ref(), &[0, 2, 2, 3]);
    assert_eq!(&project("map<string, float>", &map), &map);
}
