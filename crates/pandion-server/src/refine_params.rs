//! Grouping and order of the hits of a search: from key-value pairs to the engine's terms.
//!
//! Names of the keys, limits and texts are those of Milvus. Which of them exclude one another is
//! for the methods to check, because that depends on more than the parameters.

use pandion_filter::{Operand, PathSegment, Predicate, Templates, parse};
use pandion_query::{Combine, GroupKey, Grouping, JsonCast, OrderKey, ValuePath};
use pandion_types::{CollectionSchema, DataType, Error, FieldSchema, Result, Subject};

use crate::params::Params;

/// The largest number of hits per group.
const GROUP_SIZE_MAX: i64 = 10;

/// Parses `group_by_field`, or else `group_by_fields`, and what belongs to them.
///
/// # Errors
/// `NotFound` about [`Subject::Field`] when a field does not exist; `InvalidArgument` that names the
/// parameter.
pub(crate) fn decode_grouping(
    params: Params<'_>,
    schema: &CollectionSchema,
) -> Result<Option<Grouping>> {
    let size = decode_group_size(params)?;
    let names: Vec<&str> = match trimmed(params, "group_by_field") {
        Some(name) => vec![name],
        None => split(trimmed(params, "group_by_fields").unwrap_or_default()),
    };
    if names.is_empty() {
        return Ok(None);
    }
    let single = names.len() == 1;
    let keys = names
        .into_iter()
        .map(|name| {
            let (field, path) = resolve_group(schema, name)?;
            if !path.is_empty() && !single {
                return Err(Error::invalid_argument(format!(
                    "group_by with json path is not supported for multi-field group_by, field:{name}"
                )));
            }
            group_key(params, schema, name, field, path)
        })
        .collect::<Result<_>>()?;
    // As in Milvus, a text that is no truth value counts as false.
    let strict = params.flag("strict_group_size").unwrap_or_default();
    Ok(Some(Grouping { keys, size, strict }))
}

/// Whether the client reads group values from the place for one field only.
#[must_use]
pub(crate) fn reads_single_group_value(params: Params<'_>) -> bool {
    params.text("group_by_field").is_some() && params.text("group_by_fields").is_none()
}

/// Parses `rank_group_scorer`.
///
/// # Errors
/// `InvalidArgument` for an unknown one.
pub(crate) fn decode_group_scorer(params: Params<'_>) -> Result<Combine> {
    match params.text("rank_group_scorer") {
        None | Some("max") => Ok(Combine::Max),
        Some("sum") => Ok(Combine::Sum),
        Some("avg") => Ok(Combine::Average),
        Some(other) => Err(Error::invalid_argument(format!(
            "input group scorer type: {other} is not supported!"
        ))),
    }
}

/// Parses `order_by_fields`: `f:asc,g["k"]:desc:nulls_first`. Without a choice, nulls come last in
/// ascending and first in descending order.
///
/// # Errors
/// `InvalidArgument` that names the field.
pub(crate) fn decode_order(params: Params<'_>, schema: &CollectionSchema) -> Result<Vec<OrderKey>> {
    let list = split(params.text("order_by_fields").unwrap_or_default());
    list.into_iter().map(|entry| order_key(schema, entry)).collect()
}

fn order_key(schema: &CollectionSchema, entry: &str) -> Result<OrderKey> {
    let mut parts = split_outside_brackets(entry, ':').into_iter().map(str::trim);
    let spec = parts.next().unwrap_or_default();
    if spec.is_empty() {
        return Err(Error::invalid_argument("empty field name in order_by_fields"));
    }
    let direction = parts.next().unwrap_or_default();
    let descending = match direction.to_ascii_lowercase().as_str() {
        "" | "asc" | "ascending" => false,
        "desc" | "descending" => true,
        _ => {
            return Err(Error::invalid_argument(format!(
                "invalid order direction '{direction}' for field '{spec}', expected 'asc' or 'desc'"
            )));
        }
    };
    let nulls = parts.next().unwrap_or_default();
    let nulls_first = match nulls.to_ascii_lowercase().as_str() {
        "" => descending,
        "nulls_first" => true,
        "nulls_last" => false,
        _ => {
            return Err(Error::invalid_argument(format!(
                "invalid null ordering '{nulls}', expected 'nulls_first' or 'nulls_last'"
            )));
        }
    };
    if parts.next().is_some() {
        return Err(Error::invalid_argument(format!("order_by_fields entry '{entry}' is invalid")));
    }
    Ok(OrderKey { source: resolve_order(schema, spec)?, descending, nulls_first })
}

fn resolve_order(schema: &CollectionSchema, spec: &str) -> Result<ValuePath> {
    let base = base_name(spec);
    let missing = || {
        Error::invalid_argument(format!(
            "order_by field '{base}' does not exist in collection schema"
        ))
    };
    let field = schema.field(base).map_err(|error| missing().caused_by(error))?;
    if spec != base {
        if field.data_type != DataType::Json {
            return Err(Error::invalid_argument(format!(
                "order_by field '{spec}' has brackets but is not a JSON type"
            )));
        }
        let path = json_path(schema, field, spec).map_err(|error| {
            error.context(format!("invalid JSON path in order_by field '{spec}'"))
        })?;
        return Ok(ValuePath { field: field.id, path });
    }
    let sortable = field.data_type == DataType::Bool
        || field.data_type.is_integer()
        || field.data_type.is_float()
        || field.data_type == DataType::VarChar
        || field.data_type == DataType::Timestamptz;
    if sortable {
        return Ok(ValuePath { field: field.id, path: Vec::new() });
    }
    Err(Error::invalid_argument(format!(
        "order_by field '{spec}' has unsortable type {}; supported types: bool, int8/16/32/64, \
         float, double, string, varchar; for JSON fields use path syntax like field[\"key\"]",
        field.data_type
    )))
}

