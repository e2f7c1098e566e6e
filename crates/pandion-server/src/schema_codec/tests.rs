use pandion_types::ErrorKind;

use super::*;

fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValuePair> {
    pairs
        .iter()
        .map(|(key, value)| KeyValuePair { key: (*key).to_owned(), value: (*value).to_owned() })
        .collect()
}

fn field(name: &str, data_type: DataType, params: &[(&str, &str)]) -> schema::FieldSchema {
    schema::FieldSchema {
        name: name.to_owned(),
        data_type: data_type.code(),
        type_params: pairs(params),
        external_field: format!("{name}_column"),
        ..schema::FieldSchema::default()
    }
}

fn vector(name: &str) -> schema::FieldSchema {
    field(name, DataType::FloatVector, &[("dim", "8")])
}

fn collection(fields: Vec<schema::FieldSchema>) -> schema::CollectionSchema {
    schema::CollectionSchema {
        name: "c".to_owned(),
        fields,
        external_source: "s3://host/bucket/prefix/".to_owned(),
        external_spec: "{\"format\":\"parquet\"}".to_owned(),
        ..schema::CollectionSchema::default()
    }
}

fn decode(wire: &schema::CollectionSchema) -> Result<CollectionSchema> {
    decode_collection_schema("c", &wire.encode_to_vec())
}

/// The text with which a collection of these fields is refused.
fn refusal(fields: Vec<schema::FieldSchema>) -> String {
    decode(&collection(fields)).unwrap_err().message().to_owned()
}

/// The text with which `change` of an otherwise good schema is refused.
fn refusal_of(change: impl FnOnce(&mut schema::CollectionSchema)) -> (ErrorKind, String) {
    let mut wire = collection(vec![vector("v"), field("n", DataType::Int64, &[])]);
    change(&mut wire);
    let error = decode(&wire).unwrap_err();
    (error.kind(), error.message().to_owned())
}

#[test]
fn good_schema_gets_key_numbers_and_nulls() {
    let mut title = field("title", DataType::VarChar, &[("max_length", "100")]);
    title.description = "what it is called".to_owned();
    let mut tags = field("tags", DataType::Array, &[("max_capacity", "9"), ("max_length", "9")]);
    tags.element_type = DataType::VarChar.code();
    let schema = decode(&collection(vec![title, tags, vector("v")])).unwrap();

    let ids: Vec<i64> = schema.fields.iter().map(|field| field.id.0).collect();
    assert_eq!(ids, [100, 101, 102, 103]);
    let key = &schema.fields[0];
    assert_eq!(key.name, "__virtual_pk__");
    assert_eq!(key.data_type, DataType::Int64);
    assert!(key.is_primary_key && key.auto_id && !key.nullable);
    assert_eq!(key.external_field, None);
    assert!(schema.fields[1..].iter().all(|field| field.nullable && !field.is_primary_key));
    assert_eq!(schema.fields[1].max_length(), Some(100));
    assert_eq!(schema.fields[1].description, "what it is called");
    assert_eq!(schema.fields[2].element_type, Some(DataType::VarChar));
    assert_eq!(schema.fields[3].vector_type().unwrap().dim, 8);
    assert_eq!(schema.fields[3].external_field.as_deref(), Some("v_column"));
    assert_eq!(schema.external_source, "s3://host/bucket/prefix/");
}

#[test]
fn every_type_that_a_source_can_have_is_taken() {
    for data_type in DataType::ALL {
        let mut one =
            field("f", data_type, &[("dim", "8"), ("max_length", "9"), ("max_capacity", "9")]);
        if data_type == DataType::Array {
            one.element_type = DataType::Float.code();
        }
        let decoded = decode(&collection(vec![one, vector("v")]));
        assert_eq!(decoded.is_ok(), data_type != DataType::SparseFloatVector, "{data_type}");
    }
}

#[test]
fn source_may_come_later() {
    let mut wire = collection(vec![vector("v")]);
    wire.external_source.clear();
    wire.external_spec.clear();
    assert!(decode(&wire).is_ok());
}

