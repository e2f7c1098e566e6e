//! Access to files that Pandion does not own: what a source is, which files it holds now, and
//! reads that are pinned to a file's identity.
//!
//! Nothing here writes to a source. All bytes pass `Arc<dyn ObjectStore>`.
#![warn(missing_docs)]

mod connector;
mod object;
mod stats;

pub use connector::{Connector, SourceFile, SourceState};
pub use object::PinnedObject;
pub use stats::{IoCounts, IoStats};
