//! What a term means for one value, written from the contract of `pandion_filter::typed` and not
//! from the index.

use std::cmp::Ordering;

use super::*;

/// A value of a column or of a JSON path.
#[derive(Clone, Debug)]
pub(super) enum Row {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Instant(i64),
    List(Vec<Row>),
    /// A JSON object.
    Object,
}

impl Row {
    /// Hands the value to `take` as a builder is shown it.
    pub(super) fn with_datum<T>(&self, take: impl FnOnce(Datum<'_>) -> T) -> T {
        match self {
            Self::List(elements) => {
                let elements: Vec<Datum<'_>> = elements.iter().map(Self::datum).collect();
                take(Datum::List(&elements))
            }
            other => take(other.datum()),
        }
    }

    fn datum(&self) -> Datum<'_> {
        match self {
            Self::Null => Datum::Null,
            Self::Bool(value) => Datum::Bool(*value),
            Self::Int(value) | Self::Instant(value) => Datum::Int(*value),
            Self::Float(value) => Datum::Float(*value),
            Self::Text(text) => Datum::Text(text),
            Self::List(_) | Self::Object => Datum::Other,
        }
    }
}

/// The outcome of a term; `None` when it is unknown.
pub(super) fn evaluate(row: &Row, term: &Predicate) -> Option<bool> {
    match term {
        Predicate::Compare { operand, op, value } => compare(&read(row, operand), *op, value),
        Predicate::Range { operand, lower, upper } => {
            let value = read(row, operand);
            let from = if lower.inclusive { CompareOp::GreaterEqual } else { CompareOp::Greater };
            let to = if upper.inclusive { CompareOp::LessEqual } else { CompareOp::Less };
            match (compare(&value, from, &lower.value), compare(&value, to, &upper.value)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            }
        }
        Predicate::In { operand, values } => {
            let value = read(row, operand);
            if matches!(value, Row::Null) {
                return None;
            }
            let equal: Vec<Option<bool>> =
                values.iter().map(|literal| compare(&value, CompareOp::Equal, literal)).collect();
            if values.is_empty() || equal.contains(&Some(false)) || equal.contains(&Some(true)) {
                Some(equal.contains(&Some(true)))
            } else {
                None
            }
        }
        Predicate::Like { operand, pattern } => match read(row, operand) {
            Row::Text(text) => Some(pattern.matches(&text)),
            _ => None,
        },
        Predicate::RegexMatch { operand, pattern } => match read(row, operand) {
            Row::Text(text) => Some(compile_regex(pattern).unwrap().is_match(&text)),
            _ => None,
        },
        Predicate::IsNull(operand) => Some(matches!(read(row, operand), Row::Null)),
        Predicate::IsNotNull(operand) => Some(!matches!(read(row, operand), Row::Null)),
        Predicate::Exists { .. } => Some(!matches!(row, Row::Null)),
        Predicate::Contains { operand, mode, values } => {
            let Row::List(elements) = read(row, operand) else { return None };
            let held = |value: &Value| {
                elements
                    .iter()
                    .any(|element| compare(element, CompareOp::Equal, value) == Some(true))
            };
            Some(match mode {
                ContainsMode::One | ContainsMode::All => values.iter().all(held),
                ContainsMode::Any => values.iter().any(held),
            })
        }
        other => panic!("no meaning of {other}"),
    }
}

fn read(row: &Row, operand: &Operand) -> Row {
    match (operand, row) {
        (Operand::Field(_) | Operand::Json { .. }, row) => row.clone(),
        (Operand::Length(_), Row::List(elements)) => {
            Row::Int(i64::try_from(elements.len()).unwrap())
        }
        (Operand::Element { index, .. }, Row::List(elements)) => {
            elements.get(usize::try_from(*index).unwrap()).cloned().unwrap_or(Row::Null)
        }
        (Operand::Arithmetic { op, value, .. }, row) => calculate(row, *op, value),
        _ => Row::Null,
    }
}

fn calculate(row: &Row, op: ArithmeticOp, value: &Value) -> Row {
    if let (Row::Int(left), Value::Int(right)) = (row, value) {
        let (left, right) = (i128::from(*left), i128::from(*right));
        let result = match op {
            ArithmeticOp::Add => left + right,
            ArithmeticOp::Subtract => left - right,
            ArithmeticOp::Multiply => left * right,
            ArithmeticOp::Divide | ArithmeticOp::Modulo if right == 0 => return Row::Null,
            ArithmeticOp::Divide => left / right,
            ArithmeticOp::Modulo => left % right,
            ArithmeticOp::BitAnd => left & right,
            ArithmeticOp::BitOr => left | right,
            ArithmeticOp::BitXor => left ^ right,
        };
        return i64::try_from(result).map_or(Row::Null, Row::Int);
    }
    let left = match row {
        Row::Int(value) => *value as f64,
        Row::Float(value) => *value,
        _ => return Row::Null,
    };
    let right = match value {
        Value::Int(value) => *value as f64,
        Value::Float(value) => *value,
        _ => return Row::Null,
    };
    match op {
        ArithmeticOp::Add => Row::Float(left + right),
        ArithmeticOp::Subtract => Row::Float(left - right),
        ArithmeticOp::Multiply => Row::Float(left * right),
        ArithmeticOp::Divide => Row::Float(left / right),
        _ => Row::Null,
    }
}

fn compare(row: &Row, op: CompareOp, value: &Value) -> Option<bool> {
    let ordering = match (row, value) {
        (Row::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Row::Int(left), Value::Int(right)) | (Row::Instant(left), Value::Timestamp(right)) => {
            Some(left.cmp(right))
        }
        (Row::Text(left), Value::String(right)) => Some(left.cmp(right)),
        (Row::Int(left), Value::Float(right)) => (*left as f64).partial_cmp(right),
        (Row::Float(left), Value::Int(right)) => left.partial_cmp(&(*right as f64)),
        (Row::Float(left), Value::Float(right)) => left.partial_cmp(right),
        (Row::List(left), Value::Array(right)) => {
            let is_equal = left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| compare(left, CompareOp::Equal, right) == Some(true));
            return match op {
                CompareOp::Equal => Some(is_equal),
                CompareOp::NotEqual => Some(!is_equal),
                _ => None,
            };
        }
        _ => return None,
    };
    // NaN has no order, and differs from everything.
    Some(match op {
        CompareOp::Equal => ordering == Some(Ordering::Equal),
        CompareOp::NotEqual => ordering != Some(Ordering::Equal),
        CompareOp::Less => ordering == Some(Ordering::Less),
        CompareOp::LessEqual => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        CompareOp::Greater => ordering == Some(Ordering::Greater),
        CompareOp::GreaterEqual => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
    })
}
