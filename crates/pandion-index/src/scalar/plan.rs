//! What a term asks of an index: found from the dictionary alone, before any row is touched.
//!
//! A plan is made only when the index can answer as a scan would. What it says of JSON follows from
//! one fact: the index knows for each row whether its value is null, of the index's kind, or of
//! some other kind, but not of which.

use std::ops::Range;

use pandion_filter::{
    Bound, CompareOp, ContainsMode, LikeForm, LikePattern, Operand, Predicate, Value,
};
use pandion_types::DataType;

use super::IndexedValues;
use super::cell::{Cell, Family};
use super::section::{Section, tidy};
use super::values::ValueIndex;

/// Entries of each section, as ascending ranges that do not meet.
pub(super) type Entries = Vec<Vec<Range<usize>>>;

/// A column with this many distinct values is small enough to test each of them, whatever its rows.
const TESTED_VALUES: usize = 1024;

/// The most comparisons of values with literals that one term may cost.
const COMPARISONS_MAX: usize = 16 << 20;

/// The rows for which a term is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Those without a value.
    Nulls,
    /// Those without a value of the index's kind.
    Unindexed,
}

/// How a term is answered.
#[derive(Debug)]
pub(super) enum Plan<'t> {
    /// True for the rows of these entries, and for NaN if so said.
    Rows { entries: Entries, nans: bool, unknown: Unknown },
    /// The same of the lengths of arrays.
    Lengths { ranges: Vec<Range<usize>> },
    /// Test every distinct value.
    Each(Test<'t>),
    /// True for the rows that are null, or that are not; never unknown.
    Nulls { are_null: bool },
    /// Unknown for every row.
    AllUnknown,
    /// True for the arrays that hold all of these.
    HoldsAll(Vec<Entries>),
    /// True for the arrays that hold one of these.
    HoldsAny(Entries),
    /// At most the arrays that hold one of these.
    Candidates(Entries),
}

/// A test of one value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Test<'t> {
    Compare {
        operand: &'t Operand,
        op: CompareOp,
        value: &'t Value,
    },
    Range {
        operand: &'t Operand,
        lower: &'t Bound,
        upper: &'t Bound,
    },
    In {
        operand: &'t Operand,
        values: &'t [Value],
    },
    Like(&'t LikePattern),
    /// The expression is compiled by whoever runs the test.
    Regex(&'t str),
}

impl Test<'_> {
    /// The outcome for a value of a comparing test.
    pub(super) fn compare(&self, cell: Cell<'_>) -> Option<bool> {
        match self {
            Self::Compare { operand, op, value } => cell.derive(operand)?.compare(*op, value),
            Self::Range { operand, lower, upper } => cell.derive(operand)?.is_between(lower, upper),
            Self::In { operand, values } => cell.derive(operand)?.is_in(values),
            Self::Like(pattern) => match cell {
                Cell::Text(text) => Some(pattern.matches(text)),
                _ => None,
            },
            Self::Regex(_) => None,
        }
    }
}

/// What an operand is to the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// What is indexed: single values, or whole arrays.
    Whole,
    /// One element of an indexed array.
    Element,
    /// The length of an indexed array.
    Length,
    /// Calculated from an indexed value.
    Derived,
}

