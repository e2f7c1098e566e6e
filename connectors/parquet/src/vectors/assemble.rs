//! Puts the values of pages together as the vectors of rows.
//!
//! Pages come in waves, whose pages are decoded in parallel, each right into its place in the block:
//! the headers tell where that is, if every row has a whole vector. Whether this is so the levels
//! say, in few bytes. Waves in which it is not are taken level by level.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use pandion_index::{VectorBlock, VectorBlockBuilder};
use pandion_types::{Error, Result, Subject};
use parquet::file::metadata::ColumnChunkMetaData;
use rayon::prelude::*;

use super::layout::Layout;
use super::levels::{all_max, decode_levels, regular_rows};
use super::values::{self, Dictionary, ValueError};
use crate::codec::{decompress, with_content};
use crate::guard;
use crate::pages::{PageAt, PageHeader, PageKind, Parts, split};
use crate::thrift::Malformed;

/// Decompressed bytes of a wave for each thread, if it has more than one page: few, so that the
/// part of the block that is about to be written is in the caches when it is.
const WAVE_BYTES_PER_THREAD: usize = 1 << 21;

/// A column chunk that is being decoded.
pub(super) struct Chunk<'a> {
    pub(super) bytes: &'a Bytes,
    pub(super) column: &'a ColumnChunkMetaData,
    pub(super) layout: Layout,
    /// Names the file and the row group.
    pub(super) place: &'a (dyn Fn() -> String + Sync),
    /// Names the field and the column.
    pub(super) label: &'a str,
    /// Where the chunk begins in the file.
    pub(super) offset: u64,
}

/// A data page, decompressed.
struct Ready<'a> {
    page: &'a PageAt,
    content: Bytes,
}

/// Fills a block from the pages of a chunk.
pub(super) struct Assembler<'a> {
    chunk: &'a Chunk<'a>,
    builder: VectorBlockBuilder,
    rows: usize,
    dictionary: Option<Dictionary>,
    /// Values that the last row has so far.
    open: usize,
}

impl<'a> Assembler<'a> {
    pub(super) fn new(chunk: &'a Chunk<'a>, rows: usize) -> Result<Self> {
        let builder = VectorBlockBuilder::new(chunk.layout.vector_type, rows)?;
        Ok(Self { chunk, builder, rows, dictionary: None, open: chunk.layout.per_row })
    }

    /// Decodes all pages.
    pub(super) fn run(self, pages: &[PageAt]) -> Result<VectorBlock> {
        self.run_on(pages).map(|(block, _)| block)
    }

    /// As `new`, with the dictionary that another page of the column came after.
    pub(super) fn with_dictionary(
        chunk: &'a Chunk<'a>,
        rows: usize,
        dictionary: Option<Dictionary>,
    ) -> Result<Self> {
        Ok(Self { dictionary, ..Self::new(chunk, rows)? })
    }

    /// Decodes all pages, and gives back the dictionary for the next ones.
    pub(super) fn run_on(mut self, pages: &[PageAt]) -> Result<(VectorBlock, Option<Dictionary>)> {
        let mut rest = pages;
        while let Some(first) = rest.first() {
            match first.header.kind {
                PageKind::Dictionary => {
                    self.read_dictionary(first)?;
                    rest = &rest[1..];
                }
                PageKind::Other => rest = &rest[1..],
                PageKind::Data { .. } | PageKind::DataV2 { .. } => {
                    let (wave, after) = rest.split_at(wave_length(rest));
                    self.add_wave(wave)?;
                    rest = after;
                }
            }
        }
        self.close_row()?;
        if self.builder.rows_left() > 0 {
            return Err(self.wrong_rows(self.builder.rows_filled()));
        }
        Ok((self.builder.finish()?, self.dictionary))
    }

    fn read_dictionary(&mut self, page: &PageAt) -> Result<()> {
        let chunk = self.chunk;
        let content = decompress(page, chunk.bytes, chunk.column, chunk.place)?;
        let dictionary = Dictionary::decode(chunk.layout.format, &page.header, &content);
        self.dictionary = Some(dictionary.map_err(|error| chunk.value_error(page, error, |_| 0))?);
        Ok(())
    }

    fn add_wave(&mut self, wave: &[PageAt]) -> Result<()> {
        if self.add_regular(wave)? {
            return Ok(());
        }
        let chunk = self.chunk;
        let ready: Vec<Ready<'_>> = wave
            .par_iter()
            .map(|page| {
                let content = decompress(page, chunk.bytes, chunk.column, chunk.place)?;
                Ok(Ready { page, content })
            })
            .collect::<Result<_>>()?;
        ready.iter().try_for_each(|page| self.add_by_level(page))
    }

