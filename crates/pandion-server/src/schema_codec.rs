//! The schema of a collection: from the wire, with every check of an external collection, and back.
//!
//! What passes here is complete: the virtual primary key stands first, fields have their numbers,
//! and every field of the source may lack values. Error texts are Milvus's where it has one. The
//! text of the source and of its specification is not looked at; that is for the connectors.

mod check;

use std::collections::BTreeMap;

use pandion_proto::common::KeyValuePair;
use pandion_proto::schema;
use pandion_types::{
    CollectionSchema, DataType, Error, FieldId, FieldSchema, Result, Subject, VIRTUAL_PK_NAME,
};
use prost::Message as _;

use self::check::{check_features, check_field, check_mappings, check_sizes};
use crate::names::check_field_name;

/// The number of the virtual primary key; user fields are counted on from it.
const FIRST_FIELD_ID: i64 = 100;

/// Decodes the schema of a `CreateCollection` request for the external collection `collection`.
///
/// # Errors
/// `InvalidArgument` when the bytes are no schema or the schema breaks a rule; `Unsupported` when it
/// asks for something that external collections do not have, or describes an ordinary collection.
pub(crate) fn decode_collection_schema(collection: &str, bytes: &[u8]) -> Result<CollectionSchema> {
    let wire = schema::CollectionSchema::decode(bytes).map_err(|error| {
        Error::invalid_argument(format!("the schema of collection {collection} is malformed"))
            .caused_by(error)
    })?;
    for field in &wire.fields {
        check_field_name(&field.name)?;
    }
    check_is_external(collection, &wire)?;
    check_features(collection, &wire)?;
    let mut fields = vec![virtual_primary_key()];
    for (id, field) in (FIRST_FIELD_ID + 1..).zip(&wire.fields) {
        fields.push(decode_field(collection, FieldId(id), field)?);
    }
    check_mappings(collection, &fields)?;
    check_sizes(&fields)?;
    Ok(CollectionSchema {
        description: wire.description,
        fields,
        external_source: wire.external_source,
        external_spec: wire.external_spec,
        version: 0,
    })
}

/// Checks the layout that a `CreateCollection` request asks for. Clients that leave a number unset
/// send 0.
///
/// # Errors
/// `Unsupported` for more than one shard or partition.
pub(crate) fn check_layout(collection: &str, shards: i32, partitions: i64) -> Result<()> {
    let refuse = |what: &str, count: i64| {
        Err(Error::unsupported(format!(
            "external collection {collection} does not support multiple {what}, got {count}"
        )))
    };
    if shards > 1 {
        return refuse("shards", i64::from(shards));
    }
    if partitions > 1 {
        return refuse("partitions", partitions);
    }
    Ok(())
}

/// Encodes the schema of collection `name` for `DescribeCollection`.
///
/// The specification of the source must hold no secret: it is shown as it is.
#[must_use]
pub(crate) fn encode_collection_schema(
    name: &str,
    database: &str,
    collection: &CollectionSchema,
) -> schema::CollectionSchema {
    schema::CollectionSchema {
        name: name.to_owned(),
        description: collection.description.clone(),
        fields: collection.fields.iter().map(encode_field).collect(),
        db_name: database.to_owned(),
        version: collection.version,
        external_source: collection.external_source.clone(),
        external_spec: collection.external_spec.clone(),
        ..schema::CollectionSchema::default()
    }
}

/// Encodes one field.
#[must_use]
pub(crate) fn encode_field(field: &FieldSchema) -> schema::FieldSchema {
    schema::FieldSchema {
        field_id: field.id.0,
        name: field.name.clone(),
        is_primary_key: field.is_primary_key,
        description: field.description.clone(),
        data_type: field.data_type.code(),
        type_params: encode_pairs(&field.type_params),
        auto_id: field.auto_id,
        element_type: field.element_type.map_or(0, DataType::code),
        nullable: field.nullable,
        external_field: field.external_field.clone().unwrap_or_default(),
        ..schema::FieldSchema::default()
    }
}

/// Encodes a map as the list of pairs that the wire has instead, in the order of the keys.
#[must_use]
pub(crate) fn encode_pairs(pairs: &BTreeMap<String, String>) -> Vec<KeyValuePair> {
    pairs
        .iter()
        .map(|(key, value)| KeyValuePair { key: key.clone(), value: value.clone() })
        .collect()
}

/// Decodes a list of pairs. Of several pairs with one key the first counts, as in Milvus.
#[must_use]
pub(crate) fn decode_pairs(pairs: &[KeyValuePair]) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for pair in pairs {
        map.entry(pair.key.clone()).or_insert_with(|| pair.value.clone());
    }
    map
}

fn check_is_external(collection: &str, wire: &schema::CollectionSchema) -> Result<()> {
    let mapped = wire.fields.iter().any(|field| !field.external_field.is_empty());
    let (source, spec) = (!wire.external_source.is_empty(), !wire.external_spec.is_empty());
    if !mapped && !source && !spec {
        return Err(Error::unsupported(format!(
            "collection {collection} is not an external collection, and Pandion serves external \
             collections only: set external_source and external_spec in the schema, and \
             external_field in every field"
        ))
        .about(Subject::Collection));
    }
    if source != spec {
        return Err(Error::invalid_argument(format!(
            "external collection {collection} requires external_source and external_spec to be \
             both set or both empty"
        )));
    }
    Ok(())
}

fn virtual_primary_key() -> FieldSchema {
    FieldSchema {
        id: FieldId(FIRST_FIELD_ID),
        name: VIRTUAL_PK_NAME.to_owned(),
        description: "virtual primary key: file number and row number of the row".to_owned(),
        data_type: DataType::Int64,
        element_type: None,
        nullable: false,
        is_primary_key: true,
        auto_id: true,
        external_field: None,
        type_params: BTreeMap::new(),
    }
}

fn decode_field(collection: &str, id: FieldId, wire: &schema::FieldSchema) -> Result<FieldSchema> {
    let data_type = check_field(collection, wire)?;
    let element_type = match data_type {
        DataType::Array => DataType::from_code(wire.element_type),
        _ => None,
    };
    Ok(FieldSchema {
        id,
        name: wire.name.clone(),
        description: wire.description.clone(),
        data_type,
        element_type,
        // Nothing stops a file of the lake from lacking a value.
        nullable: true,
        is_primary_key: false,
        auto_id: false,
        external_field: Some(wire.external_field.clone()),
        type_params: decode_pairs(&wire.type_params),
    })
}

#[cfg(test)]
mod tests;
