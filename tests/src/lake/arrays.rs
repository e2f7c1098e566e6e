//! Columns of a data set as Arrow arrays of the types that a collection accepts.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType as ArrowType, Field};
use pandion_types::DataType;

use crate::dataset::{Column, DIM, Datum};

/// The values of a column.
///
/// # Errors
/// A value is of another type than the column.
pub(super) fn of_column(column: &Column, values: &[Option<&Datum>]) -> Result<ArrayRef> {
    match column.element_type {
        None => scalars(column.data_type, values),
        Some(element_type) => lists(element_type, values),
    }
}

/// One vector per row: its number in the data set, then zeros.
pub(super) fn vectors(first: usize, rows: usize) -> Result<ArrayRef> {
    let mut values = Vec::with_capacity(rows * DIM);
    for row in first..first + rows {
        values.push(f32::from(u16::try_from(row).context("too many rows")?));
        values.extend([0.0; DIM - 1]);
    }
    let element = Arc::new(Field::new("element", ArrowType::Float32, true));
    let dim = i32::try_from(DIM)?;
    let values = Arc::new(Float32Array::from(values));
    Ok(Arc::new(FixedSizeListArray::try_new(element, dim, values, None)?))
}

fn scalars(data_type: DataType, values: &[Option<&Datum>]) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Bool => Arc::new(BooleanArray::from(collect(values, |datum| match datum {
            Datum::Bool(value) => Some(*value),
            _ => None,
        })?)),
        DataType::Int8 => Arc::new(Int8Array::from(collect(values, integer)?)),
        DataType::Int16 => Arc::new(Int16Array::from(collect(values, integer)?)),
        DataType::Int32 => Arc::new(Int32Array::from(collect(values, integer)?)),
        DataType::Int64 => Arc::new(Int64Array::from(collect(values, integer)?)),
        DataType::Float => Arc::new(Float32Array::from(collect(values, |datum| {
            #[expect(clippy::cast_possible_truncation, reason = "the value is one of binary32")]
            float(datum).map(|value| value as f32)
        })?)),
        DataType::Double => Arc::new(Float64Array::from(collect(values, float)?)),
        DataType::VarChar | DataType::Text | DataType::Json | DataType::Geometry => {
            Arc::new(StringArray::from(collect(values, |datum| match datum {
                Datum::Text(text) => Some(text.as_str()),
                _ => None,
            })?))
        }
        DataType::Timestamptz => {
            let values = collect(values, |datum| match datum {
                Datum::Timestamp(micros) => Some(*micros),
                _ => None,
            })?;
            Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
        }
        other => bail!("no column of a data set has the type {other}"),
    })
}

fn lists(element_type: DataType, values: &[Option<&Datum>]) -> Result<ArrayRef> {
    let lists = collect(values, |datum| match datum {
        Datum::List(elements) => Some(elements),
        _ => None,
    })?;
    let elements: Vec<Option<&Datum>> =
        lists.iter().flatten().flat_map(|list| list.iter().map(Some)).collect();
    let elements = scalars(element_type, &elements)?;
    let lengths = lists.iter().map(|list| list.map_or(0, Vec::len));
    let valid: NullBuffer = lists.iter().map(Option::is_some).collect::<Vec<_>>().into();
    let field = Arc::new(Field::new("element", elements.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(field, offsets, elements, Some(valid))?))
}

/// The values as `convert` reads them; a value that it does not take is an error.
fn collect<'a, T>(
    values: &[Option<&'a Datum>],
    convert: impl Fn(&'a Datum) -> Option<T>,
) -> Result<Vec<Option<T>>> {
    let convert = |datum: &'a Datum| {
        convert(datum).with_context(|| format!("{datum:?} is not of the column's type"))
    };
    values.iter().map(|value| value.map(convert).transpose()).collect()
}

fn integer<T: TryFrom<i64>>(datum: &Datum) -> Option<T> {
    match datum {
        Datum::Int(value) => T::try_from(*value).ok(),
        _ => None,
    }
}

fn float(datum: &Datum) -> Option<f64> {
    match datum {
        Datum::Float(value) => Some(*value),
        _ => None,
    }
}
