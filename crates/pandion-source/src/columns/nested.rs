//! JSON fields whose rows are structs, maps or lists: each becomes the text of a JSON document.
//!
//! Fields that are null are written as null, binary values as hexadecimal digits, dates, times and
//! timestamps as ISO 8601, decimals as numbers with all their digits. JSON has no number that is
//! not finite: those become null.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringBuilder};
use arrow::datatypes::{DataType as ArrowType, Field};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};
use pandion_types::{FieldSchema, Result};

use super::corrupt;
use super::rows::item_of;
use super::scalars::{TEXT_BYTES_MAX, too_long};

/// Whether a column of this type becomes JSON: a struct, map or list of what JSON can hold.
pub(super) fn admits(source: &ArrowType) -> bool {
    let is_nested = matches!(source, ArrowType::Struct(_) | ArrowType::Map(..));
    (is_nested || item_of(source).is_some()) && holds(source)
}

fn holds(source: &ArrowType) -> bool {
    match source {
        ArrowType::Struct(fields) => fields.iter().all(|field| holds(field.data_type())),
        ArrowType::Map(entries, _) => match entries.data_type() {
            ArrowType::Struct(pair) => match pair.as_ref() {
                [key, value] => {
                    let is_text = matches!(
                        key.data_type(),
                        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View
                    );
                    is_text && holds(value.data_type())
                }
                _ => false,
            },
            _ => false,
        },
        ArrowType::Dictionary(_, values) => holds(values),
        ArrowType::Union(..)
        | ArrowType::RunEndEncoded(..)
        | ArrowType::Interval(_)
        | ArrowType::Duration(_) => false,
        other => item_of(other).is_none_or(|item| holds(item.data_type())),
    }
}

/// Converts an array whose type [`admits`] admits.
pub(super) fn convert(field: &FieldSchema, array: &ArrayRef) -> Result<ArrayRef> {
    let failed = |error: ArrowError| {
        corrupt(field, None, "has values that cannot be written as JSON").caused_by(error)
    };
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let source = Arc::new(Field::new(&field.name, array.data_type().clone(), true));
    let mut encoder = make_encoder(&source, array, &options).map_err(failed)?;
    let mut documents = StringBuilder::with_capacity(array.len(), 0);
    let mut bytes = Vec::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            documents.append_null();
            continue;
        }
        bytes.clear();
        encoder.encode(row, &mut bytes);
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| corrupt(field, Some(row), "is not UTF-8").caused_by(error))?;
        if documents.values_slice().len() + text.len() > TEXT_BYTES_MAX {
            return Err(too_long(field));
        }
        documents.append_value(text);
    }
    Ok(Arc::new(documents.finish()))
}
