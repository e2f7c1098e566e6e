//! Columns of a row group, and single rows, as Arrow arrays of the fields' canonical types.

mod dictionary;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use pandion_source::{IoStats, columns};
use pandion_types::{Error, FieldSchema, Result, ResultExt, Subject};
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};

use crate::file::{ParquetFile, column_name};
use crate::{guard, pages};

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;
/// Row groups that [`ParquetFile::take`] reads at the same time.
const ROW_GROUPS_IN_FLIGHT: usize = 16;

impl ParquetFile {
    /// Reads `fields` of `row_group`, all rows or those of `selection`, in the order of the file.
    ///
    /// The batches have a column for each of `fields`, in that order, with the field's name and
    /// canonical type. With a selection only the pages that hold selected rows are fetched, if the
    /// file has an offset index, which is then loaded; otherwise whole columns are. Rows are
    /// decoded on the thread that polls.
    ///
    /// # Errors
    /// `InvalidArgument` when the file lacks a column or the column's type does not fit the field;
    /// `Corrupt` when values do not fit, naming the row counted in its batch, and when the bytes
    /// are not what the format or the footer says; those of the store.
    pub async fn read(
        &self,
        fields: &[FieldSchema],
        row_group: usize,
        selection: Option<RowSelection>,
        stats: &IoStats,
    ) -> Result<Vec<RecordBatch>> {
        let mut plan = Plan::new(self, fields, row_group)?;
        let group_rows = usize::try_from(self.row_group(row_group)?.num_rows()).unwrap_or(0);
        let expected = selection.as_ref().map_or(group_rows, RowSelection::row_count);
        if expected == 0 {
            return Ok(Vec::new());
        }
        if plan.roots.is_empty() {
            return Ok(vec![plan.batch_without_columns(expected)?]);
        }
        let selection = selection.filter(|_| expected < group_rows);
        plan.skips = selection.is_some();
        let (metadata, group) = match selection {
            Some(_) => self.with_pages_of(row_group, stats).await?,
            None => (self.arrow(), row_group),
        };
        let batches = plan.run(metadata, group, selection, stats).await?;
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if rows != expected {
            return Err(plan.wrong_rows(rows, expected));
        }
        let convert = |batch| guard::guarded(&plan.place, || plan.convert(&batch));
        batches.into_iter().map(convert).collect()
    }

    /// Reads `fields` of single rows of the file, counted from 0 in the file, which are ascending
    /// and distinct. The batch has them in that order. Row groups, and columns of vectors beside
    /// the others, are read concurrently; each row counts once as decoded.
    ///
    /// # Errors
    /// As [`Self::read`]; `Internal` when the rows are not ascending or not in the file.
    pub async fn take(
        &self,
        fields: &[FieldSchema],
        rows: &[u32],
        stats: &IoStats,
    ) -> Result<RecordBatch> {
        let schema = canonical_schema(fields)?;
        let parts = self.rows_by_group(rows)?;
        let taken: Vec<RecordBatch> = stream::iter(parts)
            .map(|(row_group, rows)| self.take_in_group(fields, &schema, row_group, rows, stats))
            .buffered(ROW_GROUPS_IN_FLIGHT)
            .try_collect()
            .await?;
        concat_batches(&schema, &taken)
            .map_err(|error| Error::internal("joining batches failed").caused_by(error))
    }

