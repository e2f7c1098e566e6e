//! An index of values in order, and how it answers.

use std::ops::Range;
use std::sync::Arc;

use pandion_filter::Predicate;
use pandion_types::Result;
use regex::Regex;

use super::builder::{FOREIGN_ELEMENTS, LENGTHS, META, NANS, NULLS, OTHERS, section_base};
use super::cell::{Cell, Family};
use super::format::{Reader, damaged};
use super::plan::{Entries, Plan, Test, Unknown};
use super::re2::compile_regex;
use super::section::{Section, SectionKind, tidy};
use super::{Estimate, Lookup, ScalarIndex, ScalarIndexSpec};
use crate::Bitmap;

/// Below this many rows, candidates are looked up one by one instead of by bitmaps.
const FEW_ROWS: u64 = 4096;

/// An opened index of values.
#[derive(Debug)]
pub(super) struct ValueIndex {
    pub(super) spec: ScalarIndexSpec,
    pub(super) rows: usize,
    bytes: usize,
    /// What the indexed values can be compared with.
    pub(super) family: Family,
    pub(super) sections: Vec<Section>,
    /// Of arrays, the rows of each length.
    pub(super) lengths: Option<Section>,
    pub(super) nulls: Option<Arc<Bitmap>>,
    /// Rows with a JSON value of another kind.
    pub(super) others: Option<Arc<Bitmap>>,
    /// Both of them.
    unindexed: Option<Arc<Bitmap>>,
    pub(super) nans: Option<Arc<Bitmap>>,
    /// Whether some array has an element that is not in the index.
    pub(super) has_foreign_elements: bool,
}

/// The rows of a stored set; `None` when there is none.
pub(super) fn open_rows(reader: &Reader, tag: u32, rows: usize) -> Result<Option<Arc<Bitmap>>> {
    let Some(words) = reader.find::<u64>(tag)? else { return Ok(None) };
    let words = words.as_slice();
    if words.len() != rows.div_ceil(64) {
        return Err(damaged("a set of rows is not as long as the rows"));
    }
    let mut bitmap = Bitmap::empty(rows);
    bitmap.unite_words(words);
    Ok(Some(Arc::new(bitmap)))
}

/// Rows and flags.
pub(super) fn open_meta(reader: &Reader) -> Result<(usize, u64)> {
    let meta = reader.get::<u64>(META)?;
    let [rows, flags] = meta.as_slice() else { return Err(damaged("its rows are not told")) };
    let rows = u32::try_from(*rows)
        .map_err(|error| damaged("it covers more rows than an index can").caused_by(error))?;
    Ok((rows as usize, *flags))
}

/// The rows that are null, or that are not.
pub(super) fn null_rows(rows: usize, nulls: Option<&Bitmap>, are_null: bool) -> Bitmap {
    let mut matches = if are_null { Bitmap::empty(rows) } else { Bitmap::full(rows) };
    if let Some(nulls) = nulls {
        if are_null {
            matches.unite(nulls);
        } else {
            matches.subtract(nulls);
        }
    }
    matches
}

fn count(rows: Option<&Arc<Bitmap>>) -> u64 {
    rows.map_or(0, |rows| rows.count() as u64)
}

impl ValueIndex {
    pub(super) fn open(
        reader: &Reader,
        spec: ScalarIndexSpec,
        kinds: &[SectionKind],
    ) -> Result<Self> {
        let (rows, flags) = open_meta(reader)?;
        let sections = (0..).zip(kinds);
        let sections = sections
            .map(|(number, kind)| Section::open(reader, section_base(number), *kind, rows))
            .collect::<Result<Vec<_>>>()?;
        let lengths = if spec.values.is_elements() {
            Some(Section::open(reader, section_base(LENGTHS), SectionKind::Int, rows)?)
        } else {
            None
        };
        let nulls = open_rows(reader, NULLS, rows)?;
        let others = open_rows(reader, OTHERS, rows)?;
        let unindexed = match (&nulls, &others) {
            (Some(nulls), Some(others)) => {
                let mut both = Bitmap::clone(nulls);
                both.unite(others);
                Some(Arc::new(both))
            }
            (Some(rows), None) | (None, Some(rows)) => Some(Arc::clone(rows)),
            (None, None) => None,
        };
        let nans = open_rows(reader, NANS, rows)?;
        let family = kinds.first().map_or(Family::Text, |kind| kind.family());
        Ok(Self {
            spec,
            rows,
            bytes: reader.len(),
            family,
            sections,
            lengths,
            nulls,
            others,
            unindexed,
            nans,
            has_foreign_elements: flags & FOREIGN_ELEMENTS != 0,
        })
    }

