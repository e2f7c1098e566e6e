//! Comparisons of two columns with each other.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::NullBuffer;
use arrow::compute::kernels::cmp;
use arrow::datatypes::{
    DataType as ArrowType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use pandion_filter::CompareOp;

use super::bits::Bits;

/// `left op right` for every row; unknown where one of them is null or they are of different kinds.
pub(super) fn compare_columns(
    left: &ArrayRef,
    op: CompareOp,
    right: &ArrayRef,
) -> DataFusionResult<BooleanArray> {
    let nulls = NullBuffer::union(left.nulls(), right.nulls());
    let mut bits = Bits::with_capacity(left.len());
    if left.data_type() == right.data_type() && !left.data_type().is_floating() {
        let compare = match op {
            CompareOp::Equal => cmp::eq,
            CompareOp::NotEqual => cmp::neq,
            CompareOp::Less => cmp::lt,
            CompareOp::LessEqual => cmp::lt_eq,
            CompareOp::Greater => cmp::gt,
            CompareOp::GreaterEqual => cmp::gt_eq,
        };
        return compare(left, right).map_err(DataFusionError::from);
    }
    match (Numbers::of(left), Numbers::of(right)) {
        (Some(Numbers::Integers(left)), Some(Numbers::Integers(right))) => {
            compare_pairs(&left, op, &right, &mut bits);
        }
        (Some(left), Some(right)) => {
            compare_pairs(&left.into_floats(), op, &right.into_floats(), &mut bits);
        }
        _ => return Ok(BooleanArray::new_null(left.len())),
    }
    Ok(BooleanArray::new(bits.finish(), nulls))
}

/// Numbers, in the type that they are compared in.
enum Numbers {
    Integers(Vec<i64>),
    Floats(Vec<f64>),
}

impl Numbers {
    fn of(array: &ArrayRef) -> Option<Self> {
        fn widened<T: Copy + Into<W>, W>(values: &[T]) -> Vec<W> {
            values.iter().map(|&value| value.into()).collect()
        }
        Some(match array.data_type() {
            ArrowType::Int8 => Self::Integers(widened(array.as_primitive::<Int8Type>().values())),
            ArrowType::Int16 => Self::Integers(widened(array.as_primitive::<Int16Type>().values())),
            ArrowType::Int32 => Self::Integers(widened(array.as_primitive::<Int32Type>().values())),
            ArrowType::Int64 => Self::Integers(array.as_primitive::<Int64Type>().values().to_vec()),
            ArrowType::Float32 => {
                Self::Floats(widened(array.as_primitive::<Float32Type>().values()))
            }
            ArrowType::Float64 => {
                Self::Floats(array.as_primitive::<Float64Type>().values().to_vec())
            }
            ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Integers(array.as_primitive::<TimestampMicrosecondType>().values().to_vec())
            }
            _ => return None,
        })
    }

    fn into_floats(self) -> Vec<f64> {
        match self {
            Self::Integers(values) => values.into_iter().map(|value| value as f64).collect(),
            Self::Floats(values) => values,
        }
    }
}

/// Doubles compare as IEEE 754 does, which is how Rust orders them.
fn compare_pairs<T: Copy + PartialOrd>(left: &[T], op: CompareOp, right: &[T], bits: &mut Bits) {
    let rows = left.len().min(right.len());
    let mut push = |holds: fn(&T, &T) -> bool| {
        bits.push_rows(rows, |row| match (left.get(row), right.get(row)) {
            (Some(left), Some(right)) => holds(left, right),
            _ => false,
        });
    };
    match op {
        CompareOp::Equal => push(T::eq),
        CompareOp::NotEqual => push(T::ne),
        CompareOp::Less => push(T::lt),
        CompareOp::LessEqual => push(T::le),
        CompareOp::Greater => push(T::gt),
        CompareOp::GreaterEqual => push(T::ge),
    }
}
