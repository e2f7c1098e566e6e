//! Walks the row groups of a snapshot and says which of their rows match a filter.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::datasource::physical_plan::parquet::RowGroupAccess;
use futures::{Stream, StreamExt, TryStreamExt, future, stream};
use pandion_index::Bitmap;
use pandion_source::IoStats;
use pandion_types::{Error, Result};
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use tokio_util::task::AbortOnDropHandle;

use crate::filter::CompiledFilter;
use crate::request::QueryCost;
use crate::snapshot::Snapshot;

/// Files whose pages are chosen at the same time.
const FILES_IN_FLIGHT: usize = 16;

/// What the stages of one query count, beside the reads.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) io: Arc<IoStats>,
    pub(crate) distances: AtomicU64,
    files_pruned: AtomicU64,
    row_groups: AtomicU64,
    row_groups_pruned: AtomicU64,
    rows_filtered: AtomicU64,
}

impl Counters {
    pub(crate) fn cost(&self, snapshot: &Snapshot) -> QueryCost {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        QueryCost {
            io: self.io.counts(),
            distances: value(&self.distances),
            files: snapshot.manifest().files.len() as u64,
            files_pruned: value(&self.files_pruned),
            row_groups: value(&self.row_groups),
            row_groups_pruned: value(&self.row_groups_pruned),
            rows_filtered: value(&self.rows_filtered),
        }
    }
}

/// One row group of one file.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// Position of the file in the manifest.
    pub(crate) file: usize,
    pub(crate) row_group: usize,
    /// The first row's number in the file.
    pub(crate) first_row: u32,
    pub(crate) rows: usize,
}

/// The rows of a unit that match.
#[derive(Debug)]
pub(crate) struct Matches {
    pub(crate) unit: Unit,
    /// The rows, counted in the row group; `None` when all match.
    pub(crate) rows: Option<Bitmap>,
}

impl Matches {
    pub(crate) fn count(&self) -> usize {
        self.rows.as_ref().map_or(self.unit.rows, Bitmap::count)
    }
}

/// The matches of every row group that may hold some, in ascending order of row id.
///
/// Row groups are evaluated `in_flight` at a time, each in a task of its own; dropping the stream
/// stops them.
pub(crate) fn matches(
    snapshot: &Arc<Snapshot>,
    filter: Option<&Arc<CompiledFilter>>,
    counters: &Arc<Counters>,
    in_flight: usize,
) -> impl Stream<Item = Result<Matches>> + Send + 'static {
    let files = candidate_files(snapshot, filter.map(AsRef::as_ref), counters);
    let (snapshot, filter, counters) =
        (Arc::clone(snapshot), filter.map(Arc::clone), Arc::clone(counters));
    let (plan_snapshot, plan_filter, plan_counters) =
        (Arc::clone(&snapshot), filter.clone(), Arc::clone(&counters));
    stream::iter(files)
        .map(move |file| {
            let (snapshot, filter, counters) =
                (Arc::clone(&plan_snapshot), plan_filter.clone(), Arc::clone(&plan_counters));
            async move { units(&snapshot, file, filter.as_deref(), &counters).await }
        })
        .buffered(FILES_IN_FLIGHT)
        .map_ok(|units| stream::iter(units.into_iter().map(Ok)))
        .try_flatten()
        .map_ok(move |(unit, selection)| {
            let (snapshot, filter, counters) =
                (Arc::clone(&snapshot), filter.clone(), Arc::clone(&counters));
            async move {
                let Some(filter) = filter else { return Ok(Matches { unit, rows: None }) };
                let task = tokio::spawn(async move {
                    evaluate(&snapshot, unit, selection, &filter, &counters).await
                });
                AbortOnDropHandle::new(task).await.map_err(|error| {
                    Error::internal("a filter task ended abnormally").caused_by(error)
                })?
            }
        })
        .try_buffered(in_flight.max(1))
        .try_filter(|matches| future::ready(matches.count() > 0))
}

/// The positions of the files that the manifest's statistics cannot rule out.
fn candidate_files(
    snapshot: &Snapshot,
    filter: Option<&CompiledFilter>,
    counters: &Counters,
) -> Vec<usize> {
    let manifest = snapshot.manifest();
    let Some(filter) = filter else { return (0..manifest.files.len()).collect() };
    let may_match = filter.pruner().files(manifest);
    let files: Vec<usize> = (0..manifest.files.len())
        .filter(|&at| {
            may_match.get(at).copied().unwrap_or(true)
                && filter.key_rows(&manifest.files[at]).is_none_or(|rows| !rows.is_empty())
        })
        .collect();
    let pruned = manifest.files.len() - files.len();
    counters.files_pruned.fetch_add(pruned as u64, Ordering::Relaxed);
    files
}

