//! What becomes of the states of an aggregation: the columns of its answer.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{Decimal128Type, Float64Type, Int64Type};
use pandion_source::columns;
use pandion_types::{Error, FieldSchema, Result};

use crate::plan::from_ordered;

/// How a column of the answer is made of those of the aggregation, which are named by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// The column as it is.
    Column(usize),
    /// An exact sum that must fit in Int64.
    Integer { sum: usize },
    /// An exact sum divided by a count.
    Mean { sum: usize, count: usize },
    /// Integers that stand for floats.
    Float(usize),
}

impl Output {
    /// The values, in the canonical Arrow type of `field`.
    pub(super) fn finish(self, field: &FieldSchema, columns: &[ArrayRef]) -> Result<ArrayRef> {
        let column = |at: usize| columns.get(at).ok_or_else(lost);
        match self {
            Self::Column(at) => Ok(Arc::clone(column(at)?)),
            Self::Integer { sum } => Ok(Arc::new(integers(&field.name, decimals(column(sum)?)?)?)),
            Self::Mean { sum, count } => {
                let counts = column(count)?.as_primitive_opt::<Int64Type>().ok_or_else(lost)?;
                Ok(Arc::new(means(decimals(column(sum)?)?, counts)))
            }
            Self::Float(at) => {
                let ordered = column(at)?.as_primitive_opt::<Int64Type>().ok_or_else(lost)?;
                let floats = ordered.unary::<_, Float64Type>(from_ordered);
                // A binary32 that was widened is narrowed without loss.
                cast(&floats, &columns::canonical_type(field)?)
                    .map_err(|error| Error::internal("narrowing floats failed").caused_by(error))
            }
        }
    }
}

fn lost() -> Error {
    Error::internal("a column of the aggregation is missing or of another type")
}

fn decimals(column: &ArrayRef) -> Result<&Decimal128Array> {
    column.as_primitive_opt::<Decimal128Type>().ok_or_else(lost)
}

fn integers(name: &str, sums: &Decimal128Array) -> Result<Int64Array> {
    sums.iter()
        .map(|sum| {
            let fit = |sum: i128| {
                i64::try_from(sum).map_err(|error| {
                    Error::invalid_argument(format!("{name} is {sum}, which does not fit in Int64"))
                        .caused_by(error)
                })
            };
            sum.map(fit).transpose()
        })
        .collect()
}

fn means(sums: &Decimal128Array, counts: &Int64Array) -> Float64Array {
    let mean = |(sum, count): (Option<i128>, Option<i64>)| {
        let count = count.filter(|count| *count > 0)?;
        sum.map(|sum| sum as f64 / count as f64)
    };
    sums.iter().zip(counts).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_beyond_the_integers_are_errors_that_name_them() {
        let fits = Decimal128Array::from(vec![Some(i128::from(i64::MIN)), None]);
        let integers_of = |sums| integers("sum(a)", &sums);
        assert_eq!(integers_of(fits).unwrap(), Int64Array::from(vec![Some(i64::MIN), None]));
        let error = integers_of(Decimal128Array::from(vec![i128::from(i64::MAX) + 1])).unwrap_err();
        assert_eq!(error.message(), "sum(a) is 9223372036854775808, which does not fit in Int64");
    }

    #[test]
    fn means_of_nothing_have_no_value() {
        let sums = Decimal128Array::from(vec![Some(2 * i128::from(i64::MAX)), Some(0), None]);
        let counts = Int64Array::from(vec![2, 0, 0]);
        let found = means(&sums, &counts);
        assert_eq!(found, Float64Array::from(vec![Some(i64::MAX as f64), None, None]));
    }
}
