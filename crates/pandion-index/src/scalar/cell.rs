//! One value, and how it compares with a literal: the contract of `pandion_filter::typed`.

use pandion_filter::{ArithmeticOp, Bound, CompareOp, Operand, Value};

/// A value of a row; none of them is null.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    /// Microseconds since 1970.
    Instant(i64),
}

/// What can be compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Bool,
    Number,
    Text,
    Instant,
}

impl Family {
    /// The family of a literal; `None` for a list.
    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(_) => Some(Self::Bool),
            Value::Int(_) | Value::Float(_) => Some(Self::Number),
            Value::String(_) => Some(Self::Text),
            Value::Timestamp(_) => Some(Self::Instant),
            Value::Array(_) => None,
        }
    }
}

impl<'a> Cell<'a> {
    /// Compares with a literal; `None` when the two are of different families.
    pub(super) fn compare(self, op: CompareOp, value: &Value) -> Option<bool> {
        let ordering = match (self, value) {
            (Self::Bool(left), Value::Bool(right)) => left.cmp(right),
            (Self::Int(left), Value::Int(right)) => left.cmp(right),
            (Self::Text(left), Value::String(right)) => left.cmp(right.as_str()),
            (Self::Instant(left), Value::Timestamp(right)) => left.cmp(right),
            (Self::Int(left), Value::Float(right)) => {
                return Some(op.holds_for_floats(to_float(left), *right));
            }
            (Self::Float(left), Value::Int(right)) => {
                return Some(op.holds_for_floats(left, to_float(*right)));
            }
            (Self::Float(left), Value::Float(right)) => {
                return Some(op.holds_for_floats(left, *right));
            }
            _ => return None,
        };
        Some(op.holds(ordering))
    }

    /// Whether it lies between the ends.
    pub(super) fn is_between(self, lower: &Bound, upper: &Bound) -> Option<bool> {
        let above = if lower.inclusive { CompareOp::GreaterEqual } else { CompareOp::Greater };
        let below = if upper.inclusive { CompareOp::LessEqual } else { CompareOp::Less };
        match (self.compare(above, &lower.value), self.compare(below, &upper.value)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        }
    }

    /// Whether it equals one of the values; `None` when none of them is of its family.
    pub(super) fn is_in(self, values: &[Value]) -> Option<bool> {
        let mut outcome = values.is_empty().then_some(false);
        for value in values {
            match self.compare(CompareOp::Equal, value) {
                Some(true) => return Some(true),
                Some(false) => outcome = Some(false),
                None => {}
            }
        }
        outcome
    }

    /// What the operand makes of it, when the operand calculates with a whole value; `None` when
    /// that is unknown.
    pub(super) fn derive(self, operand: &Operand) -> Option<Cell<'static>> {
        match operand {
            Operand::Arithmetic { op, value, .. } => self.calculate(*op, value),
            Operand::Shifted { negative, interval, .. } => match self {
                Self::Instant(micros) => interval.shift(micros, *negative).map(Cell::Instant),
                _ => None,
            },
            _ => None,
        }
    }

    fn calculate(self, op: ArithmeticOp, value: &Value) -> Option<Cell<'static>> {
        match (self, value) {
            (Self::Int(left), Value::Int(right)) => integers(left, op, *right).map(Cell::Int),
            (Self::Int(left), Value::Float(right)) => {
                op.floats(to_float(left), *right).map(Cell::Float)
            }
            (Self::Float(left), Value::Float(right)) => op.floats(left, *right).map(Cell::Float),
            (Self::Float(left), Value::Int(right)) => {
                op.floats(left, to_float(*right)).map(Cell::Float)
            }
            _ => None,
        }
    }
}

/// Overflow is unknown.
fn integers(left: i64, op: ArithmeticOp, right: i64) -> Option<i64> {
    match op {
        ArithmeticOp::Add => left.checked_add(right),
        ArithmeticOp::Subtract => left.checked_sub(right),
        ArithmeticOp::Multiply => left.checked_mul(right),
        ArithmeticOp::Divide => left.checked_div(right),
        // The one quotient that overflows has the remainder 0.
        ArithmeticOp::Modulo => (right != 0).then(|| left.wrapping_rem(right)),
        ArithmeticOp::BitAnd => Some(left & right),
        ArithmeticOp::BitOr => Some(left | right),
        ArithmeticOp::BitXor => Some(left ^ right),
    }
}

/// A comparison of an integer with a double is one of doubles.
pub(super) fn to_float(value: i64) -> f64 {
    value as f64
}
