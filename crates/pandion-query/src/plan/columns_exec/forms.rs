//! Forms in which the values of a field are aggregated or ordered by.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType as ArrowType, Float32Type, Float64Type};
use pandion_source::columns;
use pandion_types::{Error, FieldSchema, Result};

/// Digits of the largest integer; a sum of fewer than ten thousand million of them fits in 29.
const INTEGER_DIGITS: u8 = 19;

/// A form of the values of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
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
    /// As they are, but all NaNs are one, and so are both zeros.
    Comparable,
}

impl Form {
    /// Every form.
    pub(crate) const ALL: [Self; 6] =
        [Self::Plain, Self::Exact, Self::Double, Self::Ordered, Self::Present, Self::Comparable];

    /// The number of the form in encoded plans.
    pub(crate) fn code(self) -> u32 {
        self as u32
    }

    pub(crate) fn arrow_type(self, field: &FieldSchema) -> Result<ArrowType> {
        Ok(match self {
            Self::Plain | Self::Comparable => columns::canonical_type(field)?,
            Self::Exact => ArrowType::Decimal128(INTEGER_DIGITS, 0),
            Self::Double => ArrowType::Float64,
            Self::Ordered => ArrowType::Int64,
            Self::Present => ArrowType::Boolean,
        })
    }

    /// The values of `column`, which are in the canonical type, in this form.
    pub(crate) fn of(self, column: &ArrayRef, into: &ArrowType) -> Result<ArrayRef> {
        let failed = |error| Error::internal("converting a column failed").caused_by(error);
        Ok(match self {
            Self::Plain => Arc::clone(column),
            Self::Exact | Self::Double => cast(column, into).map_err(failed)?,
            Self::Ordered => {
                let doubles = cast(column, &ArrowType::Float64).map_err(failed)?;
                let doubles = doubles
                    .as_primitive_opt::<Float64Type>()
                    .ok_or_else(|| Error::internal("a column of floats is none"))?;
                let ordered: Int64Array = doubles.unary(to_ordered);
                Arc::new(ordered)
            }
            Self::Present => {
                let values = BooleanBuffer::new_set(column.len());
                Arc::new(BooleanArray::new(values, column.logical_nulls()))
            }
            Self::Comparable => comparable(column),
        })
    }
}

/// Arrow tells the zeros and the NaNs apart; clients do not.
fn comparable(column: &ArrayRef) -> ArrayRef {
    if let Some(floats) = column.as_primitive_opt::<Float32Type>() {
        let plain = |value: f32| if value.is_nan() { f32::NAN } else { value + 0.0 };
        return Arc::new(floats.unary::<_, Float32Type>(plain));
    }
    if let Some(floats) = column.as_primitive_opt::<Float64Type>() {
        let plain = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
        return Arc::new(floats.unary::<_, Float64Type>(plain));
    }
    Arc::clone(column)
}

/// An integer that is less than another when the float is in IEEE 754's total order: -NaN, -inf ..
/// -0, 0 .. inf, NaN.
fn to_ordered(value: f64) -> i64 {
    flip(value.to_bits().cast_signed())
}

/// The float that [`to_ordered`] made the integer of.
pub(crate) fn from_ordered(value: i64) -> f64 {
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
