use arrow::array::AsArray;
use arrow::array::{
    BinaryArray, BinaryViewArray, BooleanArray, DictionaryArray, FixedSizeBinaryArray,
    FixedSizeListArray, Float16Array, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, LargeBinaryArray, LargeListArray, LargeStringArray, ListArray,
    ListViewArray, StringArray, StringViewArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt8Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{Float32Type, Int32Type, TimestampMicrosecondType};
use half::f16;
use pandion_types::ErrorKind;

use super::*;

mod exact;
mod nested;
mod serialized;

fn field(data_type: DataType) -> FieldSchema {
    FieldSchema { external_field: Some("c".to_owned()), ..FieldSchema::mapped(100, "f", data_type) }
}

fn vector(data_type: DataType, dim: usize) -> FieldSchema {
    let mut field = field(data_type);
    field.type_params.insert("dim".to_owned(), dim.to_string());
    field
}

fn array_of(element: DataType) -> FieldSchema {
    FieldSchema { element_type: Some(element), ..field(DataType::Array) }
}

fn item(data_type: ArrowType) -> Arc<Field> {
    Arc::new(Field::new("element", data_type, true))
}

fn convert(field: &FieldSchema, array: impl Array + 'static) -> Result<ArrayRef> {
    let converted = to_canonical(field, &(Arc::new(array) as ArrayRef))?;
    assert_eq!(*converted.data_type(), canonical_type(field).unwrap());
    Ok(converted)
}

fn error_of(field: &FieldSchema, array: impl Array + 'static) -> String {
    convert(field, array).unwrap_err().message().to_owned()
}

fn offsets(offsets: &[i32]) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(offsets.to_vec()))
}

#[test]
fn scalars_need_their_exact_type() {
    let arrays: [(DataType, ArrayRef); 7] = [
        (DataType::Bool, Arc::new(BooleanArray::from(vec![Some(true), None]))),
        (DataType::Int8, Arc::new(Int8Array::from(vec![Some(1), None]))),
        (DataType::Int16, Arc::new(Int16Array::from(vec![Some(1), None]))),
        (DataType::Int32, Arc::new(Int32Array::from(vec![Some(1), None]))),
        (DataType::Int64, Arc::new(Int64Array::from(vec![Some(1), None]))),
        (DataType::Float, Arc::new(Float32Array::from(vec![Some(1.5), None]))),
        (DataType::Double, Arc::new(Float64Array::from(vec![Some(1.5), None]))),
    ];
    for (data_type, _) in &arrays {
        for (other, array) in &arrays {
            let converted = to_canonical(&field(*data_type), array);
            if data_type == other {
                assert_eq!(converted.unwrap().to_data(), array.to_data());
            } else {
                let error = converted.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidArgument);
                assert!(error.message().starts_with("field type mismatch for field 'f'"));
            }
        }
    }
}

