//! Refresh jobs: their life, and what they publish.

use super::*;

fn refresh(source: Option<SourceBinding>) -> RefreshRequest {
    RefreshRequest { database: String::new(), collection: "c".to_owned(), source, now_ms: 20 }
}

fn binding(source: &str, spec: &str) -> SourceBinding {
    let (source, spec) = (source.to_owned(), spec.to_owned());
    SourceBinding { source, spec, secret: Some(Secret::new("canary")) }
}

fn pointer(version: u64) -> ManifestPointer {
    ManifestPointer {
        version: ManifestVersion(version),
        path: format!("m/{version}"),
        digest: "00".to_owned(),
        rows: 3,
        files: 1,
    }
}

fn publication(job: JobId, version: Option<u64>) -> Publication {
    let receipt = Receipt { rows: 3, ..Receipt::default() };
    Publication { job, manifest: version.map(pointer), source: None, receipt, now_ms: 30 }
}

pub(super) async fn publish_next(catalog: &Catalog) {
    let job = catalog.start_refresh(refresh(None)).await.unwrap();
    let end = publication(job.id, Some(job.base_version.0 + 1));
    catalog.publish(end).await.unwrap();
}

#[tokio::test]
async fn from_start_to_publication() {
    let catalog = with_collections().await;
    let job = catalog.start_refresh(refresh(None)).await.unwrap();
    assert!(job.id.0 > 0);
    assert_eq!((job.state, job.source.as_str(), job.start_ms), (JobState::Pending, "s3://b/p", 20));
    let step = "diffing".to_owned();
    let receipt = Receipt { files_added: 1, ..Receipt::default() };
    let update = JobUpdate { job: job.id, step, progress: 100, receipt };
    catalog.update_job(update).await.unwrap();
    let state = catalog.state();
    let running = state.job(job.id).unwrap();
    assert_eq!((running.state, running.progress), (JobState::InProgress, 99));
    assert_eq!((running.step.as_str(), running.receipt.files_added), ("diffing", 1));
    catalog.publish(publication(job.id, Some(1))).await.unwrap();
    let state = catalog.state();
    let done = state.job(job.id).unwrap();
    assert_eq!((done.state, done.progress, done.end_ms), (JobState::Completed, 100, 30));
    let collection = state.collection("", "c").unwrap();
    assert_eq!((collection.manifest.clone(), collection.updated_ms), (Some(pointer(1)), 30));
    // The answer may have been lost.
    catalog.publish(publication(job.id, Some(1))).await.unwrap();
    assert_eq!(catalog.state().version(), state.version());
    assert!(text(catalog.publish(publication(job.id, Some(2))).await).contains("has ended as"));
}

