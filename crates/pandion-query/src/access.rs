//! Chooses between scalar indexes and scanning, file by file, and asks the indexes.
//!
//! A filter is a conjunction of terms. A term that the indexes of a file can answer, cheaper than a
//! scan would, is answered before anything is read; what remains is evaluated on the rows that are
//! left. Both ways give the same rows.

use std::sync::Arc;

use pandion_filter::{Operand, Predicate};
use pandion_index::Bitmap;
use pandion_index::scalar::{Lookup, ScalarIndex};
use pandion_types::{DataType, Result};

/// What the indexes of a file say about a filter.
#[derive(Debug, Default)]
pub(crate) struct IndexAnswer {
    /// The rows of the file that may match; `None` when the indexes leave out none.
    pub(crate) allowed: Option<Bitmap>,
    /// For each conjunct, whether `allowed` says all there is to say.
    pub(crate) answered: Vec<bool>,
    /// Lookups made.
    pub(crate) lookups: u64,
}

/// Asks the indexes of a file of `rows` rows about each conjunct.
///
/// # Errors
/// Those of [`ScalarIndex::lookup`].
pub(crate) fn ask(
    conjuncts: &[Predicate],
    indexes: &[Arc<dyn ScalarIndex>],
    rows: usize,
) -> Result<IndexAnswer> {
    let mut asked = Asked { indexes, rows, lookups: 0 };
    let mut answer =
        IndexAnswer { allowed: None, answered: vec![false; conjuncts.len()], lookups: 0 };
    for (conjunct, answered) in conjuncts.iter().zip(&mut answer.answered) {
        if !asked.pays(conjunct) {
            continue;
        }
        let found = match asked.rows(conjunct)? {
            Some(Found { rows, exact }) => {
                *answered = exact;
                rows
            }
            None => continue,
        };
        match &mut answer.allowed {
            Some(allowed) => allowed.intersect(&found),
            none => *none = Some(found),
        }
    }
    answer.lookups = asked.lookups;
    Ok(answer)
}

struct Asked<'a> {
    indexes: &'a [Arc<dyn ScalarIndex>],
    rows: usize,
    lookups: u64,
}

/// Rows for which a predicate is true, or, when not `exact`, those among which they are.
struct Found {
    rows: Bitmap,
    exact: bool,
}

/// For which rows a predicate is true and for which unknown.
struct Truth {
    is_true: Bitmap,
    unknown: Option<Arc<Bitmap>>,
}

