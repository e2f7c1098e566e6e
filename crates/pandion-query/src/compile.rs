//! Turns a filter into a DataFusion expression over a batch of columns.
//!
//! Terms on plain columns become DataFusion's own operators, from which it can also prune by
//! statistics. Terms that look inside a value (JSON paths, array elements), that calculate, that
//! search in text or that have long lists of values become a [`RowTest`]. Connectives are
//! DataFusion's, which evaluates the right side for fewer rows once the left side has decided:
//! hence cheap terms stand to the left.

mod columns;
mod functions;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};
use pandion_filter::{Operand, Predicate};
use pandion_types::{DataType, Error, FieldId, Result, VIRTUAL_PK_NAME};

use self::columns::{compare, in_list, like, plain, range, scalar};
use self::functions::call;
use crate::row_test::RowTest;
use crate::sample::Sample;

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

/// The expression that is true for the rows that match; `seed` is what a random sample draws from.
///
/// # Errors
/// `InvalidArgument` that names the function when it is not built, and for regular expressions and
/// well-known texts that are none; `Internal` when the batch lacks a column.
pub(crate) fn predicate(predicate: &Predicate, columns: &Columns, seed: u64) -> Result<Expr> {
    Compiler { columns, seed }.compile(predicate).map(|compiled| compiled.expr)
}

/// An expression, and what it takes to evaluate it.
struct Compiled {
    expr: Expr,
    effort: Effort,
    /// How many expressions are nested in it, at most.
    depth: usize,
}

/// How much work a row is, by orders of magnitude.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Effort {
    /// A comparison of numbers.
    Number,
    /// A look at an array, or into a string.
    Value,
    /// Reading a document.
    Document,
    /// Geometry.
    Shape,
}

struct Compiler<'a> {
    columns: &'a Columns,
    seed: u64,
}

impl Compiler<'_> {
    fn compile(&self, predicate: &Predicate) -> Result<Compiled> {
        match predicate {
            Predicate::And(operands) => self.connect(operands, Operator::And),
            Predicate::Or(operands) => self.connect(operands, Operator::Or),
            Predicate::Not(inner) => {
                let inner = self.compile(inner)?;
                let expr = Arc::new(NotExpr::new(inner.expr));
                Ok(Compiled { expr, effort: inner.effort, depth: inner.depth + 1 })
            }
            term => Ok(Compiled { expr: self.term(term)?, effort: Effort::of(term), depth: 1 }),
        }
    }

    /// Joins terms into a tree that is as flat as can be: DataFusion walks expressions recursively,
    /// and a chain of a million terms must not exhaust the stack.
    fn connect(&self, operands: &[Predicate], op: Operator) -> Result<Compiled> {
        let terms = operands.iter().map(|operand| self.compile(operand));
        let mut terms: Vec<Compiled> = terms.collect::<Result<_>>()?;
        terms.sort_by_key(|term| term.effort);
        // By depth, and terms of equal depth in their order.
        let mut queue: BTreeMap<(usize, usize), Compiled> = terms
            .into_iter()
            .enumerate()
            .map(|(order, term)| ((term.depth, order), term))
            .collect();
        while let Some(((_, first_order), first)) = queue.pop_first() {
            let Some(((_, second_order), second)) = queue.pop_first() else { return Ok(first) };
            let depth = first.depth.max(second.depth) + 1;
            let effort = first.effort.max(second.effort);
            let (left, right) =
                if first_order < second_order { (first, second) } else { (second, first) };
            let expr = binary(left.expr, op, right.expr);
            queue.insert((depth, first_order.min(second_order)), Compiled { expr, effort, depth });
        }
        let empty = literal(ScalarValue::Boolean(Some(op == Operator::And)));
        Ok(Compiled { expr: empty, effort: Effort::Number, depth: 1 })
    }

    fn term(&self, term: &Predicate) -> Result<Expr> {
        let columns = self.columns;
        match term {
            Predicate::Constant(value) => Ok(literal(ScalarValue::Boolean(Some(*value)))),
            Predicate::Compare { operand, op, value } => {
                match plain(operand).and_then(|data_type| scalar(data_type, value)) {
                    Some(value) => Ok(compare(columns.column(operand.field().id)?, *op, value)),
                    None => RowTest::compile(term, columns),
                }
            }
            Predicate::Range { operand, lower, upper } => {
                range(term, operand, lower, upper, columns)
            }
            Predicate::In { operand, values } => in_list(term, operand, values, columns),
            Predicate::Like { operand: Operand::Field(field), pattern }
                if field.data_type.is_string() =>
            {
                like(term, columns.column(field.id)?, pattern, columns)
            }
            Predicate::IsNull(Operand::Field(field)) => {
                Ok(Arc::new(IsNullExpr::new(columns.column(field.id)?)))
            }
            Predicate::IsNotNull(Operand::Field(field)) => {
                Ok(Arc::new(IsNotNullExpr::new(columns.column(field.id)?)))
            }
            Predicate::RandomSample { factor } => {
                let key =
                    Arc::new(Column::new_with_schema(VIRTUAL_PK_NAME, &columns.schema).map_err(
                        |error| Error::internal("a sample needs the row ids").caused_by(error),
                    )?);
                Ok(Arc::new(Sample::new(key, *factor, self.seed)))
            }
            Predicate::Call { name, arguments } => call(term, name, arguments, columns),
            Predicate::TextMatch { .. } => Err(unbuilt("text_match")),
            Predicate::TextMatchFuzzy { .. } => Err(unbuilt("text_match_fuzzy")),
            Predicate::PhraseMatch { .. } => Err(unbuilt("phrase_match")),
            Predicate::ElementFilter { .. } => Err(unbuilt("element_filter")),
            Predicate::ElementMatch { .. } => Err(unbuilt("match_all, match_any and their like")),
            Predicate::And(_)
            | Predicate::Or(_)
            | Predicate::Not(_)
            | Predicate::CompareOperands { .. }
            | Predicate::Like { .. }
            | Predicate::RegexMatch { .. }
            | Predicate::IsNull(_)
            | Predicate::IsNotNull(_)
            | Predicate::Exists { .. }
            | Predicate::Contains { .. }
            | Predicate::Spatial { .. }
            | Predicate::SpatialWithin { .. }
            | Predicate::SpatialValid { .. } => RowTest::compile(term, columns),
        }
    }
}

impl Effort {
    fn of(term: &Predicate) -> Self {
        let of_operand = |operand: &Operand| match operand.field().data_type {
            DataType::Json => Self::Document,
            DataType::Array | DataType::VarChar | DataType::Text => Self::Value,
            _ => Self::Number,
        };
        match term {
            Predicate::Compare { operand, .. }
            | Predicate::Range { operand, .. }
            | Predicate::In { operand, .. }
            | Predicate::Like { operand, .. }
            | Predicate::Contains { operand, .. } => of_operand(operand),
            Predicate::IsNull(operand) | Predicate::IsNotNull(operand) => match operand {
                Operand::Field(_) => Self::Number,
                operand => of_operand(operand),
            },
            Predicate::CompareOperands { left, .. } => of_operand(left),
            Predicate::Exists { .. } | Predicate::RegexMatch { .. } => Self::Document,
            Predicate::Spatial { .. }
            | Predicate::SpatialWithin { .. }
            | Predicate::SpatialValid { .. } => Self::Shape,
            Predicate::Call { .. } => Self::Value,
            _ => Self::Number,
        }
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

#[cfg(test)]
mod tests;
