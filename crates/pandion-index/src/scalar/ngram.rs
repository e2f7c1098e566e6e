//! An index of the pieces of strings. It finds the rows whose strings hold all the pieces of a
//! pattern, which are more than those that match: whoever asks has to test them.
//!
//! Pieces are counted in characters. Those of the shortest length and of a few lengths above are
//! indexed; pieces of greater length are found by the ones that they are made of.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use pandion_filter::{CompareOp, Operand, Predicate, Value};
use pandion_types::Result;

use super::builder::{META, NULLS, OTHERS, RowSet, SPEC, misplaced, next_row, section_base};
use super::format::{Reader, Writer, reserve};
use super::interner::Interner;
use super::pieces;
use super::re2::compile_regex;
use super::remap::{Absorb, MovedRows};
use super::section::{self, Section, SectionKind, checked_len};
use super::values::{null_rows, open_meta, open_rows};
use super::{
    Datum, Estimate, IndexedValues, JsonCast, Lookup, ScalarIndex, ScalarIndexBuilder,
    ScalarIndexKind, ScalarIndexSpec,
};
use crate::Bitmap;

/// How many lengths of pieces are indexed at most. Every length costs about a posting for each
/// character of the column, and longer pieces are found by shorter ones.
const LENGTHS_MAX: u32 = 3;

/// The lengths of the pieces that an index holds; `None` when it is no such index.
fn lengths(spec: &ScalarIndexSpec) -> Option<RangeInclusive<usize>> {
    let ScalarIndexKind::Ngram { min, max } = spec.kind else { return None };
    let min = min.max(1);
    Some(min as usize..=max.clamp(min, min.saturating_add(LENGTHS_MAX - 1)) as usize)
}

/// Whether such an index can be of these values.
pub(super) fn is_of_strings(values: &IndexedValues) -> bool {
    match values {
        IndexedValues::Field(data_type) => data_type.is_string(),
        IndexedValues::Elements(_) => false,
        IndexedValues::Json { cast, .. } => *cast == JsonCast::Text,
    }
}

/// Calls `visit` with every piece of `length` characters of a text.
fn windows(text: &str, length: usize, mut visit: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let ends = text.char_indices().map(|(at, char)| at + char.len_utf8()).skip(length - 1);
    for ((start, _), end) in text.char_indices().zip(ends) {
        visit(&text[start..end])?;
    }
    Ok(())
}

/// Builds an index of pieces.
#[derive(Debug)]
pub(super) struct NgramBuilder {
    spec: ScalarIndexSpec,
    lengths: RangeInclusive<usize>,
    rows: u32,
    nulls: RowSet,
    others: RowSet,
    pieces: Interner,
    piece_rows: Vec<(u32, u32)>,
    /// The pieces of the row at hand.
    row_pieces: Vec<u32>,
}

impl NgramBuilder {
    /// A builder; `None` when the specification is of another kind of index.
    pub(super) fn new(spec: ScalarIndexSpec) -> Option<Self> {
        let lengths = lengths(&spec)?;
        Some(Self {
            spec,
            lengths,
            rows: 0,
            nulls: RowSet::default(),
            others: RowSet::default(),
            pieces: Interner::default(),
            piece_rows: Vec::new(),
            row_pieces: Vec::new(),
        })
    }

    fn take(&mut self, row: u32, text: &str) -> Result<()> {
        self.row_pieces.clear();
        for length in self.lengths.clone() {
            windows(text, length, |piece| {
                self.row_pieces.push(self.pieces.number(piece)?);
                Ok(())
            })?;
        }
        self.row_pieces.sort_unstable();
        self.row_pieces.dedup();
        checked_len(self.piece_rows.len() + self.row_pieces.len())?;
        reserve(&mut self.piece_rows, self.row_pieces.len())?;
        self.piece_rows.extend(self.row_pieces.iter().map(|number| (*number, row)));
        Ok(())
    }
}

