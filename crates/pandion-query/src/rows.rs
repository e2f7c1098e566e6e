//! Answers queries: the rows that match a filter, and how many there are.

use std::sync::Arc;

use futures::TryStreamExt;
use pandion_filter::Filter;
use pandion_types::{Error, Result, RowId};

use crate::engine::{QueryEngine, compile};
use crate::filter::CompiledFilter;
use crate::request::{QueryRequest, QueryResult};
use crate::scan::{Counters, Matches, matches};
use crate::snapshot::Snapshot;
use crate::take::{answer_too_large, row_bytes_min, take};

impl QueryEngine {
    /// The rows that match, in the order that the request asks for.
    ///
    /// Without an order nothing is planned, and no more is read than the limit asks for; with one,
    /// the ordering columns of all matching rows are.
    ///
    /// # Errors
    /// As [`Self::search`]; `InvalidArgument` when the answer would be larger than the limits allow.
    pub async fn query(
        &self,
        snapshot: &Arc<Snapshot>,
        request: QueryRequest,
    ) -> Result<QueryResult> {
        let counters = Arc::new(Counters::default());
        let filter = compile(request.filter.as_ref(), snapshot)?;
        let rows = if request.order.is_empty() {
            self.first_rows(snapshot, &request, filter.as_ref(), &counters).await?
        } else {
            self.ordered_rows(snapshot, &request, filter.as_ref(), &counters).await?
        };
        let answer_bytes_max = self.limits().answer_bytes_max;
        let columns =
            take(snapshot, &request.output, &rows, answer_bytes_max, &counters.io).await?;
        Ok(QueryResult { rows, columns, cost: counters.cost(snapshot) })
    }

    /// The rows of the page that `request` asks for, in ascending order of row id.
    async fn first_rows(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &QueryRequest,
        filter: Option<&Arc<CompiledFilter>>,
        counters: &Arc<Counters>,
    ) -> Result<Vec<RowId>> {
        let mut matches = std::pin::pin!(matches(snapshot, filter, counters, self.in_flight()));
        let row_bytes = row_bytes_min(snapshot, &request.output)?;
        let answer_bytes_max = self.limits().answer_bytes_max;
        let mut rows = Vec::new();
        let mut to_skip = request.offset;
        while request.limit.is_none_or(|limit| rows.len() < limit)
            && let Some(found) = matches.try_next().await?
        {
            let count = found.count();
            if to_skip >= count {
                to_skip -= count;
                continue;
            }
            let wanted = request.limit.map_or(usize::MAX, |limit| limit - rows.len());
            // Before the rows are listed: there may be more than memory has room for.
            let bytes = (rows.len() + wanted.min(count - to_skip)).saturating_mul(row_bytes);
            if bytes > answer_bytes_max {
                return Err(answer_too_large(bytes, answer_bytes_max));
            }
            append_rows(snapshot, &found, to_skip, wanted, &mut rows)?;
            to_skip = 0;
        }
        Ok(rows)
    }

    /// How many rows match. Without a filter nothing is read.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub async fn count(
        &self,
        snapshot: &Arc<Snapshot>,
        filter: Option<&Filter>,
    ) -> Result<(u64, crate::QueryCost)> {
        let counters = Arc::new(Counters::default());
        let Some(filter) = compile(filter, snapshot)? else {
            return Ok((snapshot.manifest().rows(), counters.cost(snapshot)));
        };
        let count = matches(snapshot, Some(&filter), &counters, self.in_flight())
            .try_fold(0_u64, |sum, found| async move { Ok(sum + found.count() as u64) })
            .await?;
        Ok((count, counters.cost(snapshot)))
    }
}

/// Adds up to `wanted` rows of `found` after the first `skip`.
fn append_rows(
    snapshot: &Snapshot,
    found: &Matches,
    skip: usize,
    wanted: usize,
    rows: &mut Vec<RowId>,
) -> Result<()> {
    let (entry, _) = snapshot.file(found.unit.file)?;
    let first = found.unit.first_row;
    let mut push = |row: usize| {
        let row = u32::try_from(row).ok().and_then(|row| first.checked_add(row));
        row.map(|row| rows.push(RowId::new(entry.id, row)))
            .ok_or_else(|| Error::corrupt("a row group has more rows than a row id can number"))
    };
    match &found.rows {
        Some(matching) => matching.iter().skip(skip).take(wanted).try_for_each(&mut push),
        None => (0..found.unit.rows).skip(skip).take(wanted).try_for_each(&mut push),
    }
}
