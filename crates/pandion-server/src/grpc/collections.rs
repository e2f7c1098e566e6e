//! Collections: create, describe, list, rename, change, drop.

use std::sync::Arc;

use pandion_catalog::{Collection, CreateCollection, PropertyChange};
use pandion_proto::common::KeyValuePair;
use pandion_proto::{common, milvus};
use pandion_types::{ErrorKind, Result};

use super::{Caller, Door};
use crate::access::{Action, Resource};
use crate::clock;
use crate::schema_codec::{
    check_layout, decode_collection_schema, decode_pairs, encode_collection_schema, encode_pairs,
};
use crate::status;

pub(super) async fn create_collection(
    door: &Door,
    caller: &Caller,
    request: milvus::CreateCollectionRequest,
) -> Result<common::Status> {
    let database = caller.database_of(&request.db_name);
    door.authorize(caller, Action::Change, Resource::Database(database))?;
    let name = request.collection_name.as_str();
    let mut schema = decode_collection_schema(name, &request.schema)?;
    check_layout(name, request.shards_num, request.num_partitions)?;
    let source = door.node().check_source(&schema.external_source, &schema.external_spec).await?;
    let secret = source.and_then(|source| {
        schema.external_source = source.source;
        schema.external_spec = source.spec;
        source.secret
    });
    let create = CreateCollection {
        database: database.to_owned(),
        name: name.to_owned(),
        schema,
        secret,
        properties: decode_pairs(&request.properties),
        consistency_level: request.consistency_level,
        now_ms: clock::unix_ms(),
    };
    door.node().catalog().create_collection(create).await?;
    Ok(status::success())
}

pub(super) async fn drop_collection(
    door: &Door,
    caller: &Caller,
    request: milvus::DropCollectionRequest,
) -> Result<common::Status> {
    let database = caller.database_of(&request.db_name);
    let found = door.collection(caller, database, &request.collection_name);
    match &found {
        Ok(collection) => {
            door.authorize(caller, Action::Change, Resource::Collection(collection))?;
        }
        // The catalogue decides what a name that does not exist means.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(_) => {
            found?;
        }
    }
    door.node()
        .catalog()
        .drop_collection(database, &request.collection_name, clock::unix_ms())
        .await?;
    door.node().forget_dropped();
    Ok(status::success())
}

pub(super) async fn has_collection(
    door: &Door,
    caller: &Caller,
    request: milvus::HasCollectionRequest,
) -> Result<milvus::BoolResponse> {
    let found = door.collection_at(caller, &request.db_name, &request.collection_name);
    let value = match found {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    Ok(milvus::BoolResponse { status: Some(status::success()), value })
}

pub(super) async fn describe_collection(
    door: &Door,
    caller: &Caller,
    request: milvus::DescribeCollectionRequest,
) -> Result<milvus::DescribeCollectionResponse> {
    let collection = if request.collection_name.is_empty() && request.collection_id != 0 {
        door.collection_by_id(caller, request.collection_id)?
    } else {
        door.collection_at(caller, &request.db_name, &request.collection_name)?.0
    };
    let state = door.node().catalog().state();
    let database = state.database_by_id(collection.database).map(|database| database.name.clone());
    let database = database.unwrap_or_default();
    Ok(milvus::DescribeCollectionResponse {
        status: Some(status::success()),
        schema: Some(encode_collection_schema(&collection.name, &database, &collection.schema)),
        collection_id: collection.id.0,
        collection_name: collection.name.clone(),
        db_name: database,
        shards_num: 1,
        num_partitions: 1,
        aliases: state.aliases_of(collection.id),
        consistency_level: collection.consistency_level,
        properties: encode_pairs(&collection.properties),
        created_timestamp: clock::hybrid(collection.created_ms),
        created_utc_timestamp: u64::try_from(collection.created_ms).unwrap_or(0),
        update_timestamp: clock::hybrid(collection.updated_ms),
        ..milvus::DescribeCollectionResponse::default()
    })
}

pub(super) async fn show_collections(
    door: &Door,
    caller: &Caller,
    request: milvus::ShowCollectionsRequest,
) -> Result<milvus::ShowCollectionsResponse> {
    let database = caller.database_of(&request.db_name);
    door.authorize(caller, Action::Describe, Resource::Database(database))?;
    let only_loaded = request.r#type() == milvus::ShowType::InMemory;
    let all = door.node().catalog().state().collections(database)?;
    let shown: Vec<Arc<Collection>> =
        all.into_iter().filter(|collection| collection.loaded || !only_loaded).collect();
    let percent = |collection: &Arc<Collection>| if collection.loaded { 100 } else { 0 };
    Ok(milvus::ShowCollectionsResponse {
        status: Some(status::success()),
        collection_names: shown.iter().map(|collection| collection.name.clone()).collect(),
        collection_ids: shown.iter().map(|collection| collection.id.0).collect(),
        created_timestamps: shown.iter().map(|it| clock::hybrid(it.created_ms)).collect(),
        created_utc_timestamps: shown
            .iter()
            .map(|collection| u64::try_from(collection.created_ms).unwrap_or(0))
            .collect(),
        in_memory_percentages: shown.iter().map(percent).collect(),
        query_service_available: shown.iter().map(|collection| collection.loaded).collect(),
        shards_num: shown.iter().map(|_| 1).collect(),
    })
}

pub(super) async fn get_collection_statistics(
    door: &Door,
    caller: &Caller,
    request: milvus::GetCollectionStatisticsRequest,
) -> Result<milvus::GetCollectionStatisticsResponse> {
    let collection = door.collection(caller, &request.db_name, &request.collection_name)?;
    let rows = collection.manifest.as_ref().map_or(0, |manifest| manifest.rows);
    Ok(milvus::GetCollectionStatisticsResponse {
        status: Some(status::success()),
        stats: vec![KeyValuePair { key: "row_count".to_owned(), value: rows.to_string() }],
    })
}

pub(super) async fn rename_collection(
    door: &Door,
    caller: &Caller,
    request: milvus::RenameCollectionRequest,
) -> Result<common::Status> {
    let database = caller.database_of(&request.db_name);
    let collection = door.collection(caller, database, &request.old_name)?;
    door.authorize(caller, Action::Change, Resource::Collection(&collection))?;
    let to = if request.new_db_name.is_empty() { database } else { &request.new_db_name };
    door.authorize(caller, Action::Change, Resource::Database(to))?;
    door.node()
        .catalog()
        .rename_collection((database, &request.old_name), (to, &request.new_name), clock::unix_ms())
        .await?;
    Ok(status::success())
}

pub(super) async fn alter_collection(
    door: &Door,
    caller: &Caller,
    request: milvus::AlterCollectionRequest,
) -> Result<common::Status> {
    let database = caller.database_of(&request.db_name);
    let collection = door.collection(caller, database, &request.collection_name)?;
    door.authorize(caller, Action::Change, Resource::Collection(&collection))?;
    let change =
        PropertyChange { set: decode_pairs(&request.properties), delete: request.delete_keys };
    door.node()
        .catalog()
        .alter_collection(database, &request.collection_name, change, clock::unix_ms())
        .await?;
    Ok(status::success())
}
