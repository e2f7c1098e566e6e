//! Aliases: other names of collections.

use pandion_proto::{common, milvus};
use pandion_types::Result;

use super::{Caller, Door};
use crate::access::{Action, Resource};
use crate::clock;
use crate::status;

pub(super) async fn create_alias(
    door: &Door,
    caller: &Caller,
    request: milvus::CreateAliasRequest,
) -> Result<common::Status> {
    let database = caller.database_of(&request.db_name);
    door.authorize(caller, Action::Change, Resource::Database(database))?;
    let (name, alias) = (&request.collection_name, &request.alias);
    door.node().catalog().create_alias(database, alias, name, clock::unix_ms()).await?;
    Ok(status::success())
}

pub(super) async fn drop_alias(
    door: &Door,
    caller: &Caller,
    request: milvus::DropAliasRequest,
) -> Result<common::Status> {
    let database = caller.database_of(&request.db_name);
    door.authorize(caller, Action::Change, Resource::Database(database))?;
    door.node().catalog().drop_alias(database, &request.alias).await?;
    Ok(status::success())
}

pub(super) async fn alter_alias(
    door: &Door,
    caller: &Caller,
    request: milvus::AlterAliasRequest,
) -> Result<common::Status> {
    let database = caller.database_of(&request.db_name);
    door.authorize(caller, Action::Change, Resource::Database(database))?;
    let (name, alias) = (&request.collection_name, &request.alias);
    door.node().catalog().alter_alias(database, alias, name, clock::unix_ms()).await?;
    Ok(status::success())
}

pub(super) async fn describe_alias(
    door: &Door,
    caller: &Caller,
    request: milvus::DescribeAliasRequest,
) -> Result<milvus::DescribeAliasResponse> {
    let database = caller.database_of(&request.db_name);
    door.authorize(caller, Action::Describe, Resource::Database(database))?;
    let state = door.node().catalog().state();
    let alias = state.alias(database, &request.alias)?;
    let collection = state.collection_by_id(alias.collection)?;
    Ok(milvus::DescribeAliasResponse {
        status: Some(status::success()),
        db_name: database.to_owned(),
        alias: alias.name.clone(),
        collection: collection.name.clone(),
    })
}

pub(super) async fn list_aliases(
    door: &Door,
    caller: &Caller,
    request: milvus::ListAliasesRequest,
) -> Result<milvus::ListAliasesResponse> {
    let database = caller.database_of(&request.db_name);
    door.authorize(caller, Action::Describe, Resource::Database(database))?;
    let of = Some(request.collection_name.as_str()).filter(|name| !name.is_empty());
    let aliases = door.node().catalog().state().aliases(database, of)?;
    Ok(milvus::ListAliasesResponse {
        status: Some(status::success()),
        db_name: database.to_owned(),
        collection_name: request.collection_name,
        aliases: aliases.iter().map(|alias| alias.name.clone()).collect(),
    })
}