    /// Number of distinct values.
    pub(super) fn distinct(&self) -> usize {
        self.sections.iter().map(Section::len).sum()
    }

    fn unknown(&self, unknown: Unknown) -> Option<Arc<Bitmap>> {
        match unknown {
            Unknown::Nulls => self.nulls.clone(),
            Unknown::Unindexed => self.unindexed.clone(),
        }
    }

    /// Rows of entries; a row with several of them counts several times.
    fn count(&self, entries: &Entries) -> u64 {
        let sections = self.sections.iter().zip(entries);
        sections.flat_map(|(s, ranges)| ranges.iter().map(|range| s.postings.count(range))).sum()
    }

    fn add_to(&self, entries: &Entries, rows: &mut Bitmap) {
        for (section, ranges) in self.sections.iter().zip(entries) {
            for range in ranges {
                section.postings.add_to(range, rows);
            }
        }
    }

    fn holds(&self, entries: &Entries, row: u32) -> bool {
        let mut sections = self.sections.iter().zip(entries);
        sections.any(|(s, ranges)| ranges.iter().any(|range| s.postings.holds(range, row)))
    }

    /// The rows of an index of single values that have one of the entries, or NaN.
    fn single_rows(&self, entries: &Entries, nans: bool) -> Bitmap {
        let indexed: u64 = self.sections.iter().map(|s| s.postings.count(&(0..s.len()))).sum();
        // Every row has one entry at most: of more than half of them the others are fewer.
        let mut rows = if self.count(entries) > indexed / 2 {
            let mut rows = Bitmap::full(self.rows);
            for absent in [&self.unindexed, &self.nans].into_iter().flatten() {
                rows.subtract(absent);
            }
            for (section, ranges) in self.sections.iter().zip(entries) {
                for range in complement(ranges, section.len()) {
                    section.postings.remove_from(&range, &mut rows);
                }
            }
            rows
        } else {
            let mut rows = Bitmap::empty(self.rows);
            self.add_to(entries, &mut rows);
            rows
        };
        if nans && let Some(nans) = &self.nans {
            rows.unite(nans);
        }
        rows
    }

    /// The rows that have all of the sets of entries.
    fn rows_of_all(&self, sets: &[Entries]) -> Bitmap {
        let mut rows = Bitmap::empty(self.rows);
        let mut order: Vec<(u64, &Entries)> =
            sets.iter().map(|entries| (self.count(entries), entries)).collect();
        order.sort_by_key(|(count, _)| *count);
        let Some((&(mut left, first), rest)) = order.split_first() else {
            return self.arrays();
        };
        self.add_to(first, &mut rows);
        for (_, entries) in rest {
            if left == 0 {
                break;
            }
            if left <= FEW_ROWS {
                let kept: Vec<usize> = rows.iter().collect();
                for row in kept {
                    let holds = u32::try_from(row).is_ok_and(|row| self.holds(entries, row));
                    if !holds {
                        rows.remove(row);
                    }
                }
            } else {
                let mut other = Bitmap::empty(self.rows);
                self.add_to(entries, &mut other);
                rows.intersect(&other);
            }
            left = rows.count() as u64;
        }
        rows
    }

    /// Every row that has an array, be it empty.
    fn arrays(&self) -> Bitmap {
        let mut rows = Bitmap::full(self.rows);
        if let Some(unindexed) = &self.unindexed {
            rows.subtract(unindexed);
        }
        rows
    }

