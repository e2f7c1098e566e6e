//! Arrow arrays as Iceberg literals and back. Takes the Arrow types that [`super::project`] makes,
//! and no others.

use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray as _, BooleanArray, Decimal128Array,
    FixedSizeBinaryArray, Float32Array, Float64Array, Int32Array, Int64Array, LargeBinaryArray,
    StringArray, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType, TimestampNanosecondType,
};
use iceberg::spec::{
    Datum, ListType, Literal, Map, MapType, PrimitiveLiteral, PrimitiveType, Struct, StructType,
    Type,
};

use crate::convert::{to_i32, to_usize};

/// A value of one row, `None` for null, for every row of an array.
pub(super) type Literals = Vec<Option<Literal>>;

/// The values of an array of Iceberg type `data_type`.
///
/// # Errors
/// An array of an Arrow type that does not stand for this type.
pub(super) fn literals(array: &ArrayRef, data_type: &Type) -> anyhow::Result<Literals> {
    match data_type {
        Type::Primitive(primitive) => primitives(array, primitive),
        Type::Struct(fields) => structs(array, fields),
        Type::List(list) => lists(array, list),
        Type::Map(map) => maps(array, map),
    }
}

fn primitives(array: &ArrayRef, primitive: &PrimitiveType) -> anyhow::Result<Literals> {
    let long = |value: i64| Literal::long(value);
    Ok(match primitive {
        PrimitiveType::Boolean => {
            let found = array.as_boolean_opt().with_context(|| unlike(array, "boolean"))?;
            found.iter().map(|value| value.map(Literal::bool)).collect()
        }
        PrimitiveType::Int => numbers::<Int32Type>(array, Literal::int)?,
        PrimitiveType::Date => numbers::<Date32Type>(array, Literal::int)?,
        PrimitiveType::Long => numbers::<Int64Type>(array, long)?,
        PrimitiveType::Time => numbers::<Time64MicrosecondType>(array, long)?,
        PrimitiveType::Timestamp | PrimitiveType::Timestamptz => {
            numbers::<TimestampMicrosecondType>(array, long)?
        }
        PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs => {
            numbers::<TimestampNanosecondType>(array, long)?
        }
        PrimitiveType::Float => numbers::<Float32Type>(array, Literal::float)?,
        PrimitiveType::Double => numbers::<Float64Type>(array, Literal::double)?,
        PrimitiveType::Decimal { .. } => numbers::<Decimal128Type>(array, Literal::decimal)?,
        PrimitiveType::String => {
            let found = array.as_string_opt::<i32>().with_context(|| unlike(array, "string"))?;
            found.iter().map(|value| value.map(Literal::string)).collect()
        }
        PrimitiveType::Binary => {
            let found = array.as_binary_opt::<i64>().with_context(|| unlike(array, "binary"))?;
            found.iter().map(|value| value.map(|bytes| Literal::binary(bytes.to_vec()))).collect()
        }
        PrimitiveType::Fixed(_) => fixed(array, |bytes| Ok(Literal::fixed(bytes.to_vec())))?,
        PrimitiveType::Uuid => fixed(array, |bytes| {
            let bytes = <[u8; 16]>::try_from(bytes).context("a UUID has 16 bytes")?;
            Ok(Literal::Primitive(PrimitiveLiteral::UInt128(u128::from_be_bytes(bytes))))
        })?,
    })
}

fn unlike(array: &ArrayRef, wanted: &str) -> String {
    format!("an array of {} is none of {wanted}", array.data_type())
}

fn numbers<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    literal: impl Fn(T::Native) -> Literal,
) -> anyhow::Result<Literals> {
    let found = array.as_primitive_opt::<T>().with_context(|| unlike(array, "this number"))?;
    Ok(found.iter().map(|value| value.map(&literal)).collect())
}

fn fixed(
    array: &ArrayRef,
    literal: impl Fn(&[u8]) -> anyhow::Result<Literal>,
) -> anyhow::Result<Literals> {
    let found = array.as_fixed_size_binary_opt().with_context(|| unlike(array, "fixed"))?;
    found.iter().map(|value| value.map(&literal).transpose()).collect()
}

fn structs(array: &ArrayRef, fields: &StructType) -> anyhow::Result<Literals> {
    let found = array.as_struct_opt().with_context(|| unlike(array, "struct"))?;
    ensure!(found.num_columns() == fields.fields().len(), "a struct with other fields");
    let columns = found.columns().iter().zip(fields.fields());
    let columns: Vec<Literals> = columns
        .map(|(column, field)| literals(column, &field.field_type))
        .collect::<anyhow::Result<_>>()?;
    let row = |row: usize| columns.iter().map(|column| column[row].clone()).collect::<Struct>();
    Ok((0..found.len()).map(|at| found.is_valid(at).then(|| Literal::Struct(row(at)))).collect())
}

