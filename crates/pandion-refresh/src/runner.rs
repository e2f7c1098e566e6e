//! Performs the effects of a refresh's state machine and reports what came of them.

use std::sync::Arc;

use object_store::ObjectStore;
use pandion_catalog::{
    Collection, ManifestPointer, Publication, Receipt as StoredReceipt, RefreshJob, SourceBinding,
};
use pandion_manifest::{DataFile, Manifest};
use pandion_query::Snapshot;
use pandion_source::{Connector, IoStats};
use pandion_types::{CollectionSchema, FileId, Result, Secret};
use tokio::time::Instant;

use crate::indexes::{Needs, Pin, Replaced, Task, built};
use crate::machine::{Effect, Event, Receipt, Start, State, step};
use crate::service::Shared;
use crate::{fault, footers, verify};

/// The property that lets a source without rows replace one with rows.
pub const ALLOW_EMPTY_PROPERTY: &str = "refresh.allow_empty";
/// The property that tells whether a refresh is complete only when the scalar indexes of its new
/// files are built. It is, unless the property is `false`; then they are built in the background,
/// and new files are scanned meanwhile.
pub const WAIT_FOR_INDEX_PROPERTY: &str = "refresh.wait_for_index";
/// The property that lets a refresh of a table read every vector of the new files, as that of a
/// folder does. Without it a table's metadata is trusted, and at most one data file is opened: a
/// vector that cannot be searched is an error of the first search that meets it.
pub const VERIFY_PROPERTY: &str = "refresh.verify";

/// How far a job is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) step: &'static str,
    pub(crate) percent: u8,
    pub(crate) found: Receipt,
    pub(crate) rows_indexed: u64,
    pub(crate) stats: Arc<IoStats>,
}

impl Progress {
    pub(crate) fn receipt(&self) -> StoredReceipt {
        let counts = self.stats.counts();
        StoredReceipt {
            files_added: self.found.added,
            files_removed: self.found.removed,
            files_changed: self.found.changed,
            files_kept: self.found.kept,
            rows: self.found.rows,
            list_requests: counts.list_requests,
            read_requests: counts.read_requests,
            bytes_read: counts.bytes_read,
            index_ms: self.found.index_ms,
            rows_indexed: self.rows_indexed,
            index_failures: self.found.index_failures,
            indexes_remapped: self.found.indexes_remapped,
        }
    }
}

/// One job.
pub(crate) struct Runner {
    shared: Arc<Shared>,
    job: Arc<RefreshJob>,
    /// What replaces the collection's source when the job completes.
    overrides: Option<SourceBinding>,
    stats: Arc<IoStats>,
}

/// What the effects of one job share.
struct Work {
    collection: Arc<Collection>,
    schema: Arc<CollectionSchema>,
    store: Arc<dyn ObjectStore>,
    connector: Arc<dyn Connector>,
    start: Start,
    /// The version in the making, as soon as files of it were opened.
    snapshot: Option<Arc<Snapshot>>,
    written: Option<(Arc<Manifest>, ManifestPointer)>,
    found: Receipt,
    /// Keeps the segments of the new files until they are published.
    pin: Option<Pin>,
}

impl Runner {
    pub(crate) fn new(
        shared: Arc<Shared>,
        job: Arc<RefreshJob>,
        overrides: Option<SourceBinding>,
    ) -> Self {
        Self { shared, job, overrides, stats: Arc::new(IoStats::default()) }
    }

    /// Runs the job to its end.
    ///
    /// # Errors
    /// Why it failed; nothing of it is visible then.
    pub(crate) async fn run(&self) -> Result<()> {
        let mut work = self.prepare().await?;
        let mut state = State::Pending;
        let mut event = Event::Started;
        loop {
            let (next, effect) = step(&work.start, state, event)?;
            state = next;
            self.note(&state, work.found);
            let Some(effect) = effect else { break };
            event = self.perform(&mut work, effect).await?;
        }
        let counts = self.stats.counts();
        tracing::info!(
            job = self.job.id.0,
            collection = %work.collection.name,
            added = work.found.added,
            changed = work.found.changed,
            removed = work.found.removed,
            kept = work.found.kept,
            rows = work.found.rows,
            list_requests = counts.list_requests,
            read_requests = counts.read_requests,
            bytes_read = counts.bytes_read,
            index_ms = work.found.index_ms,
            index_failures = work.found.index_failures,
            indexes_remapped = work.found.indexes_remapped,
            "refresh completed"
        );
        Ok(())
    }

