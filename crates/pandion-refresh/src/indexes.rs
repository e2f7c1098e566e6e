//! The life of scalar indexes: what a collection has indexes on is built for each of its files,
//! found again after a restart, and deleted when nobody needs it any more.
//!
//! The catalogue says which indexes there are, a manifest which files; the rest follows. A service
//! watches the catalogue and builds what is missing in the background; a refresh builds for its new
//! files before it publishes them. Whatever is missing is scanned: nothing here can make an answer
//! wrong, or a refresh fail.

mod build;
mod garbage;
mod lineage;
mod needs;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pandion_catalog::{Catalog, CatalogState, Collection, IndexId, ManifestPointer};
use pandion_query::{ScalarSegments, SegmentKey, Snapshot};
use pandion_source::IoStats;
use pandion_types::{CollectionId, ErrorKind, FileId, ManifestVersion, Result};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

pub(crate) use self::build::{Builder, Built, Failure, Task};
pub(crate) use self::garbage::Pin;
use self::garbage::Pins;
pub(crate) use self::lineage::Replaced;
use self::needs::IndexNeeds;
pub(crate) use self::needs::{Needs, built, indexed_fields};
use crate::manifests::ManifestStore;
use crate::sources::SourceOpener;

/// How long to wait before trying again what failed for a cause that may pass.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Keeps the scalar indexes of all collections complete.
pub struct IndexService {
    inner: Arc<Inner>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// How far an index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexState {
    /// Rows are missing that are being indexed, or are about to be.
    InProgress,
    /// Every row of the newest version is covered.
    Finished,
    /// Rows are missing that could not be indexed. They are scanned.
    Failed,
}

/// What an index covers of the newest version of its collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexCoverage {
    /// How far it is.
    pub state: IndexState,
    /// Rows of the version.
    pub rows: u64,
    /// Those that are covered.
    pub rows_indexed: u64,
    /// Why it failed; empty otherwise.
    pub reason: String,
}

pub(crate) struct Inner {
    catalog: Arc<Catalog>,
    manifests: ManifestStore,
    sources: Arc<SourceOpener>,
    builder: Builder,
    pins: Arc<Pins>,
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    /// By the path of the manifest, which names its content.
    needs: HashMap<(CollectionId, String), Arc<Needs>>,
    /// Why segments could not be built.
    failures: HashMap<SegmentKey, Arc<str>>,
    /// Collections that are being completed, and whether that is to be done again.
    running: HashMap<CollectionId, bool>,
}

impl fmt::Debug for IndexService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexService").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

