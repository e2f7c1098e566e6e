//! Every method of MilvusService, each with its handler or the refusal that names it.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use futures::{FutureExt as _, Stream};
use pandion_proto::milvus::milvus_service_server::MilvusService;
use pandion_proto::{common, feder, milvus};
use pandion_types::{Error, ErrorKind, Result, Subject};
use tonic::{Request, Response, Status};

use super::{
    Caller, Door, aliases, collections, databases, hybrid, indexes, loading, partitions, querying,
    refreshing, reply::Reply, searching, system, writes,
};

/// Rows of a collection, and bytes of a request, up to which requests are answered where they arrive.
const LIGHT_ROWS: u64 = 16_384;
const LIGHT_REQUEST_BYTES: usize = 16 << 10;

type Answer<'a, T> =
    Pin<Box<dyn Future<Output = std::result::Result<Response<T>, Status>> + Send + 'a>>;

/// Runs a handler and turns what comes of it into an answer: errors of the application travel in
/// the answer's status, because clients retry gRPC errors dozens of times.
async fn answer<T: Reply>(
    method: &'static str,
    handler: impl Future<Output = Result<T>>,
) -> std::result::Result<Response<T>, Status> {
    let outcome = AssertUnwindSafe(handler).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(method, "a handler panicked");
        Err(Error::internal(format!("{method} failed because of a defect of the server")))
    });
    Ok(Response::new(outcome.unwrap_or_else(|error| {
        tracing::info!(method, kind = ?error.kind(), error = %error, "request refused");
        T::refused(crate::status::failure(&error))
    })))
}

fn unbuilt(method: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("method {method} is not built: service unimplemented"),
    )
    .about(Subject::Method)
}

/// A method, answered by what `$work` makes of the door, the caller and the request.
macro_rules! handled {
    ($method:ident, $request:ty, $reply:ty, $work:expr) => {
        fn $method<'life0, 'async_trait>(
            &'life0 self,
            request: Request<$request>,
        ) -> Answer<'async_trait, $reply>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(answer(stringify!($method), async move {
                let (metadata, _, request) = request.into_parts();
                let caller = self.caller(&metadata)?;
                $work(self, caller, request).await
            }))
        }
    };
}

macro_rules! served {
    ($($module:ident::$method:ident($request:ty) -> $reply:ty;)*) => {$(
        handled!($method, $request, $reply, async |door: &Self, caller: Caller, request| {
            $module::$method(door, &caller, request).await
        });
    )*};
}

/// A request to read a collection.
trait Reading: prost::Message {
    /// The names of database and collection.
    fn names(&self) -> (&str, &str);
}

macro_rules! reading {
    ($($request:ty),*) => {$(
        impl Reading for $request {
            fn names(&self) -> (&str, &str) {
                (&self.db_name, &self.collection_name)
            }
        }
    )*};
}

reading!(milvus::SearchRequest, milvus::HybridSearchRequest, milvus::QueryRequest);

impl Door {
    /// Whether the work of a request is over sooner than it takes to wake another thread for it.
    fn is_light(&self, caller: &Caller, request: &impl Reading) -> bool {
        let (database, name) = request.names();
        let state = self.node().catalog().state();
        let collection = state.collection(caller.database_of(database), name);
        let rows = collection.ok().and_then(|collection| Some(collection.serving()?.rows));
        rows.is_none_or(|rows| rows <= LIGHT_ROWS) && request.encoded_len() <= LIGHT_REQUEST_BYTES
    }
}

/// As `served`, for methods that compute: unless they are light, they run on the query threads.
macro_rules! computed {
    ($($module:ident::$method:ident($request:ty) -> $reply:ty;)*) => {$(
        handled!($method, $request, $reply, async |door: &Self, caller: Caller, request| {
            if door.is_light(&caller, &request) {
                return $module::$method(door, &caller, request).await;
            }
            let (threads, door) = (door.node().threads(), door.clone());
            threads.run(async move { $module::$method(&door, &caller, request).await }).await
        });
    )*};
}

macro_rules! unbuilt {
    ($($method:ident($request:ty) -> $reply:ty, $name:literal;)*) => {$(
        fn $method<'life0, 'async_trait>(
            &'life0 self,
            _: Request<$request>,
        ) -> Answer<'async_trait, $reply>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(answer($name, async { Err(unbuilt($name)) }))
        }
    )*};
}

