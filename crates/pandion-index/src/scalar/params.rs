//! What clients may ask for when they create an index on a scalar field.

use std::collections::BTreeMap;

use pandion_types::{DataType, Error, FieldSchema, Result, Subject};

use super::{IndexedValues, JsonCast, ScalarIndexKind, ScalarIndexSpec, json_path};

/// The longest piece that an index of pieces can be asked for.
const GRAM_MAX: u32 = 1 << 16;

/// The index that a client asks for, from the parameters of `create_index`: `index_type` (AUTOINDEX
/// when absent or empty), `min_gram` and `max_gram`, `json_path` and `json_cast_type`. Parameters
/// that an index of the kind does not know are ignored.
///
/// # Errors
/// `InvalidArgument` with Milvus's text when there is no such index, when it cannot be of such a
/// field, or when a parameter is missing or wrong.
pub fn resolve_spec(
    field: &FieldSchema,
    params: &BTreeMap<String, String>,
) -> Result<ScalarIndexSpec> {
    let name = params.get("index_type").map_or("", String::as_str);
    let kind = kind(name, field, params)?;
    check_field(kind, field)?;
    let values = match field.data_type {
        DataType::Json => json_values(kind, field, params)?,
        DataType::Array => IndexedValues::Elements(element_type(field)?),
        data_type => IndexedValues::Field(data_type),
    };
    Ok(ScalarIndexSpec { kind, values })
}

/// A fault of the parameters or of their fit to the field.
fn wrong(fault: &str) -> Error {
    let message = format!(
        "{fault}: invalid parameter[expected=valid index params][actual=invalid index params]"
    );
    Error::invalid_argument(message).about(Subject::Index)
}

fn missing(parameter: &str, fault: &str) -> Error {
    wrong(&format!("{fault}: missing parameter[missing_param={parameter}]"))
}

fn kind(
    name: &str,
    field: &FieldSchema,
    params: &BTreeMap<String, String>,
) -> Result<ScalarIndexKind> {
    Ok(match name {
        "" | "AUTOINDEX" if field.data_type == DataType::Geometry => ScalarIndexKind::RTree,
        "" | "AUTOINDEX" => ScalarIndexKind::Auto,
        "BITMAP" => ScalarIndexKind::Bitmap,
        "INVERTED" => ScalarIndexKind::Inverted,
        "STL_SORT" => ScalarIndexKind::Sort,
        "TRIE" | "Trie" => ScalarIndexKind::Trie,
        "NGRAM" => {
            check_strings("ngram index can only be created on VARCHAR or JSON field", field)?;
            let (min, max) = grams(params)?;
            ScalarIndexKind::Ngram { min, max }
        }
        "RTREE" => ScalarIndexKind::RTree,
        other => {
            return Err(Error::invalid_argument(format!(
                "invalid parameter[expected=valid index][actual=invalid index type: {other}]"
            ))
            .about(Subject::Index));
        }
    })
}

fn check_strings(fault: &str, field: &FieldSchema) -> Result<()> {
    match field.data_type {
        DataType::VarChar | DataType::Json => Ok(()),
        _ => Err(wrong(fault)),
    }
}

fn grams(params: &BTreeMap<String, String>) -> Result<(u32, u32)> {
    let (Some(min), Some(max)) = (params.get("min_gram"), params.get("max_gram")) else {
        return Err(wrong("Ngram index must specify both min_gram and max_gram"));
    };
    let number = |name: &str, text: &str| {
        text.trim().parse::<i64>().map_err(|error| {
            wrong(&format!("{name} for Ngram index must be an integer, got: {text}"))
                .caused_by(error)
        })
    };
    let (min, max) = (number("min_gram", min)?, number("max_gram", max)?);
    let length = |number: i64| u32::try_from(number).ok().filter(|n| (1..=GRAM_MAX).contains(n));
    match (length(min), length(max)) {
        (Some(min), Some(max)) if min <= max => Ok((min, max)),
        _ => Err(wrong(&format!(
            "invalid min_gram or max_gram value for Ngram index, min_gram: {min}, max_gram: {max}"
        ))),
    }
}

