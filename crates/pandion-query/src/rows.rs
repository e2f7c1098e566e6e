//! Answers queries: the rows that match a filter, and how many there are.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use futures::TryStreamExt;
use pandion_filter::Filter;
use pandion_types::Result;

use crate::bounded;
use crate::counters::Counters;
use crate::engine::{QueryEngine, output_columns, resolve};
use crate::limits::QueryLimits;
use crate::plan::{MatchingRowsExec, RowTakeExec, rows_of};
use crate::request::{QueryOptions, QueryRequest, QueryResult};
use crate::snapshot::Snapshot;

impl QueryEngine {
    /// The rows that match, in the order that the request asks for.
    ///
    /// Without an order, no more is read than the limit asks for; with one, the ordering columns of
    /// all matching rows are.
    ///
    /// # Errors
    /// As [`Self::search`]; `InvalidArgument` when the answer, or the rows that must be kept to
    /// order them, would be larger than the limits allow.
    pub async fn query(
        &self,
        snapshot: &Arc<Snapshot>,
        request: QueryRequest,
    ) -> Result<QueryResult> {
        let counters = Arc::new(Counters::default());
        let filter =
            self.filter_plan(snapshot, request.filter.as_ref(), request.options, &counters)?;
        let rows: Arc<dyn ExecutionPlan> = if request.order.is_empty() {
            let (skip, fetch) = (request.offset, request.limit);
            Arc::new(MatchingRowsExec::new(filter, Arc::clone(snapshot), skip, fetch))
        } else {
            self.ordered_rows_plan(snapshot, &request, filter, &counters)?
        };
        let fields = resolve(snapshot, &request.output)?;
        let plan =
            RowTakeExec::new(rows, Arc::clone(snapshot), fields.clone(), Arc::clone(&counters))?
                .with_bytes_max(self.limits().answer_bytes_max);
        let batch = if request.order.is_empty() {
            self.execute_one(Arc::new(plan)).await?
        } else {
            // The values have been measured when they were taken.
            let limits = QueryLimits { answer_bytes_max: usize::MAX, ..self.limits() };
            bounded::collect(&self.transported(Arc::new(plan))?, limits).await?
        };
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
            return Ok((snapshot.manifest().live_rows(), counters.cost(snapshot)));
        }
        let matches = self.matches(snapshot, filter, options, &counters)?;
        let count = matches
            .try_fold(0_u64, |sum, found| async move { Ok(sum + found.count() as u64) })
            .await?;
        Ok((count, counters.cost(snapshot)))
    }
}
