//! Answers searches: the nearest rows and their values.

use std::sync::Arc;

use pandion_types::{Error, Result, RowId};

use crate::counters::Counters;
use crate::engine::{Nearest, QueryEngine};
use crate::request::{SearchHit, SearchRequest, SearchResult};
use crate::snapshot::Snapshot;

impl QueryEngine {
    /// The k nearest rows. Every live matching row is compared exactly.
    ///
    /// Dropping the future stops the work.
    ///
    /// # Errors
    /// Those of the request (`InvalidArgument`), of the files (`Conflict` when one has changed) and
    /// of the store.
    pub async fn search(
        &self,
        snapshot: &Arc<Snapshot>,
        request: SearchRequest,
    ) -> Result<SearchResult> {
        let counters = Arc::new(Counters::default());
        let field = snapshot
            .schema()
            .field_by_id(request.field)
            .ok_or_else(|| Error::internal(format!("no field with id {}", request.field)))?
            .clone();
        let asked = Nearest {
            field: &field,
            queries: &request.queries,
            metric: request.metric,
            k: request.limit + request.offset,
            range: request.range,
            filter: request.filter.as_ref(),
            options: request.options,
        };
        let hits = self.nearest(snapshot, &asked, &counters).await?;
        let hits: Vec<Vec<SearchHit>> =
            hits.into_iter().map(|hits| hits.into_iter().skip(request.offset).collect()).collect();
        let rows: Vec<RowId> = hits.iter().flatten().map(|hit| hit.row).collect();
        let columns = self.take(snapshot, &request.output, rows, &counters).await?;
        Ok(SearchResult { hits, columns, cost: counters.cost(snapshot) })
    }
}
