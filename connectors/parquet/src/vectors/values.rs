//! Values of a page, in every encoding, as the bytes of vectors.
//!
//! Plain, dictionary and byte-stream-split values are decoded here; the delta encodings, which
//! vectors are rarely written in, by the library's column reader.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pandion_types::Error;
use parquet::basic::{Encoding, Repetition, Type as PhysicalType};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, Int32Type,
};
use parquet::errors::ParquetError;
use parquet::schema::types::{ColumnDescriptor, ColumnPath, Type};

use super::levels::{Run, Runs, unpack};
use crate::pages::{PageHeader, check_delta_counts};
use crate::thrift::Malformed;

/// How values are stored, and what they become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ValueFormat {
    pub(crate) storage: Storage,
    /// Bytes that one value has in a vector.
    pub(crate) unit: usize,
}

/// How a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// As the bytes that it has in a vector: FLOAT and FIXED_LEN_BYTE_ARRAY.
    Direct,
    /// As an INT32 whose low byte is the value.
    Widened,
    /// As a BYTE_ARRAY of any length, which should be that of a vector.
    Counted,
}

/// Why values could not be decoded.
#[derive(Debug)]
pub(crate) enum ValueError {
    /// The bytes are not as the format says.
    Malformed(Malformed),
    /// A byte array is not as long as a vector: which of the values, and its length.
    Length { index: usize, found: usize },
    /// Anything else.
    Other(Error),
}

impl From<Malformed> for ValueError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

const TOO_SHORT: Malformed = Malformed { at: 0, what: "has a page with too few values" };

/// The values of a dictionary.
#[derive(Debug)]
pub(crate) struct Dictionary {
    unit: usize,
    bytes: Bytes,
    /// Where the entries lie in `bytes`, when they need not all be one unit long.
    spans: Option<Vec<Range<usize>>>,
}

impl Dictionary {
    /// The dictionary of a page's `content`.
    pub(crate) fn decode(
        format: ValueFormat,
        header: &PageHeader,
        content: &Bytes,
    ) -> Result<Self, ValueError> {
        if !matches!(header.encoding, Encoding::PLAIN | Encoding::PLAIN_DICTIONARY) {
            return Err(Malformed { at: 0, what: "has a dictionary in an odd encoding" }.into());
        }
        let unit = format.unit;
        let (bytes, spans) = match format.storage {
            Storage::Direct => (content.clone(), None),
            Storage::Widened => {
                let mut bytes = vec![0; content.len() / 4];
                decode_plain(format, content, &mut bytes)?;
                (Bytes::from(bytes), None)
            }
            Storage::Counted => {
                let (mut spans, mut rest) = (Vec::new(), content.as_ref());
                for _ in 0..header.values {
                    let length = next_counted(&mut rest)?.len();
                    let end = content.len() - rest.len();
                    spans.push(end - length..end);
                }
                (content.clone(), Some(spans))
            }
        };
        Ok(Self { unit, bytes, spans })
    }

    /// Writes the values that RLE_DICTIONARY `data` point at.
    fn gather(&self, data: &[u8], out: &mut [u8]) -> Result<(), ValueError> {
        let Some((&width, runs)) = data.split_first() else {
            return if out.is_empty() { Ok(()) } else { Err(TOO_SHORT.into()) };
        };
        if width > 32 {
            return Err(Malformed { at: 0, what: "has dictionary indices of over 32 bits" }.into());
        }
        let width = u32::from(width);
        if self.spans.is_none() {
            match self.unit {
                1 => return self.gather_small::<1>(width, runs, out),
                2 => return self.gather_small::<2>(width, runs, out),
                4 => return self.gather_small::<4>(width, runs, out),
                _ => {}
            }
        }
        let mut slots = out.chunks_exact_mut(self.unit).enumerate();
        for run in Runs::new(runs, width, slots.len()) {
            match run? {
                Run::Repeated { value, count } => {
                    for (at, slot) in slots.by_ref().take(count) {
                        slot.copy_from_slice(self.entry(value, at)?);
                    }
                }
                Run::Packed { bytes, count } => {
                    for (in_run, (at, slot)) in slots.by_ref().take(count).enumerate() {
                        slot.copy_from_slice(self.entry(unpack(bytes, width, in_run), at)?);
                    }
                }
            }
        }
        Ok(())
    }

