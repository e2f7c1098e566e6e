//! Names: fields, JSON paths, array elements, and the tests that take nothing but a name.

use std::sync::Arc;

use pandion_types::DataType;

use super::arithmetic::is_column;
use super::{Checker, Typed};
use crate::ast::{Node, TimeNode};
use crate::fault::Fault;
use crate::literal::{self, UnknownEscape};
use crate::timestamp::{self, Interval};
use crate::typed::{FieldRef, Operand, PathSegment, Predicate, Value};

/// The fault of a name that the schema does not have.
pub(super) fn missing(name: &str) -> Fault {
    Fault::detail(format!("field {name} not exist"))
}

impl Checker<'_> {
    /// The field with this name.
    pub(super) fn field(&mut self, name: &str) -> Result<Arc<FieldRef>, Fault> {
        let schema = self.schema.field(name).map_err(|_not_found| missing(name))?;
        let field = self.fields.entry(schema.id).or_insert_with(|| Arc::new(schema.into()));
        Ok(Arc::clone(field))
    }

    /// What a bare name reads: the value of a field, or a whole JSON document.
    pub(super) fn identifier(&mut self, name: &str) -> Result<Operand, Fault> {
        let field = self.field(name)?;
        Ok(if field.data_type == DataType::Json {
            Operand::Json { field, path: Vec::new() }
        } else {
            Operand::Field(field)
        })
    }

    /// What `name[..][..]` reads: a JSON value or an array element.
    pub(super) fn json_path(&mut self, text: &str) -> Result<Operand, Fault> {
        let (name, subscripts) = crate::lexer::subscripts(text);
        let field = self.field(name)?;
        let path =
            subscripts.iter().map(|inside| segment(inside, text)).collect::<Result<Vec<_>, _>>()?;
        match field.data_type {
            DataType::Json => Ok(Operand::Json { field, path }),
            DataType::Array => {
                let element_type = field.element_type.ok_or_else(|| {
                    Fault::detail(format!("array field {name} has no element type"))
                })?;
                match path.as_slice() {
                    [PathSegment::Index(index)] => {
                        Ok(Operand::Element { field, index: *index, element_type })
                    }
                    [PathSegment::Index(_), ..] => Err(Fault::detail(format!(
                        "array field {name} is accessed with more than one index"
                    ))),
                    _ => Err(Fault::detail("can only access array field with integer index")),
                }
            }
            other => {
                Err(Fault::detail(format!("{other} data type not supported accessed with []")))
            }
        }
    }

    /// What `$` reads.
    pub(super) fn element_self(&self) -> Result<Operand, Fault> {
        let Some(scope) = &self.scope else {
            return Err(Fault::detail("$ syntax can only be used inside ElementFilter or MATCH_*"));
        };
        let field = scope.field.as_ref().ok_or_else(|| missing(&scope.name))?;
        let element_type = field.element_type.ok_or_else(|| {
            Fault::detail(format!("$ can only be used on array fields, got: {}", scope.name))
        })?;
        Ok(Operand::CurrentElement { field: Arc::clone(field), element_type })
    }

    /// The fault of `$[name]`: no collection of ours has struct fields.
    pub(super) fn struct_sub_field(&self, name: &str) -> Fault {
        match &self.scope {
            None => Fault::detail(format!(
                "$[{name}] syntax can only be used inside ElementFilter or MATCH_*"
            )),
            Some(scope) => {
                let full = format!("{}[{name}]", scope.name);
                Fault::detail(format!(
                    "array field not found: {full}, error: field {full} not exist"
                ))
            }
        }
    }

    pub(super) fn exists(&mut self, target: &Node<'_>) -> Result<Predicate, Fault> {
        match self.check(target)? {
            Typed::Operand(Operand::Json { field, path }) if !path.is_empty() => {
                Ok(Predicate::Exists { field, path })
            }
            Typed::Operand(Operand::Json { .. }) => {
                Err(Fault::detail("exists operations are only supportted on json key"))
            }
            Typed::Operand(operand) if is_column(&operand) => Err(Fault::detail(format!(
                "exists operations are only supportted on json field, got:{}",
                operand.field().data_type
            ))),
            _ => Err(Fault::detail(format!(
                "exists operations are only supported on single fields now, got: {}",
                self.quote(target)
            ))),
        }
    }

    pub(super) fn null_test(
        &mut self,
        target: &Node<'_>,
        negated: bool,
    ) -> Result<Predicate, Fault> {
        let operand = match self.check(target)? {
            // A whole document is a value of its field, whatever it holds.
            Typed::Operand(Operand::Json { field, path }) if path.is_empty() => {
                Typed::Operand(Operand::Field(field))
            }
            other => other,
        };
        match operand {
            Typed::Operand(operand) if negated => Ok(Predicate::IsNotNull(operand)),
            Typed::Operand(operand) => Ok(Predicate::IsNull(operand)),
            _ => Err(Fault::detail(format!("{} is not a field", self.quote(target)))),
        }
    }

    /// `field [+|- INTERVAL ..] op ISO ..`. An interval of fixed length moves to the constant, so
    /// that the field is compared as it is stored.
    pub(super) fn time_compare(&mut self, time: &TimeNode<'_>) -> Result<Predicate, Fault> {
        let field = self.field(time.field)?;
        if field.data_type != DataType::Timestamptz {
            return Err(Fault::detail(format!(
                "field '{}' is not a timestamptz datatype",
                time.field
            )));
        }
        let text = literal::unquote(time.instant, UnknownEscape::Refuse)?;
        let instant = timestamp::parse_timestamp(&text, self.options.time_zone)
            .map_err(|error| Fault::detail(error.message()))?;
        let op = time.op;
        let Some((negative, interval)) = time.interval else {
            let value = Value::Timestamp(instant);
            return Ok(Predicate::Compare { operand: Operand::Field(field), op, value });
        };
        let interval: Interval = literal::unquote(interval, UnknownEscape::Refuse)?
            .parse()
            .map_err(|error: pandion_types::Error| Fault::detail(error.message()))?;
        let moved = interval
            .fixed_micros()
            .and_then(|micros| instant.checked_add(if negative { micros } else { -micros }))
            .filter(|micros| timestamp::is_writable(*micros));
        let (operand, value) = match moved {
            Some(moved) => (Operand::Field(field), moved),
            None => (Operand::Shifted { field, negative, interval }, instant),
        };
        Ok(Predicate::Compare { operand, op, value: Value::Timestamp(value) })
    }
}

/// The step that the inside of a bracket is.
fn segment(inside: &str, path: &str) -> Result<PathSegment, Fault> {
    if inside.starts_with(|first: char| first.is_ascii_digit()) {
        return inside.parse().map(PathSegment::Index).map_err(|_overflow| {
            Fault::detail(format!("index {inside} is out of range in identifier: {path}"))
        });
    }
    let key = literal::unquote(inside, UnknownEscape::Refuse)?;
    if key.is_empty() {
        return Err(Fault::detail(format!("invalid identifier: {path}")));
    }
    Ok(PathSegment::Key(key))
}
