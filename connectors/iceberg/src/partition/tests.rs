use iceberg::spec::{NestedField, Type};
use pandion_types::{CollectionSchema, FieldId, FieldSchema};

use super::*;

fn literal(literal: PrimitiveLiteral) -> Option<Literal> {
    Some(Literal::Primitive(literal))
}

#[test]
fn texts_of_partitions_are_read_back() {
    let decimal = PrimitiveType::Decimal { precision: 20, scale: 2 };
    let values = [
        (PrimitiveLiteral::Boolean(true), PrimitiveType::Boolean),
        (PrimitiveLiteral::Int(-3), PrimitiveType::Date),
        (PrimitiveLiteral::Long(i64::MIN), PrimitiveType::Long),
        (PrimitiveLiteral::String("a\"],[\\ü".to_owned()), PrimitiveType::String),
        (PrimitiveLiteral::Double((-0.0).into()), PrimitiveType::Double),
        (PrimitiveLiteral::Int128(-(1 << 70)), decimal),
        (PrimitiveLiteral::UInt128(u128::MAX - 1), PrimitiveType::Uuid),
        (PrimitiveLiteral::Binary(vec![0, 255, 16]), PrimitiveType::Binary),
    ];
    let fields = values.iter().map(|(value, _)| literal(value.clone())).chain([None]);
    let written = text(&fields.collect());
    for (at, (value, kind)) in values.iter().enumerate() {
        assert_eq!(parse(&written, at, kind), Some(Some(value.clone())), "{written}");
    }
    assert_eq!(parse(&written, values.len(), &PrimitiveType::Int), Some(None));
    assert_eq!(parse(&written, values.len() + 1, &PrimitiveType::Int), None);
    assert_eq!(text(&Struct::empty()), "");
}

#[test]
fn equal_partitions_have_equal_texts_before_and_after_a_promotion() {
    let of = |value| text(&[literal(value)].into_iter().collect());
    assert_eq!(of(PrimitiveLiteral::Int(5)), of(PrimitiveLiteral::Long(5)));
    let (float, double) =
        (PrimitiveLiteral::Float(1.5.into()), PrimitiveLiteral::Double(1.5.into()));
    assert_eq!(of(float), of(double));
    let nans = [f64::NAN, -f64::NAN].map(|nan| of(PrimitiveLiteral::Double(nan.into())));
    assert_eq!(nans[0], nans[1]);
    assert_ne!(of(PrimitiveLiteral::Int(5)), of(PrimitiveLiteral::String("5".to_owned())));
    assert_ne!(
        of(PrimitiveLiteral::Double(0.0.into())),
        of(PrimitiveLiteral::Double((-0.0).into()))
    );
}

#[test]
fn days_of_the_calendar() {
    for (year, month, day) in
        [(1970, 0, 0), (1970, 1, 31), (2000, 2, 11_017), (1969, 0, -365), (2024, 11, 20_058)]
    {
        assert_eq!(first_day(year, month), Some(day), "{year}-{month}");
    }
}

#[test]
fn ranges_of_time_hold_what_the_transforms_give() {
    // 2026-01-02T03:04:05Z, computed by hand: 20455 days after 1970.
    let instant = 20_455 * MICROS_PER_DAY + (3 * 3600 + 4 * 60 + 5) * 1_000_000;
    for (transform, ordinal) in [
        (Transform::Year, 56),
        (Transform::Month, 672),
        (Transform::Day, 20_455),
        (Transform::Hour, 20_455 * 24 + 3),
    ] {
        let (first, last) = time_range(transform, ordinal).unwrap();
        assert!((first..=last).contains(&instant), "{transform}");
        let (_, before) = time_range(transform, ordinal - 1).unwrap();
        let (after, _) = time_range(transform, ordinal + 1).unwrap();
        assert!(before < instant && instant < after, "{transform}");
    }
    // An hour before 1970 belongs to day -1, or to day 0 by the rounding of old writers.
    for ordinal in [-1, 0] {
        let (first, last) = time_range(Transform::Day, ordinal).unwrap();
        assert!((first..=last).contains(&-3_600_000_000), "{ordinal}");
    }
    assert_eq!(time_range(Transform::Year, i64::from(i32::MAX)), None);
}

