//! Search in memory: blocks of vectors, distance kernels, exact top-k, scalar indexes.
//!
//! No network, no files: this crate works on bytes that it is handed. A score is a function of
//! the query, the row, the metric and the instruction set of the machine, and of nothing else:
//! not of the number of queries, the filter, the order of the rows or the number of threads.
#![warn(missing_docs)]

#[cfg(target_endian = "big")]
compile_error!("vectors are little endian on the wire and in memory");

mod aligned;
mod bitmap;
mod block;
mod exact;
mod finite;
pub mod geometry;
mod kernels;
mod norms;
mod parallel;
mod query;
pub mod scalar;
mod topk;

pub use bitmap::Bitmap;
pub use block::{VectorBlock, VectorBlockBuilder};
pub use exact::{SearchCounters, SearchPart, score_rows, search_exact};
pub use kernels::Kernels;
pub use parallel::{SearchOutcome, SearchRequest, search_parallel};
pub use query::{PreparedQueries, QueryBatch};
pub use topk::{Hit, ScoreRange, TopK};
