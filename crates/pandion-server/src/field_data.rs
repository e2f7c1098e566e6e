//! Columns of an answer: from Arrow arrays to Milvus `FieldData`.
//!
//! The layout is what stock clients decode. Scalars are dense: one slot per row, a zero value where
//! the row has none. Vectors are compressed: rows without a value have no place in the data. Which
//! rows have a value stands in the top-level `valid_data`, one entry per row, which is sent for
//! every nullable field, also when no value is missing. A column without rows still names its type,
//! its dimension and an empty array of the right kind. Values are not converted: a column that is
//! not in the canonical Arrow type of its field is a defect of the caller.

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeListArray, ListArray, PrimitiveArray,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use chrono::{DateTime, Offset as _, SecondsFormat, Timelike as _, Utc};
use chrono_tz::Tz;
use pandion_proto::schema::field_data::Field;
use pandion_proto::schema::i_ds::IdField;
use pandion_proto::schema::scalar_field::Data as Scalar;
use pandion_proto::schema::vector_field::Data as Vector;
use pandion_proto::schema::{
    ArrayArray, BoolArray, DataType as WireType, DoubleArray, FieldData, FloatArray,
    GeometryWktArray, IDs, IntArray, JsonArray, LongArray, ScalarField, StringArray as WireStrings,
    VectorField,
};
use pandion_types::{DataType, Error, FieldSchema, Result, RowId, VectorElement, VectorType};

/// Encodes the values of `field` for all rows of an answer.
///
/// Points in time are written in `timezone`.
///
/// # Errors
/// `Internal` when the column is not in the canonical Arrow type of the field, or lacks a value
/// though the field is not nullable; `Corrupt` for a point in time that no calendar can write and
/// for an array value that holds a null.
pub(crate) fn encode_column(
    field: &FieldSchema,
    column: &ArrayRef,
    timezone: Tz,
) -> Result<FieldData> {
    if !field.nullable && column.null_count() > 0 {
        return Err(Error::internal(format!(
            "field {} is not nullable, but the column lacks values",
            field.name
        )));
    }
    let data = match field.vector_type() {
        Some(vector_type) => Field::Vectors(encode_vectors(field, vector_type, column)?),
        None if field.data_type == DataType::Array => {
            Field::Scalars(scalars(encode_lists(field, column)?))
        }
        None => Field::Scalars(scalars(encode_scalars(field, field.data_type, column, timezone)?)),
    };
    let valid_data = if field.nullable {
        (0..column.len()).map(|row| column.is_valid(row)).collect()
    } else {
        Vec::new()
    };
    Ok(FieldData {
        r#type: field.data_type.code(),
        field_name: field.name.clone(),
        field_id: field.id.0,
        is_dynamic: false,
        valid_data,
        field: Some(data),
    })
}

/// Encodes the primary keys of the hits of a search.
#[must_use]
pub(crate) fn encode_row_ids(rows: impl IntoIterator<Item = RowId>) -> IDs {
    let data = rows.into_iter().map(RowId::get).collect();
    IDs { id_field: Some(IdField::IntId(LongArray { data })) }
}

/// Encodes the answer to `count(*)`: one row of one column, named as the caller wrote it.
#[must_use]
pub(crate) fn encode_count(name: &str, count: i64) -> FieldData {
    FieldData {
        r#type: WireType::Int64.into(),
        field_name: name.to_owned(),
        field: Some(Field::Scalars(scalars(Scalar::LongData(LongArray { data: vec![count] })))),
        ..FieldData::default()
    }
}

fn scalars(data: Scalar) -> ScalarField {
    ScalarField { data: Some(data) }
}

