//! Evaluates a filter on one row group.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, DictionaryArray, Int64Array, UInt32Array,
    new_null_array,
};
use arrow::compute;
use arrow::datatypes::{DataType as ArrowType, Int32Type};
use pandion_index::Bitmap;
use pandion_types::{Error, Result, RowId};
use parquet::arrow::arrow_reader::RowSelection;

use crate::columns_cache::ColumnCache;
use crate::counters::Counters;
use crate::filter::CompiledFilter;
use crate::scan::Unit;
use crate::selection::positions;
use crate::snapshot::Snapshot;

/// Rows that are evaluated at a time: their columns and intermediate results stay in the caches of
/// the processor. A multiple of 64.
const CHUNK_ROWS: usize = 16_384;

/// Chunks after which other tasks get their turn.
const CHUNKS_PER_TURN: usize = 16;

/// A unit of which fewer than one row in so many is looked at is not worth testing as a whole.
const SPARSE: usize = 8;

/// A unit of which fewer than one row in so many is looked at is not worth reading as a whole.
const SPARSE_READ: usize = 2;

/// A column with more distinct strings than one for so many rows is tested row by row.
const DISTINCT_SHARE: usize = 4;

/// What is to be tested in a unit.
#[derive(Debug)]
pub(crate) struct UnitFilter {
    pub(crate) filter: Arc<CompiledFilter>,
    /// The rows outside of it do not match; `None` when any may.
    pub(crate) selection: Option<RowSelection>,
    /// The rows outside of it do not match either.
    pub(crate) allowed: Option<Bitmap>,
}

/// The rows of the unit that match, counted in the row group.
///
/// # Errors
/// Those of reading the columns; `Corrupt` when they have not as many rows as the manifest says.
pub(crate) async fn evaluate(
    snapshot: &Snapshot,
    unit: &Unit,
    test: &UnitFilter,
    cache: Option<&ColumnCache>,
    counters: &Counters,
) -> Result<Bitmap> {
    let fields = test.filter.fields();
    let selected = test.selection.as_ref().map_or(unit.rows, RowSelection::row_count);
    let dense = selected >= unit.rows / SPARSE;
    let columns = match cache {
        Some(cache) if !fields.is_empty() => {
            let io = &counters.io;
            match cache.get(snapshot, unit, fields, io)? {
                Some(columns) => Some(columns),
                None if selected >= unit.rows / SPARSE_READ
                    && admits(cache, snapshot, unit, fields)? =>
                {
                    Some(cache.get_or_read(snapshot, unit, fields, io).await?)
                }
                None => None,
            }
        }
        _ => None,
    };
    let mut matching = match columns {
        Some(columns) => {
            check_rows(snapshot, unit, unit.rows, &columns)?;
            if let Some(numbers) = numbers(&columns, &test.filter) {
                counters.rows_filtered.add(unit.rows as u64);
                by_distinct(&test.filter, numbers)?
            } else if dense {
                whole(snapshot, unit, test, &columns, counters).await?
            } else {
                let at = positions(test.selection.as_ref(), unit.rows);
                let columns = taken(&columns, &at)?;
                counters.rows_filtered.add(at.len() as u64);
                let mut matching = Bitmap::empty(unit.rows);
                rows_at(snapshot, unit, &test.filter, columns, &at, &mut matching)?;
                matching
            }
        }
        None => read_and_test(snapshot, unit, test, counters).await?,
    };
    if let Some(allowed) = &test.allowed {
        matching.intersect(allowed);
    }
    Ok(matching)
}

