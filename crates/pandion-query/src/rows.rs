//! Answers queries: the rows that match a filter, and how many there are.

use std::sync::Arc;

use futures::TryStreamExt;
use pandion_filter::Filter;
use pandion_types::Result;

use crate::counters::Counters;
use crate::engine::{QueryEngine, output_columns, resolve};
use crate::plan::{MatchingRowsExec, RowTakeExec, rows_of};
use crate::request::{QueryOptions, QueryRequest, QueryResult};
use crate::snapshot::Snapshot;

impl QueryEngine {
    /// The rows that match, in ascending order of row id.
    ///
    /// Reads no further than the limit asks for.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub async fn query(
        &self,
        snapshot: &Arc<Snapshot>,
        request: QueryRequest,
    ) -> Result<QueryResult> {
        let counters = Arc::new(Counters::default());
        let filter =
            self.filter_plan(snapshot, request.filter.as_ref(), request.options, &counters)?;
        let rows =
            MatchingRowsExec::new(filter, Arc::clone(snapshot), request.offset, request.limit);
        let fields = resolve(snapshot, &request.output)?;
        let plan = RowTakeExec::new(
            Arc::new(rows),
            Arc::clone(snapshot),
            fields.clone(),
            Arc::clone(&counters),
        )?;
        let batch = self.execute_one(Arc::new(plan)).await?;
        let rows = rows_of(&batch)?;
        let columns = output_columns(fields, &batch);
        Ok(QueryResult { rows, columns, cost: counters.cost(snapshot) })
    }

    /// How many rows match. Without a filter nothing is read.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub async fn count(
        &self,
        snapshot: &Arc<Snapshot>,
        filter: Option<&Filter>,
        options: QueryOptions,
    ) -> Result<(u64, crate::QueryCost)> {
        let counters = Arc::new(Counters::default());
        if filter.is_none_or(Filter::is_match_all) {
            return Ok((snapshot.manifest().rows(), counters.cost(snapshot)));
        }
        let matches = self.matches(snapshot, filter, options, &counters)?;
        let count = matches
            .try_fold(0_u64, |sum, found| async move { Ok(sum + found.count() as u64) })
            .await?;
        Ok((count, counters.cost(snapshot)))
    }
}