    /// Reads rows of one row group: vectors without, and everything else with the library's reader.
    async fn take_in_group(
        &self,
        fields: &[FieldSchema],
        schema: &SchemaRef,
        row_group: usize,
        rows: Vec<usize>,
        stats: &IoStats,
    ) -> Result<RecordBatch> {
        let is_vector = |field: &&FieldSchema| field.data_type.is_dense_vector();
        let others: Vec<FieldSchema> =
            fields.iter().filter(|field| !is_vector(field)).cloned().collect();
        let group_rows = self.row_group_rows(row_group).len();
        let selection = RowSelection::from_consecutive_ranges(consecutive(&rows), group_rows);
        let vectors = fields.iter().filter(is_vector);
        let vectors = vectors.map(|field| self.take_vectors(field, row_group, &rows, stats));
        let (vectors, batches) = futures::try_join!(
            futures::future::try_join_all(vectors),
            self.read(&others, row_group, Some(selection), stats)
        )?;
        if others.is_empty() {
            stats.count_rows_decoded(rows.len() as u64);
        }
        let failed = |error: ArrowError| Error::internal("joining columns failed").caused_by(error);
        let others = concat_batches(&canonical_schema(&others)?, &batches).map_err(failed)?;
        let (mut vectors, mut others) = (vectors.into_iter(), others.columns().iter().cloned());
        let columns = fields
            .iter()
            .map(|field| if is_vector(&field) { vectors.next() } else { others.next() })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Error::internal("a column was lost"))?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(failed)
    }

    /// The row groups that hold `rows`, each with the rows counted in the row group.
    fn rows_by_group(&self, rows: &[u32]) -> Result<Vec<(usize, Vec<usize>)>> {
        if !rows.is_sorted_by(|left, right| left < right) {
            return Err(Error::internal("rows to take are not ascending and distinct"));
        }
        let mut groups: Vec<(usize, Vec<usize>)> = Vec::new();
        for &row in rows {
            let group = self.starts().partition_point(|&start| start <= row);
            let Some(group) = group.checked_sub(1).filter(|&group| group < self.row_groups())
            else {
                return Err(Error::internal(format!(
                    "{} has {} rows, there is no row {row}",
                    self.uri(),
                    self.rows()
                )));
            };
            let in_group = (row - self.row_group_rows(group).start) as usize;
            match groups.last_mut() {
                Some((last, rows)) if *last == group => rows.push(in_group),
                _ => groups.push((group, vec![in_group])),
            }
        }
        Ok(groups)
    }
}

/// Ascending rows as ranges.
fn consecutive(rows: &[usize]) -> impl Iterator<Item = Range<usize>> + '_ {
    rows.chunk_by(|left, right| left + 1 == *right)
        .filter_map(|run| Some(*run.first()?..*run.last()? + 1))
}

/// Field names and canonical types.
fn canonical_schema(fields: &[FieldSchema]) -> Result<SchemaRef> {
    let fields = fields
        .iter()
        .map(|field| Ok(Field::new(&field.name, columns::canonical_type(field)?, true)))
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

/// What one read needs to know.
struct Plan<'a> {
    file: &'a ParquetFile,
    fields: &'a [FieldSchema],
    schema: SchemaRef,
    row_group: usize,
    roots: BTreeSet<usize>,
    /// Whether only some of the rows are read.
    skips: bool,
    place: String,
}

impl<'a> Plan<'a> {
    fn new(file: &'a ParquetFile, fields: &'a [FieldSchema], row_group: usize) -> Result<Self> {
        let place = format!("{}: row group {row_group}", file.uri());
        let mut roots = BTreeSet::new();
        for field in fields {
            let column = file.column(field)?;
            if column.arrow_type.is_none() {
                return Err(Error::invalid_argument(format!(
                    "{place}, column {}: the column is an empty group",
                    column.name
                ))
                .about(Subject::Source));
            }
            roots.insert(column.root);
        }
        let schema = canonical_schema(fields)?;
        Ok(Self { file, fields, schema, row_group, roots, skips: false, place })
    }

    fn decoder(
        &self,
        metadata: &ArrowReaderMetadata,
        row_group: usize,
        selection: Option<RowSelection>,
    ) -> Result<ParquetPushDecoder> {
        let mask = ProjectionMask::roots(metadata.parquet_schema(), self.roots.iter().copied());
        let mut builder = ParquetPushDecoderBuilder::new_with_metadata(metadata.clone())
            .with_projection(mask)
            .with_row_groups(vec![row_group])
            .with_batch_size(BATCH_ROWS);
        if let Some(selection) = selection {
            builder = builder.with_row_selection(selection);
        }
        builder.build().map_err(|error| guard::foreign(error, &self.place))
    }

