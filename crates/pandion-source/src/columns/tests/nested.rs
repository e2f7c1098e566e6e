//! Structs, maps and lists as JSON.

use arrow::array::{Date32Array, Decimal128Array, MapArray, StructArray};
use arrow::datatypes::{Fields, TimeUnit};

use super::*;

fn member(name: &str, array: ArrayRef) -> (Arc<Field>, ArrayRef) {
    (Arc::new(Field::new(name, array.data_type().clone(), true)), array)
}

fn documents(array: impl Array + 'static) -> Vec<Option<String>> {
    let converted = convert(&field(DataType::Json), array).unwrap();
    converted.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

#[test]
fn structs_become_documents() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
        Some(vec![Some(1), None]),
        Some(vec![]),
        None,
    ]);
    let stamps = TimestampMicrosecondArray::from(vec![Some(0), Some(1_500_000), None]);
    let decimals = Decimal128Array::from(vec![150, -25, 0]).with_precision_and_scale(38, 2);
    let members = vec![
        member("i", Arc::new(Int64Array::from(vec![Some(i64::MAX), None, Some(-1)]))),
        member("s", Arc::new(StringArray::from(vec!["a\"\u{1}ö", "", "x"]))),
        member("f", Arc::new(Float64Array::from(vec![0.5, f64::NAN, f64::INFINITY]))),
        member("b", Arc::new(BooleanArray::from(vec![true, false, true]))),
        member("l", Arc::new(list)),
        member("t", Arc::new(stamps.clone())),
        member("z", Arc::new(stamps.with_timezone("UTC"))),
        member("d", Arc::new(Date32Array::from(vec![0, 1, -1]))),
        member("n", Arc::new(decimals.unwrap())),
        member("x", Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..], b"", b"a"]))),
    ];
    let array = StructArray::from(members);
    let found = documents(array.clone());
    assert_eq!(
        found[0].as_deref(),
        Some(
            "{\"i\":9223372036854775807,\"s\":\"a\\\"\\u0001ö\",\"f\":0.5,\"b\":true,\"l\":[1,null],\
             \"t\":\"1970-01-01T00:00:00\",\"z\":\"1970-01-01T00:00:00Z\",\"d\":\"1970-01-01\",\
             \"n\":1.50,\"x\":\"00ff\"}"
        )
    );
    assert_eq!(
        found[1].as_deref(),
        Some(
            "{\"i\":null,\"s\":\"\",\"f\":null,\"b\":false,\"l\":[],\
             \"t\":\"1970-01-01T00:00:01.500\",\"z\":\"1970-01-01T00:00:01.500Z\",\
             \"d\":\"1970-01-02\",\"n\":-0.25,\"x\":\"\"}"
        )
    );
    for document in found.iter().flatten() {
        serde_json::from_str::<serde_json::Value>(document).unwrap();
    }
    assert_eq!(documents(array.slice(1, 1)), found[1..2]);
}

#[test]
fn rows_that_are_null_are_no_documents() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(2)]));
    let fields: Fields = vec![Field::new("n", ArrowType::Int64, true)].into();
    let nulls = Some(NullBuffer::from(vec![true, false]));
    let array = StructArray::new(fields, vec![numbers], nulls);
    assert_eq!(documents(array), [Some("{\"n\":null}".to_owned()), None]);
}

#[test]
fn maps_from_text_and_lists_become_documents() {
    let pairs = StructArray::from(vec![
        (
            Arc::new(Field::new("key", ArrowType::Utf8, false)),
            Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef,
        ),
        member("value", Arc::new(Int64Array::from(vec![Some(1), None]))),
    ]);
    let entries = Arc::new(Field::new("entries", pairs.data_type().clone(), false));
    let map = MapArray::new(entries, offsets(&[0, 2, 2]), pairs, None, false);
    let expected = [Some("{\"a\":1,\"b\":null}".to_owned()), Some("{}".to_owned())];
    assert_eq!(documents(map), expected);
    let lists = vec![Some(vec![Some(1), None]), None];
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(lists);
    assert_eq!(documents(lists), [Some("[1,null]".to_owned()), None]);
}

#[test]
fn what_json_cannot_hold_is_refused() {
    let map_of = |key: ArrowType| {
        let pair: Fields =
            vec![Field::new("key", key, false), Field::new("value", ArrowType::Int64, true)].into();
        let entries = Field::new("entries", ArrowType::Struct(pair), false);
        ArrowType::Map(Arc::new(entries), false)
    };
    let json = field(DataType::Json);
    assert!(check(&json, &map_of(ArrowType::Utf8)).is_ok());
    let inside = |data_type| ArrowType::Struct(vec![Field::new("x", data_type, true)].into());
    for refused in [
        map_of(ArrowType::Int64),
        inside(map_of(ArrowType::Date32)),
        ArrowType::List(item(map_of(ArrowType::Int32))),
        inside(ArrowType::Duration(TimeUnit::Second)),
        ArrowType::Int64,
    ] {
        let error = check(&json, &refused).unwrap_err();
        assert!(error.message().contains("expected Arrow string or binary"), "{error}");
    }
    assert!(check(&field(DataType::VarChar), &inside(ArrowType::Utf8)).is_err());
}
