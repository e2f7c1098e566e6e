//! A test of values, applied to a whole column of a canonical type.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{
    DataType as ArrowType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use pandion_filter::CompareOp;

use super::bits::{Bits, answers};
use super::list_columns;
use super::sets::TextSet;
use super::text::{equal_rows, text_of_rows};
use super::values::{Kind, TextTest, ValueTest};

/// The error of a column that no field is read as.
pub(super) fn unreadable(data_type: &ArrowType) -> DataFusionError {
    DataFusionError::Internal(format!("a filter cannot read {data_type} values"))
}

/// The answers for the values of a column; unknown for nulls.
pub(super) fn test_column(array: &ArrayRef, test: &ValueTest) -> DataFusionResult<BooleanArray> {
    match array.data_type() {
        ArrowType::Boolean => {
            let values = array.as_boolean();
            let outcomes = test.booleans.unwrap_or([test.otherwise; 2]);
            Ok(answers(values.len(), |row| {
                if values.is_null(row) { None } else { outcomes[usize::from(values.value(row))] }
            }))
        }
        ArrowType::Int8 => Ok(integers::<Int8Type>(array, test)),
        ArrowType::Int16 => Ok(integers::<Int16Type>(array, test)),
        ArrowType::Int32 => Ok(integers::<Int32Type>(array, test)),
        ArrowType::Int64 => Ok(integers::<Int64Type>(array, test)),
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            Ok(integers::<TimestampMicrosecondType>(array, test))
        }
        ArrowType::Float32 => Ok(floats::<Float32Type>(array, test)),
        ArrowType::Float64 => Ok(floats::<Float64Type>(array, test)),
        ArrowType::Utf8 => Ok(texts(array, test)),
        ArrowType::List(_) => {
            let lists = array.as_list::<i32>();
            match &test.lists {
                Some(kind) => Ok(decided(list_columns::equal_lists(lists, &kind.test)?, kind)),
                None => Ok(constant(array, test.otherwise)),
            }
        }
        other => Err(unreadable(other)),
    }
}

fn integers<T: ArrowPrimitiveType<Native: Into<i64>>>(
    array: &ArrayRef,
    test: &ValueTest,
) -> BooleanArray {
    let Some(kind) = &test.integers else { return constant(array, test.otherwise) };
    let mut bits = Bits::with_capacity(array.len());
    kind.test.push(array.as_primitive::<T>().values(), &mut bits);
    decided(BooleanArray::new(bits.finish(), array.nulls().cloned()), kind)
}

fn floats<T: ArrowPrimitiveType<Native: Into<f64>>>(
    array: &ArrayRef,
    test: &ValueTest,
) -> BooleanArray {
    let Some(kind) = &test.floats else { return constant(array, test.otherwise) };
    let mut bits = Bits::with_capacity(array.len());
    kind.test.push(array.as_primitive::<T>().values(), &mut bits);
    decided(BooleanArray::new(bits.finish(), array.nulls().cloned()), kind)
}

fn texts(array: &ArrayRef, test: &ValueTest) -> BooleanArray {
    let Some(kind) = &test.texts else { return constant(array, test.otherwise) };
    let strings = array.as_string::<i32>();
    let bits = match &kind.test {
        TextTest::Matches(matcher) => matcher.column(strings),
        TextTest::Compare(CompareOp::Equal, text) => {
            equal_rows(strings, std::slice::from_ref(text))
        }
        TextTest::In(TextSet::Few(texts)) => equal_rows(strings, texts),
        TextTest::In(set) => text_of_rows(strings, |text| set.contains(text)),
        test => text_of_rows(strings, |text| test.passes(text)),
    };
    decided(BooleanArray::new(bits, array.nulls().cloned()), kind)
}

/// The same answer for every value.
fn constant(array: &ArrayRef, answer: Option<bool>) -> BooleanArray {
    let rows = array.len();
    let value = if answer == Some(true) {
        BooleanBuffer::new_set(rows)
    } else {
        BooleanBuffer::new_unset(rows)
    };
    let nulls = match answer {
        Some(_) => array.nulls().cloned(),
        None => Some(NullBuffer::new_null(rows)),
    };
    BooleanArray::new(value, nulls)
}

/// The answers of a test that may decide nothing by being passed.
fn decided<T>(passed: BooleanArray, kind: &Kind<T>) -> BooleanArray {
    if kind.decides {
        return passed;
    }
    let failed = NullBuffer::new(!passed.values());
    let nulls = NullBuffer::union(passed.nulls(), Some(&failed));
    BooleanArray::new(BooleanBuffer::new_unset(passed.len()), nulls)
}

/// The rows for which the answer is true.
pub(super) fn true_rows(answers: &BooleanArray) -> BooleanBuffer {
    match answers.nulls() {
        Some(nulls) => answers.values() & nulls.inner(),
        None => answers.values().clone(),
    }
}
