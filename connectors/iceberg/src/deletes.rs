//! Delete files: which data files they concern, and which rows of those are dead.
//!
//! A delete file that cannot be read, or that contradicts the table, is an error. It never counts as
//! "no deletes".

pub(crate) mod apply;
pub(crate) mod equality;
pub(crate) mod integers;
pub(crate) mod key_set;
pub(crate) mod keys;
pub(crate) mod open;
pub(crate) mod plan;
pub(crate) mod position;
pub(crate) mod spans;
pub(crate) mod vector;
