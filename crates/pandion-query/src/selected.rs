//! Streams columns of the rows that match, one row group after the other.
//!
//! Nothing is kept: what is read is handed on, so that a collection larger than memory passes
//! through. Whole columns of many rows are for aggregation and sorting; the values of few given
//! rows are [`crate::take`]'s.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use pandion_index::Bitmap;
use pandion_source::columns;
use pandion_types::{Error, FieldSchema, Result, RowId};
use parquet::arrow::arrow_reader::RowSelection;
use tokio_util::task::AbortOnDropHandle;

use crate::filter::CompiledFilter;
use crate::scan::{Counters, Matches, matches};
use crate::snapshot::Snapshot;

/// The columns of `fields`, the primary key among them or not, for the rows that match, in
/// ascending order of row id. The batches have the schema [`schema_of`].
///
/// Up to `in_flight` row groups are read at a time, each in a task of its own; dropping the stream
/// stops them.
pub(crate) fn selected_columns(
    snapshot: &Arc<Snapshot>,
    filter: Option<&Arc<CompiledFilter>>,
    fields: &[FieldSchema],
    counters: &Arc<Counters>,
    in_flight: usize,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let asked = Arc::new(Asked {
        schema: schema_of(fields)?,
        mapped: fields.iter().filter(|field| !field.is_primary_key).cloned().collect(),
        is_key: fields.iter().map(|field| field.is_primary_key).collect(),
        snapshot: Arc::clone(snapshot),
        counters: Arc::clone(counters),
    });
    let batches = matches(snapshot, filter, counters, in_flight)
        .map_ok(move |found| {
            let asked = Arc::clone(&asked);
            async move {
                let task = tokio::spawn(async move { asked.read(found).await });
                AbortOnDropHandle::new(task).await.map_err(|error| {
                    Error::internal("a task that read columns ended abnormally").caused_by(error)
                })?
            }
        })
        .try_buffered(in_flight.max(1))
        .map_ok(|batches| stream::iter(batches.into_iter().map(Ok)))
        .try_flatten();
    Ok(batches.boxed())
}

/// The names and canonical types of `fields`.
pub(crate) fn schema_of(fields: &[FieldSchema]) -> Result<SchemaRef> {
    let columns = fields
        .iter()
        .map(|field| Ok(Field::new(&field.name, columns::canonical_type(field)?, true)))
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Schema::new(columns)))
}

/// What is read of every row group.
struct Asked {
    snapshot: Arc<Snapshot>,
    counters: Arc<Counters>,
    /// The fields that are read from files.
    mapped: Vec<FieldSchema>,
    /// Which of the columns are the primary key, which is in no file.
    is_key: Vec<bool>,
    schema: SchemaRef,
}

impl Asked {
    async fn read(&self, found: Matches) -> Result<Vec<RecordBatch>> {
        let (entry, file) = self.snapshot.file(found.unit.file)?;
        let rows = found.count();
        let read = if self.mapped.is_empty() {
            vec![None]
        } else {
            let selection =
                found.rows.as_ref().filter(|_| rows < found.unit.rows).map(row_selection);
            let row_group = found.unit.row_group;
            let read = file.read(&self.mapped, row_group, selection, &self.counters.io).await?;
            read.into_iter().map(Some).collect()
        };
        let first = RowId::new(entry.id, found.unit.first_row).get();
        let mut at: Box<dyn Iterator<Item = usize> + Send> = match &found.rows {
            Some(matching) => Box::new(matching.iter()),
            None => Box::new(0..found.unit.rows),
        };
        let mut batches = Vec::with_capacity(read.len());
        let mut taken = 0;
        for batch in read {
            let count = batch.as_ref().map_or(rows, RecordBatch::num_rows);
            taken += count;
            let keys = if self.is_key.contains(&true) {
                let offsets = at.by_ref().take(count);
                let keys = offsets.filter_map(|row| i64::try_from(row).ok()?.checked_add(first));
                Some(Arc::new(Int64Array::from_iter_values(keys)) as ArrayRef)
            } else {
                None
            };
            batches.push(self.batch(batch.as_ref(), keys.as_ref(), count)?);
        }
        if taken != rows {
            return Err(Error::corrupt(format!("{taken} rows were decoded, {rows} match"))
                .with("file", &entry.identity.uri)
                .with("row_group", found.unit.row_group));
        }
        Ok(batches)
    }

    /// Puts the primary key where it was asked for.
    fn batch(
        &self,
        read: Option<&RecordBatch>,
        keys: Option<&ArrayRef>,
        rows: usize,
    ) -> Result<RecordBatch> {
        let mut read = read.map(RecordBatch::columns).unwrap_or_default().iter();
        let columns = self
            .is_key
            .iter()
            .map(|&is_key| if is_key { keys } else { read.next() }.cloned())
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Error::internal("a column was lost while reading"))?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(
            |error| Error::internal("columns of the matching rows do not fit").caused_by(error),
        )
    }
}

/// The rows of a bitmap as runs.
fn row_selection(rows: &Bitmap) -> RowSelection {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for row in rows.iter() {
        match runs.last_mut() {
            Some(run) if run.end == row => run.end += 1,
            _ => runs.push(row..row + 1),
        }
    }
    RowSelection::from_consecutive_ranges(runs.into_iter(), rows.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitmap_becomes_runs_of_rows() {
        let mut rows = Bitmap::empty(200);
        for row in [0, 1, 2, 63, 64, 199] {
            rows.insert(row);
        }
        let selection = row_selection(&rows);
        assert_eq!(selection.row_count(), 6);
        let ranges = [0..3, 63..65, 199..200];
        let expected = RowSelection::from_consecutive_ranges(ranges.into_iter(), 200);
        assert_eq!(selection, expected);
        assert!(!row_selection(&Bitmap::empty(5)).selects_any());
    }
}
