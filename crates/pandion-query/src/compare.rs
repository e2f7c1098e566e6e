//! Compares query vectors with the matching rows, and reads the vectors for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{Stream, TryStreamExt as _};
use pandion_index::{
    Bitmap, Hit, PreparedQueries, SearchPart, SearchRequest as IndexRequest, TopK, VectorBlock,
    search_parallel,
};
use pandion_types::{Error, FieldSchema, Result, RowId};
use tokio_util::task::AbortOnDropHandle;

use crate::counters::Counters;
use crate::engine::QueryEngine;
use crate::plan::Target;
use crate::request::SearchHit;
use crate::scan::Matches;
use crate::snapshot::Snapshot;
use crate::vectors::VectorKey;

/// Vectors that are searched in one go while others are still being read: large enough to keep
/// every thread busy, small enough that a collection larger than memory passes through.
const WAVE_BYTES: usize = 256 << 20;

impl QueryEngine {
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
                let (_, file) = snapshot.open(file, &stats_of_load).await?;
                file.read_vectors(&field, row_group, &stats_of_load).await
            });
            AbortOnDropHandle::new(task).await.map_err(|error| {
                Error::internal("a task that read vectors ended abnormally").caused_by(error)
            })?
        };
        self.vectors().get_or_load(&key, stats, load).await
    }

    /// The nearest of the matching rows to each query vector, nearest first.
    pub(crate) async fn compare_all(
        &self,
        snapshot: &Arc<Snapshot>,
        target: &Target,
        counters: &Arc<Counters>,
        matches: impl Stream<Item = Result<Matches>> + Send,
    ) -> Result<Vec<Vec<SearchHit>>> {
        let queries = Arc::new(target.queries.prepare(target.metric)?);
        let mut parts = std::pin::pin!(
            matches
                .map_ok(|found| self.part(snapshot, &target.field, found, counters))
                .try_buffer_unordered(self.in_flight())
        );
        let mut best = vec![TopK::new(target.metric, target.k, target.range); target.queries.len()];
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
                let found = self.compare(wave, &queries, target, counters).await?;
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
        let _timer = counters.stages.vectors.start();
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
        target: &Target,
        counters: &Counters,
    ) -> Result<Vec<Vec<Hit>>> {
        let _timer = counters.stages.compare.start();
        let (answer, receive) = tokio::sync::oneshot::channel();
        let (k, range, queries) = (target.k, target.range, Arc::clone(queries));
        let hit = |hit: &SearchHit| Hit { key: hit.row.get(), score: hit.score };
        let after: Vec<Option<Hit>> =
            target.after.iter().map(|after| after.as_ref().map(hit)).collect();
        let abandoned = Abandoned(Arc::new(AtomicBool::new(false)));
        let cancelled = Arc::clone(&abandoned.0);
        self.pool().spawn(move || {
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
        counters.distances.add(outcome.counters.distances);
        Ok(outcome.hits)
    }
}

/// The vectors of one row group that are searched.
struct Part {
    block: Arc<VectorBlock>,
    /// Row id of the block's first row.
    base: i64,
    /// The rows that match; `None` for all.
    allowed: Option<Arc<Bitmap>>,
}

impl Part {
    fn borrow(&self) -> SearchPart<'_> {
        SearchPart { block: &self.block, base: self.base, allowed: self.allowed.as_deref() }
    }
}

/// Tells the search threads, when dropped, that nobody waits for them.
struct Abandoned(Arc<AtomicBool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn vector_key(
    snapshot: &Snapshot,
    file: usize,
    row_group: usize,
    field: &FieldSchema,
) -> Result<VectorKey> {
    let entry = snapshot.entry(file)?;
    let vector_type = field
        .vector_type()
        .ok_or_else(|| Error::internal(format!("field {} has no dimension", field.name)))?;
    Ok(VectorKey {
        identity: entry.identity.clone(),
        column: snapshot.manifest().column_key(field),
        vector_type,
        row_group,
    })
}

fn search_hit(hit: Hit) -> Result<SearchHit> {
    let row = RowId::from_i64(hit.key)
        .ok_or_else(|| Error::internal(format!("{} is no row id", hit.key)))?;
    Ok(SearchHit { row, score: hit.score })
}
