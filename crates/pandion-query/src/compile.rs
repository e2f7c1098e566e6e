//! Turns a filter into a DataFusion expression over a batch of columns.
//!
//! Terms on plain columns become DataFusion's own operators, from which it can also prune by
//! statistics. Terms that look inside a value (JSON paths, array elements) or calculate become a
//! [`RowTest`]. Connectives are DataFusion's.
//!
//! Arrow compares floating-point numbers in their total order, in which NaN is the largest number
//! and -0 is less than 0. Milvus compares as IEEE 754 does, so float terms are written accordingly.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use pandion_filter::{Bound, CompareOp, LikeForm, LikePattern, Operand, Predicate, Value};
use pandion_types::{DataType, Error, FieldId, Result};

use crate::row_test::RowTest;

type Expr = Arc<dyn PhysicalExpr>;

/// The columns that a filter is evaluated on.
#[derive(Debug)]
pub(crate) struct Columns {
    pub(crate) schema: SchemaRef,
    /// Where the column of each field stands in the schema.
    pub(crate) positions: HashMap<FieldId, usize>,
}

impl Columns {
    pub(crate) fn column(&self, field: FieldId) -> Result<Expr> {
        let at = self.positions.get(&field).copied();
        let column = at.and_then(|at| Some((at, self.schema.fields().get(at)?)));
        column.map(|(at, column)| Arc::new(Column::new(column.name(), at)) as Expr).ok_or_else(
            || Error::internal(format!("the filter reads field {field}, the batch not")),
        )
    }
}

/// The expression that is true for the rows that match.
///
/// # Errors
/// `Unsupported` that names the operator when it is not built; `InvalidArgument` for a regular
/// expression that is none.
pub(crate) fn predicate(predicate: &Predicate, columns: &Columns) -> Result<Expr> {
    match predicate {
        Predicate::Constant(value) => Ok(literal(ScalarValue::Boolean(Some(*value)))),
        Predicate::And(operands) => connect(operands, Operator::And, columns),
        Predicate::Or(operands) => connect(operands, Operator::Or, columns),
        Predicate::Not(inner) => {
            self::predicate(inner, columns).map(|inner| Arc::new(NotExpr::new(inner)) as Expr)
        }
        Predicate::Compare { operand, op, value } => {
            match plain(operand).and_then(|data_type| scalar(data_type, value)) {
                Some(value) => Ok(compare(columns.column(operand.field().id)?, *op, value)),
                None => RowTest::compile(predicate, columns),
            }
        }
        Predicate::Range { operand, lower, upper } => {
            range(predicate, operand, lower, upper, columns)
        }
        Predicate::In { operand, values } => in_list(predicate, operand, values, columns),
        Predicate::Like { operand: Operand::Field(field), pattern }
            if field.data_type.is_string() =>
        {
            like(predicate, columns.column(field.id)?, pattern, columns)
        }
        Predicate::IsNull(Operand::Field(field)) => {
            Ok(Arc::new(IsNullExpr::new(columns.column(field.id)?)))
        }
        Predicate::IsNotNull(Operand::Field(field)) => {
            Ok(Arc::new(IsNotNullExpr::new(columns.column(field.id)?)))
        }
        Predicate::CompareOperands { .. }
        | Predicate::Like { .. }
        | Predicate::RegexMatch { .. }
        | Predicate::IsNull(_)
        | Predicate::IsNotNull(_)
        | Predicate::Exists { .. }
        | Predicate::Contains { .. } => RowTest::compile(predicate, columns),
        Predicate::TextMatch { .. } => Err(unbuilt("text_match")),
        Predicate::TextMatchFuzzy { .. } => Err(unbuilt("text_match_fuzzy")),
        Predicate::PhraseMatch { .. } => Err(unbuilt("phrase_match")),
        Predicate::Spatial { relation, .. } => Err(unbuilt(relation.function())),
        Predicate::SpatialWithin { .. } => Err(unbuilt("st_dwithin")),
        Predicate::SpatialValid { .. } => Err(unbuilt("st_isvalid")),
        Predicate::RandomSample { .. } => Err(unbuilt("random_sample")),
        Predicate::ElementFilter { .. } => Err(unbuilt("element_filter")),
        Predicate::ElementMatch { .. } => Err(unbuilt("match_all, match_any and their like")),
        Predicate::Call { name, .. } => Err(unbuilt(name)),
    }
}

fn unbuilt(function: &str) -> Error {
    Error::invalid_argument(format!(
        "failed to create query plan: {function} is not supported on external collections yet: \
         invalid parameter"
    ))
}

fn literal(value: ScalarValue) -> Expr {
    Arc::new(Literal::new(value))
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Arc::new(BinaryExpr::new(left, op, right))
}

/// Joins terms into a balanced tree: DataFusion walks expressions recursively, and a chain of ten
/// thousand terms must not exhaust the stack.
fn connect(operands: &[Predicate], op: Operator, columns: &Columns) -> Result<Expr> {
    let terms = operands.iter().map(|operand| predicate(operand, columns));
    let mut terms: Vec<Expr> = terms.collect::<Result<_>>()?;
    while terms.len() > 1 {
        let mut pairs = Vec::with_capacity(terms.len().div_ceil(2));
        let mut rest = terms.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => binary(left, op, right),
                None => left,
            });
        }
        terms = pairs;
    }
    let empty = || literal(ScalarValue::Boolean(Some(op == Operator::And)));
    Ok(terms.pop().unwrap_or_else(empty))
}

/// The type of an operand that is a whole column of single values.
fn plain(operand: &Operand) -> Option<DataType> {
    match operand {
        Operand::Field(field) => Some(field.data_type),
        _ => None,
    }
}

/// A literal in the column's own type; `None` when the type cannot hold it.
fn scalar(data_type: DataType, value: &Value) -> Option<ScalarValue> {
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

fn compare(column: Expr, op: CompareOp, value: ScalarValue) -> Expr {
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

fn range(
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

fn in_list(
    whole: &Predicate,
    operand: &Operand,
    values: &[Value],
    columns: &Columns,
) -> Result<Expr> {
    let Some(data_type) = plain(operand).filter(|data_type| !data_type.is_float()) else {
        return RowTest::compile(whole, columns);
    };
    if matches!(data_type, DataType::Json | DataType::Array | DataType::Geometry) {
        return RowTest::compile(whole, columns);
    }
    let column = columns.column(operand.field().id)?;
    // A value that the column's type cannot hold equals no row.
    let list: Vec<Expr> =
        values.iter().filter_map(|value| scalar(data_type, value)).map(literal).collect();
    if list.is_empty() {
        // False for a value, unknown for a null.
        let null = literal(ScalarValue::Boolean(None));
        return Ok(binary(null, Operator::And, Arc::new(IsNullExpr::new(column))));
    }
    let in_list = InListExpr::try_new(column, list, false, &columns.schema).map_err(|error| {
        Error::internal("a list of values could not be compiled").caused_by(error)
    })?;
    Ok(Arc::new(in_list))
}

fn like(whole: &Predicate, column: Expr, pattern: &LikePattern, columns: &Columns) -> Result<Expr> {
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
