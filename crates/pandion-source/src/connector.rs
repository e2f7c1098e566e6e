//! The seam between a kind of source and the rest.

use async_trait::async_trait;
use pandion_types::Result;

use crate::{IoStats, PinnedObject};

/// One data file of a source, as it is now.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The object, pinned to the identity that the listing gave.
    pub object: PinnedObject,
}

/// The data files of a source at one point in time.
#[derive(Clone, Debug)]
pub struct SourceState {
    /// The files, sorted by URI; no URI stands twice.
    pub files: Vec<SourceFile>,
}

/// Resolves a source to its data files.
#[async_trait]
pub trait Connector: std::fmt::Debug + Send + Sync {
    /// Lists the source once, completely or not at all: a listing that breaks off is an error,
    /// never a shorter list. Reads no data file.
    ///
    /// # Errors
    /// `NotFound` about the source when the bucket or folder does not exist, `PermissionDenied`,
    /// `Unavailable`, `Corrupt`.
    async fn resolve(&self, stats: &IoStats) -> Result<SourceState>;
}
