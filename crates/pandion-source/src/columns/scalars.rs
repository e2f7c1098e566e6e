//! Fields with one value per row: numbers, text, timestamps, geometries.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringBuilder};
use arrow::compute::CastOptions;
use arrow::datatypes::{DataType as ArrowType, TimeUnit};
use geozero::error::GeozeroError;
use geozero::wkb::{process_ewkb_geom, process_wkb_geom};
use geozero::wkt::WktWriter;
use geozero::{CoordDimensions, GeomProcessor};
use pandion_types::{DataType, Error, FieldSchema, Result, Subject};

use super::rows::binary_rows;
use super::{corrupt, exact, label, nested};

/// How deep geometry collections may lie in each other: the decoder recurses.
const GEOMETRY_DEPTH_MAX: usize = 32;
/// Bytes of text that one Arrow array can hold.
pub(super) const TEXT_BYTES_MAX: usize = i32::MAX as usize;

pub(super) fn canonical(data_type: DataType) -> Result<ArrowType> {
    Ok(match data_type {
        DataType::Bool => ArrowType::Boolean,
        DataType::Int8 => ArrowType::Int8,
        DataType::Int16 => ArrowType::Int16,
        DataType::Int32 => ArrowType::Int32,
        DataType::Int64 => ArrowType::Int64,
        DataType::Float => ArrowType::Float32,
        DataType::Double => ArrowType::Float64,
        DataType::VarChar | DataType::Text | DataType::Json | DataType::Geometry => ArrowType::Utf8,
        DataType::Timestamptz => {
            ArrowType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
        }
        DataType::Array
        | DataType::BinaryVector
        | DataType::FloatVector
        | DataType::Float16Vector
        | DataType::BFloat16Vector
        | DataType::SparseFloatVector
        | DataType::Int8Vector => {
            return Err(Error::internal(format!("{data_type} has more than one value per row")));
        }
    })
}

/// Whether a column of type `source` can be read as `data_type`; else what was expected.
pub(super) fn check(data_type: DataType, source: &ArrowType) -> Result<(), &'static str> {
    let is_text = matches!(source, ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View)
        || matches!(source, ArrowType::Binary | ArrowType::LargeBinary | ArrowType::BinaryView);
    let (fits, expected) = match data_type {
        DataType::Bool => (*source == ArrowType::Boolean, "bool"),
        DataType::Int8 => (*source == ArrowType::Int8, "int8"),
        DataType::Int16 => (*source == ArrowType::Int16, "int16"),
        DataType::Int32 => (*source == ArrowType::Int32, "int32"),
        DataType::Int64 => (*source == ArrowType::Int64 || exact::is_moment(source), "int64"),
        DataType::Float => (*source == ArrowType::Float32, "float"),
        DataType::Double => (*source == ArrowType::Float64 || source.is_decimal(), "double"),
        DataType::VarChar | DataType::Text => {
            (is_text || source.is_decimal() || exact::is_date(source), "string or binary")
        }
        DataType::Json => (is_text || nested::admits(source), "string or binary"),
        DataType::Geometry => (is_text, "string (WKT) or binary (WKB)"),
        DataType::Timestamptz => (
            matches!(source, ArrowType::Timestamp(..) | ArrowType::Int64) || exact::is_date(source),
            "timestamp or int64 (microseconds)",
        ),
        DataType::Array
        | DataType::BinaryVector
        | DataType::FloatVector
        | DataType::Float16Vector
        | DataType::BFloat16Vector
        | DataType::SparseFloatVector
        | DataType::Int8Vector => (false, "a scalar"),
    };
    if fits { Ok(()) } else { Err(expected) }
}

/// Converts an array whose type [`check`] has admitted.
pub(super) fn convert(
    field: &FieldSchema,
    data_type: DataType,
    array: &ArrayRef,
) -> Result<ArrayRef> {
    match data_type {
        DataType::Json if nested::admits(array.data_type()) => nested::convert(field, array),
        DataType::Double if array.data_type().is_decimal() => exact::doubles(field, array),
        DataType::Int64 => Ok(Arc::new(exact::micros(field, array)?)),
        DataType::VarChar | DataType::Text | DataType::Json => text(field, array, utf8),
        DataType::Geometry => text(field, array, |bytes| wkt(bytes).map(Into::into)),
        DataType::Timestamptz => exact::timestamps(field, array),
        _ => Ok(Arc::clone(array)),
    }
}

