//! Indexes: create, alter, drop, and how far each is. Indexes of vectors are always complete, since
//! every search is exact.

use pandion_catalog::{Collection, CreateIndex, IndexRecord, PropertyChange};
use pandion_proto::{common, milvus};
use pandion_refresh::{IndexCoverage, IndexState};
use pandion_types::{Error, Result, Subject};

use super::{Caller, Door};
use crate::access::{Action, Resource};
use crate::clock;
use crate::schema_codec::{decode_pairs, encode_pairs};
use crate::status;

pub(super) async fn create_index(
    door: &Door,
    caller: &Caller,
    request: milvus::CreateIndexRequest,
) -> Result<common::Status> {
    let database = caller.database_of(&request.db_name);
    let collection = door.collection(caller, database, &request.collection_name)?;
    door.authorize(caller, Action::Change, Resource::Collection(&collection))?;
    let index = CreateIndex {
        database: database.to_owned(),
        collection: request.collection_name,
        field: request.field_name,
        name: request.index_name,
        params: decode_pairs(&request.extra_params),
        now_ms: clock::unix_ms(),
    };
    door.node().catalog().create_index(index).await?;
    Ok(status::success())
}

pub(super) async fn drop_index(
    door: &Door,
    caller: &Caller,
    request: milvus::DropIndexRequest,
) -> Result<common::Status> {
    let database = caller.database_of(&request.db_name);
    let collection = door.collection(caller, database, &request.collection_name)?;
    door.authorize(caller, Action::Change, Resource::Collection(&collection))?;
    let name =
        if request.index_name.is_empty() { &request.field_name } else { &request.index_name };
    door.node().catalog().drop_index(database, &request.collection_name, name).await?;
    Ok(status::success())
}

pub(super) async fn alter_index(
    door: &Door,
    caller: &Caller,
    request: milvus::AlterIndexRequest,
) -> Result<common::Status> {
    let database = caller.database_of(&request.db_name);
    let collection = door.collection(caller, database, &request.collection_name)?;
    door.authorize(caller, Action::Change, Resource::Collection(&collection))?;
    let change =
        PropertyChange { set: decode_pairs(&request.extra_params), delete: request.delete_keys };
    door.node()
        .catalog()
        .alter_index(database, &request.collection_name, &request.index_name, change)
        .await?;
    Ok(status::success())
}

pub(super) async fn describe_index(
    door: &Door,
    caller: &Caller,
    request: milvus::DescribeIndexRequest,
) -> Result<milvus::DescribeIndexResponse> {
    let collection = door.collection(caller, &request.db_name, &request.collection_name)?;
    let found = descriptions(door, &collection, &request.index_name, &request.field_name).await?;
    Ok(milvus::DescribeIndexResponse { status: Some(status::success()), index_descriptions: found })
}

pub(super) async fn get_index_statistics(
    door: &Door,
    caller: &Caller,
    request: milvus::GetIndexStatisticsRequest,
) -> Result<milvus::GetIndexStatisticsResponse> {
    let collection = door.collection(caller, &request.db_name, &request.collection_name)?;
    Ok(milvus::GetIndexStatisticsResponse {
        status: Some(status::success()),
        index_descriptions: descriptions(door, &collection, &request.index_name, "").await?,
    })
}

pub(super) async fn get_index_state(
    door: &Door,
    caller: &Caller,
    request: milvus::GetIndexStateRequest,
) -> Result<milvus::GetIndexStateResponse> {
    let collection = door.collection(caller, &request.db_name, &request.collection_name)?;
    let found = descriptions(door, &collection, &request.index_name, &request.field_name).await?;
    // Of several indexes the one that is worst off speaks for all.
    let badness = |index: &&milvus::IndexDescription| match index.state() {
        common::IndexState::Failed => 2,
        common::IndexState::Finished => 0,
        _ => 1,
    };
    let worst = found.iter().max_by_key(badness);
    Ok(milvus::GetIndexStateResponse {
        status: Some(status::success()),
        state: worst.map_or(common::IndexState::Finished.into(), |index| index.state),
        fail_reason: worst.map_or_else(String::new, |it| it.index_state_fail_reason.clone()),
    })
}

pub(super) async fn get_index_build_progress(
    door: &Door,
    caller: &Caller,
    request: milvus::GetIndexBuildProgressRequest,
) -> Result<milvus::GetIndexBuildProgressResponse> {
    let collection = door.collection(caller, &request.db_name, &request.collection_name)?;
    let found = descriptions(door, &collection, &request.index_name, &request.field_name).await?;
    let least = found.iter().min_by_key(|index| index.indexed_rows);
    Ok(milvus::GetIndexBuildProgressResponse {
        status: Some(status::success()),
        indexed_rows: least.map_or(0, |index| index.indexed_rows),
        total_rows: least.map_or(0, |index| index.total_rows),
    })
}

/// The indexes that a request means: those of a name, of a field, or all.
async fn descriptions(
    door: &Door,
    collection: &Collection,
    name: &str,
    field: &str,
) -> Result<Vec<milvus::IndexDescription>> {
    let field_name = |index: &IndexRecord| {
        let field = collection.schema.field_by_id(index.field);
        field.map(|field| field.name.clone()).unwrap_or_default()
    };
    let meant = collection.indexes.values().filter(|index| {
        (name.is_empty() || index.name == name) && (field.is_empty() || field_name(index) == field)
    });
    let meant: Vec<&IndexRecord> = meant.collect();
    if meant.is_empty() {
        return Err(Error::not_found(Subject::Index, "index not found")
            .with("collection", &collection.name));
    }
    let coverage = door.node().indexes().coverage(collection).await?;
    let described = meant.into_iter().filter_map(|index| {
        let coverage = coverage.get(&index.id)?;
        Some(describe(index, field_name(index), coverage))
    });
    Ok(described.collect())
}

fn describe(
    index: &IndexRecord,
    field_name: String,
    coverage: &IndexCoverage,
) -> milvus::IndexDescription {
    let state = match coverage.state {
        IndexState::InProgress => common::IndexState::InProgress,
        IndexState::Finished => common::IndexState::Finished,
        IndexState::Failed => common::IndexState::Failed,
    };
    let pending = coverage.rows.saturating_sub(coverage.rows_indexed);
    milvus::IndexDescription {
        index_name: index.name.clone(),
        index_id: index.id.0,
        field_name,
        params: encode_pairs(&index.params),
        indexed_rows: signed(coverage.rows_indexed),
        total_rows: signed(coverage.rows),
        pending_index_rows: signed(pending),
        state: state.into(),
        index_state_fail_reason: coverage.reason.clone(),
        ..milvus::IndexDescription::default()
    }
}

fn signed(rows: u64) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
