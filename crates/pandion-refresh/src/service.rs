//! Refresh jobs: start, run, look at, stop.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pandion_catalog::{Catalog, JobState, RefreshJob, RefreshRequest, SourceBinding};
use pandion_query::QueryEngine;
use pandion_types::{Error, JobId, Result};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::fault;
use crate::indexes::IndexService;
use crate::machine::State;
use crate::manifests::ManifestStore;
use crate::runner::{Progress, Runner};
use crate::snapshots::Snapshots;
use crate::sources::SourceOpener;

/// Milliseconds since 1970, from whoever is allowed to look at the clock.
pub type UnixMs = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Runs refresh jobs, at most one per collection, each in a task of its own.
pub struct RefreshService {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What every job needs.
pub(crate) struct Shared {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) manifests: ManifestStore,
    pub(crate) sources: Arc<SourceOpener>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) engine: Arc<QueryEngine>,
    pub(crate) indexes: Arc<IndexService>,
    pub(crate) now_ms: UnixMs,
    /// How far jobs of this process are. Kept in memory: the catalogue gets a job's beginning and
    /// end only.
    running: Mutex<HashMap<JobId, Progress>>,
}

impl fmt::Debug for RefreshService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshService").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

impl RefreshService {
    /// A service without jobs.
    #[must_use]
    pub fn new(
        catalog: Arc<Catalog>,
        manifests: ManifestStore,
        sources: Arc<SourceOpener>,
        snapshots: Arc<Snapshots>,
        engine: Arc<QueryEngine>,
        indexes: Arc<IndexService>,
        now_ms: UnixMs,
    ) -> Self {
        let running = Mutex::default();
        let shared =
            Shared { catalog, manifests, sources, snapshots, engine, indexes, now_ms, running };
        Self { shared: Arc::new(shared), tasks: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// Marks jobs as failed that were running when the server last ended, and goes on with the
    /// scalar indexes that were being built.
    ///
    /// # Errors
    /// Those of the catalogue.
    pub async fn recover(&self) -> Result<()> {
        let now_ms = (self.shared.now_ms)();
        self.shared.catalog.recover_jobs(now_ms).await?;
        self.shared.indexes.start();
        Ok(())
    }

    /// Starts a job and returns at once. `source` and `spec` replace the collection's own when the
    /// job completes; both are empty to keep them.
    ///
    /// # Errors
    /// `InvalidArgument` for one of the pair without the other and for a bad source; those of the
    /// catalogue: no such collection, a job is running, no source.
    pub async fn start(
        &self,
        database: &str,
        collection: &str,
        source: &str,
        spec: &str,
    ) -> Result<JobId> {
        if source.is_empty() != spec.is_empty() {
            return Err(Error::invalid_argument(
                "external_source and external_spec must be both provided or both omitted",
            ));
        }
        let overrides = if source.is_empty() {
            None
        } else {
            Some(self.shared.sources.check(source, spec).await?)
        };
        let request = RefreshRequest {
            database: database.to_owned(),
            collection: collection.to_owned(),
            source: overrides.clone(),
            now_ms: (self.shared.now_ms)(),
        };
        let job = self.shared.catalog.start_refresh(request).await?;
        fault::point("refresh.job-created");
        self.spawn(&job, overrides);
        Ok(job.id)
    }

    /// The job as it is now.
    ///
    /// # Errors
    /// `NotFound` about the job.
    pub fn job(&self, id: JobId) -> Result<RefreshJob> {
        let state = self.shared.catalog.state();
        Ok(self.shared.with_progress(state.job(id)?))
    }

    /// The jobs of a collection, or of a database, newest first.
    ///
    /// # Errors
    /// `NotFound` about the database or the collection.
    pub fn jobs(&self, database: &str, collection: Option<&str>) -> Result<Vec<RefreshJob>> {
        let jobs = self.shared.catalog.state().jobs(database, collection)?;
        Ok(jobs.iter().map(|job| self.shared.with_progress(job)).collect())
    }

    /// Ends jobs that run, which then count as failed, and the building of indexes, which the next
    /// start goes on with; returns when they have ended.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.shared.indexes.stop().await;
    }

    fn spawn(&self, job: &Arc<RefreshJob>, overrides: Option<SourceBinding>) {
        let (shared, stop, job) = (Arc::clone(&self.shared), self.stop.clone(), Arc::clone(job));
        self.tasks.spawn(async move {
            let runner = Runner::new(Arc::clone(&shared), Arc::clone(&job), overrides);
            // A task of its own: a panic inside must fail the job, not leave it running for ever.
            let work = tokio::spawn(async move { runner.run().await });
            let work = AbortOnDropHandle::new(work);
            let outcome = tokio::select! {
                outcome = work => outcome.unwrap_or_else(|error| {
                    Err(Error::internal("the refresh ended because of a defect of the server")
                        .caused_by(error))
                }),
                () = stop.cancelled() => {
                    Err(Error::unavailable("server stopped during refresh; run it again"))
                }
            };
            if let Err(error) = outcome {
                shared.fail(&job, &error).await;
            }
            shared.lock().remove(&job.id);
        });
    }
}

impl Shared {
    pub(crate) fn note(&self, job: JobId, progress: Progress) {
        self.lock().insert(job, progress);
    }

    /// Notes how many of the new files have their indexes.
    pub(crate) fn note_indexed(&self, job: JobId, done: usize, files: usize) {
        let range = State::INDEXING;
        let steps = usize::from(range.end - range.start);
        let percent = u8::try_from(steps * done / files.max(1)).unwrap_or(u8::MAX);
        if let Some(progress) = self.lock().get_mut(&job) {
            progress.percent = range.start.saturating_add(percent).min(range.end);
        }
    }

    /// A job as stored, with how far it is if it runs in this process.
    fn with_progress(&self, job: &Arc<RefreshJob>) -> RefreshJob {
        let mut job = job.as_ref().clone();
        if job.state.is_active()
            && let Some(progress) = self.lock().get(&job.id)
        {
            job.state = JobState::InProgress;
            progress.step.clone_into(&mut job.step);
            job.progress = progress.percent;
            job.receipt = progress.receipt();
        }
        job
    }

    async fn fail(&self, job: &RefreshJob, error: &Error) {
        let progress = self.lock().get(&job.id).cloned().unwrap_or_default();
        tracing::warn!(
            job = job.id.0,
            collection = %job.collection_name,
            step = progress.step,
            error = ?error,
            "refresh failed"
        );
        let now_ms = (self.now_ms)();
        let failed =
            self.catalog.fail_job(job.id, error.message(), progress.receipt(), now_ms).await;
        if let Err(error) = failed {
            // The job stays active in the catalogue; the next start of a server marks it failed.
            tracing::error!(job = job.id.0, error = ?error, "a failed job could not be recorded");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Progress>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
