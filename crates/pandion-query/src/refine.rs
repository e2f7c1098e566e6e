//! New scores for found rows: boosts, and rankers over one or several result lists.
//!
//! The arithmetic is in `rank`; here are the values that it needs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType as ArrowType, Float64Type, Int64Type};
use pandion_filter::{FieldRef, Filter, Operand, Predicate, Value};
use pandion_types::{DataType, Error, FieldId, MetricType, Result, RowId};

use crate::counters::Counters;
use crate::engine::QueryEngine;
use crate::group::Grouping;
use crate::rank::{Boost, Boosts, Combine, RankedList, Ranker, boosted, fuse, regroup, sort};
use crate::request::{QueryOptions, QueryRequest, SearchHit};
use crate::search::Units;
use crate::snapshot::Snapshot;

/// Rows that one evaluation of a boost's filter looks at, at most.
const BOOST_ROWS_MAX: usize = 100_000;

impl QueryEngine {
    /// Gives single hits the scores that they gain, and puts them into the order of these.
    pub(crate) async fn boost(
        &self,
        snapshot: &Arc<Snapshot>,
        boosts: &Boosts,
        metric: MetricType,
        queries: &mut Units,
        options: QueryOptions,
        counters: &Arc<Counters>,
    ) -> Result<()> {
        let rows = distinct_rows(queries.iter().flatten().flatten());
        let mut gains: HashMap<RowId, f32> = HashMap::new();
        for boost in &boosts.functions {
            for (row, gain) in self.gains(snapshot, boost, &rows, options, counters).await? {
                gains
                    .entry(row)
                    .and_modify(|sum| *sum = boosts.function_mode.apply(*sum, gain))
                    .or_insert(gain);
            }
        }
        for units in queries {
            let mut hits: Vec<SearchHit> = units.drain(..).flatten().collect();
            for hit in &mut hits {
                if let Some(&gain) = gains.get(&hit.row) {
                    hit.score = boosted(metric, hit.score, gain, boosts.boost_mode);
                }
            }
            sort(&mut hits, metric.larger_is_nearer());
            units.extend(hits.into_iter().map(|hit| vec![hit]));
        }
        Ok(())
    }

    /// What the rows that meet the condition gain.
    async fn gains(
        &self,
        snapshot: &Arc<Snapshot>,
        boost: &Boost,
        rows: &[RowId],
        options: QueryOptions,
        counters: &Arc<Counters>,
    ) -> Result<Vec<(RowId, f32)>> {
        let matching = match &boost.filter {
            Some(filter) => self.matching(snapshot, filter, rows, options).await?,
            None => rows.to_vec(),
        };
        let Some(random) = boost.random else {
            return Ok(matching.into_iter().map(|row| (row, boost.weight)).collect());
        };
        let seeds = match random.field {
            Some(field) => self.integers(snapshot, field, &matching, counters).await?,
            None => matching.iter().map(|row| row.get()).collect(),
        };
        let gains = seeds.into_iter().map(|seed| random.of(seed) * boost.weight);
        Ok(matching.iter().copied().zip(gains).collect())
    }

    /// The rows among `rows` that a filter keeps.
    async fn matching(
        &self,
        snapshot: &Arc<Snapshot>,
        filter: &Filter,
        rows: &[RowId],
        options: QueryOptions,
    ) -> Result<Vec<RowId>> {
        let key = snapshot.schema().fields.iter().find(|field| field.is_primary_key);
        let key = key.ok_or_else(|| Error::internal("the collection has no primary key"))?;
        let key = Arc::new(FieldRef::from(key));
        let mut matching = Vec::new();
        for rows in rows.chunks(BOOST_ROWS_MAX) {
            let values = rows.iter().map(|row| Value::Int(row.get())).collect();
            let among = Predicate::In { operand: Operand::Field(Arc::clone(&key)), values };
            let predicate = Predicate::and(vec![among, filter.predicate.clone()]);
            let request = QueryRequest {
                filter: Some(Filter { predicate }),
                options,
                ..QueryRequest::default()
            };
            matching.extend(self.query(snapshot, request).await?.rows);
        }
        Ok(matching)
    }

