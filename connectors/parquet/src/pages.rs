//! The pages of a column chunk: where they are, and whether it is safe to decode them.
//!
//! A page's header says how large the page becomes and how many values it holds, and decoders
//! reserve memory for what it says. [`Pages`] reads the headers and refuses those that promise more
//! than the page's bytes could hold, so that a small file cannot take the memory of a large one.
//! Nothing here looks at values.

use std::ops::Range;

use bytes::Bytes;
use pandion_types::Result;
use parquet::basic::{Compression, Encoding, Type};
use parquet::file::metadata::ColumnChunkMetaData;

use crate::codec::decompress;
use crate::guard;
use crate::thrift::{Cursor, Malformed};
use crate::vectors::levels::Runs;

/// Bytes of one page after decompression. Writers aim at one MiB; some write a whole chunk as one.
const PAGE_BYTES_MAX: usize = 1 << 30;
/// Levels of a page of lists, below which they need not be backed by bytes: lists of nulls take
/// almost none.
const UNBACKED_LEVELS_MAX: usize = 1 << 26;
/// Bytes that any codec may add to what it cannot compress.
const CODEC_OVERHEAD: usize = 1 << 10;
/// Bytes of an LZ4 frame: its decoder writes up to 255 times as many, whatever the header says.
const LZ4_FRAME_BYTES_MAX: usize = 1 << 22;

/// What a page's header says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageHeader {
    pub(crate) kind: PageKind,
    /// Bytes after decompression, with levels.
    pub(crate) uncompressed: usize,
    /// Bytes as stored, with levels.
    pub(crate) compressed: usize,
    crc: Option<u32>,
    /// Values of a dictionary; levels, which include nulls, of a data page.
    pub(crate) values: usize,
    pub(crate) encoding: Encoding,
}

/// The kinds of pages, with what only they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageKind {
    Dictionary,
    Data {
        definition: Encoding,
        repetition: Encoding,
    },
    DataV2 {
        definition_bytes: usize,
        repetition_bytes: usize,
        compressed: bool,
    },
    /// A kind that holds no values and is stepped over.
    Other,
}

/// One page of a chunk.
#[derive(Clone, Debug)]
pub(crate) struct PageAt {
    pub(crate) header: PageHeader,
    /// Where its header begins in the bytes of the chunk.
    pub(crate) start: usize,
    /// Where what follows the header lies in the bytes of the chunk.
    pub(crate) body: Range<usize>,
}

/// The pages in bytes that hold whole pages of a column chunk, in order, up to the one that
/// completes the column's values: writers have been seen to leave bytes behind it.
#[derive(Debug)]
pub(crate) struct Pages<'a> {
    bytes: &'a [u8],
    column: &'a ColumnChunkMetaData,
    at: usize,
    /// Values that the column has beyond those of the pages so far.
    left: usize,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(bytes: &'a [u8], column: &'a ColumnChunkMetaData) -> Self {
        let left = usize::try_from(column.num_values()).unwrap_or(0);
        Self { bytes, column, at: 0, left }
    }

    fn read(&mut self) -> Result<PageAt, Malformed> {
        let start = self.at;
        let shift = |error: Malformed| Malformed { at: error.at + start, ..error };
        let mut cursor = Cursor::new(&self.bytes[start..]);
        let header = read_header(&mut cursor).map_err(shift)?;
        check_header(&header, self.column).map_err(|what| Malformed { at: start, what })?;
        let body = start + cursor.at();
        let Some(stored) = self.bytes[body..].get(..header.compressed) else {
            return Err(Malformed { at: start, what: "has a page that reaches over its end" });
        };
        if header.crc.is_some_and(|crc| crc != crc32fast::hash(stored)) {
            return Err(Malformed { at: start, what: "has a page with a wrong checksum" });
        }
        self.at = body + header.compressed;
        Ok(PageAt { header, start, body: body..self.at })
    }
}

impl Iterator for Pages<'_> {
    type Item = Result<PageAt, Malformed>;

    /// The next page. After an error there is nothing more.
    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() || self.left == 0 {
            return None;
        }
        let page = self.read();
        match &page {
            Ok(page) if page.header.is_data() => {
                self.left = self.left.saturating_sub(page.header.values);
            }
            Ok(_) => {}
            Err(_) => self.left = 0,
        }
        Some(page)
    }
}

impl PageHeader {
    /// Whether the page holds values that are not a dictionary.
    pub(crate) fn is_data(&self) -> bool {
        matches!(self.kind, PageKind::Data { .. } | PageKind::DataV2 { .. })
    }
}

