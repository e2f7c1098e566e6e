//! Dense vectors, in all the encodings that lakes use.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, FixedSizeBinaryArray, FixedSizeListArray,
    Float32Array,
};
use arrow::buffer::{Buffer, MutableBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType as ArrowType, Field, Float16Type, Float32Type, Int8Type, UInt8Type,
};
use pandion_types::{Error, FieldSchema, Result, Subject, VectorElement, VectorType};

use super::rows::{binary_rows, item_of, list_rows};
use super::{arrow_name, corrupt, label, mismatch, type_mismatch, width};

/// How a source column writes vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// A list of components.
    Components,
    /// A list of bytes.
    ByteList,
    /// Bytes.
    Bytes,
}

/// Finds out how a column of type `source` writes vectors; lengths that the type fixes must fit.
pub(super) fn check(
    field: &FieldSchema,
    vector: VectorType,
    source: &ArrowType,
) -> Result<Encoding> {
    if let Some(item) = item_of(source) {
        let component = component_type(vector.element);
        let encoding = match item.data_type() {
            actual if Some(actual) == component.as_ref() => Encoding::Components,
            ArrowType::UInt8 => Encoding::ByteList,
            actual => {
                let expected = match component {
                    Some(component) => format!("Arrow {} or uint8", arrow_name(&component)),
                    None => "Arrow uint8".to_owned(),
                };
                let actual = format!("Arrow {}", arrow_name(actual));
                return Err(mismatch(field, "vector element type", expected, actual));
            }
        };
        if let ArrowType::FixedSizeList(_, length) = source {
            check_length(field, vector, encoding, *length)?;
        }
        return Ok(encoding);
    }
    match source {
        ArrowType::FixedSizeBinary(length) => {
            check_length(field, vector, Encoding::Bytes, *length)?;
            Ok(Encoding::Bytes)
        }
        ArrowType::Binary | ArrowType::LargeBinary | ArrowType::BinaryView => Ok(Encoding::Bytes),
        _ => {
            let component = component_type(vector.element).unwrap_or(ArrowType::UInt8);
            let expected =
                format!("list or fixed_size_list of {}, or binary", arrow_name(&component));
            Err(type_mismatch(field, &expected, source))
        }
    }
}

/// The Arrow type of one component; `None` where Arrow has none.
fn component_type(element: VectorElement) -> Option<ArrowType> {
    match element {
        VectorElement::Float32 => Some(ArrowType::Float32),
        VectorElement::Float16 => Some(ArrowType::Float16),
        VectorElement::Int8 => Some(ArrowType::Int8),
        VectorElement::BFloat16 | VectorElement::Bit => None,
    }
}

/// What a length counts, and what it has to be.
fn expected_length(vector: VectorType, encoding: Encoding) -> (&'static str, usize) {
    match encoding {
        Encoding::Components => ("vector list length", vector.dim),
        Encoding::ByteList | Encoding::Bytes => ("vector byte width", vector.bytes()),
    }
}

fn check_length(
    field: &FieldSchema,
    vector: VectorType,
    encoding: Encoding,
    length: i32,
) -> Result<()> {
    let (what, expected) = expected_length(vector, encoding);
    if usize::try_from(length) == Ok(expected) {
        return Ok(());
    }
    Err(mismatch(field, what, expected, length))
}

fn check_row(
    field: &FieldSchema,
    vector: VectorType,
    encoding: Encoding,
    row: usize,
    length: usize,
) -> Result<()> {
    let (what, expected) = expected_length(vector, encoding);
    if length == expected {
        return Ok(());
    }
    Err(Error::corrupt(format!(
        "{what} mismatch for {} at row {row}, expected {expected}, actual {length}",
        label(field)
    ))
    .about(Subject::Source))
}