    /// Adds pages if the levels say that all their rows have whole vectors; otherwise nothing.
    fn add_regular(&mut self, pages: &[PageAt]) -> Result<bool> {
        let Layout { format, per_row, .. } = self.chunk.layout;
        let row_bytes = format.unit * per_row;
        let before = self.builder.rows_filled() * row_bytes + self.open % per_row * format.unit;
        let values: usize = pages.iter().map(|page| page.header.values).sum();
        let bytes = values.saturating_mul(format.unit);
        if bytes > self.rows * row_bytes - before {
            return Ok(false);
        }
        let (chunk, dictionary) = (self.chunk, self.dictionary.as_ref());
        let irregular = AtomicBool::new(false);
        let filled = self.builder.append_bytes_with(bytes, |mut out| {
            let mut parts = Vec::with_capacity(pages.len());
            let mut at = before;
            for page in pages {
                let bytes = page.header.values * format.unit;
                let (slots, after) = std::mem::take(&mut out).split_at_mut(bytes);
                parts.push((page, at / format.unit, slots));
                (out, at) = (after, at + bytes);
            }
            parts.into_par_iter().try_for_each(|(page, at, slots)| {
                if irregular.load(Ordering::Relaxed)
                    || !chunk.decode(page, at, dictionary, slots)?
                {
                    irregular.store(true, Ordering::Relaxed);
                    // Ends the others, and takes the space back.
                    return Err(Error::internal("a page is not regular"));
                }
                Ok(())
            })
        });
        if irregular.into_inner() {
            return Ok(false);
        }
        filled?;
        let open = (self.open % per_row + values) % per_row;
        self.open = if open == 0 { per_row } else { open };
        Ok(true)
    }

    /// Adds a page with nulls, or with rows of a wrong length, which are refused.
    fn add_by_level(&mut self, page: &Ready<'_>) -> Result<()> {
        let chunk = self.chunk;
        let Layout { format, is_list, levels, .. } = chunk.layout;
        let header = &page.page.header;
        let parts = chunk.parts(page.page, &page.content)?;
        let (mut definition, mut repetition) = (Vec::new(), Vec::new());
        let decoded = decode_levels(parts.definition, levels.max, header.values, &mut definition)
            .and_then(|()| match is_list {
                true => decode_levels(parts.repetition, 1, header.values, &mut repetition),
                false => Ok(()),
            });
        decoded.map_err(|error| chunk.malformed(page.page, error))?;
        let present = definition.iter().filter(|&&level| level == levels.max).count();
        let mut units = vec![0; present * format.unit];
        let filled = self.builder.rows_filled();
        values::decode(format, header, parts.values, self.dictionary.as_ref(), &mut units)
            .map_err(|error| {
                // Only values that are a row each can have a wrong length.
                let row = |value| filled + position_of(levels.max, &definition, value);
                chunk.value_error(page.page, error, row)
            })?;
        let levels = PageLevels { definition: &definition, repetition: &repetition };
        let mut run = 0..0;
        let mut at = 0;
        while at < header.values {
            let whole = levels.whole_rows(at, chunk.layout);
            if whole > 0 {
                self.flush(&units, &mut run)?;
                self.close_row()?;
                self.check_room(whole)?;
                run.end += whole * chunk.layout.per_row * format.unit;
                at += whole * chunk.layout.per_row;
                continue;
            }
            self.add_level(levels, at, &units, &mut run)?;
            at += 1;
        }
        self.flush(&units, &mut run)
    }

    /// Adds one level of a page; the values that it and those before it stand for may still be in
    /// `run`.
    fn add_level(
        &mut self,
        page: PageLevels<'_>,
        at: usize,
        units: &[u8],
        run: &mut Range<usize>,
    ) -> Result<()> {
        let Layout { format, per_row, is_list, levels, .. } = self.chunk.layout;
        let level = page.definition[at];
        let continues = is_list && page.repetition[at] == 1;
        if !continues {
            self.flush(units, run)?;
            self.close_row()?;
            self.check_room(1)?;
            self.open = 0;
        }
        if level == levels.max {
            if self.open == per_row {
                self.flush(units, run)?;
                let more = page.repetition[at..].iter().take_while(|&&level| level == 1).count();
                return Err(self.length_error(self.open + more));
            }
            run.end += format.unit;
            self.open += 1;
            return Ok(());
        }
        self.flush(units, run)?;
        if continues || level >= levels.element {
            return Err(self.chunk.null_error(self.open_row()));
        }
        if level >= levels.row && is_list {
            return Err(self.length_error(0));
        }
        self.builder.push_null()?;
        self.open = per_row;
        Ok(())
    }

    /// Writes the values of `run`, which then is empty and begins behind them.
    fn flush(&mut self, units: &[u8], run: &mut Range<usize>) -> Result<()> {
        if run.start < run.end {
            let values = &units[run.clone()];
            self.builder.append_bytes_with(values.len(), |out| {
                out.copy_from_slice(values);
                Ok(())
            })?;
            run.start = run.end;
        }
        Ok(())
    }

    /// Before a new row: the last one must have all its values.
    fn close_row(&self) -> Result<()> {
        if self.open == self.chunk.layout.per_row {
            return Ok(());
        }
        Err(self.length_error(self.open))
    }

    fn check_room(&self, rows: usize) -> Result<()> {
        if rows <= self.builder.rows_left() {
            return Ok(());
        }
        Err(self.wrong_rows(self.builder.rows_filled() + rows))
    }