/// The row groups of a file that may hold matching rows, with the rows to look at in each; `None`
/// for all of them.
async fn units(
    snapshot: &Snapshot,
    at: usize,
    filter: Option<&CompiledFilter>,
    counters: &Counters,
) -> Result<Vec<(Unit, Option<RowSelection>)>> {
    let (entry, file) = snapshot.file(at)?;
    counters.row_groups.fetch_add(entry.row_groups.len() as u64, Ordering::Relaxed);
    let plan = match filter {
        Some(filter) => Some(filter.pruner().pages(file, &counters.io).await?),
        None => None,
    };
    let key_rows = filter.and_then(|filter| filter.key_rows(entry));
    let mut units = Vec::with_capacity(entry.row_groups.len());
    let mut first_row = 0_u64;
    for (row_group, &rows) in entry.row_groups.iter().enumerate() {
        let start = first_row;
        first_row += rows;
        let unit = Unit {
            file: at,
            row_group,
            first_row: narrow(start)?,
            rows: usize::try_from(rows).map_err(|error| too_many_rows().caused_by(error))?,
        };
        let by_statistics = match plan.as_ref().and_then(|plan| plan.inner().get(row_group)) {
            Some(RowGroupAccess::Skip) => continue,
            Some(RowGroupAccess::Selection(selection)) => Some(selection.clone()),
            Some(RowGroupAccess::Scan) | None => None,
        };
        let by_key = key_rows.as_ref().map(|rows| selection_of(rows, &unit));
        let selection = match (by_statistics, by_key) {
            (Some(left), Some(right)) => Some(left.intersection(&right)),
            (one, other) => one.or(other),
        };
        if unit.rows > 0 && selection.as_ref().is_none_or(RowSelection::selects_any) {
            units.push((unit, selection));
        }
    }
    let pruned = entry.row_groups.len() - units.len();
    counters.row_groups_pruned.fetch_add(pruned as u64, Ordering::Relaxed);
    Ok(units)
}

fn narrow(row: u64) -> Result<u32> {
    u32::try_from(row).map_err(|error| too_many_rows().caused_by(error))
}

fn too_many_rows() -> Error {
    Error::corrupt("a file of the manifest has more rows than a row id can number")
}

/// The ranges of rows of the file that lie in the unit, as a selection of the unit's rows.
fn selection_of(rows: &[Range<u32>], unit: &Unit) -> RowSelection {
    let (start, end) = (unit.first_row as usize, unit.first_row as usize + unit.rows);
    let ranges = rows.iter().filter_map(|range| {
        let from = (range.start as usize).max(start);
        let to = (range.end as usize).min(end);
        (from < to).then(|| from - start..to - start)
    });
    RowSelection::from_consecutive_ranges(ranges, unit.rows)
}

async fn evaluate(
    snapshot: &Snapshot,
    unit: Unit,
    selection: Option<RowSelection>,
    filter: &CompiledFilter,
    counters: &Counters,
) -> Result<Matches> {
    let (entry, file) = snapshot.file(unit.file)?;
    let positions = positions(selection.as_ref(), unit.rows);
    let mut matching = Bitmap::empty(unit.rows);
    let mut next = 0;
    let batches = if filter.fields().is_empty() {
        vec![None]
    } else {
        let read = file.read(filter.fields(), unit.row_group, selection, &counters.io).await?;
        read.into_iter().map(Some).collect()
    };
    for batch in batches {
        let rows = batch.as_ref().map_or(positions.len(), arrow::array::RecordBatch::num_rows);
        let Some(at) = positions.get(next..next + rows) else {
            return Err(Error::corrupt("more rows were decoded than selected")
                .with("file", &entry.identity.uri));
        };
        filter.evaluate(batch.as_ref(), entry.id, unit.first_row, at, &mut matching)?;
        next += rows;
    }
    if next != positions.len() {
        return Err(Error::corrupt(format!(
            "{} rows were decoded where {} were selected",
            next,
            positions.len()
        ))
        .with("file", &entry.identity.uri)
        .with("row_group", unit.row_group));
    }
    counters.rows_filtered.fetch_add(next as u64, Ordering::Relaxed);
    Ok(Matches { unit, rows: Some(matching) })
}

/// The selected rows, counted in the row group.
fn positions(selection: Option<&RowSelection>, rows: usize) -> Vec<usize> {
    let Some(selection) = selection else { return (0..rows).collect() };
    let mut positions = Vec::with_capacity(selection.row_count());
    let mut next = 0;
    for &RowSelector { row_count, skip } in selection.iter() {
        if !skip {
            positions.extend(next..next + row_count);
        }
        next += row_count;
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_ranges_become_a_selection_of_the_unit() {
        let unit = Unit { file: 0, row_group: 1, first_row: 100, rows: 50 };
        let selection = selection_of(&[0..3, 90..102, 149..400], &unit);
        assert_eq!(positions(Some(&selection), 50), [0, 1, 49]);
        assert!(!selection_of(&[0..3, 200..300], &unit).selects_any());
    }
}
