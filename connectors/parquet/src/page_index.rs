//! The page index: where the pages of every column lie, and the bounds of their values.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pandion_source::IoStats;
use pandion_types::{Error, Result, Subject};
use parquet::DecodeResult;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder, RowGroupMetaData,
};

use crate::file::ParquetFile;
use crate::guard;
use crate::thrift::{self, Shape};

/// Bytes of the largest page index that is loaded; a file with a larger one is read as if it had
/// none. An index takes some fifty bytes per page.
const INDEX_BYTES_MAX: u64 = 256 << 20;

impl ParquetFile {
    /// The footer together with the page index, as far as the file has one.
    ///
    /// The index is read when it is first asked for, in one request, and kept.
    ///
    /// # Errors
    /// `Corrupt`, naming the file, when the index is malformed or contradicts the footer; those of
    /// the store.
    pub async fn page_index(&self, stats: &IoStats) -> Result<Arc<ParquetMetaData>> {
        self.with_page_index(stats).await.map(|arrow| Arc::clone(arrow.metadata()))
    }

    pub(crate) async fn with_page_index(&self, stats: &IoStats) -> Result<&ArrowReaderMetadata> {
        self.indexed().get_or_try_init(|| self.load_page_index(stats)).await
    }

    /// Metadata that know where the pages of `row_group` lie, and the number that the row group has
    /// in them. Of a file with a large index only the part of this row group is read, once, without
    /// the bounds of values.
    ///
    /// # Errors
    /// As [`Self::page_index`].
    pub(crate) async fn with_pages_of(
        &self,
        row_group: usize,
        stats: &IoStats,
    ) -> Result<(&ArrowReaderMetadata, usize)> {
        let whole = self.indexed().initialized() || self.row_groups() < 2;
        if whole || index_bytes(self.metadata()) <= INDEX_BYTES_AT_ONCE {
            return Ok((self.with_page_index(stats).await?, row_group));
        }
        let Some(part) = self.indexed_groups().get(row_group) else {
            return Ok((self.with_page_index(stats).await?, row_group));
        };
        let load = || async {
            let group = Arc::new(offsets_only(self.metadata(), self.row_group(row_group)?));
            self.load_index(&group, stats).await
        };
        Ok((part.get_or_try_init(load).await?, 0))
    }

    async fn load_page_index(&self, stats: &IoStats) -> Result<ArrowReaderMetadata> {
        self.load_index(self.metadata(), stats).await
    }

    /// Reads the index that `metadata` points at.
    async fn load_index(
        &self,
        metadata: &Arc<ParquetMetaData>,
        stats: &IoStats,
    ) -> Result<ArrowReaderMetadata> {
        let place = format!("{}: page index", self.uri());
        let parts = index_parts(metadata);
        let size = self.object().identity.size;
        let within = parts.iter().all(|(range, _)| range.start <= range.end && range.end <= size);
        if !within {
            return Err(Error::corrupt(format!("{place} reaches beyond the end of the file"))
                .about(Subject::Source));
        }
        let start = parts.iter().map(|(range, _)| range.start).min().unwrap_or(0);
        let end = parts.iter().map(|(range, _)| range.end).max().unwrap_or(0);
        if parts.is_empty() || end - start > INDEX_BYTES_MAX {
            return self.reader_metadata(Arc::clone(metadata), &place);
        }
        let bytes = self.object().read_range(start..end, stats).await?;
        for (range, shape) in &parts {
            let part = slice(&bytes, range, start);
            thrift::check(part, shape, &mut |_mark, _value| ())
                .map_err(|error| guard::malformed(error, range.start, &place))?;
        }
        let metadata = guard::guarded(&place, || {
            let metadata = decode(metadata, size, start..end, bytes)
                .map_err(|error| guard::foreign(error, &place))?;
            check(metadata)
                .map_err(|what| Error::corrupt(format!("{place} {what}")).about(Subject::Source))
        })?;
        self.reader_metadata(Arc::new(metadata), &place)
    }

    fn reader_metadata(
        &self,
        metadata: Arc<ParquetMetaData>,
        place: &str,
    ) -> Result<ArrowReaderMetadata> {
        guard::guarded(place, || {
            let options = ArrowReaderOptions::new().with_schema(Arc::clone(self.arrow_schema()));
            ArrowReaderMetadata::try_new(metadata, options)
                .map_err(|error| guard::foreign(error, place))
        })
    }
}

