use pandion_proto::common::KeyValuePair;
use pandion_types::{ErrorKind, FieldId};

use super::*;

fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValuePair> {
    pairs
        .iter()
        .map(|(key, value)| KeyValuePair { key: (*key).to_owned(), value: (*value).to_owned() })
        .collect()
}

fn schema() -> CollectionSchema {
    let types = [
        ("price", DataType::Double),
        ("brand", DataType::VarChar),
        ("meta", DataType::Json),
        ("tags", DataType::Array),
        ("v", DataType::FloatVector),
    ];
    let fields = (101..)
        .zip(types)
        .map(|(id, (name, data_type))| FieldSchema {
            element_type: (data_type == DataType::Array).then_some(DataType::Int64),
            ..FieldSchema::mapped(id, name, data_type)
        })
        .collect();
    CollectionSchema { fields, ..CollectionSchema::default() }
}

fn grouping(list: &[(&str, &str)]) -> Result<Option<Grouping>> {
    decode_grouping(Params(&pairs(list)), &schema())
}

fn order(text: &str) -> Result<Vec<OrderKey>> {
    decode_order(Params(&pairs(&[("order_by_fields", text)])), &schema())
}

fn key(name: &str) -> PathSegment {
    PathSegment::Key(name.to_owned())
}

#[test]
fn one_field_wins_over_several() {
    assert_eq!(grouping(&[]).unwrap(), None);
    assert_eq!(grouping(&[("group_by_field", "")]).unwrap(), None);
    let both = [("group_by_field", "brand"), ("group_by_fields", "price,v"), ("group_size", "3")];
    let found = grouping(&both).unwrap().unwrap();
    assert_eq!((found.size, found.strict), (3, false));
    assert_eq!(found.keys.len(), 1);
    assert_eq!(found.keys[0].source, ValuePath { field: FieldId(102), path: Vec::new() });
    let several = [("group_by_fields", " brand , price "), ("strict_group_size", "True")];
    let found = grouping(&several).unwrap().unwrap();
    assert_eq!(
        found.keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(),
        ["brand", "price"]
    );
    assert!(found.strict);
    assert!(!reads_single_group_value(Params(&pairs(&several))));
    assert!(reads_single_group_value(Params(&pairs(&[("group_by_field", "brand")]))));
}

#[test]
fn sizes_of_groups_are_bounded() {
    let refusal = |size: &str| {
        let list = [("group_by_field", "brand"), ("group_size", size)];
        grouping(&list).unwrap_err().message().to_owned()
    };
    assert_eq!(refusal("x"), "failed to parse input group size:x");
    for size in ["0", "-1"] {
        let expected = format!("input group size:{size} is negative, failed to do search_groupby");
        assert_eq!(refusal(size), expected);
    }
    assert_eq!(refusal("11"), "input group size:11 exceeds configured max group size:10");
}

#[test]
fn groups_inside_of_json_have_a_path_and_a_type() {
    let found = grouping(&[
        ("group_by_field", r#"meta["a,b"]["c"]"#),
        ("json_type", "Int64"),
        ("strict_cast", "true"),
    ]);
    let found = &found.unwrap().unwrap().keys[0];
    assert_eq!(found.source.path, [key("a,b"), key("c")]);
    assert_eq!(found.cast, JsonCast { to: DataType::Int64, strict: true });
    for path in [r#"meta["a"][0]"#, "/a/0"] {
        let found = grouping(&[("group_by_field", "meta"), ("json_path", path)]);
        let found = &found.unwrap().unwrap().keys[0];
        assert_eq!(found.source.path, [key("a"), PathSegment::Index(0)], "{path}");
        assert_eq!(found.cast, JsonCast { to: DataType::VarChar, strict: false });
    }
    let refusal = |list: &[(&str, &str)]| grouping(list).unwrap_err().message().to_owned();
    assert!(refusal(&[("group_by_field", "meta")]).contains("needs a path"));
    assert!(refusal(&[("group_by_field", "brand[0]")]).contains("is not a JSON type"));
    assert!(refusal(&[("group_by_fields", r#"brand,meta["a"]"#)]).contains("multi-field group_by"));
    let list = [("group_by_field", "meta"), ("json_path", "meta > 1 and meta")];
    assert!(refusal(&list).contains("is invalid"));
    let list = [("group_by_field", r#"meta["a"]"#), ("json_type", "Double")];
    assert!(refusal(&list).contains("json_type Double"));
}

#[test]
fn unknown_group_field_is_not_found() {
    let error = grouping(&[("group_by_field", "colour")]).unwrap_err();
    assert_eq!((error.kind(), error.subject()), (ErrorKind::NotFound, Subject::Field));
    assert!(error.message().contains("groupBy field not found in schema"), "{error}");
}

#[test]
fn orders_have_directions_and_places_for_nulls() {
    let found = order(r#"price, brand:DESC:nulls_last,meta["x:y"]:desc"#).unwrap();
    let expected = [
        (101, Vec::new(), false, false),
        (102, Vec::new(), true, false),
        (103, vec![key("x:y")], true, true),
    ];
    assert_eq!(found.len(), expected.len());
    for (found, (field, path, descending, nulls_first)) in found.iter().zip(expected) {
        assert_eq!(found.source, ValuePath { field: FieldId(field), path });
        assert_eq!((found.descending, found.nulls_first), (descending, nulls_first));
    }
    assert_eq!(order("").unwrap(), []);
}

#[test]
fn orders_that_make_no_sense_are_refused_by_name() {
    for (text, part) in [
        (":asc", "empty field name"),
        ("price:up", "invalid order direction 'up' for field 'price'"),
        ("price:asc:nulls_middle", "invalid null ordering 'nulls_middle'"),
        ("price:asc:nulls_last:x", "is invalid"),
        ("colour", "order_by field 'colour' does not exist in collection schema"),
        ("v", "unsortable type FloatVector"),
        ("meta", "unsortable type JSON"),
        ("tags", "unsortable type Array"),
        ("tags[0]", "has brackets but is not a JSON type"),
        ("meta[", "invalid JSON path in order_by field 'meta['"),
    ] {
        let message = order(text).unwrap_err().message().to_owned();
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn scorers_are_named() {
    let scorer = |text| decode_group_scorer(Params(&pairs(&[("rank_group_scorer", text)])));
    assert_eq!(scorer("").unwrap(), Combine::Max);
    assert_eq!(scorer("sum").unwrap(), Combine::Sum);
    assert_eq!(scorer("avg").unwrap(), Combine::Average);
    assert!(scorer("min").unwrap_err().message().contains("scorer type: min is not supported"));
}