impl ValueIndex {
    /// How a term can be answered; `None` when it cannot.
    pub(super) fn plan<'t>(&self, term: &'t Predicate) -> Option<Plan<'t>> {
        match term {
            Predicate::IsNull(operand) => self.nulls(operand, true),
            Predicate::IsNotNull(operand) => self.nulls(operand, false),
            Predicate::Exists { path, .. } => match &self.spec.values {
                IndexedValues::Json { path: own, .. } if own == path => {
                    Some(Plan::Nulls { are_null: false })
                }
                _ => None,
            },
            Predicate::Compare { operand, op, value } => self.compare(operand, *op, value),
            Predicate::Range { operand, lower, upper } => self.range(operand, lower, upper),
            Predicate::In { operand, values } => self.is_in(operand, values),
            Predicate::Like { operand, pattern } => self.text(operand, Test::Like(pattern)),
            Predicate::RegexMatch { operand, pattern } => self.text(operand, Test::Regex(pattern)),
            Predicate::Contains { operand, mode, values } => self.contains(operand, *mode, values),
            _ => None,
        }
    }

    fn target(&self, operand: &Operand) -> Option<Target> {
        match operand {
            Operand::Field(field) => {
                let is_own = match &self.spec.values {
                    IndexedValues::Field(data_type) => field.data_type == *data_type,
                    IndexedValues::Elements(data_type) => {
                        field.data_type == DataType::Array && field.element_type == Some(*data_type)
                    }
                    // A document that is JSON null is a value of the field, and none of the index.
                    IndexedValues::Json { .. } => false,
                };
                is_own.then_some(Target::Whole)
            }
            Operand::Json { path, .. } => match &self.spec.values {
                IndexedValues::Json { path: own, .. } => (own == path).then_some(Target::Whole),
                IndexedValues::Field(_) | IndexedValues::Elements(_) => None,
            },
            Operand::Element { element_type, .. } => (self.spec.values
                == IndexedValues::Elements(*element_type))
            .then_some(Target::Element),
            Operand::Length(inner) => {
                (self.target(inner)? == Target::Whole).then_some(Target::Length)
            }
            Operand::Arithmetic { operand: inner, .. } => {
                (self.target(inner)? == Target::Whole).then_some(Target::Derived)
            }
            Operand::Shifted { .. } => (self.spec.values
                == IndexedValues::Field(DataType::Timestamptz))
            .then_some(Target::Derived),
            Operand::CurrentElement { .. } => None,
        }
    }

    fn nulls<'t>(&self, operand: &Operand, are_null: bool) -> Option<Plan<'t>> {
        (self.target(operand)? == Target::Whole).then_some(Plan::Nulls { are_null })
    }

    /// Whether the index's values are single and of the literal's family.
    fn takes(&self, value: &Value) -> bool {
        let is_nan = matches!(value, Value::Float(value) if value.is_nan());
        !self.spec.values.is_elements() && !is_nan && Family::of(value) == Some(self.family)
    }

    /// The answer when a term says nothing of the index's own values: unknown for them and for
    /// nulls, and undecided for JSON values of other kinds.
    fn unrelated<'t>(&self) -> Option<Plan<'t>> {
        let is_json = matches!(self.spec.values, IndexedValues::Json { .. });
        (is_json && self.others.is_none()).then_some(Plan::AllUnknown)
    }

    fn compare<'t>(
        &self,
        operand: &'t Operand,
        op: CompareOp,
        value: &'t Value,
    ) -> Option<Plan<'t>> {
        match self.target(operand)? {
            Target::Whole if self.takes(value) => {
                let entries = self.sections.iter().map(|section| section.compare(op, value));
                Some(Plan::Rows {
                    entries: entries.collect(),
                    nans: op == CompareOp::NotEqual,
                    unknown: Unknown::Unindexed,
                })
            }
            // A list is equal to an array or not, which the index does not tell.
            Target::Whole if self.spec.values.is_elements() && Family::of(value).is_none() => None,
            Target::Whole => self.unrelated(),
            // NaN differs from everything, and has no entry.
            Target::Element if op == CompareOp::NotEqual => None,
            Target::Element => Some(Plan::Candidates(
                self.sections.iter().map(|section| section.compare(op, value)).collect(),
            )),
            Target::Length => match &self.lengths {
                Some(lengths) if Family::of(value) == Some(Family::Number) => {
                    Some(Plan::Lengths { ranges: lengths.compare(op, value) })
                }
                Some(_) => None,
                None => self.unrelated(),
            },
            Target::Derived => self.derived(Test::Compare { operand, op, value }, 1),
        }
    }

    fn range<'t>(
        &self,
        operand: &'t Operand,
        lower: &'t Bound,
        upper: &'t Bound,
    ) -> Option<Plan<'t>> {
        let between = |section: &Section| {
            let range = section_range(section, lower, upper);
            range.into_iter().collect::<Vec<_>>()
        };
        let families = (Family::of(&lower.value), Family::of(&upper.value));
        match self.target(operand)? {
            Target::Whole => match (self.takes(&lower.value), self.takes(&upper.value)) {
                (true, true) => Some(Plan::Rows {
                    entries: self.sections.iter().map(between).collect(),
                    nans: false,
                    unknown: Unknown::Unindexed,
                }),
                // Order against a list is unknown too.
                (false, false) => self.unrelated(),
                _ => None,
            },
            Target::Element => Some(Plan::Candidates(self.sections.iter().map(between).collect())),
            Target::Length => match &self.lengths {
                Some(lengths) if families == (Some(Family::Number), Some(Family::Number)) => {
                    Some(Plan::Lengths { ranges: between(lengths) })
                }
                Some(_) => None,
                None => self.unrelated(),
            },
            Target::Derived => self.derived(Test::Range { operand, lower, upper }, 2),
        }
    }

    fn is_in<'t>(&self, operand: &'t Operand, values: &'t [Value]) -> Option<Plan<'t>> {
        match self.target(operand)? {
            Target::Whole if values.is_empty() => Some(Plan::Rows {
                entries: self.sections.iter().map(|_| Vec::new()).collect(),
                nans: false,
                unknown: Unknown::Nulls,
            }),
            Target::Whole => {
                let own = values.iter().filter(|value| self.takes(value)).count();
                // Lists might equal arrays.
                let has_lists = values.iter().any(|value| Family::of(value).is_none());
                if has_lists && self.spec.values.is_elements() {
                    return None;
                }
                if own < values.len() {
                    let unrelated = self.unrelated()?;
                    if own == 0 {
                        return Some(unrelated);
                    }
                }
                Some(Plan::Rows {
                    entries: self.equal_entries(values),
                    nans: false,
                    unknown: Unknown::Unindexed,
                })
            }
            Target::Element => Some(Plan::Candidates(self.equal_entries(values))),
            Target::Length => match &self.lengths {
                Some(lengths)
                    if values.iter().all(|value| Family::of(value) == Some(Family::Number)) =>
                {
                    Some(Plan::Lengths { ranges: lengths.equal_to_any(values) })
                }
                Some(_) => None,
                None => self.unrelated(),
            },
            Target::Derived => self.derived(Test::In { operand, values }, values.len()),
        }
    }

    /// Test what is calculated from every distinct value.
    fn derived<'t>(&self, test: Test<'t>, comparisons: usize) -> Option<Plan<'t>> {
        match self.family {
            Family::Number | Family::Instant if !self.spec.values.is_elements() => {
                self.each(test, comparisons)
            }
            // Only numbers can be calculated with, and these are none.
            _ => self.unrelated(),
        }
    }

    /// Test every distinct value, when they are few beside the rows.
    fn each<'t>(&self, test: Test<'t>, comparisons: usize) -> Option<Plan<'t>> {
        let distinct = self.distinct();
        let is_few = distinct <= (self.rows / 4).max(TESTED_VALUES);
        let is_cheap = distinct.saturating_mul(comparisons) <= COMPARISONS_MAX;
        (is_few && is_cheap).then_some(Plan::Each(test))
    }

    fn text<'t>(&self, operand: &Operand, test: Test<'t>) -> Option<Plan<'t>> {
        match self.target(operand)? {
            Target::Whole if self.spec.values.is_elements() || self.family != Family::Text => {
                self.unrelated()
            }
            Target::Whole => {
                let [section] = self.sections.as_slice() else { return None };
                let range = match test {
                    Test::Like(pattern) => match pattern.form() {
                        LikeForm::Equal(text) => {
                            section.find_text(text).map_or(0..0, |entry| entry..entry + 1)
                        }
                        LikeForm::Prefix(prefix) => section.prefix(prefix),
                        LikeForm::Suffix(_) | LikeForm::Contains(_) | LikeForm::General(_) => {
                            return self.each(test, 1);
                        }
                    },
                    _ => return self.each(test, 1),
                };
                Some(Plan::Rows {
                    entries: vec![vec![range]],
                    nans: false,
                    unknown: Unknown::Unindexed,
                })
            }
            Target::Element | Target::Length | Target::Derived => None,
        }
    }

    fn contains<'t>(
        &self,
        operand: &Operand,
        mode: ContainsMode,
        values: &[Value],
    ) -> Option<Plan<'t>> {
        if self.target(operand)? != Target::Whole {
            return None;
        }
        if !self.spec.values.is_elements() {
            return self.unrelated();
        }
        // An element that is not in the index may equal a literal of another family, or a list.
        let is_own = |value: &Value| Family::of(value) == Some(self.family);
        if self.has_foreign_elements && !values.iter().all(is_own) {
            return None;
        }
        Some(match mode {
            ContainsMode::Any => Plan::HoldsAny(self.equal_entries(values)),
            ContainsMode::One | ContainsMode::All => Plan::HoldsAll(self.each_equal(values)),
        })
    }

    /// The entries of each literal; of one alone when no array holds it.
    fn each_equal(&self, values: &[Value]) -> Vec<Entries> {
        let entries_of = |value: &Value| -> Entries {
            self.sections.iter().map(|s| tidy(s.compare(CompareOp::Equal, value))).collect()
        };
        let mut sets: Vec<Entries> = Vec::new();
        for value in sorted(values) {
            let entries = entries_of(value);
            if entries.iter().all(Vec::is_empty) {
                return vec![entries];
            }
            if sets.last() != Some(&entries) {
                sets.push(entries);
            }
        }
        sets
    }

    /// The entries that equal one of the literals.
    fn equal_entries(&self, values: &[Value]) -> Entries {
        self.sections.iter().map(|section| section.equal_to_any(values)).collect()
    }
}

fn section_range(section: &Section, lower: &Bound, upper: &Bound) -> Option<Range<usize>> {
    let (below, not_above) = section.span(&lower.value)?;
    let start = if lower.inclusive { below } else { not_above };
    let (below, not_above) = section.span(&upper.value)?;
    let end = if upper.inclusive { not_above } else { below };
    (start < end).then_some(start..end)
}

/// Literals in an order in which equal ones meet.
fn sorted(values: &[Value]) -> Vec<&Value> {
    let mut sorted: Vec<&Value> = values.iter().collect();
    sorted.sort_unstable_by(|left, right| match (left, right) {
        (Value::Int(left), Value::Int(right))
        | (Value::Timestamp(left), Value::Timestamp(right)) => left.cmp(right),
        (Value::Float(left), Value::Float(right)) => left.total_cmp(right),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (left, right) => rank(left).cmp(&rank(right)),
    });
    sorted
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Bool(_) => 0,
        Value::Int(_) => 1,
        Value::Float(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Timestamp(_) => 5,
    }
}
