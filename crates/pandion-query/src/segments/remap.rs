//! Makes the scalar indexes of a file from those of the files that its rows were in before.

use std::sync::Arc;

use bytes::Bytes;
use pandion_index::scalar::{MovedRows, ScalarIndexSpec, remap_scalar_index};
use pandion_types::{Error, ErrorKind, Result};
use tokio::sync::Semaphore;

use super::{ScalarSegments, SegmentKey};

/// The stored index of a file that rows came from.
#[derive(Clone, Debug)]
pub struct OldSegment {
    /// Its name.
    pub key: SegmentKey,
    /// For each row of the file the row of the new file, or
    /// [`ROW_GONE`](pandion_index::scalar::ROW_GONE).
    pub rows: Arc<[u32]>,
}

/// Makes the index of a file of `rows` rows from stored ones, which together cover each of its rows
/// once; the bytes are those that [`build_segments`](super::build_segments) makes. Reads Pandion's
/// own store at most. Takes a permit of `cores` while it calculates.
///
/// `None` when one of the indexes is not stored, cannot be used, or does not tell enough.
///
/// # Errors
/// `Unsupported` when the file has more rows or values than an index holds; `Unavailable` when the
/// memory cannot be had.
pub async fn remap_segment(
    segments: &ScalarSegments,
    spec: &ScalarIndexSpec,
    old: &[OldSegment],
    rows: u64,
    cores: &Semaphore,
) -> Result<Option<Bytes>> {
    if !old.iter().all(|old| segments.contains(&old.key)) {
        return Ok(None);
    }
    let mut parts = Vec::with_capacity(old.len());
    for OldSegment { key, rows } in old {
        let Some(index) = segments.open(key, rows.len() as u64).await else { return Ok(None) };
        parts.push(MovedRows { index, rows: Arc::clone(rows) });
    }
    let _core = cores.acquire().await.map_err(|error| {
        Error::new(ErrorKind::Cancelled, "indexes are no longer made").caused_by(error)
    })?;
    let spec = spec.clone();
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    let made = tokio::task::spawn_blocking(move || remap_scalar_index(&spec, &parts, rows)).await;
    made.map_err(|error| {
        Error::internal("a thread that made a scalar index ended abnormally").caused_by(error)
    })?
}