#[tokio::test]
async fn one_at_a_time() {
    let catalog = with_collections().await;
    let job = catalog.start_refresh(refresh(None)).await.unwrap();
    assert_eq!(
        error(catalog.start_refresh(refresh(None)).await),
        (
            ErrorKind::Conflict,
            Subject::Job,
            format!(
                "refresh job {} is already in progress for collection c, please wait for it \
                 to complete or cancel it first",
                job.id
            )
        )
    );
    let mut other = refresh(None);
    other.collection = "d".to_owned();
    catalog.start_refresh(other).await.unwrap();
    catalog.fail_job(job.id, "cancelled", Receipt::default(), 25).await.unwrap();
    catalog.start_refresh(refresh(None)).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_refreshed() {
    let catalog = with_collections().await;
    let mut ordinary = request("o");
    ordinary.schema.external_source.clear();
    for field in &mut ordinary.schema.fields {
        field.external_field = None;
    }
    catalog.create_collection(ordinary).await.unwrap();
    let mut deferred = request("later");
    deferred.schema.external_source.clear();
    deferred.schema.external_spec.clear();
    catalog.create_collection(deferred).await.unwrap();
    let start = async |collection: &str, source| {
        let mut request = refresh(source);
        request.collection = collection.to_owned();
        text(catalog.start_refresh(request).await)
    };
    assert_eq!(start("o", None).await, "collection o is not an external collection");
    assert_eq!(start("x", None).await, "collection not found[database=default][collection=x]");
    assert!(start("later", None).await.contains("no persisted external_source/external_spec"));
    for half in [binding("", "{}"), binding("s3://b/q", "")] {
        assert_eq!(
            start("c", Some(half)).await,
            "external_source and external_spec must be both provided or both omitted"
        );
    }
    assert_eq!(
        text(catalog.state().jobs("", Some("o"))),
        "collection o is not an external collection"
    );
    assert_eq!(
        error(catalog.state().job(JobId(99)).cloned()),
        (ErrorKind::NotFound, Subject::Job, "refresh job 99 not found".to_owned())
    );
}

#[tokio::test]
async fn an_override_counts_from_the_publication_on() {
    let catalog = with_collections().await;
    let id = catalog.state().collection("", "c").unwrap().id;
    let source = binding("s3://b/q", "{\"format\":\"parquet\"}");
    let failed = catalog.start_refresh(refresh(Some(source.clone()))).await.unwrap();
    assert_eq!((failed.source.as_str(), failed.overrides_source), ("s3://b/q", true));
    catalog.fail_job(failed.id, "bucket b not found", Receipt::default(), 25).await.unwrap();
    let state = catalog.state();
    let collection = state.collection("", "c").unwrap();
    assert_eq!(collection.schema.external_source, "s3://b/p");
    assert!(state.secret(id).is_none());
    assert_eq!(state.job(failed.id).unwrap().reason, "bucket b not found");

    // An unchanged source under another specification has no new manifest.
    let job = catalog.start_refresh(refresh(Some(source.clone()))).await.unwrap();
    let mut end = publication(job.id, None);
    end.source = Some(source);
    catalog.publish(end.clone()).await.unwrap();
    catalog.publish(end).await.unwrap();
    let state = catalog.state();
    let collection = state.collection("", "c").unwrap();
    assert_eq!(collection.schema.external_source, "s3://b/q");
    assert!(collection.manifest.is_none());
    assert_eq!(state.secret(id).unwrap().expose(), "canary");
}

#[tokio::test]
async fn only_the_next_version_is_published() {
    let catalog = with_collections().await;
    publish_next(&catalog).await;
    let job = catalog.start_refresh(refresh(None)).await.unwrap();
    for version in [1, 3] {
        let (kind, _, text) = error(catalog.publish(publication(job.id, Some(version))).await);
        assert_eq!(kind, ErrorKind::InvalidArgument);
        assert!(text.contains("after 1"), "{text}");
    }
    catalog.drop_collection("", "c", 40).await.unwrap();
    let (kind, subject, text) = error(catalog.publish(publication(job.id, Some(2))).await);
    assert_eq!((kind, subject), (ErrorKind::Conflict, Subject::Job));
    assert!(text.contains("has ended as RefreshFailed"), "{text}");
}

#[tokio::test]
async fn a_stopped_server_fails_its_jobs() {
    let catalog = with_collections().await;
    publish_next(&catalog).await;
    let job = catalog.start_refresh(refresh(None)).await.unwrap();
    assert_eq!(catalog.recover_jobs(50).await.unwrap(), [job.id]);
    assert!(catalog.recover_jobs(50).await.unwrap().is_empty());
    let state = catalog.state();
    let job = state.job(job.id).unwrap();
    assert_eq!(
        (job.state, job.reason.as_str(), job.end_ms),
        (JobState::Failed, "server stopped during refresh; run it again", 50)
    );
    assert!(
        text(
            catalog
                .update_job(JobUpdate {
                    job: job.id,
                    step: String::new(),
                    progress: 1,
                    receipt: Receipt::default(),
                })
                .await
        )
        .contains("has ended as RefreshFailed")
    );
    catalog.fail_job(job.id, "again", Receipt::default(), 60).await.unwrap();
    assert_eq!(catalog.state().version(), state.version());
    publish_next(&catalog).await;
}

#[tokio::test]
async fn lists_are_newest_first_and_old_jobs_are_forgotten() {
    let catalog = with_collections().await;
    for _ in 0..FINISHED_JOBS_KEPT + 5 {
        publish_next(&catalog).await;
    }
    let mut other = refresh(None);
    other.collection = "d".to_owned();
    let newest = catalog.start_refresh(other).await.unwrap().id;
    let jobs = catalog.state().jobs("", None).unwrap();
    assert_eq!(jobs[0].id, newest);
    assert!(jobs.windows(2).all(|pair| pair[0].id > pair[1].id));
    let of_c = catalog.state().jobs("", Some("c")).unwrap();
    // The last one was running when the old ones were last counted.
    assert_eq!(of_c.len(), FINISHED_JOBS_KEPT + 1);
    assert_eq!(jobs.len(), of_c.len() + 1);
    catalog.drop_collection("", "c", 1).await.unwrap();
    let jobs = catalog.state().jobs("", None).unwrap();
    assert_eq!(jobs.len(), FINISHED_JOBS_KEPT + 1);
}

#[test]
fn states_have_the_published_numbers_and_names() {
    let states = [JobState::Pending, JobState::InProgress, JobState::Completed, JobState::Failed];
    let shown: Vec<_> = states.iter().map(|state| (state.code(), state.name())).collect();
    let expected = [
        (0, "RefreshPending"),
        (1, "RefreshInProgress"),
        (2, "RefreshCompleted"),
        (3, "RefreshFailed"),
    ];
    assert_eq!(shown, expected);
}
