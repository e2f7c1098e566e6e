//! Indexes. Every search is exact, so an index is always complete.

use pandion_catalog::{Collection, CreateIndex, IndexRecord, PropertyChange};
use pandion_proto::{common, milvus};
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
    Ok(milvus::DescribeIndexResponse {
        status: Some(status::success()),
        index_descriptions: descriptions(&collection, &request.index_name, &request.field_name)?,
    })
}

pub(super) async fn get_index_statistics(
    door: &Door,
    caller: &Caller,
    request: milvus::GetIndexStatisticsRequest,
) -> Result<milvus::GetIndexStatisticsResponse> {
    let collection = door.collection(caller, &request.db_name, &request.collection_name)?;
    Ok(milvus::GetIndexStatisticsResponse {
        status: Some(status::success()),
        index_descriptions: descriptions(&collection, &request.index_name, "")?,
    })
}

pub(super) async fn get_index_state(
    door: &Door,
    caller: &Caller,
    request: milvus::GetIndexStateRequest,
) -> Result<milvus::GetIndexStateResponse> {
    let collection = door.collection(caller, &request.db_name, &request.collection_name)?;
    descriptions(&collection, &request.index_name, &request.field_name)?;
    Ok(milvus::GetIndexStateResponse {
        status: Some(status::success()),
        state: common::IndexState::Finished.into(),
        ..milvus::GetIndexStateResponse::default()
    })
}

pub(super) async fn get_index_build_progress(
    door: &Door,
    caller: &Caller,
    request: milvus::GetIndexBuildProgressRequest,
) -> Result<milvus::GetIndexBuildProgressResponse> {
    let collection = door.collection(caller, &request.db_name, &request.collection_name)?;
    descriptions(&collection, &request.index_name, &request.field_name)?;
    let rows = rows(&collection);
    Ok(milvus::GetIndexBuildProgressResponse {
        status: Some(status::success()),
        indexed_rows: rows,
        total_rows: rows,
    })
}

/// The indexes that a request means: those of a name, of a field, or all.
fn descriptions(
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
    let found: Vec<_> = meant.map(|index| describe(collection, index, field_name(index))).collect();
    if found.is_empty() {
        return Err(Error::not_found(Subject::Index, "index not found")
            .with("collection", &collection.name));
    }
    Ok(found)
}

fn describe(
    collection: &Collection,
    index: &IndexRecord,
    field_name: String,
) -> milvus::IndexDescription {
    let rows = rows(collection);
    milvus::IndexDescription {
        index_name: index.name.clone(),
        index_id: index.id.0,
        field_name,
        params: encode_pairs(&index.params),
        indexed_rows: rows,
        total_rows: rows,
        pending_index_rows: 0,
        state: common::IndexState::Finished.into(),
        ..milvus::IndexDescription::default()
    }
}

fn rows(collection: &Collection) -> i64 {
    let rows = collection.manifest.as_ref().map_or(0, |manifest| manifest.rows);
    i64::try_from(rows).unwrap_or(i64::MAX)
}
