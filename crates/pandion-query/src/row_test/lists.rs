//! Arrays as wholes: equality with literal arrays, and whether they hold literals.
//!
//! An element is given as a [`JsonValue`], whether it comes from a document or from a list column.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use datafusion::common::HashMap;
use pandion_filter::Value;

use super::sets::float_key;
use crate::json::JsonValue;

/// How deep arrays are looked into for their hash. Literals do not nest as deep.
const HASHED_DEPTH: usize = 128;

/// Literals by what values that equal them have in common, so that a million of them are as quick
/// as one.
#[derive(Debug, Default)]
struct Literals {
    literals: Vec<Value>,
    by_hash: HashMap<u64, Vec<usize>>,
    state: RandomState,
}

impl Literals {
    /// Adds a literal unless the same is there.
    fn add(&mut self, literal: &Value) {
        let mut hasher = self.state.build_hasher();
        hash_literal(literal, &mut hasher);
        let same = self.by_hash.entry(hasher.finish()).or_default();
        if !same.iter().any(|&number| self.literals.get(number) == Some(literal)) {
            same.push(self.literals.len());
            self.literals.push(literal.clone());
        }
    }

    /// The numbers of the literals that a value equals: several when they are numbers.
    fn equal_to<'a>(&'a self, value: &'a JsonValue<'_>) -> impl Iterator<Item = usize> + 'a {
        let mut hasher = self.state.build_hasher();
        hash_value(value, HASHED_DEPTH, &mut hasher);
        let same = self.by_hash.get(&hasher.finish()).map_or(&[][..], Vec::as_slice);
        let is = |number: usize| self.literals.get(number).is_some_and(|it| equal(value, it));
        same.iter().copied().filter(move |&number| is(number))
    }
}

fn hash_literal(literal: &Value, hasher: &mut impl Hasher) {
    match literal {
        Value::Bool(value) => hash_bool(*value, hasher),
        Value::Int(value) => hash_number(*value as f64, hasher),
        Value::Float(value) => hash_number(*value, hasher),
        Value::String(text) => text.hash(hasher),
        Value::Array(elements) => {
            hasher.write_usize(elements.len());
            for element in elements {
                hash_literal(element, hasher);
            }
        }
        Value::Timestamp(_) => {}
    }
}

fn hash_value(value: &JsonValue<'_>, depth: usize, hasher: &mut impl Hasher) {
    match value {
        JsonValue::Bool(value) => hash_bool(*value, hasher),
        JsonValue::Int(value) => hash_number(*value as f64, hasher),
        JsonValue::Float(value) => hash_number(*value, hasher),
        JsonValue::Text(text) => text.hash(hasher),
        JsonValue::Array(elements) => {
            hasher.write_usize(elements.len());
            if depth > 0 {
                for element in elements.iter() {
                    hash_value(&element, depth - 1, hasher);
                }
            }
        }
        JsonValue::Missing | JsonValue::Null | JsonValue::Object => {}
    }
}

fn hash_bool(value: bool, hasher: &mut impl Hasher) {
    hasher.write_u8(u8::from(value));
}

/// Integers as doubles, since one may equal the other.
fn hash_number(value: f64, hasher: &mut impl Hasher) {
    hasher.write_u64(float_key(value));
}

/// Whether a value equals a literal. Recursion is bounded by how deep literals nest.
#[expect(clippy::float_cmp, reason = "equality of values is what is asked for")]
fn equal(value: &JsonValue<'_>, literal: &Value) -> bool {
    match (value, literal) {
        (JsonValue::Bool(value), Value::Bool(literal)) => value == literal,
        (JsonValue::Int(value), Value::Int(literal)) => value == literal,
        (JsonValue::Int(value), Value::Float(literal)) => *value as f64 == *literal,
        (JsonValue::Float(value), Value::Int(literal)) => *value == *literal as f64,
        (JsonValue::Float(value), Value::Float(literal)) => value == literal,
        (JsonValue::Text(value), Value::String(literal)) => value == literal,
        (JsonValue::Array(value), Value::Array(literals)) => {
            equal_elements(value.len(), value.iter(), literals)
        }
        _ => false,
    }
}

fn equal_elements<'a>(
    length: usize,
    mut elements: impl Iterator<Item = JsonValue<'a>>,
    literals: &[Value],
) -> bool {
    length == literals.len()
        && literals
            .iter()
            .all(|literal| elements.next().is_some_and(|element| equal(&element, literal)))
}

/// Literal arrays, one of which an array may equal.
#[derive(Debug)]
pub(super) struct ListSet {
    lists: Literals,
    /// Lengths of the lists, ascending: most arrays are told apart by them.
    lengths: Vec<usize>,
}

impl ListSet {
    /// The arrays among the literals.
    pub(super) fn new(literals: &[Value]) -> Self {
        let mut lists = Literals::default();
        let mut lengths = Vec::new();
        for literal in literals {
            if let Value::Array(elements) = literal {
                lists.add(literal);
                lengths.push(elements.len());
            }
        }
        lengths.sort_unstable();
        lengths.dedup();
        Self { lists, lengths }
    }

    /// Whether an array with these elements equals one of the lists.
    pub(super) fn contains<'a>(
        &self,
        length: usize,
        elements: impl Iterator<Item = JsonValue<'a>> + Clone,
    ) -> bool {
        if self.lengths.binary_search(&length).is_err() {
            return false;
        }
        if let [Value::Array(only)] = self.lists.literals.as_slice() {
            return equal_elements(length, elements, only);
        }
        let mut hasher = self.lists.state.build_hasher();
        hasher.write_usize(length);
        for element in elements.clone() {
            hash_value(&element, HASHED_DEPTH, &mut hasher);
        }
        let same = self.lists.by_hash.get(&hasher.finish()).map_or(&[][..], Vec::as_slice);
        same.iter().any(|&number| match self.lists.literals.get(number) {
            Some(Value::Array(literals)) => equal_elements(length, elements.clone(), literals),
            _ => false,
        })
    }
}

/// Literals that an array has to hold all of.
#[derive(Debug)]
pub(super) struct AllOf(Literals);

/// Which literals were found in which array; kept between arrays, so that none is cleared.
#[derive(Debug, Default)]
pub(super) struct Found {
    array: usize,
    in_array: Vec<usize>,
}

impl AllOf {
    pub(super) fn new(values: &[Value]) -> Self {
        let mut literals = Literals::default();
        for value in values {
            literals.add(value);
        }
        Self(literals)
    }

    /// Whether every literal equals one of the elements.
    pub(super) fn within<'a>(
        &self,
        elements: impl Iterator<Item = JsonValue<'a>>,
        found: &mut Found,
    ) -> bool {
        found.array += 1;
        found.in_array.resize(self.0.literals.len(), 0);
        let mut missing = self.0.literals.len();
        for element in elements {
            if missing == 0 {
                break;
            }
            for number in self.0.equal_to(&element) {
                if let Some(last) = found.in_array.get_mut(number)
                    && *last != found.array
                {
                    *last = found.array;
                    missing -= 1;
                }
            }
        }
        missing == 0
    }
}
