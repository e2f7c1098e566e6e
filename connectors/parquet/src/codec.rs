//! Pages as they were before compression.
//!
//! The codecs that columns of vectors usually have are called here directly, into memory that a
//! thread keeps; so are those whose decoders in the library write without bound. The others go
//! through the library's page reader.

use std::cell::RefCell;
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use pandion_types::{Error, Result, Subject};
use parquet::basic::Compression;
use parquet::column::page::PageReader;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;
use zstd::bulk::Decompressor;

use crate::guard;
use crate::pages::{PageAt, PageKind};

/// Bytes of memory that a thread keeps between pages.
const KEPT_BYTES_MAX: usize = 1 << 23;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What decompression works with.
#[derive(Default)]
struct Scratch {
    content: Vec<u8>,
    zstd: Option<Decompressor<'static>>,
}

/// A page in the bytes of its chunk, and what names it in errors.
#[derive(Clone, Copy)]
struct Stored<'a> {
    page: &'a PageAt,
    chunk: &'a Bytes,
    column: &'a ColumnChunkMetaData,
    place: &'a dyn Fn() -> String,
}

/// The bytes of a page as they were before compression: levels, then values.
///
/// `chunk` is what `page` was found in; `place` names it for errors.
///
/// # Errors
/// `Corrupt` when the page cannot be decompressed, or not to the size that its header says;
/// `Unsupported` for a codec that is not built in.
pub(crate) fn decompress(
    page: &PageAt,
    chunk: &Bytes,
    column: &ColumnChunkMetaData,
    place: &dyn Fn() -> String,
) -> Result<Bytes> {
    let stored = Stored { page, chunk, column, place };
    if stored.is_plain() {
        stored.check_size(page.body.len())?;
        return Ok(chunk.slice(page.body.clone()));
    }
    let mut scratch = Scratch::default();
    scratch.fill(stored)?;
    Ok(Bytes::from(scratch.content))
}

/// As [`decompress`], for as long as `look` looks at the bytes: a page after the other costs no new
/// memory.
///
/// # Errors
/// Those of [`decompress`] and of `look`.
pub(crate) fn with_content<T>(
    page: &PageAt,
    chunk: &Bytes,
    column: &ColumnChunkMetaData,
    place: &dyn Fn() -> String,
    look: impl FnOnce(&[u8]) -> Result<T>,
) -> Result<T> {
    let stored = Stored { page, chunk, column, place };
    if stored.is_plain() {
        stored.check_size(page.body.len())?;
        return look(&chunk[page.body.clone()]);
    }
    let mut scratch = SCRATCH.take();
    let seen = scratch.fill(stored).and_then(|()| look(&scratch.content));
    if scratch.content.capacity() <= KEPT_BYTES_MAX {
        SCRATCH.set(scratch);
    }
    seen
}

impl Stored<'_> {
    fn is_plain(&self) -> bool {
        let plain = matches!(self.page.header.kind, PageKind::DataV2 { compressed: false, .. });
        plain || self.column.compression() == Compression::UNCOMPRESSED
    }

    /// Bytes of levels that stand uncompressed before the rest.
    fn level_bytes(&self) -> usize {
        match self.page.header.kind {
            PageKind::DataV2 { definition_bytes, repetition_bytes, .. } => {
                definition_bytes + repetition_bytes
            }
            PageKind::Dictionary | PageKind::Data { .. } | PageKind::Other => 0,
        }
    }

    fn check_size(&self, found: usize) -> Result<()> {
        let expected = self.page.header.uncompressed;
        if found == expected {
            return Ok(());
        }
        let place = (self.place)();
        Err(Error::corrupt(format!("{place}: a page of {found} bytes should have {expected}"))
            .about(Subject::Source))
    }

    fn failed(&self, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::corrupt(format!("{}: a page cannot be decompressed", (self.place)()))
            .about(Subject::Source)
            .caused_by(error)
    }
}

impl Scratch {
    /// Fills `content` with the page.
    fn fill(&mut self, stored: Stored<'_>) -> Result<()> {
        let size = stored.page.header.uncompressed;
        let body = &stored.chunk[stored.page.body.clone()];
        let (levels, input) = body.split_at(stored.level_bytes().min(body.len()));
        self.content.clear();
        // One byte more than there should be shows where there are too many.
        self.content.try_reserve_exact(size + 1).map_err(|error| {
            Error::unavailable(format!("{}: no memory for a page", (stored.place)()))
                .caused_by(error)
        })?;
        self.content.extend_from_slice(levels);
        let rest = size.saturating_sub(levels.len());
        match stored.column.compression() {
            // Levels without values are not followed by an empty frame.
            _ if rest == 0 => {}
            Compression::ZSTD(_) => self.unpack_zstd(stored, input, rest)?,
            Compression::SNAPPY => {
                self.content.resize(size, 0);
                let mut decoder = snap::raw::Decoder::new();
                let written = decoder.decompress(input, &mut self.content[levels.len()..]);
                let written = written.map_err(|error| stored.failed(error))?;
                self.content.truncate(levels.len() + written);
            }
            Compression::GZIP(_) => {
                let input = flate2::read::MultiGzDecoder::new(input);
                self.unpack_stream(stored, input, rest)?;
            }
            Compression::BROTLI(_) => {
                let input = brotli::Decompressor::new(input, 1 << 12);
                self.unpack_stream(stored, input, rest)?;
            }
            _ => {
                let content =
                    library(stored).map_err(|error| guard::foreign(error, (stored.place)()))?;
                self.content = Vec::from(content);
            }
        }
        stored.check_size(self.content.len())
    }

    fn unpack_zstd(&mut self, stored: Stored<'_>, input: &[u8], rest: usize) -> Result<()> {
        let decoder = match &mut self.zstd {
            Some(decoder) => decoder,
            empty => empty.insert(Decompressor::new().map_err(|error| stored.failed(error))?),
        };
        let before = self.content.len();
        let written = if before == 0 {
            decoder.decompress_to_buffer(input, &mut self.content)
        } else {
            self.content.resize(before + rest, 0);
            decoder.decompress_to_buffer(input, &mut self.content[before..])
        };
        let written = written.map_err(|error| stored.failed(error))?;
        self.content.truncate(before + written);
        Ok(())
    }

    /// For decoders that write until their input ends, which may be far beyond the size in the
    /// header.
    fn unpack_stream(&mut self, stored: Stored<'_>, input: impl Read, rest: usize) -> Result<()> {
        let read = input.take(rest as u64 + 1).read_to_end(&mut self.content);
        read.map(|_count| ()).map_err(|error| stored.failed(error))
    }
}

/// The library's page reader, which has all codecs, on the one page.
fn library(stored: Stored<'_>) -> Result<Bytes, parquet::errors::ParquetError> {
    let bytes = stored.chunk.slice(stored.page.start..stored.page.body.end);
    let chunk_of_one = ColumnChunkMetaData::builder(stored.column.column_descr_ptr())
        .set_compression(stored.column.compression())
        .set_data_page_offset(0)
        .set_total_compressed_size(i64::try_from(bytes.len())?)
        .build()?;
    let mut reader = SerializedPageReader::new(Arc::new(bytes), &chunk_of_one, 0, None)?;
    Ok(reader.get_next_page()?.map(|page| page.buffer().clone()).unwrap_or_default())
}
