//! Databases: name spaces of collections.

use pandion_catalog::PropertyChange;
use pandion_proto::{common, milvus};
use pandion_types::Result;

use super::{Caller, Door};
use crate::access::{Action, Resource};
use crate::clock;
use crate::schema_codec::{decode_pairs, encode_pairs};
use crate::status;

pub(super) async fn create_database(
    door: &Door,
    caller: &Caller,
    request: milvus::CreateDatabaseRequest,
) -> Result<common::Status> {
    door.authorize(caller, Action::Change, Resource::Server)?;
    let properties = decode_pairs(&request.properties);
    door.node().catalog().create_database(&request.db_name, properties, clock::unix_ms()).await?;
    Ok(status::success())
}

pub(super) async fn drop_database(
    door: &Door,
    caller: &Caller,
    request: milvus::DropDatabaseRequest,
) -> Result<common::Status> {
    door.authorize(caller, Action::Change, Resource::Database(&request.db_name))?;
    door.node().catalog().drop_database(&request.db_name).await?;
    Ok(status::success())
}

pub(super) async fn list_databases(
    door: &Door,
    caller: &Caller,
    _: milvus::ListDatabasesRequest,
) -> Result<milvus::ListDatabasesResponse> {
    door.authorize(caller, Action::Describe, Resource::Server)?;
    let state = door.node().catalog().state();
    Ok(milvus::ListDatabasesResponse {
        status: Some(status::success()),
        db_names: state.databases().map(|database| database.name.clone()).collect(),
        created_timestamp: state.databases().map(|it| clock::hybrid(it.created_ms)).collect(),
        db_ids: state.databases().map(|database| database.id.0).collect(),
    })
}

pub(super) async fn describe_database(
    door: &Door,
    caller: &Caller,
    request: milvus::DescribeDatabaseRequest,
) -> Result<milvus::DescribeDatabaseResponse> {
    let state = door.node().catalog().state();
    let database = state.database(caller.database_of(&request.db_name))?;
    door.authorize(caller, Action::Describe, Resource::Database(&database.name))?;
    Ok(milvus::DescribeDatabaseResponse {
        status: Some(status::success()),
        db_name: database.name.clone(),
        db_id: database.id.0,
        created_timestamp: clock::hybrid(database.created_ms),
        properties: encode_pairs(&database.properties),
    })
}

pub(super) async fn alter_database(
    door: &Door,
    caller: &Caller,
    request: milvus::AlterDatabaseRequest,
) -> Result<common::Status> {
    let database = caller.database_of(&request.db_name);
    door.authorize(caller, Action::Change, Resource::Database(database))?;
    let change =
        PropertyChange { set: decode_pairs(&request.properties), delete: request.delete_keys };
    door.node().catalog().alter_database(database, change).await?;
    Ok(status::success())
}
