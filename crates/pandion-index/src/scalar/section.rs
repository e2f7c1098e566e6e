//! A dictionary of values in order, and the rows of each.

use std::ops::Range;

use pandion_filter::{CompareOp, Value};
use pandion_types::{Error, Result};

use super::cell::{Cell, Family, to_float};
use super::format::{Array, Reader, Writer, damaged, reserve};
use super::interner::Interner;
use super::postings::{self, Postings};
use super::remap::MovedRows;

/// Parts of a section's arrays; a section's base tag is added.
const KEYS: u32 = 0;
const TEXT: u32 = 1;
const TEXT_ENDS: u32 = 2;

/// What the values of a section are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SectionKind {
    Bool,
    Int,
    /// Doubles without NaN and without a negative zero.
    Float,
    Text,
    /// Microseconds since 1970.
    Instant,
}

impl SectionKind {
    pub(super) fn family(self) -> Family {
        match self {
            Self::Bool => Family::Bool,
            Self::Int | Self::Float => Family::Number,
            Self::Text => Family::Text,
            Self::Instant => Family::Instant,
        }
    }
}

/// A double as an integer of the same order. The two zeros are one; NaN has no place.
pub(super) fn float_key(value: f64) -> i64 {
    flip((value + 0.0).to_bits().cast_signed())
}

/// The double of a key.
fn float_of(key: i64) -> f64 {
    f64::from_bits(flip(key).cast_unsigned())
}

/// The bits of negative doubles rise with their size: turns them round, and back.
fn flip(bits: i64) -> i64 {
    bits ^ (bits >> 63 & i64::MAX)
}

/// Values in order, and the rows of each.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) kind: SectionKind,
    keys: Keys,
    pub(super) postings: Postings,
}

#[derive(Debug)]
enum Keys {
    Numbers(Array<i64>),
    Texts { text: Array<u8>, ends: Array<u32> },
}

