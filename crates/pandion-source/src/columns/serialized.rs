//! Array fields whose rows are bytes: each one a `ScalarField`, the protobuf message in which
//! Milvus itself keeps an array.
//!
//! Of the message's oneof only the member for the field's element type is read. Fields that the
//! message does not have are skipped, as protobuf wants it; a message without any is an empty
//! array.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, ArrowPrimitiveType, BooleanBuilder, Float32Builder, Float64Builder,
    ListBuilder, PrimitiveBuilder, StringBuilder,
};
use arrow::datatypes::{DataType as ArrowType, Int8Type, Int16Type, Int32Type, Int64Type};
use pandion_types::{DataType, Error, FieldSchema, Result, Subject};

use super::arrays::{milvus_name, too_many};
use super::protobuf::{Malformed, Reader, Value};
use super::rows::binary_rows;
use super::scalars::{TEXT_BYTES_MAX, too_long};
use super::{corrupt, label};

/// Elements that one list array can hold.
const ELEMENTS_MAX: usize = i32::MAX as usize;

/// What the members of the oneof hold, by their numbers, which start at 1.
const MEMBERS: [&str; 16] = [
    "BOOL",
    "INT32",
    "INT64",
    "FLOAT",
    "DOUBLE",
    "VARCHAR",
    "BYTES",
    "ARRAY",
    "JSON",
    "GEOMETRY",
    "TIMESTAMPTZ",
    "GEOMETRY",
    "MOL",
    "MOL",
    "DATE",
    "TIME",
];
const BOOLS: u32 = 1;
const INTS: u32 = 2;
const LONGS: u32 = 3;
const FLOATS: u32 = 4;
const DOUBLES: u32 = 5;
const STRINGS: u32 = 6;
/// The one field that each of these members has.
const DATA: u32 = 1;

/// Why a row cannot be read.
enum Fault {
    Malformed(Malformed),
    /// It holds elements of this type.
    Mismatch(&'static str),
    Range,
    TooMany,
    TooLong,
}

impl From<Malformed> for Fault {
    fn from(what: Malformed) -> Self {
        Self::Malformed(what)
    }
}

impl Fault {
    fn at(&self, field: &FieldSchema, element: DataType, row: usize) -> Error {
        let element = milvus_name(element);
        match self {
            Self::Malformed(what) => {
                corrupt(field, Some(row), &format!("is not a serialized ScalarField: {what}"))
            }
            Self::Mismatch(actual) => Error::corrupt(format!(
                "array element type mismatch for {} at row {row}, expected {element}, actual \
                 {actual}",
                label(field)
            ))
            .about(Subject::Source),
            Self::Range => {
                let what = format!("has an array element outside the range of {element}");
                corrupt(field, Some(row), &what)
            }
            Self::TooMany => too_many(field),
            Self::TooLong => too_long(field),
        }
    }
}

/// Whether a column of this type is taken for serialized arrays.
pub(super) fn admits(source: &ArrowType) -> bool {
    matches!(source, ArrowType::Binary | ArrowType::LargeBinary | ArrowType::BinaryView)
}

/// Converts an array whose type [`admits`] admits.
pub(super) fn convert(
    field: &FieldSchema,
    element: DataType,
    array: &ArrayRef,
) -> Result<ArrayRef> {
    let source = Source { field, element, array };
    match element {
        DataType::Bool => source.lists(BOOLS, BooleanBuilder::new(), |values, value| {
            values.append_value(varint(value)? != 0);
            Ok(())
        }),
        DataType::Int8 => source.integers::<Int8Type>(INTS),
        DataType::Int16 => source.integers::<Int16Type>(INTS),
        DataType::Int32 => source.integers::<Int32Type>(INTS),
        DataType::Int64 => source.integers::<Int64Type>(LONGS),
        DataType::Float => source.lists(FLOATS, Float32Builder::new(), |values, value| {
            let Value::Fixed32(bytes) = value else { return Err(other_wire_type()) };
            values.append_value(f32::from_le_bytes(bytes));
            Ok(())
        }),
        DataType::Double => source.lists(DOUBLES, Float64Builder::new(), |values, value| {
            let Value::Fixed64(bytes) = value else { return Err(other_wire_type()) };
            values.append_value(f64::from_le_bytes(bytes));
            Ok(())
        }),
        DataType::VarChar => source.lists(STRINGS, StringBuilder::new(), push_text),
        other => Err(Error::internal(format!("{other} is no element of arrays"))),
    }
}

fn push_text(values: &mut StringBuilder, value: Value<'_>) -> Result<(), Fault> {
    let Value::Bytes(bytes) = value else { return Err(other_wire_type()) };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(Fault::Malformed("a string is not UTF-8"));
    };
    if values.values_slice().len() + text.len() > TEXT_BYTES_MAX {
        return Err(Fault::TooLong);
    }
    values.append_value(text);
    Ok(())
}

