//! The rows of each entry of a dictionary.
//!
//! Most entries are runs of one array of row numbers, so that neighbouring entries are one longer
//! run. An entry with so many rows that a bitmap takes less room than their numbers is a bitmap.

use std::ops::Range;

use pandion_types::Result;

use super::format::{Array, Reader, Writer, damaged, reserve};
use crate::Bitmap;

/// Parts of a section's arrays; a section's base tag is added.
const STARTS: u32 = 8;
const ROWS: u32 = 9;
const BITMAP_ENTRIES: u32 = 10;
const BITMAP_WORDS: u32 = 11;

/// An entry with fewer rows is never a bitmap.
const BITMAP_ROWS_MIN: usize = 64;

/// The rows of each entry.
#[derive(Debug)]
pub(super) struct Postings {
    entries: usize,
    /// Where the run of each entry starts, and where the last one ends; `None` when every run is
    /// one row long.
    starts: Option<Array<u32>>,
    rows: Array<u32>,
    /// The entries that are bitmaps, ascending. Their runs are empty.
    bitmap_entries: Array<u32>,
    /// Rows in the bitmaps up to and including each.
    bitmap_totals: Vec<u64>,
    bitmap_words: Array<u64>,
    /// Words of one bitmap.
    words: usize,
}

/// Writes the rows of entries: entry `i` has `rows[starts[i]..starts[i + 1]]`, ascending.
pub(super) fn write(
    writer: &mut Writer,
    base: u32,
    row_count: u32,
    starts: &[u32],
    rows: &[u32],
) -> Result<()> {
    let entries = starts.len().saturating_sub(1);
    if entries == rows.len() {
        return writer.put(base + ROWS, rows);
    }
    // A row number takes 32 bits, a row of a bitmap one bit.
    let threshold = (row_count as usize / 32).max(BITMAP_ROWS_MIN);
    let is_bitmap = |run: &[u32]| run[1].abs_diff(run[0]) as usize > threshold;
    if !starts.windows(2).any(is_bitmap) {
        writer.put(base + STARTS, starts)?;
        return writer.put(base + ROWS, rows);
    }
    let mut kept_starts = Vec::new();
    reserve(&mut kept_starts, starts.len())?;
    let mut kept_rows = Vec::new();
    reserve(&mut kept_rows, rows.len())?;
    let (mut bitmap_entries, mut bitmap_words) = (Vec::new(), Vec::new());
    let mut kept = 0;
    for (entry, run) in (0_u32..).zip(starts.windows(2)) {
        kept_starts.push(kept);
        let rows = &rows[run[0] as usize..run[1] as usize];
        if is_bitmap(run) {
            let mut bitmap = Bitmap::empty(row_count as usize);
            bitmap.insert_rows(rows);
            reserve(&mut bitmap_words, bitmap.words().len())?;
            bitmap_words.extend_from_slice(bitmap.words());
            bitmap_entries.push(entry);
        } else {
            kept_rows.extend_from_slice(rows);
            kept += run[1] - run[0];
        }
    }
    kept_starts.push(kept);
    writer.put(base + STARTS, &kept_starts)?;
    writer.put(base + ROWS, &kept_rows)?;
    writer.put(base + BITMAP_ENTRIES, &bitmap_entries)?;
    writer.put(base + BITMAP_WORDS, &bitmap_words)
}

impl Postings {
    /// Opens the rows of `entries` entries; every row is below `row_count` afterwards.
    pub(super) fn open(
        reader: &Reader,
        base: u32,
        entries: usize,
        row_count: usize,
    ) -> Result<Self> {
        let starts = reader.find::<u32>(base + STARTS)?;
        let rows = reader.get::<u32>(base + ROWS)?;
        let bitmap_entries = reader.find(base + BITMAP_ENTRIES)?.unwrap_or_else(Array::empty);
        let bitmap_words = reader.find(base + BITMAP_WORDS)?.unwrap_or_else(Array::empty);
        let words = row_count.div_ceil(64);
        let mut postings = Self {
            entries,
            starts,
            rows,
            bitmap_entries,
            bitmap_totals: Vec::new(),
            bitmap_words,
            words,
        };
        postings.check(row_count)?;
        let mut total = 0;
        for words in postings.bitmap_words.as_slice().chunks_exact(words.max(1)) {
            total += words.iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
            postings.bitmap_totals.push(total);
        }
        Ok(postings)
    }