/// Whether all columns of the filter are small enough to be kept.
fn admits(
    cache: &ColumnCache,
    snapshot: &Snapshot,
    unit: &Unit,
    fields: &[pandion_types::FieldSchema],
) -> Result<bool> {
    let (_, file) = snapshot.file(unit.file)?;
    for field in fields {
        let bytes = file.uncompressed_bytes(field, unit.row_group)?;
        if !cache.admits(bytes) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Tests all rows of the unit, whose columns are in memory.
async fn whole(
    snapshot: &Snapshot,
    unit: &Unit,
    test: &UnitFilter,
    columns: &[ArrayRef],
    counters: &Counters,
) -> Result<Bitmap> {
    let (entry, _) = snapshot.file(unit.file)?;
    let first_key = RowId::new(entry.id, unit.first_row).get();
    let mut matching = Bitmap::empty(unit.rows);
    for (turn, start) in (0..unit.rows).step_by(CHUNK_ROWS).enumerate() {
        if turn % CHUNKS_PER_TURN == CHUNKS_PER_TURN - 1 {
            tokio::task::yield_now().await;
        }
        let rows = CHUNK_ROWS.min(unit.rows - start);
        let chunk = columns.iter().map(|column| plain(&column.slice(start, rows)));
        let chunk = chunk.collect::<Result<_>>()?;
        let keys =
            || Int64Array::from_iter_values((start..start + rows).map(|row| first_key + key(row)));
        let tested = test.filter.test(chunk, rows, keys)?;
        matching.write_words(start / 64, words(&tested));
    }
    counters.rows_filtered.add(unit.rows as u64);
    Ok(matching)
}

/// The only column of a filter, when it is kept as numbers into a list of distinct strings and the
/// filter reads nothing else.
fn numbers<'a>(
    columns: &'a [ArrayRef],
    filter: &CompiledFilter,
) -> Option<&'a DictionaryArray<Int32Type>> {
    let [column] = columns else { return None };
    column.as_dictionary_opt().filter(|numbers: &&DictionaryArray<Int32Type>| {
        !filter.uses_key() && numbers.values().len() <= numbers.len() / DISTINCT_SHARE
    })
}

/// Tests each distinct string once, and null, and gives every row the answer of its string.
fn by_distinct(filter: &CompiledFilter, numbers: &DictionaryArray<Int32Type>) -> Result<Bitmap> {
    let distinct = numbers.values();
    let null = new_null_array(distinct.data_type(), 1);
    let values = compute::concat(&[distinct.as_ref(), null.as_ref()]).map_err(|error| {
        Error::internal("the strings of a cached column could not be joined").caused_by(error)
    })?;
    let no_keys = || Int64Array::from(Vec::<i64>::new());
    let tested = filter.test(vec![values], distinct.len() + 1, no_keys)?;
    // Unknown is not a match.
    let answers: Vec<bool> =
        (0..tested.len()).map(|at| tested.is_valid(at) && tested.value(at)).collect();
    let of_null = answers.last().copied().unwrap_or(false);
    let answer = |number: i32| {
        usize::try_from(number).ok().and_then(|at| answers.get(at)).copied().unwrap_or(false)
    };
    let keys = numbers.keys();
    let word = |keys: &[i32]| {
        let bits = keys.iter().enumerate();
        bits.fold(0_u64, |word, (bit, &key)| word | u64::from(answer(key)) << bit)
    };
    let words: Vec<u64> = keys.values().chunks(64).map(word).collect();
    let mut matching = Bitmap::from_words(words, keys.len())
        .ok_or_else(|| Error::internal("a bitmap has the wrong length"))?;
    if let Some(nulls) = keys.nulls() {
        for row in (0..keys.len()).filter(|&row| nulls.is_null(row)) {
            if of_null {
                matching.insert(row);
            } else {
                matching.remove(row);
            }
        }
    }
    Ok(matching)
}

/// A column with its values in place, as filters take them.
fn plain(column: &ArrayRef) -> Result<ArrayRef> {
    if !matches!(column.data_type(), ArrowType::Dictionary(..)) {
        return Ok(Arc::clone(column));
    }
    compute::cast(column, &ArrowType::Utf8).map_err(|error| {
        Error::internal("the strings of a cached column could not be read").caused_by(error)
    })
}