    async fn prepare(&self) -> Result<Work> {
        let state = self.shared.catalog.state();
        let collection = Arc::clone(state.collection_by_id(self.job.collection)?);
        let schema = Arc::new(collection.schema.clone());
        let before = match &collection.manifest {
            Some(pointer) => Some(Arc::new(self.shared.manifests.read(pointer).await?)),
            None => None,
        };
        let (source, spec, secret): (&str, &str, Option<&Secret>) = match &self.overrides {
            Some(binding) => (&binding.source, &binding.spec, binding.secret.as_ref()),
            None => {
                let secret = state.secret(collection.id);
                (&schema.external_source, &schema.external_spec, secret)
            }
        };
        let opened = self.shared.sources.open(source, spec, secret).await?;
        let connector = opened.connector(&schema);
        let start = Start {
            collection: collection.id,
            schema_version: schema.version,
            before,
            source: source.to_owned(),
            allow_empty: has_property(&collection, ALLOW_EMPTY_PROPERTY, "true"),
            overrides: self.overrides.is_some(),
            indexes: built(&collection).next().is_some()
                && !has_property(&collection, WAIT_FOR_INDEX_PROPERTY, "false"),
            verify_tables: has_property(&collection, VERIFY_PROPERTY, "true"),
        };
        Ok(Work {
            collection,
            schema,
            store: opened.root.store,
            connector,
            start,
            snapshot: None,
            written: None,
            found: Receipt::default(),
            pin: None,
        })
    }

    fn note(&self, state: &State, found: Receipt) {
        let progress = Progress {
            step: state.name(),
            percent: state.progress(),
            found,
            stats: Arc::clone(&self.stats),
            ..Progress::default()
        };
        self.shared.note(self.job.id, progress);
        tracing::debug!(job = self.job.id.0, step = state.name(), "refresh step");
    }

    async fn perform(&self, work: &mut Work, effect: Effect) -> Result<Event> {
        match effect {
            Effect::List => {
                let before = work.start.before.as_deref();
                let source =
                    work.connector.resolve(before, &self.stats).await.map_err(|error| {
                        let about = error.subject();
                        error.context("explore external files failed").about(about)
                    })?;
                fault::point("refresh.listed");
                Ok(Event::Listed(source))
            }
            Effect::ReadFooters(objects) => {
                fault::point("refresh.diffed");
                let files = footers::read(objects, &work.schema, &self.stats).await?;
                fault::point("refresh.footers-read");
                Ok(Event::FootersRead(files))
            }
            Effect::ReadDeletes(manifest) => {
                let before = work.start.before.as_deref();
                let deletes = work.connector.delete_vectors(before, &manifest, &self.stats).await?;
                fault::point("refresh.deletes-read");
                Ok(Event::DeletesRead(deletes))
            }
            Effect::Verify(manifest, first) => {
                self.verify(work, manifest, first).await?;
                fault::point("refresh.verified");
                Ok(Event::Verified)
            }
            Effect::Probe(manifest, first) => {
                let snapshot = work.snapshot(manifest);
                verify::probe(&snapshot, first, &self.stats).await?;
                fault::point("refresh.verified");
                Ok(Event::Verified)
            }
            Effect::Index(manifest, first) => {
                let indexed = self.index(work, manifest, first).await;
                fault::point("refresh.indexed");
                Ok(indexed)
            }
            Effect::Write(manifest) => {
                let manifest = self.with_footers(work, manifest);
                let pointer = self.shared.manifests.write(&manifest).await?;
                work.written = Some((manifest, pointer));
                fault::point("refresh.manifest-written");
                Ok(Event::Written)
            }
            Effect::Publish(found) | Effect::Complete(found) => {
                work.found = found;
                self.publish(work, found).await?;
                Ok(Event::Published)
            }
        }
    }

    async fn verify(&self, work: &mut Work, manifest: Arc<Manifest>, first: FileId) -> Result<()> {
        let snapshot = work.snapshot(manifest);
        verify::verify(&self.shared.engine, &snapshot, first, &self.stats).await
    }

