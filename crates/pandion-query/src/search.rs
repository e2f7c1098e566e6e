//! Answers searches, plain and hybrid: the nearest rows and their values.

use std::sync::Arc;

use futures::future::try_join_all;
use pandion_types::{Error, FieldId, FieldSchema, Result, RowId};

use crate::counters::Counters;
use crate::engine::{Nearest, QueryEngine};
use crate::group::Grouping;
use crate::request::{
    HybridRequest, Refinement, SearchHit, SearchRequest, SearchResult, VectorSearch,
};
use crate::snapshot::Snapshot;

/// For each query its hits, or its groups of hits.
pub(crate) type Units = Vec<Vec<Vec<SearchHit>>>;

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
        let SearchRequest { field, queries, metric, limit, offset, range, filter, .. } = request;
        let Refinement { after, grouping, boosts, ranker, group_scorer, order } =
            request.refinement;
        let after = vec![after; if after.is_some() { queries.len() } else { 0 }];
        let asked = Nearest {
            field: field_of(snapshot, field)?,
            queries: &queries,
            metric,
            k: limit.saturating_add(offset),
            range,
            filter: filter.as_ref(),
            after: &after,
            options: request.options,
        };
        let refined =
            grouping.is_some() || boosts.is_some() || ranker.is_some() || !order.is_empty();
        let hits = if refined {
            let mut units = self.units(snapshot, &asked, grouping.as_ref(), &counters).await?;
            if let Some(boosts) = &boosts {
                self.boost(snapshot, boosts, metric, &mut units, request.options, &counters)
                    .await?;
            }
            if let Some(ranker) = &ranker {
                let lists = [(metric, units)];
                let grouping = grouping.as_ref().map(|grouping| (grouping, group_scorer));
                units = self.rank(snapshot, ranker, &lists, grouping, &counters).await?;
            }
            if !order.is_empty() {
                self.order(snapshot, &order, &mut units, &counters).await?;
            }
            window(units, offset, limit)
        } else {
            let hits = self.nearest(snapshot, &asked, &counters).await?;
            hits.into_iter().map(|hits| hits.into_iter().skip(offset).collect()).collect()
        };
        self.answer(snapshot, hits, &request.output, grouping.as_ref(), &counters).await
    }

    /// The best rows of several searches, which all see the same snapshot.
    ///
    /// The searches run at the same time. Dropping the future stops the work.
    ///
    /// # Errors
    /// As [`Self::search`]; `InvalidArgument` when the searches have different numbers of query
    /// vectors.
    pub async fn hybrid_search(
        &self,
        snapshot: &Arc<Snapshot>,
        request: HybridRequest,
    ) -> Result<SearchResult> {
        let counters = Arc::new(Counters::default());
        check_query_counts(&request.searches)?;
        let lists = try_join_all(
            request.searches.iter().map(|search| self.list(snapshot, search, &request, &counters)),
        )
        .await?;
        let lists: Vec<_> =
            request.searches.iter().map(|search| search.metric).zip(lists).collect();
        let grouping = request.grouping.as_ref();
        let scored = grouping.map(|grouping| (grouping, request.group_scorer));
        let units = self.rank(snapshot, &request.ranker, &lists, scored, &counters).await?;
        let hits = window(units, request.offset, request.limit);
        self.answer(snapshot, hits, &request.output, grouping, &counters).await
    }

    /// What one search of a hybrid search finds.
    async fn list(
        &self,
        snapshot: &Arc<Snapshot>,
        search: &VectorSearch,
        request: &HybridRequest,
        counters: &Arc<Counters>,
    ) -> Result<Units> {
        let asked = Nearest {
            field: field_of(snapshot, search.field)?,
            queries: &search.queries,
            metric: search.metric,
            k: search.limit,
            range: search.range,
            filter: search.filter.as_ref(),
            after: &[],
            options: request.options,
        };
        let mut units = self.units(snapshot, &asked, request.grouping.as_ref(), counters).await?;
        if let Some(boosts) = &request.boosts {
            self.boost(snapshot, boosts, search.metric, &mut units, request.options, counters)
                .await?;
        }
        Ok(units)
    }

    async fn units(
        &self,
        snapshot: &Arc<Snapshot>,
        asked: &Nearest<'_>,
        grouping: Option<&Grouping>,
        counters: &Arc<Counters>,
    ) -> Result<Units> {
        if let Some(grouping) = grouping {
            return self.nearest_groups(snapshot, asked, grouping, counters).await;
        }
        let hits = self.nearest(snapshot, asked, counters).await?;
        Ok(hits.into_iter().map(|hits| hits.into_iter().map(|hit| vec![hit]).collect()).collect())
    }

    /// Fetches the values of the hits.
    async fn answer(
        &self,
        snapshot: &Arc<Snapshot>,
        hits: Vec<Vec<SearchHit>>,
        output: &[FieldId],
        grouping: Option<&Grouping>,
        counters: &Arc<Counters>,
    ) -> Result<SearchResult> {
        let rows: Vec<RowId> = hits.iter().flatten().map(|hit| hit.row).collect();
        let groups = match grouping {
            Some(grouping) => self.group_columns(snapshot, grouping, &rows, counters).await?,
            None => Vec::new(),
        };
        let columns = self.take(snapshot, output, rows, counters).await?;
        Ok(SearchResult { hits, columns, groups, cost: counters.cost(snapshot) })
    }
}

fn field_of(snapshot: &Snapshot, id: FieldId) -> Result<&FieldSchema> {
    let field = snapshot.schema().field_by_id(id);
    field.ok_or_else(|| Error::internal(format!("no field with id {id}")))
}

fn check_query_counts(searches: &[VectorSearch]) -> Result<()> {
    let Some(first) = searches.first() else {
        return Err(Error::invalid_argument("a hybrid search needs at least one search request"));
    };
    let expected = first.queries.len();
    match searches.iter().find(|search| search.queries.len() != expected) {
        None => Ok(()),
        Some(other) => Err(Error::invalid_argument(
            "sub search request nq should be the same: invalid parameter",
        )
        .with("expected", expected)
        .with("actual", other.queries.len())),
    }
}

/// The hits of the units that lie in the window.
fn window(queries: Units, offset: usize, limit: usize) -> Vec<Vec<SearchHit>> {
    queries
        .into_iter()
        .map(|units| units.into_iter().skip(offset).take(limit).flatten().collect())
        .collect()
}
