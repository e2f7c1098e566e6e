//! Columns of vectors, from the bytes of their pages into blocks.
//!
//! This is the hot path of a search over data that no index covers, so it does not go through
//! Arrow: a column of vectors without nulls is a sequence of plain numbers with levels around them
//! that all say the same, and once that is checked the numbers are copied. What is decoded here
//! equals what [`ParquetFile::read`] gives for the same column.

mod assemble;
pub(crate) mod layout;
pub(crate) mod levels;
mod take;
mod values;

use std::ops::Range;

use bytes::Bytes;
use pandion_index::VectorBlock;
use pandion_source::{IoStats, columns};
use pandion_types::{Error, FieldSchema, Result, ResultExt};

use self::assemble::{Assembler, Chunk};
use self::layout::Layout;
use crate::file::ParquetFile;
use crate::mapping::{Source, column_name};
use crate::pages::{PageAt, Pages};
use crate::{constant, guard};

impl ParquetFile {
    /// Where the bytes of the vectors of `field` in `row_group` lie in the file; an empty range when
    /// the file has no column for them.
    ///
    /// # Errors
    /// `InvalidArgument` when the file lacks the column, or the column cannot hold such vectors.
    pub fn vector_range(&self, field: &FieldSchema, row_group: usize) -> Result<Range<u64>> {
        let group = self.row_group(row_group)?;
        let Some((column, _)) = self.vector_column(field)? else { return Ok(0..0) };
        let (start, length) = group.column(column).byte_range();
        Ok(start..start + length)
    }

    /// Decodes the vectors of `field` in `row_group` from the bytes of [`Self::vector_range`].
    ///
    /// The block has a row for every row of the row group, in order; all are null when the file has
    /// no column for them. Uses the threads of the rayon
    /// pool that it is called in, and no others; blocks until it is done.
    ///
    /// # Errors
    /// `InvalidArgument` when the column cannot hold such vectors; `Corrupt` about the source,
    /// naming field, column, row group and row, when a vector has a wrong length or a null inside,
    /// and when the bytes are not what the format or the footer says; `Unavailable` when there is no memory for the
    /// block.
    pub fn decode_vectors(
        &self,
        field: &FieldSchema,
        row_group: usize,
        bytes: &Bytes,
    ) -> Result<VectorBlock> {
        let metadata = self.row_group(row_group)?;
        let place = || format!("{}: row group {row_group}", self.uri());
        let label = format!("field '{}' (external_field '{}')", field.name, column_name(field));
        let rows = usize::try_from(metadata.num_rows())
            .map_err(|error| Error::corrupt(place()).caused_by(error))?;
        let Some((leaf, layout)) = self.vector_column(field)? else {
            return constant::vectors(field, None, rows).context(place);
        };
        let column = metadata.column(leaf);
        let (offset, length) = column.byte_range();
        if bytes.len() as u64 != length {
            return Err(Error::internal(format!(
                "{}: {} bytes were handed in for a column of {length}",
                place(),
                bytes.len()
            )));
        }
        guard::guarded(&place(), || {
            let pages: Vec<PageAt> = Pages::new(bytes, column)
                .collect::<Result<_, _>>()
                .map_err(|error| guard::malformed(error, offset, place()))?;
            let chunk = Chunk { bytes, column, layout, place: &place, label: &label, offset };
            Assembler::new(&chunk, rows)?.run(&pages)
        })
    }

    /// Reads and decodes the vectors of `field` in `row_group`: one request, and the decoding on a
    /// thread that may block.
    ///
    /// # Errors
    /// Those of [`Self::decode_vectors`] and of the store.
    pub async fn read_vectors(
        &self,
        field: &FieldSchema,
        row_group: usize,
        stats: &IoStats,
    ) -> Result<VectorBlock> {
        let block = self.read_block(field, row_group, stats).await?;
        if self.vector_column(field)?.is_some() {
            stats.count_rows_decoded(block.rows() as u64);
        }
        Ok(block)
    }

    async fn read_block(
        &self,
        field: &FieldSchema,
        row_group: usize,
        stats: &IoStats,
    ) -> Result<VectorBlock> {
        let range = self.vector_range(field, row_group)?;
        let bytes = match range.is_empty() {
            true => Bytes::new(),
            false => self.object().read_range(range, stats).await?,
        };
        let (file, field) = (self.clone(), field.clone());
        let decode = move || file.decode_vectors(&field, row_group, &bytes);
        let decoded = tokio::task::spawn_blocking(decode).await;
        decoded.map_err(|error| {
            Error::internal(format!("{}: decoding ended abnormally", self.uri())).caused_by(error)
        })?
    }

    /// The leaf that holds the vectors of `field`, and how; `None` when the file has no column for
    /// them, so that all are null.
    fn vector_column(&self, field: &FieldSchema) -> Result<Option<(usize, Layout)>> {
        let found = match self.source(field)? {
            Source::Column(found) => found,
            Source::Value(value) => {
                // There is no other constant of vectors than null.
                constant::array(field, value, 0).context(|| self.uri())?;
                return Ok(None);
            }
        };
        // The types decide first, so that a column is a source of vectors here exactly when it is
        // one for everything else.
        let checked = found.read_as().map_or(Ok(()), |read_as| columns::check(field, read_as));
        let layout = checked.and_then(|()| found.column.vector_layout(self.metadata(), field));
        layout.map(|layout| Some((found.column.leaves.start, layout))).context(|| self.uri())
    }
}

#[cfg(test)]
mod tests;