    /// As `gather`, for units that are moved in a register.
    fn gather_small<const UNIT: usize>(
        &self,
        width: u32,
        runs: &[u8],
        out: &mut [u8],
    ) -> Result<(), ValueError> {
        let beyond = Malformed { at: 0, what: "has an index beyond its dictionary" };
        let (entries, _) = self.bytes.as_chunks::<UNIT>();
        let (mut slots, _) = out.as_chunks_mut::<UNIT>();
        for run in Runs::new(runs, width, slots.len()) {
            let run = run?;
            let (Run::Repeated { count, .. } | Run::Packed { count, .. }) = run;
            let (part, rest) = slots.split_at_mut(count);
            match run {
                Run::Repeated { value, .. } => {
                    if count > 0 {
                        part.fill(*entries.get(value as usize).ok_or(beyond)?);
                    }
                }
                Run::Packed { bytes, .. } => {
                    for (at, slot) in part.iter_mut().enumerate() {
                        let index = unpack(bytes, width, at) as usize;
                        *slot = *entries.get(index).ok_or(beyond)?;
                    }
                }
            }
            slots = rest;
        }
        Ok(())
    }

    /// Entry `index`, for value `at` of a page.
    fn entry(&self, index: u32, at: usize) -> Result<&[u8], ValueError> {
        let index = index as usize;
        let entry = match &self.spans {
            None => self.bytes.get(index * self.unit..(index + 1) * self.unit),
            Some(spans) => match spans.get(index) {
                Some(span) if span.len() != self.unit => {
                    return Err(ValueError::Length { index: at, found: span.len() });
                }
                span => span.and_then(|span| self.bytes.get(span.clone())),
            },
        };
        let beyond = Malformed { at: 0, what: "has an index beyond its dictionary" };
        entry.ok_or(ValueError::Malformed(beyond))
    }
}

/// Decodes the first values of `data` until `out`, a whole number of units, is full.
pub(crate) fn decode(
    format: ValueFormat,
    header: &PageHeader,
    data: &[u8],
    dictionary: Option<&Dictionary>,
    out: &mut [u8],
) -> Result<(), ValueError> {
    match header.encoding {
        Encoding::PLAIN => decode_plain(format, data, out),
        Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY => {
            let none = Malformed { at: 0, what: "has a page without its dictionary" };
            dictionary.ok_or(none)?.gather(data, out)
        }
        Encoding::BYTE_STREAM_SPLIT if format.storage != Storage::Counted => {
            decode_split(format, data, out)
        }
        Encoding::DELTA_BINARY_PACKED if format.storage == Storage::Widened => {
            decode_foreign::<Int32Type>(format, header, data, out)
        }
        Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY
            if format.storage == Storage::Counted =>
        {
            check_delta_counts(header, data)?;
            decode_foreign::<ByteArrayType>(format, header, data, out)
        }
        Encoding::DELTA_BYTE_ARRAY if format.storage == Storage::Direct && format.unit > 0 => {
            check_delta_counts(header, data)?;
            decode_foreign::<FixedLenByteArrayType>(format, header, data, out)
        }
        _ => Err(Malformed { at: 0, what: "has values in an encoding not made for them" }.into()),
    }
}

fn decode_plain(format: ValueFormat, data: &[u8], out: &mut [u8]) -> Result<(), ValueError> {
    match format.storage {
        Storage::Direct => {
            out.copy_from_slice(data.get(..out.len()).ok_or(TOO_SHORT)?);
        }
        Storage::Widened => {
            let stored = out.len().checked_mul(4).and_then(|bytes| data.get(..bytes));
            let (stored, _) = stored.ok_or(TOO_SHORT)?.as_chunks::<4>();
            for (slot, value) in out.iter_mut().zip(stored) {
                *slot = value[0];
            }
        }
        Storage::Counted => {
            let mut rest = data;
            for (index, slot) in out.chunks_exact_mut(format.unit).enumerate() {
                let value = next_counted(&mut rest)?;
                if value.len() != format.unit {
                    return Err(ValueError::Length { index, found: value.len() });
                }
                slot.copy_from_slice(value);
            }
        }
    }
    Ok(())
}

fn next_counted<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let (length, after) = rest.split_first_chunk::<4>().ok_or(TOO_SHORT)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let (value, after) = after.split_at_checked(length).ok_or(TOO_SHORT)?;
    *rest = after;
    Ok(value)
}

