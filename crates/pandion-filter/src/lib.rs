//! The Milvus filter expression: lexer, parser and typed tree.
//!
//! [`parse`] turns the text of a filter into a [`Filter`] whose every operand has a known type and
//! whose every literal is already of the operand's type. The text is that of Milvus 3.0
//! (`a > 1 and b in ["x", "y"]`), with its precedence, its quirks and its error texts.
//!
//! This crate does no I/O, reads no clock and evaluates nothing: how a predicate meets rows is the
//! business of the query engine. What a predicate *means* is written in [`typed`].
//!
//! Input is hostile: text, nesting and element counts are bounded ([`MAX_EXPRESSION_BYTES`],
//! [`MAX_NESTING_DEPTH`], [`MAX_NODES`]), so that no input overflows the stack or allocates
//! without bound.
#![warn(missing_docs)]

mod ast;
mod check;
mod display;
mod fault;
mod lexer;
mod like;
mod literal;
mod parser;
mod primary_key;
mod templates;
mod timestamp;
pub mod typed;

pub use like::{LikeForm, LikePart, LikePattern};
pub use primary_key::{PkConstraint, pk_constraint};
pub use templates::{TemplateValue, Templates};
pub use timestamp::{Interval, TimeZone, format_timestamp, parse_timestamp};
pub use typed::{
    Argument, ArithmeticOp, Bound, CompareOp, ContainsMode, ElementQuantifier, FieldRef, Filter,
    Operand, PathSegment, Predicate, SpatialRelation, Value,
};

use pandion_types::{CollectionSchema, Result};

use check::Checker;
use fault::Fault;

/// The longest accepted text of an expression, in bytes. A list of a million 64-bit primary keys
/// stays below it.
pub const MAX_EXPRESSION_BYTES: usize = 32 * 1024 * 1024;

/// How deeply parentheses, unary operators, calls and left-associative chains may nest. Chains of
/// `and` and of `or` are flat: they count once, whatever their length.
pub const MAX_NESTING_DEPTH: usize = 128;

/// The most literals, operands and operators of one expression, elements of template lists
/// included. Bounds the memory that a tree takes.
pub const MAX_NODES: usize = 2 * 1024 * 1024;

/// What parsing depends on besides the text, the schema and the templates.
#[derive(Clone, Copy, Debug, Default)]
pub struct ParseOptions {
    /// The zone of instants that are written without an offset. UTC by default.
    pub time_zone: TimeZone,
}

/// Parses and type-checks a filter, reading instants without an offset as UTC.
///
/// Empty text, or nothing but white space, matches every row.
///
/// # Errors
/// See [`parse_with`].
pub fn parse(text: &str, schema: &CollectionSchema, templates: &Templates) -> Result<Filter> {
    parse_with(text, schema, templates, &ParseOptions::default())
}

/// Parses and type-checks a filter.
///
/// Takes time and memory linear in the text and in the template lists that the text names.
///
/// # Errors
/// `InvalidArgument` with Milvus's text: `failed to create query plan: cannot parse expression:
/// <text>, error: <detail>: invalid parameter`. A text that parses but is no condition, such as a
/// lone field name, reads `failed to create query plan: predicate is not a boolean expression:
/// <text>, data type: <type>: invalid parameter`. Long text is cut short in both.
pub fn parse_with(
    text: &str,
    schema: &CollectionSchema,
    templates: &Templates,
    options: &ParseOptions,
) -> Result<Filter> {
    if text.trim().is_empty() {
        return Ok(Filter { predicate: Predicate::Constant(true) });
    }
    parse_predicate(text, schema, templates, options)
        .map(|predicate| Filter { predicate })
        .map_err(|fault| fault.into_error(text))
}

fn parse_predicate(
    text: &str,
    schema: &CollectionSchema,
    templates: &Templates,
    options: &ParseOptions,
) -> Result<Predicate, Fault> {
    if text.len() > MAX_EXPRESSION_BYTES {
        return Err(Fault::detail(format!(
            "the expression has {} bytes, more than the {MAX_EXPRESSION_BYTES} allowed",
            text.len()
        )));
    }
    let root = parser::parse(text)?;
    Checker::new(text, schema, templates, options).check_root(&root)
}

#[cfg(test)]
mod tests;
