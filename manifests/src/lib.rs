//! The row-mapping manifest: which files a collection's rows lie in, and how they map to row ids.
//!
//! `bytes <-> Manifest`, and nothing else: no I/O, no clock. The bytes are described in
//! `docs/manifest-format.md`. A manifest that breaks a rule of the format is neither written nor
//! handed out: [`Manifest::encode`] and [`Manifest::decode`] both run [`Manifest::check`].
#![warn(missing_docs)]

mod check;
mod codec;
mod deletes;
mod model;
#[cfg(test)]
mod samples;
mod table;
mod wire;

pub use check::{MAX_BOUND_BYTES, MAX_COLUMNS, MAX_FOOTER_BYTES, MAX_ROW_GROUPS, MAX_TEXT_BYTES};
pub use codec::FORMAT_VERSION;
pub use deletes::DeleteVector;
pub use model::{ColumnStatistics, DataFile, Manifest, StatValue};
pub use table::{Bucket, DeleteFile, DeleteKind, RetiredFile, TableColumn, TableFile, TableState};