#[test]
fn source_and_spec_come_together() {
    let (_, text) = refusal_of(|wire| wire.external_spec.clear());
    assert!(text.contains("both set or both empty"), "{text}");
    let (_, text) = refusal_of(|wire| wire.external_source.clear());
    assert!(text.contains("both set or both empty"), "{text}");
}

#[test]
fn ordinary_collection_is_told_what_to_do() {
    let (kind, text) = refusal_of(|wire| {
        wire.external_source.clear();
        wire.external_spec.clear();
        for field in &mut wire.fields {
            field.external_field.clear();
        }
    });
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(text.contains("Pandion serves external collections only"), "{text}");
    assert!(text.contains("external_field"), "{text}");
}

#[test]
fn features_of_ordinary_collections_are_refused_by_name() {
    let check = |change: fn(&mut schema::CollectionSchema), expected: &str| {
        let (kind, text) = refusal_of(change);
        assert_eq!(kind, ErrorKind::Unsupported, "{text}");
        assert!(text.starts_with("external collection c does not support "), "{text}");
        assert!(text.contains(expected), "{text}");
    };
    check(|wire| wire.enable_dynamic_field = true, "does not support dynamic field");
    check(|wire| wire.enable_namespace = true, "namespace");
    check(
        |wire| wire.struct_array_fields.push(schema::StructArrayFieldSchema::default()),
        "does not support struct fields",
    );
    check(
        |wire| {
            let name = "bm25".to_owned();
            wire.functions.push(schema::FunctionSchema { name, ..Default::default() });
        },
        "function bm25",
    );
    check(
        |wire| wire.fields[1].is_primary_key = true,
        "does not support user-defined primary key field n",
    );
    check(|wire| wire.fields[1].is_partition_key = true, "does not support partition key field n");
    check(
        |wire| wire.fields[1].is_clustering_key = true,
        "does not support clustering key field n",
    );
    check(|wire| wire.fields[1].auto_id = true, "does not support auto id on field n");
    check(
        |wire| wire.fields[1].default_value = Some(schema::ValueField::default()),
        "default value of field n",
    );
    check(
        |wire| wire.fields[1].data_type = DataType::SparseFloatVector.code(),
        "does not support field type SparseFloatVector",
    );
    check(|wire| wire.fields[1].data_type = 106, "does not support field type ArrayOfVector");
}

#[test]
fn types_that_are_none_are_refused() {
    let (_, text) = refusal_of(|wire| wire.fields[1].data_type = 0);
    assert!(text.contains("data type None is not valid"), "{text}");
    let (_, text) = refusal_of(|wire| wire.fields[1].data_type = 20);
    assert!(text.contains("please use VarChar type instead"), "{text}");
    let (_, text) = refusal_of(|wire| wire.fields[1].data_type = 9999);
    assert!(text.contains("9999"), "{text}");
    for element_type in [DataType::Json.code(), DataType::Array.code(), 0] {
        let mut array = field("a", DataType::Array, &[("max_capacity", "9")]);
        array.element_type = element_type;
        let text = refusal(vec![array, vector("v")]);
        assert!(text.contains("element type") && text.contains("is not supported"), "{text}");
    }
}

#[test]
fn mappings_are_complete_and_unique() {
    let (_, text) = refusal_of(|wire| wire.fields[1].external_field.clear());
    assert_eq!(text, "field 'n' in external collection c must have external_field mapping");
    let (_, text) = refusal_of(|wire| wire.fields[1].external_field = "v_column".to_owned());
    assert!(text.contains("is mapped by multiple fields: v, n"), "{text}");
    let (_, text) = refusal_of(|wire| wire.fields[1].name = "v".to_owned());
    assert_eq!(text, "duplicated field name v found");
    let (_, text) = refusal_of(|wire| wire.fields[1].name = "__virtual_pk__".to_owned());
    assert!(text.contains("__virtual_pk__") && text.contains("reserved"), "{text}");
}