/// `PageHeader` of parquet-format's `parquet.thrift`.
fn read_header(cursor: &mut Cursor<'_>) -> Result<PageHeader, Malformed> {
    let (mut kind, mut uncompressed, mut compressed, mut crc) = (None, None, None, None);
    let mut detail = Detail::default();
    let mut last = 0;
    while let Some((id, field)) = cursor.field(&mut last)? {
        match id {
            1 => kind = Some(cursor.int32()?),
            2 => uncompressed = Some(size(cursor)?),
            3 => compressed = Some(size(cursor)?),
            // The checksum's 32 bits are written as a signed number.
            4 => crc = Some(cursor.int32()?.cast_unsigned()),
            5 => detail = Detail::read_v1(cursor)?,
            7 => detail = Detail::read_dictionary(cursor)?,
            8 => detail = Detail::read_v2(cursor)?,
            _ => cursor.skip(field, 0)?,
        }
    }
    let (Some(kind), Some(uncompressed), Some(compressed)) = (kind, uncompressed, compressed)
    else {
        return Err(cursor.error("has a page header that lacks a field"));
    };
    let kind = match (kind, detail.kind) {
        (0, Some(kind @ PageKind::Data { .. }))
        | (2, Some(kind @ PageKind::Dictionary))
        | (3, Some(kind @ PageKind::DataV2 { .. })) => kind,
        (0 | 2 | 3, _) => return Err(cursor.error("has a page header that lacks a field")),
        _ => PageKind::Other,
    };
    Ok(PageHeader {
        kind,
        uncompressed,
        compressed,
        crc,
        values: detail.values,
        encoding: detail.encoding,
    })
}

/// What the header says of one kind of page.
struct Detail {
    kind: Option<PageKind>,
    values: usize,
    encoding: Encoding,
}

impl Default for Detail {
    fn default() -> Self {
        Self { kind: None, values: 0, encoding: Encoding::PLAIN }
    }
}

impl Detail {
    fn read_v1(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let mut detail = Self::default();
        let (mut definition, mut repetition) = (Encoding::RLE, Encoding::RLE);
        let mut last = 0;
        while let Some((id, field)) = cursor.field(&mut last)? {
            match id {
                1 => detail.values = size(cursor)?,
                2 => detail.encoding = encoding(cursor)?,
                3 => definition = encoding(cursor)?,
                4 => repetition = encoding(cursor)?,
                _ => cursor.skip(field, 0)?,
            }
        }
        detail.kind = Some(PageKind::Data { definition, repetition });
        Ok(detail)
    }

    fn read_dictionary(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let mut detail = Self { kind: Some(PageKind::Dictionary), ..Self::default() };
        let mut last = 0;
        while let Some((id, field)) = cursor.field(&mut last)? {
            match id {
                1 => detail.values = size(cursor)?,
                2 => detail.encoding = encoding(cursor)?,
                _ => cursor.skip(field, 0)?,
            }
        }
        Ok(detail)
    }

    fn read_v2(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let mut detail = Self::default();
        let (mut definition_bytes, mut repetition_bytes, mut compressed) = (0, 0, true);
        let mut last = 0;
        while let Some((id, field)) = cursor.field(&mut last)? {
            match id {
                1 => detail.values = size(cursor)?,
                4 => detail.encoding = encoding(cursor)?,
                5 => definition_bytes = size(cursor)?,
                6 => repetition_bytes = size(cursor)?,
                // A boolean's value is its type: 1 is true, 2 is false.
                7 => compressed = field == 1,
                _ => cursor.skip(field, 0)?,
            }
        }
        detail.kind = Some(PageKind::DataV2 { definition_bytes, repetition_bytes, compressed });
        Ok(detail)
    }
}

fn size(cursor: &mut Cursor<'_>) -> Result<usize, Malformed> {
    let value = cursor.int32()?;
    usize::try_from(value).map_err(|_negative| cursor.error("has a negative size"))
}

fn encoding(cursor: &mut Cursor<'_>) -> Result<Encoding, Malformed> {
    Ok(match cursor.int32()? {
        0 => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        3 => Encoding::RLE,
        #[expect(deprecated, reason = "old files say so of levels that they do not have")]
        4 => Encoding::BIT_PACKED,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        7 => Encoding::DELTA_BYTE_ARRAY,
        8 => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        _ => return Err(cursor.error("has a page with an unknown encoding")),
    })
}