fn decode_group_size(params: Params<'_>) -> Result<usize> {
    let Some(text) = params.text("group_size") else { return Ok(1) };
    let size: i64 = text.parse().map_err(|error| {
        Error::invalid_argument(format!("failed to parse input group size:{text}")).caused_by(error)
    })?;
    if size > GROUP_SIZE_MAX {
        return Err(Error::invalid_argument(format!(
            "input group size:{size} exceeds configured max group size:{GROUP_SIZE_MAX}"
        )));
    }
    usize::try_from(size).ok().filter(|size| *size > 0).ok_or_else(|| {
        Error::invalid_argument(format!(
            "input group size:{size} is negative, failed to do search_groupby"
        ))
    })
}

fn resolve_group<'a>(
    schema: &'a CollectionSchema,
    name: &str,
) -> Result<(&'a FieldSchema, Vec<PathSegment>)> {
    let base = base_name(name);
    let field = schema.field(base).map_err(|error| {
        Error::not_found(Subject::Field, "groupBy field not found in schema: field not found")
            .with("field", name)
            .caused_by(error)
    })?;
    if base == name {
        return Ok((field, Vec::new()));
    }
    if field.data_type != DataType::Json {
        return Err(Error::invalid_argument(format!(
            "group_by field '{name}' has brackets but is not a JSON type"
        )));
    }
    Ok((field, json_path(schema, field, name)?))
}

fn group_key(
    params: Params<'_>,
    schema: &CollectionSchema,
    name: &str,
    field: &FieldSchema,
    mut path: Vec<PathSegment>,
) -> Result<GroupKey> {
    let mut cast = JsonCast { to: DataType::VarChar, strict: false };
    if field.data_type == DataType::Json {
        if let Some(text) = trimmed(params, "json_path") {
            path = json_path(schema, field, text)?;
        }
        if path.is_empty() {
            return Err(Error::invalid_argument(format!(
                "group_by on JSON field {name} needs a path: name it as {name}[\"key\"] or give \
                 json_path"
            )));
        }
        if let Some(text) = params.text("json_type") {
            cast.to = decode_json_type(text)?;
        }
        cast.strict = params.flag("strict_cast").unwrap_or_default();
    }
    let source = ValuePath { field: field.id, path };
    Ok(GroupKey { name: name.to_owned(), source, cast })
}

fn decode_json_type(text: &str) -> Result<DataType> {
    match text {
        "Bool" => Ok(DataType::Bool),
        "Int8" => Ok(DataType::Int8),
        "Int16" => Ok(DataType::Int16),
        "Int32" => Ok(DataType::Int32),
        "Int64" => Ok(DataType::Int64),
        "VarChar" | "String" => Ok(DataType::VarChar),
        other => Err(Error::invalid_argument(format!(
            "json_type {other} is not supported: use Bool, Int8, Int16, Int32, Int64 or VarChar"
        ))),
    }
}

/// The steps of `f["a"][0]`, or of the JSON pointer `/a/0`.
fn json_path(
    schema: &CollectionSchema,
    field: &FieldSchema,
    text: &str,
) -> Result<Vec<PathSegment>> {
    if let Some(pointer) = text.strip_prefix('/') {
        return Ok(pointer.split('/').map(pointer_step).collect());
    }
    let invalid =
        || Error::invalid_argument(format!("JSON path {text} of field {} is invalid", field.name));
    // `is null` stands after a field or a path, and after nothing else.
    let filter = parse(&format!("{text} is null"), schema, &Templates::new())
        .map_err(|error| invalid().caused_by(error))?;
    match filter.predicate {
        Predicate::IsNull(Operand::Json { field: found, path }) if found.id == field.id => Ok(path),
        _ => Err(invalid()),
    }
}

fn pointer_step(step: &str) -> PathSegment {
    match step.parse() {
        Ok(index) => PathSegment::Index(index),
        Err(_) => PathSegment::Key(step.replace("~1", "/").replace("~0", "~")),
    }
}

fn base_name(spec: &str) -> &str {
    spec.split_once('[').map_or(spec, |(base, _)| base.trim_end())
}

fn trimmed<'a>(params: Params<'a>, key: &str) -> Option<&'a str> {
    params.text(key).map(str::trim).filter(|text| !text.is_empty())
}

/// The entries between commas that stand outside of brackets.
fn split(list: &str) -> Vec<&str> {
    let entries = split_outside_brackets(list, ',').into_iter().map(str::trim);
    entries.filter(|entry| !entry.is_empty()).collect()
}

fn split_outside_brackets(text: &str, separator: char) -> Vec<&str> {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    let is_separator = |letter: char| {
        if escaped {
            escaped = false;
            return false;
        }
        match (quote, letter) {
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if open == letter => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(letter),
            (None, '[') => depth += 1,
            (None, ']') => depth = depth.saturating_sub(1),
            (None, _) => return depth == 0 && letter == separator,
        }
        false
    };
    text.split(is_separator).collect()
}

#[cfg(test)]
mod tests;
