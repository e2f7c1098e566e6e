//! Milvus's arithmetic: integers stay integers, and what overflows or has no result is unknown.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Float64Array, Int64Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{
    DataType as ArrowType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use datafusion::common::Result as DataFusionResult;
use pandion_filter::{ArithmeticOp, Value};
use std::sync::Arc;

use super::columns::unreadable;
use crate::json::JsonValue;

/// `value op literal`; missing when there is no result.
pub(super) fn calculate(
    value: &JsonValue<'_>,
    op: ArithmeticOp,
    literal: &Value,
) -> JsonValue<'static> {
    let float = |left, right| op.floats(left, right).map(JsonValue::Float);
    let outcome = match (value, literal) {
        (JsonValue::Int(left), Value::Int(right)) => match integers(*left, op, *right) {
            (result, false) => Some(JsonValue::Int(result)),
            (_, true) => None,
        },
        (JsonValue::Int(left), Value::Float(right)) => float(*left as f64, *right),
        (JsonValue::Float(left), Value::Int(right)) => float(*left, *right as f64),
        (JsonValue::Float(left), Value::Float(right)) => float(*left, *right),
        _ => None,
    };
    outcome.unwrap_or(JsonValue::Missing)
}

/// The result, and whether there is none.
#[inline]
fn integers(left: i64, op: ArithmeticOp, right: i64) -> (i64, bool) {
    match op {
        ArithmeticOp::Add => left.overflowing_add(right),
        ArithmeticOp::Subtract => left.overflowing_sub(right),
        ArithmeticOp::Multiply => left.overflowing_mul(right),
        ArithmeticOp::Divide | ArithmeticOp::Modulo if right == 0 => (0, true),
        ArithmeticOp::Divide => left.overflowing_div(right),
        // The one quotient that overflows has the remainder 0.
        ArithmeticOp::Modulo => (left.wrapping_rem(right), false),
        ArithmeticOp::BitAnd => (left & right, false),
        ArithmeticOp::BitOr => (left | right, false),
        ArithmeticOp::BitXor => (left ^ right, false),
    }
}

/// `column op literal` for every row.
pub(super) fn calculate_column(
    array: &ArrayRef,
    op: ArithmeticOp,
    literal: &Value,
) -> DataFusionResult<ArrayRef> {
    let literal_float = match literal {
        Value::Int(literal) => Some(*literal as f64),
        Value::Float(literal) => Some(*literal),
        _ => None,
    };
    let int = |literal: &Value| match literal {
        Value::Int(literal) => Some(*literal),
        _ => None,
    };
    match (array.data_type(), int(literal), literal_float) {
        (ArrowType::Int8, Some(right), _) => Ok(int_column::<Int8Type>(array, op, right)),
        (ArrowType::Int16, Some(right), _) => Ok(int_column::<Int16Type>(array, op, right)),
        (ArrowType::Int32, Some(right), _) => Ok(int_column::<Int32Type>(array, op, right)),
        (ArrowType::Int64, Some(right), _) => Ok(int_column::<Int64Type>(array, op, right)),
        (ArrowType::Int8, None, Some(right)) => Ok(widened::<Int8Type>(array, op, right)),
        (ArrowType::Int16, None, Some(right)) => Ok(widened::<Int16Type>(array, op, right)),
        (ArrowType::Int32, None, Some(right)) => Ok(widened::<Int32Type>(array, op, right)),
        (ArrowType::Int64, None, Some(right)) => {
            let values = array.as_primitive::<Int64Type>().values().iter();
            Ok(float_column(array, values.map(|&value| value as f64), op, right))
        }
        (ArrowType::Float32, _, Some(right)) => Ok(widened::<Float32Type>(array, op, right)),
        (ArrowType::Float64, _, Some(right)) => Ok(widened::<Float64Type>(array, op, right)),
        (other, ..) => Err(unreadable(other)),
    }
}

fn int_column<T: ArrowPrimitiveType<Native: Into<i64>>>(
    array: &ArrayRef,
    op: ArithmeticOp,
    right: i64,
) -> ArrayRef {
    let values = array.as_primitive::<T>().values();
    let mut overflows = 0;
    // Each operator has a loop of its own. An overflow shows in the sign bit, so that sums need no
    // branch and the compiler can vectorise them.
    let results: Vec<i64> = match op {
        ArithmeticOp::Add => collect(values, |left| {
            let sum = left.wrapping_add(right);
            overflows |= (left ^ sum) & (right ^ sum);
            sum
        }),
        ArithmeticOp::Subtract => collect(values, |left| {
            let difference = left.wrapping_sub(right);
            overflows |= (left ^ right) & (left ^ difference);
            difference
        }),
        op => collect(values, |left| {
            let (result, none) = integers(left, op, right);
            overflows |= -i64::from(none);
            result
        }),
    };
    let mut nulls = array.nulls().cloned();
    if overflows < 0 {
        let known = values.iter().map(|&left| !integers(left.into(), op, right).1);
        let known = NullBuffer::new(known.collect::<BooleanBuffer>());
        nulls = NullBuffer::union(nulls.as_ref(), Some(&known));
    }
    Arc::new(Int64Array::new(results.into(), nulls))
}

fn collect<T: Copy + Into<i64>>(values: &[T], op: impl FnMut(i64) -> i64) -> Vec<i64> {
    values.iter().map(|&value| value.into()).map(op).collect()
}

fn widened<T: ArrowPrimitiveType<Native: Into<f64>>>(
    array: &ArrayRef,
    op: ArithmeticOp,
    right: f64,
) -> ArrayRef {
    let values = array.as_primitive::<T>().values().iter();
    float_column(array, values.map(|&value| value.into()), op, right)
}

fn float_column(
    array: &ArrayRef,
    values: impl Iterator<Item = f64>,
    op: ArithmeticOp,
    right: f64,
) -> ArrayRef {
    let nulls = array.nulls().cloned();
    let results: Vec<f64> = match op {
        ArithmeticOp::Add => values.map(|left| left + right).collect(),
        ArithmeticOp::Subtract => values.map(|left| left - right).collect(),
        ArithmeticOp::Multiply => values.map(|left| left * right).collect(),
        ArithmeticOp::Divide => values.map(|left| left / right).collect(),
        ArithmeticOp::Modulo
        | ArithmeticOp::BitAnd
        | ArithmeticOp::BitOr
        | ArithmeticOp::BitXor => return Arc::new(Float64Array::new_null(array.len())),
    };
    Arc::new(Float64Array::new(results.into(), nulls))
}