#[tonic::async_trait]
impl MilvusService for Door {
    computed! {
        searching::search(milvus::SearchRequest) -> milvus::SearchResults;
        hybrid::hybrid_search(milvus::HybridSearchRequest) -> milvus::SearchResults;
        querying::query(milvus::QueryRequest) -> milvus::QueryResults;
    }

    served! {
        collections::create_collection(milvus::CreateCollectionRequest) -> common::Status;
        collections::drop_collection(milvus::DropCollectionRequest) -> common::Status;
        collections::has_collection(milvus::HasCollectionRequest) -> milvus::BoolResponse;
        loading::load_collection(milvus::LoadCollectionRequest) -> common::Status;
        loading::release_collection(milvus::ReleaseCollectionRequest) -> common::Status;
        collections::describe_collection(milvus::DescribeCollectionRequest) -> milvus::DescribeCollectionResponse;
        collections::get_collection_statistics(milvus::GetCollectionStatisticsRequest) -> milvus::GetCollectionStatisticsResponse;
        collections::show_collections(milvus::ShowCollectionsRequest) -> milvus::ShowCollectionsResponse;
        collections::alter_collection(milvus::AlterCollectionRequest) -> common::Status;
        writes::alter_collection_field(milvus::AlterCollectionFieldRequest) -> common::Status;
        writes::truncate_collection(milvus::TruncateCollectionRequest) -> milvus::TruncateCollectionResponse;
        writes::create_partition(milvus::CreatePartitionRequest) -> common::Status;
        writes::drop_partition(milvus::DropPartitionRequest) -> common::Status;
        partitions::has_partition(milvus::HasPartitionRequest) -> milvus::BoolResponse;
        partitions::load_partitions(milvus::LoadPartitionsRequest) -> common::Status;
        partitions::release_partitions(milvus::ReleasePartitionsRequest) -> common::Status;
        partitions::get_partition_statistics(milvus::GetPartitionStatisticsRequest) -> milvus::GetPartitionStatisticsResponse;
        partitions::show_partitions(milvus::ShowPartitionsRequest) -> milvus::ShowPartitionsResponse;
        loading::get_loading_progress(milvus::GetLoadingProgressRequest) -> milvus::GetLoadingProgressResponse;
        loading::get_load_state(milvus::GetLoadStateRequest) -> milvus::GetLoadStateResponse;
        aliases::create_alias(milvus::CreateAliasRequest) -> common::Status;
        aliases::drop_alias(milvus::DropAliasRequest) -> common::Status;
        aliases::alter_alias(milvus::AlterAliasRequest) -> common::Status;
        aliases::describe_alias(milvus::DescribeAliasRequest) -> milvus::DescribeAliasResponse;
        aliases::list_aliases(milvus::ListAliasesRequest) -> milvus::ListAliasesResponse;
        indexes::create_index(milvus::CreateIndexRequest) -> common::Status;
        indexes::alter_index(milvus::AlterIndexRequest) -> common::Status;
        indexes::describe_index(milvus::DescribeIndexRequest) -> milvus::DescribeIndexResponse;
        indexes::get_index_statistics(milvus::GetIndexStatisticsRequest) -> milvus::GetIndexStatisticsResponse;
        indexes::get_index_state(milvus::GetIndexStateRequest) -> milvus::GetIndexStateResponse;
        indexes::get_index_build_progress(milvus::GetIndexBuildProgressRequest) -> milvus::GetIndexBuildProgressResponse;
        indexes::drop_index(milvus::DropIndexRequest) -> common::Status;
        writes::insert(milvus::InsertRequest) -> milvus::MutationResult;
        writes::delete(milvus::DeleteRequest) -> milvus::MutationResult;
        writes::upsert(milvus::UpsertRequest) -> milvus::MutationResult;
        writes::flush(milvus::FlushRequest) -> milvus::FlushResponse;
        system::get_persistent_segment_info(milvus::GetPersistentSegmentInfoRequest) -> milvus::GetPersistentSegmentInfoResponse;
        system::get_query_segment_info(milvus::GetQuerySegmentInfoRequest) -> milvus::GetQuerySegmentInfoResponse;
        writes::manual_compaction(milvus::ManualCompactionRequest) -> milvus::ManualCompactionResponse;
        writes::import(milvus::ImportRequest) -> milvus::ImportResponse;
        system::get_version(milvus::GetVersionRequest) -> milvus::GetVersionResponse;
        system::check_health(milvus::CheckHealthRequest) -> milvus::CheckHealthResponse;
        collections::rename_collection(milvus::RenameCollectionRequest) -> common::Status;
        system::connect(milvus::ConnectRequest) -> milvus::ConnectResponse;
        system::alloc_timestamp(milvus::AllocTimestampRequest) -> milvus::AllocTimestampResponse;
        databases::create_database(milvus::CreateDatabaseRequest) -> common::Status;
        databases::drop_database(milvus::DropDatabaseRequest) -> common::Status;
        databases::list_databases(milvus::ListDatabasesRequest) -> milvus::ListDatabasesResponse;
        databases::alter_database(milvus::AlterDatabaseRequest) -> common::Status;
        databases::describe_database(milvus::DescribeDatabaseRequest) -> milvus::DescribeDatabaseResponse;
        writes::alter_collection_schema(milvus::AlterCollectionSchemaRequest) -> milvus::AlterCollectionSchemaResponse;
        refreshing::refresh_external_collection(milvus::RefreshExternalCollectionRequest) -> milvus::RefreshExternalCollectionResponse;
        refreshing::get_refresh_external_collection_progress(milvus::GetRefreshExternalCollectionProgressRequest) -> milvus::GetRefreshExternalCollectionProgressResponse;
        refreshing::list_refresh_external_collection_jobs(milvus::ListRefreshExternalCollectionJobsRequest) -> milvus::ListRefreshExternalCollectionJobsResponse;
    }

