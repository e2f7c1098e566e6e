//! The threads and caches behind every request, and the search for the nearest rows.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties as _, SendableRecordBatchStream,
};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use pandion_filter::Filter;
use pandion_index::{QueryBatch, ScoreRange};
use pandion_types::{Error, FieldId, FieldSchema, MetricType, Result, RowId};

use crate::bloom::{Bloom, BloomKey};
use crate::cache::ByteCache;
use crate::columns_cache::ColumnCache;
use crate::counters::Counters;
use crate::filter::FilterPlan;
use crate::limits::QueryLimits;
use crate::plan::{
    FilterBitmapExec, PlanTransport, RowIdsExec, RowTakeExec, Target, TopKMergeExec,
    VectorTopKExec, hits_of, inbound, matches_in,
};
use crate::request::{OutputColumn, QueryOptions, SearchHit};
use crate::scan::{FileMatches, Matches, MatchesKey, Scan};
use crate::segments::ScalarSegments;
use crate::snapshot::Snapshot;
use crate::vectors::VectorCache;

/// Bytes of Bloom filters that are kept.
const BLOOM_CACHE_BYTES: usize = 64 << 20;

/// How much of the machine the engine may use.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Threads that compare vectors, and threads that read and evaluate filters.
    pub threads: usize,
    /// Bytes of decoded vectors that are kept.
    pub vector_cache_bytes: usize,
    /// Bytes of decoded columns of filters that are kept.
    pub column_cache_bytes: usize,
    /// Bytes of matching rows of filters that are kept.
    pub matches_cache_bytes: usize,
    /// Parts that the files of a snapshot are divided into. One is best in one process, where the
    /// parts share the threads anyway.
    pub partitions: usize,
    /// Where scalar indexes are; `None` to do without.
    pub scalar_segments: Option<Arc<ScalarSegments>>,
    /// What becomes of plans before they are executed; `None` for nothing.
    pub transport: Option<Arc<dyn PlanTransport>>,
    /// What one request may ask for.
    pub limits: QueryLimits,
}

impl Default for EngineOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            threads,
            vector_cache_bytes: 4 << 30,
            column_cache_bytes: 1 << 30,
            matches_cache_bytes: 256 << 20,
            partitions: 1,
            scalar_segments: None,
            transport: None,
            limits: QueryLimits::default(),
        }
    }
}

/// Answers requests over snapshots. Cheap to clone; holds the caches and the threads.
#[derive(Clone)]
pub struct QueryEngine {
    shared: Arc<Shared>,
}

struct Shared {
    vectors: VectorCache,
    columns: ColumnCache,
    matches: ByteCache<MatchesKey, FileMatches>,
    blooms: ByteCache<BloomKey, Bloom>,
    pool: rayon::ThreadPool,
    in_flight: usize,
    segments: Option<Arc<ScalarSegments>>,
    partitions: usize,
    transport: Option<Arc<dyn PlanTransport>>,
    limits: QueryLimits,
    context: Arc<TaskContext>,
}

impl fmt::Debug for QueryEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryEngine")
            .field("partitions", &self.shared.partitions)
            .finish_non_exhaustive()
    }
}

/// What [`QueryEngine::nearest`] looks for.
#[derive(Clone, Copy)]
pub(crate) struct Nearest<'a> {
    /// The vector field that is searched.
    pub(crate) field: &'a FieldSchema,
    pub(crate) queries: &'a QueryBatch,
    pub(crate) metric: MetricType,
    /// Rows per query vector.
    pub(crate) k: usize,
    /// Only scores inside count.
    pub(crate) range: Option<ScoreRange>,
    /// Only rows that match count.
    pub(crate) filter: Option<&'a Filter>,
    /// For each query the hit that its rows have to come after in the order of the answer, or
    /// `None`. Missing entries count as `None`.
    pub(crate) after: &'a [Option<SearchHit>],
    pub(crate) options: QueryOptions,
}

