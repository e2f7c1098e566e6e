//! Fetches the values of given rows, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt64Array, new_empty_array};
use arrow::compute;
use futures::{StreamExt, TryStreamExt, stream};
use pandion_source::{IoStats, columns};
use pandion_types::{Error, FieldId, FieldSchema, Result, RowId};

use crate::request::OutputColumn;
use crate::snapshot::Snapshot;

/// Files that are read at the same time.
const FILES_IN_FLIGHT: usize = 16;

/// The values of `fields` for `rows`, in the order of `rows`, which may repeat.
///
/// Only the pages that hold the rows are fetched, files concurrently.
pub(crate) async fn take(
    snapshot: &Arc<Snapshot>,
    fields: &[FieldId],
    rows: &[RowId],
    stats: &Arc<IoStats>,
) -> Result<Vec<OutputColumn>> {
    let fields = resolve(snapshot, fields)?;
    let mapped: Arc<Vec<FieldSchema>> =
        Arc::new(fields.iter().filter(|field| !field.is_primary_key).cloned().collect());
    let (sorted, order) = sort(rows);
    let values = if mapped.is_empty() || sorted.is_empty() {
        mapped.iter().map(|field| Ok(new_empty_array(&columns::canonical_type(field)?))).collect()
    } else {
        take_sorted(snapshot, &mapped, &sorted, stats).await
    }?;
    let mut values = values.into_iter();
    fields
        .into_iter()
        .map(|field| {
            let values: ArrayRef = if field.is_primary_key {
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.get())))
            } else {
                let sorted = values
                    .next()
                    .ok_or_else(|| Error::internal("a column was lost while taking rows"))?;
                reorder(&sorted, order.as_ref())?
            };
            Ok(OutputColumn { field, values })
        })
        .collect()
}

fn resolve(snapshot: &Snapshot, fields: &[FieldId]) -> Result<Vec<FieldSchema>> {
    fields
        .iter()
        .map(|&id| {
            let field = snapshot.schema().field_by_id(id);
            field.cloned().ok_or_else(|| Error::internal(format!("no field with id {id}")))
        })
        .collect()
}

/// The distinct rows in ascending order and, where that differs from `rows`, the position of each
/// row of `rows` among them.
fn sort(rows: &[RowId]) -> (Vec<RowId>, Option<UInt64Array>) {
    if rows.is_sorted_by(|left, right| left < right) {
        return (rows.to_vec(), None);
    }
    let mut sorted = rows.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let order = rows
        .iter()
        .map(|row| sorted.binary_search(row).map_or(0, |at| at as u64))
        .collect::<Vec<_>>();
    (sorted, Some(UInt64Array::from(order)))
}

fn reorder(values: &ArrayRef, order: Option<&UInt64Array>) -> Result<ArrayRef> {
    match order {
        None => Ok(Arc::clone(values)),
        Some(order) => compute::take(values, order, None)
            .map_err(|error| Error::internal("reordering result rows failed").caused_by(error)),
    }
}

async fn take_sorted(
    snapshot: &Arc<Snapshot>,
    fields: &Arc<Vec<FieldSchema>>,
    rows: &[RowId],
    stats: &Arc<IoStats>,
) -> Result<Vec<ArrayRef>> {
    let mut by_file: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for row in rows {
        let at = snapshot
            .position(row.file())
            .ok_or_else(|| Error::internal(format!("row {row} is in no file of the snapshot")))?;
        by_file.entry(at).or_default().push(row.row_in_file());
    }
    let batches: Vec<RecordBatch> = stream::iter(by_file)
        .map(|(at, rows)| {
            let (snapshot, fields, stats) =
                (Arc::clone(snapshot), Arc::clone(fields), Arc::clone(stats));
            async move {
                let (_, file) = snapshot.file(at)?;
                file.take(&fields, &rows, &stats).await
            }
        })
        .buffered(FILES_IN_FLIGHT)
        .try_collect()
        .await?;
    (0..fields.len())
        .map(|column| {
            let parts: Vec<&dyn Array> =
                batches.iter().map(|batch| batch.column(column).as_ref()).collect();
            compute::concat(&parts)
                .map_err(|error| Error::internal("joining result rows failed").caused_by(error))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use pandion_types::FileId;

    use super::*;

    #[test]
    fn order_leads_from_sorted_rows_back_to_the_asked_ones() {
        let row = |file, row| RowId::new(FileId::new(file).unwrap(), row);
        let asked = [row(2, 1), row(1, 5), row(2, 1), row(1, 0)];
        let (sorted, order) = sort(&asked);
        assert_eq!(sorted, [row(1, 0), row(1, 5), row(2, 1)]);
        let order = order.unwrap();
        let back: Vec<RowId> =
            order.values().iter().map(|&at| sorted[usize::try_from(at).unwrap()]).collect();
        assert_eq!(back, asked);
        assert!(sort(&sorted).1.is_none());
    }
}