#[test]
fn mismatches_have_the_texts_that_clients_match() {
    for (field, source, expected) in [
        (
            field(DataType::Int8),
            ArrowType::Utf8,
            "field type mismatch for field 'f' (external_field 'c'), expected Arrow int8, actual \
             Arrow string",
        ),
        (
            field(DataType::Bool),
            ArrowType::Decimal128(10, 2),
            "field type mismatch for field 'f' (external_field 'c'), expected Arrow bool, actual \
             Arrow decimal128(10, 2)",
        ),
        (
            field(DataType::VarChar),
            ArrowType::Int64,
            "field type mismatch for field 'f' (external_field 'c'), expected Arrow string or \
             binary, actual Arrow int64",
        ),
        (
            array_of(DataType::VarChar),
            ArrowType::List(item(ArrowType::Int64)),
            "array element type mismatch for field 'f' (external_field 'c'), expected VARCHAR, \
             actual INT64",
        ),
        (
            vector(DataType::FloatVector, 4),
            ArrowType::List(item(ArrowType::Float64)),
            "vector element type mismatch for field 'f' (external_field 'c'), expected Arrow \
             float or uint8, actual Arrow double",
        ),
        (
            vector(DataType::FloatVector, 4),
            ArrowType::FixedSizeList(item(ArrowType::Float32), 3),
            "vector list length mismatch for field 'f' (external_field 'c'), expected 4, actual 3",
        ),
        (
            vector(DataType::BinaryVector, 16),
            ArrowType::FixedSizeBinary(3),
            "vector byte width mismatch for field 'f' (external_field 'c'), expected 2, actual 3",
        ),
        (
            vector(DataType::FloatVector, 4),
            ArrowType::Struct(vec![Field::new("a", ArrowType::Date32, true)].into()),
            "field type mismatch for field 'f' (external_field 'c'), expected Arrow list or \
             fixed_size_list of float, or binary, actual Arrow struct<a: date32[day]>",
        ),
    ] {
        let error = check(&field, &source).unwrap_err();
        assert_eq!(error.message(), expected);
        assert_eq!(error.subject(), Subject::Field);
    }
    let sparse = check(&field(DataType::SparseFloatVector), &ArrowType::Binary).unwrap_err();
    assert_eq!(sparse.kind(), ErrorKind::Unsupported);
    assert!(sparse.message().contains("does not support field type SparseFloatVector"));
}

#[test]
fn text_of_every_encoding_becomes_utf8() {
    let expected = StringArray::from(vec![Some("aü"), None, Some("")]);
    let values = vec![Some("aü"), None, Some("")];
    let bytes: Vec<_> = values.iter().map(|value| value.map(str::as_bytes)).collect();
    let keys = Int32Array::from(vec![Some(1), None, Some(0)]);
    let dictionary = StringArray::from(vec!["", "aü"]);
    for data_type in [DataType::VarChar, DataType::Text, DataType::Json] {
        let field = field(data_type);
        let arrays: [ArrayRef; 7] = [
            Arc::new(StringArray::from(values.clone())),
            Arc::new(LargeStringArray::from(values.clone())),
            Arc::new(StringViewArray::from(values.clone())),
            Arc::new(BinaryArray::from(bytes.clone())),
            Arc::new(LargeBinaryArray::from(bytes.clone())),
            Arc::new(BinaryViewArray::from_iter(bytes.clone())),
            Arc::new(DictionaryArray::new(keys.clone(), Arc::new(dictionary.clone()))),
        ];
        for array in arrays {
            let converted = to_canonical(&field, &array).unwrap();
            assert_eq!(converted.as_string::<i32>(), &expected, "{}", array.data_type());
        }
    }
    let broken = BinaryArray::from(vec![Some(&b"ok"[..]), None, Some(&[0xff, 0xfe])]);
    let error = convert(&field(DataType::Json), broken).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(error.message(), "field 'f' (external_field 'c') at row 2 is not UTF-8");
}

#[test]
fn a_long_value_is_no_error() {
    let mut limited = field(DataType::VarChar);
    limited.type_params.insert("max_length".to_owned(), "2".to_owned());
    assert_eq!(convert(&limited, StringArray::from(vec!["longer"])).unwrap().len(), 1);
}

