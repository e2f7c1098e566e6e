//! Types as comparisons see them, and the casting of literals to them.

use pandion_types::DataType;

use super::Typed;
use crate::fault::{Fault, shorten};
use crate::typed::{Operand, Value};

/// How many characters of a value are repeated inside a message.
const MAX_QUOTED_CHARS: usize = 256;

/// A type, with the type of the elements where it is an array's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Scalar(DataType),
    /// An array, or one element of one, by the type of its elements; `None` when they are of
    /// several types or when there are none.
    Array(Option<DataType>),
    /// A placeholder.
    Unknown,
}

impl Shape {
    pub(super) fn of(typed: &Typed) -> Self {
        match typed {
            Typed::Constant { is_template: true, .. } => Self::Unknown,
            Typed::Constant { value, .. } => Self::of_value(value),
            Typed::Operand(Operand::Field(field)) if field.data_type == DataType::Array => {
                Self::Array(field.element_type)
            }
            Typed::Operand(Operand::Element { element_type, .. }) => {
                Self::Array(Some(*element_type))
            }
            Typed::Operand(operand) => Self::Scalar(operand.data_type()),
            Typed::Unsupported { result, .. } => Self::Scalar(*result),
            Typed::Predicate(_) => Self::Scalar(DataType::Bool),
        }
    }

    pub(super) fn of_value(value: &Value) -> Self {
        Self::Scalar(match value {
            Value::Bool(_) => DataType::Bool,
            Value::Int(_) => DataType::Int64,
            Value::Float(_) => DataType::Double,
            Value::String(_) => DataType::VarChar,
            Value::Timestamp(_) => DataType::Timestamptz,
            Value::Array(values) => {
                let mut types = values.iter().map(|value| Self::of_value(value).name_type());
                let first = types.next();
                let same = types.all(|data_type| Some(data_type) == first);
                return Self::Array(first.filter(|_| same));
            }
        })
    }

    fn name_type(self) -> DataType {
        match self {
            Self::Scalar(data_type) => data_type,
            Self::Array(_) | Self::Unknown => DataType::Array,
        }
    }

    /// The type that is compared: of an array that of its elements.
    pub(super) fn compared(self) -> Option<DataType> {
        match self {
            Self::Scalar(data_type) => Some(data_type),
            Self::Array(element_type) => element_type,
            Self::Unknown => None,
        }
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Scalar(data_type) => data_type.name().to_owned(),
            Self::Array(element) => format!("Array[{}]", element.map_or("None", DataType::name)),
            Self::Unknown => "None".to_owned(),
        }
    }
}

pub(super) fn is_number(data_type: DataType) -> bool {
    data_type.is_integer() || data_type.is_float()
}

/// Whether values of these types may be compared at all.
pub(super) fn can_compare(left: DataType, right: DataType) -> bool {
    if left == DataType::Json {
        return true;
    }
    if left == DataType::Array {
        return right == DataType::Json;
    }
    let same_family = if left == DataType::Bool {
        right == DataType::Bool
    } else if is_number(left) {
        is_number(right)
    } else if left.is_string() {
        right.is_string()
    } else {
        return false;
    };
    same_family || right == DataType::Json
}

/// `value` as a literal for `operand`.
pub(super) fn cast_for(operand: &Operand, value: Value) -> Result<Value, Fault> {
    try_cast_for(operand, value).map_err(|value| refused(operand.data_type(), &value))
}

/// `value` as a literal for `operand`, or the value, or the element of it, that does not fit.
pub(super) fn try_cast_for(operand: &Operand, value: Value) -> Result<Value, Value> {
    match operand {
        Operand::Field(field) if field.data_type == DataType::Array => match value {
            Value::Array(values) => {
                let element_type = field.element_type.unwrap_or(DataType::Json);
                let cast = values.into_iter().map(|value| try_cast(element_type, value));
                cast.collect::<Result<_, _>>().map(Value::Array)
            }
            other => Err(other),
        },
        _ => try_cast(operand.data_type(), value),
    }
}

/// `value` as a literal of this type.
pub(super) fn cast(data_type: DataType, value: Value) -> Result<Value, Fault> {
    try_cast(data_type, value).map_err(|value| refused(data_type, &value))
}

fn try_cast(data_type: DataType, value: Value) -> Result<Value, Value> {
    match (data_type, value) {
        (DataType::Json, value) => Ok(value),
        (DataType::Bool, value @ Value::Bool(_)) => Ok(value),
        (DataType::Float, Value::Float(value)) => Ok(Value::Float(round_to_f32(value))),
        (DataType::Float, Value::Int(value)) => Ok(Value::Float(round_to_f32(value as f64))),
        (DataType::Double, value @ Value::Float(_)) => Ok(value),
        (DataType::Double, Value::Int(value)) => Ok(Value::Float(value as f64)),
        (data_type, value @ Value::Int(_)) if data_type.is_integer() => Ok(value),
        (data_type, value @ Value::String(_)) if data_type.is_string() => Ok(value),
        (_, value) => Err(value),
    }
}

fn refused(data_type: DataType, value: &Value) -> Fault {
    Fault::detail(format!("cannot cast value to {data_type}, value: {}", quote(value)))
}

/// The number that an `f32` field holds for `value`; `value` itself when it has none.
#[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what is asked for")]
fn round_to_f32(value: f64) -> f64 {
    let rounded = f64::from(value as f32);
    if rounded.is_finite() { rounded } else { value }
}

/// A value as Milvus's messages write it: `int64_val:1`.
pub(super) fn quote(value: &Value) -> String {
    match value {
        Value::Bool(value) => format!("bool_val:{value}"),
        Value::Int(value) | Value::Timestamp(value) => format!("int64_val:{value}"),
        Value::Float(value) => format!("float_val:{value}"),
        Value::String(value) => {
            format!("string_val:\"{}\"", shorten(value, MAX_QUOTED_CHARS).escape_default())
        }
        Value::Array(values) => {
            let mut text = "array_val:{".to_owned();
            for (index, value) in values.iter().enumerate() {
                if text.len() > MAX_QUOTED_CHARS {
                    text.push_str(" ...");
                    break;
                }
                text.push_str(if index == 0 { "array:{" } else { " array:{" });
                text.push_str(&quote(value));
                text.push('}');
            }
            text.push('}');
            text
        }
    }
}
