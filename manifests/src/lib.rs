//! The row-mapping manifest: which files a collection's rows lie in, and how they map to row ids.
//!
//! `bytes <-> Manifest`, and nothing else: no I/O, no clock.
#![warn(missing_docs)]

mod model;

pub use model::{ColumnStatistics, DataFile, Manifest, StatValue};
