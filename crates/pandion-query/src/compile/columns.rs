//! Comparisons of plain columns with literals, as DataFusion's operators.
//!
//! Arrow compares floating-point numbers in their total order, in which NaN is the largest number
//! and -0 is less than 0. Milvus compares as IEEE 754 does, so float terms are written accordingly.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{InListExpr, IsNullExpr, LikeExpr};
use pandion_filter::{Bound, CompareOp, LikeForm, LikePattern, Operand, Predicate, Value};
use pandion_types::{DataType, Error, Result};

use super::{Columns, Expr, binary, literal};
use crate::row_test::RowTest;

/// Lists of up to so many values are DataFusion's, which prunes by them.
const SHORT_LIST: usize = 20;

/// Lists of up to so many strings become comparisons, which are faster than hashing.
const SHORT_TEXT_LIST: usize = 3;

/// The type of an operand that is a whole column of single values.
pub(super) fn plain(operand: &Operand) -> Option<DataType> {
    match operand {
        Operand::Field(field) => Some(field.data_type),
        _ => None,
    }
}

/// A literal in the column's own type; `None` when the type cannot hold it.
pub(super) fn scalar(data_type: DataType, value: &Value) -> Option<ScalarValue> {
    Some(match (data_type, value) {
        (DataType::Bool, Value::Bool(value)) => ScalarValue::Boolean(Some(*value)),
        (DataType::Int8, Value::Int(value)) => ScalarValue::Int8(Some((*value).try_into().ok()?)),
        (DataType::Int16, Value::Int(value)) => ScalarValue::Int16(Some((*value).try_into().ok()?)),
        (DataType::Int32, Value::Int(value)) => ScalarValue::Int32(Some((*value).try_into().ok()?)),
        (DataType::Int64, Value::Int(value)) => ScalarValue::Int64(Some(*value)),
        #[expect(clippy::cast_possible_truncation, reason = "the parser rounded it to binary32")]
        (DataType::Float, Value::Float(value)) => {
            let narrow = *value as f32;
            narrow.is_finite().then_some(ScalarValue::Float32(Some(narrow)))?
        }
        (DataType::Double, Value::Float(value)) => ScalarValue::Float64(Some(*value)),
        (DataType::VarChar | DataType::Text, Value::String(value)) => {
            ScalarValue::Utf8(Some(value.clone()))
        }
        (DataType::Timestamptz, Value::Timestamp(value)) => {
            ScalarValue::TimestampMicrosecond(Some(*value), Some("UTC".into()))
        }
        _ => return None,
    })
}

fn operator(op: CompareOp) -> Operator {
    match op {
        CompareOp::Equal => Operator::Eq,
        CompareOp::NotEqual => Operator::NotEq,
        CompareOp::Less => Operator::Lt,
        CompareOp::LessEqual => Operator::LtEq,
        CompareOp::Greater => Operator::Gt,
        CompareOp::GreaterEqual => Operator::GtEq,
    }
}

pub(super) fn compare(column: Expr, op: CompareOp, value: ScalarValue) -> Expr {
    match value {
        ScalarValue::Float32(Some(value)) => {
            compare_float(&column, op, value, |value| ScalarValue::Float32(Some(value)))
        }
        ScalarValue::Float64(Some(value)) => {
            compare_float(&column, op, value, |value| ScalarValue::Float64(Some(value)))
        }
        value => binary(column, operator(op), literal(value)),
    }
}

/// What a comparison with a float needs to know of its type.
trait Ieee: Copy + PartialEq {
    const ZERO: Self;
    const MINUS_ZERO: Self;
    const INFINITY: Self;
    const MINUS_INFINITY: Self;
}

impl Ieee for f32 {
    const ZERO: Self = 0.0;
    const MINUS_ZERO: Self = -0.0;
    const INFINITY: Self = Self::INFINITY;
    const MINUS_INFINITY: Self = Self::NEG_INFINITY;
}

impl Ieee for f64 {
    const ZERO: Self = 0.0;
    const MINUS_ZERO: Self = -0.0;
    const INFINITY: Self = Self::INFINITY;
    const MINUS_INFINITY: Self = Self::NEG_INFINITY;
}

/// An IEEE 754 comparison, written for operators that compare in the total order.
fn compare_float<T: Ieee>(
    column: &Expr,
    op: CompareOp,
    value: T,
    scalar: impl Fn(T) -> ScalarValue,
) -> Expr {
    let is = |op, value| binary(Arc::clone(column), op, literal(scalar(value)));
    let both = |left, right| binary(left, Operator::And, right);
    // `==` does not care which zero is compared with.
    let (low, high) = if value == T::ZERO { (T::MINUS_ZERO, T::ZERO) } else { (value, value) };
    match op {
        CompareOp::Equal if value == T::ZERO => {
            both(is(Operator::GtEq, low), is(Operator::LtEq, high))
        }
        CompareOp::NotEqual if value == T::ZERO => {
            binary(is(Operator::Lt, low), Operator::Or, is(Operator::Gt, high))
        }
        CompareOp::Equal | CompareOp::NotEqual => is(operator(op), value),
        // The second term leaves out NaN, which lies beyond the infinities.
        CompareOp::Less => both(is(Operator::Lt, low), is(Operator::GtEq, T::MINUS_INFINITY)),
        CompareOp::LessEqual => {
            both(is(Operator::LtEq, high), is(Operator::GtEq, T::MINUS_INFINITY))
        }
        CompareOp::Greater => both(is(Operator::Gt, high), is(Operator::LtEq, T::INFINITY)),
        CompareOp::GreaterEqual => both(is(Operator::GtEq, low), is(Operator::LtEq, T::INFINITY)),
    }
}

