use pandion_types::ErrorKind;

use super::*;

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

const STRUCT: &str = r#"{"type": "struct", "fields": [
    {"id": 4, "name": "a, <b>", "required": false, "type": "decimal(9,2)", "doc": "x"},
    {"id": 5, "name": "l", "required": true, "initial-default": 3,
     "type": {"type": "list", "element-id": 6, "element-required": true, "element": "uuid"}},
    {"id": 7, "name": "m", "required": false, "type":
     {"type": "map", "key-id": 8, "key": "string", "value-id": 9, "value-required": false,
      "value": "fixed[3]"}}
]}"#;

#[test]
fn types_are_read_from_every_form_of_their_text() {
    for (text, shown) in [
        ("boolean", "boolean"),
        ("long", "long"),
        (" timestamptz_ns ", "timestamptz_ns"),
        ("\"long\"", "long"),
        ("decimal(9,2)", "decimal(9, 2)"),
        ("decimal( 38 , 0 )", "decimal(38, 0)"),
        ("fixed[16]", "fixed[16]"),
        ("fixed(16)", "fixed[16]"),
        ("geometry", "geometry"),
        ("geometry(srid:4326)", "geometry"),
        ("geography(OGC:CRS84, spherical)", "geography"),
        ("list<float>", "list<float>"),
        ("list<list<decimal(9,2)>>", "list<list<decimal(9, 2)>>"),
        ("map<string,int>", "map<string, int>"),
        ("map<decimal(9,2), map<int, list<string>>>", "map<decimal(9, 2), map<int, list<string>>>"),
        (STRUCT, "struct<a, <b>: decimal(9, 2), l: list<uuid>, m: map<string, fixed[3]>>"),
    ] {
        let read = IcebergType::parse(text).unwrap();
        assert_eq!(read.to_string(), shown);
    }
    let IcebergType::Struct(fields) = IcebergType::parse(STRUCT).unwrap() else { panic!() };
    let told: Vec<_> =
        fields.iter().map(|field| (field.id, field.name.as_str(), field.has_default)).collect();
    assert_eq!(told, [(Some(4), "a, <b>", false), (Some(5), "l", true), (Some(7), "m", false)]);
}

#[test]
fn what_is_no_type_is_refused_by_name() {
    let deep = format!("{}int{}", "list<".repeat(100_000), ">".repeat(100_000));
    let deep_json = "{\"type\":\"list\",\"element-id\":1,\"element\":".repeat(100_000);
    for text in [
        "",
        "integer",
        "decimal",
        "decimal(0,0)",
        "decimal(39,0)",
        "decimal(9,99)",
        "decimal(300,2)",
        "fixed",
        "fixed[-1]",
        "fixed[99999999999]",
        "fixed[16",
        "list<>",
        "list<int",
        "list",
        "map<string>",
        "map<string,>",
        "struct<a: int>",
        "{}",
        "{\"type\": \"struct\"}",
        "{\"type\": \"list\", \"element\": \"int\"}",
        "{\"type\": \"tuple\"}",
        "\"integer\"",
        "{",
        &deep,
        &deep_json,
    ] {
        let error = IcebergType::parse(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains(text), "{}", &text[..text.len().min(40)]);
    }
}

