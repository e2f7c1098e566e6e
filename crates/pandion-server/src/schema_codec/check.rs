//! The rules that the schema of an external collection has to keep.
//!
//! Texts and limits are Milvus's. Nothing is decoded or changed here.

use std::collections::BTreeMap;

use pandion_proto::common::KeyValuePair;
use pandion_proto::schema;
use pandion_types::{DataType, Error, FieldSchema, Result};

/// The most fields of a collection, without the virtual primary key.
const FIELDS_MAX: usize = 64;
/// The most vector fields of a collection.
const VECTOR_FIELDS_MAX: usize = 10;
/// The smallest dimension of a vector.
const DIM_MIN: i64 = 2;
/// The largest dimension of a vector; of a binary vector eight times as much.
const DIM_MAX: i64 = 32_768;
/// The largest `max_length` of a VarChar field, in bytes.
const LENGTH_MAX: i64 = 65_535;
/// The largest `max_capacity` of an Array field, in elements.
const CAPACITY_MAX: i64 = 4_096;

/// Checks that the schema asks for nothing that external collections do not have.
pub(super) fn check_features(collection: &str, wire: &schema::CollectionSchema) -> Result<()> {
    let refuse = |what: &str| {
        Err(Error::unsupported(format!("external collection {collection} does not support {what}")))
    };
    if wire.enable_dynamic_field || wire.fields.iter().any(|field| field.is_dynamic) {
        return refuse("dynamic field");
    }
    if !wire.struct_array_fields.is_empty() {
        return refuse("struct fields");
    }
    if wire.enable_namespace {
        return refuse("namespace");
    }
    if let Some(function) = wire.functions.first() {
        return refuse(&format!(
            "function {}: Pandion computes no fields, store its output as a column of the source",
            function.name
        ));
    }
    for field in &wire.fields {
        let name = &field.name;
        if field.is_primary_key {
            return refuse(&format!(
                "user-defined primary key field {name}: every row has the key {}",
                pandion_types::VIRTUAL_PK_NAME
            ));
        }
        if field.is_partition_key {
            return refuse(&format!("partition key field {name}"));
        }
        if field.is_clustering_key {
            return refuse(&format!("clustering key field {name}"));
        }
        if field.auto_id {
            return refuse(&format!("auto id on field {name}"));
        }
    }
    Ok(())
}

/// Checks one field of a user and gives its type.
pub(super) fn check_field(collection: &str, field: &schema::FieldSchema) -> Result<DataType> {
    let name = &field.name;
    if field.default_value.is_some() {
        return Err(Error::unsupported(format!(
            "external collection {collection} does not support default value of field {name}: a row \
             of the source that lacks the value has none"
        )));
    }
    let data_type = check_type(collection, field)?;
    if field.external_field.trim().is_empty() {
        return Err(Error::invalid_argument(format!(
            "field '{name}' in external collection {collection} must have external_field mapping"
        )));
    }
    if data_type.is_vector() {
        check_dim(field, data_type)?;
    }
    let element_type = DataType::from_code(field.element_type);
    if data_type == DataType::VarChar
        || (data_type == DataType::Array && element_type == Some(DataType::VarChar))
    {
        check_length(collection, field)?;
    }
    if data_type == DataType::Array {
        check_capacity(collection, field)?;
    }
    Ok(data_type)
}

fn check_type(collection: &str, field: &schema::FieldSchema) -> Result<DataType> {
    let name = &field.name;
    match DataType::from_code(field.data_type) {
        Some(DataType::Array) => check_element_type(field).map(|()| DataType::Array),
        Some(data_type) if data_type != DataType::SparseFloatVector => Ok(data_type),
        _ if field.data_type == i32::from(schema::DataType::None) => {
            Err(Error::invalid_argument(format!("field {name}: data type None is not valid")))
        }
        _ if field.data_type == i32::from(schema::DataType::String) => {
            Err(Error::invalid_argument(format!(
                "field {name}: string data type not supported yet, please use VarChar type instead"
            )))
        }
        _ => Err(Error::unsupported(format!(
            "external collection {collection} does not support field type {} (field {name})",
            wire_name(field.data_type)
        ))),
    }
}

fn check_element_type(field: &schema::FieldSchema) -> Result<()> {
    match DataType::from_code(field.element_type) {
        Some(DataType::Bool | DataType::VarChar) => Ok(()),
        Some(element) if element.is_integer() || element.is_float() => Ok(()),
        _ => Err(Error::invalid_argument(format!(
            "element type {} is not supported, field name: {}",
            wire_name(field.element_type),
            field.name
        ))),
    }
}

