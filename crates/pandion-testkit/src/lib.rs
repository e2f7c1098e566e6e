//! What the tests of every other crate stand on: an S3 server in process, an object store that
//! fails on purpose, makers of Parquet files and Iceberg tables whose contents are known, and the
//! suites that every implementation of a seam must pass.
//!
//! Nothing here runs in production, and nothing here talks to a network but the loopback.

mod convert;

pub mod contract;
pub mod faulty;
pub mod iceberg;
pub mod lake;
pub mod rest_catalog;
pub mod s3;