#[test]
fn timestamps_of_every_unit_become_microseconds() {
    let tz = field(DataType::Timestamptz);
    let arrays: [ArrayRef; 6] = [
        Arc::new(TimestampSecondArray::from(vec![Some(-2), None])),
        Arc::new(TimestampMillisecondArray::from(vec![Some(-2000), None])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(-2_000_000), None])),
        Arc::new(TimestampNanosecondArray::from(vec![Some(-1_999_999_999), None])),
        Arc::new(TimestampNanosecondArray::from(vec![Some(-2_000_000_000), None])),
        Arc::new(Int64Array::from(vec![Some(-2_000_000), None])),
    ];
    for array in arrays {
        let converted = to_canonical(&tz, &array).unwrap();
        assert_eq!(*converted.data_type(), canonical_type(&tz).unwrap());
        let micros = converted.as_primitive::<TimestampMicrosecondType>();
        assert_eq!(micros.iter().collect::<Vec<_>>(), [Some(-2_000_000), None]);
    }
    let zoned = TimestampSecondArray::from(vec![1]).with_timezone("+05:00");
    let converted = convert(&tz, zoned).unwrap();
    assert_eq!(converted.as_primitive::<TimestampMicrosecondType>().value(0), 1_000_000);
    let message = error_of(&tz, TimestampSecondArray::from(vec![Some(1), None, Some(i64::MAX)]));
    assert!(message.contains("at row 2 is a timestamp outside the range"), "{message}");
}

/// Little-endian WKB of a geometry collection of depth `depth` round a point.
fn nested(depth: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..depth {
        bytes.extend([1, 7, 0, 0, 0, 1, 0, 0, 0]);
    }
    bytes.extend(point());
    bytes
}

fn point() -> Vec<u8> {
    let mut bytes = vec![1, 1, 0, 0, 0];
    bytes.extend(10.0_f64.to_le_bytes());
    bytes.extend((-20.5_f64).to_le_bytes());
    bytes
}

#[test]
fn geometries_become_well_known_text() {
    let geometry = field(DataType::Geometry);
    let mut big_endian = vec![0, 0, 0, 0, 1];
    big_endian.extend(10.0_f64.to_be_bytes());
    big_endian.extend((-20.5_f64).to_be_bytes());
    let mut extended = vec![1, 1, 0, 0, 0x20, 0xe6, 0x10, 0, 0];
    extended.extend(&point()[5..]);
    let source = BinaryArray::from(vec![
        Some(point().as_slice()),
        None,
        Some(&big_endian),
        Some(&extended),
        Some(&nested(1)),
    ]);
    let converted = convert(&geometry, source).unwrap();
    let expected = StringArray::from(vec![
        Some("POINT(10 -20.5)"),
        None,
        Some("POINT(10 -20.5)"),
        Some("POINT(10 -20.5)"),
        Some("GEOMETRYCOLLECTION(POINT(10 -20.5))"),
    ]);
    assert_eq!(converted.as_string::<i32>(), &expected);
    let text = StringArray::from(vec!["POINT (1 2)"]);
    assert_eq!(convert(&geometry, text.clone()).unwrap().as_string::<i32>(), &text);
}

