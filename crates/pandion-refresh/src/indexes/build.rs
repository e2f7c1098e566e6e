//! Builds segments that are missing.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::{StreamExt, stream};
use pandion_connector_parquet::ParquetFile;
use pandion_manifest::DataFile;
use pandion_query::{ScalarSegments, SegmentKey, Snapshot, build_segments, remap_segment};
use pandion_source::IoStats;
use pandion_types::{Error, ErrorKind, FileId, Result};
use tokio::sync::Semaphore;

use super::lineage::{MovedFrom, Replaced};
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
    /// What the snapshot replaces of the version before, whose segments are not deleted meanwhile.
    pub(crate) replaced: Option<&'a Replaced>,
    pub(crate) stats: Arc<IoStats>,
    /// Told after each file how many of how many are done.
    pub(crate) progress: &'a (dyn Fn(usize, usize) + Sync),
}

/// What came of building.
#[derive(Debug, Default)]
pub(crate) struct Built {
    /// Segments that were made from those of replaced files.
    pub(crate) remapped: u64,
    /// Segments that were made from the data.
    pub(crate) built: u64,
    pub(crate) failures: Vec<Failure>,
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

/// A segment that a file lacks.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    /// The position of the index in [`Needs::indexes`].
    at: usize,
    index: &'a IndexNeeds,
    key: SegmentKey,
}

impl Lacking {
    fn wanted<'a>(&self, needs: &'a Needs) -> impl Iterator<Item = Wanted<'a>> {
        self.indexes.iter().filter_map(|&at| {
            let index = needs.indexes.get(at)?;
            Some(Wanted { at, index, key: *index.keys.get(self.file)? })
        })
    }
}

impl Built {
    fn add(&mut self, other: Self) {
        self.remapped += other.remapped;
        self.built += other.built;
        self.failures.extend(other.failures);
    }
}

impl Builder {
    pub(crate) fn new(segments: Arc<ScalarSegments>, cores: usize) -> Self {
        let cores = Arc::new(Semaphore::new(cores.max(1)));
        Self { segments, cores, memory: Semaphore::new(MEMORY_KIB as usize) }
    }

    /// Builds what is missing and gives what came of it. Dropping the future stops the work soon;
    /// segments that were stored stay.
    pub(crate) async fn build(&self, task: &Task<'_>) -> Built {
        let files = &task.snapshot.manifest().files;
        let first = files.partition_point(|file| file.id < task.first);
        let missing = self.segments.missing(task.needs.keys_from(first).collect()).await;
        let missing: HashSet<SegmentKey> = missing.into_iter().collect();
        if missing.is_empty() {
            return Built::default();
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
            let built = self.build_file(task, lacking).await;
            (task.progress)(done.fetch_add(1, Ordering::Relaxed) + 1, total);
            built
        });
        let built = built.buffer_unordered(FILES_IN_FLIGHT);
        let add = |mut all: Built, built| async move {
            all.add(built);
            all
        };
        built.fold(Built::default(), add).await
    }

    async fn build_file(&self, task: &Task<'_>, lacking: Lacking) -> Built {
        let mut outcome = Built::default();
        let Some(file) = task.snapshot.manifest().files.get(lacking.file) else {
            return outcome;
        };
        let Ok(_memory) = self.memory.acquire_many(memory_kib(file, &lacking)).await else {
            return outcome;
        };
        // A segment may be wanted twice, and may have been built for another collection meanwhile.
        let keys: Vec<SegmentKey> = lacking.wanted(task.needs).map(|wanted| wanted.key).collect();
        let missing = self.segments.missing(keys).await;
        let mut seen = HashSet::new();
        let mut wanted: Vec<Wanted<'_>> = lacking
            .wanted(task.needs)
            .filter(|wanted| missing.contains(&wanted.key) && seen.insert(wanted.key))
            .collect();
        let open = match task.snapshot.open(lacking.file, &task.stats).await {
            Ok((_, open)) => open,
            Err(error) => {
                let failed = wanted.iter().map(|wanted| Failure::new(wanted.key, &error));
                outcome.failures = failed.collect();
                return outcome;
            }
        };
        if let Some(replaced) = task.replaced {
            let all = wanted.len();
            wanted = self.remap(replaced, open, wanted, &task.stats).await;
            outcome.remapped = (all - wanted.len()) as u64;
        }
        if wanted.is_empty() {
            return outcome;
        }
        let columns =
            wanted.iter().map(|Wanted { index, .. }| (index.field.clone(), index.spec.clone()));
        let built = build_segments(open, columns.collect(), &task.stats, &self.cores).await;
        for (Wanted { index, key, .. }, built) in wanted.into_iter().zip(built) {
            match self.store(&key, built).await {
                Ok(()) => outcome.built += 1,
                Err(error) => {
                    let uri = &file.identity.uri;
                    let error =
                        error.context(format!("{uri}: index on field '{}'", index.field.name));
                    tracing::warn!(index = index.id.0, error = ?error, "a scalar index was not built");
                    outcome.failures.push(Failure::new(key, &error));
                }
            }
        }
        outcome
    }

    /// Makes segments of a file from those of the files that it replaces, and gives the ones that
    /// have to be built from its data.
    async fn remap<'a>(
        &self,
        replaced: &Replaced,
        file: &ParquetFile,
        wanted: Vec<Wanted<'a>>,
        stats: &IoStats,
    ) -> Vec<Wanted<'a>> {
        if !wanted.iter().any(|wanted| replaced.has_some(wanted.at, &self.segments)) {
            return wanted;
        }
        let moves = match replaced.moves(file, stats).await {
            Ok(Some(moves)) => moves,
            Ok(None) => return wanted,
            Err(error) => {
                tracing::warn!(error = ?error, "the row lineage of a file could not be read");
                return wanted;
            }
        };
        let mut rest = Vec::new();
        for wanted in wanted {
            match self.remap_one(replaced, file.rows(), &moves, &wanted).await {
                Ok(true) => {}
                Ok(false) => rest.push(wanted),
                Err(error) => {
                    tracing::warn!(error = ?error, "a scalar index is built instead of remapped");
                    rest.push(wanted);
                }
            }
        }
        rest
    }

    /// Whether the segment is made and stored.
    async fn remap_one(
        &self,
        replaced: &Replaced,
        rows: u64,
        moves: &[MovedFrom],
        wanted: &Wanted<'_>,
    ) -> Result<bool> {
        let Some(old) = replaced.segments(wanted.at, moves) else { return Ok(false) };
        let spec = &wanted.index.spec;
        match remap_segment(&self.segments, spec, &old, rows, &self.cores).await? {
            Some(made) => self.segments.put(&wanted.key, made).await.map(|()| true),
            None => Ok(false),
        }
    }

    async fn store(&self, key: &SegmentKey, built: Result<Bytes>) -> Result<()> {
        self.segments.put(key, built?).await
    }
}

fn memory_kib(file: &DataFile, lacking: &Lacking) -> u32 {
    let bytes = file.rows().saturating_mul(BYTES_PER_ROW * lacking.indexes.len() as u64);
    u32::try_from(bytes / 1024).unwrap_or(MEMORY_KIB).clamp(1, MEMORY_KIB)
}
