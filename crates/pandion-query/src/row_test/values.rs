//! What a term asks of one value, compiled for each kind of value that it may meet.
//!
//! The columns of typed fields hold values of one kind, JSON paths lead to any. A kind that no
//! literal of the term is of has no answer: the term is unknown.

use pandion_filter::{Bound, CompareOp, Value};

use super::bits::Bits;
use super::lists::ListSet;
use super::sets::{FloatSet, IntSet, NumberSet, TextSet, is_dense};
use super::text::TextMatcher;
use crate::json::JsonValue;

/// The test of a kind of values.
#[derive(Debug)]
pub(super) struct Kind<T> {
    pub(super) test: T,
    /// Whether passing it makes the term true. A range whose other end is of another kind is false
    /// for a value that fails, and unknown for one that passes.
    pub(super) decides: bool,
}

impl<T> Kind<T> {
    fn new(test: T) -> Self {
        Self { test, decides: true }
    }

    fn answer(&self, passed: bool) -> Option<bool> {
        if passed { self.decides.then_some(true) } else { Some(false) }
    }
}

/// A test of one value. Absent kinds have the answer `otherwise`.
#[derive(Debug, Default)]
pub(super) struct ValueTest {
    /// Integers of any width, and instants in microseconds.
    pub(super) integers: Option<Kind<IntTest>>,
    pub(super) floats: Option<Kind<FloatTest>>,
    pub(super) texts: Option<Kind<TextTest>>,
    /// The answers for false and for true.
    pub(super) booleans: Option<[Option<bool>; 2]>,
    pub(super) lists: Option<Kind<ListTest>>,
    pub(super) otherwise: Option<bool>,
}

#[derive(Debug)]
pub(super) enum IntTest {
    /// From `low` to `high`, both included, or outside of them.
    Between {
        low: i64,
        high: i64,
        outside: bool,
    },
    /// As a double.
    Float(FloatTest),
    In(NumberSet),
    Both(Box<[IntTest; 2]>),
}

#[derive(Debug)]
pub(super) enum FloatTest {
    /// As IEEE 754 compares: NaN differs from everything and has no order.
    Compare(CompareOp, f64),
    /// The same literals as of the integers' test.
    In(FloatSet),
    Both(Box<[FloatTest; 2]>),
}

#[derive(Debug)]
pub(super) enum TextTest {
    Compare(CompareOp, String),
    In(TextSet),
    Matches(Box<TextMatcher>),
    Both(Box<[TextTest; 2]>),
}

/// Equality of whole arrays.
#[derive(Debug)]
pub(super) struct ListTest {
    pub(super) set: ListSet,
    pub(super) negated: bool,
}

impl ValueTest {
    /// `value op literal`.
    pub(super) fn compare(op: CompareOp, literal: &Value) -> Self {
        let mut test = Self::default();
        match literal {
            Value::Bool(literal) => {
                test.booleans = Some([false, true].map(|value| Some(op.holds(value.cmp(literal)))));
            }
            Value::Int(literal) => {
                test.integers = Some(Kind::new(IntTest::compare(op, *literal)));
                test.floats = Some(Kind::new(FloatTest::Compare(op, *literal as f64)));
            }
            Value::Float(literal) => {
                let float = || FloatTest::Compare(op, *literal);
                test.integers = Some(Kind::new(IntTest::Float(float())));
                test.floats = Some(Kind::new(float()));
            }
            Value::Timestamp(literal) => {
                test.integers = Some(Kind::new(IntTest::compare(op, *literal)));
            }
            Value::String(literal) => {
                test.texts = Some(Kind::new(TextTest::Compare(op, literal.clone())));
            }
            Value::Array(_) if op.is_ordering() => {}
            Value::Array(_) => {
                let set = ListSet::new(std::slice::from_ref(literal));
                let negated = op == CompareOp::NotEqual;
                test.lists = Some(Kind::new(ListTest { set, negated }));
            }
        }
        test
    }

