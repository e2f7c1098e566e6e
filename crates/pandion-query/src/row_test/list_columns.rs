//! Terms on list columns: their elements, their lengths, and what they hold.
//!
//! The elements of all rows stand back to back in one array, which is worked on as a whole.

use std::borrow::Cow;
use std::ops::Range;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, ListArray, StringArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{
    DataType as ArrowType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use datafusion::common::{DataFusionError, Result as DataFusionResult};

use super::bits::{Bits, any_set};
use super::columns::{test_column, true_rows, unreadable};
use super::lists::{AllOf, Found};
use super::start_of;
use super::values::{ListTest, ValueTest};
use crate::json::JsonValue;

/// The element with this number of every row; null where there is none.
pub(super) fn elements_at(lists: &ListArray, index: u64) -> DataFusionResult<ArrayRef> {
    let index = i32::try_from(index).ok();
    let places: Int32Array = lists
        .value_offsets()
        .windows(2)
        .enumerate()
        .map(|(row, ends)| {
            let place = ends.first()?.checked_add(index?)?;
            (place < *ends.last()? && lists.is_valid(row)).then_some(place)
        })
        .collect();
    arrow::compute::take(lists.values().as_ref(), &places, None).map_err(DataFusionError::from)
}

/// The number of elements of every row.
pub(super) fn lengths(lists: &ListArray) -> Int64Array {
    let lengths = lists.value_offsets().windows(2).map(|ends| match ends {
        [start, end] => i64::from(*end) - i64::from(*start),
        _ => 0,
    });
    Int64Array::new(lengths.collect(), lists.nulls().cloned())
}

/// The rows one of whose elements passes.
pub(super) fn any_element(lists: &ListArray, test: &ValueTest) -> DataFusionResult<BooleanArray> {
    let offsets = lists.value_offsets();
    let first = offsets.first().map_or(0, |&at| start_of(at));
    let last = offsets.last().map_or(0, |&at| start_of(at));
    let elements = lists.values().slice(first, last - first);
    let passing = true_rows(&test_column(&elements, test)?);
    // The words of a buffer that starts at its first bit.
    let words: Vec<u64> = passing.bit_chunks().iter_padded().collect();
    let mut bits = Bits::with_capacity(lists.len());
    bits.push_rows(lists.len(), |row| match offsets.get(row..row + 2) {
        Some([start, end]) => any_set(&words, start_of(*start) - first, start_of(*end) - first),
        _ => false,
    });
    Ok(BooleanArray::new(bits.finish(), lists.nulls().cloned()))
}

/// The rows that hold, for each test, an element that passes.
pub(super) fn every_element(
    lists: &ListArray,
    tests: &[ValueTest],
) -> DataFusionResult<BooleanArray> {
    let mut rows = BooleanBuffer::new_set(lists.len());
    for test in tests {
        rows = &rows & any_element(lists, test)?.values();
        if rows.count_set_bits() == 0 {
            break;
        }
    }
    Ok(BooleanArray::new(rows, lists.nulls().cloned()))
}

/// The rows that hold every literal.
pub(super) fn all_elements(lists: &ListArray, all: &AllOf) -> DataFusionResult<BooleanArray> {
    let mut found = Found::default();
    per_row(lists, |elements| all.within(elements, &mut found))
}

/// The rows that equal a literal array, or that equal none.
pub(super) fn equal_lists(lists: &ListArray, test: &ListTest) -> DataFusionResult<BooleanArray> {
    per_row(lists, |elements| test.passes(elements.rows.len(), elements))
}

fn per_row(
    lists: &ListArray,
    mut test: impl FnMut(RowElements<'_>) -> bool,
) -> DataFusionResult<BooleanArray> {
    let values = ElementValues::of(lists.values())?;
    let offsets = lists.value_offsets();
    let mut bits = Bits::with_capacity(lists.len());
    bits.push_rows(lists.len(), |row| match offsets.get(row..row + 2) {
        Some([start, end]) if lists.is_valid(row) => {
            test(RowElements { values: &values, rows: start_of(*start)..start_of(*end) })
        }
        _ => false,
    });
    Ok(BooleanArray::new(bits.finish(), lists.nulls().cloned()))
}

/// The elements of one row.
#[derive(Clone)]
struct RowElements<'a> {
    values: &'a ElementValues<'a>,
    rows: Range<usize>,
}

impl<'a> Iterator for RowElements<'a> {
    type Item = JsonValue<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next().map(|at| self.values.get(at))
    }
}

/// The elements of all rows.
struct ElementValues<'a> {
    nulls: Option<&'a NullBuffer>,
    values: TypedValues<'a>,
}

enum TypedValues<'a> {
    Boolean(&'a BooleanArray),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Text(&'a StringArray),
}

impl<'a> ElementValues<'a> {
    fn of(array: &'a ArrayRef) -> DataFusionResult<Self> {
        let values = match array.data_type() {
            ArrowType::Boolean => TypedValues::Boolean(array.as_boolean()),
            ArrowType::Int8 => TypedValues::Int8(array.as_primitive::<Int8Type>().values()),
            ArrowType::Int16 => TypedValues::Int16(array.as_primitive::<Int16Type>().values()),
            ArrowType::Int32 => TypedValues::Int32(array.as_primitive::<Int32Type>().values()),
            ArrowType::Int64 => TypedValues::Int64(array.as_primitive::<Int64Type>().values()),
            ArrowType::Float32 => {
                TypedValues::Float32(array.as_primitive::<Float32Type>().values())
            }
            ArrowType::Float64 => {
                TypedValues::Float64(array.as_primitive::<Float64Type>().values())
            }
            ArrowType::Utf8 => TypedValues::Text(array.as_string::<i32>()),
            other => return Err(unreadable(other)),
        };
        Ok(Self { nulls: array.nulls().filter(|nulls| nulls.null_count() > 0), values })
    }

    fn get(&self, at: usize) -> JsonValue<'a> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(at)) {
            return JsonValue::Null;
        }
        let value = match &self.values {
            TypedValues::Boolean(values) => Some(JsonValue::Bool(values.value(at))),
            TypedValues::Int8(values) => values.get(at).map(|&it| JsonValue::Int(it.into())),
            TypedValues::Int16(values) => values.get(at).map(|&it| JsonValue::Int(it.into())),
            TypedValues::Int32(values) => values.get(at).map(|&it| JsonValue::Int(it.into())),
            TypedValues::Int64(values) => values.get(at).map(|&it| JsonValue::Int(it)),
            TypedValues::Float32(values) => values.get(at).map(|&it| JsonValue::Float(it.into())),
            TypedValues::Float64(values) => values.get(at).map(|&it| JsonValue::Float(it)),
            TypedValues::Text(values) => Some(JsonValue::Text(Cow::Borrowed(values.value(at)))),
        };
        value.unwrap_or(JsonValue::Missing)
    }
}
