//! Answers that can carry a refusal.

use pandion_proto::common::Status;
use pandion_proto::{feder, milvus};

/// An answer of a Milvus method.
pub(super) trait Reply {
    /// The answer that says no, and why.
    fn refused(status: Status) -> Self;
}

impl Reply for Status {
    fn refused(status: Status) -> Self {
        status
    }
}

impl Reply for milvus::AlterCollectionSchemaResponse {
    fn refused(status: Status) -> Self {
        Self { alter_status: Some(status) }
    }
}

macro_rules! replies {
    ($($reply:ty,)*) => {$(
        impl Reply for $reply {
            fn refused(status: Status) -> Self {
                let mut reply = Self::default();
                reply.status.get_or_insert(status);
                reply
            }
        }
    )*};
}

replies! {
    feder::DescribeSegmentIndexDataResponse,
    feder::ListIndexedSegmentResponse,
    milvus::AllocTimestampResponse,
    milvus::BackupRbacMetaResponse,
    milvus::BatchDescribeCollectionResponse,
    milvus::BoolResponse,
    milvus::CalcDistanceResults,
    milvus::CheckHealthResponse,
    milvus::ComponentStates,
    milvus::ComputePhraseMatchSlopResponse,
    milvus::ConnectResponse,
    milvus::CreateNamespaceResponse,
    milvus::DescribeAliasResponse,
    milvus::DescribeCollectionResponse,
    milvus::DescribeDatabaseResponse,
    milvus::DescribeIndexResponse,
    milvus::DescribeNamespaceResponse,
    milvus::DescribePrewarmTaskResponse,
    milvus::DescribeResourceGroupResponse,
    milvus::DescribeSnapshotResponse,
    milvus::DropNamespaceResponse,
    milvus::ExportSnapshotResponse,
    milvus::FlushAllResponse,
    milvus::FlushResponse,
    milvus::GetCollectionStatisticsResponse,
    milvus::GetCompactionPlansResponse,
    milvus::GetCompactionStateResponse,
    milvus::GetExportSnapshotStateResponse,
    milvus::GetFlushAllStateResponse,
    milvus::GetFlushStateResponse,
    milvus::GetImportStateResponse,
    milvus::GetIndexBuildProgressResponse,
    milvus::GetIndexStateResponse,
    milvus::GetIndexStatisticsResponse,
    milvus::GetLoadStateResponse,
    milvus::GetLoadingProgressResponse,
    milvus::GetMetricsResponse,
    milvus::GetNamespaceStatsResponse,
    milvus::GetPartitionStatisticsResponse,
    milvus::GetPersistentSegmentInfoResponse,
    milvus::GetQuerySegmentInfoResponse,
    milvus::GetRefreshExternalCollectionProgressResponse,
    milvus::GetReplicasResponse,
    milvus::GetReplicateConfigurationResponse,
    milvus::GetRestoreSnapshotStateResponse,
    milvus::GetUserTagsResponse,
    milvus::GetVersionResponse,
    milvus::HasNamespaceResponse,
    milvus::ImportResponse,
    milvus::ListAliasesResponse,
    milvus::ListCredUsersResponse,
    milvus::ListDatabasesResponse,
    milvus::ListFileResourcesResponse,
    milvus::ListImportTasksResponse,
    milvus::ListNamespacesResponse,
    milvus::ListPrivilegeGroupsResponse,
    milvus::ListRefreshExternalCollectionJobsResponse,
    milvus::ListResourceGroupsResponse,
    milvus::ListRestoreSnapshotJobsResponse,
    milvus::ListRowPoliciesResponse,
    milvus::ListSnapshotsResponse,
    milvus::ListUsersWithTagResponse,
    milvus::ManualCompactionResponse,
    milvus::MutationResult,
    milvus::PinSnapshotDataResponse,
    milvus::PrewarmResponse,
    milvus::QueryResults,
    milvus::RefreshExternalCollectionResponse,
    milvus::RegisterLinkResponse,
    milvus::ReplicateMessageResponse,
    milvus::RestoreExternalSnapshotResponse,
    milvus::RestoreSnapshotResponse,
    milvus::RunAnalyzerResponse,
    milvus::SearchResults,
    milvus::SelectGrantResponse,
    milvus::SelectRoleResponse,
    milvus::SelectUserResponse,
    milvus::ShowCollectionsResponse,
    milvus::ShowPartitionsResponse,
    milvus::TruncateCollectionResponse,
}
