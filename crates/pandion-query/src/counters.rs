//! What the stages of one request count, and how long they take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use pandion_source::IoStats;

use crate::request::{QueryCost, StageTimes};
use crate::snapshot::Snapshot;

/// Counters that all nodes of one plan share.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) io: Arc<IoStats>,
    pub(crate) distances: Counter,
    pub(crate) files_pruned: Counter,
    pub(crate) row_groups: Counter,
    pub(crate) row_groups_pruned: Counter,
    pub(crate) rows_filtered: Counter,
    pub(crate) rows_matched: Counter,
    pub(crate) rows_deleted: Counter,
    pub(crate) index_lookups: Counter,
    pub(crate) files_from_index: Counter,
    pub(crate) files_from_cache: Counter,
    pub(crate) stages: Stages,
}

impl Counters {
    pub(crate) fn cost(&self, snapshot: &Snapshot) -> QueryCost {
        let manifest = snapshot.manifest();
        QueryCost {
            version: manifest.version.0,
            table_snapshot_id: manifest.table.as_ref().and_then(|table| table.snapshot_id),
            io: self.io.counts(),
            distances: self.distances.get(),
            files: manifest.files.len() as u64,
            files_pruned: self.files_pruned.get(),
            row_groups: self.row_groups.get(),
            row_groups_pruned: self.row_groups_pruned.get(),
            rows_filtered: self.rows_filtered.get(),
            rows_matched: self.rows_matched.get(),
            rows_deleted: self.rows_deleted.get(),
            index_lookups: self.index_lookups.get(),
            files_from_index: self.files_from_index.get(),
            files_from_cache: self.files_from_cache.get(),
            stages: StageTimes {
                prune_us: self.stages.prune.micros(),
                index_us: self.stages.index.micros(),
                filter_us: self.stages.filter.micros(),
                vectors_us: self.stages.vectors.micros(),
                compare_us: self.stages.compare.micros(),
                columns_us: self.stages.columns.micros(),
                take_us: self.stages.take.micros(),
            },
        }
    }
}

/// A number that only rises.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where the time goes. Tasks that run at the same time all count, and so does waiting for reads.
#[derive(Debug, Default)]
pub(crate) struct Stages {
    /// Choosing files, row groups and pages.
    pub(crate) prune: Stage,
    /// Opening and asking scalar indexes.
    pub(crate) index: Stage,
    /// Reading columns and evaluating the filter.
    pub(crate) filter: Stage,
    /// Reading and decoding vectors.
    pub(crate) vectors: Stage,
    /// Comparing vectors.
    pub(crate) compare: Stage,
    /// Reading the columns that rows are aggregated or ordered by.
    pub(crate) columns: Stage,
    /// Fetching the values of result rows.
    pub(crate) take: Stage,
}

/// The time of one stage.
#[derive(Debug, Default)]
pub(crate) struct Stage(Counter);

impl Stage {
    /// Measures until the timer is dropped.
    pub(crate) fn start(&self) -> Timer<'_> {
        Timer { stage: self, started: Instant::now() }
    }

    fn micros(&self) -> u64 {
        self.0.get() / 1000
    }
}

/// A measurement that goes on.
#[derive(Debug)]
pub(crate) struct Timer<'a> {
    stage: &'a Stage,
    started: Instant,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        let nanos = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.stage.0.add(nanos);
    }
}
