//! Refresh jobs: one active per collection, and a publication that happens whole or not at all.

use pandion_types::{CollectionId, Error, JobId, ManifestVersion, Result, Secret, Subject};
use std::fmt;
use std::sync::Arc;

use crate::changes::Changes;
use crate::state::ensure_external;
use crate::{Catalog, CatalogState, Collection, JobState, ManifestPointer, Receipt, RefreshJob};

/// How many finished jobs of a collection are kept, the newest; and as many of all the collections
/// that are gone. Older ones are forgotten when a job starts or a collection is dropped.
pub const FINISHED_JOBS_KEPT: usize = 64;

/// The progress that a job has at the most before it is completed.
const PROGRESS_MAX: u8 = 99;

/// Where rows come from.
#[derive(Clone)]
pub struct SourceBinding {
    /// URI of the source.
    pub source: String,
    /// Specification of the source, with every secret replaced by stars.
    pub spec: String,
    /// What the source needs and nobody may see.
    pub secret: Option<Secret>,
}

impl fmt::Debug for SourceBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceBinding")
            .field("source", &self.source)
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

/// A refresh to start.
#[derive(Clone, Debug)]
pub struct RefreshRequest {
    /// Name of the database; empty for the default one.
    pub database: String,
    /// Name or alias of the collection.
    pub collection: String,
    /// The source to read instead of the collection's. It becomes the collection's when the job
    /// is published; until then whoever runs the job keeps the secret.
    pub source: Option<SourceBinding>,
    /// Now, in milliseconds since 1970.
    pub now_ms: i64,
}

/// How far a job has come.
#[derive(Clone, Debug)]
pub struct JobUpdate {
    /// The job.
    pub job: JobId,
    /// The step that is under way.
    pub step: String,
    /// 0 to 99; more counts as 99.
    pub progress: u8,
    /// What it found and cost so far.
    pub receipt: Receipt,
}

/// The end of a job that succeeded.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The job.
    pub job: JobId,
    /// The version that the collection has from now on, one above that at the job's start; `None`
    /// when the source has not changed.
    pub manifest: Option<ManifestPointer>,
    /// The source that the collection has from now on; `None` to keep its own.
    pub source: Option<SourceBinding>,
    /// What the job found and cost.
    pub receipt: Receipt,
    /// Now, in milliseconds since 1970.
    pub now_ms: i64,
}

impl Catalog {
    /// Starts a refresh: records the job, which holds the collection until it ends.
    ///
    /// # Errors
    /// `NotFound` about the database or the collection; `InvalidArgument` when the collection is
    /// not external, has no source and none is given, or only one of source and specification is
    /// given; `Conflict` about the job that is active; and those of every command.
    pub async fn start_refresh(&self, request: RefreshRequest) -> Result<Arc<RefreshJob>> {
        self.change(move |state, changes| start(state, changes, &request).map(Arc::new)).await
    }

    /// Records how far a job has come. Each call is one commit: once per step, not per file.
    ///
    /// # Errors
    /// `NotFound` about the job; `Conflict` when it has ended; and those of every command.
    pub async fn update_job(&self, update: JobUpdate) -> Result<()> {
        self.change(move |state, changes| {
            let before = active(state, update.job)?;
            let mut job = before.clone();
            job.state = JobState::InProgress;
            job.step.clone_from(&update.step);
            job.progress = update.progress.min(PROGRESS_MAX);
            job.receipt = update.receipt;
            if job != *before {
                changes.put_job(&job)?;
            }
            Ok(())
        })
        .await
    }

    /// Ends a job with success: manifest, source and job change in one transaction. Publishing the
    /// same again is no error.
    ///
    /// # Errors
    /// `NotFound` about the job or its collection; `Conflict` when the job has ended or the
    /// collection's version is no longer that at the job's start; `InvalidArgument` when the new
    /// version is not the next; and those of every command. The old version serves on.
    pub async fn publish(&self, publication: Publication) -> Result<()> {
        self.change(move |state, changes| publish(state, changes, &publication)).await
    }

    /// Ends a job without success. Everything but the job is as before it. Failing a job that has
    /// failed is no error.
    ///
    /// # Errors
    /// `NotFound` about the job; `Conflict` when it was published; and those of every command.
    pub async fn fail_job(
        &self,
        job: JobId,
        reason: &str,
        receipt: Receipt,
        now_ms: i64,
    ) -> Result<()> {
        let reason = reason.to_owned();
        self.change(move |state, changes| {
            if state.job(job)?.state == JobState::Failed {
                return Ok(());
            }
            let mut job = active(state, job)?.clone();
            job.receipt = receipt;
            changes.put_job(&failed(job, &reason, now_ms))
        })
        .await
    }

    /// Fails every job that is active, because nobody runs it: to be called once after opening,
    /// before the first job starts. Gives the jobs.
    ///
    /// # Errors
    /// Those of every command.
    pub async fn recover_jobs(&self, now_ms: i64) -> Result<Vec<JobId>> {
        self.change(move |state, changes| {
            let mut recovered = Vec::new();
            for job in state.all_jobs().filter(|job| job.state.is_active()) {
                let reason = "server stopped during refresh; run it again";
                changes.put_job(&failed(job.as_ref().clone(), reason, now_ms))?;
                recovered.push(job.id);
            }
            Ok(recovered)
        })
        .await
    }
}