/// Reads the selected rows, or the whole unit, and tests them.
async fn read_and_test(
    snapshot: &Snapshot,
    unit: &Unit,
    test: &UnitFilter,
    counters: &Counters,
) -> Result<Bitmap> {
    let (_, file) = snapshot.file(unit.file)?;
    let UnitFilter { filter, selection, .. } = test;
    let at = positions(selection.as_ref(), unit.rows);
    let mut matching = Bitmap::empty(unit.rows);
    let mut next = 0;
    if filter.fields().is_empty() {
        rows_at(snapshot, unit, filter, Vec::new(), &at, &mut matching)?;
        next = at.len();
    } else {
        let io = &counters.io;
        let batches = file.read(filter.fields(), unit.row_group, selection.clone(), io).await?;
        for batch in batches {
            let Some(at) = at.get(next..next + batch.num_rows()) else {
                return Err(wrong_rows(snapshot, unit, "more", at.len()));
            };
            rows_at(snapshot, unit, filter, batch.columns().to_vec(), at, &mut matching)?;
            next += batch.num_rows();
        }
    }
    if next != at.len() {
        return Err(wrong_rows(snapshot, unit, "fewer", at.len()));
    }
    counters.rows_filtered.add(next as u64);
    Ok(matching)
}

/// Tests rows that stand at these places of the row group.
fn rows_at(
    snapshot: &Snapshot,
    unit: &Unit,
    filter: &CompiledFilter,
    columns: Vec<ArrayRef>,
    at: &[usize],
    matching: &mut Bitmap,
) -> Result<()> {
    let (entry, _) = snapshot.file(unit.file)?;
    let first = RowId::new(entry.id, unit.first_row).get();
    let keys = || Int64Array::from_iter_values(at.iter().map(|&row| first + key(row)));
    let tested = filter.test(columns, at.len(), keys)?;
    for (row, &at) in at.iter().enumerate() {
        // Unknown is not a match.
        if tested.is_valid(row) && tested.value(row) {
            matching.insert(at);
        }
    }
    Ok(())
}

/// A row of a row group as a difference of primary keys: it is below 2^32.
fn key(row: usize) -> i64 {
    i64::try_from(row).unwrap_or(i64::from(u32::MAX))
}

fn taken(columns: &[ArrayRef], at: &[usize]) -> Result<Vec<ArrayRef>> {
    let at = at.iter().map(|&row| u32::try_from(row).unwrap_or(u32::MAX));
    let at = UInt32Array::from_iter_values(at);
    let columns = columns.iter().map(|column| {
        let taken = compute::take(column, &at, None).map_err(|error| {
            Error::internal("selecting rows of a cached column failed").caused_by(error)
        })?;
        plain(&taken)
    });
    columns.collect()
}

/// The rows for which the test is true, 64 to a word; unknown is not true.
fn words(tested: &BooleanArray) -> Vec<u64> {
    let known = match tested.nulls() {
        Some(nulls) => tested.values() & nulls.inner(),
        None => tested.values().clone(),
    };
    // The padding may add a word that belongs to the rows after these.
    known.bit_chunks().iter_padded().take(tested.len().div_ceil(64)).collect()
}

fn check_rows(
    snapshot: &Snapshot,
    unit: &Unit,
    expected: usize,
    columns: &[ArrayRef],
) -> Result<()> {
    match columns.iter().find(|column| column.len() != expected) {
        Some(column) => {
            let what = if column.len() < expected { "fewer" } else { "more" };
            Err(wrong_rows(snapshot, unit, what, expected))
        }
        None => Ok(()),
    }
}

fn wrong_rows(snapshot: &Snapshot, unit: &Unit, what: &str, expected: usize) -> Error {
    let error =
        Error::corrupt(format!("{what} rows were decoded than the {expected} there should be"))
            .with("row_group", unit.row_group);
    match snapshot.file(unit.file) {
        Ok((entry, _)) => error.with("file", &entry.identity.uri),
        Err(_) => error,
    }
}
