//! Writes, all of which are refused: the rows belong to the lake.

use pandion_proto::{common, milvus};
use pandion_types::{Error, Result};

use super::{Caller, Door};

/// The refusal of an operation on a collection, or the error that the collection does not exist.
fn refuse<T>(
    door: &Door,
    caller: &Caller,
    database: &str,
    name: &str,
    operation: &str,
) -> Result<T> {
    let collection = door.collection(caller, database, name)?;
    Err(Error::invalid_argument(format!(
        "{operation} operation is not supported for external collection {}",
        collection.name
    )))
}

macro_rules! refused {
    ($($method:ident($request:ty) -> $reply:ty = $operation:literal;)*) => {$(
        pub(super) async fn $method(
            door: &Door,
            caller: &Caller,
            request: $request,
        ) -> Result<$reply> {
            refuse(door, caller, &request.db_name, &request.collection_name, $operation)
        }
    )*};
}

refused! {
    insert(milvus::InsertRequest) -> milvus::MutationResult = "insert";
    upsert(milvus::UpsertRequest) -> milvus::MutationResult = "upsert";
    delete(milvus::DeleteRequest) -> milvus::MutationResult = "delete";
    import(milvus::ImportRequest) -> milvus::ImportResponse = "import";
    create_partition(milvus::CreatePartitionRequest) -> common::Status = "create partition";
    drop_partition(milvus::DropPartitionRequest) -> common::Status = "drop partition";
    alter_collection_field(milvus::AlterCollectionFieldRequest) -> common::Status = "alter field";
}

pub(super) async fn flush(
    door: &Door,
    caller: &Caller,
    request: milvus::FlushRequest,
) -> Result<milvus::FlushResponse> {
    let name = request.collection_names.first().map_or("", String::as_str);
    refuse(door, caller, &request.db_name, name, "flush")
}

pub(super) async fn manual_compaction(
    door: &Door,
    caller: &Caller,
    request: milvus::ManualCompactionRequest,
) -> Result<milvus::ManualCompactionResponse> {
    // Older clients name the collection by its number alone.
    let collection = if request.collection_name.is_empty() {
        door.collection_by_id(caller, request.collection_id)?
    } else {
        door.collection(caller, &request.db_name, &request.collection_name)?
    };
    Err(Error::invalid_argument(format!(
        "manual compaction is not supported for external collection {}",
        collection.name
    )))
}

pub(super) async fn truncate_collection(
    door: &Door,
    caller: &Caller,
    request: milvus::TruncateCollectionRequest,
) -> Result<milvus::TruncateCollectionResponse> {
    let collection = door.collection(caller, &request.db_name, &request.collection_name)?;
    Err(Error::invalid_argument(format!(
        "truncate is not supported on external collections; use RefreshExternalCollection to \
         follow the source of {}",
        collection.name
    )))
}

pub(super) async fn alter_collection_schema(
    door: &Door,
    caller: &Caller,
    request: milvus::AlterCollectionSchemaRequest,
) -> Result<milvus::AlterCollectionSchemaResponse> {
    let collection = door.collection(caller, &request.db_name, &request.collection_name)?;
    Err(Error::invalid_argument(format!(
        "alter collection schema operation is not supported for external collection {}",
        collection.name
    )))
}