    fn test_each(&self, test: Test<'_>) -> Result<Lookup> {
        let regex = match test {
            Test::Regex(pattern) => Some(compile_regex(pattern)?),
            _ => None,
        };
        let run = |cell: Cell<'_>| match (&regex, cell) {
            (Some(regex), Cell::Text(text)) => Some(Regex::is_match(regex, text)),
            _ => test.compare(cell),
        };
        let (mut matching, mut undecided) = (Entries::new(), Entries::new());
        for section in &self.sections {
            let (mut yes, mut unknown) = (Vec::new(), Vec::new());
            for entry in 0..section.len() {
                match section.cell(entry).and_then(run) {
                    Some(true) => yes.push(entry..entry + 1),
                    Some(false) => {}
                    None => unknown.push(entry..entry + 1),
                }
            }
            matching.push(tidy(yes));
            undecided.push(tidy(unknown));
        }
        let (mut nans_match, mut nans_unknown) = (false, false);
        if self.nans.is_some() {
            match run(Cell::Float(f64::NAN)) {
                Some(outcome) => nans_match = outcome,
                None => nans_unknown = true,
            }
        }
        let matches = self.single_rows(&matching, nans_match);
        if !nans_unknown && undecided.iter().all(Vec::is_empty) {
            return Ok(Lookup::Exact { matches, unknown: self.unindexed.clone() });
        }
        let mut unknown = self.single_rows(&undecided, nans_unknown);
        if let Some(unindexed) = &self.unindexed {
            unknown.unite(unindexed);
        }
        Ok(Lookup::Exact { matches, unknown: Some(Arc::new(unknown)) })
    }

    fn estimate_plan(&self, plan: &Plan<'_>) -> Estimate {
        let rows = self.rows as u64;
        match plan {
            Plan::Rows { entries, nans, .. } => {
                let listed = self.count(entries);
                let nans = if *nans { count(self.nans.as_ref()) } else { 0 };
                Estimate {
                    rows: listed + nans,
                    entries: listed.min(rows.saturating_sub(listed)),
                    exact: true,
                }
            }
            Plan::Lengths { ranges } => {
                let count = |section: &Section| {
                    ranges.iter().map(|range| section.postings.count(range)).sum()
                };
                let listed = self.lengths.as_ref().map_or(0, count);
                Estimate { rows: listed, entries: listed, exact: true }
            }
            Plan::Each(_) => {
                // Nothing is known of how many values pass before they are tested.
                let known = rows - count(self.unindexed.as_ref());
                let rows = known.div_ceil(10);
                Estimate { rows, entries: self.distinct() as u64 + rows, exact: true }
            }
            Plan::Nulls { are_null } => {
                let nulls = count(self.nulls.as_ref());
                let rows = if *are_null { nulls } else { rows - nulls };
                Estimate { rows, entries: 0, exact: true }
            }
            Plan::AllUnknown => Estimate { rows: 0, entries: 0, exact: true },
            Plan::HoldsAll(sets) => {
                let counts = || sets.iter().map(|entries| self.count(entries));
                let least = counts().min();
                let rows = least.unwrap_or_else(|| rows - count(self.unindexed.as_ref()));
                Estimate { rows, entries: counts().sum(), exact: true }
            }
            Plan::HoldsAny(entries) | Plan::Candidates(entries) => {
                let listed = self.count(entries);
                let exact = matches!(plan, Plan::HoldsAny(_));
                Estimate { rows: listed.min(rows), entries: listed, exact }
            }
        }
    }
}

/// The entries that are in none of the ranges, which are ascending.
fn complement(ranges: &[Range<usize>], entries: usize) -> Vec<Range<usize>> {
    let mut rest = Vec::with_capacity(ranges.len() + 1);
    let mut next = 0;
    for range in ranges {
        rest.push(next..range.start.max(next));
        next = range.end.max(next);
    }
    rest.push(next..entries.max(next));
    rest
}

impl ScalarIndex for ValueIndex {
    fn spec(&self) -> &ScalarIndexSpec {
        &self.spec
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn memory_bytes(&self) -> usize {
        let sets = [&self.nulls, &self.others, &self.unindexed, &self.nans];
        self.bytes + sets.into_iter().flatten().count() * self.rows.div_ceil(8)
    }

    fn estimate(&self, term: &Predicate) -> Option<Estimate> {
        self.plan(term).map(|plan| self.estimate_plan(&plan))
    }

    fn lookup(&self, term: &Predicate) -> Result<Option<Lookup>> {
        let Some(plan) = self.plan(term) else { return Ok(None) };
        let exact = |matches| Lookup::Exact { matches, unknown: self.unindexed.clone() };
        Ok(Some(match plan {
            Plan::Rows { entries, nans, unknown } => Lookup::Exact {
                matches: self.single_rows(&entries, nans),
                unknown: self.unknown(unknown),
            },
            Plan::Lengths { ranges } => {
                let mut rows = Bitmap::empty(self.rows);
                if let Some(lengths) = &self.lengths {
                    for range in &ranges {
                        lengths.postings.add_to(range, &mut rows);
                    }
                }
                exact(rows)
            }
            Plan::Each(test) => self.test_each(test)?,
            Plan::Nulls { are_null } => Lookup::Exact {
                matches: null_rows(self.rows, self.nulls.as_deref(), are_null),
                unknown: None,
            },
            Plan::AllUnknown => Lookup::Exact {
                matches: Bitmap::empty(self.rows),
                unknown: Some(Arc::new(Bitmap::full(self.rows))),
            },
            Plan::HoldsAll(sets) => exact(self.rows_of_all(&sets)),
            Plan::HoldsAny(entries) => {
                let mut rows = Bitmap::empty(self.rows);
                self.add_to(&entries, &mut rows);
                exact(rows)
            }
            Plan::Candidates(entries) => {
                let mut rows = Bitmap::empty(self.rows);
                self.add_to(&entries, &mut rows);
                Lookup::Candidates(rows)
            }
        }))
    }
}