/// The published name of a type, or its number when it has none.
fn wire_name(code: i32) -> String {
    schema::DataType::try_from(code)
        .map_or_else(|_| code.to_string(), |data_type| data_type.as_str_name().to_owned())
}

fn check_dim(field: &schema::FieldSchema, data_type: DataType) -> Result<()> {
    let name = &field.name;
    let Some(dim) = number(&field.type_params, "dim", name)? else {
        return Err(Error::invalid_argument(format!(
            "dimension is not defined in field type params of field {name}, check type param \
             `dim` for vector field"
        )));
    };
    let refuse = |text: String| Err(Error::invalid_argument(text));
    if dim < DIM_MIN {
        return refuse(format!(
            "invalid dimension: {dim}. should be in range {DIM_MIN} ~ {DIM_MAX}"
        ));
    }
    let binary = data_type == DataType::BinaryVector;
    if binary && dim % 8 != 0 {
        return refuse(format!(
            "invalid dimension: {dim} of field {name}. binary vector dimension should be multiple \
             of 8. "
        ));
    }
    let (kind, max) = if binary { ("binary", DIM_MAX * 8) } else { ("float", DIM_MAX) };
    if dim > max {
        return refuse(format!(
            "invalid dimension: {dim} of field {name}. {kind} vector dimension should be in range \
             {DIM_MIN} ~ {max}"
        ));
    }
    Ok(())
}

fn check_length(collection: &str, field: &schema::FieldSchema) -> Result<()> {
    let name = &field.name;
    let Some(length) = number(&field.type_params, "max_length", name)? else {
        return Err(Error::invalid_argument(format!(
            "type param(max_length) should be specified for the field({name}) of collection \
             {collection}"
        )));
    };
    if (1..=LENGTH_MAX).contains(&length) {
        return Ok(());
    }
    Err(Error::invalid_argument(format!(
        "the maximum length specified for the field({name}) should be in (0, {LENGTH_MAX}], but got \
         {length} instead"
    )))
}

fn check_capacity(collection: &str, field: &schema::FieldSchema) -> Result<()> {
    let name = &field.name;
    let Some(capacity) = number(&field.type_params, "max_capacity", name)? else {
        return Err(Error::invalid_argument(format!(
            "type param(max_capacity) should be specified for array field {name} of collection \
             {collection}"
        )));
    };
    if (1..=CAPACITY_MAX).contains(&capacity) {
        return Ok(());
    }
    Err(Error::invalid_argument(format!(
        "the maximum capacity specified for a Array should be in (0, {CAPACITY_MAX}], but got \
         {capacity} for field {name}"
    )))
}

/// The type parameter `key` as a number; `None` when it is not given.
fn number(params: &[KeyValuePair], key: &str, field: &str) -> Result<Option<i64>> {
    let Some(pair) = params.iter().find(|pair| pair.key == key) else {
        return Ok(None);
    };
    pair.value.parse().map(Some).map_err(|error| {
        Error::invalid_argument(format!(
            "the value for {key} of field {field} must be an integer, got {:?}",
            pair.value
        ))
        .caused_by(error)
    })
}

/// Checks that no name and no column is used twice.
pub(super) fn check_mappings(collection: &str, fields: &[FieldSchema]) -> Result<()> {
    let mut names = BTreeMap::new();
    let mut columns = BTreeMap::new();
    for field in fields {
        if names.insert(field.name.as_str(), ()).is_some() {
            return Err(Error::invalid_argument(format!(
                "duplicated field name {} found",
                field.name
            )));
        }
        let Some(column) = field.external_field.as_deref() else { continue };
        if let Some(other) = columns.insert(column, field.name.as_str()) {
            return Err(Error::invalid_argument(format!(
                "external field '{column}' in external collection {collection} is mapped by \
                 multiple fields: {other}, {}",
                field.name
            )));
        }
    }
    Ok(())
}

/// Checks the number of fields; `fields` holds the virtual primary key as well.
pub(super) fn check_sizes(fields: &[FieldSchema]) -> Result<()> {
    let user_fields = fields.iter().filter(|field| !field.is_primary_key).count();
    let vector_fields = fields.iter().filter(|field| field.data_type.is_vector()).count();
    let refuse = |text: String| Err(Error::invalid_argument(text));
    if user_fields > FIELDS_MAX {
        return refuse(format!("maximum field's number should be limited to {FIELDS_MAX}"));
    }
    if vector_fields > VECTOR_FIELDS_MAX {
        return refuse(format!(
            "maximum vector field's number should be limited to {VECTOR_FIELDS_MAX}"
        ));
    }
    if vector_fields == 0 {
        return refuse("schema does not contain vector field".to_owned());
    }
    Ok(())
}
