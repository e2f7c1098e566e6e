//! Terms on JSON documents.

use arrow::array::{Array, BooleanArray, StringArray};
use pandion_filter::{ArithmeticOp, PathSegment, Value};

use super::bits::answers;
use super::lists::{AllOf, Found};
use super::values::ValueTest;
use crate::json::{JsonValue, value_at};

/// What is asked of the value at a path.
#[derive(Debug)]
pub(super) enum DocumentTest {
    Value(ValueTest),
    /// The number of elements of an array.
    Length(ValueTest),
    Arithmetic {
        op: ArithmeticOp,
        literal: Value,
        test: ValueTest,
    },
    /// One of an array's elements passes.
    AnyElement(ValueTest),
    AllElements(AllOf),
    /// There is a value that is not null, or there is none.
    Exists {
        negated: bool,
    },
}

/// The answers for a column of documents.
pub(super) fn test_documents(
    documents: &StringArray,
    path: &[PathSegment],
    test: &DocumentTest,
) -> BooleanArray {
    let value = |row: usize| {
        if documents.is_null(row) { JsonValue::Null } else { value_at(documents.value(row), path) }
    };
    let rows = documents.len();
    match test {
        DocumentTest::Value(test) => answers(rows, |row| test.json(&value(row))),
        DocumentTest::Length(test) => answers(rows, |row| match value(row) {
            JsonValue::Array(array) => test.json(&length(array.len())),
            _ => None,
        }),
        DocumentTest::Arithmetic { op, literal, test } => {
            answers(rows, |row| test.json(&super::arithmetic::calculate(&value(row), *op, literal)))
        }
        DocumentTest::AnyElement(test) => answers(rows, |row| match value(row) {
            JsonValue::Array(array) => {
                Some(array.iter().any(|element| test.json(&element) == Some(true)))
            }
            _ => None,
        }),
        DocumentTest::AllElements(all) => {
            let mut found = Found::default();
            answers(rows, |row| match value(row) {
                JsonValue::Array(array) => Some(all.within(array.iter(), &mut found)),
                _ => None,
            })
        }
        DocumentTest::Exists { negated } => answers(rows, |row| {
            let exists = !matches!(value(row), JsonValue::Missing | JsonValue::Null);
            Some(exists != *negated)
        }),
    }
}

fn length(elements: usize) -> JsonValue<'static> {
    i64::try_from(elements).map_or(JsonValue::Missing, JsonValue::Int)
}
