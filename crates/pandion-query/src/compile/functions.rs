//! Calls of functions that the grammar does not know but Milvus has.

use datafusion::common::ScalarValue;
use pandion_filter::{Argument, CompareOp, LikePattern, Operand, Predicate, Value};
use pandion_types::{DataType, Error, Result};

use super::columns::{compare, like};
use super::{Columns, Expr, literal};
use crate::row_test::RowTest;

/// The functions that Milvus registers for strings: `empty(s)` and `starts_with(s, t)`.
pub(super) fn call(
    whole: &Predicate,
    name: &str,
    arguments: &[Argument],
    columns: &Columns,
) -> Result<Expr> {
    use Argument::{Operand as Read, Value as Given};
    let is_text =
        |operand: &Operand| matches!(operand, Operand::Field(field) if field.data_type.is_string());
    match (name, arguments) {
        ("empty", [Read(operand)]) if is_text(operand) => {
            let empty = ScalarValue::Utf8(Some(String::new()));
            Ok(compare(columns.column(operand.field().id)?, CompareOp::Equal, empty))
        }
        ("empty", [Given(Value::String(text))]) => {
            Ok(literal(ScalarValue::Boolean(Some(text.is_empty()))))
        }
        ("starts_with", [Read(operand), Given(Value::String(prefix))]) if is_text(operand) => {
            let pattern = LikePattern::new(format!("{}%", escaped(prefix)));
            let whole = Predicate::Like { operand: operand.clone(), pattern: pattern.clone() };
            like(&whole, columns.column(operand.field().id)?, &pattern, columns)
        }
        ("starts_with", [Given(Value::String(text)), Given(Value::String(prefix))]) => {
            Ok(literal(ScalarValue::Boolean(Some(text.starts_with(prefix.as_str())))))
        }
        ("starts_with", [Given(Value::String(_)), Read(operand)]) if is_text(operand) => {
            RowTest::compile(whole, columns)
        }
        ("starts_with", [Read(text), Read(prefix)]) if is_text(text) && is_text(prefix) => {
            RowTest::compile(whole, columns)
        }
        _ => Err(unknown_function(name, arguments)),
    }
}

/// A text as a pattern that only it matches.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut pattern, char| {
        if matches!(char, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(char);
        pattern
    })
}

fn unknown_function(name: &str, arguments: &[Argument]) -> Error {
    let types = arguments.iter().map(|argument| match argument {
        Argument::Operand(operand) => operand.data_type().name(),
        Argument::Value(Value::Bool(_)) => DataType::Bool.name(),
        Argument::Value(Value::Int(_)) => DataType::Int64.name(),
        Argument::Value(Value::Float(_)) => DataType::Double.name(),
        Argument::Value(Value::String(_)) => DataType::VarChar.name(),
        Argument::Value(Value::Array(_)) => DataType::Array.name(),
        Argument::Value(Value::Timestamp(_)) => DataType::Timestamptz.name(),
    });
    let types: Vec<&str> = types.take(16).collect();
    Error::invalid_argument(format!(
        "failed to create query plan: function {name}({}) not found: invalid parameter",
        types.join(", ")
    ))
}