impl QueryEngine {
    /// An engine with its own threads.
    ///
    /// # Errors
    /// `Unavailable` when the threads cannot be started.
    pub fn new(options: &EngineOptions) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads)
            .thread_name(|at| format!("pandion-search-{at}"))
            // The waiting query sees that its answer channel closed; the process goes on.
            .panic_handler(|_| tracing::error!("a search thread panicked"))
            .build()
            .map_err(|error| {
                Error::unavailable("the search threads could not be started").caused_by(error)
            })?;
        let shared = Shared {
            vectors: VectorCache::new(options.vector_cache_bytes),
            columns: ColumnCache::new(options.column_cache_bytes),
            matches: ByteCache::new(options.matches_cache_bytes),
            blooms: ByteCache::new(BLOOM_CACHE_BYTES),
            pool,
            in_flight: options.threads.max(1) * 2,
            segments: options.scalar_segments.clone(),
            partitions: options.partitions.max(1),
            transport: options.transport.clone(),
            limits: options.limits,
            context: Arc::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(crate) fn pool(&self) -> &rayon::ThreadPool {
        &self.shared.pool
    }

    /// Where scalar indexes are; `None` when the engine has none.
    #[must_use]
    pub fn scalar_segments(&self) -> Option<&Arc<ScalarSegments>> {
        self.shared.segments.as_ref()
    }

    /// Row groups that one query works on at a time.
    pub(crate) fn in_flight(&self) -> usize {
        self.shared.in_flight
    }

    /// What one request may ask for.
    pub(crate) fn limits(&self) -> QueryLimits {
        self.shared.limits
    }

    /// The cache of decoded vectors.
    #[must_use]
    pub fn vectors(&self) -> &VectorCache {
        &self.shared.vectors
    }

    pub(crate) fn columns_cache(&self) -> &ColumnCache {
        &self.shared.columns
    }

    pub(crate) fn matches_cache(&self) -> &ByteCache<MatchesKey, FileMatches> {
        &self.shared.matches
    }

    pub(crate) fn blooms_cache(&self) -> &ByteCache<BloomKey, Bloom> {
        &self.shared.blooms
    }

    /// The leaf of a plan over all files of a snapshot.
    ///
    /// # Errors
    /// Those of compiling the filter.
    pub(crate) fn filter_plan(
        &self,
        snapshot: &Arc<Snapshot>,
        filter: Option<&Filter>,
        options: QueryOptions,
        counters: &Arc<Counters>,
    ) -> Result<Arc<FilterBitmapExec>> {
        let filter = match filter.filter(|filter| !filter.is_match_all()) {
            Some(filter) => {
                let plan = FilterPlan::new(
                    filter.clone(),
                    snapshot.schema(),
                    snapshot.manifest(),
                    seed(),
                )?;
                Some(Arc::new(plan))
            }
            None => None,
        };
        let files = snapshot.manifest().files.len();
        let per_partition = files.div_ceil(self.shared.partitions).max(1);
        let starts = (0..files.max(1)).step_by(per_partition);
        let partitions = starts.map(|start| (start..files.min(start + per_partition)).collect());
        let scan =
            Scan::new(self.clone(), Arc::clone(snapshot), filter, options, Arc::clone(counters));
        Ok(Arc::new(FilterBitmapExec::new(Arc::new(scan), partitions.collect())))
    }

    /// The plan after its transport.
    ///
    /// # Errors
    /// Those of the transport.
    pub(crate) fn transported(
        &self,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match &self.shared.transport {
            Some(transport) => transport.transport(plan, self),
            None => Ok(plan),
        }
    }

    /// Executes a plan of one partition after its transport.
    ///
    /// # Errors
    /// Those of the nodes, and of the transport.
    pub(crate) fn execute(
        &self,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<SendableRecordBatchStream> {
        let plan = self.transported(plan)?;
        plan.execute(0, Arc::clone(&self.shared.context)).map_err(inbound)
    }

    /// The one batch that a plan gives.
    pub(crate) async fn execute_one(&self, plan: Arc<dyn ExecutionPlan>) -> Result<RecordBatch> {
        let schema = plan.schema();
        let batches: Vec<RecordBatch> = self.execute(plan)?.try_collect().await.map_err(inbound)?;
        match <[RecordBatch; 1]>::try_from(batches) {
            Ok([batch]) => Ok(batch),
            Err(batches) => arrow::compute::concat_batches(&schema, &batches)
                .map_err(|error| Error::internal("joining batches failed").caused_by(error)),
        }
    }

    /// The matching rows, row group by row group, in ascending order.
    ///
    /// # Errors
    /// Those of compiling the filter; the stream gives those of the files and the store.
    pub(crate) fn matches(
        &self,
        snapshot: &Arc<Snapshot>,
        filter: Option<&Filter>,
        options: QueryOptions,
        counters: &Arc<Counters>,
    ) -> Result<impl Stream<Item = Result<Matches>> + Send + 'static> {
        let plan = self.transported(self.filter_plan(snapshot, filter, options, counters)?)?;
        let context = Arc::clone(&self.shared.context);
        // Partitions are in ascending order, so they are read one after the other.
        let batches = stream::iter(0..plan.output_partitioning().partition_count())
            .map(move |partition| plan.execute(partition, Arc::clone(&context)))
            .try_flatten();
        Ok(matches_in(batches))
    }

    /// The plan that finds the `k` nearest rows to each query vector, nearest first; equal scores
    /// by ascending row id. Every live matching row is compared exactly.
    ///
    /// # Errors
    /// Those of compiling the filter.
    pub(crate) fn nearest_plan(
        &self,
        snapshot: &Arc<Snapshot>,
        asked: &Nearest<'_>,
        counters: &Arc<Counters>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let filter = self.filter_plan(snapshot, asked.filter, asked.options, counters)?;
        let target = Target {
            field: asked.field.clone(),
            queries: Arc::new(asked.queries.clone()),
            metric: asked.metric,
            k: asked.k,
            range: asked.range,
            after: asked.after.to_vec(),
        };
        let nearest = VectorTopKExec::new(
            filter,
            self.clone(),
            Arc::clone(snapshot),
            Arc::new(target),
            Arc::clone(counters),
        );
        let queries = asked.queries.len();
        Ok(Arc::new(TopKMergeExec::new(Arc::new(nearest), asked.metric, asked.k, queries)))
    }

    /// The rows that [`Self::nearest_plan`] finds.
    ///
    /// Dropping the future stops the work.
    ///
    /// # Errors
    /// Those of the request, the files and the store.
    pub(crate) async fn nearest(
        &self,
        snapshot: &Arc<Snapshot>,
        asked: &Nearest<'_>,
        counters: &Arc<Counters>,
    ) -> Result<Vec<Vec<SearchHit>>> {
        let plan = self.nearest_plan(snapshot, asked, counters)?;
        let batch = self.execute_one(plan).await?;
        let mut hits = vec![Vec::new(); asked.queries.len()];
        hits_of(&batch, &mut hits)?;
        Ok(hits)
    }

    /// The values of `fields` for `rows`, in the order of `rows`, which may repeat.
    ///
    /// # Errors
    /// Those of the files and the store.
    pub(crate) async fn take(
        &self,
        snapshot: &Arc<Snapshot>,
        fields: &[FieldId],
        rows: Vec<RowId>,
        counters: &Arc<Counters>,
    ) -> Result<Vec<OutputColumn>> {
        let bytes_max = self.limits().answer_bytes_max;
        self.take_within(snapshot, fields, rows, bytes_max, counters).await
    }

    /// As [`Self::take`], for values that have at most `bytes_max` bytes and need not fit into an
    /// answer.
    ///
    /// # Errors
    /// Those of [`Self::take`].
    pub(crate) async fn take_within(
        &self,
        snapshot: &Arc<Snapshot>,
        fields: &[FieldId],
        rows: Vec<RowId>,
        bytes_max: usize,
        counters: &Arc<Counters>,
    ) -> Result<Vec<OutputColumn>> {
        let fields = resolve(snapshot, fields)?;
        let rows = Arc::new(RowIdsExec::new(rows));
        let plan =
            RowTakeExec::new(rows, Arc::clone(snapshot), fields.clone(), Arc::clone(counters))?
                .with_bytes_max(bytes_max);
        let batch = self.execute_one(Arc::new(plan)).await?;
        Ok(output_columns(fields, &batch))
    }
}

/// What a request's `random_sample` draws from; the same for all parts of one request.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The fields with these ids.
pub(crate) fn resolve(snapshot: &Snapshot, fields: &[FieldId]) -> Result<Vec<FieldSchema>> {
    let fields = fields.iter().map(|&id| {
        let field = snapshot.schema().field_by_id(id);
        field.cloned().ok_or_else(|| Error::internal(format!("no field with id {id}")))
    });
    fields.collect()
}

/// The last columns of a batch, one for each field.
pub(crate) fn output_columns(fields: Vec<FieldSchema>, batch: &RecordBatch) -> Vec<OutputColumn> {
    let first = batch.num_columns().saturating_sub(fields.len());
    let columns = batch.columns().iter().skip(first);
    let columns = fields.into_iter().zip(columns);
    columns.map(|(field, values)| OutputColumn { field, values: Arc::clone(values) }).collect()
}