/// Converts an array whose type [`check`] admits.
pub(super) fn convert(
    field: &FieldSchema,
    vector: VectorType,
    array: &ArrayRef,
) -> Result<ArrayRef> {
    let encoding = check(field, vector, array.data_type())?;
    let (bytes, nulls) = match encoding {
        Encoding::Components | Encoding::ByteList => list_bytes(field, vector, encoding, array)?,
        Encoding::Bytes => binary_bytes(field, vector, array)?,
    };
    let made = if vector.element == VectorElement::Float32 {
        let item = Arc::new(Field::new_list_field(ArrowType::Float32, true));
        let values = Float32Array::new(ScalarBuffer::from(aligned(bytes)), None);
        let dim = width(field, vector.dim)?;
        FixedSizeListArray::try_new(item, dim, Arc::new(values), nulls)
            .map(|list| Arc::new(list) as ArrayRef)
    } else {
        FixedSizeBinaryArray::try_new(width(field, vector.bytes())?, bytes, nulls)
            .map(|binary| Arc::new(binary) as ArrayRef)
    };
    made.map_err(|error| Error::internal("a converted vector does not fit").caused_by(error))
}

/// Floats are read in place, which asks for their alignment; bytes of a file may have any.
fn aligned(bytes: Buffer) -> Buffer {
    if bytes.as_ptr().align_offset(align_of::<f32>()) == 0 {
        return bytes;
    }
    let mut copy = MutableBuffer::with_capacity(bytes.len());
    copy.extend_from_slice(&bytes);
    copy.into()
}

/// The vectors' bytes back to back, with zeros where a row is null.
fn list_bytes(
    field: &FieldSchema,
    vector: VectorType,
    encoding: Encoding,
    array: &ArrayRef,
) -> Result<(Buffer, Option<NullBuffer>)> {
    let rows = list_rows(array).ok_or_else(|| Error::internal("a list is list-like"))?;
    for (row, (_, length)) in rows.present() {
        check_row(field, vector, encoding, row, length)?;
    }
    if let Some(row) = rows.first_null_element() {
        return Err(corrupt(field, Some(row), "has a null element in its vector"));
    }
    let per_element = match encoding {
        Encoding::Components => vector.bytes() / vector.dim,
        Encoding::ByteList | Encoding::Bytes => 1,
    };
    let values = match rows.values.data_type() {
        ArrowType::Float32 => raw_bytes::<Float32Type>(&rows.values),
        ArrowType::Float16 => raw_bytes::<Float16Type>(&rows.values),
        ArrowType::Int8 => raw_bytes::<Int8Type>(&rows.values),
        _ => raw_bytes::<UInt8Type>(&rows.values),
    };
    let bytes = vector.bytes();
    let first = rows.spans.first().map_or(0, |(start, _)| start * per_element);
    let back_to_back = rows
        .spans
        .iter()
        .enumerate()
        .all(|(row, (start, _))| start * per_element == first + row * bytes);
    let total = rows.spans.len() * bytes;
    if back_to_back && first + total <= values.len() {
        return Ok((values.slice_with_length(first, total), rows.nulls));
    }
    let mut gathered = MutableBuffer::with_capacity(total);
    for (row, (start, _)) in rows.spans.iter().enumerate() {
        if rows.is_null(row) {
            gathered.extend_zeros(bytes);
        } else {
            let start = start * per_element;
            gathered.extend_from_slice(&values[start..start + bytes]);
        }
    }
    Ok((gathered.into(), rows.nulls))
}

fn raw_bytes<T: ArrowPrimitiveType>(values: &ArrayRef) -> Buffer {
    values.as_primitive::<T>().values().inner().clone()
}

fn binary_bytes(
    field: &FieldSchema,
    vector: VectorType,
    array: &ArrayRef,
) -> Result<(Buffer, Option<NullBuffer>)> {
    if let Some(fixed) = array.as_fixed_size_binary_opt() {
        return Ok((fixed.values().clone(), fixed.nulls().cloned()));
    }
    let rows = binary_rows(array).ok_or_else(|| Error::internal("a binary is binary-like"))?;
    let mut gathered = MutableBuffer::with_capacity(rows.len() * vector.bytes());
    for (row, value) in rows.into_iter().enumerate() {
        let Some(value) = value else {
            gathered.extend_zeros(vector.bytes());
            continue;
        };
        check_row(field, vector, Encoding::Bytes, row, value.len())?;
        gathered.extend_from_slice(value);
    }
    Ok((gathered.into(), array.nulls().cloned()))
}
