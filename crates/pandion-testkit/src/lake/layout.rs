//! How a Parquet file is laid out: codec, row groups, pages, indexes.

use std::io::Write;

use anyhow::Context as _;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};

/// The codec of all pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// No compression.
    None,
    /// Snappy.
    Snappy,
    /// Gzip.
    Gzip,
    /// LZ4 without frames, as Parquet prescribes.
    Lz4,
    /// Zstandard.
    Zstd,
    /// Brotli.
    Brotli,
}

impl Codec {
    /// Every codec.
    pub const ALL: [Self; 6] =
        [Self::None, Self::Snappy, Self::Gzip, Self::Lz4, Self::Zstd, Self::Brotli];
}

/// The layout of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The codec of all pages.
    pub codec: Codec,
    /// Rows in a row group, but for the last.
    pub row_group_rows: usize,
    /// Rows in a data page at most.
    pub page_rows: usize,
    /// Bytes after which a data page is closed.
    pub page_bytes: usize,
    /// Whether there is an index of the pages (offsets and statistics).
    pub page_index: bool,
    /// Whether columns may be dictionary-encoded. Vectors never are.
    pub dictionary: bool,
    /// Whether data pages have the second version's headers.
    pub v2_pages: bool,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            codec: Codec::Zstd,
            row_group_rows: 10_000,
            page_rows: 1_000,
            page_bytes: 1 << 20,
            page_index: true,
            dictionary: true,
            v2_pages: false,
        }
    }
}

impl Layout {
    /// The properties of a Parquet writer that lays files out like this.
    #[must_use]
    pub fn properties(&self) -> WriterProperties {
        let compression = match self.codec {
            Codec::None => Compression::UNCOMPRESSED,
            Codec::Snappy => Compression::SNAPPY,
            Codec::Gzip => Compression::GZIP(GzipLevel::default()),
            Codec::Lz4 => Compression::LZ4_RAW,
            Codec::Zstd => Compression::ZSTD(ZstdLevel::default()),
            Codec::Brotli => Compression::BROTLI(BrotliLevel::default()),
        };
        let version =
            if self.v2_pages { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
        let statistics =
            if self.page_index { EnabledStatistics::Page } else { EnabledStatistics::Chunk };
        WriterProperties::builder()
            .set_compression(compression)
            .set_writer_version(version)
            .set_max_row_group_row_count(Some(self.row_group_rows))
            .set_data_page_row_count_limit(self.page_rows)
            // The writer looks at its limits once per batch.
            .set_write_batch_size(self.page_rows.min(1024))
            .set_data_page_size_limit(self.page_bytes)
            .set_statistics_enabled(statistics)
            .set_offset_index_disabled(!self.page_index)
            .set_dictionary_enabled(self.dictionary)
            .build()
    }
}

/// Writes batches as one Parquet file; returns the number of rows.
///
/// # Errors
/// A batch that is an error or of another schema; a writer that fails.
pub fn write_parquet<W: Write + Send>(
    writer: W,
    schema: SchemaRef,
    properties: WriterProperties,
    batches: impl IntoIterator<Item = anyhow::Result<RecordBatch>>,
) -> anyhow::Result<usize> {
    let mut parquet = ArrowWriter::try_new(writer, schema, Some(properties))
        .context("the schema has no Parquet form")?;
    let mut rows = 0;
    for batch in batches {
        let batch = batch?;
        rows += batch.num_rows();
        parquet.write(&batch).context("cannot write a batch")?;
    }
    parquet.close().context("cannot write the footer")?;
    Ok(rows)
}

/// [`write_parquet`] of one batch into memory.
///
/// # Errors
/// As there.
pub fn parquet_bytes(batch: &RecordBatch, properties: WriterProperties) -> anyhow::Result<Bytes> {
    let mut bytes = Vec::new();
    write_parquet(&mut bytes, batch.schema(), properties, [Ok(batch.clone())])?;
    Ok(bytes.into())
}