    pub(super) fn range(lower: &Bound, upper: &Bound) -> Self {
        let above = if lower.inclusive { CompareOp::GreaterEqual } else { CompareOp::Greater };
        let below = if upper.inclusive { CompareOp::LessEqual } else { CompareOp::Less };
        let lower = Self::compare(above, &lower.value);
        let upper = Self::compare(below, &upper.value);
        let booleans = match (lower.booleans, upper.booleans) {
            (None, None) => None,
            (lower, upper) => {
                let (lower, upper) = (lower.unwrap_or_default(), upper.unwrap_or_default());
                Some([and(lower[0], upper[0]), and(lower[1], upper[1])])
            }
        };
        Self {
            integers: both(lower.integers, upper.integers, IntTest::both),
            floats: both(lower.floats, upper.floats, |ends| FloatTest::Both(Box::new(ends))),
            texts: both(lower.texts, upper.texts, |ends| TextTest::Both(Box::new(ends))),
            booleans,
            lists: None,
            otherwise: None,
        }
    }

    /// Equal to one of the literals. Literals of another kind than the value's say nothing; of no
    /// literals none is equal.
    pub(super) fn is_in(literals: &[Value]) -> Self {
        if literals.is_empty() {
            return Self { otherwise: Some(false), ..Self::default() };
        }
        let strings = || {
            literals.iter().filter_map(|literal| match literal {
                Value::String(text) => Some(text.as_str()),
                _ => None,
            })
        };
        let has_bool = literals.iter().any(|literal| matches!(literal, Value::Bool(_)));
        let is_array = |literal: &&Value| matches!(literal, Value::Array(_));
        let mut test = Self::default();
        if let Some(set) = NumberSet::new(literals) {
            // The doubles have a set of their own, so that a column of them is tested by it alone.
            let all = literals.iter().filter_map(|literal| match literal {
                Value::Int(value) => Some(*value as f64),
                Value::Float(value) => Some(*value),
                _ => None,
            });
            test.floats = Some(Kind::new(FloatTest::In(FloatSet::new(all))));
            test.integers = Some(Kind::new(IntTest::In(set)));
        }
        if strings().next().is_some() {
            test.texts = Some(Kind::new(TextTest::In(TextSet::new(strings()))));
        }
        if has_bool {
            test.booleans =
                Some([false, true].map(|value| Some(literals.contains(&Value::Bool(value)))));
        }
        if literals.iter().any(|literal| is_array(&literal)) {
            test.lists = Some(Kind::new(ListTest { set: ListSet::new(literals), negated: false }));
        }
        test
    }

    /// A string that matches.
    pub(super) fn matches(matcher: TextMatcher) -> Self {
        Self { texts: Some(Kind::new(TextTest::Matches(Box::new(matcher)))), ..Self::default() }
    }

    /// The answer for one value.
    pub(super) fn json(&self, value: &JsonValue<'_>) -> Option<bool> {
        let known = match value {
            JsonValue::Missing | JsonValue::Null => return None,
            JsonValue::Bool(value) => {
                return match self.booleans {
                    Some(answers) => answers[usize::from(*value)],
                    None => self.otherwise,
                };
            }
            JsonValue::Int(value) => {
                self.integers.as_ref().map(|kind| kind.answer(kind.test.passes(*value)))
            }
            JsonValue::Float(value) => {
                self.floats.as_ref().map(|kind| kind.answer(kind.test.passes(*value)))
            }
            JsonValue::Text(value) => {
                self.texts.as_ref().map(|kind| kind.answer(kind.test.passes(value)))
            }
            JsonValue::Array(value) => self
                .lists
                .as_ref()
                .map(|kind| kind.answer(kind.test.passes(value.len(), value.iter()))),
            JsonValue::Object => None,
        };
        known.unwrap_or(self.otherwise)
    }
}

impl IntTest {
    fn compare(op: CompareOp, literal: i64) -> Self {
        // A range whose ends are the wrong way round holds nothing.
        const NOTHING: (i64, i64) = (i64::MAX, i64::MIN);
        let outside = op == CompareOp::NotEqual;
        let (low, high) = match op {
            CompareOp::Equal | CompareOp::NotEqual => (literal, literal),
            CompareOp::Less => literal.checked_sub(1).map_or(NOTHING, |before| (i64::MIN, before)),
            CompareOp::LessEqual => (i64::MIN, literal),
            CompareOp::Greater => literal.checked_add(1).map_or(NOTHING, |after| (after, i64::MAX)),
            CompareOp::GreaterEqual => (literal, i64::MAX),
        };
        Self::Between { low, high, outside }
    }