/// Whether the sizes can be true of any page of this column.
fn check_header(header: &PageHeader, column: &ColumnChunkMetaData) -> Result<(), &'static str> {
    let PageHeader { uncompressed, compressed, values, .. } = *header;
    if uncompressed > PAGE_BYTES_MAX || compressed > PAGE_BYTES_MAX {
        return Err("has a page of more than 1 GiB");
    }
    if compressed > uncompressed + uncompressed / 16 + CODEC_OVERHEAD {
        return Err("has a page that is larger compressed than not");
    }
    // What the format of the codec can make of a byte at most.
    let ratio_max = match column.compression() {
        Compression::UNCOMPRESSED => 1,
        Compression::SNAPPY => 64,
        Compression::LZ4 | Compression::LZ4_RAW => 256,
        Compression::GZIP(_) => 1_100,
        Compression::BROTLI(_) | Compression::ZSTD(_) | Compression::LZO => usize::MAX,
    };
    if uncompressed > compressed.saturating_mul(ratio_max).saturating_add(CODEC_OVERHEAD) {
        return Err("has a page that claims to grow more than its codec allows");
    }
    if matches!(column.compression(), Compression::LZ4) && compressed > LZ4_FRAME_BYTES_MAX {
        return Err("has an LZ4 page of more than 4 MiB");
    }
    match header.kind {
        PageKind::Dictionary => {
            let width = match column.column_type() {
                Type::BOOLEAN => 1,
                Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
                Type::INT64 | Type::DOUBLE => 8,
                Type::INT96 => 12,
                Type::FIXED_LEN_BYTE_ARRAY => {
                    usize::try_from(column.column_descr().type_length()).unwrap_or(0).max(1)
                }
            };
            if values.saturating_mul(width) > uncompressed {
                return Err("has a dictionary with more values than bytes for them");
            }
        }
        PageKind::DataV2 { definition_bytes, repetition_bytes, .. }
            if definition_bytes + repetition_bytes > uncompressed.min(compressed) =>
        {
            return Err("has a page with levels that reach over its end");
        }
        PageKind::Data { .. } | PageKind::DataV2 { .. } => {
            let lists = column.column_descr().max_rep_level() > 0;
            if lists && values > UNBACKED_LEVELS_MAX.max(uncompressed) {
                return Err("has a page with more levels than bytes for them");
            }
        }
        PageKind::Other => {}
    }
    Ok(())
}

/// Checks whole pages before they are handed to the library's decoder.
///
/// Beside the headers this looks into pages whose decoders reserve memory for what is written
/// inside: it decompresses pages of codecs that know no bound, and reads the counts of
/// delta-encoded strings. When rows are going to be skipped (`skips`), it also looks whether lists
/// have all their levels: the library skips in a loop that does not end where they run out.
///
/// # Errors
/// `Corrupt`, naming what `place` says and the offset in the file; those of [`decompress`].
pub(crate) fn verify(
    bytes: &Bytes,
    offset_in_file: u64,
    column: &ColumnChunkMetaData,
    skips: bool,
    place: &dyn Fn() -> String,
) -> Result<()> {
    let lists = skips && column.column_descr().max_rep_level() > 0;
    for page in Pages::new(bytes, column) {
        let page = page.map_err(|error| guard::malformed(error, offset_in_file, place()))?;
        let unbounded =
            matches!(column.compression(), Compression::GZIP(_) | Compression::BROTLI(_));
        let is_data = page.header.is_data();
        let counted = matches!(
            page.header.encoding,
            Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY
        );
        if page.header.kind == PageKind::Other || !(unbounded || is_data && (counted || lists)) {
            continue;
        }
        let content = decompress(&page, bytes, column, place)?;
        if is_data {
            check_content(&page.header, &content, column, counted, lists).map_err(|error| {
                guard::malformed(error, offset_in_file + page.start as u64, place())
            })?;
        }
    }
    Ok(())
}

fn check_content(
    header: &PageHeader,
    content: &[u8],
    column: &ColumnChunkMetaData,
    counted: bool,
    lists: bool,
) -> Result<(), Malformed> {
    if !counted && !lists {
        return Ok(());
    }
    let parts = split(header, content, column)?;
    if counted {
        check_delta_counts(header, parts.values)?;
    }
    if lists {
        let width = |max: i16| u16::BITS - max.unsigned_abs().leading_zeros();
        let descriptor = column.column_descr();
        let repetition =
            Runs::new(parts.repetition, width(descriptor.max_rep_level()), header.values);
        let definition =
            Runs::new(parts.definition, width(descriptor.max_def_level()), header.values);
        for run in repetition.chain(definition) {
            run?;
        }
    }
    Ok(())
}

/// The parts of a data page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) repetition: &'a [u8],
    pub(crate) definition: &'a [u8],
    pub(crate) values: &'a [u8],
}

