//! The nearest rows: of each partition, and of all of them.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::Result as DataFusionResult;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, PlanProperties,
    SendableRecordBatchStream,
};
use futures::{TryStreamExt as _, stream};
use pandion_index::{QueryBatch, ScoreRange, TopK};
use pandion_types::{FieldSchema, MetricType, Result, RowId};

use super::batches::{HITS, hits_batch, hits_of, matches_in};
use super::{one_child, outbound, properties};
use crate::counters::Counters;
use crate::engine::QueryEngine;
use crate::request::SearchHit;
use crate::snapshot::Snapshot;

/// What is looked for among the vectors.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The vector field that is searched.
    pub(crate) field: FieldSchema,
    pub(crate) queries: Arc<QueryBatch>,
    pub(crate) metric: MetricType,
    /// Rows per query vector.
    pub(crate) k: usize,
    /// Only scores inside count.
    pub(crate) range: Option<ScoreRange>,
    /// For each query the hit that its rows have to come after in the order of the answer, or
    /// `None`. Missing entries count as `None`.
    pub(crate) after: Vec<Option<SearchHit>>,
}

/// The `k` nearest of the matching rows of each partition, to each query vector.
pub struct VectorTopKExec {
    input: Arc<dyn ExecutionPlan>,
    engine: QueryEngine,
    snapshot: Arc<Snapshot>,
    target: Arc<Target>,
    counters: Arc<Counters>,
    properties: Arc<PlanProperties>,
}

impl VectorTopKExec {
    pub(crate) fn new(
        input: Arc<dyn ExecutionPlan>,
        engine: QueryEngine,
        snapshot: Arc<Snapshot>,
        target: Arc<Target>,
        counters: Arc<Counters>,
    ) -> Self {
        let partitions = input.output_partitioning().partition_count();
        let properties = properties(Arc::clone(&HITS), partitions, EmissionType::Final);
        Self { input, engine, snapshot, target, counters, properties }
    }

    pub(super) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }
}

impl ExecutionPlan for VectorTopKExec {
    fn name(&self) -> &'static str {
        "VectorTopKExec"
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
        Ok(Arc::new(Self::new(
            one_child(children)?,
            self.engine.clone(),
            Arc::clone(&self.snapshot),
            Arc::clone(&self.target),
            Arc::clone(&self.counters),
        )))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let matches = matches_in(input);
        let (engine, snapshot) = (self.engine.clone(), Arc::clone(&self.snapshot));
        let (target, counters) = (Arc::clone(&self.target), Arc::clone(&self.counters));
        let hits = stream::once(async move {
            let hits = engine.compare_all(&snapshot, &target, &counters, matches).await;
            hits.and_then(|hits| hits_batch(&hits)).map_err(outbound)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&HITS), hits)))
    }
}

impl DisplayAs for VectorTopKExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target { field, queries, metric, k, .. } = self.target.as_ref();
        write!(
            f,
            "VectorTopKExec: field={}, metric={}, k={k}, queries={}",
            field.name,
            metric.name(),
            queries.len()
        )
    }
}

impl fmt::Debug for VectorTopKExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

/// The `k` nearest of all partitions of its input, nearest first; equal scores by ascending row id.
pub struct TopKMergeExec {
    input: Arc<dyn ExecutionPlan>,
    metric: MetricType,
    k: usize,
    queries: usize,
    properties: Arc<PlanProperties>,
}

impl TopKMergeExec {
    pub(crate) fn new(
        input: Arc<dyn ExecutionPlan>,
        metric: MetricType,
        k: usize,
        queries: usize,
    ) -> Self {
        let properties = properties(Arc::clone(&HITS), 1, EmissionType::Final);
        Self { input, metric, k, queries, properties }
    }

    /// Metric, rows per query vector, query vectors.
    pub(super) fn parts(&self) -> (MetricType, usize, usize) {
        (self.metric, self.k, self.queries)
    }
}

impl ExecutionPlan for TopKMergeExec {
    fn name(&self) -> &'static str {
        "TopKMergeExec"
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
        Ok(Arc::new(Self::new(one_child(children)?, self.metric, self.k, self.queries)))
    }

    fn execute(
        &self,
        _: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let partitions = 0..self.input.output_partitioning().partition_count();
        let inputs = partitions
            .map(|partition| self.input.execute(partition, Arc::clone(&context)))
            .collect::<DataFusionResult<Vec<_>>>()?;
        let (metric, k, queries) = (self.metric, self.k, self.queries);
        let merged = stream::once(async move {
            let batches: Vec<RecordBatch> = stream::select_all(inputs).try_collect().await?;
            merge(&batches, metric, k, queries).and_then(|hits| hits_batch(&hits)).map_err(outbound)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&HITS), merged)))
    }
}

fn merge(
    batches: &[RecordBatch],
    metric: MetricType,
    k: usize,
    queries: usize,
) -> Result<Vec<Vec<SearchHit>>> {
    let mut hits = vec![Vec::new(); queries];
    batches.iter().try_for_each(|batch| hits_of(batch, &mut hits))?;
    if batches.len() < 2 {
        return Ok(hits);
    }
    let merged = hits.into_iter().map(|hits| {
        let mut best = TopK::new(metric, k, None);
        hits.iter().for_each(|hit| best.push(hit.row.get(), hit.score));
        let sorted = best.into_sorted().into_iter();
        let sorted = sorted.filter_map(|hit| {
            RowId::from_i64(hit.key).map(|row| SearchHit { row, score: hit.score })
        });
        sorted.collect()
    });
    Ok(merged.collect())
}

impl DisplayAs for TopKMergeExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopKMergeExec: k={}", self.k)
    }
}

impl fmt::Debug for TopKMergeExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}