impl IndexService {
    /// A service that does nothing yet, and that keeps up to `cores` cores busy later.
    #[must_use]
    pub fn new(
        catalog: Arc<Catalog>,
        manifests: ManifestStore,
        sources: Arc<SourceOpener>,
        segments: Arc<ScalarSegments>,
        cores: usize,
    ) -> Self {
        let builder = Builder::new(segments, cores);
        let (pins, shared) = (Arc::default(), Mutex::default());
        let inner = Inner { catalog, manifests, sources, builder, pins, shared };
        Self { inner: Arc::new(inner), tasks: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// Begins to build what is missing and to delete what nobody needs, now and whenever the
    /// catalogue changes. To be called once, before the first refresh.
    pub fn start(&self) {
        let (inner, tasks, stop) = (Arc::clone(&self.inner), self.tasks.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = watch(&inner, &tasks, &stop) => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Stops and returns when nothing is built any more. What was built stays.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// What the indexes of a collection cover of its newest version.
    ///
    /// # Errors
    /// Those of reading the manifest.
    pub async fn coverage(
        &self,
        collection: &Collection,
    ) -> Result<BTreeMap<IndexId, IndexCoverage>> {
        let rows = collection.manifest.as_ref().map_or(0, |manifest| manifest.rows);
        let needs = match &collection.manifest {
            Some(pointer) if built(collection).next().is_some() => {
                Some(self.inner.needs(collection, pointer).await?)
            }
            _ => None,
        };
        let mut coverage = BTreeMap::new();
        for index in collection.indexes.values() {
            let complete = IndexCoverage {
                state: IndexState::Finished,
                rows,
                rows_indexed: rows,
                reason: String::new(),
            };
            let needs_of = |needs: &Arc<Needs>| {
                let at = needs.indexes.iter().position(|needed| needed.id == index.id)?;
                Some((Arc::clone(needs), at))
            };
            let found = match index.scalar_spec(&collection.schema) {
                Err(error) => IndexCoverage {
                    state: IndexState::Failed,
                    rows_indexed: 0,
                    reason: error.message().to_owned(),
                    ..complete
                },
                Ok(_) => match needs.as_ref().and_then(needs_of) {
                    Some((needs, at)) => self.inner.covered(&needs, at),
                    None => complete,
                },
            };
            coverage.insert(index.id, found);
        }
        Ok(coverage)
    }

    /// Keeps the segments of files behind `first`, and those of files that are replaced, from being
    /// deleted, and builds those that are missing.
    pub(crate) async fn build(&self, task: &Task<'_>) -> (Pin, Built) {
        let files = &task.snapshot.manifest().files;
        let first = files.partition_point(|file| file.id < task.first);
        let replaced = task.replaced.into_iter().flat_map(Replaced::keys);
        let pin = self.inner.pins.pin(task.needs.keys_from(first).chain(replaced).collect());
        let built = self.inner.builder.build(task).await;
        self.inner.record(&built.failures);
        (pin, built)
    }

    /// Rows that every index of `needs` covers.
    pub(crate) fn covered_by_all(&self, needs: &Needs) -> u64 {
        needs.covered_by_all(&self.inner.builder.segments)
    }

    /// Keeps what a published version needs, so that its manifest is not read for it.
    pub(crate) fn remember(
        &self,
        collection: &Collection,
        pointer: &ManifestPointer,
        needs: Needs,
    ) {
        self.inner.remember(collection, pointer, Arc::new(needs));
    }
}

impl Drop for IndexService {
    /// Whoever opens the store next may need what this service would take for garbage.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What of a collection decides which segments it needs.
#[derive(PartialEq, Eq)]
struct Watched {
    indexes: Vec<IndexId>,
    version: ManifestVersion,
    loaded: Option<ManifestVersion>,
}

fn watched(state: &CatalogState) -> HashMap<CollectionId, Watched> {
    let with_indexes = state.all_collections().filter_map(|collection| {
        let indexes: Vec<IndexId> = built(collection).map(|(id, ..)| id).collect();
        let loaded = collection.loaded_manifest.as_ref().map(|pointer| pointer.version);
        let version = collection.manifest_version();
        (!indexes.is_empty()).then_some((collection.id, Watched { indexes, version, loaded }))
    });
    with_indexes.collect()
}

/// Follows the catalogue for ever.
async fn watch(inner: &Arc<Inner>, tasks: &TaskTracker, stop: &CancellationToken) {
    let mut states = inner.catalog.subscribe();
    let mut losses = inner.builder.segments.losses();
    let mut releases = inner.pins.releases();
    let mut before = HashMap::new();
    // Segments that a crash left behind are of no collection.
    let mut is_garbage = true;
    loop {
        let now = watched(&states.borrow_and_update());
        let lost = losses.has_changed().unwrap_or(false);
        losses.mark_unchanged();
        for (id, collection) in &now {
            if lost || before.get(id) != Some(collection) {
                complete_soon(inner, tasks, stop, *id);
            }
        }
        // What is new needs more than before; whatever else changes may need less.
        is_garbage |= before.iter().any(|(id, before)| now.get(id) != Some(before));
        before = now;
        if is_garbage {
            match inner.collect_garbage().await {
                Ok(_) => is_garbage = false,
                Err(error) => tracing::warn!(error = ?error, "garbage was not collected"),
            }
        }
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            changed = losses.changed() => if changed.is_err() { return } else { losses.mark_changed() },
            // A refresh has ended. If it failed, nothing needs what it built.
            changed = releases.changed() => if changed.is_err() { return } else { is_garbage = true },
        }
    }
}

/// Completes the indexes of a collection in a task of its own, or once more if one is at it.
fn complete_soon(
    inner: &Arc<Inner>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
    id: CollectionId,
) {
    match inner.lock().running.entry(id) {
        Entry::Occupied(mut running) => {
            running.insert(true);
            return;
        }
        Entry::Vacant(idle) => idle.insert(false),
    };
    let (inner, stop) = (Arc::clone(inner), stop.clone());
    tasks.spawn(async move {
        loop {
            let work = Arc::clone(&inner);
            // A task of its own: a panic inside must not leave the collection waiting for ever.
            let work = AbortOnDropHandle::new(tokio::spawn(async move { work.complete(id).await }));
            tokio::select! {
                done = work => if let Err(error) = done {
                    tracing::error!(collection = id.0, %error, "completing indexes broke off");
                },
                () = stop.cancelled() => {}
            }
            let mut shared = inner.lock();
            let again = shared.running.get_mut(&id).is_some_and(std::mem::take);
            if !again || stop.is_cancelled() {
                shared.running.remove(&id);
                return;
            }
        }
    });
}

impl Inner {
    /// Builds what the newest version lacks. Causes that may pass are waited for.
    async fn complete(&self, id: CollectionId) {
        let mut pauses = PAUSES.iter();
        loop {
            let failures = self.pass(id).await;
            let may_pass = failures.iter().any(|it| it.kind == ErrorKind::Unavailable);
            match pauses.next() {
                Some(&pause) if may_pass => tokio::time::sleep(pause).await,
                _ => return self.record(&failures),
            }
        }
    }

    async fn pass(&self, id: CollectionId) -> Vec<Failure> {
        let state = self.catalog.state();
        let Ok(collection) = state.collection_by_id(id) else { return Vec::new() };
        let Some(pointer) = &collection.manifest else { return Vec::new() };
        let needs = match self.needs(collection, pointer).await {
            Ok(needs) => needs,
            Err(error) => {
                tracing::warn!(collection = %collection.name, error = ?error, "no index is built");
                return Vec::new();
            }
        };
        let missing = self.builder.segments.missing(needs.keys().collect()).await;
        if missing.is_empty() {
            return Vec::new();
        }
        self.forget_failures(&missing);
        tracing::info!(collection = %collection.name, segments = missing.len(), "indexing");
        let outcome = tokio::select! {
            outcome = self.build_published(&state, collection, pointer, &needs) => outcome,
            () = self.dropped(id, &needs) => return Vec::new(),
        };
        outcome.unwrap_or_else(|error| {
            tracing::warn!(collection = %collection.name, error = ?error, "no index is built");
            missing.into_iter().map(|key| Failure::new(key, &error)).collect()
        })
    }

    async fn build_published(
        &self,
        state: &CatalogState,
        collection: &Collection,
        pointer: &ManifestPointer,
        needs: &Needs,
    ) -> Result<Vec<Failure>> {
        let manifest = Arc::new(self.manifests.read(pointer).await?);
        let schema = Arc::new(collection.schema.clone());
        let opened = self
            .sources
            .open(&schema.external_source, &schema.external_spec, state.secret(collection.id))
            .await?;
        let stats = Arc::new(IoStats::default());
        let snapshot = Snapshot::new(schema, manifest, opened.root.store, None);
        let task = Task {
            snapshot: &snapshot,
            needs,
            first: FileId::FIRST,
            // What the version before had may be deleted already.
            replaced: None,
            stats: Arc::clone(&stats),
            progress: &|_, _| {},
        };
        let failures = self.builder.build(&task).await.failures;
        let counts = stats.counts();
        tracing::info!(
            collection = %collection.name,
            failures = failures.len(),
            read_requests = counts.read_requests,
            bytes_read = counts.bytes_read,
            "indexed"
        );
        Ok(failures)
    }

    /// Returns when the collection or one of the indexes is gone.
    async fn dropped(&self, id: CollectionId, needs: &Needs) {
        let mut states = self.catalog.subscribe();
        loop {
            let is_wanted = {
                let state = states.borrow_and_update();
                state.collection_by_id(id).is_ok_and(|collection| {
                    needs.indexes.iter().all(|index| collection.indexes.contains_key(&index.id))
                })
            };
            if !is_wanted || states.changed().await.is_err() {
                return;
            }
        }
    }

    fn covered(&self, needs: &Needs, at: usize) -> IndexCoverage {
        let rows = needs.rows();
        let index = needs.indexes.get(at);
        let rows_indexed = index.map_or(rows, |index| needs.covered(index, &self.builder.segments));
        let mut coverage = IndexCoverage {
            state: IndexState::Finished,
            rows,
            rows_indexed,
            reason: String::new(),
        };
        if rows_indexed < rows {
            coverage.state = IndexState::InProgress;
            if let Some(reason) = index.and_then(|index| self.failure(index)) {
                coverage.state = IndexState::Failed;
                coverage.reason = reason.to_string();
            }
        }
        coverage
    }

    /// What the collection needs at a version.
    async fn needs(
        &self,
        collection: &Collection,
        pointer: &ManifestPointer,
    ) -> Result<Arc<Needs>> {
        let name = (collection.id, pointer.path.clone());
        let kept = self.lock().needs.get(&name).cloned();
        if let Some(kept) = kept.filter(|kept| kept.fits(collection)) {
            return Ok(kept);
        }
        let needs = match built(collection).next() {
            Some(_) => Needs::new(collection, &self.manifests.read(pointer).await?),
            None => Needs::default(),
        };
        let needs = Arc::new(needs);
        self.remember(collection, pointer, Arc::clone(&needs));
        Ok(needs)
    }

    fn remember(&self, collection: &Collection, pointer: &ManifestPointer, needs: Arc<Needs>) {
        let mut shared = self.lock();
        if !needs.indexes.is_empty() {
            shared.needs.insert((collection.id, pointer.path.clone()), needs);
        }
    }

    /// Lets go of what is kept for versions that no collection serves any more.
    fn forget_dropped(&self, state: &CatalogState, needed: &HashSet<SegmentKey>) {
        let live: HashSet<(CollectionId, &str)> =
            state.manifests().map(|(id, pointer)| (id, pointer.path.as_str())).collect();
        let mut shared = self.lock();
        shared.needs.retain(|(id, path), _| live.contains(&(*id, path.as_str())));
        shared.failures.retain(|key, _| needed.contains(key));
    }

    fn record(&self, failures: &[Failure]) {
        let mut shared = self.lock();
        for failure in failures {
            shared.failures.insert(failure.key, Arc::clone(&failure.reason));
        }
    }

    fn forget_failures(&self, keys: &[SegmentKey]) {
        let mut shared = self.lock();
        keys.iter().for_each(|key| drop(shared.failures.remove(key)));
    }

    fn failure(&self, index: &IndexNeeds) -> Option<Arc<str>> {
        let shared = self.lock();
        let mut missing = index.keys.iter().filter(|key| !self.builder.segments.contains(key));
        missing.find_map(|key| shared.failures.get(key).cloned())
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // The state is consistent between statements, so a panic elsewhere cannot have torn it.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
