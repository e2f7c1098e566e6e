//! A naive reading of a filter: one row after the other, every term by the sentence that defines it
//! in `pandion_filter::typed`. It shares no code with the engine and has no regard for speed.
//!
//! It refuses what it has no independent reading of: shapes, text functions, samples, calls and
//! regular expressions other than those of [`crate::generate`].

use anyhow::{Context as _, Result, bail};
use pandion_filter::{
    ArithmeticOp, Bound, CompareOp, ContainsMode, LikePattern, Operand, PathSegment, Predicate,
    Value,
};
use pandion_types::{DataType, FieldId, VIRTUAL_PK_NAME};
use serde_json::Value as Json;

use crate::dataset::{Dataset, Datum, Row};
use crate::generate;

/// What a term looks at.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    /// Null, JSON's null, or nothing at all.
    Nothing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Instant(i64),
    List(Vec<Seen>),
    Object,
}

/// Reads filters over the rows of a data set.
#[derive(Clone, Copy, Debug)]
pub struct Oracle<'a> {
    dataset: &'a Dataset,
}

impl<'a> Oracle<'a> {
    /// An oracle for these rows.
    #[must_use]
    pub fn new(dataset: &'a Dataset) -> Self {
        Self { dataset }
    }

    /// Whether the predicate is true or false for row `number`, counted from 1; `None` when it is
    /// unknown.
    ///
    /// # Errors
    /// The predicate has a term that the oracle cannot read.
    pub fn test(&self, predicate: &Predicate, number: usize) -> Result<Option<bool>> {
        match predicate {
            Predicate::Constant(value) => Ok(Some(*value)),
            Predicate::Not(inner) => Ok(self.test(inner, number)?.map(|value| !value)),
            Predicate::And(operands) => self.connect(operands, number, false),
            Predicate::Or(operands) => self.connect(operands, number, true),
            term => self.term(term, number),
        }
    }

    /// `decisive` is the value that one operand alone gives to the whole.
    fn connect(
        &self,
        operands: &[Predicate],
        number: usize,
        decisive: bool,
    ) -> Result<Option<bool>> {
        let values: Vec<Option<bool>> =
            operands.iter().map(|operand| self.test(operand, number)).collect::<Result<_>>()?;
        Ok(if values.contains(&Some(decisive)) {
            Some(decisive)
        } else if values.contains(&None) {
            None
        } else {
            Some(!decisive)
        })
    }

    fn term(&self, term: &Predicate, number: usize) -> Result<Option<bool>> {
        let see = |operand: &Operand| self.see(operand, number);
        Ok(match term {
            Predicate::Compare { operand, op, value } => compare(&see(operand)?, *op, &seen(value)),
            Predicate::CompareOperands { left, op, right } => {
                compare(&see(left)?, *op, &see(right)?)
            }
            Predicate::Range { operand, lower, upper } => within(&see(operand)?, lower, upper),
            Predicate::In { operand, values } => one_of(&see(operand)?, values),
            Predicate::Like { operand, pattern } => match see(operand)? {
                Seen::Text(text) => Some(like(pattern, &text)),
                _ => None,
            },
            Predicate::RegexMatch { operand, pattern } => match see(operand)? {
                Seen::Text(text) => Some(generate::regex_matches(pattern, &text)?),
                _ => None,
            },
            Predicate::IsNull(operand) => Some(self.is_null(operand, number)?),
            Predicate::IsNotNull(operand) => Some(!self.is_null(operand, number)?),
            Predicate::Exists { field, path } => {
                Some(self.json(field.id, path, number)? != Seen::Nothing)
            }
            Predicate::Contains { operand, mode, values } => match see(operand)? {
                Seen::List(elements) => Some(contains(&elements, *mode, values)),
                _ => None,
            },
            other => bail!("the oracle cannot read {other}"),
        })
    }

    /// A field is null when the row has no value for it: a document that is JSON null, or none that
    /// can be read, is a value.
    fn is_null(&self, operand: &Operand, number: usize) -> Result<bool> {
        match operand {
            Operand::Field(field) if field.data_type == DataType::Json => {
                Ok(self.datum(field.id, number)?.is_none())
            }
            other => Ok(self.see(other, number)? == Seen::Nothing),
        }
    }

