//! The whole way from text to tree: every rule of the grammar and of the types by table, and the
//! properties that hold for any text and for any tree.

mod limits;
mod properties;
mod rules;

use std::collections::BTreeMap;

use pandion_types::{CollectionSchema, DataType, ErrorKind, FieldId, FieldSchema, VIRTUAL_PK_NAME};

use crate::{Filter, ParseOptions, Predicate, TemplateValue, Templates, parse, parse_with};

/// A field of every type that filters treat differently.
fn schema() -> CollectionSchema {
    let mut fields = vec![FieldSchema {
        is_primary_key: true,
        nullable: false,
        ..field(VIRTUAL_PK_NAME, DataType::Int64, None)
    }];
    fields.extend([
        field("a", DataType::Int64, None),
        field("b", DataType::Bool, None),
        field("i8", DataType::Int8, None),
        field("i16", DataType::Int16, None),
        field("i32", DataType::Int32, None),
        field("f", DataType::Float, None),
        field("d", DataType::Double, None),
        field("s", DataType::VarChar, None),
        field("t", DataType::Text, None),
        field("j", DataType::Json, None),
        field("ai", DataType::Array, Some(DataType::Int64)),
        field("af", DataType::Array, Some(DataType::Float)),
        field("as", DataType::Array, Some(DataType::VarChar)),
        field("ts", DataType::Timestamptz, None),
        field("g", DataType::Geometry, None),
        field("v", DataType::FloatVector, None),
        field("threshold", DataType::Int64, None),
        field("iso", DataType::Timestamptz, None),
    ]);
    let mut matched = field("m", DataType::VarChar, None);
    matched.type_params = BTreeMap::from([("enable_match".to_owned(), "true".to_owned())]);
    fields.push(matched);
    for (field, id) in fields.iter_mut().zip(100..) {
        field.id = FieldId(id);
    }
    CollectionSchema { fields, ..CollectionSchema::default() }
}

fn field(name: &str, data_type: DataType, element_type: Option<DataType>) -> FieldSchema {
    FieldSchema { element_type, external_field: None, ..FieldSchema::mapped(0, name, data_type) }
}

fn filter(text: &str) -> Filter {
    parse(text, &schema(), &Templates::new()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn predicate(text: &str) -> Predicate {
    filter(text).predicate
}

/// The message without what every message has in common.
fn detail(text: &str, templates: &Templates) -> Result<String, String> {
    match parse(text, &schema(), templates) {
        Ok(filter) => Ok(filter.to_string()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            let message = error.message();
            let body = message
                .strip_prefix("failed to create query plan: ")
                .and_then(|rest| rest.strip_suffix(": invalid parameter"))
                .unwrap_or_else(|| panic!("{message}"));
            let whole = format!("cannot parse expression: {text}, error: ");
            Err(body.strip_prefix(&whole).unwrap_or(body).to_owned())
        }
    }
}

/// The text parses, and its tree reads `expect`, which parses to the same tree.
#[track_caller]
fn check(text: &str, expect: &str) {
    assert_eq!(detail(text, &Templates::new()).as_deref(), Ok(expect), "{text}");
    assert_eq!(filter(text), filter(expect), "{text}");
}

/// The text is refused with this detail.
#[track_caller]
fn check_error(text: &str, expect: &str) {
    assert_eq!(detail(text, &Templates::new()), Err(expect.to_owned()), "{text}");
}

fn templates() -> Templates {
    use TemplateValue::{Array, Bool, Double, Int64, Json, String};
    let string = |text: &str| String(text.to_owned());
    Templates::from_iter([
        ("flag", Bool(true)),
        ("n", Int64(7)),
        ("x", Double(1.5)),
        ("nan", Double(f64::NAN)),
        ("s", string(r#"quo"te\%"#)),
        ("ids", Array(vec![Int64(3), Int64(1)])),
        ("mixed", Array(vec![Int64(3), string("x")])),
        ("none", Array(Vec::new())),
        ("json", Json(br#"[1, 2.5, "x", [true]]"#.to_vec())),
        ("object", Json(b"{}".to_vec())),
        ("broken", Json(b"[".to_vec())),
    ])
}

#[track_caller]
fn check_template(text: &str, expect: Result<&str, &str>) {
    let found = detail(text, &templates());
    assert_eq!(found.as_deref().map_err(String::as_str), expect, "{text}");
}