/// Whether an index of this kind can be of this field.
fn check_field(kind: ScalarIndexKind, field: &FieldSchema) -> Result<()> {
    let data_type = field.data_type;
    let is_number = data_type.is_integer() || data_type.is_float();
    let is_json = data_type == DataType::Json;
    let (fits, fault) = match kind {
        ScalarIndexKind::Auto => {
            let fits = !data_type.is_vector();
            if !fits {
                return Err(Error::invalid_argument(format!(
                    "invalid parameter[expected=supported field][actual=create auto index on \
                     type:{data_type} is not supported]"
                ))
                .about(Subject::Index));
            }
            (true, String::new())
        }
        ScalarIndexKind::Bitmap if field.is_primary_key => {
            (false, "create bitmap index on primary key not supported".to_owned())
        }
        ScalarIndexKind::Bitmap if data_type == DataType::Array => {
            let element = element_type(field)?;
            (
                element == DataType::Bool || element.is_integer() || element.is_string(),
                "bitmap index are only supported on bool, int, string for array field".to_owned(),
            )
        }
        ScalarIndexKind::Bitmap => (
            data_type == DataType::Bool
                || data_type.is_integer()
                || data_type.is_string()
                || is_json,
            "bitmap index are only supported on bool, int, string and array field".to_owned(),
        ),
        ScalarIndexKind::Sort => (
            is_number || data_type.is_string() || data_type == DataType::Timestamptz || is_json,
            format!(
                "STL_SORT are only supported on numeric, varchar or timestamptz field, got \
                 {data_type}"
            ),
        ),
        ScalarIndexKind::Inverted => (
            data_type == DataType::Bool
                || is_number
                || data_type.is_string()
                || data_type == DataType::Array
                || is_json,
            format!("INVERTED are not supported on {data_type} field"),
        ),
        ScalarIndexKind::Trie => {
            (data_type.is_string(), "TRIE are only supported on varchar field".to_owned())
        }
        ScalarIndexKind::RTree => (
            data_type == DataType::Geometry,
            format!("RTREE index can only be built on geometry field, got {data_type}"),
        ),
        // Checked together with its parameters.
        ScalarIndexKind::Ngram { .. } => (true, String::new()),
    };
    if fits { Ok(()) } else { Err(wrong(&fault)) }
}

fn element_type(field: &FieldSchema) -> Result<DataType> {
    field
        .element_type
        .ok_or_else(|| Error::internal(format!("array field {} has no element type", field.name)))
}

fn json_values(
    kind: ScalarIndexKind,
    field: &FieldSchema,
    params: &BTreeMap<String, String>,
) -> Result<IndexedValues> {
    let Some(name) = params.get("json_cast_type") else {
        return Err(match kind {
            ScalarIndexKind::Ngram { .. } => {
                wrong("JSON field with ngram index must specify json_cast_type")
            }
            _ => missing("json_cast_type", "json index must specify cast type"),
        });
    };
    let cast = JsonCast::from_name(name)
        .ok_or_else(|| wrong(&format!("json_cast_type {name} is not supported")))?;
    let fits = match kind {
        ScalarIndexKind::Bitmap => matches!(cast, JsonCast::Bool | JsonCast::Text),
        ScalarIndexKind::Sort => matches!(cast, JsonCast::Double | JsonCast::Text),
        ScalarIndexKind::Ngram { .. } if cast != JsonCast::Text => {
            return Err(wrong(&format!(
                "JSON field with ngram index only supports VARCHAR cast type, got: {}",
                cast.name()
            )));
        }
        _ => true,
    };
    if !fits {
        let (cast, index) = (cast.name(), kind.name());
        return Err(wrong(&format!("json_cast_type {cast} is not supported for {index} index")));
    }
    if let Some(function) = params.get("json_cast_function") {
        // Strings that read as numbers stay strings in a filter, with an index and without.
        if function != "STRING_TO_DOUBLE" {
            return Err(wrong(&format!("json_cast_function {function} is not supported")));
        }
        if cast != JsonCast::Double {
            return Err(wrong(&format!(
                "json_cast_function {function} is not supported for json_cast_type {name}"
            )));
        }
    }
    let path = match params.get("json_path") {
        Some(path) => json_path::parse(&field.name, path)?,
        None if matches!(kind, ScalarIndexKind::Bitmap | ScalarIndexKind::Sort) => {
            return Err(missing("json_path", "json index must specify json path"));
        }
        None => Vec::new(),
    };
    Ok(IndexedValues::Json { path, cast })
}

#[cfg(test)]
mod tests;
