//! The batches that go from node to node, and what they mean.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray as _, BinaryArray, Float32Array, Int64Array, RecordBatch, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Float32Type, Int64Type, Schema, SchemaRef, UInt32Type};
use datafusion::common::Result as DataFusionResult;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use pandion_index::Bitmap;
use pandion_types::{Error, Result, RowId};

use super::inbound;
use crate::request::SearchHit;
use crate::scan::{Matches, Unit};

/// One row per row group: position of the file in the manifest, number of the row group, number of
/// its first row in the file, number of its rows, and the rows that match as a bitmap of
/// little-endian 64-bit words, the first row in the lowest bit; null when all match.
pub(super) static MATCHES: LazyLock<SchemaRef> = LazyLock::new(|| {
    let number = |name: &str| Field::new(name, DataType::UInt32, false);
    Arc::new(Schema::new(vec![
        number("file"),
        number("row_group"),
        number("first_row"),
        number("rows"),
        Field::new("matches", DataType::Binary, true),
    ]))
});

/// One row per candidate: number of the query vector, row id, score.
pub(super) static HITS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("query", DataType::UInt32, false),
        Field::new(ROW, DataType::Int64, false),
        Field::new("score", DataType::Float32, false),
    ]))
});

/// One row per row of the collection.
pub(super) static ROWS: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![Field::new(ROW, DataType::Int64, false)])));

/// The column of row ids, the first where a schema has no other.
pub(crate) const ROW: &str = "row";

pub(super) fn matches_batch(found: &Matches) -> Result<RecordBatch> {
    let Unit { file, row_group, first_row, rows } = &found.unit;
    let number = |value: usize| -> Result<ArrayRef> {
        let value = u32::try_from(value)
            .map_err(|error| Error::internal(format!("{value} rows")).caused_by(error))?;
        Ok(Arc::new(UInt32Array::from(vec![value])))
    };
    // Words are little-endian in memory: `pandion-index` is not built for other machines.
    let bytes = found.rows.as_ref().map(|rows| bytemuck::cast_slice::<u64, u8>(rows.words()));
    let columns = vec![
        number(*file)?,
        number(*row_group)?,
        Arc::new(UInt32Array::from(vec![*first_row])) as ArrayRef,
        number(*rows)?,
        Arc::new(BinaryArray::from_opt_vec(vec![bytes])),
    ];
    batch(&MATCHES, columns)
}

/// The matches in batches of [`MATCHES`], one after the other.
pub(crate) fn matches_in(
    batches: impl Stream<Item = DataFusionResult<RecordBatch>> + Send + 'static,
) -> impl Stream<Item = Result<Matches>> + Send + 'static {
    batches
        .map(|batch| matches_of(&batch.map_err(inbound)?))
        .map_ok(|found| stream::iter(found.into_iter().map(Ok)))
        .try_flatten()
}

fn matches_of(batch: &RecordBatch) -> Result<Vec<Matches>> {
    let [file, row_group, first_row, rows, matches] = batch.columns() else {
        return Err(malformed());
    };
    let number = |column: &ArrayRef, at: usize| -> Result<u32> {
        let column = column.as_primitive_opt::<UInt32Type>().ok_or_else(malformed)?;
        Ok(column.value(at))
    };
    let matches = matches.as_binary_opt::<i32>().ok_or_else(malformed)?;
    (0..batch.num_rows())
        .map(|at| {
            let unit = Unit {
                file: number(file, at)? as usize,
                row_group: number(row_group, at)? as usize,
                first_row: number(first_row, at)?,
                rows: number(rows, at)? as usize,
            };
            let rows = if matches.is_valid(at) {
                let bytes = matches.value(at);
                // The bytes of an array may lie anywhere.
                let mut words = vec![0_u64; bytes.len() / size_of::<u64>()];
                let into: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
                if into.len() != bytes.len() {
                    return Err(malformed());
                }
                into.copy_from_slice(bytes);
                let bitmap = Bitmap::from_words(words, unit.rows);
                Some(Arc::new(bitmap.ok_or_else(malformed)?))
            } else {
                None
            };
            Ok(Matches { unit, rows })
        })
        .collect()
}

pub(super) fn hits_batch(hits: &[Vec<SearchHit>]) -> Result<RecordBatch> {
    let queries =
        hits.iter().zip(0_u32..).flat_map(|(hits, query)| hits.iter().map(move |_| query));
    let all = || hits.iter().flatten();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from_iter_values(queries)),
        Arc::new(Int64Array::from_iter_values(all().map(|hit| hit.row.get()))),
        Arc::new(Float32Array::from_iter_values(all().map(|hit| hit.score))),
    ];
    batch(&HITS, columns)
}

/// The hits in a batch, by query vector, in the order of the batch.
pub(crate) fn hits_of(batch: &RecordBatch, hits: &mut [Vec<SearchHit>]) -> Result<()> {
    let [query, row, score, ..] = batch.columns() else { return Err(malformed()) };
    let query = query.as_primitive_opt::<UInt32Type>().ok_or_else(malformed)?;
    let row = row.as_primitive_opt::<Int64Type>().ok_or_else(malformed)?;
    let score = score.as_primitive_opt::<Float32Type>().ok_or_else(malformed)?;
    for at in 0..batch.num_rows() {
        let of_query = hits.get_mut(query.value(at) as usize).ok_or_else(malformed)?;
        let row = RowId::from_i64(row.value(at)).ok_or_else(malformed)?;
        of_query.push(SearchHit { row, score: score.value(at) });
    }
    Ok(())
}

pub(super) fn rows_batch(rows: &[RowId]) -> Result<RecordBatch> {
    let rows = Int64Array::from_iter_values(rows.iter().map(|row| row.get()));
    batch(&ROWS, vec![Arc::new(rows)])
}

/// The row ids of a batch of any node that gives some.
pub(crate) fn rows_of(batch: &RecordBatch) -> Result<Vec<RowId>> {
    let rows = batch.column_by_name(ROW).and_then(|rows| rows.as_primitive_opt::<Int64Type>());
    let rows = rows.ok_or_else(malformed)?;
    rows.values().iter().map(|&row| RowId::from_i64(row).ok_or_else(malformed)).collect()
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|error| Error::internal("a batch of the plan is malformed").caused_by(error))
}

fn malformed() -> Error {
    Error::internal("a batch of the plan is malformed")
}
