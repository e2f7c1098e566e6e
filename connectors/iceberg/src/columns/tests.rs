use std::sync::Arc;

use iceberg::spec::{ListType, Literal, MapType, NestedFieldRef, StructType};
use pandion_types::{ErrorKind, FieldId};

use super::*;

fn column(id: i32, name: &str, kind: Type) -> NestedFieldRef {
    Arc::new(NestedField::optional(id, name, kind))
}

fn primitive(kind: PrimitiveType) -> Type {
    Type::Primitive(kind)
}

fn field(id: i64, name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema {
        id: FieldId(id),
        name: format!("f_{name}"),
        description: String::new(),
        data_type,
        element_type: None,
        nullable: true,
        is_primary_key: false,
        auto_id: false,
        external_field: Some(name.to_owned()),
        type_params: std::collections::BTreeMap::new(),
    }
}

fn resolve(fields: Vec<FieldSchema>, columns: Vec<NestedFieldRef>) -> Result<Vec<TableColumn>> {
    let schema = Schema::builder().with_fields(columns).build().unwrap();
    let collection = CollectionSchema { fields, ..CollectionSchema::default() };
    let names = HashMap::from([(2, vec!["b".to_owned(), "B".to_owned()])]);
    Columns::resolve(&collection, &schema, &names).map(|columns| columns.table_columns())
}

#[test]
fn fields_find_their_columns_by_name_and_keep_the_id() {
    let decimal = PrimitiveType::Decimal { precision: 9, scale: 2 };
    let default = NestedField::optional(3, "c", primitive(decimal))
        .with_initial_default(Literal::decimal(-150));
    let columns = vec![
        column(2, "b", primitive(PrimitiveType::String)),
        column(1, "a", primitive(PrimitiveType::Long)),
        Arc::new(default),
    ];
    let fields = vec![
        field(102, "c", DataType::Double),
        field(100, "a", DataType::Int64),
        field(101, "b", DataType::VarChar),
    ];
    let resolved = resolve(fields, columns).unwrap();
    let shown: Vec<_> = resolved
        .iter()
        .map(|column| (column.field.0, column.column_id, column.column_type.as_str()))
        .collect();
    assert_eq!(shown, [(100, 1, "long"), (101, 2, "string"), (102, 3, "decimal(9, 2)")]);
    assert_eq!(resolved[1].names, ["b", "B"]);
    assert_eq!(resolved[2].default, Some(StatValue::Float(-1.5)));
}

#[test]
fn the_report_of_problems_is_complete() {
    let columns = vec![
        column(1, "a", primitive(PrimitiveType::Long)),
        column(2, "A", primitive(PrimitiveType::Float)),
        column(
            3,
            "s",
            Type::Struct(StructType::new(vec![column(4, "x", primitive(PrimitiveType::Int))])),
        ),
    ];
    let fields = vec![
        field(100, "a", DataType::VarChar),
        field(101, "b", DataType::Int64),
        field(102, "s.x", DataType::Int32),
        field(103, "A", DataType::Float),
    ];
    let error = resolve(fields, columns).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    for text in [
        "field type mismatch for field 'f_a' (external_field 'a')",
        "Column 'b' not found in schema; the table's columns are a, A, s",
        "Column 's.x' not found in schema, where it is nested",
    ] {
        assert!(error.message().contains(text), "{text} is not in {error}");
    }
    assert!(!error.message().contains("'A'"), "{error}");
}

#[test]
fn a_default_that_no_field_can_have_is_refused() {
    let default = NestedField::optional(1, "v", primitive(PrimitiveType::Fixed(8)))
        .with_initial_default(Literal::fixed([0; 8]));
    let mut vector = field(100, "v", DataType::FloatVector);
    vector.type_params.insert("dim".to_owned(), "2".to_owned());
    let error = resolve(vec![vector], vec![Arc::new(default)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.message().contains("initial default"), "{error}");
}

#[test]
fn types_are_written_as_they_are_read() {
    use pandion_source::columns::IcebergType;
    let float = Arc::new(NestedField::list_element(2, primitive(PrimitiveType::Float), false));
    let map = MapType::optional(
        3,
        primitive(PrimitiveType::String),
        4,
        Type::List(ListType::new(Arc::clone(&float))),
    );
    let nested = Type::Struct(StructType::new(vec![
        column(5, "x", primitive(PrimitiveType::TimestamptzNs)),
        column(6, "m", Type::Map(map)),
    ]));
    for kind in [
        primitive(PrimitiveType::Boolean),
        primitive(PrimitiveType::Fixed(512)),
        primitive(PrimitiveType::Decimal { precision: 38, scale: 10 }),
        primitive(PrimitiveType::Timestamp),
        Type::List(ListType::new(float)),
        nested,
    ] {
        let text = type_text(&kind).unwrap();
        assert!(IcebergType::parse(&text).is_ok(), "{text}");
    }
    assert_eq!(type_text(&primitive(PrimitiveType::Fixed(512))).unwrap(), "fixed[512]");
}