/// Encodes values of a scalar type other than Array, a zero value where there is none.
fn encode_scalars(
    field: &FieldSchema,
    data_type: DataType,
    column: &ArrayRef,
    timezone: Tz,
) -> Result<Scalar> {
    Ok(match data_type {
        DataType::Bool => {
            let values = column.as_boolean_opt().ok_or_else(|| not_canonical(field, column))?;
            let data = values.iter().map(Option::unwrap_or_default).collect();
            Scalar::BoolData(BoolArray { data })
        }
        DataType::Int8 => small_integers::<Int8Type>(field, column)?,
        DataType::Int16 => small_integers::<Int16Type>(field, column)?,
        DataType::Int32 => small_integers::<Int32Type>(field, column)?,
        DataType::Int64 => {
            Scalar::LongData(LongArray { data: numbers::<Int64Type>(field, column)? })
        }
        DataType::Float => {
            Scalar::FloatData(FloatArray { data: numbers::<Float32Type>(field, column)? })
        }
        DataType::Double => {
            Scalar::DoubleData(DoubleArray { data: numbers::<Float64Type>(field, column)? })
        }
        DataType::VarChar | DataType::Text => {
            Scalar::StringData(WireStrings { data: texts(field, column)? })
        }
        DataType::Geometry => {
            Scalar::GeometryWktData(GeometryWktArray { data: texts(field, column)? })
        }
        DataType::Json => {
            let data = strings(field, column)?
                .iter()
                .map(|text| text.unwrap_or_default().as_bytes().to_vec())
                .collect();
            Scalar::JsonData(JsonArray { data })
        }
        DataType::Timestamptz => {
            Scalar::StringData(WireStrings { data: times(field, column, timezone)? })
        }
        DataType::Array
        | DataType::BinaryVector
        | DataType::FloatVector
        | DataType::Float16Vector
        | DataType::BFloat16Vector
        | DataType::SparseFloatVector
        | DataType::Int8Vector => {
            return Err(Error::internal(format!(
                "field {} of type {data_type} cannot be encoded as a scalar",
                field.name
            )));
        }
    })
}

fn primitives<'a, T: ArrowPrimitiveType>(
    field: &FieldSchema,
    column: &'a ArrayRef,
) -> Result<&'a PrimitiveArray<T>> {
    column.as_primitive_opt::<T>().ok_or_else(|| not_canonical(field, column))
}

fn strings<'a>(field: &FieldSchema, column: &'a ArrayRef) -> Result<&'a StringArray> {
    column.as_string_opt::<i32>().ok_or_else(|| not_canonical(field, column))
}

fn numbers<T: ArrowPrimitiveType>(
    field: &FieldSchema,
    column: &ArrayRef,
) -> Result<Vec<T::Native>> {
    let values = primitives::<T>(field, column)?;
    if values.null_count() == 0 {
        return Ok(values.values().to_vec());
    }
    Ok(values.iter().map(Option::unwrap_or_default).collect())
}

/// The wire has one array for all integers of up to 32 bits.
fn small_integers<T>(field: &FieldSchema, column: &ArrayRef) -> Result<Scalar>
where
    T: ArrowPrimitiveType,
    i32: From<T::Native>,
{
    let data = numbers::<T>(field, column)?.into_iter().map(i32::from).collect();
    Ok(Scalar::IntData(IntArray { data }))
}

fn texts(field: &FieldSchema, column: &ArrayRef) -> Result<Vec<String>> {
    let values = strings(field, column)?;
    Ok(values.iter().map(|text| text.unwrap_or_default().to_owned()).collect())
}

fn times(field: &FieldSchema, column: &ArrayRef, timezone: Tz) -> Result<Vec<String>> {
    let values: &TimestampMicrosecondArray = primitives::<TimestampMicrosecondType>(field, column)?;
    values
        .iter()
        .map(|micros| micros.map_or(Ok(String::new()), |micros| format_time(micros, timezone)))
        .collect::<Result<_>>()
        .map_err(|error| error.context(format!("field {}", field.name)))
}

/// Writes a point in time, in microseconds since 1970 UTC, as RFC 3339 with as many fractional
/// digits as it needs. A zone that stands at UTC at that time is written `Z`.
///
/// # Errors
/// `Corrupt` when the year is outside what a calendar can hold.
pub(crate) fn format_time(micros: i64, timezone: Tz) -> Result<String> {
    let utc: DateTime<Utc> = DateTime::from_timestamp_micros(micros).ok_or_else(|| {
        Error::corrupt(format!("{micros} microseconds since 1970 is no point in time"))
    })?;
    let local = utc.with_timezone(&timezone);
    let fraction = local.nanosecond() / 1_000;
    let at_utc = local.offset().fix().local_minus_utc() == 0;
    if fraction == 0 {
        return Ok(local.to_rfc3339_opts(SecondsFormat::Secs, at_utc));
    }
    let fraction = format!("{fraction:06}");
    let zone = if at_utc { "Z".to_owned() } else { local.format("%:z").to_string() };
    let seconds = local.format("%Y-%m-%dT%H:%M:%S");
    Ok(format!("{seconds}.{}{zone}", fraction.trim_end_matches('0')))
}