impl ScalarIndexBuilder for NgramBuilder {
    fn push(&mut self, value: Datum<'_>) -> Result<()> {
        let row = next_row(&mut self.rows)?;
        match &value {
            Datum::Null => self.nulls.insert(row),
            Datum::Text(text) => self.take(row, text),
            _ if matches!(self.spec.values, IndexedValues::Json { .. }) => self.others.insert(row),
            _ => Err(misplaced(&self.spec, &value)),
        }
    }

    fn finish(self: Box<Self>) -> Result<Bytes> {
        let builder = *self;
        let rows = builder.rows;
        let mut writer = Writer::new();
        writer.put(SPEC, &builder.spec.encode())?;
        writer.put(META, &[u64::from(rows), 0])?;
        builder.nulls.write(&mut writer, NULLS, rows)?;
        builder.others.write(&mut writer, OTHERS, rows)?;
        let base = section_base(0);
        section::write_texts(&mut writer, base, rows, &builder.pieces, &builder.piece_rows)?;
        writer.finish()
    }
}

impl Absorb for NgramBuilder {
    fn absorb(&mut self, parts: &[MovedRows], rows: u32) -> Result<bool> {
        self.rows = rows;
        for part in parts {
            let Some(old) = part.index::<NgramIndex>(&self.spec) else { return Ok(false) };
            part.add(old.nulls.as_ref(), &mut self.nulls)?;
            part.add(old.others.as_ref(), &mut self.others)?;
            section::move_texts(&old.pieces, part, &mut self.pieces, &mut self.piece_rows)?;
        }
        self.piece_rows.sort_by_key(|(_, row)| *row);
        Ok(true)
    }
}

/// An opened index of pieces.
#[derive(Debug)]
pub(super) struct NgramIndex {
    spec: ScalarIndexSpec,
    lengths: RangeInclusive<usize>,
    rows: usize,
    bytes: usize,
    pieces: Section,
    nulls: Option<Arc<Bitmap>>,
    /// Rows with a JSON value that is no string; no term asks for them.
    others: Option<Arc<Bitmap>>,
}

/// What a term asks.
enum Ask {
    /// The rows that hold all of these pieces.
    Pieces(Vec<usize>),
    /// A piece that no row holds.
    Nothing,
    /// The rows that are null, or that are not.
    Nulls { are_null: bool },
}

impl NgramIndex {
    /// Opens an index; `None` when it is of another kind.
    pub(super) fn open(reader: &Reader, spec: ScalarIndexSpec) -> Result<Option<Self>> {
        let Some(lengths) = lengths(&spec) else { return Ok(None) };
        let (rows, _) = open_meta(reader)?;
        let pieces = Section::open(reader, section_base(0), SectionKind::Text, rows)?;
        let nulls = open_rows(reader, NULLS, rows)?;
        let others = open_rows(reader, OTHERS, rows)?;
        Ok(Some(Self { spec, lengths, rows, bytes: reader.len(), pieces, nulls, others }))
    }

    fn is_own(&self, operand: &Operand) -> bool {
        match (&self.spec.values, operand) {
            (IndexedValues::Field(data_type), Operand::Field(field)) => {
                field.data_type == *data_type
            }
            (IndexedValues::Json { path, .. }, Operand::Json { path: other, .. }) => path == other,
            _ => false,
        }
    }

    fn ask(&self, term: &Predicate) -> Option<Ask> {
        match term {
            Predicate::Like { operand, pattern } if self.is_own(operand) => {
                self.holding(&pieces::of_like(pattern))
            }
            Predicate::RegexMatch { operand, pattern } if self.is_own(operand) => {
                self.holding(&pieces::of_regex(pattern))
            }
            Predicate::Compare { operand, op: CompareOp::Equal, value: Value::String(text) }
                if self.is_own(operand) =>
            {
                self.holding(std::slice::from_ref(text))
            }
            Predicate::IsNull(operand) if self.is_own(operand) => {
                Some(Ask::Nulls { are_null: true })
            }
            Predicate::IsNotNull(operand) if self.is_own(operand) => {
                Some(Ask::Nulls { are_null: false })
            }
            _ => None,
        }
    }

