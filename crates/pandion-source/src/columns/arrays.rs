//! Array fields: lists of scalars, or messages that hold such lists.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, UInt64Array};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType as ArrowType, Field};
use pandion_types::{DataType, Error, FieldSchema, Result, Subject};

use super::rows::{ListRows, item_of, list_rows};
use super::{
    arrow_name, corrupt, label, mismatch, scalars, serialized, type_mismatch, unpack, unpacked,
};

pub(super) fn check(field: &FieldSchema, element: DataType, source: &ArrowType) -> Result<()> {
    if serialized::admits(source) {
        // What its messages hold shows only when they are read.
        return Ok(());
    }
    let Some(item) = item_of(source) else { return Err(not_a_list(field, source)) };
    let actual = unpacked(item.data_type());
    if scalars::check(element, actual).is_ok() {
        return Ok(());
    }
    Err(mismatch(field, "array element type", milvus_name(element), name_of(actual)))
}

/// Names of elements as Milvus's message has them.
pub(super) fn milvus_name(element: DataType) -> String {
    element.name().to_uppercase()
}

fn name_of(actual: &ArrowType) -> String {
    let known = match actual {
        ArrowType::Boolean => DataType::Bool,
        ArrowType::Int8 => DataType::Int8,
        ArrowType::Int16 => DataType::Int16,
        ArrowType::Int32 => DataType::Int32,
        ArrowType::Int64 => DataType::Int64,
        ArrowType::Float32 => DataType::Float,
        ArrowType::Float64 => DataType::Double,
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => DataType::VarChar,
        other => return format!("Arrow {}", arrow_name(other)),
    };
    milvus_name(known)
}

/// Converts an array whose type [`check`] has admitted.
pub(super) fn convert(
    field: &FieldSchema,
    element: DataType,
    array: &ArrayRef,
) -> Result<ArrayRef> {
    if serialized::admits(array.data_type()) {
        return serialized::convert(field, element, array);
    }
    let rows = list_rows(array).ok_or_else(|| not_a_list(field, array.data_type()))?;
    if let Some(row) = rows.first_null_element() {
        return Err(corrupt(field, Some(row), "has a null element"));
    }
    let values = scalars::convert(field, element, &unpack(field, &elements(field, &rows)?)?)
        .map_err(|error| error.context("array element"))?;
    let mut offsets = Vec::with_capacity(rows.spans.len() + 1);
    let mut end = 0_usize;
    offsets.push(0_i32);
    for (row, (_, length)) in rows.spans.iter().copied().enumerate() {
        end += if rows.is_null(row) { 0 } else { length };
        offsets.push(i32::try_from(end).map_err(|error| too_many(field).caused_by(error))?);
    }
    let item = Arc::new(Field::new_list_field(scalars::canonical(element)?, true));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    ListArray::try_new(item, offsets, values, rows.nulls)
        .map(|list| Arc::new(list) as ArrayRef)
        .map_err(|error| Error::internal("a converted array does not fit").caused_by(error))
}

fn not_a_list(field: &FieldSchema, source: &ArrowType) -> Error {
    type_mismatch(field, "list or binary", source)
}

pub(super) fn too_many(field: &FieldSchema) -> Error {
    Error::unsupported(format!("{} has more than 2^31 elements in one batch", label(field)))
        .about(Subject::Source)
}

/// The elements of the rows that are not null, one after the other; not copied if they lie so.
fn elements(field: &FieldSchema, rows: &ListRows) -> Result<ArrayRef> {
    let mut start = None;
    let mut end = 0;
    let mut is_contiguous = true;
    for (_, (first, length)) in rows.present().filter(|(_, (_, length))| *length > 0) {
        is_contiguous &= start.is_none() || first == end;
        start.get_or_insert(first);
        end = first + length;
    }
    let start = start.unwrap_or(end);
    if is_contiguous {
        return Ok(rows.values.slice(start, end - start));
    }
    let indices = rows.present().flat_map(|(_, (first, length))| first..first + length);
    let indices: UInt64Array = indices.map(|index| index as u64).collect();
    arrow::compute::take(&rows.values, &indices, None).map_err(|error| {
        corrupt(field, None, "has list elements that cannot be gathered").caused_by(error)
    })
}