impl Asked<'_> {
    /// Whether every term below can be answered, for less than a scan would cost.
    fn pays(&self, predicate: &Predicate) -> bool {
        self.costs(predicate).is_some_and(|(lookup, scan)| lookup < scan)
    }

    /// What answering from indexes and what scanning would cost, in units of a row of integers
    /// compared; `None` when the indexes cannot answer.
    fn costs(&self, predicate: &Predicate) -> Option<(u64, u64)> {
        match predicate {
            Predicate::Constant(_) => None,
            Predicate::And(operands) | Predicate::Or(operands) => {
                operands.iter().try_fold((0_u64, 0_u64), |(lookup, scan), operand| {
                    let (of_lookup, of_scan) = self.costs(operand)?;
                    Some((lookup.saturating_add(of_lookup), scan.saturating_add(of_scan)))
                })
            }
            Predicate::Not(inner) => self.costs(inner),
            term => {
                let rows = self.rows as u64;
                let estimates = self.indexes.iter().filter_map(|index| index.estimate(term));
                let entries = estimates.map(|estimate| estimate.entries).min()?;
                // An answer is a bitmap of all rows, whatever it holds.
                let lookup = entries.saturating_add(rows / 64);
                Some((lookup, rows.saturating_mul(scan_weight(term))))
            }
        }
    }

    /// The rows for which a predicate is true; `None` when the indexes cannot tell after all.
    fn rows(&mut self, predicate: &Predicate) -> Result<Option<Found>> {
        match predicate {
            Predicate::And(_) | Predicate::Or(_) | Predicate::Not(_) => {
                let truth = self.truth(predicate)?;
                Ok(truth.map(|truth| Found { rows: truth.is_true, exact: true }))
            }
            term => Ok(match self.lookup(term)? {
                Some(Lookup::Exact { matches, .. }) => Some(Found { rows: matches, exact: true }),
                Some(Lookup::Candidates(rows)) => Some(Found { rows, exact: false }),
                None => None,
            }),
        }
    }

    /// Kleene's logic over whole files.
    fn truth(&mut self, predicate: &Predicate) -> Result<Option<Truth>> {
        match predicate {
            Predicate::Constant(_) => Ok(None),
            Predicate::And(operands) => self.fold(operands, and),
            Predicate::Or(operands) => self.fold(operands, or),
            Predicate::Not(inner) => Ok(self.truth(inner)?.map(|truth| {
                let mut is_true = truth.is_true;
                is_true.invert();
                if let Some(unknown) = &truth.unknown {
                    is_true.subtract(unknown);
                }
                Truth { is_true, unknown: truth.unknown }
            })),
            term => Ok(match self.lookup(term)? {
                Some(Lookup::Exact { matches, unknown }) => {
                    Some(Truth { is_true: matches, unknown })
                }
                // What may be true says nothing about what is false.
                Some(Lookup::Candidates(_)) | None => None,
            }),
        }
    }

    fn fold(
        &mut self,
        operands: &[Predicate],
        join: impl Fn(Truth, &Truth) -> Truth,
    ) -> Result<Option<Truth>> {
        let mut joined: Option<Truth> = None;
        for operand in operands {
            let Some(truth) = self.truth(operand)? else { return Ok(None) };
            joined = Some(match joined {
                Some(left) => join(left, &truth),
                None => truth,
            });
        }
        Ok(joined)
    }

    /// Asks the index that answers with the least work, an exact answer before candidates.
    fn lookup(&mut self, term: &Predicate) -> Result<Option<Lookup>> {
        let estimates = self.indexes.iter().filter_map(|index| {
            let estimate = index.estimate(term)?;
            Some(((!estimate.exact, estimate.entries), index))
        });
        let Some((_, index)) = estimates.min_by_key(|(cost, _)| *cost) else { return Ok(None) };
        self.lookups += 1;
        index.lookup(term)
    }
}

fn and(mut left: Truth, right: &Truth) -> Truth {
    let unknown = match (&left.unknown, &right.unknown) {
        (None, None) => None,
        (left_unknown, right_unknown) => {
            // Unknown is what can be true on both sides and is not.
            let mut possible = possible(&left.is_true, left_unknown.as_deref());
            possible.intersect(&self::possible(&right.is_true, right_unknown.as_deref()));
            let mut both = left.is_true.clone();
            both.intersect(&right.is_true);
            possible.subtract(&both);
            Some(Arc::new(possible))
        }
    };
    left.is_true.intersect(&right.is_true);
    Truth { is_true: left.is_true, unknown }
}

fn or(mut left: Truth, right: &Truth) -> Truth {
    left.is_true.unite(&right.is_true);
    let unknown = match (left.unknown, &right.unknown) {
        (None, None) => None,
        (one, other) => {
            let mut unknown = Bitmap::empty(left.is_true.len());
            for side in one.iter().chain(other) {
                unknown.unite(side);
            }
            unknown.subtract(&left.is_true);
            Some(Arc::new(unknown))
        }
    };
    Truth { is_true: left.is_true, unknown }
}

fn possible(is_true: &Bitmap, unknown: Option<&Bitmap>) -> Bitmap {
    let mut possible = is_true.clone();
    if let Some(unknown) = unknown {
        possible.unite(unknown);
    }
    possible
}

/// What scanning one row for a term costs, beside a comparison of integers in memory. Reading and
/// decoding count as well: an integer column costs a few comparisons per row when it is not cached.
fn scan_weight(term: &Predicate) -> u64 {
    const NUMBER: u64 = 2;
    const STRING: u64 = 8;
    const NESTED: u64 = 64;
    let (Predicate::Compare { operand, .. }
    | Predicate::Range { operand, .. }
    | Predicate::In { operand, .. }
    | Predicate::IsNull(operand)
    | Predicate::IsNotNull(operand)) = term
    else {
        return NESTED;
    };
    match operand {
        Operand::Field(field) => match field.data_type {
            DataType::VarChar | DataType::Text => STRING,
            DataType::Json | DataType::Array | DataType::Geometry => NESTED,
            _ => NUMBER,
        },
        _ => NESTED,
    }
}