/// Bytes of the whole index, as the footer says.
fn index_bytes(metadata: &ParquetMetaData) -> u64 {
    index_parts(metadata).iter().map(|(range, _)| range.end.saturating_sub(range.start)).sum()
}

/// The metadata of one row group alone, pointing at where its pages lie and at nothing else.
fn offsets_only(metadata: &ParquetMetaData, group: &RowGroupMetaData) -> ParquetMetaData {
    let columns = group.columns().iter().cloned().map(|column| {
        let plain = column.clone();
        let without = column.into_builder().set_column_index_offset(None);
        without.set_column_index_length(None).build().unwrap_or(plain)
    });
    let plain = group.clone();
    let group = group.clone().into_builder().set_column_metadata(columns.collect());
    let group = group.build().unwrap_or(plain);
    ParquetMetaData::new(metadata.file_metadata().clone(), vec![group])
}

/// An index up to this size is read as a whole, when only a part of it is needed: one request serves
/// all row groups.
const INDEX_BYTES_AT_ONCE: u64 = 32 << 10;

type Fields = &'static [(i16, Shape)];

/// The ranges of all indexes that the footer points at, and what lies there.
fn index_parts(metadata: &ParquetMetaData) -> Vec<(Range<u64>, Fields)> {
    let range = |offset: Option<i64>, length: Option<i32>| {
        let start = u64::try_from(offset?).ok()?;
        Some(start..start.saturating_add(u64::try_from(length?).ok()?))
    };
    let columns = metadata.row_groups().iter().flat_map(RowGroupMetaData::columns);
    columns
        .flat_map(|column| {
            let offsets = range(column.offset_index_offset(), column.offset_index_length());
            let bounds = range(column.column_index_offset(), column.column_index_length());
            let offsets = offsets.map(|range| (range, thrift::OFFSET_INDEX));
            offsets.into_iter().chain(bounds.map(|range| (range, thrift::COLUMN_INDEX)))
        })
        .collect()
}

fn slice<'a>(bytes: &'a Bytes, range: &Range<u64>, start: u64) -> &'a [u8] {
    let at = |offset: u64| usize::try_from(offset - start).unwrap_or(usize::MAX);
    bytes.get(at(range.start)..at(range.end)).unwrap_or_default()
}

fn decode(
    metadata: &ParquetMetaData,
    size: u64,
    range: Range<u64>,
    bytes: Bytes,
) -> parquet::errors::Result<ParquetMetaData> {
    let mut decoder = ParquetMetaDataPushDecoder::try_new_with_metadata(size, metadata.clone())?
        .with_page_index_policy(PageIndexPolicy::Optional);
    decoder.push_range(range, bytes)?;
    match decoder.try_decode()? {
        DecodeResult::Data(metadata) => Ok(metadata),
        DecodeResult::NeedsData(_) | DecodeResult::Finished => Err(
            parquet::errors::ParquetError::General("the index is not where it should be".into()),
        ),
    }
}

/// Checks that the pages of every column lie in the column, in order, and cover its rows. An index
/// that lacks a column is left out as a whole: readers look into it for any column.
fn check(metadata: ParquetMetaData) -> Result<ParquetMetaData, &'static str> {
    let Some(index) = metadata.offset_index() else { return Ok(metadata) };
    let mut complete = index.len() == metadata.num_row_groups();
    for (group, columns) in metadata.row_groups().iter().zip(index) {
        complete &= columns.len() == group.num_columns();
        for (column, index) in group.columns().iter().zip(columns) {
            let (start, length) = column.byte_range();
            let (mut at, mut row) = (start, 0);
            let locations = index.page_locations();
            complete &= !locations.is_empty() || group.num_rows() == 0;
            for (number, page) in locations.iter().enumerate() {
                let offset = u64::try_from(page.offset).unwrap_or(0);
                let bytes = u64::try_from(page.compressed_page_size).unwrap_or(0);
                let first = number == 0;
                let rows_ascend = match first {
                    true => page.first_row_index == 0,
                    false => page.first_row_index >= row && page.first_row_index < group.num_rows(),
                };
                if bytes == 0 || offset < at || offset + bytes > start + length || !rows_ascend {
                    return Err("contradicts the footer");
                }
                (at, row) = (offset + bytes, page.first_row_index);
            }
        }
    }
    if complete {
        return Ok(metadata);
    }
    let mut builder = metadata.into_builder();
    builder = builder.set_offset_index(None).set_column_index(None);
    Ok(builder.build())
}
