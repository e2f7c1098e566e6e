//! Load and release. Loading reads nothing: it makes a published version searchable.

use pandion_catalog::LoadRequest;
use pandion_proto::{common, milvus};
use pandion_types::{ErrorKind, Result};

use super::{Caller, Door};
use crate::access::{Action, Resource};
use crate::status;

pub(super) async fn load_collection(
    door: &Door,
    caller: &Caller,
    request: milvus::LoadCollectionRequest,
) -> Result<common::Status> {
    load(door, caller, &request.db_name, &request.collection_name, request.refresh).await
}

pub(super) async fn release_collection(
    door: &Door,
    caller: &Caller,
    request: milvus::ReleaseCollectionRequest,
) -> Result<common::Status> {
    release(door, caller, &request.db_name, &request.collection_name).await
}

pub(super) async fn load(
    door: &Door,
    caller: &Caller,
    database: &str,
    name: &str,
    refresh: bool,
) -> Result<common::Status> {
    let database = caller.database_of(database);
    let collection = door.collection(caller, database, name)?;
    door.authorize(caller, Action::Change, Resource::Collection(&collection))?;
    let request = LoadRequest {
        database: database.to_owned(),
        collection: name.to_owned(),
        publish: door.node().publish_policy(),
        refresh,
    };
    door.node().catalog().load(request).await?;
    Ok(status::success())
}

pub(super) async fn release(
    door: &Door,
    caller: &Caller,
    database: &str,
    name: &str,
) -> Result<common::Status> {
    let database = caller.database_of(database);
    let collection = door.collection(caller, database, name)?;
    door.authorize(caller, Action::Change, Resource::Collection(&collection))?;
    door.node().catalog().release(database, name).await?;
    Ok(status::success())
}

pub(super) async fn get_load_state(
    door: &Door,
    caller: &Caller,
    request: milvus::GetLoadStateRequest,
) -> Result<milvus::GetLoadStateResponse> {
    let state = match door.collection(caller, &request.db_name, &request.collection_name) {
        Ok(collection) if collection.loaded => common::LoadState::Loaded,
        Ok(_) => common::LoadState::NotLoad,
        Err(error) if error.kind() == ErrorKind::NotFound => common::LoadState::NotExist,
        Err(error) => return Err(error),
    };
    Ok(milvus::GetLoadStateResponse { status: Some(status::success()), state: state.into() })
}

pub(super) async fn get_loading_progress(
    door: &Door,
    caller: &Caller,
    request: milvus::GetLoadingProgressRequest,
) -> Result<milvus::GetLoadingProgressResponse> {
    let collection = door.collection(caller, &request.db_name, &request.collection_name)?;
    let progress = if collection.loaded { 100 } else { 0 };
    Ok(milvus::GetLoadingProgressResponse {
        status: Some(status::success()),
        progress,
        refresh_progress: progress,
    })
}