#[test]
fn dimensions_have_limits() {
    let check = |data_type: DataType, dim: &str, expected: Option<&str>| {
        let result = decode(&collection(vec![field("v", data_type, &[("dim", dim)])]));
        match (result, expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => assert_eq!(error.message(), expected),
            (result, expected) => panic!("{data_type} {dim}: {result:?}, expected {expected:?}"),
        }
    };
    check(DataType::FloatVector, "2", None);
    check(DataType::FloatVector, "32768", None);
    check(DataType::FloatVector, "1", Some("invalid dimension: 1. should be in range 2 ~ 32768"));
    check(
        DataType::Float16Vector,
        "32769",
        Some(
            "invalid dimension: 32769 of field v. float vector dimension should be in range 2 ~ 32768",
        ),
    );
    check(DataType::BinaryVector, "262144", None);
    check(
        DataType::BinaryVector,
        "12",
        Some("invalid dimension: 12 of field v. binary vector dimension should be multiple of 8. "),
    );
    check(
        DataType::FloatVector,
        "many",
        Some("the value for dim of field v must be an integer, got \"many\""),
    );
    let text = refusal(vec![field("v", DataType::FloatVector, &[])]);
    assert!(text.starts_with("dimension is not defined"), "{text}");
}

#[test]
fn lengths_and_capacities_have_limits() {
    let check = |data_type: DataType, params: &[(&str, &str)], expected: &str| {
        let mut one = field("f", data_type, params);
        one.element_type = DataType::VarChar.code();
        let text = refusal(vec![one, vector("v")]);
        assert!(text.contains(expected), "{text}");
    };
    check(
        DataType::VarChar,
        &[],
        "type param(max_length) should be specified for the field(f) of collection c",
    );
    for length in ["0", "65536", "-1"] {
        check(DataType::VarChar, &[("max_length", length)], "should be in (0, 65535], but got");
    }
    check(DataType::Array, &[("max_length", "9")], "type param(max_capacity) should be specified");
    check(DataType::Array, &[("max_capacity", "9")], "type param(max_length) should be specified");
    for capacity in ["0", "4097"] {
        let params = [("max_length", "9"), ("max_capacity", capacity)];
        check(DataType::Array, &params, "should be in (0, 4096]");
    }
}

#[test]
fn numbers_of_fields_have_limits() {
    assert_eq!(
        refusal(vec![field("n", DataType::Int64, &[])]),
        "schema does not contain vector field"
    );
    let many = |count: usize| -> Vec<_> {
        let scalars = (1..count).map(|n| field(&format!("f{n}"), DataType::Int64, &[]));
        std::iter::once(vector("v")).chain(scalars).collect()
    };
    assert!(decode(&collection(many(64))).is_ok());
    assert_eq!(refusal(many(65)), "maximum field's number should be limited to 64");
    let vectors = (0..11).map(|n| vector(&format!("v{n}"))).collect();
    assert_eq!(refusal(vectors), "maximum vector field's number should be limited to 10");
}

#[test]
fn malformed_bytes_are_an_error() {
    let error = decode_collection_schema("c", &[0x0a, 0xff]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("collection c is malformed"), "{error}");
}

#[test]
fn layout_is_one_shard_and_one_partition() {
    check_layout("c", 0, 0).unwrap();
    check_layout("c", 1, 1).unwrap();
    let error = check_layout("c", 2, 0).unwrap_err();
    assert!(error.message().contains("does not support multiple shards"), "{error}");
    assert!(check_layout("c", 1, 16).is_err());
}

#[test]
fn description_says_what_was_declared() {
    let mut wire =
        collection(vec![field("n", DataType::Int32, &[("mmap.enabled", "true")]), vector("v")]);
    wire.description = "all of it".to_owned();
    let schema = decode(&wire).unwrap();
    let described = encode_collection_schema("c", "default", &schema);
    assert_eq!(described.name, "c");
    assert_eq!(described.db_name, "default");
    assert_eq!(described.description, "all of it");
    assert_eq!(described.external_source, wire.external_source);
    assert_eq!(described.external_spec, wire.external_spec);
    assert!(!described.enable_dynamic_field);
    let names: Vec<_> = described.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["__virtual_pk__", "n", "v"]);
    assert!(described.fields[0].is_primary_key && described.fields[0].auto_id);
    let mut expected = wire.fields[0].clone();
    expected.field_id = 101;
    expected.nullable = true;
    assert_eq!(described.fields[1], expected);
}
