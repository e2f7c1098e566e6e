//! Fetches the values of given rows, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt64Array, new_empty_array,
};
use arrow::compute;
use arrow::datatypes::DataType as ArrowType;
use futures::{StreamExt, TryStreamExt, stream};
use pandion_source::{IoStats, columns};
use pandion_types::{Error, FieldId, FieldSchema, Result, RowId};

use crate::request::OutputColumn;
use crate::snapshot::Snapshot;

/// Parts that are read at the same time.
const PARTS_IN_FLIGHT: usize = 16;
/// Rows of a file that are read at a time, so that an answer that is too large is found out before
/// all of it is in memory.
const PART_ROWS: usize = 4096;

/// The values of `fields` for `rows`, in the order of `rows`, which may repeat.
///
/// Only the pages that hold the rows are fetched, files concurrently.
///
/// # Errors
/// `InvalidArgument` when the values have more than `answer_bytes_max` bytes: before anything is
/// read where the types of the fields tell, else before all of it is; those of the files.
pub(crate) async fn take(
    snapshot: &Arc<Snapshot>,
    fields: &[FieldId],
    rows: &[RowId],
    answer_bytes_max: usize,
    stats: &Arc<IoStats>,
) -> Result<Vec<OutputColumn>> {
    let bytes_min = row_bytes_min(snapshot, fields)?.saturating_mul(rows.len());
    if bytes_min > answer_bytes_max {
        return Err(answer_too_large(bytes_min, answer_bytes_max));
    }
    let fields = resolve(snapshot, fields)?;
    let mapped: Arc<Vec<FieldSchema>> =
        Arc::new(fields.iter().filter(|field| !field.is_primary_key).cloned().collect());
    let (sorted, order) = sort(rows);
    let values = if mapped.is_empty() || sorted.is_empty() {
        mapped.iter().map(|field| Ok(new_empty_array(&columns::canonical_type(field)?))).collect()
    } else {
        take_sorted(snapshot, &mapped, &sorted, answer_bytes_max, stats).await
    }?;
    if order.is_some() {
        let bytes = values.iter().map(|column| value_bytes(column, order.as_ref()));
        let bytes = bytes.fold(0, usize::saturating_add);
        if bytes > answer_bytes_max {
            return Err(answer_too_large(bytes, answer_bytes_max));
        }
    }
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

/// The bytes that the values of `fields` have for every row, whatever is in it; at least 1.
pub(crate) fn row_bytes_min(snapshot: &Snapshot, fields: &[FieldId]) -> Result<usize> {
    let mut bytes = 0_usize;
    for field in resolve(snapshot, fields)? {
        bytes = bytes.saturating_add(fixed_bytes(&columns::canonical_type(&field)?));
    }
    Ok(bytes.max(1))
}

/// The bytes of the values of a column, or of its rows at `order`, which may repeat.
pub(crate) fn value_bytes(column: &ArrayRef, order: Option<&UInt64Array>) -> usize {
    let rows = order.map_or(column.len(), UInt64Array::len);
    let inside = match column.data_type() {
        ArrowType::Utf8 => column.as_string_opt::<i32>().map_or(0, |texts| {
            spans(texts.value_offsets(), order).map(|(from, to)| to - from).sum()
        }),
        ArrowType::List(_) => column.as_list_opt::<i32>().map_or(0, |lists| {
            spans(lists.value_offsets(), order)
                .map(|(from, to)| {
                    let elements = lists.values().slice(from, to - from);
                    value_bytes(&elements, None)
                })
                .fold(0, usize::saturating_add)
        }),
        _ => 0,
    };
    rows.saturating_mul(fixed_bytes(column.data_type())).saturating_add(inside)
}

/// From where to where the values of all rows lie, or those of each row at `order`.
fn spans<'a>(
    offsets: &'a [i32],
    order: Option<&'a UInt64Array>,
) -> impl Iterator<Item = (usize, usize)> + 'a {
    let between = |from: usize, to: usize| {
        let (from, to) = (*offsets.get(from)?, *offsets.get(to)?);
        Some((usize::try_from(from).ok()?, usize::try_from(to).ok()?))
    };
    let all = order.is_none().then(|| between(0, offsets.len().checked_sub(1)?)).flatten();
    let each = order.into_iter().flat_map(|order| order.values().iter());
    let each = each.filter_map(move |&row| {
        let row = usize::try_from(row).ok()?;
        between(row, row + 1)
    });
    all.into_iter().chain(each)
}

