//! Refresh jobs.

use pandion_catalog::{JobState, Receipt, RefreshJob};
use pandion_proto::common::Status;
use pandion_proto::milvus;
use pandion_types::{JobId, Result};

use super::{Caller, Door};
use crate::access::{Action, Resource};
use crate::status;

pub(super) async fn refresh_external_collection(
    door: &Door,
    caller: &Caller,
    request: milvus::RefreshExternalCollectionRequest,
) -> Result<milvus::RefreshExternalCollectionResponse> {
    let database = caller.database_of(&request.db_name);
    let collection = door.collection(caller, database, &request.collection_name)?;
    door.authorize(caller, Action::Refresh, Resource::Collection(&collection))?;
    let refresh = door.node().refresh();
    let job = refresh
        .start(database, &request.collection_name, &request.external_source, &request.external_spec)
        .await?;
    Ok(milvus::RefreshExternalCollectionResponse { status: Some(status::success()), job_id: job.0 })
}

pub(super) async fn get_refresh_external_collection_progress(
    door: &Door,
    caller: &Caller,
    request: milvus::GetRefreshExternalCollectionProgressRequest,
) -> Result<milvus::GetRefreshExternalCollectionProgressResponse> {
    let job = door.node().refresh().job(JobId(request.job_id))?;
    // The job of a collection that was dropped since can still be looked at.
    if let Ok(collection) = door.node().catalog().state().collection_by_id(job.collection) {
        door.authorize(caller, Action::Describe, Resource::Collection(collection))?;
    }
    Ok(milvus::GetRefreshExternalCollectionProgressResponse {
        status: Some(with_receipt(&job.receipt)),
        job_info: Some(info(&job)),
    })
}

pub(super) async fn list_refresh_external_collection_jobs(
    door: &Door,
    caller: &Caller,
    request: milvus::ListRefreshExternalCollectionJobsRequest,
) -> Result<milvus::ListRefreshExternalCollectionJobsResponse> {
    let database = caller.database_of(&request.db_name);
    door.authorize(caller, Action::Describe, Resource::Database(database))?;
    let of = Some(request.collection_name.as_str()).filter(|name| !name.is_empty());
    let jobs = door.node().refresh().jobs(database, of)?;
    Ok(milvus::ListRefreshExternalCollectionJobsResponse {
        status: Some(status::success()),
        jobs: jobs.iter().map(info).collect(),
    })
}

fn info(job: &RefreshJob) -> milvus::RefreshExternalCollectionJobInfo {
    let state = match job.state {
        JobState::Pending => milvus::RefreshExternalCollectionState::RefreshPending,
        JobState::InProgress => milvus::RefreshExternalCollectionState::RefreshInProgress,
        JobState::Completed => milvus::RefreshExternalCollectionState::RefreshCompleted,
        JobState::Failed => milvus::RefreshExternalCollectionState::RefreshFailed,
    };
    milvus::RefreshExternalCollectionJobInfo {
        job_id: job.id.0,
        collection_name: job.collection_name.clone(),
        state: state.into(),
        progress: job.progress.into(),
        reason: job.reason.clone(),
        external_source: job.source.clone(),
        start_time: job.start_ms,
        end_time: job.end_ms,
        external_spec: job.spec.clone(),
    }
}

/// Success, with what the job found and read, for which the job's message has no place.
fn with_receipt(receipt: &Receipt) -> Status {
    let pairs = [
        ("files_added", receipt.files_added),
        ("files_changed", receipt.files_changed),
        ("files_removed", receipt.files_removed),
        ("files_kept", receipt.files_kept),
        ("rows", receipt.rows),
        ("list_requests", receipt.list_requests),
        ("read_requests", receipt.read_requests),
        ("bytes_read", receipt.bytes_read),
        ("index_ms", receipt.index_ms),
        ("rows_indexed", receipt.rows_indexed),
        ("index_failures", receipt.index_failures),
        ("indexes_remapped", receipt.indexes_remapped),
    ];
    let extra_info = pairs.into_iter().map(|(key, count)| (key.to_owned(), count.to_string()));
    Status { extra_info: extra_info.collect(), ..status::success() }
}