    unbuilt! {
        batch_describe_collection(milvus::BatchDescribeCollectionRequest) -> milvus::BatchDescribeCollectionResponse, "BatchDescribeCollection";
        add_collection_function(milvus::AddCollectionFunctionRequest) -> common::Status, "AddCollectionFunction";
        alter_collection_function(milvus::AlterCollectionFunctionRequest) -> common::Status, "AlterCollectionFunction";
        drop_collection_function(milvus::DropCollectionFunctionRequest) -> common::Status, "DropCollectionFunction";
        prewarm(milvus::PrewarmRequest) -> milvus::PrewarmResponse, "Prewarm";
        describe_prewarm_task(milvus::DescribePrewarmTaskRequest) -> milvus::DescribePrewarmTaskResponse, "DescribePrewarmTask";
        create_namespace(milvus::CreateNamespaceRequest) -> milvus::CreateNamespaceResponse, "CreateNamespace";
        describe_namespace(milvus::DescribeNamespaceRequest) -> milvus::DescribeNamespaceResponse, "DescribeNamespace";
        list_namespaces(milvus::ListNamespacesRequest) -> milvus::ListNamespacesResponse, "ListNamespaces";
        drop_namespace(milvus::DropNamespaceRequest) -> milvus::DropNamespaceResponse, "DropNamespace";
        has_namespace(milvus::HasNamespaceRequest) -> milvus::HasNamespaceResponse, "HasNamespace";
        get_namespace_stats(milvus::GetNamespaceStatsRequest) -> milvus::GetNamespaceStatsResponse, "GetNamespaceStats";
        calc_distance(milvus::CalcDistanceRequest) -> milvus::CalcDistanceResults, "CalcDistance";
        flush_all(milvus::FlushAllRequest) -> milvus::FlushAllResponse, "FlushAll";
        add_collection_field(milvus::AddCollectionFieldRequest) -> common::Status, "AddCollectionField";
        add_collection_struct_field(milvus::AddCollectionStructFieldRequest) -> common::Status, "AddCollectionStructField";
        get_flush_state(milvus::GetFlushStateRequest) -> milvus::GetFlushStateResponse, "GetFlushState";
        get_flush_all_state(milvus::GetFlushAllStateRequest) -> milvus::GetFlushAllStateResponse, "GetFlushAllState";
        get_replicas(milvus::GetReplicasRequest) -> milvus::GetReplicasResponse, "GetReplicas";
        register_link(milvus::RegisterLinkRequest) -> milvus::RegisterLinkResponse, "RegisterLink";
        get_metrics(milvus::GetMetricsRequest) -> milvus::GetMetricsResponse, "GetMetrics";
        get_component_states(milvus::GetComponentStatesRequest) -> milvus::ComponentStates, "GetComponentStates";
        load_balance(milvus::LoadBalanceRequest) -> common::Status, "LoadBalance";
        get_compaction_state(milvus::GetCompactionStateRequest) -> milvus::GetCompactionStateResponse, "GetCompactionState";
        get_compaction_state_with_plans(milvus::GetCompactionPlansRequest) -> milvus::GetCompactionPlansResponse, "GetCompactionStateWithPlans";
        get_import_state(milvus::GetImportStateRequest) -> milvus::GetImportStateResponse, "GetImportState";
        list_import_tasks(milvus::ListImportTasksRequest) -> milvus::ListImportTasksResponse, "ListImportTasks";
        create_credential(milvus::CreateCredentialRequest) -> common::Status, "CreateCredential";
        update_credential(milvus::UpdateCredentialRequest) -> common::Status, "UpdateCredential";
        delete_credential(milvus::DeleteCredentialRequest) -> common::Status, "DeleteCredential";
        list_cred_users(milvus::ListCredUsersRequest) -> milvus::ListCredUsersResponse, "ListCredUsers";
        create_role(milvus::CreateRoleRequest) -> common::Status, "CreateRole";
        alter_role(milvus::AlterRoleRequest) -> common::Status, "AlterRole";
        drop_role(milvus::DropRoleRequest) -> common::Status, "DropRole";
        operate_user_role(milvus::OperateUserRoleRequest) -> common::Status, "OperateUserRole";
        select_role(milvus::SelectRoleRequest) -> milvus::SelectRoleResponse, "SelectRole";
        select_user(milvus::SelectUserRequest) -> milvus::SelectUserResponse, "SelectUser";
        operate_privilege(milvus::OperatePrivilegeRequest) -> common::Status, "OperatePrivilege";
        operate_privilege_v2(milvus::OperatePrivilegeV2Request) -> common::Status, "OperatePrivilegeV2";
        select_grant(milvus::SelectGrantRequest) -> milvus::SelectGrantResponse, "SelectGrant";
        create_resource_group(milvus::CreateResourceGroupRequest) -> common::Status, "CreateResourceGroup";
        drop_resource_group(milvus::DropResourceGroupRequest) -> common::Status, "DropResourceGroup";
        update_resource_groups(milvus::UpdateResourceGroupsRequest) -> common::Status, "UpdateResourceGroups";
        transfer_node(milvus::TransferNodeRequest) -> common::Status, "TransferNode";
        transfer_replica(milvus::TransferReplicaRequest) -> common::Status, "TransferReplica";
        list_resource_groups(milvus::ListResourceGroupsRequest) -> milvus::ListResourceGroupsResponse, "ListResourceGroups";
        describe_resource_group(milvus::DescribeResourceGroupRequest) -> milvus::DescribeResourceGroupResponse, "DescribeResourceGroup";
        list_indexed_segment(feder::ListIndexedSegmentRequest) -> feder::ListIndexedSegmentResponse, "ListIndexedSegment";
        describe_segment_index_data(feder::DescribeSegmentIndexDataRequest) -> feder::DescribeSegmentIndexDataResponse, "DescribeSegmentIndexData";
        replicate_message(milvus::ReplicateMessageRequest) -> milvus::ReplicateMessageResponse, "ReplicateMessage";
        backup_rbac(milvus::BackupRbacMetaRequest) -> milvus::BackupRbacMetaResponse, "BackupRBAC";
        restore_rbac(milvus::RestoreRbacMetaRequest) -> common::Status, "RestoreRBAC";
        create_privilege_group(milvus::CreatePrivilegeGroupRequest) -> common::Status, "CreatePrivilegeGroup";
        drop_privilege_group(milvus::DropPrivilegeGroupRequest) -> common::Status, "DropPrivilegeGroup";
        list_privilege_groups(milvus::ListPrivilegeGroupsRequest) -> milvus::ListPrivilegeGroupsResponse, "ListPrivilegeGroups";
        operate_privilege_group(milvus::OperatePrivilegeGroupRequest) -> common::Status, "OperatePrivilegeGroup";
        run_analyzer(milvus::RunAnalyzerRequest) -> milvus::RunAnalyzerResponse, "RunAnalyzer";
        add_file_resource(milvus::AddFileResourceRequest) -> common::Status, "AddFileResource";
        remove_file_resource(milvus::RemoveFileResourceRequest) -> common::Status, "RemoveFileResource";
        list_file_resources(milvus::ListFileResourcesRequest) -> milvus::ListFileResourcesResponse, "ListFileResources";
        add_user_tags(milvus::AddUserTagsRequest) -> common::Status, "AddUserTags";
        delete_user_tags(milvus::DeleteUserTagsRequest) -> common::Status, "DeleteUserTags";
        get_user_tags(milvus::GetUserTagsRequest) -> milvus::GetUserTagsResponse, "GetUserTags";
        list_users_with_tag(milvus::ListUsersWithTagRequest) -> milvus::ListUsersWithTagResponse, "ListUsersWithTag";
        create_row_policy(milvus::CreateRowPolicyRequest) -> common::Status, "CreateRowPolicy";
        drop_row_policy(milvus::DropRowPolicyRequest) -> common::Status, "DropRowPolicy";
        list_row_policies(milvus::ListRowPoliciesRequest) -> milvus::ListRowPoliciesResponse, "ListRowPolicies";
        update_replicate_configuration(milvus::UpdateReplicateConfigurationRequest) -> common::Status, "UpdateReplicateConfiguration";
        get_replicate_configuration(milvus::GetReplicateConfigurationRequest) -> milvus::GetReplicateConfigurationResponse, "GetReplicateConfiguration";
        compute_phrase_match_slop(milvus::ComputePhraseMatchSlopRequest) -> milvus::ComputePhraseMatchSlopResponse, "ComputePhraseMatchSlop";
        create_snapshot(milvus::CreateSnapshotRequest) -> common::Status, "CreateSnapshot";
        drop_snapshot(milvus::DropSnapshotRequest) -> common::Status, "DropSnapshot";
        list_snapshots(milvus::ListSnapshotsRequest) -> milvus::ListSnapshotsResponse, "ListSnapshots";
        describe_snapshot(milvus::DescribeSnapshotRequest) -> milvus::DescribeSnapshotResponse, "DescribeSnapshot";
        restore_snapshot(milvus::RestoreSnapshotRequest) -> milvus::RestoreSnapshotResponse, "RestoreSnapshot";
        restore_external_snapshot(milvus::RestoreExternalSnapshotRequest) -> milvus::RestoreExternalSnapshotResponse, "RestoreExternalSnapshot";
        export_snapshot(milvus::ExportSnapshotRequest) -> milvus::ExportSnapshotResponse, "ExportSnapshot";
        get_export_snapshot_state(milvus::GetExportSnapshotStateRequest) -> milvus::GetExportSnapshotStateResponse, "GetExportSnapshotState";
        get_restore_snapshot_state(milvus::GetRestoreSnapshotStateRequest) -> milvus::GetRestoreSnapshotStateResponse, "GetRestoreSnapshotState";
        list_restore_snapshot_jobs(milvus::ListRestoreSnapshotJobsRequest) -> milvus::ListRestoreSnapshotJobsResponse, "ListRestoreSnapshotJobs";
        pin_snapshot_data(milvus::PinSnapshotDataRequest) -> milvus::PinSnapshotDataResponse, "PinSnapshotData";
        unpin_snapshot_data(milvus::UnpinSnapshotDataRequest) -> common::Status, "UnpinSnapshotData";
        batch_update_manifest(milvus::BatchUpdateManifestRequest) -> common::Status, "BatchUpdateManifest";
    }

