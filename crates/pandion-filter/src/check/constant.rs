//! Arithmetic and comparison of constants. Integers that overflow and floats that leave the finite
//! numbers are refused instead of wrapped.

use crate::fault::Fault;
use crate::typed::{ArithmeticOp, CompareOp, Value};

/// `left op right`.
pub(super) fn arithmetic(op: ArithmeticOp, left: &Value, right: &Value) -> Result<Value, Fault> {
    if op.is_integer_only() {
        let (Value::Int(left), Value::Int(right)) = (left, right) else {
            return Err(Fault::detail(format!("{} can only apply on integer", op.name())));
        };
        return integers(op, *left, *right);
    }
    if let (Value::Int(left), Value::Int(right)) = (left, right) {
        return integers(op, *left, *right);
    }
    let left = number(left).ok_or_else(|| no_number(op.name(), left))?;
    let right = number(right).ok_or_else(|| no_number(op.name(), right))?;
    finite(match op {
        ArithmeticOp::Add => left + right,
        ArithmeticOp::Subtract => left - right,
        ArithmeticOp::Multiply => left * right,
        _ if right == 0.0 => return Err(Fault::detail("cannot divide by zero")),
        _ => left / right,
    })
}

fn integers(op: ArithmeticOp, left: i64, right: i64) -> Result<Value, Fault> {
    let result = match op {
        ArithmeticOp::Add => left.checked_add(right),
        ArithmeticOp::Subtract => left.checked_sub(right),
        ArithmeticOp::Multiply => left.checked_mul(right),
        ArithmeticOp::Divide if right == 0 => return Err(Fault::detail("cannot divide by zero")),
        ArithmeticOp::Divide => left.checked_div(right),
        ArithmeticOp::Modulo if right == 0 => return Err(Fault::detail("cannot modulo by zero")),
        // The one overflow, of the smallest integer by -1, has no remainder.
        ArithmeticOp::Modulo => Some(left.wrapping_rem(right)),
        ArithmeticOp::BitAnd => Some(left & right),
        ArithmeticOp::BitOr => Some(left | right),
        ArithmeticOp::BitXor => Some(left ^ right),
    };
    result
        .map(Value::Int)
        .ok_or_else(|| Fault::detail(format!("int64 overflow: {left} {} {right}", op.symbol())))
}

/// `base ** exponent`: always a float.
pub(super) fn power(base: &Value, exponent: &Value) -> Result<Value, Fault> {
    let base = number(base).ok_or_else(|| no_number("power", base))?;
    let exponent = number(exponent).ok_or_else(|| no_number("power", exponent))?;
    finite(base.powf(exponent))
}

/// `-value`.
pub(super) fn negative(value: &Value) -> Result<Value, Fault> {
    match value {
        Value::Int(value) => value
            .checked_neg()
            .map(Value::Int)
            .ok_or_else(|| Fault::detail(format!("int64 overflow: -({value})"))),
        Value::Float(value) => Ok(Value::Float(-value)),
        other => Err(no_number("negative", other)),
    }
}

/// `left op right`, or `None` when the two are of kinds that do not compare.
pub(super) fn compare(op: CompareOp, left: &Value, right: &Value) -> Option<bool> {
    let ordering = match (left, right) {
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) if !op.is_ordering() => left.cmp(right),
        _ => number(left)?.partial_cmp(&number(right)?)?,
    };
    Some(op.holds(ordering))
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Timestamp(_) => None,
    }
}

fn finite(value: f64) -> Result<Value, Fault> {
    if value.is_finite() {
        Ok(Value::Float(value))
    } else {
        Err(Fault::detail("the value of a constant expression is not a finite number"))
    }
}

fn no_number(operation: &str, value: &Value) -> Fault {
    let kind = match value {
        Value::Bool(_) => "bool",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Int(_) | Value::Float(_) | Value::Timestamp(_) => "this",
    };
    Fault::detail(format!("{operation} cannot apply on {kind} field"))
}