#[test]
fn every_type_is_admitted_by_its_fields_and_no_others() {
    use DataType as D;
    let scalars = [
        D::Bool,
        D::Int8,
        D::Int16,
        D::Int32,
        D::Int64,
        D::Float,
        D::Double,
        D::VarChar,
        D::Text,
        D::Json,
        D::Geometry,
        D::Timestamptz,
    ];
    let text = [D::VarChar, D::Text];
    let anything_textual = [D::VarChar, D::Text, D::Json, D::Geometry];
    let cases: [(&str, &[DataType]); 25] = [
        ("boolean", &[D::Bool]),
        ("int", &[D::Int32]),
        ("long", &[D::Int64, D::Timestamptz]),
        ("float", &[D::Float]),
        ("double", &[D::Double]),
        ("decimal(9,2)", &[D::Double, D::VarChar, D::Text]),
        ("date", &[D::VarChar, D::Text, D::Timestamptz]),
        ("time", &[D::Int64]),
        ("timestamp", &[D::Int64, D::Timestamptz]),
        ("timestamptz", &[D::Int64, D::Timestamptz]),
        ("timestamp_ns", &[D::Int64, D::Timestamptz]),
        ("timestamptz_ns", &[D::Int64, D::Timestamptz]),
        ("string", &anything_textual),
        ("uuid", &text),
        ("fixed[16]", &[]),
        ("binary", &anything_textual),
        ("unknown", &[]),
        ("variant", &[]),
        ("geometry", &[D::Geometry]),
        ("geography", &[]),
        (STRUCT, &[D::Json]),
        ("map<string, int>", &[D::Json]),
        ("map<int, int>", &[]),
        ("list<int>", &[D::Json]),
        ("list<list<string>>", &[D::Json]),
    ];
    for (column_type, admitted) in cases {
        for data_type in scalars {
            let checked = check_iceberg(&field(data_type), column_type);
            assert_eq!(checked.is_ok(), admitted.contains(&data_type), "{column_type} {data_type}");
        }
    }
    for (field, column_type, fits) in [
        (array_of(D::Int32), "list<int>", true),
        (array_of(D::Int64), "list<int>", false),
        (array_of(D::Double), "list<decimal(9,2)>", true),
        (array_of(D::VarChar), "list<uuid>", true),
        (array_of(D::VarChar), "list<list<string>>", false),
        (array_of(D::Float), "binary", true),
        (vector(D::FloatVector, 4), "list<float>", true),
        (vector(D::FloatVector, 4), "list<double>", false),
        (vector(D::FloatVector, 4), "fixed[16]", true),
        (vector(D::FloatVector, 4), "fixed[15]", false),
        (vector(D::FloatVector, 4), "binary", true),
        (vector(D::FloatVector, 4), "uuid", false),
        (vector(D::BinaryVector, 128), "fixed[16]", true),
        (vector(D::Int8Vector, 16), "fixed[16]", true),
        (vector(D::BFloat16Vector, 8), "fixed[16]", true),
    ] {
        let checked = check_iceberg(&field, column_type);
        assert_eq!(checked.is_ok(), fits, "{column_type} {}", field.data_type);
    }
}

#[test]
fn refusals_name_both_types_and_what_is_possible() {
    for (data_type, column_type, expected) in [
        (
            DataType::Int8,
            "int",
            "field type mismatch for field 'f' (external_field 'c'), expected Arrow int8, actual \
             Arrow int32: the column has the Iceberg type int, which can be mapped to Int32",
        ),
        (
            DataType::Json,
            "variant",
            "field type mismatch for field 'f' (external_field 'c'), expected JSON, actual \
             Iceberg variant: the column has the Iceberg type variant, which is not supported",
        ),
        (
            DataType::Bool,
            "list<float>",
            "field type mismatch for field 'f' (external_field 'c'), expected Arrow bool, actual \
             Arrow list<item: float>: the column has the Iceberg type list<float>, which can be \
             mapped to FloatVector, Array of Float or JSON",
        ),
        (
            DataType::Json,
            "map<int, int>",
            "field type mismatch for field 'f' (external_field 'c'), expected Arrow string or \
             binary, actual Arrow map<entries: struct<key: int32, value: int32>>: the column has \
             the Iceberg type map<int, int>, which is not supported",
        ),
    ] {
        let error = check_iceberg(&field(data_type), column_type).unwrap_err();
        assert_eq!(error.message(), expected);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    let error = check_iceberg(&vector(DataType::FloatVector, 4), "fixed[12]").unwrap_err();
    assert!(error.message().starts_with("vector byte width mismatch"), "{error}");
    assert!(error.message().contains("fixed[12], which can be mapped to a vector of 12 bytes"));
}