    fn see(&self, operand: &Operand, number: usize) -> Result<Seen> {
        Ok(match operand {
            Operand::Field(field) if field.name == VIRTUAL_PK_NAME => {
                let rows_per_file = self.dataset.layout.file;
                let (file, row) = ((number - 1) / rows_per_file, (number - 1) % rows_per_file);
                Seen::Int((i64::try_from(file + 1)? << 32) | i64::try_from(row)?)
            }
            Operand::Field(field) if field.data_type == DataType::Json => {
                self.json(field.id, &[], number)?
            }
            Operand::Field(field) => self.stored(field.id, number)?,
            Operand::Json { field, path } => self.json(field.id, path, number)?,
            Operand::Element { field, index, .. } => match self.stored(field.id, number)? {
                Seen::List(elements) => element(elements, *index),
                _ => Seen::Nothing,
            },
            Operand::Length(inner) => match self.see(inner, number)? {
                Seen::List(elements) => Seen::Int(i64::try_from(elements.len())?),
                _ => Seen::Nothing,
            },
            Operand::Arithmetic { operand, op, value, .. } => {
                calculate(&self.see(operand, number)?, *op, value).unwrap_or(Seen::Nothing)
            }
            Operand::Shifted { field, negative, interval } => {
                match self.stored(field.id, number)? {
                    Seen::Instant(micros) => {
                        interval.shift(micros, *negative).map_or(Seen::Nothing, Seen::Instant)
                    }
                    _ => Seen::Nothing,
                }
            }
            Operand::CurrentElement { .. } => bail!("the oracle does not look into elements"),
        })
    }

    fn stored(&self, field: FieldId, number: usize) -> Result<Seen> {
        Ok(self.datum(field, number)?.map_or(Seen::Nothing, of_datum))
    }

    fn datum(&self, field: FieldId, number: usize) -> Result<Option<&'a Datum>> {
        // The primary key is field 100; the columns follow.
        let at = usize::try_from(field.0 - 101).context("no column of the data set")?;
        let row: &Row = self.dataset.rows.get(number - 1).context("no such row")?;
        Ok(row.get(at).context("no such column")?.as_ref())
    }

    /// What the path leads to. A document that cannot be read leads nowhere.
    fn json(&self, field: FieldId, path: &[PathSegment], number: usize) -> Result<Seen> {
        let Some(Datum::Text(text)) = self.datum(field, number)? else { return Ok(Seen::Nothing) };
        let Ok(document) = serde_json::from_str::<Json>(text) else { return Ok(Seen::Nothing) };
        let mut value = &document;
        for step in path {
            let next = match (value, step) {
                (Json::Object(members), PathSegment::Key(key)) => members.get(key),
                (Json::Object(members), PathSegment::Index(index)) => {
                    members.get(&index.to_string())
                }
                (Json::Array(elements), PathSegment::Index(index)) => {
                    usize::try_from(*index).ok().and_then(|index| elements.get(index))
                }
                _ => None,
            };
            match next {
                Some(next) => value = next,
                None => return Ok(Seen::Nothing),
            }
        }
        Ok(of_json(value))
    }
}

fn element(mut elements: Vec<Seen>, index: u64) -> Seen {
    match usize::try_from(index) {
        Ok(index) if index < elements.len() => elements.swap_remove(index),
        _ => Seen::Nothing,
    }
}

fn of_datum(datum: &Datum) -> Seen {
    match datum {
        Datum::Bool(value) => Seen::Bool(*value),
        Datum::Int(value) => Seen::Int(*value),
        Datum::Float(value) => Seen::Float(*value),
        Datum::Text(text) => Seen::Text(text.clone()),
        Datum::Timestamp(micros) => Seen::Instant(*micros),
        Datum::List(elements) => Seen::List(elements.iter().map(of_datum).collect()),
    }
}

fn of_json(value: &Json) -> Seen {
    match value {
        Json::Null => Seen::Nothing,
        Json::Bool(value) => Seen::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Seen::Int(value),
            (None, Some(value)) => Seen::Float(value),
            (None, None) => Seen::Nothing,
        },
        Json::String(text) => Seen::Text(text.clone()),
        Json::Array(elements) => Seen::List(elements.iter().map(of_json).collect()),
        Json::Object(_) => Seen::Object,
    }
}

