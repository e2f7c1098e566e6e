//! Takes the values of a column and writes dictionaries of them.
//!
//! One arrangement serves Bitmap, Inverted, Sort, Trie and Auto: distinct values in order, and for
//! each its rows, as row numbers or, where that is smaller, as a bitmap. Which of the two is
//! decided for every value when the column has been seen.

use bytes::Bytes;
use pandion_types::{Error, Result};

use super::format::{Writer, reserve};
use super::interner::Interner;
use super::remap::{Absorb, MovedRows};
use super::section::{self, Section, SectionKind, checked_len, float_key};
use super::values::ValueIndex;
use super::{Datum, IndexedValues, ScalarIndexBuilder, ScalarIndexSpec};

/// Tags of arrays that do not belong to a section.
pub(super) const SPEC: u32 = 1;
/// Rows; flags.
pub(super) const META: u32 = 2;
pub(super) const NULLS: u32 = 3;
pub(super) const OTHERS: u32 = 4;
pub(super) const NANS: u32 = 5;

/// Flag: an array has an element that is not in the index.
pub(super) const FOREIGN_ELEMENTS: u64 = 1;

/// The first tag of section `number`.
pub(super) fn section_base(number: u32) -> u32 {
    16 * (number + 1)
}

/// The number of the section of array lengths.
pub(super) const LENGTHS: u32 = 2;

/// A growing set of rows.
#[derive(Debug, Default)]
pub(super) struct RowSet {
    words: Vec<u64>,
}

impl RowSet {
    pub(super) fn insert(&mut self, row: u32) -> Result<()> {
        let word = row as usize / 64;
        if word >= self.words.len() {
            let more = word + 1 - self.words.len();
            reserve(&mut self.words, more)?;
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (row % 64);
        Ok(())
    }

    /// Writes the set, unless it is empty.
    pub(super) fn write(mut self, writer: &mut Writer, tag: u32, rows: u32) -> Result<()> {
        if self.words.is_empty() {
            return Ok(());
        }
        self.words.resize((rows as usize).div_ceil(64), 0);
        writer.put(tag, &self.words)
    }
}

/// The number of a new row after `rows` others.
pub(super) fn next_row(rows: &mut u32) -> Result<u32> {
    let row = *rows;
    *rows = checked_len(row as usize + 1)?;
    Ok(row)
}

/// A value of another kind than the index is of.
pub(super) fn misplaced(spec: &ScalarIndexSpec, value: &Datum<'_>) -> Error {
    let kind = match value {
        Datum::Null => "null",
        Datum::Bool(_) => "boolean",
        Datum::Int(_) => "integer",
        Datum::Float(_) => "float",
        Datum::Text(_) => "string",
        Datum::List(_) => "list",
        Datum::Other => "JSON value",
    };
    Error::internal(format!("a {kind} was shown to the builder of index {}", spec.canonical()))
}

/// Builds an index of values in order.
#[derive(Debug)]
pub(super) struct ValueBuilder {
    spec: ScalarIndexSpec,
    sections: &'static [SectionKind],
    rows: u32,
    nulls: RowSet,
    others: RowSet,
    nans: RowSet,
    /// Keys of Bool, Int and Instant sections.
    numbers: Vec<(i64, u32)>,
    floats: Vec<(i64, u32)>,
    texts: Interner,
    text_rows: Vec<(u32, u32)>,
    lengths: Vec<(i64, u32)>,
    flags: u64,
}

impl ValueBuilder {
    pub(super) fn new(spec: ScalarIndexSpec, sections: &'static [SectionKind]) -> Self {
        Self {
            spec,
            sections,
            rows: 0,
            nulls: RowSet::default(),
            others: RowSet::default(),
            nans: RowSet::default(),
            numbers: Vec::new(),
            floats: Vec::new(),
            texts: Interner::default(),
            text_rows: Vec::new(),
            lengths: Vec::new(),
            flags: 0,
        }
    }

    fn is_json(&self) -> bool {
        matches!(self.spec.values, IndexedValues::Json { .. })
    }

    /// Takes a value of the index's kind; `false` for one of another.
    fn take(&mut self, row: u32, value: &Datum<'_>) -> Result<bool> {
        let has = |kind| self.sections.contains(&kind);
        match value {
            Datum::Bool(value) if has(SectionKind::Bool) => {
                push(&mut self.numbers, ((*value).into(), row))
            }
            Datum::Int(value) if has(SectionKind::Int) || has(SectionKind::Instant) => {
                push(&mut self.numbers, (*value, row))
            }
            Datum::Float(value) if has(SectionKind::Float) => {
                if value.is_nan() {
                    // It equals nothing, so that it has no place among the values; a row of
                    // several values needs no note of it.
                    return if self.spec.values.is_elements() {
                        Ok(true)
                    } else {
                        self.nans.insert(row).map(|()| true)
                    };
                }
                push(&mut self.floats, (float_key(*value), row))
            }
            Datum::Text(text) if has(SectionKind::Text) => {
                let number = self.texts.number(text)?;
                push(&mut self.text_rows, (number, row))
            }
            _ => Ok(false),
        }
    }