/// Values whose first bytes stand together, then their second bytes, and so on.
fn decode_split(format: ValueFormat, data: &[u8], out: &mut [u8]) -> Result<(), ValueError> {
    let stored_width = if format.storage == Storage::Widened { 4 } else { format.unit };
    let count = out.len() / format.unit;
    if !data.len().is_multiple_of(stored_width) || data.len() / stored_width < count {
        return Err(TOO_SHORT.into());
    }
    let stream = data.len() / stored_width;
    let streams: Vec<&[u8]> = data.chunks_exact(stream.max(1)).collect();
    match (format.storage, streams.as_slice()) {
        (_, []) => {}
        // The low bytes are all that is wanted.
        (Storage::Widened, [low, ..]) => out.copy_from_slice(&low[..count]),
        (_, &[a, b, c, d]) => {
            let (slots, _) = out.as_chunks_mut::<4>();
            let values = a.iter().zip(b).zip(c.iter().zip(d));
            for (slot, ((a, b), (c, d))) in slots.iter_mut().zip(values) {
                *slot = [*a, *b, *c, *d];
            }
        }
        (_, streams) => {
            for (at, slot) in out.chunks_exact_mut(format.unit).enumerate() {
                for (byte, stream) in slot.iter_mut().zip(streams) {
                    *byte = stream[at];
                }
            }
        }
    }
    Ok(())
}

/// A type of the library whose values become units of a vector.
trait Foreign: DataType {
    const PHYSICAL: PhysicalType;

    /// Writes the value; false when it has another length than `slot`.
    fn write(value: &Self::T, slot: &mut [u8]) -> bool;

    fn length(value: &Self::T) -> usize;
}

impl Foreign for Int32Type {
    const PHYSICAL: PhysicalType = PhysicalType::INT32;

    fn write(value: &i32, slot: &mut [u8]) -> bool {
        slot.copy_from_slice(&value.to_le_bytes()[..1]);
        true
    }

    fn length(_value: &i32) -> usize {
        1
    }
}

impl Foreign for ByteArrayType {
    const PHYSICAL: PhysicalType = PhysicalType::BYTE_ARRAY;

    fn write(value: &ByteArray, slot: &mut [u8]) -> bool {
        let same = value.len() == slot.len();
        if same {
            slot.copy_from_slice(value.data());
        }
        same
    }

    fn length(value: &ByteArray) -> usize {
        value.len()
    }
}

impl Foreign for FixedLenByteArrayType {
    const PHYSICAL: PhysicalType = PhysicalType::FIXED_LEN_BYTE_ARRAY;

    fn write(value: &FixedLenByteArray, slot: &mut [u8]) -> bool {
        ByteArrayType::write(value, slot)
    }

    fn length(value: &FixedLenByteArray) -> usize {
        value.len()
    }
}

/// Has the library decode the values, as a page of a column without nulls or nesting.
fn decode_foreign<T: Foreign>(
    format: ValueFormat,
    header: &PageHeader,
    data: &[u8],
    out: &mut [u8],
) -> Result<(), ValueError> {
    let count = out.len() / format.unit;
    let values = read_foreign::<T>(format, header, data, count).map_err(|error| {
        ValueError::Other(Error::corrupt(format!("a page cannot be decoded: {error}")))
    })?;
    if values.len() != count {
        return Err(TOO_SHORT.into());
    }
    for (index, (slot, value)) in out.chunks_exact_mut(format.unit).zip(&values).enumerate() {
        if !T::write(value, slot) {
            return Err(ValueError::Length { index, found: T::length(value) });
        }
    }
    Ok(())
}

fn read_foreign<T: Foreign>(
    format: ValueFormat,
    header: &PageHeader,
    data: &[u8],
    count: usize,
) -> Result<Vec<T::T>, ParquetError> {
    let values = u32::try_from(count)?;
    let mut column =
        Type::primitive_type_builder("values", T::PHYSICAL).with_repetition(Repetition::REQUIRED);
    if T::PHYSICAL == PhysicalType::FIXED_LEN_BYTE_ARRAY {
        column = column.with_length(i32::try_from(format.unit)?);
    }
    let path = ColumnPath::new(vec!["values".to_owned()]);
    let descriptor = ColumnDescriptor::new(Arc::new(column.build()?), 0, 0, path);
    let page = Page::DataPage {
        buf: Bytes::copy_from_slice(data),
        num_values: values,
        encoding: header.encoding,
        def_level_encoding: Encoding::RLE,
        rep_level_encoding: Encoding::RLE,
        statistics: None,
    };
    let pages = Box::new(OnePage(Some(page)));
    let mut reader = ColumnReaderImpl::<T>::new(Arc::new(descriptor), pages);
    let mut decoded = Vec::new();
    reader.read_records(count, None, None, &mut decoded)?;
    Ok(decoded)
}

/// A page that is there already.
struct OnePage(Option<Page>);

impl Iterator for OnePage {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(Ok)
    }
}

impl PageReader for OnePage {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        Ok(self.0.take())
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        Ok(self.0.as_ref().map(|page| PageMetadata {
            num_rows: None,
            num_levels: usize::try_from(page.num_values()).ok(),
            is_dict: false,
        }))
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.0 = None;
        Ok(())
    }
}