/// Writes pairs of a key and a row, in any order.
pub(super) fn write_numbers(
    writer: &mut Writer,
    base: u32,
    row_count: u32,
    mut pairs: Vec<(i64, u32)>,
) -> Result<()> {
    pairs.sort_unstable();
    pairs.dedup();
    let (mut keys, mut starts, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    reserve(&mut rows, pairs.len())?;
    for (at, &(key, row)) in (0_u32..).zip(&pairs) {
        if keys.last() != Some(&key) {
            reserve(&mut keys, 1)?;
            reserve(&mut starts, 2)?;
            keys.push(key);
            starts.push(at);
        }
        rows.push(row);
    }
    starts.push(checked_len(rows.len())?);
    drop(pairs);
    writer.put(base + KEYS, &keys)?;
    postings::write(writer, base, row_count, &starts, &rows)
}

/// Writes strings and pairs of a string's number and a row; rows are ascending.
pub(super) fn write_texts(
    writer: &mut Writer,
    base: u32,
    row_count: u32,
    texts: &Interner,
    pairs: &[(u32, u32)],
) -> Result<()> {
    let order = texts.order()?;
    let (mut text, mut ends) = (Vec::new(), Vec::new());
    reserve(&mut ends, order.len())?;
    reserve(&mut text, texts.bytes())?;
    let mut ranks = Vec::new();
    reserve(&mut ranks, order.len())?;
    ranks.resize(order.len(), 0);
    for (rank, &number) in (0_u32..).zip(&order) {
        text.extend_from_slice(texts.get(number).as_bytes());
        ends.push(checked_len(text.len())?);
        ranks[number as usize] = rank;
    }
    writer.put(base + TEXT, &text)?;
    writer.put(base + TEXT_ENDS, &ends)?;
    drop((text, ends));
    let starts = count_rows(order.len(), pairs, &ranks)?;
    let mut rows = Vec::new();
    let count = starts.last().map_or(0, |end| *end as usize);
    reserve(&mut rows, count)?;
    rows.resize(count, 0);
    let mut next = starts.clone();
    for &(number, row) in pairs {
        let rank = ranks[number as usize] as usize;
        let at = next[rank] as usize;
        if at == starts[rank] as usize || rows[at - 1] != row {
            rows[at] = row;
            next[rank] += 1;
        }
    }
    postings::write(writer, base, row_count, &starts, &rows)
}

/// Adds the strings of a section that have rows left, and their pairs of a string's number and a new
/// row, which are in no order.
pub(super) fn move_texts(
    section: &Section,
    part: &MovedRows,
    texts: &mut Interner,
    pairs: &mut Vec<(u32, u32)>,
) -> Result<()> {
    for entry in 0..section.len() {
        let Some(Cell::Text(text)) = section.cell(entry) else { continue };
        let mut number = None;
        for row in section.postings.rows_of(entry).filter_map(|row| part.new_row(row)) {
            let number = match number {
                Some(number) => number,
                None => *number.insert(texts.number(text)?),
            };
            checked_len(pairs.len() + 1)?;
            reserve(pairs, 1)?;
            pairs.push((number, row));
        }
    }
    Ok(())
}

/// Where the rows of each rank start when they stand behind each other, and where the last end. A
/// row that has a string several times counts once.
fn count_rows(entries: usize, pairs: &[(u32, u32)], ranks: &[u32]) -> Result<Vec<u32>> {
    let (mut starts, mut last_rows) = (Vec::new(), Vec::new());
    reserve(&mut starts, entries + 1)?;
    starts.resize(entries + 1, 0);
    reserve(&mut last_rows, entries)?;
    // No row has this number.
    last_rows.resize(entries, u32::MAX);
    for &(number, row) in pairs {
        let rank = ranks[number as usize] as usize;
        if last_rows[rank] != row {
            last_rows[rank] = row;
            starts[rank + 1] += 1;
        }
    }
    for at in 1..starts.len() {
        starts[at] += starts[at - 1];
    }
    Ok(starts)
}

/// A length as it is stored.
///
/// # Errors
/// `Unsupported` when there is more than an index holds.
pub(super) fn checked_len(length: usize) -> Result<u32> {
    u32::try_from(length).ok().filter(|length| *length < u32::MAX).ok_or_else(|| {
        Error::unsupported("a scalar index holds at most 4 GiB of strings and 2^32 - 2 postings")
    })
}

impl Section {
    /// Opens a section and checks it.
    pub(super) fn open(
        reader: &Reader,
        base: u32,
        kind: SectionKind,
        row_count: usize,
    ) -> Result<Self> {
        let keys = if kind == SectionKind::Text {
            let (text, ends) =
                (reader.get::<u8>(base + TEXT)?, reader.get::<u32>(base + TEXT_ENDS)?);
            check_texts(text.as_slice(), ends.as_slice())?;
            Keys::Texts { text, ends }
        } else {
            let keys = reader.get::<i64>(base + KEYS)?;
            if !keys.as_slice().is_sorted_by(|left, right| left < right) {
                return Err(damaged("values are out of order"));
            }
            Keys::Numbers(keys)
        };
        let entries = match &keys {
            Keys::Numbers(keys) => keys.as_slice().len(),
            Keys::Texts { ends, .. } => ends.as_slice().len(),
        };
        let postings = Postings::open(reader, base, entries, row_count)?;
        Ok(Self { kind, keys, postings })
    }

    /// Number of distinct values.
    pub(super) fn len(&self) -> usize {
        match &self.keys {
            Keys::Numbers(keys) => keys.as_slice().len(),
            Keys::Texts { ends, .. } => ends.as_slice().len(),
        }
    }

    /// The value of an entry; `None` past the end.
    pub(super) fn cell(&self, entry: usize) -> Option<Cell<'_>> {
        let number = || self.number(entry);
        Some(match self.kind {
            SectionKind::Bool => Cell::Bool(number()? != 0),
            SectionKind::Int => Cell::Int(number()?),
            SectionKind::Float => Cell::Float(float_of(number()?)),
            SectionKind::Instant => Cell::Instant(number()?),
            SectionKind::Text => Cell::Text(std::str::from_utf8(self.text(entry)).ok()?),
        })
    }

    /// The key of an entry as it is stored; `None` for strings and past the end.
    pub(super) fn number(&self, entry: usize) -> Option<i64> {
        match &self.keys {
            Keys::Numbers(keys) => keys.as_slice().get(entry).copied(),
            Keys::Texts { .. } => None,
        }
    }

    fn text(&self, entry: usize) -> &[u8] {
        let Keys::Texts { text, ends } = &self.keys else { return &[] };
        text_at(text.as_slice(), ends.as_slice(), entry)
    }

    /// Number of values below a literal, and of values not above it; `None` for a literal of
    /// another family.
    pub(super) fn span(&self, value: &Value) -> Option<(usize, usize)> {
        let keys = match &self.keys {
            Keys::Numbers(keys) => keys.as_slice(),
            Keys::Texts { .. } => &[],
        };
        if let Some(key) = self.key(value) {
            let below = keys.partition_point(|other| *other < key);
            let is_equal = keys.get(below) == Some(&key);
            return Some((below, below + usize::from(is_equal)));
        }
        match (self.kind, value) {
            // Several integers may be the same double.
            (SectionKind::Int, Value::Float(value)) if !value.is_nan() => Some((
                keys.partition_point(|key| to_float(*key) < *value),
                keys.partition_point(|key| to_float(*key) <= *value),
            )),
            (SectionKind::Text, Value::String(value)) => {
                let below = self.partition(|text| text < value.as_bytes());
                let equal = below < self.len() && self.text(below) == value.as_bytes();
                Some((below, below + usize::from(equal)))
            }
            _ => None,
        }
    }

    /// The entries that compare so with a literal; none for a literal of another family.
    pub(super) fn compare(&self, op: CompareOp, value: &Value) -> Vec<Range<usize>> {
        let Some((below, not_above)) = self.span(value) else { return Vec::new() };
        let range = match op {
            CompareOp::NotEqual => return vec![0..below, not_above..self.len()],
            CompareOp::Equal => below..not_above,
            CompareOp::Less => 0..below,
            CompareOp::LessEqual => 0..not_above,
            CompareOp::Greater => not_above..self.len(),
            CompareOp::GreaterEqual => below..self.len(),
        };
        std::iter::once(range).collect()
    }

    /// The entries that equal one of the literals, as ascending ranges.
    pub(super) fn equal_to_any(&self, values: &[Value]) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        match &self.keys {
            Keys::Numbers(keys) => {
                let mut wanted = Vec::new();
                for value in values {
                    match self.key(value) {
                        Some(key) => wanted.push(key),
                        None => ranges.extend(self.compare(CompareOp::Equal, value)),
                    }
                }
                wanted.sort_unstable();
                wanted.dedup();
                find_all(keys.as_slice(), &wanted, &mut ranges);
            }
            Keys::Texts { .. } => {
                let texts = values.iter().filter_map(|value| match value {
                    Value::String(text) => Some(text.as_str()),
                    _ => None,
                });
                let mut texts: Vec<&str> = texts.collect();
                // In order, one search finds at hand what the one before has read.
                texts.sort_unstable();
                texts.dedup();
                let found = texts.into_iter().filter_map(|text| self.find_text(text));
                ranges.extend(found.map(|entry| entry..entry + 1));
            }
        }
        tidy(ranges)
    }

    /// The key that a value of this section has when it equals a literal; `None` when there may be
    /// several, or none.
    fn key(&self, value: &Value) -> Option<i64> {
        match (self.kind, value) {
            (SectionKind::Bool, Value::Bool(value)) => Some((*value).into()),
            (SectionKind::Int, Value::Int(value))
            | (SectionKind::Instant, Value::Timestamp(value)) => Some(*value),
            (SectionKind::Float, Value::Float(value)) if !value.is_nan() => Some(float_key(*value)),
            (SectionKind::Float, Value::Int(value)) => Some(float_key(to_float(*value))),
            _ => None,
        }
    }

    /// The strings that start so.
    pub(super) fn prefix(&self, prefix: &str) -> Range<usize> {
        let prefix = prefix.as_bytes();
        let start = self.partition(|text| text < prefix);
        let end = self.partition(|text| text < prefix || text.starts_with(prefix));
        start..end
    }

    /// The entry of a string.
    pub(super) fn find_text(&self, text: &str) -> Option<usize> {
        let at = self.partition(|other| other < text.as_bytes());
        (at < self.len() && self.text(at) == text.as_bytes()).then_some(at)
    }

    /// Number of strings from the start for which `before` holds, as it does for no later one.
    fn partition(&self, before: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if before(self.text(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// The same entries as ascending ranges, none empty, none beside another.
pub(super) fn tidy(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    let mut tidied: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match tidied.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => tidied.push(range),
        }
    }
    tidied
}

/// Where the wanted keys stand, both in order. Takes time logarithmic in the gaps between them.
fn find_all(keys: &[i64], wanted: &[i64], found: &mut Vec<Range<usize>>) {
    let mut from = 0;
    for key in wanted {
        let rest = keys.get(from..).unwrap_or_default();
        let mut step = 1;
        while rest.get(step).is_some_and(|other| other < key) {
            step *= 2;
        }
        let near = &rest[..rest.len().min(step + 1)];
        from += near.partition_point(|other| other < key);
        if keys.get(from) == Some(key) {
            found.push(from..from + 1);
        }
    }
}

fn text_at<'a>(text: &'a [u8], ends: &[u32], entry: usize) -> &'a [u8] {
    let start = entry.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, |end| *end);
    let end = ends.get(entry).map_or(start, |end| *end);
    text.get(start as usize..end as usize).unwrap_or_default()
}

