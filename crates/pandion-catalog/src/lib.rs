//! What Pandion knows besides rows: databases, collections, aliases, indexes, refresh jobs, and
//! which manifest a collection serves.
//!
//! Three layers, each knowing only the one below:
//!
//! - [`Metastore`], the seam: a log of numbered transactions over keys and JSON values, with one
//!   primitive, "write version n + 1 if nobody has". [`ObjectMetastore`] keeps it as immutable
//!   objects in any object store that can create without overwriting.
//! - [`CatalogState`]: the records at one version. A snapshot is an `Arc`; reading it takes no
//!   lock and does no I/O.
//! - [`Catalog`]: the commands. Each is a pure function of the state and its request that yields a
//!   transaction; when another writer was faster it is asked again with the newer state.
//!
//! A lease with an epoch makes one catalogue the writer: whoever opens it last fences those before.
//! Commands follow Milvus's rules and answer with its texts. No command reads a clock: times come
//! with the request, in milliseconds since 1970.
//!
//! Secrets of a source are kept beside the records, under keys of their own, and are in no
//! description, `Debug` output or error. They lie readable in the metastore's objects: whoever may
//! read Pandion's own prefix may read them.
//!
//! This crate reads and writes nothing but its metastore: no source, no manifest.
#![warn(missing_docs)]

mod catalog;
mod changes;
mod commands;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
#[cfg(test)]
mod faulty;
mod framing;
mod metastore;
mod names;
mod object;
mod record;
mod state;

pub use catalog::{Catalog, CatalogOptions};
pub use commands::{
    CreateCollection, CreateIndex, FINISHED_JOBS_KEPT, JobUpdate, LoadRequest, MAX_DATABASES,
    PropertyChange, Publication, RefreshRequest, SourceBinding,
};
pub use metastore::{
    Change, Checkpoint, Commit, CommitError, History, Metastore, News, Transaction, Version,
};
pub use object::ObjectMetastore;
pub use record::{
    Alias, Collection, DEFAULT_DATABASE, Database, DatabaseId, IndexId, IndexRecord, JobState,
    Lease, ManifestPointer, PublishPolicy, Receipt, RefreshJob,
};
pub use state::CatalogState;
