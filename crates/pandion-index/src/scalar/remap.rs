//! Makes the index of rows that were rows of other files before from the indexes of those files.
//!
//! The values of a row do not change when the row moves to another file, so that an index of the
//! new file needs the old indexes and the moves, and no value of the column. The bytes are the ones
//! that a builder makes of the values. Which rows moved where is not found out here.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use pandion_types::Result;

use super::builder::RowSet;
use super::section::checked_len;
use super::{ScalarIndex, ScalarIndexBuilder, ScalarIndexSpec, builder_of};
use crate::Bitmap;

/// Stands for the new row of a row that is no longer there.
pub const ROW_GONE: u32 = u32::MAX;

/// The index of a file that rows came from, and where they went.
#[derive(Clone, Debug)]
pub struct MovedRows {
    /// The index, as it was opened.
    pub index: Arc<dyn ScalarIndex>,
    /// For each of its rows the row of the new file, or [`ROW_GONE`].
    pub rows: Arc<[u32]>,
}

impl MovedRows {
    /// The index, if it is of this layout and specification.
    pub(super) fn index<T: ScalarIndex>(&self, spec: &ScalarIndexSpec) -> Option<&T> {
        let index: &dyn Any = self.index.as_ref();
        index.downcast_ref::<T>().filter(|index| index.spec() == spec)
    }

    /// The new row of a row; `None` when it is gone.
    pub(super) fn new_row(&self, row: u32) -> Option<u32> {
        self.rows.get(row as usize).copied().filter(|row| *row != ROW_GONE)
    }

    /// Whether some row is gone.
    pub(super) fn lacks_rows(&self) -> bool {
        self.rows.contains(&ROW_GONE)
    }

    /// Adds the new rows of a set.
    pub(super) fn add(&self, rows: Option<&Arc<Bitmap>>, to: &mut RowSet) -> Result<()> {
        let rows = rows.into_iter().flat_map(|rows| rows.iter());
        let mut moved = rows.filter_map(|row| self.new_row(u32::try_from(row).ok()?));
        moved.try_for_each(|row| to.insert(row))
    }
}

/// A builder that can take values out of opened indexes.
pub(super) trait Absorb: ScalarIndexBuilder {
    /// Takes all of `rows` rows, each of which comes from one of the parts. To be called instead of
    /// [`ScalarIndexBuilder::push`], once. `false` when the parts do not tell enough; the builder is
    /// of no use then.
    fn absorb(&mut self, parts: &[MovedRows], rows: u32) -> Result<bool>;
}

/// Makes the index of a file of `rows` rows from the indexes of the files that its rows were in.
/// The bytes are those that [`scalar_index_builder`](super::scalar_index_builder) makes of the
/// values. Takes memory as building does, and time for the rows of all parts, gone ones included.
///
/// `None` when the index can only be made from the values: parts that are of another specification,
/// or that do not give each row exactly once; indexes of JSON arrays that hold elements of other
/// kinds, of which some rows are gone.
///
/// # Errors
/// `Unsupported` when there is no such index, or there are more rows or bytes than an index holds;
/// `Unavailable` when the memory cannot be had.
pub fn remap_scalar_index(
    spec: &ScalarIndexSpec,
    parts: &[MovedRows],
    rows: usize,
) -> Result<Option<Bytes>> {
    let count = checked_len(rows)?;
    if !give_each_once(parts, rows) {
        return Ok(None);
    }
    let mut builder = builder_of(spec)?;
    if !builder.absorb(parts, count)? {
        return Ok(None);
    }
    builder.finish().map(Some)
}

/// Whether each of `rows` rows comes from exactly one row of the parts.
fn give_each_once(parts: &[MovedRows], rows: usize) -> bool {
    let mut seen = Bitmap::empty(rows);
    for part in parts {
        if part.rows.len() != part.index.rows() {
            return false;
        }
        for &row in part.rows.iter().filter(|row| **row != ROW_GONE) {
            let row = row as usize;
            if row >= rows || seen.get(row) {
                return false;
            }
            seen.insert(row);
        }
    }
    seen.count() == rows
}