/// Encodes array values: one scalar array per row, an empty one where there is no value.
fn encode_lists(field: &FieldSchema, column: &ArrayRef) -> Result<Scalar> {
    let element_type = field.element_type.ok_or_else(|| {
        Error::internal(format!("array field {} has no element type", field.name))
    })?;
    let lists: &ListArray =
        column.as_list_opt::<i32>().ok_or_else(|| not_canonical(field, column))?;
    let mut data = Vec::with_capacity(lists.len());
    for row in 0..lists.len() {
        let values =
            if lists.is_valid(row) { lists.value(row) } else { lists.values().slice(0, 0) };
        if values.null_count() > 0 {
            return Err(Error::corrupt(format!(
                "field {}: an array value holds a null element, which Milvus arrays cannot",
                field.name
            )));
        }
        data.push(scalars(encode_scalars(field, element_type, &values, Tz::UTC)?));
    }
    Ok(Scalar::ArrayData(ArrayArray { data, element_type: element_type.code() }))
}

/// Encodes the vectors of the rows that have one.
fn encode_vectors(
    field: &FieldSchema,
    vector_type: VectorType,
    column: &ArrayRef,
) -> Result<VectorField> {
    let data = match vector_type.element {
        VectorElement::Float32 => {
            Vector::FloatVector(FloatArray { data: floats(field, vector_type, column)? })
        }
        VectorElement::Float16 => Vector::Float16Vector(bytes(field, vector_type, column)?),
        VectorElement::BFloat16 => Vector::Bfloat16Vector(bytes(field, vector_type, column)?),
        VectorElement::Int8 => Vector::Int8Vector(bytes(field, vector_type, column)?),
        VectorElement::Bit => Vector::BinaryVector(bytes(field, vector_type, column)?),
    };
    let dim = i64::try_from(vector_type.dim).map_err(|error| {
        Error::internal(format!("field {} has a dimension too large", field.name)).caused_by(error)
    })?;
    Ok(VectorField { dim, data: Some(data) })
}

fn floats(field: &FieldSchema, vector_type: VectorType, column: &ArrayRef) -> Result<Vec<f32>> {
    let vectors: &FixedSizeListArray = column
        .as_fixed_size_list_opt()
        .filter(|vectors| usize::try_from(vectors.value_length()) == Ok(vector_type.dim))
        .ok_or_else(|| not_canonical(field, column))?;
    let mut data = Vec::with_capacity((vectors.len() - vectors.null_count()) * vector_type.dim);
    for row in (0..vectors.len()).filter(|row| vectors.is_valid(*row)) {
        let vector = vectors.value(row);
        let components = primitives::<Float32Type>(field, &vector)?;
        if components.null_count() > 0 {
            return Err(Error::corrupt(format!(
                "field {}: a vector holds a null component",
                field.name
            )));
        }
        data.extend_from_slice(components.values());
    }
    Ok(data)
}

fn bytes(field: &FieldSchema, vector_type: VectorType, column: &ArrayRef) -> Result<Vec<u8>> {
    let width = vector_type.bytes();
    let vectors: &FixedSizeBinaryArray = column
        .as_fixed_size_binary_opt()
        .filter(|vectors| usize::try_from(vectors.value_length()) == Ok(width))
        .ok_or_else(|| not_canonical(field, column))?;
    let mut data = Vec::with_capacity((vectors.len() - vectors.null_count()) * width);
    for vector in vectors.iter().flatten() {
        data.extend_from_slice(vector);
    }
    Ok(data)
}

fn not_canonical(field: &FieldSchema, column: &ArrayRef) -> Error {
    Error::internal(format!(
        "field {} of type {}: the column has Arrow type {}, which is not canonical for it",
        field.name,
        field.data_type,
        column.data_type()
    ))
}

#[cfg(test)]
mod tests;
