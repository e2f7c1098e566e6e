//! What a filter says about the primary key, for planning: which rows need not be looked at.

use pandion_types::DataType;

use crate::typed::{CompareOp, Operand, Predicate, Value};

/// A superset of the primary keys of the rows that a filter keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PkConstraint {
    /// One of these; sorted and unique. None of them: the filter keeps no row.
    Ids(Vec<i64>),
    /// Within this range.
    Range {
        /// The smallest key; belongs to the range.
        lower: i64,
        /// The largest key; belongs to the range and is not below `lower`.
        upper: i64,
    },
}

/// What the conditions of the outermost `And` that read an `Int64` primary key, and nothing else,
/// say about it. `None` when they say nothing.
///
/// The filter still has to be evaluated on the rows that are left.
#[must_use]
pub fn pk_constraint(predicate: &Predicate) -> Option<PkConstraint> {
    let mut collected = Collected { lower: i64::MIN, upper: i64::MAX, ids: None, any: false };
    for conjunct in predicate.conjuncts() {
        collected.add(conjunct);
    }
    collected.finish()
}

struct Collected {
    lower: i64,
    upper: i64,
    ids: Option<Vec<i64>>,
    any: bool,
}

impl Collected {
    fn add(&mut self, predicate: &Predicate) {
        match predicate {
            Predicate::Constant(false) => self.retain(Vec::new()),
            Predicate::Compare { operand, op, value: Value::Int(value) } if is_key(operand) => {
                self.compare(*op, *value);
            }
            Predicate::Range { operand, lower, upper } if is_key(operand) => {
                if let (Value::Int(low), Value::Int(high)) = (&lower.value, &upper.value) {
                    let inclusive = lower.inclusive;
                    let op = if inclusive { CompareOp::GreaterEqual } else { CompareOp::Greater };
                    self.compare(op, *low);
                    let inclusive = upper.inclusive;
                    self.compare(
                        if inclusive { CompareOp::LessEqual } else { CompareOp::Less },
                        *high,
                    );
                }
            }
            Predicate::In { operand, values } if is_key(operand) => {
                let ids = values.iter().filter_map(|value| match value {
                    Value::Int(id) => Some(*id),
                    _ => None,
                });
                self.retain(ids.collect());
            }
            _ => {}
        }
    }

    fn compare(&mut self, op: CompareOp, value: i64) {
        let (lower, upper) = match op {
            CompareOp::Equal => (Some(value), Some(value)),
            CompareOp::Less => (Some(i64::MIN), value.checked_sub(1)),
            CompareOp::LessEqual => (Some(i64::MIN), Some(value)),
            CompareOp::Greater => (value.checked_add(1), Some(i64::MAX)),
            CompareOp::GreaterEqual => (Some(value), Some(i64::MAX)),
            CompareOp::NotEqual => return,
        };
        match (lower, upper) {
            (Some(lower), Some(upper)) => {
                self.lower = self.lower.max(lower);
                self.upper = self.upper.min(upper);
                self.any = true;
            }
            // Nothing is beyond the ends of the integers.
            _ => self.retain(Vec::new()),
        }
    }

    fn retain(&mut self, mut ids: Vec<i64>) {
        ids.sort_unstable();
        ids.dedup();
        if let Some(known) = &self.ids {
            ids.retain(|id| known.binary_search(id).is_ok());
        }
        self.ids = Some(ids);
    }

    fn finish(self) -> Option<PkConstraint> {
        let Self { lower, upper, ids, any } = self;
        match ids {
            Some(mut ids) => {
                ids.retain(|id| (lower..=upper).contains(id));
                Some(PkConstraint::Ids(ids))
            }
            None if !any => None,
            None if lower > upper => Some(PkConstraint::Ids(Vec::new())),
            None if lower == upper => Some(PkConstraint::Ids(vec![lower])),
            None => Some(PkConstraint::Range { lower, upper }),
        }
    }
}

fn is_key(operand: &Operand) -> bool {
    matches!(
        operand,
        Operand::Field(field) if field.is_primary_key && field.data_type == DataType::Int64
    )
}
