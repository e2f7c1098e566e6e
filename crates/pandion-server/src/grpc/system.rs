//! Connection, version, health and segment lists.

use std::sync::atomic::{AtomicI64, Ordering};

use pandion_proto::{common, milvus};
use pandion_types::Result;

use super::{Caller, Door};
use crate::clock;
use crate::status;

/// The version of the protocol that clients are told: they enable features by it.
const MILVUS_VERSION: &str = "3.0.0";

/// Numbers given to connections; clients take 0 for "none".
static NEXT_CONNECTION: AtomicI64 = AtomicI64::new(1);

pub(super) async fn connect(
    door: &Door,
    caller: &Caller,
    _: milvus::ConnectRequest,
) -> Result<milvus::ConnectResponse> {
    if let Some(database) = &caller.database {
        door.node().catalog().state().database(database)?;
    }
    Ok(milvus::ConnectResponse {
        status: Some(status::success()),
        server_info: Some(common::ServerInfo {
            build_tags: MILVUS_VERSION.to_owned(),
            git_commit: format!("pandion-{}", env!("CARGO_PKG_VERSION")),
            deploy_mode: "STANDALONE".to_owned(),
            ..common::ServerInfo::default()
        }),
        identifier: NEXT_CONNECTION.fetch_add(1, Ordering::Relaxed),
    })
}

pub(super) async fn get_version(
    _: &Door,
    _: &Caller,
    _: milvus::GetVersionRequest,
) -> Result<milvus::GetVersionResponse> {
    Ok(milvus::GetVersionResponse {
        status: Some(status::success()),
        version: format!("{MILVUS_VERSION}-pandion-{}", env!("CARGO_PKG_VERSION")),
    })
}

pub(super) async fn check_health(
    _: &Door,
    _: &Caller,
    _: milvus::CheckHealthRequest,
) -> Result<milvus::CheckHealthResponse> {
    Ok(milvus::CheckHealthResponse {
        status: Some(status::success()),
        is_healthy: true,
        ..milvus::CheckHealthResponse::default()
    })
}

pub(super) async fn alloc_timestamp(
    _: &Door,
    _: &Caller,
    _: milvus::AllocTimestampRequest,
) -> Result<milvus::AllocTimestampResponse> {
    Ok(milvus::AllocTimestampResponse {
        status: Some(status::success()),
        timestamp: clock::hybrid_timestamp(),
    })
}

/// External rows lie in files, not in segments of the server.
pub(super) async fn get_persistent_segment_info(
    door: &Door,
    caller: &Caller,
    request: milvus::GetPersistentSegmentInfoRequest,
) -> Result<milvus::GetPersistentSegmentInfoResponse> {
    door.collection(caller, &request.db_name, &request.collection_name)?;
    Ok(milvus::GetPersistentSegmentInfoResponse {
        status: Some(status::success()),
        ..milvus::GetPersistentSegmentInfoResponse::default()
    })
}

/// External rows lie in files, not in segments of the server.
pub(super) async fn get_query_segment_info(
    door: &Door,
    caller: &Caller,
    request: milvus::GetQuerySegmentInfoRequest,
) -> Result<milvus::GetQuerySegmentInfoResponse> {
    door.collection(caller, &request.db_name, &request.collection_name)?;
    Ok(milvus::GetQuerySegmentInfoResponse {
        status: Some(status::success()),
        ..milvus::GetQuerySegmentInfoResponse::default()
    })
}
