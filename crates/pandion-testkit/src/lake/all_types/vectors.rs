//! The columns of [`AllTypes`](super::AllTypes) that hold vectors.

use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::{
    ArrayRef, BinaryArray, FixedSizeBinaryArray, FixedSizeListArray, LargeBinaryArray,
    LargeListArray, ListArray, ListViewArray,
};
use arrow::datatypes::{ArrowPrimitiveType, Float16Type, Float32Type, Int8Type, UInt8Type};
use half::{bf16, f16};
use pandion_types::{DataType, VectorType};

use super::{Column, DIM, Value, rows_of};
use crate::convert::to_i32;

type Rows<T> = Vec<Option<Vec<T>>>;

pub(super) fn columns(rows: usize) -> anyhow::Result<Vec<Column>> {
    let floats = rows_of(rows, 0, components);
    let halves = rows_of(rows, 1, |row| each(row, f16::from_f32));
    let brain = rows_of(rows, 2, |row| each(row, |float| bf16::from_f32(float).to_le_bytes()));
    let bytes = rows_of(rows, 3, |row| each(row, byte_of).concat());
    let signed: Rows<i8> = bytes.iter().map(|row| Some(each_signed(row.as_ref()?))).collect();
    let bits = rows_of(rows, 4, |row| (0..).map_while(|byte| bits_of(row, byte)).collect());

    let mut columns = Vec::new();
    let raw = in_bytes(&floats, |float: &f32| float.to_le_bytes());
    add(&mut columns, DataType::FloatVector, &raw, typed::<Float32Type>(&floats))?;
    let raw = in_bytes(&halves, |half: &f16| half.to_le_bytes());
    add(&mut columns, DataType::Float16Vector, &raw, typed::<Float16Type>(&halves))?;
    add(&mut columns, DataType::BFloat16Vector, &in_bytes(&brain, |pair| *pair), Vec::new())?;
    add(&mut columns, DataType::Int8Vector, &bytes, typed::<Int8Type>(&signed))?;
    add(&mut columns, DataType::BinaryVector, &bits, Vec::new())?;
    Ok(columns)
}

/// Small numbers that every float type holds exactly.
fn components(row: i64) -> Vec<f32> {
    (0..DIM).map(|component| row as f32 / 4.0 - component as f32 * 0.5).collect()
}

fn each<T>(row: i64, convert: impl Fn(f32) -> T) -> Vec<T> {
    components(row).into_iter().map(convert).collect()
}

fn byte_of(float: f32) -> [u8; 1] {
    // Four steps to the unit, so that quarters stay apart.
    #[expect(clippy::cast_possible_truncation, reason = "saturates, which is as good a value")]
    let byte = (float * 4.0) as i8;
    byte.to_le_bytes()
}

fn each_signed(row: &[u8]) -> Vec<i8> {
    row.iter().map(|byte| byte.cast_signed()).collect()
}

fn bits_of(row: i64, byte: usize) -> Option<u8> {
    let [low, ..] = (row * 37 + 11).to_le_bytes();
    (byte < DIM / 8).then(|| low.rotate_left(u32::try_from(byte).unwrap_or_default()))
}

fn in_bytes<T, const N: usize>(rows: &Rows<T>, encode: impl Fn(&T) -> [u8; N]) -> Rows<u8> {
    rows.iter().map(|row| Some(row.as_ref()?.iter().flat_map(&encode).collect())).collect()
}

fn optional<T: Copy>(rows: &Rows<T>) -> impl Iterator<Item = Option<Vec<Option<T>>>> {
    rows.iter().map(|row| Some(row.as_ref()?.iter().copied().map(Some).collect()))
}

fn fixed<T: ArrowPrimitiveType>(rows: &Rows<T::Native>, size: usize) -> ArrayRef {
    let size = to_i32(size);
    Arc::new(FixedSizeListArray::from_iter_primitive::<T, _, _>(optional(rows), size))
}

/// The encodings that have the components' own type.
fn typed<T: ArrowPrimitiveType>(rows: &Rows<T::Native>) -> Vec<(&'static str, ArrayRef)> {
    let list = ListArray::from_iter_primitive::<T, _, _>(optional(rows));
    let large = LargeListArray::from_iter_primitive::<T, _, _>(optional(rows));
    vec![
        ("list_view", Arc::new(ListViewArray::from(list.clone())) as ArrayRef),
        ("list", Arc::new(list)),
        ("large_list", Arc::new(large)),
        ("fixed_size_list", fixed::<T>(rows, DIM)),
    ]
}

/// The encodings that every vector can have as bytes.
fn raw(rows: &Rows<u8>, size: usize) -> anyhow::Result<Vec<(&'static str, ArrayRef)>> {
    let bytes = || rows.iter().map(Option::as_deref);
    let fixed_binary = FixedSizeBinaryArray::try_from_sparse_iter_with_size(bytes(), to_i32(size))
        .context("a vector of another size")?;
    let list = ListArray::from_iter_primitive::<UInt8Type, _, _>(optional(rows));
    Ok(vec![
        ("binary", Arc::new(BinaryArray::from_iter(bytes())) as ArrayRef),
        ("large_binary", Arc::new(LargeBinaryArray::from_iter(bytes()))),
        ("fixed_size_binary", Arc::new(fixed_binary)),
        ("list_uint8", Arc::new(list)),
        ("fixed_size_list_uint8", fixed::<UInt8Type>(rows, size)),
    ])
}

fn add(
    columns: &mut Vec<Column>,
    data_type: DataType,
    rows: &Rows<u8>,
    typed: Vec<(&'static str, ArrayRef)>,
) -> anyhow::Result<()> {
    let element = data_type.vector_element().context("not a dense vector")?;
    let raw = raw(rows, VectorType { element, dim: DIM }.bytes())?;
    let value = |bytes: &Vec<u8>| Value::Vector(bytes.clone());
    let prefix = match data_type {
        DataType::FloatVector => "float_vector",
        DataType::Float16Vector => "float16_vector",
        DataType::BFloat16Vector => "bfloat16_vector",
        DataType::Int8Vector => "int8_vector",
        _ => "binary_vector",
    };
    for (encoding, array) in typed.into_iter().chain(raw) {
        columns.push(Column::new(format!("{prefix}_{encoding}"), data_type, rows, value, array));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_little_endian_and_of_the_right_size() {
        let columns = columns(6).unwrap();
        let bytes = |name: &str, row: usize| {
            let column = columns.iter().find(|column| column.name == name).unwrap();
            match &column.values[row] {
                Value::Vector(bytes) => bytes.clone(),
                other => panic!("{name} has {other:?}"),
            }
        };
        // Row 4 starts at 1.0 and falls by a half.
        let float = bytes("float_vector_list", 4);
        assert_eq!((float.len(), &float[..8]), (64, &[0, 0, 128, 63, 0, 0, 0, 63][..]));
        let half = bytes("float16_vector_binary", 4);
        assert_eq!((half.len(), &half[..4]), (32, &[0, 0x3c, 0, 0x38][..]));
        let brain = bytes("bfloat16_vector_binary", 4);
        assert_eq!((brain.len(), &brain[..4]), (32, &[128, 63, 0, 63][..]));
        let int8 = bytes("int8_vector_list", 4);
        assert_eq!((int8.len(), &int8[..4]), (16, &[4, 2, 0, 254][..]));
        assert_eq!(bytes("binary_vector_binary", 0).len(), 2);
    }
}
