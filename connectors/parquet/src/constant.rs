//! Values of fields that a file has no column for: the same in every row.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options, take};
use pandion_index::{VectorBlock, VectorBlockBuilder};
use pandion_manifest::{ColumnStatistics, StatValue};
use pandion_source::columns;
use pandion_types::{DataType, Error, FieldSchema, Result, Subject};

/// The value in so many rows, or nulls, in the field's canonical type.
///
/// # Errors
/// `Corrupt` about the source, naming the field, when the value is none of the field's type;
/// `Unsupported` for more text than an array holds; those of [`columns::canonical_type`].
pub(crate) fn array(
    field: &FieldSchema,
    value: Option<&StatValue>,
    rows: usize,
) -> Result<ArrayRef> {
    let Some(value) = value else {
        return Ok(new_null_array(&columns::canonical_type(field)?, rows));
    };
    let one = one(field, value)?;
    let places = UInt32Array::from(vec![0; rows]);
    take(&one, &places, None).map_err(|error| {
        Error::unsupported(format!("field '{}' has more text than one batch can hold", field.name))
            .about(Subject::Source)
            .caused_by(error)
    })
}

fn one(field: &FieldSchema, value: &StatValue) -> Result<ArrayRef> {
    let wrong = || {
        Error::corrupt(format!(
            "the value of field '{}' for files without its column is none of type {}",
            field.name, field.data_type
        ))
        .about(Subject::Source)
    };
    Ok(match (field.data_type, value) {
        (DataType::Bool, StatValue::Bool(value)) => Arc::new(BooleanArray::from(vec![*value])),
        (data_type, StatValue::Int(value)) if data_type.is_integer() => {
            let wide: ArrayRef = Arc::new(Int64Array::from(vec![*value]));
            let options = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(&wide, &columns::canonical_type(field)?, &options)
                .map_err(|error| wrong().caused_by(error))?
        }
        (DataType::Timestamptz, StatValue::Int(value)) => {
            Arc::new(TimestampMicrosecondArray::from(vec![*value]).with_timezone("UTC"))
        }
        #[expect(clippy::cast_possible_truncation, reason = "the value came from a binary32")]
        (DataType::Float, StatValue::Float(value)) => {
            Arc::new(Float32Array::from(vec![*value as f32]))
        }
        (DataType::Double, StatValue::Float(value)) => Arc::new(Float64Array::from(vec![*value])),
        (
            DataType::VarChar | DataType::Text | DataType::Json | DataType::Geometry,
            StatValue::String(value),
        ) => Arc::new(StringArray::from(vec![value.as_str()])),
        _ => return Err(wrong()),
    })
}

/// Vectors that are null in every row.
///
/// # Errors
/// As [`array`]; `Unavailable` when there is no memory for the block.
pub(crate) fn vectors(
    field: &FieldSchema,
    value: Option<&StatValue>,
    rows: usize,
) -> Result<VectorBlock> {
    // A vector has no constant but null, and a field must be one of vectors.
    array(field, value, 0)?;
    if let Some(value) = value {
        one(field, value)?;
    }
    let vector_type = field.vector_type().ok_or_else(|| {
        Error::invalid_argument(format!("field {} has no vector dimension", field.name))
    })?;
    let mut builder = VectorBlockBuilder::new(vector_type, rows)?;
    builder.push_nulls(rows)?;
    builder.finish()
}

/// What is known of `rows` rows of the same value.
pub(crate) fn statistics(
    field: &FieldSchema,
    value: Option<&StatValue>,
    rows: u64,
) -> ColumnStatistics {
    let (id, nulls) = (field.id, if value.is_none() { rows } else { 0 });
    // Documents and geometries have no order, and NaN bounds nothing.
    let bound = value.filter(|value| match value {
        StatValue::Float(value) => !value.is_nan(),
        StatValue::String(_) => field.data_type.is_string(),
        StatValue::Bool(_) | StatValue::Int(_) => true,
    });
    ColumnStatistics {
        field: id,
        null_count: Some(nulls),
        min: bound.cloned(),
        max: bound.cloned(),
    }
}
