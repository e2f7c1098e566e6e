//! Columns of a row group, and single rows, as Arrow arrays of the fields' canonical types.

mod dictionary;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
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

use crate::file::ParquetFile;
use crate::mapping::{Found, Source};
use crate::{constant, guard, pages};

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;
/// Row groups that [`ParquetFile::take`] reads at the same time.
const ROW_GROUPS_IN_FLIGHT: usize = 16;

impl ParquetFile {
    /// Reads `fields` of `row_group`, all rows or those of `selection`, in the order of the file.
    ///
    /// The batches have a column for each of `fields`, in that order, with the field's name and
    /// canonical type. Fields that the file has no column for cost nothing. With a selection only the pages that hold selected rows are fetched, if the
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
            return plan.batches_without_columns(expected);
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
        if !self.reads_any(&others) && self.reads_any(fields) {
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

    /// Whether a column of the file is read for any of `fields`.
    fn reads_any(&self, fields: &[FieldSchema]) -> bool {
        fields.iter().any(|field| matches!(self.resolve(field), Ok(Source::Column(_))))
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
    /// Where the values of each of `fields` come from.
    sources: Vec<Source<'a>>,
    schema: SchemaRef,
    row_group: usize,
    /// The top-level columns that are read, which are also those of decoded batches, in order.
    roots: BTreeSet<usize>,
    /// Whether only some of the rows are read.
    skips: bool,
    place: String,
}

impl<'a> Plan<'a> {
    fn new(file: &'a ParquetFile, fields: &'a [FieldSchema], row_group: usize) -> Result<Self> {
        let place = format!("{}: row group {row_group}", file.uri());
        let sources = fields.iter().map(|field| file.source(field)).collect::<Result<Vec<_>>>()?;
        let roots = sources.iter().filter_map(|source| match source {
            Source::Column(found) => Some(found.column.root),
            Source::Value(_) => None,
        });
        let roots = roots.collect();
        let schema = canonical_schema(fields)?;
        Ok(Self { file, fields, sources, schema, row_group, roots, skips: false, place })
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

    /// The fields' columns, made from those of a decoded batch.
    fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let arrays = self.fields.iter().zip(&self.sources).map(|(field, source)| match source {
            Source::Column(found) => {
                let array = batch.columns().get(self.place_of(found)).ok_or_else(|| {
                    Error::internal(format!("{}: column {} was lost", self.place, field.name))
                })?;
                canonical(field, found, array).context(|| &self.place)
            }
            Source::Value(value) => constant::array(field, *value, rows).context(|| &self.place),
        });
        self.batch(arrays.collect::<Result<_>>()?, rows)
    }

    /// Where a column stands in decoded batches.
    fn place_of(&self, found: &Found<'_>) -> usize {
        self.roots.range(..found.column.root).count()
    }

    /// The rows alone, when nothing has to be read for them.
    fn batches_without_columns(&self, rows: usize) -> Result<Vec<RecordBatch>> {
        if self.fields.is_empty() {
            return Ok(vec![self.batch(Vec::new(), rows)?]);
        }
        let lengths = (0..rows).step_by(BATCH_ROWS).map(|start| BATCH_ROWS.min(rows - start));
        let batches = lengths.map(|rows| {
            let constants =
                self.fields.iter().zip(&self.sources).map(|(field, source)| match source {
                    Source::Value(value) => {
                        constant::array(field, *value, rows).context(|| &self.place)
                    }
                    Source::Column(_) => Err(Error::internal("a column to read was left out")),
                });
            self.batch(constants.collect::<Result<_>>()?, rows)
        });
        batches.collect()
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(&self.schema);
        RecordBatch::try_new_with_options(schema, columns, &options).map_err(|error| {
            Error::internal(format!("{}: columns do not fit together", self.place)).caused_by(error)
        })
    }
}

/// What a decoded array is for a field.
fn canonical(field: &FieldSchema, found: &Found<'_>, array: &ArrayRef) -> Result<ArrayRef> {
    let Some(projection) = found.projection else { return columns::to_canonical(field, array) };
    let projected = projection.apply(array).context(|| format!("field '{}'", field.name))?;
    columns::to_canonical(field, &projected)
}

#[cfg(test)]
mod tests;