    async fn dummy(
        &self,
        _: Request<milvus::DummyRequest>,
    ) -> std::result::Result<Response<milvus::DummyResponse>, Status> {
        Err(Status::unimplemented("method Dummy is not built"))
    }

    async fn get_replicate_info(
        &self,
        _: Request<milvus::GetReplicateInfoRequest>,
    ) -> std::result::Result<Response<milvus::GetReplicateInfoResponse>, Status> {
        Err(Status::unimplemented("method GetReplicateInfo is not built"))
    }

    type CreateReplicateStreamStream =
        Pin<Box<dyn Stream<Item = std::result::Result<milvus::ReplicateResponse, Status>> + Send>>;

    async fn create_replicate_stream(
        &self,
        _: Request<tonic::Streaming<milvus::ReplicateRequest>>,
    ) -> std::result::Result<Response<Self::CreateReplicateStreamStream>, Status> {
        Err(Status::unimplemented("method CreateReplicateStream is not built"))
    }

    type DumpMessagesStream = Pin<
        Box<dyn Stream<Item = std::result::Result<milvus::DumpMessagesResponse, Status>> + Send>,
    >;

    async fn dump_messages(
        &self,
        _: Request<milvus::DumpMessagesRequest>,
    ) -> std::result::Result<Response<Self::DumpMessagesStream>, Status> {
        Err(Status::unimplemented("method DumpMessages is not built"))
    }
}
