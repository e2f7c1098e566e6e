//! Iceberg tables as sources of rows.
//!
//! Metadata, snapshots and manifests say which data files a table has, what is known of their
//! values, and which of their rows are dead; no data file is opened for it, but for equality
//! deletes, which compare values. All bytes are read through the object store of the source, and
//! none is trusted. Nothing here writes to a table.
#![warn(missing_docs)]

mod avro;
pub mod catalog;
mod choice;
mod columns;
mod connector;
mod deletes;
mod entries;
mod guard;
mod manifests;
mod metadata;
mod partition;
mod paths;
mod place;
mod repair;
mod statistics;
mod values;

#[cfg(test)]
mod tests;

pub use connector::IcebergConnector;
pub use place::{LoadedMetadata, TableLoader, TablePlace};
