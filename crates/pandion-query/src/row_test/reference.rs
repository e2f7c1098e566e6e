//! What terms mean, said as plainly as can be: one row at a time, with a tree of each document.
//!
//! The tests compare the evaluation of whole columns with it.

mod cell;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use pandion_filter::{
    ArithmeticOp, Bound, CompareOp, ContainsMode, FieldRef, Operand, PathSegment, Predicate, Value,
};
use pandion_types::{DataType, FieldId};
use regex::{Regex, RegexBuilder};
use serde_json::Value as Json;

use self::cell::{Cell, cell_at};

/// A term with the places of its columns.
pub(super) struct Reference {
    term: Predicate,
    regex: Option<Regex>,
    positions: HashMap<FieldId, usize>,
}

impl Reference {
    pub(super) fn new(term: &Predicate, positions: HashMap<FieldId, usize>) -> Self {
        let regex = match term {
            Predicate::RegexMatch { pattern, .. } => {
                let mut builder = RegexBuilder::new(pattern);
                Some(builder.dot_matches_new_line(true).build().unwrap())
            }
            _ => None,
        };
        Self { term: term.clone(), regex, positions }
    }

    /// True, false or unknown for a row.
    pub(super) fn test(&self, arrays: &[ArrayRef], row: usize) -> DataFusionResult<Option<bool>> {
        let rows = Rows { test: self, arrays, row };
        match &self.term {
            Predicate::Compare { operand, op, value } => {
                rows.with(operand, &mut |cell| cell.compare(*op, value))
            }
            Predicate::Range { operand, lower, upper } => {
                rows.with(operand, &mut |cell| in_range(&cell, lower, upper))
            }
            Predicate::In { operand, values } => {
                rows.with(operand, &mut |cell| is_in(&cell, values))
            }
            Predicate::Like { operand, pattern } => rows.with(operand, &mut |cell| match cell {
                Cell::Text(text) => Some(pattern.matches(text)),
                _ => None,
            }),
            Predicate::RegexMatch { operand, .. } => rows.with(operand, &mut |cell| match cell {
                Cell::Text(text) => Some(self.regex.as_ref()?.is_match(text)),
                _ => None,
            }),
            // A document that is JSON null, or no JSON, is a value of the field all the same.
            Predicate::IsNull(Operand::Field(field)) => {
                Ok(Some(matches!(rows.cell(field)?, Cell::Null)))
            }
            Predicate::IsNotNull(Operand::Field(field)) => {
                Ok(Some(!matches!(rows.cell(field)?, Cell::Null)))
            }
            Predicate::IsNull(operand) => {
                rows.with(operand, &mut |cell| Some(matches!(cell, Cell::Null)))
            }
            Predicate::IsNotNull(operand) => {
                rows.with(operand, &mut |cell| Some(!matches!(cell, Cell::Null)))
            }
            Predicate::Exists { field, path } => {
                let operand = Operand::Json { field: Arc::clone(field), path: path.clone() };
                rows.with(&operand, &mut |cell| Some(!matches!(cell, Cell::Null)))
            }
            Predicate::Contains { operand, mode, values } => {
                rows.with(operand, &mut |cell| contains(&cell, *mode, values))
            }
            Predicate::CompareOperands { left, op, right } => rows.compare(left, *op, right),
            other => Err(DataFusionError::Internal(format!("no row test for {other}"))),
        }
    }
}

/// One row of a batch.
struct Rows<'a> {
    test: &'a Reference,
    arrays: &'a [ArrayRef],
    row: usize,
}

impl Rows<'_> {
    /// Hands the operand's value in this row to `test`.
    fn with(
        &self,
        operand: &Operand,
        test: &mut dyn FnMut(Cell<'_>) -> Option<bool>,
    ) -> DataFusionResult<Option<bool>> {
        let cell = self.cell(operand.field())?;
        match operand {
            Operand::Field(field) if field.data_type == DataType::Json => {
                with_json(&cell, &[], test)
            }
            Operand::Field(_) => Ok(test(cell)),
            Operand::Json { path, .. } => with_json(&cell, path, test),
            Operand::Element { index, .. } => match cell {
                Cell::List(list) => {
                    let index = usize::try_from(*index).ok().filter(|&at| at < list.len());
                    Ok(test(match index {
                        Some(index) => cell_at(&list, index)?,
                        None => Cell::Null,
                    }))
                }
                _ => Ok(test(Cell::Null)),
            },
            Operand::Length(inner) => self.with(inner, &mut |cell| match cell.length() {
                Some(length) => test(Cell::Int(length)),
                None => test(Cell::Null),
            }),
            Operand::Arithmetic { operand, op, value, .. } => {
                self.with(operand, &mut |cell| test(calculate(&cell, *op, value)))
            }
            Operand::Shifted { negative, interval, .. } => Ok(test(match cell {
                Cell::Timestamp(micros) => {
                    interval.shift(micros, *negative).map_or(Cell::Null, Cell::Timestamp)
                }
                _ => Cell::Null,
            })),
            Operand::CurrentElement { .. } => {
                Err(DataFusionError::Internal("an element stands outside of an array".to_owned()))
            }
        }
    }

    fn compare(
        &self,
        left: &Operand,
        op: CompareOp,
        right: &Operand,
    ) -> DataFusionResult<Option<bool>> {
        let mut failed = None;
        let outcome = self.with(left, &mut |left| {
            let inner = self.with(right, &mut |right| left.compare_cell(op, &right));
            inner.unwrap_or_else(|error| {
                failed = Some(error);
                None
            })
        })?;
        failed.map_or(Ok(outcome), Err)
    }

    fn cell(&self, field: &FieldRef) -> DataFusionResult<Cell<'_>> {
        let at = self.test.positions.get(&field.id);
        let array = at.and_then(|&at| self.arrays.get(at)).ok_or_else(|| {
            DataFusionError::Internal(format!("the batch has no column for {}", field.name))
        })?;
        cell_at(array, self.row)
    }
}