#[test]
fn malformed_geometries_are_errors_and_not_crashes() {
    let geometry = field(DataType::Geometry);
    let huge_count = [1, 2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    let mut trailing = point();
    trailing.push(0);
    for bytes in [&b""[..], b"\x01", &point()[..20], &huge_count, &trailing, &nested(200_000)] {
        let message = error_of(&geometry, BinaryArray::from(vec![Some(bytes)]));
        let expected =
            "field 'f' (external_field 'c') at row 0 is not a well-known binary geometry";
        assert_eq!(message, expected);
    }
}

#[test]
fn arrays_of_every_list_kind_become_lists() {
    let ints = array_of(DataType::Int32);
    let expected = vec![Some(vec![Some(1), Some(2)]), None, Some(vec![]), Some(vec![Some(3)])];
    let expected = ListArray::from_iter_primitive::<Int32Type, _, _>(expected);
    let values: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
    let shuffled: ArrayRef = Arc::new(Int32Array::from(vec![3, 9, 1, 2]));
    let nulls = Some(NullBuffer::from(vec![true, false, true, true]));
    let view = ListViewArray::new(
        item(ArrowType::Int32),
        ScalarBuffer::from(vec![2, 1, 0, 0]),
        ScalarBuffer::from(vec![2, 1, 0, 1]),
        shuffled,
        nulls.clone(),
    );
    let large = LargeListArray::new(
        item(ArrowType::Int32),
        OffsetBuffer::new(ScalarBuffer::from(vec![0_i64, 2, 2, 2, 3])),
        Arc::clone(&values),
        nulls.clone(),
    );
    let list = ListArray::new(item(ArrowType::Int32), offsets(&[0, 2, 2, 2, 3]), values, nulls);
    let arrays: [ArrayRef; 3] = [Arc::new(view), Arc::new(large), Arc::new(list)];
    for array in arrays {
        let converted = to_canonical(&ints, &array).unwrap();
        assert_eq!(*converted.data_type(), canonical_type(&ints).unwrap());
        assert_eq!(converted.as_list::<i32>(), &expected, "{}", array.data_type());
        let sliced = to_canonical(&ints, &array.slice(2, 2)).unwrap();
        assert_eq!(sliced.as_list::<i32>(), &expected.slice(2, 2));
    }
}

#[test]
fn elements_of_arrays_are_converted_and_never_null() {
    let words = Arc::new(LargeStringArray::from(vec!["a", "b"]));
    let list = ListArray::new(item(ArrowType::LargeUtf8), offsets(&[0, 1, 2]), words, None);
    let converted = convert(&array_of(DataType::VarChar), list).unwrap();
    let values = converted.as_list::<i32>().values().as_string::<i32>().clone();
    assert_eq!(values, StringArray::from(vec!["a", "b"]));

    let values: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(2), None]));
    let same = Arc::clone(&values);
    let list = ListArray::new(item(ArrowType::Int32), offsets(&[0, 1, 3]), same, None);
    let message = error_of(&array_of(DataType::Int32), list);
    assert_eq!(message, "field 'f' (external_field 'c') at row 1 has a null element");
    // What lies behind a null row is not looked at.
    let nulls = Some(NullBuffer::from(vec![true, false]));
    let list = ListArray::new(item(ArrowType::Int32), offsets(&[0, 1, 3]), values, nulls);
    assert_eq!(convert(&array_of(DataType::Int32), list).unwrap().null_count(), 1);

    let error = check(&array_of(DataType::Int8), &ArrowType::Utf8).unwrap_err();
    assert!(error.message().ends_with("expected Arrow list or binary, actual Arrow string"));
    assert!(canonical_type(&array_of(DataType::Json)).is_err());
}

/// Two vectors with a null row between them.
const COMPONENTS: [f32; 4] = [1.0, -2.0, 0.5, 4.0];

fn float_bytes() -> Vec<u8> {
    COMPONENTS.iter().flat_map(|component| component.to_le_bytes()).collect()
}

fn middle_null() -> Option<NullBuffer> {
    Some(NullBuffer::from(vec![true, false, true]))
}

fn float_encodings() -> Vec<ArrayRef> {
    let bytes = float_bytes();
    let (first, second) = bytes.split_at(8);
    let rows = vec![Some(first), None, Some(second)];
    let floats: ArrayRef = Arc::new(Float32Array::from(COMPONENTS.to_vec()));
    let padded = Float32Array::from(vec![Some(1.0), Some(-2.0), None, None, Some(0.5), Some(4.0)]);
    let padded_bytes: Vec<u8> = [first, &[7; 8], second].concat();
    let byte_values: ArrayRef = Arc::new(UInt8Array::from(bytes.clone()));
    let reversed = Float32Array::from(vec![9.0, 0.5, 4.0, 1.0, -2.0]);
    vec![
        Arc::new(ListArray::new(
            item(ArrowType::Float32),
            offsets(&[0, 2, 2, 4]),
            Arc::clone(&floats),
            middle_null(),
        )),
        Arc::new(LargeListArray::new(
            item(ArrowType::Float32),
            OffsetBuffer::new(ScalarBuffer::from(vec![0_i64, 2, 2, 4])),
            floats,
            middle_null(),
        )),
        Arc::new(ListViewArray::new(
            item(ArrowType::Float32),
            ScalarBuffer::from(vec![3, 0, 1]),
            ScalarBuffer::from(vec![2, 0, 2]),
            Arc::new(reversed),
            middle_null(),
        )),
        Arc::new(FixedSizeListArray::new(
            item(ArrowType::Float32),
            2,
            Arc::new(padded),
            middle_null(),
        )),
        Arc::new(ListArray::new(
            item(ArrowType::UInt8),
            offsets(&[0, 8, 8, 16]),
            byte_values,
            middle_null(),
        )),
        Arc::new(FixedSizeListArray::new(
            item(ArrowType::UInt8),
            8,
            Arc::new(UInt8Array::from(padded_bytes.clone())),
            middle_null(),
        )),
        Arc::new(FixedSizeBinaryArray::new(8, padded_bytes.into(), middle_null())),
        Arc::new(BinaryArray::from(rows.clone())),
        Arc::new(LargeBinaryArray::from(rows.clone())),
        Arc::new(BinaryViewArray::from_iter(rows)),
    ]
}

