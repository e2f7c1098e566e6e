//! A schema for the tests of what a query asks for.

use std::collections::BTreeMap;

use pandion_types::{CollectionSchema, DataType, FieldId, FieldSchema};

pub(crate) fn schema() -> CollectionSchema {
    let field = |id: i64, name: &str, data_type, is_primary_key: bool| FieldSchema {
        id: FieldId(id),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        element_type: None,
        nullable: !is_primary_key,
        is_primary_key,
        auto_id: is_primary_key,
        external_field: (!is_primary_key).then(|| name.to_owned()),
        type_params: BTreeMap::new(),
    };
    CollectionSchema {
        fields: vec![
            field(100, "__virtual_pk__", DataType::Int64, true),
            field(101, "price", DataType::Double, false),
            field(102, "v", DataType::FloatVector, false),
            field(103, "name", DataType::VarChar, false),
            field(104, "size", DataType::Int8, false),
            field(105, "doc", DataType::Json, false),
        ],
        ..CollectionSchema::default()
    }
}

pub(crate) fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