fn varint(value: Value<'_>) -> Result<u64, Fault> {
    if let Value::Varint(number) = value { Ok(number) } else { Err(other_wire_type()) }
}

fn other_wire_type() -> Fault {
    Fault::Malformed("its data has the wire type of something else")
}

/// A column of serialized arrays.
struct Source<'a> {
    field: &'a FieldSchema,
    element: DataType,
    array: &'a ArrayRef,
}

impl Source<'_> {
    fn integers<T: ArrowPrimitiveType>(&self, member: u32) -> Result<ArrayRef>
    where
        T::Native: TryFrom<i64>,
    {
        self.lists(member, PrimitiveBuilder::<T>::new(), |values, value| {
            let number = T::Native::try_from(varint(value)?.cast_signed());
            values.append_value(number.ok().ok_or(Fault::Range)?);
            Ok(())
        })
    }

    /// Lists of what `push` puts into `values` for each element of the oneof's `member`.
    fn lists<B: ArrayBuilder>(
        &self,
        member: u32,
        values: B,
        push: impl Fn(&mut B, Value<'_>) -> Result<(), Fault>,
    ) -> Result<ArrayRef> {
        let rows =
            binary_rows(self.array).ok_or_else(|| Error::internal("a binary is binary-like"))?;
        let mut lists = ListBuilder::with_capacity(values, rows.len());
        for (row, message) in rows.into_iter().enumerate() {
            if let Some(message) = message {
                let values = lists.values();
                let read = read(message, member, &mut |value| {
                    if values.len() >= ELEMENTS_MAX {
                        return Err(Fault::TooMany);
                    }
                    push(values, value)
                });
                read.map_err(|fault| fault.at(self.field, self.element, row))?;
            }
            lists.append(message.is_some());
        }
        Ok(Arc::new(lists.finish()))
    }
}

/// Hands over the elements of a `ScalarField`, which have to be in its `member`.
fn read<'a>(
    message: &'a [u8],
    member: u32,
    push: &mut impl FnMut(Value<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let Some(mut reader) = held(message, member)? else { return Ok(()) };
    while let Some((number, value)) = reader.field()? {
        if number == member
            && let Value::Bytes(data) = value
        {
            read_data(data, member, push)?;
        }
    }
    Ok(())
}

/// The message from where on its oneof holds `member`; `None` if it holds nothing.
///
/// Of several members the last one counts. If it is there several times in a row, protobuf joins
/// what it holds.
fn held(message: &[u8], member: u32) -> Result<Option<Reader<'_>>, Fault> {
    let mut reader = Reader::new(message);
    let mut last: Option<(u32, &'static str, Reader<'_>)> = None;
    loop {
        let here = reader;
        let Some((number, value)) = reader.field()? else { break };
        let Some(name) = member_name(number) else { continue };
        if !matches!(value, Value::Bytes(_)) {
            return Err(other_wire_type());
        }
        if last.is_none_or(|(number_before, ..)| number_before != number) {
            last = Some((number, name, here));
        }
    }
    match last {
        None => Ok(None),
        Some((number, _, from)) if number == member => Ok(Some(from)),
        Some((_, name, _)) => Err(Fault::Mismatch(name)),
    }
}

fn member_name(number: u32) -> Option<&'static str> {
    let index = usize::try_from(number).ok()?.checked_sub(1)?;
    MEMBERS.get(index).copied()
}

/// Hands over the elements of a `BoolArray`, `IntArray` and so on. Numbers may be packed into one
/// value or stand alone.
fn read_data<'a>(
    data: &'a [u8],
    member: u32,
    push: &mut impl FnMut(Value<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut reader = Reader::new(data);
    while let Some((number, value)) = reader.field()? {
        match value {
            _ if number != DATA => {}
            Value::Bytes(packed) if member != STRINGS => {
                let mut packed = Reader::new(packed);
                while !packed.is_empty() {
                    push(match member {
                        FLOATS => Value::Fixed32(packed.take()?),
                        DOUBLES => Value::Fixed64(packed.take()?),
                        _ => Value::Varint(packed.varint()?),
                    })?;
                }
            }
            value => push(value)?,
        }
    }
    Ok(())
}
