//! Reading files and nothing else: what a refresh is held against.
//!
//! The files come from the same S3 server by the same client library, so many at a time as a refresh
//! reads; columns are decoded by the Parquet library's Arrow reader, on all cores.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::ObjectStore;
use pandion_testkit::iceberg::Place;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::async_reader::{ParquetObjectReader, ParquetRecordBatchStreamBuilder};

/// Files that are read at the same time.
const FILES_IN_FLIGHT: usize = 16;
/// Rows of a decoded batch.
const BATCH_ROWS: usize = 1 << 16;
/// Bytes at the end of a file that are read to find its footer.
const FOOTER_BYTES: usize = 64 << 10;

/// Reads files whole, and decodes those that are Parquet if `decoded`. Returns bytes and rows.
///
/// # Errors
/// A file cannot be read.
pub(super) async fn whole(
    place: &Place,
    files: &[String],
    decoded: bool,
) -> Result<(usize, usize)> {
    let reads = files.iter().map(|uri| {
        let (place, uri) = (place.clone(), uri.clone());
        async move {
            let read = async move {
                let bytes = place.get(&uri).await?;
                let is_parquet = decoded && uri.ends_with(".parquet");
                let length = bytes.len();
                let rows = if is_parquet { decode(bytes).await? } else { 0 };
                Ok::<_, anyhow::Error>((length, rows))
            };
            tokio::spawn(read).await.context("reading a file")?
        }
    });
    let reads = stream::iter(reads).buffer_unordered(FILES_IN_FLIGHT);
    reads.try_fold((0, 0), async |sum, one| Ok((sum.0 + one.0, sum.1 + one.1))).await
}

async fn decode(bytes: Bytes) -> Result<usize> {
    let decode = move || -> Result<usize> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
        let mut rows = 0;
        for batch in reader.with_batch_size(BATCH_ROWS).build()? {
            rows += std::hint::black_box(batch?).num_rows();
        }
        Ok(rows)
    };
    tokio::task::spawn_blocking(decode).await.context("decoding a file")?
}

/// Reads one column of Parquet files, footer and chunks. Returns the rows.
///
/// # Errors
/// A file cannot be read, or has no such column.
pub(super) async fn column(place: &Place, files: &[String], name: &str) -> Result<usize> {
    let reads = files.iter().map(|uri| {
        let (place, uri, name) = (place.clone(), uri.clone(), name.to_owned());
        async move {
            tokio::spawn(async move { column_of(&place, &uri, &name).await })
                .await
                .context("reading a column")?
        }
    });
    let reads = stream::iter(reads).buffer_unordered(FILES_IN_FLIGHT);
    reads.try_fold(0, async |sum, rows| Ok(sum + rows)).await
}

async fn column_of(place: &Place, uri: &str, name: &str) -> Result<usize> {
    let store: Arc<dyn ObjectStore> = place.store();
    let location = place.key(uri)?;
    let reader = ParquetObjectReader::new(store, location).with_footer_size_hint(FOOTER_BYTES);
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), [name]);
    let batches = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?;
    let rows = batches.map_ok(|batch| std::hint::black_box(batch).num_rows());
    Ok(rows.try_fold(0, async |sum, rows| Ok(sum + rows)).await?)
}
