//! Which rows of a file are dead.

use std::ops::Range;
use std::sync::Arc;

use pandion_types::{Error, Result};
use roaring::RoaringBitmap;

/// The dead rows of one file, counted from 0 in the file. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct DeleteVector(Arc<RoaringBitmap>);

impl DeleteVector {
    /// A vector of these rows; `None` when there are none, which a manifest says by having no
    /// vector.
    #[must_use]
    pub fn new(rows: RoaringBitmap) -> Option<Self> {
        (!rows.is_empty()).then(|| Self(Arc::new(rows)))
    }

    /// How many rows are dead.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Whether a row is dead.
    #[must_use]
    pub fn contains(&self, row: u32) -> bool {
        self.0.contains(row)
    }

    /// The highest dead row.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        self.0.max()
    }

    /// How many rows of a range are dead.
    #[must_use]
    pub fn count_in(&self, rows: Range<u32>) -> u64 {
        self.0.range_cardinality(rows)
    }

    /// The dead rows of a range, ascending.
    pub fn rows_in(&self, rows: Range<u32>) -> impl Iterator<Item = u32> + '_ {
        self.0.range(rows)
    }

    /// The bitmap.
    #[must_use]
    pub fn rows(&self) -> &RoaringBitmap {
        &self.0
    }

    /// The vector in the portable serialization of roaring bitmaps.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.0.serialized_size());
        self.0
            .serialize_into(&mut bytes)
            .map_err(|error| Error::internal("a delete vector was not written").caused_by(error))?;
        Ok(bytes)
    }

    /// Reads what [`Self::to_bytes`] wrote; no bytes are no vector.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Option<Self>> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let mut rest = bytes;
        let rows = RoaringBitmap::deserialize_from(&mut rest)
            .map_err(|error| Error::corrupt("a delete vector cannot be read").caused_by(error))?;
        if !rest.is_empty() {
            return Err(Error::corrupt("bytes after a delete vector"));
        }
        match Self::new(rows) {
            Some(vector) => Ok(Some(vector)),
            None => Err(Error::corrupt("a delete vector without rows")),
        }
    }
}