    /// Reads and decodes the rows, as the file has them; `row_group` is the number that the row group
    /// has in `metadata`.
    async fn run(
        &self,
        metadata: &ArrowReaderMetadata,
        row_group: usize,
        selection: Option<RowSelection>,
        stats: &IoStats,
    ) -> Result<Vec<RecordBatch>> {
        let decoder = || self.decoder(metadata, row_group, selection);
        let mut decoder = guard::guarded(&self.place, decoder)?;
        let mut batches = Vec::new();
        loop {
            match guard::guarded(&self.place, || self.step(&mut decoder))? {
                DecodeResult::NeedsData(ranges) => {
                    let bytes = self.fetch(&ranges, stats).await?;
                    guard::guarded(&self.place, || self.push(&mut decoder, ranges, bytes))?;
                }
                DecodeResult::Data(batch) => {
                    stats.count_rows_decoded(batch.num_rows() as u64);
                    batches.push(batch);
                }
                DecodeResult::Finished => return Ok(batches),
            }
        }
    }

    fn wrong_rows(&self, rows: usize, expected: usize) -> Error {
        Error::corrupt(format!(
            "{}: {rows} rows were decoded, there should be {expected}",
            self.place
        ))
        .about(Subject::Source)
    }

    fn step(&self, decoder: &mut ParquetPushDecoder) -> Result<DecodeResult<RecordBatch>> {
        decoder.try_decode().map_err(|error| guard::foreign(error, &self.place))
    }

    fn push(
        &self,
        decoder: &mut ParquetPushDecoder,
        ranges: Vec<Range<u64>>,
        bytes: Vec<Bytes>,
    ) -> Result<()> {
        for (range, bytes) in ranges.iter().zip(&bytes) {
            self.verify(range, bytes)?;
        }
        decoder.push_ranges(ranges, bytes).map_err(|error| guard::foreign(error, &self.place))
    }

    async fn fetch(&self, ranges: &[Range<u64>], stats: &IoStats) -> Result<Vec<Bytes>> {
        let size = self.file.object().identity.size;
        if ranges.iter().any(|range| range.start > range.end || range.end > size) {
            return Err(Error::corrupt(format!("{}: pages beyond the end", self.place))
                .about(Subject::Source));
        }
        self.file.object().read_ranges(ranges, stats).await
    }

    /// Checks the pages in `bytes`, which were read from `range`: a column's chunk, or some of its
    /// pages.
    fn verify(&self, range: &Range<u64>, bytes: &Bytes) -> Result<()> {
        let group = self.file.row_group(self.row_group)?;
        let column = group.columns().iter().find(|column| {
            let (start, length) = column.byte_range();
            start <= range.start && range.end <= start + length
        });
        let Some(column) = column else {
            return Err(Error::corrupt(format!("{}: pages outside of all columns", self.place))
                .about(Subject::Source));
        };
        let place = || format!("{}, column {}", self.place, column.column_path());
        pages::verify(bytes, range.start, column, self.skips, &place)
    }

    fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let arrays = self
            .fields
            .iter()
            .map(|field| {
                let array = batch.column_by_name(column_name(field)).ok_or_else(|| {
                    Error::internal(format!("{}: column {} was lost", self.place, field.name))
                })?;
                columns::to_canonical(field, array).context(|| &self.place)
            })
            .collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(Arc::clone(&self.schema), arrays).map_err(|error| {
            Error::internal(format!("{}: columns do not fit together", self.place)).caused_by(error)
        })
    }

    /// The rows alone, when no field is asked for.
    fn batch_without_columns(&self, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), Vec::new(), &options)
            .map_err(|error| Error::internal("an empty batch failed").caused_by(error))
    }
}

#[cfg(test)]
mod tests;
