//! The threads and caches behind every request, and the search for the nearest rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::TryStreamExt;
use pandion_filter::Filter;
use pandion_index::{
    Bitmap, Hit, PreparedQueries, QueryBatch, ScoreRange, SearchPart,
    SearchRequest as IndexRequest, TopK, VectorBlock, search_parallel,
};
use pandion_types::{Error, FieldSchema, MetricType, Result, RowId};
use tokio_util::task::AbortOnDropHandle;

use crate::filter::CompiledFilter;
use crate::request::SearchHit;
use crate::scan::{Counters, Matches, matches};
use crate::snapshot::Snapshot;
use crate::vectors::{VectorCache, VectorKey};

/// Vectors that are searched in one go while others are still being read: large enough to keep
/// every thread busy, small enough that a collection larger than memory passes through.
const WAVE_BYTES: usize = 256 << 20;

/// How much of the machine the engine may use.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Threads that compare vectors.
    pub threads: usize,
    /// Bytes of decoded vectors that are kept.
    pub vector_cache_bytes: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { threads, vector_cache_bytes: 4 << 30 }
    }
}

/// Answers requests over snapshots. Cheap to share; holds the caches and the threads.
#[derive(Debug)]
pub struct QueryEngine {
    vectors: VectorCache,
    pool: Arc<rayon::ThreadPool>,
    in_flight: usize,
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
        Ok(Self {
            vectors: VectorCache::new(options.vector_cache_bytes),
            pool: Arc::new(pool),
            in_flight: options.threads.max(1) * 2,
        })
    }

    /// Row groups that one query works on at a time.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The cache of decoded vectors.
    #[must_use]
    pub fn vectors(&self) -> &VectorCache {
        &self.vectors
    }

    /// Reads the vectors of one column of one row group, through the cache.
    ///
    /// # Errors
    /// Those of the file and the store; `Corrupt` that names row and column when a vector has a wrong
    /// length or a null component.
    pub async fn load_vectors(
        &self,
        snapshot: &Arc<Snapshot>,
        file: usize,
        row_group: usize,
        field: &FieldSchema,
        stats: &Arc<pandion_source::IoStats>,
    ) -> Result<Arc<VectorBlock>> {
        let key = vector_key(snapshot, file, row_group, field)?;
        let (snapshot, field, stats_of_load) =
            (Arc::clone(snapshot), field.clone(), Arc::clone(stats));
        // A task of its own, so that decoding several row groups uses several threads.
        let load = move || async move {
            let task = tokio::spawn(async move {
                let (_, file) = snapshot.file(file)?;
                file.read_vectors(&field, row_group, &stats_of_load).await
            });
            AbortOnDropHandle::new(task).await.map_err(|error| {
                Error::internal("a task that read vectors ended abnormally").caused_by(error)
            })?
        };
        self.vectors.get_or_load(&key, stats, load).await
    }

    /// The `k` nearest rows to each query vector, nearest first; equal scores by ascending row id.
    /// Every live matching row is compared exactly.
    ///
    /// Dropping the future stops the work.
    pub(crate) async fn nearest(
        &self,
        snapshot: &Arc<Snapshot>,
        asked: &Nearest<'_>,
        counters: &Arc<Counters>,
    ) -> Result<Vec<Vec<SearchHit>>> {
        let filter = compile(asked.filter, snapshot)?;
        let queries = Arc::new(asked.queries.prepare(asked.metric)?);
        let mut parts = std::pin::pin!(
            matches(snapshot, filter.as_ref(), counters, self.in_flight)
                .map_ok(|found| self.part(snapshot, asked.field, found, counters))
                .try_buffer_unordered(self.in_flight)
        );
        let mut best = vec![TopK::new(asked.metric, asked.k, asked.range); asked.queries.len()];
        let mut wave = Vec::new();
        let mut wave_bytes = 0;
        loop {
            let part = parts.try_next().await?;
            let ended = part.is_none();
            if let Some(part) = part {
                wave_bytes += part.block.memory_bytes();
                wave.push(part);
            }
            if !wave.is_empty() && (ended || wave_bytes >= WAVE_BYTES) {
                let wave = std::mem::take(&mut wave);
                let found = self.compare(wave, &queries, asked, counters).await?;
                for (best, found) in best.iter_mut().zip(found) {
                    found.iter().for_each(|hit| best.push(hit.key, hit.score));
                }
                wave_bytes = 0;
            }
            if ended {
                break;
            }
        }
        best.into_iter()
            .map(|hits| hits.into_sorted().into_iter().map(search_hit).collect())
            .collect()
    }

    async fn part(
        &self,
        snapshot: &Arc<Snapshot>,
        field: &FieldSchema,
        found: Matches,
        counters: &Arc<Counters>,
    ) -> Result<Part> {
        let Matches { unit, rows } = found;
        let block =
            self.load_vectors(snapshot, unit.file, unit.row_group, field, &counters.io).await?;
        let (entry, _) = snapshot.file(unit.file)?;
        if block.rows() != unit.rows {
            return Err(Error::corrupt(format!(
                "column {} has {} rows where the footer says {}",
                field.name,
                block.rows(),
                unit.rows
            ))
            .with("file", &entry.identity.uri));
        }
        Ok(Part { block, base: RowId::new(entry.id, unit.first_row).get(), allowed: rows })
    }

    /// Compares the vectors of `parts` on the search threads. Dropping the future stops them soon.
    async fn compare(
        &self,
        parts: Vec<Part>,
        queries: &Arc<PreparedQueries>,
        asked: &Nearest<'_>,
        counters: &Counters,
    ) -> Result<Vec<Vec<Hit>>> {
        let (answer, receive) = tokio::sync::oneshot::channel();
        let (k, range, queries) = (asked.k, asked.range, Arc::clone(queries));
        let hit = |hit: &SearchHit| Hit { key: hit.row.get(), score: hit.score };
        let after: Vec<Option<Hit>> =
            asked.after.iter().map(|after| after.as_ref().map(hit)).collect();
        let abandoned = Abandoned(Arc::new(AtomicBool::new(false)));
        let cancelled = Arc::clone(&abandoned.0);
        self.pool.spawn(move || {
            let parts: Vec<SearchPart<'_>> = parts.iter().map(Part::borrow).collect();
            let cancelled = Some(cancelled.as_ref());
            let request = IndexRequest { queries: &queries, k, range, after: &after, cancelled };
            // Nobody waits any more when the query was dropped; the answer may go then.
            drop(answer.send(search_parallel(&parts, &request)));
        });
        let outcome = receive.await.map_err(|error| {
            Error::internal("a search thread ended abnormally").caused_by(error)
        })??;
        drop(abandoned);
        counters.distances.fetch_add(outcome.counters.distances, Ordering::Relaxed);
        Ok(outcome.hits)
    }
}