    /// The indexed pieces that texts are made of; `None` when all of the texts are too short.
    fn holding(&self, texts: &[String]) -> Option<Ask> {
        let mut entries = Vec::new();
        let mut missing = false;
        for text in texts {
            let length = text.chars().count().min(*self.lengths.end());
            if length < *self.lengths.start() {
                continue;
            }
            let found = windows(text, length, |piece| {
                match self.pieces.find_text(piece) {
                    Some(entry) => entries.push(entry),
                    None => missing = true,
                }
                Ok(())
            });
            debug_assert!(found.is_ok(), "looking up a piece does not fail");
        }
        if missing {
            return Some(Ask::Nothing);
        }
        entries.sort_unstable();
        entries.dedup();
        (!entries.is_empty()).then_some(Ask::Pieces(entries))
    }

    fn count(&self, entry: usize) -> u64 {
        self.pieces.postings.count(&(entry..entry + 1))
    }

    /// The rows that hold all of the pieces.
    fn rows_of(&self, mut entries: Vec<usize>) -> Bitmap {
        /// With so few rows left, testing them costs less than looking up further pieces.
        const ENOUGH: usize = 64;
        entries.sort_by_key(|entry| self.count(*entry));
        let mut rows = Bitmap::empty(self.rows);
        for (at, &entry) in entries.iter().enumerate() {
            let range = entry..entry + 1;
            if at == 0 {
                self.pieces.postings.add_to(&range, &mut rows);
                continue;
            }
            let left = rows.count();
            if left <= ENOUGH {
                break;
            }
            // A piece with far more rows narrows little: test the few that are left.
            if (left as u64).saturating_mul(16) < self.count(entry) {
                let kept: Vec<usize> = rows.iter().collect();
                for row in kept {
                    let number = u32::try_from(row);
                    if !number.is_ok_and(|row| self.pieces.postings.holds(&range, row)) {
                        rows.remove(row);
                    }
                }
            } else {
                let mut other = Bitmap::empty(self.rows);
                self.pieces.postings.add_to(&range, &mut other);
                rows.intersect(&other);
            }
        }
        rows
    }

    fn null_rows(&self, are_null: bool) -> Bitmap {
        null_rows(self.rows, self.nulls.as_deref(), are_null)
    }
}

impl ScalarIndex for NgramIndex {
    fn spec(&self) -> &ScalarIndexSpec {
        &self.spec
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn memory_bytes(&self) -> usize {
        let sets = [&self.nulls, &self.others];
        self.bytes + sets.into_iter().flatten().count() * self.rows.div_ceil(8)
    }

    fn estimate(&self, term: &Predicate) -> Option<Estimate> {
        Some(match self.ask(term)? {
            Ask::Pieces(entries) => {
                let counts = || entries.iter().map(|entry| self.count(*entry));
                let rows = counts().min().unwrap_or(0);
                // Longer postings than the shortest are tested by its rows.
                let entries = counts().map(|count| count.min(rows.saturating_mul(16))).sum();
                Estimate { rows, entries, exact: false }
            }
            Ask::Nothing => Estimate { rows: 0, entries: 0, exact: false },
            Ask::Nulls { are_null } => {
                let rows = self.null_rows(are_null).count() as u64;
                Estimate { rows, entries: 0, exact: true }
            }
        })
    }

    fn lookup(&self, term: &Predicate) -> Result<Option<Lookup>> {
        if let Predicate::RegexMatch { operand, pattern } = term
            && self.is_own(operand)
        {
            // What is no regular expression has no pieces.
            compile_regex(pattern)?;
        }
        Ok(self.ask(term).map(|ask| match ask {
            Ask::Pieces(entries) => Lookup::Candidates(self.rows_of(entries)),
            Ask::Nothing => Lookup::Candidates(Bitmap::empty(self.rows)),
            Ask::Nulls { are_null } => {
                Lookup::Exact { matches: self.null_rows(are_null), unknown: None }
            }
        }))
    }
}
