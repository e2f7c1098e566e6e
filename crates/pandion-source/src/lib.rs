//! Access to files that Pandion does not own: what a source is, which files it holds now, and
//! reads that are pinned to a file's identity.
//!
//! Nothing here writes to a source. All bytes pass `Arc<dyn ObjectStore>`.
#![warn(missing_docs)]

pub mod columns;
mod connector;
mod durable_local;
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

pub use connector::{Connector, SourceFile, SourceState};
pub use durable_local::DurableLocalStore;
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
    CloudProvider, CredentialMode, ExternalSpec, SourceFormat, SourceSecrets, redact_spec,
};
pub use stats::{IoCounts, IoStats};
pub use uri::{BucketAddress, Scheme, SourceUri, is_cloud_endpoint_host, redact_source};
