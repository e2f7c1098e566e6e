//! Deletion vectors: one blob of a Puffin file, the dead rows of one data file.
//!
//! The blob's place is told by the table's metadata, so that the Puffin file's own footer is not
//! read.

use std::ops::Range;
use std::sync::Arc;

use object_store::path::Path;
use pandion_manifest::{DeleteFile, DeleteKind};
use pandion_source::{IoStats, PinnedObject, SourceRoot};
use pandion_types::{ContentTag, FileIdentity, Result};
use roaring::{RoaringBitmap, RoaringTreemap};

use crate::guard::{corrupt, guarded, unsupported};

/// Bytes of the largest vector.
const VECTOR_BYTES_MAX: u64 = 256 << 20;

const MAGIC: [u8; 4] = [0xd1, 0xd3, 0x39, 0x64];
const LENGTH_BYTES: usize = 4;
const CHECKSUM_BYTES: usize = 4;

/// A vector to be read, and what the data file is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WantedVector<'a> {
    pub(crate) delete: &'a DeleteFile,
    /// URI of the data file.
    pub(crate) data_file: &'a str,
    /// Rows of the data file.
    pub(crate) rows: u64,
}

/// Reads vectors that lie in one Puffin file, with as few requests as their places allow. The answer
/// is in the order of `wanted`.
///
/// # Errors
/// `NotFound`, `Corrupt`, `Unsupported` about the source, naming the Puffin file and the data file;
/// those of the store.
pub(crate) async fn read(
    root: &SourceRoot,
    wanted: &[WantedVector<'_>],
    stats: &IoStats,
) -> Result<Vec<RoaringBitmap>> {
    let Some(first) = wanted.first() else { return Ok(Vec::new()) };
    let ranges = wanted.iter().map(range_of).collect::<Result<Vec<_>>>()?;
    let location = Path::parse(&first.delete.location).map_err(|error| {
        corrupt(format!("{} cannot be a path", first.delete.uri)).caused_by(error)
    })?;
    let identity = FileIdentity {
        uri: first.delete.uri.clone(),
        size: first.delete.size,
        tag: ContentTag::Immutable,
    };
    let object = PinnedObject::new(Arc::clone(&root.store), location, identity);
    let blobs = object.read_ranges(&ranges, stats).await?;
    wanted.iter().zip(blobs).map(|(wanted, blob)| decode(wanted, &blob)).collect()
}

fn range_of(wanted: &WantedVector<'_>) -> Result<Range<u64>> {
    match wanted.delete.kind {
        DeleteKind::Vector { offset, length } if length <= VECTOR_BYTES_MAX => {
            Ok(offset..offset.saturating_add(length))
        }
        DeleteKind::Vector { length, .. } => Err(unsupported(format!(
            "the deletion vector of {} in {} has {length} bytes, the most is {VECTOR_BYTES_MAX}",
            wanted.data_file, wanted.delete.uri
        ))),
        DeleteKind::Position | DeleteKind::Equality { .. } => {
            Err(corrupt(format!("{} holds no deletion vector", wanted.delete.uri)))
        }
    }
}

fn decode(wanted: &WantedVector<'_>, blob: &[u8]) -> Result<RoaringBitmap> {
    let place = format!("deletion vector of {} in {}", wanted.data_file, wanted.delete.uri);
    let rows = guarded(&place, || parse(blob).map_err(|what| corrupt(format!("{place} {what}"))))?;
    if rows.len() != wanted.delete.records {
        return Err(corrupt(format!(
            "{place} holds {} rows, the table says {}",
            rows.len(),
            wanted.delete.records
        )));
    }
    if let Some(last) = rows.max().filter(|last| u64::from(*last) >= wanted.rows) {
        return Err(corrupt(format!(
            "{place} deletes row {last} of a file of {} rows",
            wanted.rows
        )));
    }
    Ok(rows)
}

/// Reads a blob of type `deletion-vector-v1` (Puffin specification): the length of magic and vector,
/// the magic, the vector as a portable 64-bit roaring bitmap, and the checksum of magic and vector.
fn parse(blob: &[u8]) -> Result<RoaringBitmap, String> {
    let cut = || "is cut short".to_owned();
    let (length, rest) = blob.split_first_chunk::<LENGTH_BYTES>().ok_or_else(cut)?;
    let (body, checksum) = rest.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(cut)?;
    if u32::from_be_bytes(*length) as usize != body.len() {
        return Err(format!("claims {} bytes and has {}", u32::from_be_bytes(*length), body.len()));
    }
    if crc32fast::hash(body) != u32::from_be_bytes(*checksum) {
        return Err("has a wrong checksum".to_owned());
    }
    let (magic, mut bitmap) = body.split_first_chunk::<4>().ok_or_else(cut)?;
    if *magic != MAGIC {
        return Err("has no magic word".to_owned());
    }
    let rows = RoaringTreemap::deserialize_from(&mut bitmap)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if !bitmap.is_empty() {
        return Err("has bytes behind its bitmap".to_owned());
    }
    let mut low = RoaringBitmap::new();
    for (high, rows) in rows.bitmaps() {
        if high > 0 && !rows.is_empty() {
            return Err("deletes rows that no file has".to_owned());
        }
        if high == 0 {
            low.clone_from(rows);
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests;