/// The vectors of one row group that are searched.
struct Part {
    block: Arc<VectorBlock>,
    /// Row id of the block's first row.
    base: i64,
    /// The rows that match; `None` for all.
    allowed: Option<Bitmap>,
}

impl Part {
    fn borrow(&self) -> SearchPart<'_> {
        SearchPart { block: &self.block, base: self.base, allowed: self.allowed.as_ref() }
    }
}

/// Tells the search threads, when dropped, that nobody waits for them.
struct Abandoned(Arc<AtomicBool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn compile(
    filter: Option<&Filter>,
    snapshot: &Snapshot,
) -> Result<Option<Arc<CompiledFilter>>> {
    filter
        .filter(|filter| !filter.is_match_all())
        .map(|filter| CompiledFilter::new(filter, snapshot.schema()).map(Arc::new))
        .transpose()
}

fn vector_key(
    snapshot: &Snapshot,
    file: usize,
    row_group: usize,
    field: &FieldSchema,
) -> Result<VectorKey> {
    let (entry, _) = snapshot.file(file)?;
    let vector_type = field
        .vector_type()
        .ok_or_else(|| Error::internal(format!("field {} has no dimension", field.name)))?;
    Ok(VectorKey {
        identity: entry.identity.clone(),
        column: field.external_field.clone().unwrap_or_default(),
        vector_type,
        row_group,
    })
}

fn search_hit(hit: Hit) -> Result<SearchHit> {
    let row = RowId::from_i64(hit.key)
        .ok_or_else(|| Error::internal(format!("{} is no row id", hit.key)))?;
    Ok(SearchHit { row, score: hit.score })
}
