//! What has to hold of any bytes that come as a filter: an error of a bounded length, or a filter
//! whose own text is read as the same filter. Never a panic.

use std::collections::BTreeMap;

use pandion_filter::{
    MAX_NESTING_DEPTH, TemplateValue, Templates, parse as parse_filter, pk_constraint,
};
use pandion_types::{CollectionSchema, DataType, ErrorKind, FieldId, FieldSchema, VIRTUAL_PK_NAME};

/// The longest message: a part of the text is repeated in it.
const MESSAGE_BYTES_MAX: usize = 8 << 10;

/// Holds the parser to its word on one input.
pub(crate) fn parse(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (schema, templates) = (schema(), templates());
    let filter = match parse_filter(text, &schema, &templates) {
        Ok(filter) => filter,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
            assert!(error.message().len() <= MESSAGE_BYTES_MAX, "{} bytes", error.message().len());
            return;
        }
    };
    assert!(filter.referenced_fields().len() <= schema.fields.len());
    let _rows_to_look_at = pk_constraint(&filter.predicate);
    let written = filter.to_string();
    match parse_filter(&written, &schema, &Templates::new()) {
        Ok(again) => assert!(again == filter, "{text:?} is written as {written:?}"),
        // The parentheses that make the text unambiguous may be one level too many.
        Err(error) => assert!(
            error.message().contains(&format!("exceeds {MAX_NESTING_DEPTH}")),
            "{text:?} is written as {written:?}: {error}"
        ),
    }
}

/// A field of every type that filters treat differently, with short names.
fn schema() -> CollectionSchema {
    let array = |element| (DataType::Array, Some(element));
    let fields = [
        (VIRTUAL_PK_NAME, (DataType::Int64, None)),
        ("a", (DataType::Int64, None)),
        ("b", (DataType::Bool, None)),
        ("c", (DataType::Int8, None)),
        ("f", (DataType::Float, None)),
        ("d", (DataType::Double, None)),
        ("s", (DataType::VarChar, None)),
        ("m", (DataType::Text, None)),
        ("j", (DataType::Json, None)),
        ("t", (DataType::Timestamptz, None)),
        ("g", (DataType::Geometry, None)),
        ("v", (DataType::FloatVector, None)),
        ("x", array(DataType::Int64)),
        ("y", array(DataType::VarChar)),
        ("z", array(DataType::Float)),
    ];
    let matched = BTreeMap::from([("enable_match".to_owned(), "true".to_owned())]);
    let fields =
        fields.into_iter().zip(100..).map(|((name, (data_type, element_type)), id)| FieldSchema {
            id: FieldId(id),
            name: name.to_owned(),
            description: String::new(),
            data_type,
            element_type,
            nullable: name != VIRTUAL_PK_NAME,
            is_primary_key: name == VIRTUAL_PK_NAME,
            auto_id: false,
            external_field: None,
            type_params: if name == "m" { matched.clone() } else { BTreeMap::new() },
        });
    CollectionSchema { fields: fields.collect(), ..CollectionSchema::default() }
}

fn templates() -> Templates {
    let list = vec![TemplateValue::Int64(1), TemplateValue::Int64(-2)];
    Templates::from_iter([
        ("n", TemplateValue::Int64(7)),
        ("r", TemplateValue::Double(-0.0)),
        ("q", TemplateValue::String("a\"\\%\u{0}".to_owned())),
        ("l", TemplateValue::Array(list)),
        ("o", TemplateValue::Json(b"[1, 2.5, \"x\", [true]]".to_vec())),
    ])
}
