//! Vectors of single rows, as arrays of the fields' canonical types.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, new_empty_array,
};
use arrow::buffer::{Buffer, MutableBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::DataType as ArrowType;
use bytes::Bytes;
use pandion_index::VectorBlock;
use pandion_source::{IoStats, columns};
use pandion_types::{Error, FieldSchema, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::assemble::{Assembler, Chunk};
use super::layout::Layout;
use crate::file::ParquetFile;
use crate::mapping::column_name;
use crate::pages::Pages;
use crate::{constant, guard};

/// The vectors of some rows, while they are gathered.
struct Gathered {
    bytes: MutableBuffer,
    valid: Vec<bool>,
}

impl Gathered {
    fn push(&mut self, block: &VectorBlock, row: usize) {
        let found = block.row(row);
        self.valid.push(found.is_some());
        match found {
            Some(vector) => self.bytes.extend_from_slice(vector),
            None => self.bytes.extend_zeros(block.vector_type().bytes()),
        }
    }

    fn into_array(self, field: &FieldSchema) -> Result<ArrayRef> {
        let nulls = NullBuffer::from(self.valid);
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        let bytes = Buffer::from(self.bytes);
        let made = match columns::canonical_type(field)? {
            ArrowType::FixedSizeList(item, dim) => {
                let values = Float32Array::new(ScalarBuffer::from(bytes), None);
                FixedSizeListArray::try_new(item, dim, Arc::new(values), nulls)
                    .map(|array| Arc::new(array) as ArrayRef)
            }
            ArrowType::FixedSizeBinary(width) => FixedSizeBinaryArray::try_new(width, bytes, nulls)
                .map(|array| Arc::new(array) as ArrayRef),
            other => {
                return Err(Error::internal(format!("vectors are not made as {other}")));
            }
        };
        made.map_err(|error| Error::internal("gathered vectors do not fit").caused_by(error))
    }
}

impl ParquetFile {
    /// The vectors of `field` in these rows of `row_group`, which are ascending. Only the pages
    /// that hold them are fetched, if the file has an offset index.
    pub(crate) async fn take_vectors(
        &self,
        field: &FieldSchema,
        row_group: usize,
        rows: &[usize],
        stats: &IoStats,
    ) -> Result<ArrayRef> {
        if rows.is_empty() {
            return Ok(new_empty_array(&columns::canonical_type(field)?));
        }
        let Some((leaf, layout)) = self.vector_column(field)? else {
            return constant::array(field, None, rows.len());
        };
        let (metadata, group) = self.with_pages_of(row_group, stats).await?;
        let mut gathered = Gathered {
            bytes: MutableBuffer::with_capacity(rows.len() * layout.vector_type.bytes()),
            valid: Vec::with_capacity(rows.len()),
        };
        match Wanted::new(metadata.metadata(), group, leaf, rows) {
            Some(wanted) => {
                let ranges: Vec<Range<u64>> = wanted.ranges().collect();
                let bytes = self.object().read_ranges(&ranges, stats).await?;
                let place = format!("{}: row group {row_group}", self.uri());
                let column = (field, self.row_group(row_group)?.column(leaf), layout);
                guard::guarded(&place, || {
                    self.gather(column, row_group, &wanted, &bytes, &mut gathered)
                })?;
            }
            None => {
                let block = self.read_block(field, row_group, stats).await?;
                rows.iter().for_each(|&row| gathered.push(&block, row));
            }
        }
        gathered.into_array(field)
    }

    /// Decodes the pages of `wanted`, whose bytes are `read`, and gathers its rows.
    fn gather(
        &self,
        (field, column, layout): (&FieldSchema, &ColumnChunkMetaData, Layout),
        row_group: usize,
        wanted: &Wanted,
        read: &[Bytes],
        gathered: &mut Gathered,
    ) -> Result<()> {
        let label = format!("field '{}' (external_field '{}')", field.name, column_name(field));
        let mut dictionary = None;
        // Rows of errors count from the start of the page, which is named for that.
        let parts = wanted.dictionary.iter().map(|range| (range, 0, [].as_slice()));
        let parts = parts.chain(wanted.pages.iter().map(WantedPage::parts));
        for ((range, rows_of_page, rows), bytes) in parts.zip(read) {
            let place =
                || format!("{}: row group {row_group}, page at offset {}", self.uri(), range.start);
            let pages = Pages::new(bytes, column)
                .collect::<std::result::Result<Vec<_>, _>>()
                .map_err(|error| guard::malformed(error, range.start, place()))?;
            let chunk =
                Chunk { bytes, column, layout, place: &place, label: &label, offset: range.start };
            let assembler = Assembler::with_dictionary(&chunk, rows_of_page, dictionary)?;
            let (block, used) = assembler.run_on(&pages)?;
            rows.iter().for_each(|&row| gathered.push(&block, row));
            dictionary = used;
        }
        Ok(())
    }
}

/// The pages of a column that hold wanted rows.
struct Wanted {
    /// Where the column's dictionary lies, if it has one.
    dictionary: Option<Range<u64>>,
    pages: Vec<WantedPage>,
}

struct WantedPage {
    range: Range<u64>,
    rows_of_page: usize,
    /// The wanted rows, counted in the page.
    rows: Vec<usize>,
}

impl WantedPage {
    fn parts(&self) -> (&Range<u64>, usize, &[usize]) {
        (&self.range, self.rows_of_page, &self.rows)
    }
}

impl Wanted {
    /// `None` when there is no offset index. What is there has been checked when it was loaded.
    fn new(
        metadata: &ParquetMetaData,
        row_group: usize,
        leaf: usize,
        rows: &[usize],
    ) -> Option<Self> {
        let group = metadata.row_groups().get(row_group)?;
        let locations = metadata.offset_index()?.get(row_group)?.get(leaf)?.page_locations();
        let group_rows = usize::try_from(group.num_rows()).ok()?;
        let first_row = |at: usize| match locations.get(at) {
            Some(page) => usize::try_from(page.first_row_index).ok(),
            None => Some(group_rows),
        };
        let (start, _) = group.column(leaf).byte_range();
        let first = u64::try_from(locations.first()?.offset).ok()?;
        let dictionary = Some(start..first).filter(|range| range.start < range.end);
        let mut pages = Vec::new();
        let mut rest = rows;
        for (at, page) in locations.iter().enumerate() {
            let (from, to) = (first_row(at)?, first_row(at + 1)?);
            let (inside, after) = rest.split_at(rest.partition_point(|&row| row < to));
            rest = after;
            if inside.is_empty() {
                continue;
            }
            let offset = u64::try_from(page.offset).ok()?;
            let size = u64::try_from(page.compressed_page_size).ok()?;
            pages.push(WantedPage {
                range: offset..offset + size,
                rows_of_page: to - from,
                rows: inside.iter().map(|row| row - from).collect(),
            });
        }
        rest.is_empty().then_some(Self { dictionary, pages })
    }

    fn ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let pages = self.pages.iter().map(|page| page.range.clone());
        self.dictionary.iter().cloned().chain(pages)
    }
}
