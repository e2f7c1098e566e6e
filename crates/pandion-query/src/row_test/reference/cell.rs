//! One value of one row, whatever column or document it comes from.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType as ArrowType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use pandion_filter::{CompareOp, Value};
use serde_json::Value as Json;

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Cell<'a> {
    /// No value, or JSON's null.
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    /// Microseconds since 1970.
    Timestamp(i64),
    /// The elements of an array field.
    List(ArrayRef),
    /// A JSON array or object.
    Json(&'a Json),
}

/// The value of a row of a canonical column.
pub(super) fn cell_at(array: &ArrayRef, row: usize) -> DataFusionResult<Cell<'_>> {
    if array.is_null(row) {
        return Ok(Cell::Null);
    }
    Ok(match array.data_type() {
        ArrowType::Boolean => Cell::Bool(array.as_boolean().value(row)),
        ArrowType::Int8 => Cell::Int(array.as_primitive::<Int8Type>().value(row).into()),
        ArrowType::Int16 => Cell::Int(array.as_primitive::<Int16Type>().value(row).into()),
        ArrowType::Int32 => Cell::Int(array.as_primitive::<Int32Type>().value(row).into()),
        ArrowType::Int64 => Cell::Int(array.as_primitive::<Int64Type>().value(row)),
        ArrowType::Float32 => Cell::Float(array.as_primitive::<Float32Type>().value(row).into()),
        ArrowType::Float64 => Cell::Float(array.as_primitive::<Float64Type>().value(row)),
        ArrowType::Utf8 => Cell::Text(array.as_string::<i32>().value(row)),
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            Cell::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        ArrowType::List(_) => Cell::List(array.as_list::<i32>().value(row)),
        other => {
            return Err(DataFusionError::Internal(format!("a filter cannot read {other} values")));
        }
    })
}

impl<'a> Cell<'a> {
    pub(super) fn of_json(value: &'a Json) -> Self {
        match value {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(value) => Self::Int(value),
                // Beyond 64 bits only the nearest double is known.
                None => number.as_f64().map_or(Self::Null, Self::Float),
            },
            Json::String(text) => Self::Text(text),
            Json::Array(_) | Json::Object(_) => Self::Json(value),
        }
    }

    /// Number of elements; `None` for what is no array.
    pub(super) fn length(&self) -> Option<i64> {
        let length = match self {
            Self::List(list) => list.len(),
            Self::Json(Json::Array(elements)) => elements.len(),
            _ => return None,
        };
        i64::try_from(length).ok()
    }

    /// Compares with a literal; `None` when the two are of different kinds.
    pub(super) fn compare(&self, op: CompareOp, value: &Value) -> Option<bool> {
        match (self, value) {
            (Self::Null, _) => None,
            (Self::Bool(left), Value::Bool(right)) => Some(holds(op, left.cmp(right))),
            (Self::Int(left), Value::Int(right)) => Some(holds(op, left.cmp(right))),
            (Self::Int(left), Value::Float(right)) => {
                Some(compare_floats(to_float(*left), op, *right))
            }
            (Self::Float(left), Value::Int(right)) => {
                Some(compare_floats(*left, op, to_float(*right)))
            }
            (Self::Float(left), Value::Float(right)) => Some(compare_floats(*left, op, *right)),
            (Self::Text(left), Value::String(right)) => {
                Some(holds(op, (*left).cmp(right.as_str())))
            }
            (Self::Timestamp(left), Value::Timestamp(right)) => Some(holds(op, left.cmp(right))),
            (Self::List(_) | Self::Json(Json::Array(_)), Value::Array(right)) => {
                let equal = self.equals_list(right);
                match op {
                    CompareOp::Equal => Some(equal),
                    CompareOp::NotEqual => Some(!equal),
                    CompareOp::Less
                    | CompareOp::LessEqual
                    | CompareOp::Greater
                    | CompareOp::GreaterEqual => None,
                }
            }
            _ => None,
        }
    }

    /// Compares two values; `None` when they are of different kinds.
    pub(super) fn compare_cell(&self, op: CompareOp, other: &Cell<'_>) -> Option<bool> {
        match (self, other) {
            (Self::Bool(left), Cell::Bool(right)) => Some(holds(op, left.cmp(right))),
            (Self::Int(left), Cell::Int(right)) => Some(holds(op, left.cmp(right))),
            (Self::Int(left), Cell::Float(right)) => {
                Some(compare_floats(to_float(*left), op, *right))
            }
            (Self::Float(left), Cell::Int(right)) => {
                Some(compare_floats(*left, op, to_float(*right)))
            }
            (Self::Float(left), Cell::Float(right)) => Some(compare_floats(*left, op, *right)),
            (Self::Text(left), Cell::Text(right)) => Some(holds(op, left.cmp(right))),
            (Self::Timestamp(left), Cell::Timestamp(right)) => Some(holds(op, left.cmp(right))),
            _ => None,
        }
    }

    /// Whether an element equals the literal.
    pub(super) fn holds(&self, value: &Value) -> bool {
        let equal = |cell: Cell<'_>| cell.compare(CompareOp::Equal, value) == Some(true);
        match self {
            Self::List(list) => (0..list.len()).any(|at| cell_at(list, at).is_ok_and(equal)),
            Self::Json(Json::Array(elements)) => {
                elements.iter().any(|element| equal(Cell::of_json(element)))
            }
            _ => false,
        }
    }

    fn equals_list(&self, values: &[Value]) -> bool {
        let equal =
            |cell: Cell<'_>, value: &Value| cell.compare(CompareOp::Equal, value) == Some(true);
        match self {
            Self::List(list) => {
                list.len() == values.len()
                    && values
                        .iter()
                        .enumerate()
                        .all(|(at, value)| cell_at(list, at).is_ok_and(|cell| equal(cell, value)))
            }
            Self::Json(Json::Array(elements)) => {
                elements.len() == values.len()
                    && elements
                        .iter()
                        .zip(values)
                        .all(|(element, value)| equal(Cell::of_json(element), value))
            }
            _ => false,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a comparison with a double is one of doubles")]
fn to_float(value: i64) -> f64 {
    value as f64
}

fn holds(op: CompareOp, ordering: Ordering) -> bool {
    match op {
        CompareOp::Equal => ordering.is_eq(),
        CompareOp::NotEqual => ordering.is_ne(),
        CompareOp::Less => ordering.is_lt(),
        CompareOp::LessEqual => ordering.is_le(),
        CompareOp::Greater => ordering.is_gt(),
        CompareOp::GreaterEqual => ordering.is_ge(),
    }
}

/// As IEEE 754 compares: NaN differs from everything and has no order.
#[expect(clippy::float_cmp, reason = "equality of values is what is asked for")]
fn compare_floats(left: f64, op: CompareOp, right: f64) -> bool {
    match op {
        CompareOp::Equal => left == right,
        CompareOp::NotEqual => left != right,
        CompareOp::Less => left < right,
        CompareOp::LessEqual => left <= right,
        CompareOp::Greater => left > right,
        CompareOp::GreaterEqual => left >= right,
    }
}
