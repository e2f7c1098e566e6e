//! Columns of a row group as the file has them, whatever fields are mapped to.
//!
//! For readers of other formats' side files, and of columns that no field is mapped to. Nothing is
//! converted, but that text comes as views.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use bytes::Bytes;
use pandion_source::IoStats;
use pandion_types::{Error, ErrorKind, Result, Subject};
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};

use crate::file::ParquetFile;
use crate::{guard, pages};

/// Rows of a batch.
const BATCH_ROWS: usize = 1 << 16;

impl ParquetFile {
    /// Reads top-level columns of a row group, named by their places in the file's schema. Each
    /// element of the answer has the columns in the order of `roots`, which are distinct. Rows are
    /// decoded on threads for long work, so that reads side by side use several cores. Columns of
    /// text come as views.
    ///
    /// # Errors
    /// `Internal` for columns or row groups that the file has not; `Corrupt` when the bytes are not
    /// what the format or the footer says; `Cancelled` when the runtime shuts down; those of the
    /// store.
    pub async fn read_raw(
        &self,
        roots: &[usize],
        row_group: usize,
        stats: &IoStats,
    ) -> Result<Vec<Vec<ArrayRef>>> {
        let place = format!("{}: row group {row_group}", self.uri());
        let rows = u64::try_from(self.row_group(row_group)?.num_rows()).unwrap_or(0);
        if rows == 0 {
            return Ok(Vec::new());
        }
        // The decoder says what it needs before it has anything to work on.
        let decoding = self.raw_decoding(roots, row_group, &place)?;
        let (mut decoding, mut wanted) = decoding.advance(Vec::new())?;
        while !wanted.is_empty() {
            let bytes = self.object().read_ranges(&wanted, stats).await?;
            let fed = wanted.into_iter().zip(bytes).collect();
            (decoding, wanted) = blocking(move || decoding.advance(fed)).await?;
        }
        let batches = decoding.columns(roots, rows)?;
        stats.count_rows_decoded(rows);
        Ok(batches)
    }

    /// As [`Self::read_raw`], from the bytes of the whole file, on the calling thread.
    ///
    /// # Errors
    /// As [`Self::read_raw`].
    pub fn decode_raw(
        &self,
        roots: &[usize],
        row_group: usize,
        content: &Bytes,
    ) -> Result<Vec<Vec<ArrayRef>>> {
        let place = format!("{}: row group {row_group}", self.uri());
        let rows = u64::try_from(self.row_group(row_group)?.num_rows()).unwrap_or(0);
        if rows == 0 {
            return Ok(Vec::new());
        }
        let slice = |range: Range<u64>| {
            let start = usize::try_from(range.start).unwrap_or(usize::MAX);
            let end = usize::try_from(range.end).unwrap_or(usize::MAX);
            let is_inside = start <= end && end <= content.len();
            is_inside.then(|| (range, content.slice(start..end))).ok_or_else(|| {
                Error::corrupt(format!("{place}: bytes {start} to {end} lie outside of the file"))
                    .about(Subject::Source)
            })
        };
        let decoding = self.raw_decoding(roots, row_group, &place)?;
        let (mut decoding, mut wanted) = decoding.advance(Vec::new())?;
        while !wanted.is_empty() {
            let fed = wanted.into_iter().map(slice).collect::<Result<_>>()?;
            (decoding, wanted) = decoding.advance(fed)?;
        }
        decoding.columns(roots, rows)
    }

    fn raw_decoding(&self, roots: &[usize], row_group: usize, place: &str) -> Result<Decoding> {
        let decoder = guard::guarded(place, || self.raw_decoder(roots, row_group, place))?;
        let (file, batches) = (self.clone(), Vec::new());
        Ok(Decoding { file, row_group, place: place.to_owned(), decoder, batches })
    }

    fn raw_decoder(
        &self,
        roots: &[usize],
        row_group: usize,
        place: &str,
    ) -> Result<ParquetPushDecoder> {
        let mask = ProjectionMask::roots(self.arrow().parquet_schema(), roots.iter().copied());
        let options = ArrowReaderOptions::new().with_schema(with_views(self.arrow().schema()));
        let metadata = Arc::clone(self.arrow().metadata());
        let arrow = ArrowReaderMetadata::try_new(metadata, options)
            .map_err(|error| guard::foreign(error, place))?;
        ParquetPushDecoderBuilder::new_with_metadata(arrow)
            .with_projection(mask)
            .with_row_groups(vec![row_group])
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|error| guard::foreign(error, place))
    }

    /// Checks the pages in `bytes`, which were read from `range`.
    fn verify_raw(
        &self,
        row_group: usize,
        range: &Range<u64>,
        bytes: &Bytes,
        place: &str,
    ) -> Result<()> {
        let columns = self.row_group(row_group)?.columns();
        let column = columns.iter().find(|column| {
            let (start, length) = column.byte_range();
            start <= range.start && range.end <= start + length
        });
        let column = column.ok_or_else(|| {
            Error::corrupt(format!("{place}: pages outside of all columns")).about(Subject::Source)
        })?;
        let place = || format!("{place}, column {}", column.column_path());
        pages::verify(bytes, range.start, column, false, &place)
    }
}

