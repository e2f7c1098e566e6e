//! Rows by their ids: those that match a filter, and given ones.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result as DataFusionResult;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, PlanProperties,
    SendableRecordBatchStream,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use pandion_types::{Error, Result, RowId};

use super::batches::{ROWS, matches_in, rows_batch};
use super::{no_child, one_child, outbound, properties};
use crate::scan::Matches;
use crate::snapshot::Snapshot;

/// The matching rows of its input in ascending order, after `skip` of them, up to `fetch`.
///
/// Partitions of the input are read one after the other, because they are in ascending order; no
/// further than needed.
pub struct MatchingRowsExec {
    input: Arc<dyn ExecutionPlan>,
    snapshot: Arc<Snapshot>,
    skip: usize,
    fetch: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl MatchingRowsExec {
    pub(crate) fn new(
        input: Arc<dyn ExecutionPlan>,
        snapshot: Arc<Snapshot>,
        skip: usize,
        fetch: Option<usize>,
    ) -> Self {
        let properties = properties(Arc::clone(&ROWS), 1, EmissionType::Incremental);
        Self { input, snapshot, skip, fetch, properties }
    }

    pub(super) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Rows left out and rows given at most.
    pub(super) fn window(&self) -> (usize, Option<usize>) {
        (self.skip, self.fetch)
    }
}

impl ExecutionPlan for MatchingRowsExec {
    fn name(&self) -> &'static str {
        "MatchingRowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let snapshot = Arc::clone(&self.snapshot);
        Ok(Arc::new(Self::new(one_child(children)?, snapshot, self.skip, self.fetch)))
    }

    fn execute(
        &self,
        _: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let partitions = 0..self.input.output_partitioning().partition_count();
        let input = Arc::clone(&self.input);
        let window = Window {
            snapshot: Arc::clone(&self.snapshot),
            skip: self.skip,
            left: self.fetch.unwrap_or(usize::MAX),
        };
        let batches = stream::iter(partitions)
            .map(move |partition| input.execute(partition, Arc::clone(&context)))
            .try_flatten();
        let matches = Box::pin(matches_in(batches));
        let rows = stream::try_unfold((matches, window), |(mut matches, mut window)| async {
            // Looked at before the next row group is asked for, which would be computed in vain.
            if window.left == 0 {
                return Ok(None);
            }
            let Some(found) = matches.try_next().await? else { return Ok(None) };
            let rows = rows_batch(&window.take(&found)?)?;
            Ok(Some((rows, (matches, window))))
        });
        let rows = rows.map_err(outbound);
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&ROWS), rows)))
    }
}

/// What is still to be skipped and given.
struct Window {
    snapshot: Arc<Snapshot>,
    skip: usize,
    left: usize,
}

impl Window {
    fn take(&mut self, found: &Matches) -> Result<Vec<RowId>> {
        let count = found.count();
        if self.skip >= count {
            self.skip -= count;
            return Ok(Vec::new());
        }
        let rows = rows_of_unit(&self.snapshot, found, self.skip, self.left)?;
        self.skip = 0;
        self.left -= rows.len();
        Ok(rows)
    }
}

/// Up to `wanted` rows of `found` after the first `skip`.
fn rows_of_unit(
    snapshot: &Snapshot,
    found: &Matches,
    skip: usize,
    wanted: usize,
) -> Result<Vec<RowId>> {
    let (entry, _) = snapshot.file(found.unit.file)?;
    let first = found.unit.first_row;
    let id = |row: usize| {
        let row = u32::try_from(row).ok().and_then(|row| first.checked_add(row));
        row.map(|row| RowId::new(entry.id, row))
            .ok_or_else(|| Error::corrupt("a row group has more rows than a row id can number"))
    };
    match &found.rows {
        Some(matching) => matching.iter().skip(skip).take(wanted).map(id).collect(),
        None => (0..found.unit.rows).skip(skip).take(wanted).map(id).collect(),
    }
}

impl DisplayAs for MatchingRowsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MatchingRowsExec: skip={}", self.skip)?;
        self.fetch.map_or(Ok(()), |fetch| write!(f, ", fetch={fetch}"))
    }
}

impl fmt::Debug for MatchingRowsExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

/// Rows that an earlier plan has found, in any order.
pub struct RowIdsExec {
    rows: Arc<Vec<RowId>>,
    properties: Arc<PlanProperties>,
}

impl RowIdsExec {
    pub(crate) fn new(rows: Vec<RowId>) -> Self {
        let properties = properties(Arc::clone(&ROWS), 1, EmissionType::Incremental);
        Self { rows: Arc::new(rows), properties }
    }

    pub(super) fn rows(&self) -> &[RowId] {
        &self.rows
    }
}

impl ExecutionPlan for RowIdsExec {
    fn name(&self) -> &'static str {
        "RowIdsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        no_child(self, &children)
    }

    fn execute(
        &self,
        _: usize,
        _: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let batch = rows_batch(&self.rows).map_err(outbound);
        let batches = stream::once(async move { batch });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&ROWS), batches)))
    }
}

impl DisplayAs for RowIdsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowIdsExec: rows={}", self.rows.len())
    }
}

impl fmt::Debug for RowIdsExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}
