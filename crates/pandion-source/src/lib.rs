//! Access to files that Pandion does not own: what a source is, which files it holds now, and
//! reads that are pinned to a file's identity.
//!
//! Nothing here writes to a source. All bytes pass `Arc<dyn ObjectStore>`.
#![warn(missing_docs)]

mod attributed;
mod clock;
pub mod columns;
mod connector;
mod credentials;
mod durable_local;
mod http_client;
mod http_connector;
mod listing;
mod local;
mod named;
mod object;
mod policy;
mod read_only;
mod retry;
mod scope;
mod spec;
mod stats;
mod store_error;
mod uri;
mod whole;

pub use attributed::AttributedStore;
pub use clock::{Clock, SystemClock};
pub use connector::{Connector, SourceFile, SourceState};
pub use credentials::{
    AwsCredentials, CredentialFailure, CredentialSource, RenewalLimits, RenewingCredentials,
    StaticCredentials,
};
pub use durable_local::DurableLocalStore;
pub use http_client::{GuardedClient, read_bounded};
pub use http_connector::GuardedConnector;
pub use listing::{SourceRoot, list_flat_prefix};
pub use local::{LocalRoots, open_local};
pub use named::{
    CredentialDefinition, DefaultStorageDefinition, ExtfsDefinition, NamedSources,
    NamedSourcesDefinition, ResolvedSource, VolumeDefinition, VolumeUri,
};
pub use object::{COALESCE_GAP_BYTES, COALESCED_BYTES_MAX, PinnedObject, READ_CONCURRENCY};
pub use policy::{EndpointDenied, EndpointPolicy};
pub use read_only::ReadOnlyStore;
pub use retry::source_retry;
pub use scope::StoreScope;
pub use spec::{
    AssumedRole, CatalogAuthentication, CatalogSettings, CloudProvider, CredentialMode,
    ExternalSpec, SnapshotChoice, SourceFormat, SourceSecrets, TableName, redact_spec,
};
pub use stats::{IoCounts, IoStats};
pub use uri::{BucketAddress, Scheme, SourceUri, is_cloud_endpoint_host, redact_source};
pub use whole::read_whole;
