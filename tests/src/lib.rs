//! What the tests across crates share: data sets that every reader can see, the lake that they make,
//! scripts of filters with the rows that each one keeps, and a naive reading of a filter.
//!
//! The tests themselves stand in `tests/tests`; the scripts in `tests/filters`; the tests with stock
//! clients in `tests/python`. Nothing may depend on this crate.

pub mod dataset;
pub mod generate;
pub mod lake;
pub mod oracle;
pub mod rows;
pub mod script;
pub mod ways;