pub(super) fn range(
    whole: &Predicate,
    operand: &Operand,
    lower: &Bound,
    upper: &Bound,
    columns: &Columns,
) -> Result<Expr> {
    let ends = plain(operand).and_then(|data_type| {
        Some((scalar(data_type, &lower.value)?, scalar(data_type, &upper.value)?))
    });
    let Some((low, high)) = ends else { return RowTest::compile(whole, columns) };
    let column = columns.column(operand.field().id)?;
    let above = if lower.inclusive { CompareOp::GreaterEqual } else { CompareOp::Greater };
    let below = if upper.inclusive { CompareOp::LessEqual } else { CompareOp::Less };
    Ok(binary(
        compare(Arc::clone(&column), above, low),
        Operator::And,
        compare(column, below, high),
    ))
}

pub(super) fn in_list(
    whole: &Predicate,
    operand: &Operand,
    values: &[Value],
    columns: &Columns,
) -> Result<Expr> {
    let data_type = match plain(operand) {
        None | Some(DataType::Json | DataType::Array | DataType::Geometry) => {
            return RowTest::compile(whole, columns);
        }
        Some(data_type) => data_type,
    };
    let column = columns.column(operand.field().id)?;
    // A value that the column's type cannot hold equals no row.
    let list = || values.iter().filter_map(|value| scalar(data_type, value));
    let (least, greatest) = (list().reduce(lesser), list().reduce(greater));
    let (Some(least), Some(greatest)) = (least, greatest) else {
        // False for a value, unknown for a null.
        let null = literal(ScalarValue::Boolean(None));
        return Ok(binary(null, Operator::And, Arc::new(IsNullExpr::new(column))));
    };
    if values.len() > SHORT_LIST {
        // The ends of the list are there for the statistics.
        let above = compare(Arc::clone(&column), CompareOp::GreaterEqual, least);
        let below = compare(column, CompareOp::LessEqual, greatest);
        let test = RowTest::compile(whole, columns)?;
        return Ok(binary(binary(above, Operator::And, below), Operator::And, test));
    }
    if values.len() <= SHORT_TEXT_LIST && data_type.is_string() {
        let equal = list().map(|value| compare(Arc::clone(&column), CompareOp::Equal, value));
        let either = equal.reduce(|left, right| binary(left, Operator::Or, right));
        return either.ok_or_else(|| Error::internal("a list lost its values"));
    }
    let in_list = InListExpr::try_new(
        column,
        list().flat_map(both_zeros).map(literal).collect(),
        false,
        &columns.schema,
    );
    in_list
        .map(|list| Arc::new(list) as Expr)
        .map_err(|error| Error::internal("a list of values could not be compiled").caused_by(error))
}

fn lesser(left: ScalarValue, right: ScalarValue) -> ScalarValue {
    if right < left { right } else { left }
}

fn greater(left: ScalarValue, right: ScalarValue) -> ScalarValue {
    if right > left { right } else { left }
}

/// Every value that equals this one as IEEE 754 compares.
fn both_zeros(value: ScalarValue) -> Vec<ScalarValue> {
    match value {
        ScalarValue::Float32(Some(0.0)) => {
            vec![ScalarValue::Float32(Some(0.0)), ScalarValue::Float32(Some(-0.0))]
        }
        ScalarValue::Float64(Some(0.0)) => {
            vec![ScalarValue::Float64(Some(0.0)), ScalarValue::Float64(Some(-0.0))]
        }
        value => vec![value],
    }
}

pub(super) fn like(
    whole: &Predicate,
    column: Expr,
    pattern: &LikePattern,
    columns: &Columns,
) -> Result<Expr> {
    let text = |text: &str| ScalarValue::Utf8(Some(text.to_owned()));
    match pattern.form() {
        LikeForm::Equal(value) => Ok(compare(column, CompareOp::Equal, text(value))),
        // DataFusion prunes by the prefix; a prefix that would need escapes is left to the row test.
        LikeForm::Prefix(prefix) if !prefix.is_empty() && !prefix.contains(['%', '_', '\\']) => {
            let pattern = literal(text(&format!("{prefix}%")));
            Ok(Arc::new(LikeExpr::new(false, false, column, pattern)))
        }
        LikeForm::Prefix(_)
        | LikeForm::Suffix(_)
        | LikeForm::Contains(_)
        | LikeForm::General(_) => RowTest::compile(whole, columns),
    }
}