/// The schema with text as views, which need no copy of a value for every row that has it.
fn with_views(schema: &Schema) -> SchemaRef {
    let field = |field: &FieldRef| match field.data_type() {
        DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        _ => Arc::clone(field),
    };
    let fields: Vec<FieldRef> = schema.fields().iter().map(field).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// A row group that is being decoded.
struct Decoding {
    file: ParquetFile,
    row_group: usize,
    /// For messages.
    place: String,
    decoder: ParquetPushDecoder,
    batches: Vec<RecordBatch>,
}

impl Decoding {
    /// Decodes what the bytes `fed` allow. Also returns the ranges that are wanted next, none at the
    /// end.
    fn advance(mut self, fed: Vec<(Range<u64>, Bytes)>) -> Result<(Self, Vec<Range<u64>>)> {
        let place = self.place.clone();
        guard::guarded(&place, || {
            for (range, bytes) in &fed {
                self.file.verify_raw(self.row_group, range, bytes, &place)?;
            }
            if !fed.is_empty() {
                let (ranges, bytes) = fed.into_iter().unzip();
                let pushed = self.decoder.push_ranges(ranges, bytes);
                pushed.map_err(|error| guard::foreign(error, &place))?;
            }
            loop {
                let step = self.decoder.try_decode();
                match step.map_err(|error| guard::foreign(error, &place))? {
                    DecodeResult::NeedsData(ranges) => return Ok((self, ranges)),
                    DecodeResult::Data(batch) => self.batches.push(batch),
                    DecodeResult::Finished => return Ok((self, Vec::new())),
                }
            }
        })
    }

    /// The columns of all batches, which should have so many rows together.
    fn columns(&self, roots: &[usize], rows: u64) -> Result<Vec<Vec<ArrayRef>>> {
        let decoded: u64 = self.batches.iter().map(|batch| batch.num_rows() as u64).sum();
        if decoded != rows {
            return Err(Error::corrupt(format!(
                "{}: {decoded} rows were decoded, there should be {rows}",
                self.place
            ))
            .about(Subject::Source));
        }
        self.batches.iter().map(|batch| in_order(batch, roots)).collect()
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Error::new(ErrorKind::Cancelled, "reading a file was cancelled").caused_by(error)
    })?
}

/// The columns of a batch, which has them in the order of the file.
fn in_order(batch: &RecordBatch, roots: &[usize]) -> Result<Vec<ArrayRef>> {
    let mut sorted = roots.to_vec();
    sorted.sort_unstable();
    let column = |root: &usize| {
        let at = sorted.binary_search(root).ok()?;
        batch.columns().get(at).map(Arc::clone)
    };
    let columns: Option<Vec<_>> = roots.iter().map(column).collect();
    columns
        .filter(|columns| columns.len() == batch.num_columns())
        .ok_or_else(|| Error::internal("a column was lost"))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray, StringViewArray};
    use parquet::file::properties::WriterProperties;

    use super::*;
    use crate::testing::{open, try_open, write};

    #[tokio::test]
    async fn columns_are_read_in_the_order_asked_for_and_as_they_are() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(2)).build();
        let columns = [("n", Arc::clone(&numbers)), ("t", Arc::clone(&texts))];
        let bytes = write(&columns, properties);
        let file = open(bytes.clone()).await;
        let stats = IoStats::default();
        let first = file.read_raw(&[1, 0], 0, &stats).await.unwrap();
        let views: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "b"]));
        assert_eq!(first, [vec![views, numbers.slice(0, 2)]]);
        let second = file.read_raw(&[0], 1, &stats).await.unwrap();
        assert_eq!(second, [vec![numbers.slice(2, 1)]]);
        assert_eq!(stats.counts().rows_decoded, 3);
        assert!(file.read_raw(&[0], 2, &stats).await.is_err());
        assert_eq!(file.decode_raw(&[1, 0], 0, &bytes).unwrap(), first);
        assert_eq!(file.decode_raw(&[0], 1, &bytes).unwrap(), second);
        let cut = bytes.slice(..8);
        let error = file.decode_raw(&[0], 0, &cut).unwrap_err().to_string();
        assert!(error.contains("lie outside of the file"), "{error}");
        // Spoiled pages are an error or other values, never a panic.
        for at in 4..bytes.len() / 2 {
            let mut spoiled = bytes.to_vec();
            spoiled[at] ^= 0xff;
            let spoiled = Bytes::from(spoiled);
            if let Ok(file) = try_open(spoiled.clone()).await {
                let read = file.read_raw(&[0, 1], 0, &stats).await;
                assert_eq!(file.decode_raw(&[0, 1], 0, &spoiled).ok(), read.ok());
            }
        }
    }
}