/// Statistics of a file of 10 rows in one partition of a field that is mapped to column 1.
fn applied(
    kind: &PrimitiveType,
    data_type: DataType,
    transform: Transform,
    value: Option<PrimitiveLiteral>,
) -> (ColumnStatistics, TableFile) {
    let column = NestedField::optional(1, "x", Type::Primitive(kind.clone()));
    let schema = Schema::builder().with_fields([std::sync::Arc::new(column)]).build().unwrap();
    let field = FieldSchema {
        type_params: std::collections::BTreeMap::new(),
        ..FieldSchema::mapped(100, "x", data_type)
    };
    let collection = CollectionSchema { fields: vec![field], ..CollectionSchema::default() };
    let names = std::collections::HashMap::new();
    let columns = Columns::resolve(&collection, &schema, &names).unwrap();
    let spec = PartitionSpec::builder(schema.clone())
        .add_partition_field("x", "p", transform)
        .unwrap()
        .build()
        .unwrap();
    let partition = MappedPartition::new(&spec, &schema, &columns);
    let unknown = ColumnStatistics { field: FieldId(100), null_count: None, min: None, max: None };
    let mut statistics = [unknown];
    let mut file = TableFile::default();
    let value = [value.and_then(literal)].into_iter().collect();
    partition.apply(&value, &columns, 10, &mut statistics, &mut file).unwrap();
    let [statistics] = statistics;
    (statistics, file)
}

#[test]
fn partitions_bound_columns() {
    let int = |value| Some(StatValue::Int(value));
    let text = |value: &str| Some(StatValue::String(value.to_owned()));
    let string = |value: &str| Some(PrimitiveLiteral::String(value.to_owned()));
    let (same, file) = applied(
        &PrimitiveType::Long,
        DataType::Int64,
        Transform::Identity,
        Some(PrimitiveLiteral::Long(7)),
    );
    assert_eq!((same.min, same.max, same.null_count), (int(7), int(7), Some(0)));
    assert_eq!(file.constants, [(FieldId(100), int(7))]);
    let (null, file) = applied(&PrimitiveType::Long, DataType::Int64, Transform::Identity, None);
    assert_eq!((null.min, null.max, null.null_count), (None, None, Some(10)));
    assert_eq!(file.constants, [(FieldId(100), None)]);
    let (cut, _) = applied(
        &PrimitiveType::Int,
        DataType::Int32,
        Transform::Truncate(10),
        Some(PrimitiveLiteral::Int(-10)),
    );
    assert_eq!((cut.min, cut.max), (int(-10), int(-1)));
    let (cut, _) =
        applied(&PrimitiveType::String, DataType::VarChar, Transform::Truncate(3), string("abc"));
    assert_eq!((cut.min, cut.max), (text("abc"), None));
    let (whole, _) =
        applied(&PrimitiveType::String, DataType::VarChar, Transform::Truncate(3), string("ab"));
    assert_eq!((whole.min, whole.max), (text("ab"), text("ab")));
    let (bucket, file) = applied(
        &PrimitiveType::Long,
        DataType::Int64,
        Transform::Bucket(4),
        Some(PrimitiveLiteral::Int(3)),
    );
    assert_eq!((bucket.min, bucket.max, bucket.null_count), (None, None, Some(0)));
    let expected = Bucket { field: FieldId(100), buckets: 4, bucket: Some(3) };
    assert_eq!(file.buckets, [expected]);
    let (void, file) = applied(&PrimitiveType::Long, DataType::Int64, Transform::Void, None);
    assert_eq!((void.null_count, file.constants.len()), (None, 0));
}
