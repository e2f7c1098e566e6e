use arrow::array::{
    Date32Array, FixedSizeBinaryArray, LargeStringArray, TimestampMicrosecondArray,
    TimestampNanosecondArray,
};
use pandion_types::ErrorKind;

use super::*;

/// A table of one column of this type.
fn columns(kind: &str) -> (TableMetadata, KeyColumns) {
    let text = format!(
        r#"{{"format-version": 2, "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1",
            "location": "s3://lake/t", "last-sequence-number": 0, "last-updated-ms": 1,
            "last-column-id": 2, "current-schema-id": 1, "schemas": [
              {{"type": "struct", "schema-id": 0, "fields": [
                {{"id": 2, "name": "dropped", "required": false, "type": "int"}}]}},
              {{"type": "struct", "schema-id": 1, "fields": [
                {{"id": 1, "name": "k", "required": false, "type": "{kind}"}}]}}],
            "default-spec-id": 0, "partition-specs": [
              {{"spec-id": 0, "fields": [
                {{"source-id": 1, "field-id": 1000, "name": "k", "transform": "identity"}}]}}],
            "last-partition-id": 1000, "default-sort-order-id": 0,
            "sort-orders": [{{"order-id": 0, "fields": []}}]}}"#
    );
    let table: TableMetadata = serde_json::from_str(&text).unwrap();
    let columns = KeyColumns::new(&table, &[1]).unwrap();
    (table, columns)
}

fn keys(columns: &KeyColumns, array: ArrayRef) -> Vec<Vec<u8>> {
    let rows = columns.keys(&columns.values(&[array], "file").unwrap()).unwrap();
    rows.iter().map(|row| row.as_ref().to_vec()).collect()
}

#[test]
fn narrower_values_of_before_a_promotion_are_the_same_keys() {
    let (_, long) = columns("long");
    let narrow: ArrayRef = Arc::new(Int32Array::from(vec![Some(-5), None]));
    let wide: ArrayRef = Arc::new(Int64Array::from(vec![Some(-5), None]));
    assert_eq!(keys(&long, narrow), keys(&long, wide));
    let (_, double) = columns("double");
    let narrow: ArrayRef = Arc::new(Float32Array::from(vec![1.5]));
    let wide: ArrayRef = Arc::new(Float64Array::from(vec![1.5]));
    assert_eq!(keys(&double, narrow), keys(&double, wide));
    let (_, decimal) = columns("decimal(20, 2)");
    let array = |precision| -> ArrayRef {
        let array = Decimal128Array::from(vec![-150]);
        Arc::new(array.with_precision_and_scale(precision, 2).unwrap())
    };
    assert_eq!(keys(&decimal, array(9)), keys(&decimal, array(20)));
    let (_, timestamp) = columns("timestamp");
    let day: ArrayRef = Arc::new(Date32Array::from(vec![2]));
    let micros = TimestampMicrosecondArray::from(vec![2 * 86_400_000_000]);
    let zoned: ArrayRef = Arc::new(micros.clone().with_timezone("Europe/Berlin"));
    assert_eq!(keys(&timestamp, day), keys(&timestamp, Arc::new(micros)));
    let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![2 * 86_400_000_000_000]));
    assert_eq!(keys(&timestamp, zoned), keys(&timestamp, nanos));
}

#[test]
fn nan_is_itself_null_is_itself_and_zeros_differ() {
    let (_, double) = columns("double");
    let values = vec![Some(f64::NAN), Some(-f64::NAN), None, None, Some(0.0), Some(-0.0)];
    let keys = keys(&double, Arc::new(Float64Array::from(values)));
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[2], keys[3]);
    assert_ne!(keys[4], keys[5]);
    assert_ne!(keys[0], keys[2]);
}

#[test]
fn texts_and_bytes_are_equal_in_every_form() {
    let (_, text) = columns("string");
    let small: ArrayRef = Arc::new(StringArray::from(vec!["", "ü"]));
    let large: ArrayRef = Arc::new(LargeStringArray::from(vec!["", "ü"]));
    let packed = arrow::compute::cast(
        &small,
        &ArrowType::Dictionary(Box::new(ArrowType::Int32), Box::new(ArrowType::Utf8)),
    );
    assert_eq!(keys(&text, Arc::clone(&small)), keys(&text, large));
    assert_eq!(keys(&text, Arc::clone(&small)), keys(&text, packed.unwrap()));
    let (_, uuid) = columns("uuid");
    let fixed = FixedSizeBinaryArray::try_from_iter([[7_u8; 16]].iter()).unwrap();
    let binary: ArrayRef = Arc::new(BinaryArray::from(vec![&[7_u8; 16][..]]));
    assert_eq!(keys(&uuid, Arc::new(fixed)), keys(&uuid, binary));
    let refused = text.values(&[Arc::new(Int64Array::from(vec![1]))], "file x").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(refused.message().contains("file x: column \"k\""), "{refused}");
}

#[test]
fn a_column_that_a_file_lacks_has_the_value_of_its_partition() {
    for (kind, partition, array) in [
        ("long", "[7]", Arc::new(Int64Array::from(vec![7])) as ArrayRef),
        ("string", "[\"x\"]", Arc::new(StringArray::from(vec!["x"]))),
        ("date", "[-1]", Arc::new(Date32Array::from(vec![-1]))),
        ("int", "[null]", Arc::new(Int32Array::from(vec![None]))),
    ] {
        let (table, columns) = columns(kind);
        let file = TableFile { partition: partition.to_owned(), ..TableFile::default() };
        let absent = columns.columns()[0].absent(&table, &file, 1).unwrap();
        assert_eq!(keys(&columns, absent), keys(&columns, array), "{kind}");
    }
}

#[test]
fn dropped_columns_are_found_and_unknown_ones_are_not() {
    let (table, _) = columns("long");
    assert_eq!(KeyColumns::new(&table, &[2]).unwrap().columns()[0].name, "dropped");
    assert_eq!(KeyColumns::new(&table, &[3]).unwrap_err().kind(), ErrorKind::Corrupt);
}
