//! Parquet files as a source of rows: footers, schema checks, statistics, columns, single rows, and
//! vectors.
//!
//! A file is opened from its footer, which the manifest keeps, so that opening costs no request.
//! All bytes are read through [`pandion_source::PinnedObject`]. Files are not trusted: what a
//! footer or a page claims is checked against the bytes that are there before memory is reserved
//! for it, and a panic of a decoder is an error about the file. Nothing here writes Parquet, and
//! nothing knows `DataFusion`.
#![warn(missing_docs)]

mod bloom;
mod check;
mod codec;
mod connector;
mod constant;
mod file;
mod footer;
mod guard;
mod lineage;
mod mapping;
mod page_index;
mod pages;
mod raw;
mod read;
mod statistics;
mod thrift;
mod vectors;

#[cfg(test)]
mod testing;

pub use bloom::{BloomFilter, BloomValue};
pub use check::ColumnProblem;
pub use connector::ParquetConnector;
pub use file::ParquetFile;
pub use footer::read_footer;
pub use lineage::RowLineage;
