//! Which Arrow columns a field may be mapped to, and the one form in which their values go on.
//!
//! A lake holds the same vectors as lists, fixed-size lists and bytes, the same text as strings
//! and binaries, the same arrays as lists and serialized messages. Everything behind this module
//! sees one Arrow type per field, [`canonical_type`]. Numbers are not widened or narrowed on the
//! way, and no value is dropped: what does not fit is an error that names field, column and row.
//! Only types that no field has are brought into another form, see [`check`]. Two declared limits are not applied: `max_length` of a VarChar and `max_capacity` of an
//! Array bound what clients may insert, and the rows of a lake were never inserted.
//!
//! Rows may be null. Elements of vectors and arrays may not. Whether components are finite is not
//! looked at here.

mod arrays;
mod exact;
mod iceberg;
mod names;
mod nested;
mod projection;
mod protobuf;
mod rows;
mod scalars;
mod serialized;
mod vectors;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType as ArrowType, Field};
use pandion_types::{DataType, Error, FieldSchema, Result, Subject, VectorElement, VectorType};

pub use exact::decimal_to_double;
pub use iceberg::{IcebergField, IcebergType, check_iceberg};
pub use names::arrow_name;
pub use projection::Projection;

/// The largest dimension that is worked with: far above what collections may have, and small
/// enough that no size computed from it overflows.
const DIM_MAX: usize = 1 << 20;

/// The Arrow type that a field's values have after [`to_canonical`]:
///
/// | field | Arrow |
/// |---|---|
/// | Bool, Int8 to Int64, Float, Double | the type of that name |
/// | VarChar, Text, JSON | Utf8 |
/// | Geometry | Utf8, well-known text |
/// | Timestamptz | Timestamp(Microsecond, "UTC") |
/// | Array | List of the element's type |
/// | FloatVector | FixedSizeList(Float32, dim) |
/// | Float16Vector, BFloat16Vector, Int8Vector, BinaryVector | FixedSizeBinary(bytes of a vector) |
///
/// Fields of lists are called `item` and are nullable, as Arrow builders make them, though no
/// element is ever null.
///
/// # Errors
/// `InvalidArgument` about the field when a vector has no valid `dim` or an array no valid element
/// type; `Unsupported` for SparseFloatVector.
pub fn canonical_type(field: &FieldSchema) -> Result<ArrowType> {
    match field.data_type {
        DataType::Array => {
            let element = scalars::canonical(array_element(field)?)?;
            Ok(ArrowType::List(Arc::new(Field::new_list_field(element, true))))
        }
        DataType::SparseFloatVector => Err(no_sparse(field)),
        data_type if data_type.is_dense_vector() => {
            let vector = vector_type(field)?;
            if vector.element == VectorElement::Float32 {
                let item = Arc::new(Field::new_list_field(ArrowType::Float32, true));
                Ok(ArrowType::FixedSizeList(item, width(field, vector.dim)?))
            } else {
                Ok(ArrowType::FixedSizeBinary(width(field, vector.bytes())?))
            }
        }
        data_type => scalars::canonical(data_type),
    }
}

/// Checks that a column of this Arrow type can be the source of the field. Lengths that the type
/// does not fix, and elements of serialized arrays, are checked value by value in [`to_canonical`].
///
/// Columns have the type of their field, or one that no field has:
///
/// | column | fields |
/// |---|---|
/// | decimal | Double, the nearest one; VarChar and Text, all digits |
/// | date | Timestamptz, at midnight UTC; VarChar and Text, as `2024-02-29` |
/// | time | Int64, microseconds since midnight |
/// | timestamp | Timestamptz; Int64, microseconds since 1970 |
/// | struct, map from text, list | JSON |
///
/// A dictionary counts as what it holds.
///
/// # Errors
/// `InvalidArgument` about the field: `field type mismatch for field 'f' (external_field 'c'),
/// expected Arrow int8, actual Arrow string`, `array element type mismatch ..`, `vector element
/// type mismatch ..`, `vector list length mismatch ..` or `vector byte width mismatch ..`;
/// `Unsupported` for SparseFloatVector.
pub fn check(field: &FieldSchema, source: &ArrowType) -> Result<()> {
    let source = unpacked(source);
    match field.data_type {
        DataType::Array => arrays::check(field, array_element(field)?, source),
        DataType::SparseFloatVector => Err(no_sparse(field)),
        data_type if data_type.is_dense_vector() => {
            vectors::check(field, vector_type(field)?, source).map(|_| ())
        }
        data_type => scalars::check(data_type, source)
            .map_err(|expected| type_mismatch(field, expected, source)),
    }
}

