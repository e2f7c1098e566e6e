//! The nouns that every Pandion crate shares: ids, the collection schema, metrics, errors and
//! secrets.
//!
//! This crate does no I/O, reads no clock and spawns nothing. It knows neither Arrow nor the wire.
#![warn(missing_docs)]

mod error;
mod file;
mod id;
mod metric;
mod schema;
mod secret;

pub use error::{Error, ErrorKind, Result, ResultExt, Subject};
pub use file::{ContentTag, FileIdentity};
pub use id::{CollectionId, FieldId, FileId, JobId, ManifestVersion, RowId};
pub use metric::MetricType;
pub use schema::{
    CollectionSchema, DataType, FieldSchema, VIRTUAL_PK_NAME, VectorElement, VectorType,
};
pub use secret::Secret;
