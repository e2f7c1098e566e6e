//! Builds segments that are missing.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::{StreamExt, stream};
use pandion_manifest::DataFile;
use pandion_query::{ScalarSegments, SegmentKey, Snapshot, build_segments};
use pandion_source::IoStats;
use pandion_types::{Error, ErrorKind, FileId, Result};
use tokio::sync::Semaphore;

use super::needs::{IndexNeeds, Needs};

/// Files that are read at the same time for one collection.
const FILES_IN_FLIGHT: usize = 8;
/// Memory for indexes in the making, of all collections together, in KiB. A single larger one is
/// built alone.
const MEMORY_KIB: u32 = 1 << 20;
/// About what a builder needs for a row, in bytes.
const BYTES_PER_ROW: u64 = 48;

/// Where missing segments come from, and how much of the machine that may take.
#[derive(Debug)]
pub(crate) struct Builder {
    pub(crate) segments: Arc<ScalarSegments>,
    /// One permit for each core that may be busy with indexes.
    cores: Arc<Semaphore>,
    /// One permit for each KiB.
    memory: Semaphore,
}

/// Files that may lack segments.
pub(crate) struct Task<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) needs: &'a Needs,
    /// Only files with this id or above.
    pub(crate) first: FileId,
    pub(crate) stats: Arc<IoStats>,
    /// Told after each file how many of how many are done.
    pub(crate) progress: &'a (dyn Fn(usize, usize) + Sync),
}

/// A segment that could not be built.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) key: SegmentKey,
    pub(crate) kind: ErrorKind,
    /// Names the file and the field.
    pub(crate) reason: Arc<str>,
}

impl Failure {
    pub(crate) fn new(key: SegmentKey, error: &Error) -> Self {
        Self { key, kind: error.kind(), reason: error.message().into() }
    }
}

/// A file that lacks segments.
struct Lacking {
    /// Its position in the manifest.
    file: usize,
    /// The positions in [`Needs::indexes`] of the indexes that lack it.
    indexes: Vec<usize>,
}

impl Lacking {
    fn keys<'a>(&self, needs: &'a Needs) -> impl Iterator<Item = (&'a IndexNeeds, SegmentKey)> {
        self.indexes.iter().filter_map(|&at| {
            let index = needs.indexes.get(at)?;
            Some((index, *index.keys.get(self.file)?))
        })
    }
}

impl Builder {
    pub(crate) fn new(segments: Arc<ScalarSegments>, cores: usize) -> Self {
        let cores = Arc::new(Semaphore::new(cores.max(1)));
        Self { segments, cores, memory: Semaphore::new(MEMORY_KIB as usize) }
    }

    /// Builds what is missing and gives what could not be built. Dropping the future stops the work
    /// soon; segments that were stored stay.
    pub(crate) async fn build(&self, task: &Task<'_>) -> Vec<Failure> {
        let files = &task.snapshot.manifest().files;
        let first = files.partition_point(|file| file.id < task.first);
        let missing = self.segments.missing(task.needs.keys_from(first).collect()).await;
        let missing: HashSet<SegmentKey> = missing.into_iter().collect();
        if missing.is_empty() {
            return Vec::new();
        }
        let lacking: Vec<Lacking> = (first..files.len())
            .map(|file| Lacking {
                file,
                indexes: task.needs.lacking(file, |key| missing.contains(key)),
            })
            .filter(|lacking| !lacking.indexes.is_empty())
            .collect();
        let (total, done) = (lacking.len(), AtomicUsize::new(0));
        let done = &done;
        let built = stream::iter(lacking).map(|lacking| async move {
            let failures = self.build_file(task, lacking).await;
            (task.progress)(done.fetch_add(1, Ordering::Relaxed) + 1, total);
            failures
        });
        let failures: Vec<Vec<Failure>> = built.buffer_unordered(FILES_IN_FLIGHT).collect().await;
        failures.into_iter().flatten().collect()
    }

    async fn build_file(&self, task: &Task<'_>, lacking: Lacking) -> Vec<Failure> {
        let Some(file) = task.snapshot.manifest().files.get(lacking.file) else {
            return Vec::new();
        };
        let Ok(_memory) = self.memory.acquire_many(memory_kib(file, &lacking)).await else {
            return Vec::new();
        };
        // A segment may be wanted twice, and may have been built for another collection meanwhile.
        let keys: Vec<SegmentKey> = lacking.keys(task.needs).map(|(_, key)| key).collect();
        let missing = self.segments.missing(keys).await;
        let mut seen = HashSet::new();
        let wanted: Vec<(&IndexNeeds, SegmentKey)> = lacking
            .keys(task.needs)
            .filter(|(_, key)| missing.contains(key) && seen.insert(*key))
            .collect();
        let columns = wanted.iter().map(|(index, _)| (index.field.clone(), index.spec.clone()));
        let built = match task.snapshot.open(lacking.file, &task.stats).await {
            Ok((_, open)) => {
                build_segments(open, columns.collect(), &task.stats, &self.cores).await
            }
            Err(error) => {
                return wanted.iter().map(|(_, key)| Failure::new(*key, &error)).collect();
            }
        };
        let mut failures = Vec::new();
        for ((index, key), outcome) in wanted.into_iter().zip(built) {
            if let Err(error) = self.store(&key, outcome).await {
                let uri = &file.identity.uri;
                let error = error.context(format!("{uri}: index on field '{}'", index.field.name));
                tracing::warn!(index = index.id.0, error = ?error, "a scalar index was not built");
                failures.push(Failure::new(key, &error));
            }
        }
        failures
    }

    async fn store(&self, key: &SegmentKey, built: Result<Bytes>) -> Result<()> {
        self.segments.put(key, built?).await
    }
}

fn memory_kib(file: &DataFile, lacking: &Lacking) -> u32 {
    let bytes = file.rows().saturating_mul(BYTES_PER_ROW * lacking.indexes.len() as u64);
    u32::try_from(bytes / 1024).unwrap_or(MEMORY_KIB).clamp(1, MEMORY_KIB)
}