fn floats_of(array: &ArrayRef) -> Vec<Option<Vec<f32>>> {
    let list = array.as_fixed_size_list();
    list.iter()
        .map(|row| row.map(|row| row.as_primitive::<Float32Type>().values().to_vec()))
        .collect()
}

#[test]
fn float_vectors_of_every_encoding_agree() {
    let field = vector(DataType::FloatVector, 2);
    let expected = vec![Some(vec![1.0, -2.0]), None, Some(vec![0.5, 4.0])];
    for array in float_encodings() {
        let converted = to_canonical(&field, &array).unwrap();
        assert_eq!(*converted.data_type(), canonical_type(&field).unwrap());
        assert_eq!(floats_of(&converted), expected, "{}", array.data_type());
        for (start, length) in [(1, 2), (2, 1), (0, 0), (3, 0)] {
            let sliced = to_canonical(&field, &array.slice(start, length)).unwrap();
            assert_eq!(floats_of(&sliced), expected[start..start + length]);
        }
    }
}

#[test]
fn vectors_that_lie_back_to_back_are_not_copied() {
    let field = vector(DataType::FloatVector, 2);
    let values = Float32Array::from(COMPONENTS.to_vec());
    let address = values.values().as_ptr();
    let list =
        ListArray::new(item(ArrowType::Float32), offsets(&[0, 2, 4]), Arc::new(values), None);
    let converted = convert(&field, list).unwrap();
    let values = converted.as_fixed_size_list().values().as_primitive::<Float32Type>();
    assert_eq!(values.values().as_ptr(), address);
}

#[test]
fn misaligned_bytes_are_read_all_the_same() {
    let field = vector(DataType::FloatVector, 2);
    let mut bytes = vec![0_u8];
    bytes.extend(float_bytes());
    let buffer = arrow::buffer::Buffer::from(bytes).slice(1);
    let array = FixedSizeBinaryArray::new(8, buffer, None);
    let converted = convert(&field, array).unwrap();
    assert_eq!(floats_of(&converted), [Some(vec![1.0, -2.0]), Some(vec![0.5, 4.0])]);
}

fn bytes_of(array: &ArrayRef) -> Vec<Option<Vec<u8>>> {
    array.as_fixed_size_binary().iter().map(|row| row.map(<[u8]>::to_vec)).collect()
}