/// Hands the value at a path of a JSON document to `test`.
fn with_json(
    cell: &Cell<'_>,
    path: &[PathSegment],
    test: &mut dyn FnMut(Cell<'_>) -> Option<bool>,
) -> DataFusionResult<Option<bool>> {
    let Cell::Text(document) = cell else { return Ok(test(Cell::Null)) };
    let Ok(document) = serde_json::from_str::<Json>(document) else { return Ok(test(Cell::Null)) };
    Ok(test(find(&document, path).map_or(Cell::Null, Cell::of_json)))
}

/// The value at the path; `None` when the path leads nowhere.
fn find<'a>(document: &'a Json, path: &[PathSegment]) -> Option<&'a Json> {
    path.iter().try_fold(document, |value, step| match (value, step) {
        (Json::Object(members), PathSegment::Key(key)) => members.get(key),
        (Json::Object(members), PathSegment::Index(at)) => members.get(&at.to_string()),
        (Json::Array(elements), PathSegment::Index(at)) => elements.get(usize::try_from(*at).ok()?),
        _ => None,
    })
}

fn in_range(cell: &Cell<'_>, lower: &Bound, upper: &Bound) -> Option<bool> {
    let above = if lower.inclusive { CompareOp::GreaterEqual } else { CompareOp::Greater };
    let below = if upper.inclusive { CompareOp::LessEqual } else { CompareOp::Less };
    and(cell.compare(above, &lower.value), cell.compare(below, &upper.value))
}

fn and(left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match (left, right) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// Values of another kind than the cell's say nothing; when none is of its kind, it is unknown.
fn is_in(cell: &Cell<'_>, values: &[Value]) -> Option<bool> {
    if matches!(cell, Cell::Null) {
        return None;
    }
    if values.is_empty() {
        return Some(false);
    }
    let mut outcome = None;
    for value in values {
        match cell.compare(CompareOp::Equal, value) {
            Some(true) => return Some(true),
            Some(false) => outcome = Some(false),
            None => {}
        }
    }
    outcome
}

fn contains(cell: &Cell<'_>, mode: ContainsMode, values: &[Value]) -> Option<bool> {
    let holds = |value: &Value| cell.holds(value);
    match mode {
        ContainsMode::One | ContainsMode::All => {
            cell.length()?;
            Some(values.iter().all(holds))
        }
        ContainsMode::Any => {
            cell.length()?;
            Some(values.iter().any(holds))
        }
    }
}

/// Milvus's arithmetic: integers stay integers, and an overflow is unknown.
fn calculate(cell: &Cell<'_>, op: ArithmeticOp, value: &Value) -> Cell<'static> {
    let outcome = match (cell, value) {
        (Cell::Int(left), Value::Int(right)) => integers(*left, op, *right).map(Cell::Int),
        (Cell::Int(left), Value::Float(right)) => {
            #[expect(clippy::cast_precision_loss, reason = "the calculation is one of doubles")]
            let left = *left as f64;
            floats(left, op, *right).map(Cell::Float)
        }
        (Cell::Float(left), Value::Float(right)) => floats(*left, op, *right).map(Cell::Float),
        (Cell::Float(left), Value::Int(right)) => {
            #[expect(clippy::cast_precision_loss, reason = "the calculation is one of doubles")]
            let right = *right as f64;
            floats(*left, op, right).map(Cell::Float)
        }
        _ => None,
    };
    outcome.unwrap_or(Cell::Null)
}

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

fn floats(left: f64, op: ArithmeticOp, right: f64) -> Option<f64> {
    match op {
        ArithmeticOp::Add => Some(left + right),
        ArithmeticOp::Subtract => Some(left - right),
        ArithmeticOp::Multiply => Some(left * right),
        ArithmeticOp::Divide => Some(left / right),
        ArithmeticOp::Modulo
        | ArithmeticOp::BitAnd
        | ArithmeticOp::BitOr
        | ArithmeticOp::BitXor => None,
    }
}