    fn take_list(&mut self, row: u32, elements: &[Datum<'_>]) -> Result<()> {
        for element in elements {
            if !self.take(row, element)? {
                if !self.is_json() {
                    return Err(misplaced(&self.spec, element));
                }
                self.flags |= FOREIGN_ELEMENTS;
            }
        }
        let length = i64::from(checked_len(elements.len())?);
        push(&mut self.lengths, (length, row)).map(drop)
    }
}

impl Absorb for ValueBuilder {
    fn absorb(&mut self, parts: &[MovedRows], rows: u32) -> Result<bool> {
        self.rows = rows;
        for part in parts {
            let Some(old) = part.index::<ValueIndex>(&self.spec) else { return Ok(false) };
            if old.has_foreign_elements {
                // Which rows have such elements is not known.
                if part.lacks_rows() {
                    return Ok(false);
                }
                self.flags |= FOREIGN_ELEMENTS;
            }
            part.add(old.nulls.as_ref(), &mut self.nulls)?;
            part.add(old.others.as_ref(), &mut self.others)?;
            part.add(old.nans.as_ref(), &mut self.nans)?;
            for section in &old.sections {
                match section.kind {
                    SectionKind::Bool | SectionKind::Int | SectionKind::Instant => {
                        move_numbers(section, part, &mut self.numbers)?;
                    }
                    SectionKind::Float => move_numbers(section, part, &mut self.floats)?,
                    SectionKind::Text => {
                        let (texts, pairs) = (&mut self.texts, &mut self.text_rows);
                        section::move_texts(section, part, texts, pairs)?;
                    }
                }
            }
            if let Some(lengths) = &old.lengths {
                move_numbers(lengths, part, &mut self.lengths)?;
            }
        }
        self.text_rows.sort_by_key(|(_, row)| *row);
        Ok(true)
    }
}

fn move_numbers(section: &Section, part: &MovedRows, pairs: &mut Vec<(i64, u32)>) -> Result<()> {
    for entry in 0..section.len() {
        let Some(key) = section.number(entry) else { continue };
        for row in section.postings.rows_of(entry).filter_map(|row| part.new_row(row)) {
            push(pairs, (key, row))?;
        }
    }
    Ok(())
}

fn push<T>(values: &mut Vec<T>, value: T) -> Result<bool> {
    checked_len(values.len() + 1)?;
    reserve(values, 1)?;
    values.push(value);
    Ok(true)
}

impl ScalarIndexBuilder for ValueBuilder {
    fn push(&mut self, value: Datum<'_>) -> Result<()> {
        let row = next_row(&mut self.rows)?;
        match &value {
            Datum::Null => return self.nulls.insert(row),
            Datum::List(elements) if self.spec.values.is_elements() => {
                return self.take_list(row, elements);
            }
            _ if self.spec.values.is_elements() => {}
            value => {
                if self.take(row, value)? {
                    return Ok(());
                }
            }
        }
        if self.is_json() { self.others.insert(row) } else { Err(misplaced(&self.spec, &value)) }
    }

    fn finish(self: Box<Self>) -> Result<Bytes> {
        let builder = *self;
        let rows = builder.rows;
        let mut writer = Writer::new();
        writer.put(SPEC, &builder.spec.encode())?;
        writer.put(META, &[u64::from(rows), builder.flags])?;
        builder.nulls.write(&mut writer, NULLS, rows)?;
        builder.others.write(&mut writer, OTHERS, rows)?;
        builder.nans.write(&mut writer, NANS, rows)?;
        let (mut numbers, mut floats) = (Some(builder.numbers), Some(builder.floats));
        for (number, kind) in (0..).zip(builder.sections) {
            let base = section_base(number);
            match kind {
                SectionKind::Bool | SectionKind::Int | SectionKind::Instant => {
                    let pairs = numbers.take().unwrap_or_default();
                    section::write_numbers(&mut writer, base, rows, pairs)?;
                }
                SectionKind::Float => {
                    let pairs = floats.take().unwrap_or_default();
                    section::write_numbers(&mut writer, base, rows, pairs)?;
                }
                SectionKind::Text => {
                    let pairs = &builder.text_rows;
                    section::write_texts(&mut writer, base, rows, &builder.texts, pairs)?;
                }
            }
        }
        if builder.spec.values.is_elements() {
            section::write_numbers(&mut writer, section_base(LENGTHS), rows, builder.lengths)?;
        }
        writer.finish()
    }
}
