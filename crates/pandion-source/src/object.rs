//! Reads that are pinned to a file's identity.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use pandion_types::{FileIdentity, Result};

use crate::IoStats;

/// An object in a store together with the identity that every read of it must have.
#[derive(Clone, Debug)]
pub struct PinnedObject {
    /// The store that holds the object.
    pub store: Arc<dyn ObjectStore>,
    /// Where in the store.
    pub location: Path,
    /// The content that reads are pinned to.
    pub identity: FileIdentity,
}

impl PinnedObject {
    /// Reads byte ranges, in the order given. Ranges that lie near each other share one request;
    /// requests run concurrently. The answer holds exactly the bytes asked for.
    ///
    /// # Errors
    /// `Conflict` about the source, naming file, expected and found identity, when the content has
    /// changed; `NotFound` when the file is gone; `Corrupt` when the store sends too few bytes.
    pub async fn read_ranges(&self, ranges: &[Range<u64>], stats: &IoStats) -> Result<Vec<Bytes>> {
        let _ = (ranges, stats, self);
        Err(pandion_types::Error::internal("to be written"))
    }
}