/// Converts a column of the source to [`canonical_type`]. Values that are canonical already are
/// not copied; nor are vectors that lie back to back.
///
/// A serialized array is a protobuf message `ScalarField`, and an empty message an empty array.
///
/// Times and timestamps finer than a microsecond are cut down to the microsecond before; timestamps
/// without a time zone are taken as UTC. Z and M of a well-known binary geometry are left out, since
/// geometries are planar.
///
/// # Errors
/// As [`check`]; `Corrupt` about the source, naming field, column and the first bad row of the
/// array, for values that do not fit: null elements, wrong lengths, text that is not UTF-8,
/// malformed geometries, timestamps outside the range, serialized arrays that are malformed or hold
/// elements of another type or outside the range of theirs; `Unsupported` when the array holds more
/// text or elements than an Arrow array can.
pub fn to_canonical(field: &FieldSchema, array: &ArrayRef) -> Result<ArrayRef> {
    check(field, array.data_type())?;
    let array = &unpack(field, array)?;
    match field.data_type {
        DataType::Array => arrays::convert(field, array_element(field)?, array),
        data_type if data_type.is_dense_vector() => {
            vectors::convert(field, vector_type(field)?, array)
        }
        data_type => scalars::convert(field, data_type, array),
    }
}

fn unpacked(source: &ArrowType) -> &ArrowType {
    match source {
        ArrowType::Dictionary(_, values) => values,
        plain => plain,
    }
}

fn unpack(field: &FieldSchema, array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        ArrowType::Dictionary(_, values) => arrow::compute::cast(array, values).map_err(|error| {
            corrupt(field, None, "has a dictionary that cannot be read").caused_by(error)
        }),
        _ => Ok(Arc::clone(array)),
    }
}

fn array_element(field: &FieldSchema) -> Result<DataType> {
    let fits = |element: &DataType| {
        *element == DataType::Bool
            || *element == DataType::VarChar
            || element.is_integer()
            || element.is_float()
    };
    field.element_type.filter(fits).ok_or_else(|| {
        Error::invalid_argument(format!("array field '{}' has no valid element type", field.name))
            .about(Subject::Field)
    })
}

fn vector_type(field: &FieldSchema) -> Result<VectorType> {
    let fits = |vector: &VectorType| {
        (1..=DIM_MAX).contains(&vector.dim)
            && (vector.element != VectorElement::Bit || vector.dim.is_multiple_of(8))
    };
    field.vector_type().filter(fits).ok_or_else(|| {
        Error::invalid_argument(format!("vector field '{}' has no valid dim", field.name))
            .about(Subject::Field)
    })
}

fn width(field: &FieldSchema, width: usize) -> Result<i32> {
    i32::try_from(width).map_err(|error| {
        Error::invalid_argument(format!("vector field '{}' is too wide", field.name))
            .about(Subject::Field)
            .caused_by(error)
    })
}

fn no_sparse(field: &FieldSchema) -> Error {
    Error::unsupported(format!(
        "external field '{}' does not support field type SparseFloatVector",
        field.name
    ))
    .about(Subject::Field)
}

/// `field 'f' (external_field 'c')`, as all messages name a mapped field.
fn label(field: &FieldSchema) -> String {
    let column = field.external_field.as_deref().unwrap_or(&field.name);
    format!("field '{}' (external_field '{column}')", field.name)
}

fn mismatch(
    field: &FieldSchema,
    what: &str,
    expected: impl std::fmt::Display,
    actual: impl std::fmt::Display,
) -> Error {
    Error::invalid_argument(format!(
        "{what} mismatch for {}, expected {expected}, actual {actual}",
        label(field)
    ))
    .about(Subject::Field)
}

fn type_mismatch(field: &FieldSchema, expected: &str, actual: &ArrowType) -> Error {
    let actual = format!("Arrow {}", arrow_name(actual));
    mismatch(field, "field type", format!("Arrow {expected}"), actual)
}

/// A value that does not fit; `row` counts in the array at hand.
fn corrupt(field: &FieldSchema, row: Option<usize>, what: &str) -> Error {
    let at = row.map(|row| format!(" at row {row}")).unwrap_or_default();
    Error::corrupt(format!("{}{at} {what}", label(field))).about(Subject::Source)
}

#[cfg(test)]
mod tests;