    /// The manifest with the footers that this job, or a query on the version before, has read.
    fn with_footers(&self, work: &Work, manifest: Arc<Manifest>) -> Arc<Manifest> {
        if manifest.files.iter().all(DataFile::has_footer) {
            return manifest;
        }
        let mut manifest = Manifest::clone(&manifest);
        if let Some(snapshot) = &work.snapshot {
            snapshot.add_footers(&mut manifest);
        }
        if let Some(serving) = self.shared.snapshots.kept(work.collection.id) {
            serving.add_footers(&mut manifest);
        }
        Arc::new(manifest)
    }

    /// Never fails the refresh: files without an index are scanned.
    async fn index(&self, work: &mut Work, manifest: Arc<Manifest>, first: FileId) -> Event {
        let started = Instant::now();
        // The indexes as they are now: some may have come or gone since the job started.
        let state = self.shared.catalog.state();
        let collection = state.collection_by_id(work.collection.id).unwrap_or(&work.collection);
        let needs = Needs::new(collection, &manifest);
        let replaced =
            work.start.before.as_ref().and_then(|before| {
                Replaced::new(&work.schema, &work.store, before, &manifest, &needs)
            });
        let snapshot = work.snapshot(manifest);
        let task = Task {
            snapshot: &snapshot,
            needs: &needs,
            first,
            replaced: replaced.as_ref(),
            stats: Arc::clone(&self.stats),
            progress: &|done, files| self.shared.note_indexed(self.job.id, done, files),
        };
        let (pin, built) = self.shared.indexes.build(&task).await;
        work.pin = Some(pin);
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(
            job = self.job.id.0,
            segments_remapped = built.remapped,
            segments_built = built.built,
            "indexed"
        );
        Event::Indexed {
            elapsed_ms,
            remapped: built.remapped,
            failures: built.failures.len() as u64,
        }
    }

    /// One catalogue transaction: manifest, source, secrets and the job's end together.
    async fn publish(&self, work: &Work, found: Receipt) -> Result<()> {
        fault::point("refresh.before-publish");
        let indexes = &self.shared.indexes;
        let manifest = work.written.as_ref().map(|(manifest, _)| manifest);
        let needs = manifest
            .or(work.start.before.as_ref())
            .map(|manifest| Needs::new(&work.collection, manifest));
        let receipt = Progress {
            found,
            rows_indexed: needs.as_ref().map_or(0, |needs| indexes.covered_by_all(needs)),
            stats: Arc::clone(&self.stats),
            ..Progress::default()
        };
        let pointer = work.written.as_ref().map(|(_, pointer)| pointer.clone());
        if let (Some(pointer), Some(needs)) = (&pointer, needs) {
            indexes.remember(&work.collection, pointer, needs);
        }
        let publication = Publication {
            job: self.job.id,
            manifest: pointer,
            source: self.overrides.clone(),
            receipt: receipt.receipt(),
            now_ms: (self.shared.now_ms)(),
        };
        self.shared.catalog.publish(publication).await?;
        fault::point("refresh.published");
        self.warm(work).await;
        Ok(())
    }

    /// Makes the published version ready for the next query, which would otherwise do it itself.
    async fn warm(&self, work: &Work) {
        let state = self.shared.catalog.state();
        let Ok(collection) = state.collection_by_id(work.collection.id) else { return };
        if !collection.loaded {
            return;
        }
        if let Err(error) = self.shared.snapshots.serving(collection).await {
            tracing::warn!(error = ?error, "the published version could not be opened yet");
        }
    }
}

impl Work {
    /// The version in the making, made when first asked for.
    fn snapshot(&mut self, manifest: Arc<Manifest>) -> Arc<Snapshot> {
        let (schema, store) = (&self.schema, &self.store);
        let new = || Arc::new(Snapshot::new(Arc::clone(schema), manifest, Arc::clone(store), None));
        Arc::clone(self.snapshot.get_or_insert_with(new))
    }
}

fn has_property(collection: &Collection, name: &str, wanted: &str) -> bool {
    collection.properties.get(name).is_some_and(|value| value.eq_ignore_ascii_case(wanted))
}