/// The bytes that every row of a column of this type takes.
fn fixed_bytes(data_type: &ArrowType) -> usize {
    match data_type {
        ArrowType::Boolean => 1,
        ArrowType::Utf8 | ArrowType::List(_) => size_of::<i32>(),
        ArrowType::FixedSizeBinary(bytes) => usize::try_from(*bytes).unwrap_or(0),
        ArrowType::FixedSizeList(item, length) => {
            usize::try_from(*length).unwrap_or(0).saturating_mul(fixed_bytes(item.data_type()))
        }
        other => other.primitive_width().unwrap_or(0),
    }
}

/// The error of an answer that is larger than it may be.
pub(crate) fn answer_too_large(bytes_min: usize, answer_bytes_max: usize) -> Error {
    Error::invalid_argument(format!(
        "the answer would have at least {bytes_min} bytes, more than the {answer_bytes_max} \
         allowed: ask for fewer rows or fields"
    ))
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
    answer_bytes_max: usize,
    stats: &Arc<IoStats>,
) -> Result<Vec<ArrayRef>> {
    let mut by_file: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for row in rows {
        let at = snapshot
            .position(row.file())
            .ok_or_else(|| Error::internal(format!("row {row} is in no file of the snapshot")))?;
        by_file.entry(at).or_default().push(row.row_in_file());
    }
    let parts = by_file.into_iter().flat_map(|(at, rows)| {
        let parts: Vec<(usize, Vec<u32>)> =
            rows.chunks(PART_ROWS).map(|rows| (at, rows.to_vec())).collect();
        parts
    });
    let mut read = std::pin::pin!(
        stream::iter(parts)
            .map(|(at, rows)| {
                let (snapshot, fields, stats) =
                    (Arc::clone(snapshot), Arc::clone(fields), Arc::clone(stats));
                async move {
                    let (_, file) = snapshot.open(at, &stats).await?;
                    file.take(&fields, &rows, &stats).await
                }
            })
            .buffered(PARTS_IN_FLIGHT)
    );
    let (mut batches, mut bytes): (Vec<RecordBatch>, usize) = (Vec::new(), 0);
    while let Some(batch) = read.try_next().await? {
        let sizes = batch.columns().iter().map(|column| value_bytes(column, None));
        bytes = sizes.fold(bytes, usize::saturating_add);
        if bytes > answer_bytes_max {
            return Err(answer_too_large(bytes, answer_bytes_max));
        }
        batches.push(batch);
    }
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
    use arrow::array::{Float32Array, Int64Builder, ListBuilder, StringArray};
    use arrow::datatypes::{Field, Float32Type};
    use pandion_types::FileId;

    use super::*;

    #[test]
    fn values_are_measured_with_their_repetitions() {
        let check = |column: ArrayRef, all: usize, last_twice: usize| {
            assert_eq!(value_bytes(&column, None), all, "{column:?}");
            let order = UInt64Array::from(vec![column.len() as u64 - 1; 2]);
            assert_eq!(value_bytes(&column, Some(&order)), last_twice, "{column:?}");
        };
        check(Arc::new(Float32Array::from(vec![1.0, 2.0, 3.0])), 12, 8);
        check(Arc::new(StringArray::from(vec!["a", "", "four"])), 12 + 5, 8 + 8);
        let mut lists = ListBuilder::new(Int64Builder::new());
        lists.append_value([Some(1)]);
        lists.append_value([Some(1), Some(2), Some(3)]);
        check(Arc::new(lists.finish()), 8 + 32, 8 + 48);
        let vectors = vec![Some(vec![Some(1.0), Some(2.0)]), None];
        let vectors =
            arrow::array::FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 2);
        check(Arc::new(vectors), 16, 16);
        // A slice counts for what it shows.
        let slice = StringArray::from(vec!["long text", "a"]).slice(1, 1);
        assert_eq!(value_bytes(&(Arc::new(slice) as ArrayRef), None), 4 + 1);
    }

    #[test]
    fn every_type_has_a_size_before_it_is_read() {
        assert_eq!(fixed_bytes(&ArrowType::Boolean), 1);
        assert_eq!(fixed_bytes(&ArrowType::Int16), 2);
        assert_eq!(fixed_bytes(&ArrowType::FixedSizeBinary(7)), 7);
        let item = Arc::new(Field::new_list_field(ArrowType::Float32, true));
        assert_eq!(fixed_bytes(&ArrowType::FixedSizeList(item, 100)), 400);
    }

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