fn seen(value: &Value) -> Seen {
    match value {
        Value::Bool(value) => Seen::Bool(*value),
        Value::Int(value) => Seen::Int(*value),
        Value::Float(value) => Seen::Float(*value),
        Value::String(text) => Seen::Text(text.clone()),
        Value::Timestamp(micros) => Seen::Instant(*micros),
        Value::Array(values) => Seen::List(values.iter().map(seen).collect()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a comparison with a float is one of floats")]
fn number(value: &Seen) -> Option<f64> {
    match value {
        Seen::Int(value) => Some(*value as f64),
        Seen::Float(value) => Some(*value),
        _ => None,
    }
}

/// Values of different kinds do not compare; NaN compares as IEEE 754 says.
fn compare(left: &Seen, op: CompareOp, right: &Seen) -> Option<bool> {
    let ordering = match (left, right) {
        (Seen::Bool(left), Seen::Bool(right)) => Some(left.cmp(right)),
        (Seen::Int(left), Seen::Int(right)) | (Seen::Instant(left), Seen::Instant(right)) => {
            Some(left.cmp(right))
        }
        (Seen::Text(left), Seen::Text(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
        (Seen::List(left), Seen::List(right)) => {
            let same = left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| equal(left, right));
            return match op {
                CompareOp::Equal => Some(same),
                CompareOp::NotEqual => Some(!same),
                _ => None,
            };
        }
        _ => number(left)?.partial_cmp(&number(right)?),
    };
    Some(match op {
        CompareOp::Equal => ordering.is_some_and(std::cmp::Ordering::is_eq),
        CompareOp::NotEqual => !ordering.is_some_and(std::cmp::Ordering::is_eq),
        CompareOp::Less => ordering.is_some_and(std::cmp::Ordering::is_lt),
        CompareOp::LessEqual => ordering.is_some_and(std::cmp::Ordering::is_le),
        CompareOp::Greater => ordering.is_some_and(std::cmp::Ordering::is_gt),
        CompareOp::GreaterEqual => ordering.is_some_and(std::cmp::Ordering::is_ge),
    })
}

fn equal(left: &Seen, right: &Seen) -> bool {
    compare(left, CompareOp::Equal, right) == Some(true)
}

fn within(value: &Seen, lower: &Bound, upper: &Bound) -> Option<bool> {
    let above = if lower.inclusive { CompareOp::GreaterEqual } else { CompareOp::Greater };
    let below = if upper.inclusive { CompareOp::LessEqual } else { CompareOp::Less };
    match (compare(value, above, &seen(&lower.value)), compare(value, below, &seen(&upper.value))) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// The `or` of the comparisons, where those of another kind than the value do not count; unknown
/// when none counts, false when there are no values at all.
fn one_of(value: &Seen, values: &[Value]) -> Option<bool> {
    if *value == Seen::Nothing {
        return None;
    }
    let outcomes: Vec<bool> = values
        .iter()
        .filter_map(|literal| compare(value, CompareOp::Equal, &seen(literal)))
        .collect();
    if outcomes.is_empty() && !values.is_empty() { None } else { Some(outcomes.contains(&true)) }
}

fn contains(elements: &[Seen], mode: ContainsMode, values: &[Value]) -> bool {
    let mut held = values.iter().map(|value| {
        let value = seen(value);
        elements.iter().any(|element| equal(element, &value))
    });
    match mode {
        ContainsMode::One | ContainsMode::All => held.all(|held| held),
        ContainsMode::Any => held.any(|held| held),
    }
}

/// Integers stay integers; what overflows is nothing.
fn calculate(left: &Seen, op: ArithmeticOp, right: &Value) -> Option<Seen> {
    if let (Seen::Int(left), Value::Int(right)) = (left, right) {
        let (left, right) = (i128::from(*left), i128::from(*right));
        let result = match op {
            ArithmeticOp::Add => left + right,
            ArithmeticOp::Subtract => left - right,
            ArithmeticOp::Multiply => left * right,
            ArithmeticOp::Divide => left.checked_div(right)?,
            ArithmeticOp::Modulo => left.checked_rem(right)?,
            ArithmeticOp::BitAnd => left & right,
            ArithmeticOp::BitOr => left | right,
            ArithmeticOp::BitXor => left ^ right,
        };
        return i64::try_from(result).ok().map(Seen::Int);
    }
    let (left, right) = (number(left)?, number(&seen(right))?);
    Some(Seen::Float(match op {
        ArithmeticOp::Add => left + right,
        ArithmeticOp::Subtract => left - right,
        ArithmeticOp::Multiply => left * right,
        ArithmeticOp::Divide => left / right,
        _ => return None,
    }))
}

/// Tries every length of every run.
fn like(pattern: &LikePattern, text: &str) -> bool {
    let pattern: Vec<char> = pattern.text().chars().collect();
    let text: Vec<char> = text.chars().collect();
    like_from(&pattern, &text)
}

fn like_from(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => {
            (0..=text.len()).any(|skip| text.get(skip..).is_some_and(|tail| like_from(rest, tail)))
        }
        ['_', rest @ ..] => text.split_first().is_some_and(|(_, tail)| like_from(rest, tail)),
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => text
            .split_first()
            .is_some_and(|(first, tail)| first == literal && like_from(rest, tail)),
    }
}