#[test]
fn narrow_vectors_of_every_encoding_become_bytes() {
    let halves = [f16::from_f32(1.5), f16::from_f32(-2.0)];
    let half_bytes: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
    let signed = vec![-1_i8, 2, -3, 4];
    let signed_bytes = vec![255_u8, 2, 253, 4];
    let list_of = |values: ArrayRef| {
        let length = i32::try_from(values.len()).unwrap();
        let item = item(values.data_type().clone());
        let same = Arc::clone(&values);
        let list = ListArray::new(Arc::clone(&item), offsets(&[0, length]), same, None);
        let fixed = FixedSizeListArray::new(item, length, values, None);
        [Arc::new(list) as ArrayRef, Arc::new(fixed) as ArrayRef]
    };
    let raw = |bytes: &[u8]| {
        let width = i32::try_from(bytes.len()).unwrap();
        let fixed = FixedSizeBinaryArray::new(width, bytes.to_vec().into(), None);
        let mut arrays =
            vec![Arc::new(fixed) as ArrayRef, Arc::new(BinaryArray::from(vec![bytes])) as ArrayRef];
        arrays.extend(list_of(Arc::new(UInt8Array::from(bytes.to_vec()))));
        arrays
    };
    let mut cases: Vec<(FieldSchema, ArrayRef, &[u8])> = Vec::new();
    for (field, bytes) in [
        (vector(DataType::Float16Vector, 2), half_bytes.as_slice()),
        (vector(DataType::BFloat16Vector, 2), half_bytes.as_slice()),
        (vector(DataType::Int8Vector, 4), signed_bytes.as_slice()),
        (vector(DataType::BinaryVector, 32), signed_bytes.as_slice()),
    ] {
        cases.extend(raw(bytes).into_iter().map(|array| (field.clone(), array, bytes)));
    }
    let field = vector(DataType::Float16Vector, 2);
    for array in list_of(Arc::new(Float16Array::from(halves.to_vec()))) {
        cases.push((field.clone(), array, &half_bytes));
    }
    let field = vector(DataType::Int8Vector, 4);
    for array in list_of(Arc::new(Int8Array::from(signed))) {
        cases.push((field.clone(), array, &signed_bytes));
    }
    for (field, array, expected) in cases {
        let converted = to_canonical(&field, &array).unwrap();
        assert_eq!(*converted.data_type(), canonical_type(&field).unwrap());
        assert_eq!(bytes_of(&converted), [Some(expected.to_vec())], "{}", array.data_type());
    }
    // The component types of one vector are not those of another.
    let halves = ArrowType::List(item(ArrowType::Float16));
    for data_type in [DataType::BFloat16Vector, DataType::Int8Vector, DataType::FloatVector] {
        assert!(check(&vector(data_type, 2), &halves).is_err());
    }
}

#[test]
fn vectors_of_a_wrong_length_or_with_null_elements_name_their_row() {
    let field = vector(DataType::FloatVector, 2);
    let floats: ArrayRef = Arc::new(Float32Array::from(COMPONENTS.to_vec()));
    let list = ListArray::new(item(ArrowType::Float32), offsets(&[0, 2, 3]), floats, None);
    assert_eq!(
        error_of(&field, list),
        "vector list length mismatch for field 'f' (external_field 'c') at row 1, expected 2, \
         actual 1"
    );
    let bytes = BinaryArray::from(vec![Some(&[0_u8; 8][..]), None, Some(&[0; 9])]);
    assert_eq!(
        error_of(&field, bytes),
        "vector byte width mismatch for field 'f' (external_field 'c') at row 2, expected 8, \
         actual 9"
    );
    let holes: ArrayRef = Arc::new(Float32Array::from(vec![Some(1.0), Some(2.0), None, Some(3.0)]));
    let list = ListArray::new(item(ArrowType::Float32), offsets(&[0, 2, 4]), holes, None);
    assert_eq!(
        error_of(&field, list),
        "field 'f' (external_field 'c') at row 1 has a null element in its vector"
    );
}

#[test]
fn vectors_without_a_usable_dimension_are_refused() {
    for field in [
        field(DataType::FloatVector),
        vector(DataType::FloatVector, 0),
        vector(DataType::BinaryVector, 12),
        vector(DataType::FloatVector, usize::MAX),
    ] {
        assert_eq!(canonical_type(&field).unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert!(check(&field, &ArrowType::Binary).is_err());
    }
}
