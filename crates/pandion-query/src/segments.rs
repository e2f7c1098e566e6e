//! Scalar indexes of files, stored under the name of what they were built from.
//!
//! A segment is the index of one column, or of one path of a JSON column, over all rows of one
//! file. Its name is a digest of the file's identity, the column and what is indexed, so that
//! whoever needs the same index finds it, and no segment is ever asked about a file that it was not
//! built from. A segment that is missing or damaged costs time, never an answer: its rows are
//! scanned.
//!
//! Nothing here decides which segments are to exist.

mod build;
mod remap;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use pandion_index::scalar::{
    SCALAR_INDEX_FORMAT, ScalarIndex, ScalarIndexSpec, on_field, open_scalar_index,
};
use pandion_manifest::Manifest;
use pandion_types::{Error, ErrorKind, FieldId, FieldSchema, FileIdentity, Result};
use tokio::sync::watch;

pub use build::build_segments;
pub use remap::{OldSegment, remap_segment};

use crate::QueryEngine;
use crate::cache::{ByteCache, CacheUsage, Weigh};
use crate::snapshot::Snapshot;

/// Where segments lie in Pandion's own prefix.
const PREFIX: &str = "indexes/scalar";
/// Rises when the values that a column shows to an index change. It is part of every name.
const READING: u32 = 1;
const DIGEST_BYTES: usize = 32;
/// Deletions that may hold up the writing of segments.
const DELETIONS_AT_ONCE: usize = 64;

/// The name of a segment: a digest of all that decides what is in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentKey([u8; DIGEST_BYTES]);

/// A field, or a path of a JSON field, that has an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedField {
    /// The field.
    pub field: FieldId,
    /// The index.
    pub spec: ScalarIndexSpec,
}

impl SegmentKey {
    /// The names of the index of `field` over each file of `manifest`, in their order.
    #[must_use]
    pub fn of_files(manifest: &Manifest, field: &FieldSchema, spec: &ScalarIndexSpec) -> Vec<Self> {
        let column = of_column(&manifest.column_key(field), field, spec);
        let files = manifest.files.iter();
        files.map(|file| Self::of_file(column.clone(), &file.identity)).collect()
    }

    fn of_file(mut hasher: blake3::Hasher, identity: &FileIdentity) -> Self {
        add(&mut hasher, &identity.uri);
        hasher.update(&identity.size.to_le_bytes());
        add(&mut hasher, &identity.tag.to_string());
        Self(*hasher.finalize().as_bytes())
    }

    fn path(&self) -> Path {
        Path::from(format!("{PREFIX}/{self}"))
    }

    fn from_path(path: &Path) -> Option<Self> {
        let digest = blake3::Hash::from_hex(path.filename()?).ok()?;
        Some(Self(*digest.as_bytes()))
    }
}

/// Everything but the file. The parts are set apart by their lengths, so that no two lists of parts
/// have the same digest.
fn of_column(column: &str, field: &FieldSchema, spec: &ScalarIndexSpec) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&SCALAR_INDEX_FORMAT.to_le_bytes());
    hasher.update(&READING.to_le_bytes());
    add(&mut hasher, column);
    add(&mut hasher, field.data_type.name());
    add(&mut hasher, field.element_type.map_or("", pandion_types::DataType::name));
    add(&mut hasher, &spec.canonical());
    hasher
}

fn add(hasher: &mut blake3::Hasher, part: &str) {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part.as_bytes());
}

impl fmt::Display for SegmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(blake3::Hash::from(self.0).to_hex().as_str())
    }
}

impl fmt::Debug for SegmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SegmentKey({self})")
    }
}

impl Weigh for dyn ScalarIndex {
    fn weigh(&self) -> usize {
        self.memory_bytes()
    }
}

/// The segments of all collections: in the store, and the recently used ones open in memory.
///
/// Which segments there are is listed once and then followed, so that asking for one that does not
/// exist costs no request. Segments that another process writes are not seen.
pub struct ScalarSegments {
    store: Arc<dyn ObjectStore>,
    open: ByteCache<SegmentKey, dyn ScalarIndex>,
    present: RwLock<HashSet<SegmentKey>>,
    /// Held for reading by whoever writes or counts on a segment, and for writing by whoever
    /// deletes some: a segment is not deleted while it is being written anew.
    deleting: tokio::sync::RwLock<()>,
    damaged: AtomicU64,
    /// Counts the segments that were found missing or damaged.
    lost: watch::Sender<u64>,
}

