//! Iceberg tables as sources of rows.
#![warn(missing_docs)]

pub mod catalog;