    fn wrong_rows(&self, found: usize) -> Error {
        let (place, label, rows) = ((self.chunk.place)(), self.chunk.label, self.rows);
        Error::corrupt(format!("{place}: {label} has {found} rows where the footer says {rows}"))
            .about(Subject::Source)
    }

    /// An error about the open row, all of whose values so far are in the block.
    fn length_error(&self, found: usize) -> Error {
        self.chunk.length_error(self.open_row(), found)
    }

    fn open_row(&self) -> usize {
        let filled = self.builder.rows_filled();
        if self.open >= self.chunk.layout.per_row { filled.saturating_sub(1) } else { filled }
    }
}

/// The levels of a page. Without lists there are no repetition levels.
#[derive(Clone, Copy)]
struct PageLevels<'a> {
    definition: &'a [u8],
    repetition: &'a [u8],
}

impl PageLevels<'_> {
    /// How many rows from `at` on have a whole vector each.
    fn whole_rows(self, at: usize, layout: Layout) -> usize {
        let Layout { per_row, is_list, levels, .. } = layout;
        if is_list && self.repetition[at] != 0 {
            return 0;
        }
        let full = self.definition[at..].chunks_exact(per_row);
        let full = full.take_while(|row| row.iter().all(|&level| level == levels.max)).count();
        if !is_list {
            return full;
        }
        let rows = self.repetition[at..].chunks_exact(per_row).take(full);
        let whole = |row: &&[u8]| row[0] == 0 && row[1..].iter().all(|&level| level == 1);
        let whole = rows.take_while(whole).count();
        // What follows the last of them must not belong to it.
        match self.repetition.get(at + whole * per_row) {
            Some(1) => whole.saturating_sub(1),
            _ => whole,
        }
    }
}

impl Chunk<'_> {
    /// Decodes a page whose first value is value `at` of the column into `slots`, which have room
    /// for just its values. False when not all rows have whole vectors; `slots` are then as before.
    fn decode(
        &self,
        page: &PageAt,
        at: usize,
        dictionary: Option<&Dictionary>,
        slots: &mut [u8],
    ) -> Result<bool> {
        let Layout { format, per_row, is_list, levels, .. } = self.layout;
        with_content(page, self.bytes, self.column, self.place, |content| {
            let PageHeader { values, .. } = page.header;
            let parts = self.parts(page, content)?;
            let regular = all_max(parts.definition, levels.max, values).and_then(|full| {
                let phase = at % per_row;
                Ok(full && (!is_list || regular_rows(parts.repetition, values, per_row, phase)?))
            });
            if !regular.map_err(|error| self.malformed(page, error))? {
                return Ok(false);
            }
            values::decode(format, &page.header, parts.values, dictionary, slots)
                .map(|()| true)
                .map_err(|error| self.value_error(page, error, |value| (at + value) / per_row))
        })
    }

    fn parts<'p>(&self, page: &PageAt, content: &'p [u8]) -> Result<Parts<'p>> {
        split(&page.header, content, self.column).map_err(|error| self.malformed(page, error))
    }

    fn malformed(&self, page: &PageAt, error: Malformed) -> Error {
        // The offset of the page: inside of it, decompression has moved everything.
        let at = Malformed { at: page.body.start, ..error };
        guard::malformed(at, self.offset, (self.place)())
    }

    fn value_error(
        &self,
        page: &PageAt,
        error: ValueError,
        row: impl FnOnce(usize) -> usize,
    ) -> Error {
        match error {
            ValueError::Malformed(error) => self.malformed(page, error),
            ValueError::Length { index, found } => self.length_error(row(index), found),
            ValueError::Other(error) => error.context((self.place)()).about(Subject::Source),
        }
    }

    fn null_error(&self, row: usize) -> Error {
        let (place, label) = ((self.place)(), self.label);
        Error::corrupt(format!("{place}: {label} at row {row} has a null element in its vector"))
            .about(Subject::Source)
    }

    fn length_error(&self, row: usize, actual: usize) -> Error {
        let Layout { is_list, vector_type, per_row, format, .. } = self.layout;
        let expected = if is_list { per_row } else { format.unit };
        let what = match is_list && expected == vector_type.dim {
            true => "vector list length",
            false => "vector byte width",
        };
        let (place, label) = ((self.place)(), self.label);
        Error::corrupt(format!(
            "{place}: {what} mismatch for {label} at row {row}, expected {expected}, \
             actual {actual}"
        ))
        .about(Subject::Source)
    }
}

/// How many of the data pages at the start of `pages` make the next wave: at least one.
fn wave_length(pages: &[PageAt]) -> usize {
    let bytes_max = WAVE_BYTES_PER_THREAD * rayon::current_num_threads();
    let mut bytes = 0;
    let fits = |page: &&PageAt| {
        bytes += page.header.uncompressed;
        page.header.is_data() && bytes <= bytes_max
    };
    pages.iter().take_while(fits).count().max(1)
}

/// Where level `max` stands for the `nth` time, counted from 0.
fn position_of(max: u8, levels: &[u8], nth: usize) -> usize {
    levels.iter().enumerate().filter(|(_, level)| **level == max).nth(nth).map_or(0, |(at, _)| at)
}