    fn check(&self, row_count: usize) -> Result<()> {
        let rows = self.rows.as_slice();
        let runs_fit = match &self.starts {
            None => rows.len() == self.entries,
            Some(starts) => {
                let starts = starts.as_slice();
                starts.len() == self.entries + 1
                    && starts.first() == Some(&0)
                    && starts.last().is_some_and(|end| *end as usize == rows.len())
                    && starts.is_sorted()
            }
        };
        if !runs_fit {
            return Err(damaged("the runs of rows do not fit the rows"));
        }
        if rows.iter().max().is_some_and(|row| *row as usize >= row_count) {
            return Err(damaged("a row lies beyond the last"));
        }
        let bitmaps = self.bitmap_entries.as_slice();
        let in_order = bitmaps.is_sorted_by(|left, right| left < right);
        if !in_order || bitmaps.last().is_some_and(|entry| *entry as usize >= self.entries) {
            return Err(damaged("the bitmaps are not of its entries"));
        }
        let words = self.bitmap_words.as_slice();
        let tail =
            if row_count.is_multiple_of(64) { u64::MAX } else { (1 << (row_count % 64)) - 1 };
        let beyond = |words: &[u64]| words.last().is_some_and(|last| last & !tail != 0);
        if Some(words.len()) != bitmaps.len().checked_mul(self.words)
            || words.chunks_exact(self.words.max(1)).any(beyond)
        {
            return Err(damaged("a bitmap is not as long as its rows"));
        }
        Ok(())
    }

    /// Row numbers of a range of entries; those of bitmaps are not among them.
    fn run(&self, entries: &Range<usize>) -> &[u32] {
        let rows = self.rows.as_slice();
        let range = match &self.starts {
            None => entries.clone(),
            Some(starts) => {
                let starts = starts.as_slice();
                let at = |entry: usize| starts.get(entry).map_or(rows.len(), |at| *at as usize);
                at(entries.start)..at(entries.end)
            }
        };
        rows.get(range).unwrap_or_default()
    }

    /// Which bitmaps belong to a range of entries.
    fn bitmaps(&self, entries: &Range<usize>) -> Range<usize> {
        let bitmaps = self.bitmap_entries.as_slice();
        let before = |end: usize| bitmaps.partition_point(|entry| (*entry as usize) < end);
        before(entries.start)..before(entries.end)
    }

    fn bitmap(&self, at: usize) -> &[u64] {
        self.bitmap_words.as_slice().get(at * self.words..(at + 1) * self.words).unwrap_or_default()
    }

    /// Number of rows of a range of entries; a row counts once for each of them that it has.
    pub(super) fn count(&self, entries: &Range<usize>) -> u64 {
        let bitmaps = self.bitmaps(entries);
        let total =
            |end: usize| end.checked_sub(1).and_then(|last| self.bitmap_totals.get(last)).copied();
        let in_bitmaps = total(bitmaps.end).unwrap_or(0) - total(bitmaps.start).unwrap_or(0);
        self.run(entries).len() as u64 + in_bitmaps
    }

    /// The rows of an entry, ascending.
    pub(super) fn rows_of(&self, entry: usize) -> impl Iterator<Item = u32> {
        let entry = entry..entry + 1;
        let words = self.bitmaps(&entry).flat_map(|at| (0_u32..).zip(self.bitmap(at)));
        let in_bitmaps = words.flat_map(|(at, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 64 + bit)
        });
        self.run(&entry).iter().copied().chain(in_bitmaps)
    }

    /// Adds the rows of a range of entries to a set.
    pub(super) fn add_to(&self, entries: &Range<usize>, rows: &mut Bitmap) {
        rows.insert_rows(self.run(entries));
        for at in self.bitmaps(entries) {
            rows.unite_words(self.bitmap(at));
        }
    }

    /// Takes the rows of a range of entries out of a set.
    pub(super) fn remove_from(&self, entries: &Range<usize>, rows: &mut Bitmap) {
        rows.remove_rows(self.run(entries));
        for at in self.bitmaps(entries) {
            rows.subtract_words(self.bitmap(at));
        }
    }

    /// Whether a row has one of the entries.
    pub(super) fn holds(&self, entries: &Range<usize>, row: u32) -> bool {
        let in_run = match entries.len() {
            0 => false,
            1 => self.run(entries).binary_search(&row).is_ok(),
            _ => entries
                .clone()
                .any(|entry| self.run(&(entry..entry + 1)).binary_search(&row).is_ok()),
        };
        let (word, bit) = (row as usize / 64, row % 64);
        let in_bitmap = |at| self.bitmap(at).get(word).is_some_and(|word| word >> bit & 1 == 1);
        in_run || self.bitmaps(entries).any(in_bitmap)
    }
}