/// Takes a data page apart.
pub(crate) fn split<'a>(
    header: &PageHeader,
    content: &'a [u8],
    column: &ColumnChunkMetaData,
) -> Result<Parts<'a>, Malformed> {
    let too_short = Malformed { at: 0, what: "has a page with levels that reach over its end" };
    let descriptor = column.column_descr();
    let (has_repetition, has_definition) =
        (descriptor.max_rep_level() > 0, descriptor.max_def_level() > 0);
    match header.kind {
        PageKind::Data { definition, repetition } => {
            let old = Malformed { at: 0, what: "has levels in the withdrawn bit-packed encoding" };
            if has_repetition && repetition != Encoding::RLE
                || has_definition && definition != Encoding::RLE
            {
                return Err(old);
            }
            let mut rest = content;
            let mut levels = |present: bool| -> Option<&'a [u8]> {
                if !present {
                    return Some(&[]);
                }
                let (length, after) = rest.split_first_chunk::<4>()?;
                let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
                let (levels, after) = after.split_at_checked(length)?;
                rest = after;
                Some(levels)
            };
            let repetition = levels(has_repetition).ok_or(too_short)?;
            let definition = levels(has_definition).ok_or(too_short)?;
            Ok(Parts { repetition, definition, values: rest })
        }
        PageKind::DataV2 { definition_bytes, repetition_bytes, .. } => {
            let (repetition, rest) = content.split_at_checked(repetition_bytes).ok_or(too_short)?;
            let (definition, values) = rest.split_at_checked(definition_bytes).ok_or(too_short)?;
            Ok(Parts { repetition, definition, values })
        }
        PageKind::Dictionary | PageKind::Other => {
            Ok(Parts { repetition: &[], definition: &[], values: content })
        }
    }
}

/// Whether the counts inside delta-encoded strings are no larger than the page's own.
pub(crate) fn check_delta_counts(header: &PageHeader, values: &[u8]) -> Result<(), Malformed> {
    let streams = if header.encoding == Encoding::DELTA_BYTE_ARRAY { 2 } else { 1 };
    let mut cursor = Cursor::new(values);
    for stream in 0..streams {
        let block = cursor.varint()?;
        let miniblocks = cursor.varint()?;
        let count = cursor.varint()?;
        cursor.zigzag()?;
        if count > header.values as u64 {
            return Err(cursor.error("has a page that claims more strings than it has values"));
        }
        if stream + 1 < streams {
            skip_delta_blocks(&mut cursor, block, miniblocks, count)?;
        }
    }
    Ok(())
}

