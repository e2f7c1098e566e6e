//! Answers queries: the rows that match a filter, and how many there are.

use std::sync::Arc;

use futures::TryStreamExt;
use pandion_filter::Filter;
use pandion_types::{Error, Result, RowId};

use crate::engine::{QueryEngine, compile};
use crate::request::{QueryRequest, QueryResult};
use crate::scan::{Counters, Matches, matches};
use crate::snapshot::Snapshot;
use crate::take::take;

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
        let filter = compile(request.filter.as_ref(), snapshot)?;
        let mut matches =
            std::pin::pin!(matches(snapshot, filter.as_ref(), &counters, self.in_flight()));
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
            append_rows(snapshot, &found, to_skip, wanted, &mut rows)?;
            to_skip = 0;
        }
        let columns = take(snapshot, &request.output, &rows, &counters.io).await?;
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