fn utf8(bytes: &[u8]) -> Result<std::borrow::Cow<'_, str>, &'static str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.into()),
        Err(_) => Err("is not UTF-8"),
    }
}

/// Strings pass, binaries go through `decode`.
fn text(
    field: &FieldSchema,
    array: &ArrayRef,
    decode: impl Fn(&[u8]) -> Result<std::borrow::Cow<'_, str>, &'static str>,
) -> Result<ArrayRef> {
    let Some(rows) = binary_rows(array) else {
        if *array.data_type() == ArrowType::Utf8 {
            return Ok(Arc::clone(array));
        }
        if let Some(text) = exact::text(field, array)? {
            return Ok(text);
        }
        let options = CastOptions { safe: false, ..CastOptions::default() };
        return arrow::compute::cast_with_options(array, &ArrowType::Utf8, &options)
            .map_err(|error| too_long(field).caused_by(error));
    };
    let bytes: usize = rows.iter().flatten().map(|value| value.len()).sum();
    let mut builder = StringBuilder::with_capacity(rows.len(), bytes.min(TEXT_BYTES_MAX));
    for (row, value) in rows.into_iter().enumerate() {
        let Some(value) = value else {
            builder.append_null();
            continue;
        };
        let decoded = decode(value).map_err(|what| corrupt(field, Some(row), what))?;
        if builder.values_slice().len() + decoded.len() > TEXT_BYTES_MAX {
            return Err(too_long(field));
        }
        builder.append_value(decoded);
    }
    Ok(Arc::new(builder.finish()))
}

pub(super) fn too_long(field: &FieldSchema) -> Error {
    Error::unsupported(format!("{} has more than 2 GiB of text in one batch", label(field)))
        .about(Subject::Source)
}

/// Well-known binary, plain or PostGIS's, as well-known text.
fn wkt(bytes: &[u8]) -> Result<String, &'static str> {
    const MALFORMED: &str = "is not a well-known binary geometry";
    let order = bytes.first().ok_or(MALFORMED)?;
    let kind: [u8; 4] = bytes.get(1..5).and_then(|kind| kind.try_into().ok()).ok_or(MALFORMED)?;
    let kind = if *order == 0 { u32::from_be_bytes(kind) } else { u32::from_le_bytes(kind) };
    // PostGIS marks dimensions and reference system in bits that plain numbers do not reach.
    let is_extended = kind & 0xe000_0000 != 0;
    let process = |processor: &mut Processor<'_>| {
        let mut rest = bytes;
        let done = match (is_extended, processor) {
            (true, Processor::Depth(depth)) => process_ewkb_geom(&mut rest, *depth),
            (false, Processor::Depth(depth)) => process_wkb_geom(&mut rest, *depth),
            (true, Processor::Text(text)) => process_ewkb_geom(&mut rest, *text),
            (false, Processor::Text(text)) => process_wkb_geom(&mut rest, *text),
        };
        match done {
            Ok(()) if rest.is_empty() => Ok(()),
            Ok(()) | Err(_) => Err(MALFORMED),
        }
    };
    // The first pass bounds the depth of the second: the text writer would not stop it.
    process(&mut Processor::Depth(&mut DepthGuard(0)))?;
    let mut text = Vec::new();
    process(&mut Processor::Text(&mut WktWriter::with_dims(&mut text, CoordDimensions::xy())))?;
    match String::from_utf8(text) {
        Ok(text) => Ok(text),
        Err(_) => Err(MALFORMED),
    }
}

enum Processor<'a> {
    Depth(&'a mut DepthGuard),
    Text(&'a mut WktWriter<&'a mut Vec<u8>>),
}

struct DepthGuard(usize);

impl GeomProcessor for DepthGuard {
    fn geometrycollection_begin(&mut self, _: usize, _: usize) -> geozero::error::Result<()> {
        self.0 += 1;
        if self.0 > GEOMETRY_DEPTH_MAX { Err(GeozeroError::GeometryFormat) } else { Ok(()) }
    }

    fn geometrycollection_end(&mut self, _: usize) -> geozero::error::Result<()> {
        self.0 -= 1;
        Ok(())
    }
}
