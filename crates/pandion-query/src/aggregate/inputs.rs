//! What the columns of fields are turned into before they are aggregated.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType as ArrowType, Float64Type, SchemaRef};
use pandion_source::columns;
use pandion_types::{Error, FieldSchema, Result};

/// Digits of the largest integer; a sum of fewer than ten thousand million of them fits in 29.
const INTEGER_DIGITS: u8 = 19;

/// A column that is grouped by or aggregated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Input {
    /// Where its field stands among those that are read.
    pub(super) field: usize,
    pub(super) form: Form,
}

/// A form of the values of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    Plain,
    /// Integers as decimals, whose sums do not overflow.
    Exact,
    /// Floats of either width as binary64.
    Double,
    /// Floats as integers of the same order, so that NaN and the zeros have a place in it.
    Ordered,
    /// Whether there is a value, for types that are large or cannot be compared.
    Present,
}

impl Form {
    pub(super) fn arrow_type(self, field: &FieldSchema) -> Result<ArrowType> {
        Ok(match self {
            Self::Plain => columns::canonical_type(field)?,
            Self::Exact => ArrowType::Decimal128(INTEGER_DIGITS, 0),
            Self::Double => ArrowType::Float64,
            Self::Ordered => ArrowType::Int64,
            Self::Present => ArrowType::Boolean,
        })
    }

    fn convert(self, column: &ArrayRef, into: &ArrowType) -> Result<ArrayRef> {
        let failed = |error| Error::internal("converting a column failed").caused_by(error);
        match self {
            Self::Plain => Ok(Arc::clone(column)),
            Self::Exact | Self::Double => cast(column, into).map_err(failed),
            Self::Ordered => {
                let doubles = cast(column, &ArrowType::Float64).map_err(failed)?;
                let doubles = doubles
                    .as_primitive_opt::<Float64Type>()
                    .ok_or_else(|| Error::internal("a column of floats is none"))?;
                let ordered: Int64Array = doubles.unary(to_ordered);
                Ok(Arc::new(ordered))
            }
            Self::Present => {
                let values = BooleanBuffer::new_set(column.len());
                Ok(Arc::new(BooleanArray::new(values, column.logical_nulls())))
            }
        }
    }
}

/// Makes the inputs of a batch of fields.
pub(super) fn convert(
    batch: &RecordBatch,
    inputs: &[Input],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let columns = inputs
        .iter()
        .zip(schema.fields())
        .map(|(input, into)| {
            let column = batch
                .columns()
                .get(input.field)
                .ok_or_else(|| Error::internal("a column was lost before it was aggregated"))?;
            input.form.convert(column, into.data_type())
        })
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| Error::internal("inputs do not fit together").caused_by(error))
}

/// An integer that is less than another when the float is in IEEE 754's total order: -NaN, -inf ..
/// -0, 0 .. inf, NaN.
fn to_ordered(value: f64) -> i64 {
    flip(value.to_bits().cast_signed())
}

/// The float that [`to_ordered`] made the integer of.
pub(super) fn from_ordered(value: i64) -> f64 {
    f64::from_bits(flip(value).cast_unsigned())
}

/// Turns the order of negative numbers round. Done twice it does nothing: the sign stays.
fn flip(bits: i64) -> i64 {
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_keep_their_order_and_come_back() {
        let ascending = [
            f64::NEG_INFINITY,
            f64::MIN,
            -1.5,
            -f64::MIN_POSITIVE,
            -0.0,
            0.0,
            f64::MIN_POSITIVE,
            1.5,
            f64::MAX,
            f64::INFINITY,
            f64::NAN,
        ];
        assert!(ascending.is_sorted_by(|left, right| to_ordered(*left) < to_ordered(*right)));
        for value in ascending {
            assert_eq!(from_ordered(to_ordered(value)).to_bits(), value.to_bits());
        }
    }
}