fn lists(array: &ArrayRef, list: &ListType) -> anyhow::Result<Literals> {
    let found = array.as_list_opt::<i32>().with_context(|| unlike(array, "list"))?;
    let elements = literals(found.values(), &list.element_field.field_type)?;
    let rows = found.offsets().windows(2).enumerate();
    rows.map(|(row, range)| {
        let (start, end) = (usize::try_from(range[0])?, usize::try_from(range[1])?);
        Ok(found.is_valid(row).then(|| Literal::List(elements[start..end].to_vec())))
    })
    .collect()
}

fn maps(array: &ArrayRef, map: &MapType) -> anyhow::Result<Literals> {
    let found = array.as_map_opt().with_context(|| unlike(array, "map"))?;
    let keys = literals(found.keys(), &map.key_field.field_type)?;
    let values = literals(found.values(), &map.value_field.field_type)?;
    let rows = found.offsets().windows(2).enumerate();
    rows.map(|(row, range)| {
        let (start, end) = (usize::try_from(range[0])?, usize::try_from(range[1])?);
        let mut entries = Map::new();
        for at in start..end {
            let key = keys[at].clone().context("a key of a map is null")?;
            entries.insert(key, values[at].clone());
        }
        Ok(found.is_valid(row).then_some(Literal::Map(entries)))
    })
    .collect()
}

/// An array that holds `literal` in every row, or nulls.
///
/// # Errors
/// A literal that is not primitive, or not of this type.
pub(super) fn constant(
    literal: Option<&Literal>,
    data_type: &DataType,
    rows: usize,
) -> anyhow::Result<ArrayRef> {
    let Some(literal) = literal else { return Ok(new_null_array(data_type, rows)) };
    let Literal::Primitive(value) = literal else {
        bail!("defaults of nested types are not written")
    };
    let array: ArrayRef = match value {
        PrimitiveLiteral::Boolean(value) => Arc::new(BooleanArray::from(vec![*value; rows])),
        PrimitiveLiteral::Int(value) => Arc::new(Int32Array::from_value(*value, rows)),
        PrimitiveLiteral::Long(value) => Arc::new(Int64Array::from_value(*value, rows)),
        PrimitiveLiteral::Float(value) => Arc::new(Float32Array::from_value(value.0, rows)),
        PrimitiveLiteral::Double(value) => Arc::new(Float64Array::from_value(value.0, rows)),
        PrimitiveLiteral::String(value) => {
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, rows)))
        }
        PrimitiveLiteral::Binary(value) => constant_bytes(value, data_type, rows)?,
        PrimitiveLiteral::UInt128(value) => constant_bytes(&value.to_be_bytes(), data_type, rows)?,
        PrimitiveLiteral::Int128(value) => {
            let DataType::Decimal128(precision, scale) = data_type else {
                bail!("{data_type} is no decimal")
            };
            let unscaled = Decimal128Array::from_value(*value, rows);
            Arc::new(unscaled.with_precision_and_scale(*precision, *scale)?)
        }
        PrimitiveLiteral::AboveMax | PrimitiveLiteral::BelowMin => bail!("no value of its own"),
    };
    cast(&array, data_type).with_context(|| format!("the default is no {data_type}"))
}

fn constant_bytes(value: &[u8], data_type: &DataType, rows: usize) -> anyhow::Result<ArrayRef> {
    let repeated = std::iter::repeat_n(value, rows);
    if let DataType::FixedSizeBinary(size) = data_type {
        ensure!(to_i32(value.len()) == *size, "{} bytes are no {data_type}", value.len());
        let values: Vec<u8> = repeated.flatten().copied().collect();
        return Ok(Arc::new(FixedSizeBinaryArray::try_new(*size, values.into(), None)?));
    }
    Ok(Arc::new(LargeBinaryArray::from_iter_values(repeated)))
}

/// A literal with its type, in the form that column bounds have.
///
/// # Errors
/// A literal that is not of this type.
pub(super) fn datum(
    primitive: &PrimitiveType,
    literal: &PrimitiveLiteral,
) -> anyhow::Result<Datum> {
    let bytes = match literal {
        PrimitiveLiteral::Boolean(value) => vec![u8::from(*value)],
        PrimitiveLiteral::Int(value) => value.to_le_bytes().to_vec(),
        PrimitiveLiteral::Long(value) => value.to_le_bytes().to_vec(),
        PrimitiveLiteral::Float(value) => value.0.to_le_bytes().to_vec(),
        PrimitiveLiteral::Double(value) => value.0.to_le_bytes().to_vec(),
        PrimitiveLiteral::String(value) => value.as_bytes().to_vec(),
        PrimitiveLiteral::Binary(value) => value.clone(),
        PrimitiveLiteral::UInt128(value) => value.to_be_bytes().to_vec(),
        PrimitiveLiteral::Int128(value) => value.to_be_bytes().to_vec(),
        PrimitiveLiteral::AboveMax | PrimitiveLiteral::BelowMin => bail!("no value of its own"),
    };
    if let PrimitiveType::Fixed(size) = primitive {
        // Bounds of fixed values may be cut short, values may not be longer.
        ensure!(bytes.len() <= to_usize(*size), "{} bytes are no {primitive}", bytes.len());
    }
    Datum::try_from_bytes(&bytes, primitive.clone()).context("the value is not of its type")
}