    /// Makes one list of several, query by query.
    pub(crate) async fn rank(
        &self,
        snapshot: &Arc<Snapshot>,
        ranker: &Ranker,
        lists: &[(MetricType, Units)],
        grouping: Option<(&Grouping, Combine)>,
        counters: &Arc<Counters>,
    ) -> Result<Units> {
        let queries = lists.first().map_or(0, |(_, units)| units.len());
        let all = lists.iter().flat_map(|(_, units)| units.iter().flatten().flatten());
        let rows = distinct_rows(all);
        let values = match ranker {
            Ranker::Decay(decay) => self.numbers(snapshot, decay.field, &rows, counters).await?,
            Ranker::ReciprocalRank { .. } | Ranker::Weighted { .. } => HashMap::new(),
        };
        let keys = match grouping {
            Some((grouping, _)) => self.group_keys(snapshot, grouping, &rows, counters).await?,
            None => Vec::new(),
        };
        let keys: HashMap<RowId, _> = rows.iter().copied().zip(keys).collect();
        let ranked = (0..queries).map(|query| {
            let hits: Vec<(MetricType, Vec<SearchHit>)> = lists
                .iter()
                .map(|(metric, units)| (*metric, units[query].iter().flatten().copied().collect()))
                .map(|(metric, mut hits): (MetricType, Vec<SearchHit>)| {
                    // Groups stand together; ranks are those of the hits.
                    sort(&mut hits, metric.larger_is_nearer());
                    (metric, hits)
                })
                .collect();
            let lists: Vec<RankedList<'_>> =
                hits.iter().map(|(metric, hits)| RankedList { metric: *metric, hits }).collect();
            let fused = fuse(&lists, ranker, &|row| values.get(&row).copied());
            match grouping {
                Some((grouping, scorer)) => {
                    regroup(&fused, |row| keys.get(&row), grouping.size, scorer)
                }
                None => fused.hits.into_iter().map(|hit| vec![hit]).collect(),
            }
        });
        Ok(ranked.collect())
    }

    /// The values of a numeric field, of those rows that have one.
    async fn numbers(
        &self,
        snapshot: &Arc<Snapshot>,
        field: FieldId,
        rows: &[RowId],
        counters: &Arc<Counters>,
    ) -> Result<HashMap<RowId, f64>> {
        let columns = self.take_repeating(snapshot, &[field], rows, counters).await?;
        let column = columns.first().ok_or_else(|| Error::internal("a taken column was lost"))?;
        let failed = |error| {
            Error::invalid_argument(format!("field {} is not numeric", column.field.name))
                .caused_by(error)
        };
        let values = arrow::compute::cast(&column.values, &ArrowType::Float64).map_err(failed)?;
        let values = values.as_primitive::<Float64Type>();
        Ok(rows.iter().zip(values).filter_map(|(row, value)| Some((*row, value?))).collect())
    }

    /// The values of an Int64 field; 0 for rows without one.
    async fn integers(
        &self,
        snapshot: &Arc<Snapshot>,
        field: FieldId,
        rows: &[RowId],
        counters: &Arc<Counters>,
    ) -> Result<Vec<i64>> {
        let columns = self.take_repeating(snapshot, &[field], rows, counters).await?;
        let column = columns.first().ok_or_else(|| Error::internal("a taken column was lost"))?;
        let values = column.values.as_primitive_opt::<Int64Type>().ok_or_else(|| {
            Error::invalid_argument(format!(
                "the seed field {} of a random score must be {}, it is {}",
                column.field.name,
                DataType::Int64,
                column.field.data_type
            ))
        })?;
        Ok(values.iter().map(Option::unwrap_or_default).collect())
    }
}

fn distinct_rows<'a>(hits: impl Iterator<Item = &'a SearchHit>) -> Vec<RowId> {
    let mut rows: Vec<RowId> =
        hits.map(|hit| hit.row).collect::<HashSet<_>>().into_iter().collect();
    rows.sort_unstable();
    rows
}
