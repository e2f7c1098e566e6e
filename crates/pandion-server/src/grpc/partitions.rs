//! Partitions: an external collection has exactly one.

use pandion_proto::common::KeyValuePair;
use pandion_proto::{common, milvus};
use pandion_types::{Error, Result, Subject};

use super::{Caller, Door, loading};
use crate::clock;
use crate::status;

/// The only partition.
pub(super) const DEFAULT_PARTITION: &str = "_default";
/// Its number. Partitions of different collections are never compared.
pub(super) const DEFAULT_PARTITION_ID: i64 = 1;

/// Checks the partitions that a search or query is to look into.
pub(super) fn check(names: &[String]) -> Result<()> {
    match names.iter().find(|name| !name.is_empty() && *name != DEFAULT_PARTITION) {
        Some(name) => Err(Error::invalid_argument(format!("partition name {name} not found"))),
        None => Ok(()),
    }
}

fn check_exists(name: &str) -> Result<()> {
    if name == DEFAULT_PARTITION {
        return Ok(());
    }
    Err(Error::not_found(Subject::Partition, "partition not found").with("partition", name))
}

pub(super) async fn has_partition(
    door: &Door,
    caller: &Caller,
    request: milvus::HasPartitionRequest,
) -> Result<milvus::BoolResponse> {
    door.collection(caller, &request.db_name, &request.collection_name)?;
    Ok(milvus::BoolResponse {
        status: Some(status::success()),
        value: request.partition_name == DEFAULT_PARTITION,
    })
}

pub(super) async fn show_partitions(
    door: &Door,
    caller: &Caller,
    request: milvus::ShowPartitionsRequest,
) -> Result<milvus::ShowPartitionsResponse> {
    let collection = door.collection(caller, &request.db_name, &request.collection_name)?;
    Ok(milvus::ShowPartitionsResponse {
        status: Some(status::success()),
        partition_names: vec![DEFAULT_PARTITION.to_owned()],
        partition_i_ds: vec![DEFAULT_PARTITION_ID],
        created_timestamps: vec![clock::hybrid(collection.created_ms)],
        created_utc_timestamps: vec![u64::try_from(collection.created_ms).unwrap_or(0)],
        ..milvus::ShowPartitionsResponse::default()
    })
}

pub(super) async fn load_partitions(
    door: &Door,
    caller: &Caller,
    request: milvus::LoadPartitionsRequest,
) -> Result<common::Status> {
    request.partition_names.iter().try_for_each(|name| check_exists(name))?;
    loading::load(door, caller, &request.db_name, &request.collection_name, request.refresh).await
}

pub(super) async fn release_partitions(
    door: &Door,
    caller: &Caller,
    request: milvus::ReleasePartitionsRequest,
) -> Result<common::Status> {
    request.partition_names.iter().try_for_each(|name| check_exists(name))?;
    loading::release(door, caller, &request.db_name, &request.collection_name).await
}

pub(super) async fn get_partition_statistics(
    door: &Door,
    caller: &Caller,
    request: milvus::GetPartitionStatisticsRequest,
) -> Result<milvus::GetPartitionStatisticsResponse> {
    let collection = door.collection(caller, &request.db_name, &request.collection_name)?;
    check_exists(&request.partition_name)?;
    let rows = collection.manifest.as_ref().map_or(0, |manifest| manifest.rows);
    Ok(milvus::GetPartitionStatisticsResponse {
        status: Some(status::success()),
        stats: vec![KeyValuePair { key: "row_count".to_owned(), value: rows.to_string() }],
    })
}