fn check_texts(text: &[u8], ends: &[u32]) -> Result<()> {
    let whole = std::str::from_utf8(text)
        .map_err(|error| damaged("a string is not UTF-8").caused_by(error))?;
    let fits = ends.is_sorted()
        && ends.last().map_or(0, |end| *end as usize) == text.len()
        && ends.iter().all(|end| whole.is_char_boundary(*end as usize));
    if !fits {
        return Err(damaged("the strings do not fit their ends"));
    }
    let in_order = |entry: &usize| text_at(text, ends, *entry - 1) < text_at(text, ends, *entry);
    if (1..ends.len()).all(|entry| in_order(&entry)) {
        Ok(())
    } else {
        Err(damaged("strings are out of order"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn float_keys_keep_the_order() {
        let values = [
            f64::NEG_INFINITY,
            f64::MIN,
            -1.5,
            -f64::MIN_POSITIVE,
            0.0,
            5e-324,
            1.0,
            f64::INFINITY,
        ];
        for pair in values.windows(2) {
            assert!(float_key(pair[0]) < float_key(pair[1]), "{pair:?}");
        }
        assert_eq!(float_key(-0.0), float_key(0.0));
        for value in values {
            assert_eq!(float_of(float_key(value)).to_bits(), value.to_bits());
        }
    }
}