impl fmt::Debug for ScalarSegments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScalarSegments").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

impl ScalarSegments {
    /// The segments in `store`, which is Pandion's own; up to `bytes_max` bytes of them are kept in
    /// memory. Lists the store once.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be listed.
    pub async fn load(store: Arc<dyn ObjectStore>, bytes_max: usize) -> Result<Self> {
        let found = store.list(Some(&Path::from(PREFIX)));
        let present: HashSet<SegmentKey> = found
            .try_filter_map(async |object| Ok(SegmentKey::from_path(&object.location)))
            .try_collect()
            .await
            .map_err(|error| {
                Error::unavailable("the stored scalar indexes could not be listed").caused_by(error)
            })?;
        Ok(Self {
            store,
            open: ByteCache::new(bytes_max),
            present: RwLock::new(present),
            deleting: tokio::sync::RwLock::default(),
            damaged: AtomicU64::new(0),
            lost: watch::Sender::new(0),
        })
    }

    /// Whether the segment is stored. No I/O.
    #[must_use]
    pub fn contains(&self, key: &SegmentKey) -> bool {
        self.with_present(|present| present.contains(key))
    }

    /// How many of `keys` are stored, weighed by what stands beside them. No I/O.
    #[must_use]
    pub fn sum_present<'a>(&self, keys: impl IntoIterator<Item = (&'a SegmentKey, u64)>) -> u64 {
        self.with_present(|present| {
            let stored = keys.into_iter().filter(|(key, _)| present.contains(*key));
            stored.map(|(_, weight)| weight).sum()
        })
    }

    /// The segments that are stored.
    #[must_use]
    pub fn keys(&self) -> Vec<SegmentKey> {
        self.with_present(|present| present.iter().copied().collect())
    }

    /// Those of `keys` that are not stored, in their order. What is left out is stored and stays so
    /// unless a later [`Self::remove`] is told that it may go.
    pub async fn missing(&self, keys: Vec<SegmentKey>) -> Vec<SegmentKey> {
        let _none_is_deleted = self.deleting.read().await;
        self.with_present(|present| keys.into_iter().filter(|key| !present.contains(key)).collect())
    }

    /// The segment, if it is stored and can be used. It has to cover `rows` rows.
    ///
    /// A segment that is damaged is logged, counted, and from then on as good as missing; so is,
    /// for this time, one that cannot be read now. Concurrent callers share one reading.
    pub async fn open(&self, key: &SegmentKey, rows: u64) -> Option<Arc<dyn ScalarIndex>> {
        if !self.contains(key) {
            return None;
        }
        match self.open.get_or_load(key, || self.read(key, rows)).await {
            Ok((index, _)) => Some(index),
            Err(error) => {
                tracing::warn!(segment = %key, error = ?error, "a scalar index cannot be used");
                if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) {
                    self.lose(key);
                }
                None
            }
        }
    }

    /// Stores a segment. What was stored under the key before, which may be damaged, is replaced.
    ///
    /// # Errors
    /// `Unavailable` when the store fails.
    pub async fn put(&self, key: &SegmentKey, index: Bytes) -> Result<()> {
        let _none_is_deleted = self.deleting.read().await;
        // The key behind the index tells a segment that lies under another's name.
        let payload = PutPayload::from_iter([index, Bytes::copy_from_slice(&key.0)]);
        self.store.put(&key.path(), payload).await.map_err(|error| {
            Error::unavailable(format!("scalar index {key} could not be written")).caused_by(error)
        })?;
        self.change_present(|present| present.insert(*key));
        Ok(())
    }

    /// Deletes segments, and gives how many. Each is kept if `is_needed` says so; it is asked when
    /// nobody else writes or counts on segments, immediately before the deletion. Queries that have
    /// a segment open keep it.
    ///
    /// # Errors
    /// `Unavailable` when the store fails; what is left is deleted the next time.
    pub async fn remove(
        &self,
        keys: &[SegmentKey],
        is_needed: impl Fn(&SegmentKey) -> bool,
    ) -> Result<usize> {
        let mut removed = 0;
        for keys in keys.chunks(DELETIONS_AT_ONCE) {
            let _nobody_writes = self.deleting.write().await;
            let dead: Vec<SegmentKey> =
                keys.iter().filter(|key| !is_needed(key)).copied().collect();
            let gone: HashSet<SegmentKey> = dead.iter().copied().collect();
            self.change_present(|present| present.retain(|key| !gone.contains(key)));
            self.open.retain(|key| !gone.contains(key));
            let paths = stream::iter(dead.iter().map(|key| Ok(key.path())).collect::<Vec<_>>());
            let mut deletions = self.store.delete_stream(paths.boxed());
            while let Some(deleted) = deletions.next().await {
                match deleted {
                    Ok(_) | Err(object_store::Error::NotFound { .. }) => removed += 1,
                    Err(error) => {
                        let message = "scalar indexes that nobody needs could not be deleted";
                        return Err(Error::unavailable(message).caused_by(error));
                    }
                }
            }
        }
        Ok(removed)
    }

    /// How full the memory for open segments is.
    #[must_use]
    pub fn usage(&self) -> CacheUsage {
        self.open.usage()
    }

    /// Segments that were found damaged or gone since the start.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Changes whenever a segment is found damaged or gone, which is the time to build it anew.
    #[must_use]
    pub fn losses(&self) -> watch::Receiver<u64> {
        self.lost.subscribe()
    }

    async fn read(&self, key: &SegmentKey, rows: u64) -> Result<Arc<dyn ScalarIndex>> {
        let failed = |error: object_store::Error| {
            let kind = match error {
                object_store::Error::NotFound { .. } => ErrorKind::NotFound,
                _ => ErrorKind::Unavailable,
            };
            Error::new(kind, format!("scalar index {key} could not be read")).caused_by(error)
        };
        let found = self.store.get(&key.path()).await.map_err(failed)?;
        let mut bytes = found.bytes().await.map_err(failed)?;
        let end = bytes.len().saturating_sub(DIGEST_BYTES);
        if bytes.split_off(end) != key.0.as_slice() {
            return Err(Error::corrupt(format!("scalar index {key} is cut off or another one")));
        }
        // Checking the bytes takes long enough to hold up other requests.
        let opened = tokio::task::spawn_blocking(move || open_scalar_index(bytes)).await;
        let index = opened.map_err(|error| {
            Error::corrupt(format!("scalar index {key} could not be opened")).caused_by(error)
        })??;
        if index.rows() as u64 != rows {
            return Err(Error::corrupt(format!(
                "scalar index {key} has {} rows where its file has {rows}",
                index.rows()
            )));
        }
        Ok(index)
    }

    fn lose(&self, key: &SegmentKey) {
        if self.change_present(|present| present.remove(key)) {
            self.damaged.fetch_add(1, Ordering::Relaxed);
            self.lost.send_modify(|losses| *losses += 1);
        }
    }

    fn with_present<T>(&self, look: impl FnOnce(&HashSet<SegmentKey>) -> T) -> T {
        look(&self.present.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change_present<T>(&self, change: impl FnOnce(&mut HashSet<SegmentKey>) -> T) -> T {
        change(&mut self.present.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl QueryEngine {
    /// The scalar indexes over the file at position `file` of the manifest that are on one of
    /// `fields` and can be used. Each answers terms on its own field only. Reads Pandion's own store
    /// at most, never the lake.
    pub(crate) async fn indexes(
        &self,
        snapshot: &Snapshot,
        file: usize,
        fields: &[FieldSchema],
    ) -> Vec<Arc<dyn ScalarIndex>> {
        let Some(segments) = self.scalar_segments() else { return Vec::new() };
        let Some(entry) = snapshot.manifest().files.get(file) else { return Vec::new() };
        let wanted = (0..)
            .zip(snapshot.scalar_indexes())
            .filter(|(_, indexed)| fields.iter().any(|field| field.id == indexed.field));
        let opened = wanted.map(|(index, indexed)| async move {
            let key = snapshot.segment_key(index, file)?;
            let index = segments.open(&key, entry.rows()).await?;
            Some(on_field(indexed.field, index))
        });
        join_all(opened).await.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests;
