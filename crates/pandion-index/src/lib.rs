//! Vector search in memory: blocks of vectors, distance kernels, exact top-k.
//!
//! No network, no files: this crate works on bytes that it is handed.
#![warn(missing_docs)]

mod bitmap;
mod block;

pub use bitmap::Bitmap;
pub use block::{VectorBlock, VectorBlockBuilder};