fn start(
    state: &CatalogState,
    changes: &mut Changes,
    request: &RefreshRequest,
) -> Result<RefreshJob> {
    let collection = state.collection(&request.database, &request.collection)?;
    ensure_external(collection)?;
    let (source, spec) = source_of(collection, request.source.as_ref())?;
    if let Some(active) = state.active_job(collection.id) {
        let message = format!(
            "refresh job {} is already in progress for collection {}, please wait for it to \
             complete or cancel it first",
            active.id, collection.name
        );
        return Err(Error::conflict(message).about(Subject::Job));
    }
    forget_old(state, changes, |job| job.collection == collection.id);
    let job = RefreshJob {
        id: JobId(changes.take_id(state)?),
        collection: collection.id,
        collection_name: collection.name.clone(),
        database: collection.database,
        state: JobState::Pending,
        step: String::new(),
        progress: 0,
        reason: String::new(),
        source: source.to_owned(),
        spec: spec.to_owned(),
        overrides_source: request.source.is_some(),
        base_version: collection.manifest_version(),
        start_ms: request.now_ms,
        end_ms: 0,
        receipt: Receipt::default(),
    };
    changes.put_job(&job)?;
    Ok(job)
}

/// The source and specification that a job reads.
fn source_of<'a>(
    collection: &'a Collection,
    given: Option<&'a SourceBinding>,
) -> Result<(&'a str, &'a str)> {
    let Some(given) = given else {
        let schema = &collection.schema;
        if schema.external_source.is_empty() {
            return Err(Error::invalid_argument(format!(
                "collection {} has no persisted external_source/external_spec, they must be given \
                 with the refresh",
                collection.name
            )));
        }
        return Ok((&schema.external_source, &schema.external_spec));
    };
    if given.source.is_empty() || given.spec.is_empty() {
        let message = "external_source and external_spec must be both provided or both omitted";
        return Err(Error::invalid_argument(message));
    }
    Ok((&given.source, &given.spec))
}

fn publish(state: &CatalogState, changes: &mut Changes, end: &Publication) -> Result<()> {
    let job = state.job(end.job)?;
    if job.state == JobState::Completed && is_published(state, job, end) {
        return Ok(());
    }
    let mut job = active(state, end.job)?.clone();
    let mut collection = state.collection_by_id(job.collection)?.as_ref().clone();
    let found = collection.manifest_version();
    if found != job.base_version {
        return Err(Error::conflict(format!(
            "refresh job {} started from version {} of collection {}, which is now at {found}",
            job.id, job.base_version, collection.name
        ))
        .about(Subject::Job));
    }
    if let Some(manifest) = &end.manifest {
        if manifest.version != ManifestVersion(found.0 + 1) {
            return Err(Error::invalid_argument(format!(
                "refresh job {} publishes version {} of collection {} after {found}",
                job.id, manifest.version, collection.name
            )));
        }
        collection.manifest = Some(manifest.clone());
    }
    if let Some(binding) = &end.source {
        collection.schema.external_source.clone_from(&binding.source);
        collection.schema.external_spec.clone_from(&binding.spec);
        changes.set_secret(collection.id, binding.secret.as_ref());
    }
    if end.manifest.is_some() || end.source.is_some() {
        collection.updated_ms = end.now_ms;
        changes.put_collection(&collection)?;
    }
    job.state = JobState::Completed;
    job.progress = 100;
    job.end_ms = end.now_ms;
    job.receipt = end.receipt;
    changes.put_job(&job)
}

/// Whether the collection already is as the publication would leave it.
fn is_published(state: &CatalogState, job: &RefreshJob, end: &Publication) -> bool {
    let Ok(collection) = state.collection_by_id(job.collection) else { return false };
    end.manifest.as_ref().is_none_or(|manifest| collection.manifest.as_ref() == Some(manifest))
        && end.source.as_ref().is_none_or(|binding| {
            collection.schema.external_source == binding.source
                && collection.schema.external_spec == binding.spec
                && state.secret(collection.id) == binding.secret.as_ref()
        })
}

/// Ends the job of a collection that is dropped.
pub(super) fn end_with_collection(
    state: &CatalogState,
    changes: &mut Changes,
    collection: CollectionId,
    now_ms: i64,
) -> Result<()> {
    if let Some(job) = state.active_job(collection) {
        let reason = format!("collection {} was dropped", job.collection_name);
        changes.put_job(&failed(job.as_ref().clone(), &reason, now_ms))?;
    }
    forget_old(state, changes, |job| {
        job.collection == collection || state.collection_by_id(job.collection).is_err()
    });
    Ok(())
}

fn forget_old(
    state: &CatalogState,
    changes: &mut Changes,
    is_of_group: impl Fn(&RefreshJob) -> bool,
) {
    let finished: Vec<_> = state
        .all_jobs()
        .filter(|job| !job.state.is_active() && is_of_group(job))
        .map(|job| job.id)
        .collect();
    for &id in finished.iter().rev().skip(FINISHED_JOBS_KEPT) {
        changes.delete_job(id);
    }
}

fn active(state: &CatalogState, id: JobId) -> Result<&RefreshJob> {
    let job = state.job(id)?;
    if job.state.is_active() {
        return Ok(job);
    }
    let message = format!("refresh job {id} has ended as {}", job.state.name());
    Err(Error::conflict(message).about(Subject::Job))
}

fn failed(mut job: RefreshJob, reason: &str, now_ms: i64) -> RefreshJob {
    job.state = JobState::Failed;
    reason.clone_into(&mut job.reason);
    job.end_ms = now_ms;
    job
}