/// Steps over the blocks of a DELTA_BINARY_PACKED stream.
fn skip_delta_blocks(
    cursor: &mut Cursor<'_>,
    block: u64,
    miniblocks: u64,
    count: u64,
) -> Result<(), Malformed> {
    let odd = "has a page with odd delta blocks";
    let in_miniblock = block.checked_div(miniblocks).unwrap_or(0);
    if in_miniblock == 0 || !in_miniblock.is_multiple_of(8) || block > 1 << 20 {
        return Err(cursor.error(odd));
    }
    // The first value stands in the header.
    let mut left = count.saturating_sub(1);
    while left > 0 {
        cursor.zigzag()?;
        let mut widths = Vec::new();
        for _ in 0..miniblocks {
            widths.push(cursor.byte()?);
        }
        for width in widths {
            if left == 0 {
                break;
            }
            let bytes = in_miniblock / 8 * u64::from(width);
            cursor.advance(usize::try_from(bytes).unwrap_or(usize::MAX))?;
            left = left.saturating_sub(in_miniblock);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A header of a page of plain data, as thrift writes it.
    fn header(uncompressed: usize, compressed: usize, values: usize) -> Vec<u8> {
        let number = |value: usize, out: &mut Vec<u8>| {
            let mut rest = value << 1;
            while rest >= 0x80 {
                out.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
                rest >>= 7;
            }
            out.push(u8::try_from(rest).unwrap());
        };
        let mut bytes = vec![0x15, 0x00, 0x15];
        number(uncompressed, &mut bytes);
        bytes.push(0x15);
        number(compressed, &mut bytes);
        bytes.extend([0x2c, 0x15]);
        number(values, &mut bytes);
        bytes.extend([0x15, 0x00, 0x15, 0x06, 0x15, 0x06, 0x00, 0x00]);
        bytes
    }

    fn column(codec: Compression) -> ColumnChunkMetaData {
        let column = parquet::schema::types::Type::primitive_type_builder("c", Type::INT32)
            .with_repetition(parquet::basic::Repetition::REQUIRED)
            .build()
            .unwrap();
        let path = parquet::schema::types::ColumnPath::from("c");
        let descriptor =
            parquet::schema::types::ColumnDescriptor::new(Arc::new(column), 0, 0, path);
        ColumnChunkMetaData::builder(Arc::new(descriptor))
            .set_compression(codec)
            .set_num_values(3)
            .build()
            .unwrap()
    }

    fn first(bytes: &[u8], codec: Compression) -> Result<PageAt, Malformed> {
        Pages::new(bytes, &column(codec)).next().unwrap()
    }

    #[test]
    fn sizes_that_no_codec_makes_are_refused() {
        let page = |uncompressed, compressed| [header(uncompressed, compressed, 3), vec![0; 100]];
        let snappy = |uncompressed| first(&page(uncompressed, 100).concat(), Compression::SNAPPY);
        assert_eq!(snappy(5000).unwrap().header.uncompressed, 5000);
        let grown = snappy(1 << 20).unwrap_err();
        assert_eq!(grown.what, "has a page that claims to grow more than its codec allows");
        let huge = first(&page(1 << 31, 100).concat(), Compression::UNCOMPRESSED).unwrap_err();
        assert!(huge.what == "holds a number of over 32 bits" || huge.what.contains("1 GiB"));
        let over = first(&page(101, 101).concat(), Compression::UNCOMPRESSED).unwrap_err();
        assert_eq!(over.what, "has a page that reaches over its end");
    }

    #[test]
    fn pages_that_grow_beyond_what_they_say_are_cut_off() {
        use std::io::Write;
        let place = || "here".to_owned();
        let zeros = vec![0; 1 << 22];
        let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        zipped.write_all(&zeros).unwrap();
        let zipped = zipped.finish().unwrap();
        let codec = Compression::GZIP(parquet::basic::GzipLevel::default());
        for (claimed, sound) in [(zeros.len(), true), (10_000, false), (zeros.len() + 1, false)] {
            let bytes = Bytes::from([header(claimed, zipped.len(), 3), zipped.clone()].concat());
            let page = first(&bytes, codec).unwrap();
            let content = decompress(&page, &bytes, &column(codec), &place);
            assert_eq!(content.is_ok(), sound, "{claimed}");
            assert_eq!(verify(&bytes, 0, &column(codec), false, &place).is_ok(), sound);
        }
    }

    #[test]
    fn a_checksum_that_is_there_is_compared() {
        let body = [1_u8, 2, 3, 4];
        let plain = header(4, 4, 1);
        let page = |crc: u32| {
            let mut zigzag = u64::from(crc.cast_signed().unsigned_abs()) << 1;
            if crc.cast_signed() < 0 {
                zigzag -= 1;
            }
            let mut checksum = vec![0x15];
            while zigzag >= 0x80 {
                checksum.push(u8::try_from(zigzag & 0x7f).unwrap() | 0x80);
                zigzag >>= 7;
            }
            checksum.push(u8::try_from(zigzag).unwrap());
            // The checksum is field 4, so that the next field is one further instead of two.
            let (sizes, rest) = plain.split_at(6);
            [sizes, &checksum, &[0x1c], &rest[1..], &body].concat()
        };
        let crc = crc32fast::hash(&body);
        first(&page(crc), Compression::UNCOMPRESSED).unwrap();
        let wrong = first(&page(crc ^ 1), Compression::UNCOMPRESSED).unwrap_err();
        assert_eq!(wrong.what, "has a page with a wrong checksum");
    }

    #[test]
    fn counts_inside_delta_encoded_strings_are_bounded() {
        let header = |encoding| PageHeader {
            kind: PageKind::Data { definition: Encoding::RLE, repetition: Encoding::RLE },
            uncompressed: 100,
            compressed: 100,
            crc: None,
            values: 10,
            encoding,
        };
        // Blocks of 128 in 4; 10 values, the first of which is 0; then one block of width 0.
        let honest = [0x80, 0x01, 4, 10, 0, 0, 0, 0, 0, 0];
        let lengths = header(Encoding::DELTA_LENGTH_BYTE_ARRAY);
        check_delta_counts(&lengths, &honest).unwrap();
        let greedy = [0x80, 0x01, 4, 0xff, 0xff, 0xff, 0xff, 0x7f, 0];
        assert!(check_delta_counts(&lengths, &greedy).is_err());
        // The second stream of prefix-compressed strings is found behind the first.
        let strings = header(Encoding::DELTA_BYTE_ARRAY);
        check_delta_counts(&strings, &[honest, honest].concat()).unwrap();
        let error = check_delta_counts(&strings, &[&honest[..], &greedy].concat()).unwrap_err();
        assert_eq!(error.what, "has a page that claims more strings than it has values");
    }
}