    /// Two ends of a range as one range, when both are integers.
    fn both(ends: [Self; 2]) -> Self {
        match ends {
            [
                Self::Between { low, high: i64::MAX, outside: false },
                Self::Between { low: i64::MIN, high, outside: false },
            ] => Self::Between { low, high, outside: false },
            ends => Self::Both(Box::new(ends)),
        }
    }

    #[inline]
    pub(super) fn passes(&self, value: i64) -> bool {
        match self {
            Self::Between { low, high, outside } => (*low <= value && value <= *high) != *outside,
            Self::Float(test) => test.passes(value as f64),
            Self::In(set) => set.contains(value),
            Self::Both(tests) => tests.iter().all(|test| test.passes(value)),
        }
    }

    /// The answers for many values, appended to `bits`.
    pub(super) fn push<T: Copy + Into<i64>>(&self, values: &[T], bits: &mut Bits) {
        match self {
            Self::Between { low, high, outside: false } => bits.push(values, |value| {
                let value = value.into();
                // Both are compared always: a branch would keep the loop from being unrolled.
                (*low <= value) & (value <= *high)
            }),
            Self::Between { low, high, outside: true } => bits.push(values, |value| {
                let value = value.into();
                (value < *low) | (*high < value)
            }),
            Self::In(set) if set.fractions.is_empty() => match &set.integers {
                IntSet::Dense { first, bits: members } => {
                    bits.push(values, |value| is_dense(*first, members, value.into()));
                }
                integers => bits.push(values, |value| integers.contains(value.into())),
            },
            test => bits.push(values, |value| test.passes(value.into())),
        }
    }
}

impl FloatTest {
    #[inline]
    pub(super) fn passes(&self, value: f64) -> bool {
        match self {
            Self::Compare(op, literal) => op.holds_for_floats(value, *literal),
            Self::In(set) => set.contains(value),
            Self::Both(tests) => tests.iter().all(|test| test.passes(value)),
        }
    }

    /// The answers for many values, appended to `bits`.
    #[expect(clippy::float_cmp, reason = "equality of values is what is asked for")]
    pub(super) fn push<T: Copy + Into<f64>>(&self, values: &[T], bits: &mut Bits) {
        match self {
            Self::Compare(op, literal) => {
                let literal = *literal;
                match op {
                    CompareOp::Equal => bits.push(values, |value| value.into() == literal),
                    CompareOp::NotEqual => bits.push(values, |value| value.into() != literal),
                    CompareOp::Less => bits.push(values, |value| value.into() < literal),
                    CompareOp::LessEqual => bits.push(values, |value| value.into() <= literal),
                    CompareOp::Greater => bits.push(values, |value| value.into() > literal),
                    CompareOp::GreaterEqual => bits.push(values, |value| value.into() >= literal),
                }
            }
            Self::In(set) => bits.push(values, |value| set.contains(value.into())),
            test @ Self::Both(_) => bits.push(values, |value| test.passes(value.into())),
        }
    }
}

impl TextTest {
    #[inline]
    pub(super) fn passes(&self, value: &str) -> bool {
        match self {
            Self::Compare(op, literal) => match op {
                CompareOp::Equal => value == literal,
                CompareOp::NotEqual => value != literal,
                op => op.holds(value.cmp(literal.as_str())),
            },
            Self::In(set) => set.contains(value),
            Self::Matches(matcher) => matcher.matches(value),
            Self::Both(tests) => tests.iter().all(|test| test.passes(value)),
        }
    }
}

impl ListTest {
    /// `elements` are those of the array, `length` says how many they are.
    pub(super) fn passes<'a>(
        &self,
        length: usize,
        elements: impl Iterator<Item = JsonValue<'a>> + Clone,
    ) -> bool {
        self.set.contains(length, elements) != self.negated
    }
}

fn both<T>(
    lower: Option<Kind<T>>,
    upper: Option<Kind<T>>,
    join: impl FnOnce([T; 2]) -> T,
) -> Option<Kind<T>> {
    match (lower, upper) {
        (Some(lower), Some(upper)) => Some(Kind::new(join([lower.test, upper.test]))),
        (Some(only), None) | (None, Some(only)) => Some(Kind { test: only.test, decides: false }),
        (None, None) => None,
    }
}

fn and(left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match (left, right) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}
