//! The types of Iceberg tables: read from their text, and what a field can be mapped to.
//!
//! Nothing here reads a table's metadata or a file. How a file that holds an earlier form of a
//! column is read is the business of [`Projection`](super::Projection).

mod text;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType as ArrowType, Field, Fields, TimeUnit};
use pandion_types::{DataType, Error, FieldSchema, Result, Subject};

use super::{check, mismatch, nested, scalars};

/// A type as the Iceberg specification has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of primitive types are those of the specification")]
pub enum IcebergType {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Decimal {
        precision: u8,
        scale: i8,
    },
    Date,
    Time,
    Timestamp,
    Timestamptz,
    TimestampNs,
    TimestamptzNs,
    String,
    Uuid,
    /// So many bytes.
    Fixed(i32),
    Binary,
    Unknown,
    Variant,
    Geometry,
    Geography,
    Struct(Vec<IcebergField>),
    /// Its element.
    List(Box<IcebergField>),
    /// Its key and its value.
    Map(Box<IcebergField>, Box<IcebergField>),
}

/// A field of a struct, the element of a list, or the key or value of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IcebergField {
    /// The id; `None` in the short form of a list or map.
    pub id: Option<i32>,
    /// The name, which is empty for anything but the fields of structs.
    pub name: String,
    /// The type.
    pub field_type: IcebergType,
    /// Whether rows that were written before the field existed have another value than null.
    pub has_default: bool,
}

impl IcebergType {
    /// Reads a type from the text that a manifest keeps of it: the name of a primitive type
    /// (`long`, `decimal(9, 2)`, `fixed[16]`), `list<float>`, `map<string, int>`, or any type as
    /// the specification's JSON has it (appendix C), which alone can tell the fields of structs.
    ///
    /// # Errors
    /// `Unsupported` about the source for a type that the specification does not have.
    pub fn parse(text: &str) -> Result<Self> {
        text::parse(text).ok_or_else(|| {
            Error::unsupported(format!("the Iceberg type {text} is not known"))
                .about(Subject::Source)
        })
    }

    /// What a file's column of this type is in Arrow. Strings of bytes that have a meaning, such
    /// as those of `uuid`, are text here. `None` for types that are not read.
    #[must_use]
    pub fn arrow_type(&self) -> Option<ArrowType> {
        let utc = || Some(Arc::from("UTC"));
        Some(match self {
            Self::Boolean => ArrowType::Boolean,
            Self::Int => ArrowType::Int32,
            Self::Long => ArrowType::Int64,
            Self::Float => ArrowType::Float32,
            Self::Double => ArrowType::Float64,
            Self::Decimal { precision, scale } => ArrowType::Decimal128(*precision, *scale),
            Self::Date => ArrowType::Date32,
            Self::Time => ArrowType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz => ArrowType::Timestamp(TimeUnit::Microsecond, utc()),
            Self::TimestampNs => ArrowType::Timestamp(TimeUnit::Nanosecond, None),
            Self::TimestamptzNs => ArrowType::Timestamp(TimeUnit::Nanosecond, utc()),
            Self::String | Self::Uuid => ArrowType::Utf8,
            Self::Fixed(length) => ArrowType::FixedSizeBinary(*length),
            Self::Binary | Self::Geometry => ArrowType::Binary,
            Self::Unknown | Self::Variant | Self::Geography => return None,
            Self::Struct(fields) => {
                let fields = fields.iter().map(|field| {
                    Some(Arc::new(Field::new(&field.name, field.field_type.arrow_type()?, true)))
                });
                ArrowType::Struct(fields.collect::<Option<Fields>>()?)
            }
            Self::List(element) => ArrowType::new_list(element.field_type.arrow_type()?, true),
            Self::Map(key, value) => {
                let key = Field::new("key", key.field_type.arrow_type()?, false);
                let value = Field::new("value", value.field_type.arrow_type()?, true);
                let entries = ArrowType::Struct(Fields::from(vec![key, value]));
                ArrowType::Map(Arc::new(Field::new("entries", entries, false)), false)
            }
        })
    }

    /// The fields that a column of this type can be mapped to, in words; empty when there are none.
    fn readable_as(&self) -> String {
        match self {
            Self::Boolean => "Bool".to_owned(),
            Self::Int => "Int32".to_owned(),
            Self::Long => "Int64 or Timestamptz (microseconds)".to_owned(),
            Self::Float => "Float".to_owned(),
            Self::Double => "Double".to_owned(),
            Self::Decimal { .. } => "Double, VarChar or Text".to_owned(),
            Self::Date => "Timestamptz, VarChar or Text".to_owned(),
            Self::Time => "Int64 (microseconds)".to_owned(),
            Self::Timestamp | Self::Timestamptz | Self::TimestampNs | Self::TimestamptzNs => {
                "Timestamptz or Int64 (microseconds)".to_owned()
            }
            Self::String => "VarChar, Text, JSON or Geometry (well-known text)".to_owned(),
            Self::Uuid => "VarChar or Text".to_owned(),
            Self::Fixed(length) => format!("a vector of {length} bytes"),
            Self::Binary => "a vector, VarChar, Text or JSON (UTF-8), Geometry (well-known \
                             binary) or Array (serialized)"
                .to_owned(),
            Self::Geometry => "Geometry".to_owned(),
            Self::Unknown | Self::Variant | Self::Geography => String::new(),
            Self::Struct(_) | Self::Map(..) if !self.is_json() => String::new(),
            Self::Struct(_) | Self::Map(..) => "JSON".to_owned(),
            Self::List(element) => {
                let elements = element.field_type.arrow_type().map(|arrow_type| {
                    let fits = |element: &DataType| scalars::check(*element, &arrow_type).is_ok();
                    ELEMENTS.into_iter().find(fits)
                });
                match (&element.field_type, elements.flatten()) {
                    (Self::Float, _) => "FloatVector, Array of Float or JSON".to_owned(),
                    (_, Some(element)) => format!("Array of {element} or JSON"),
                    (_, None) if self.is_json() => "JSON".to_owned(),
                    (_, None) => String::new(),
                }
            }
        }
    }

    fn is_json(&self) -> bool {
        self.arrow_type().is_some_and(|arrow_type| nested::admits(&arrow_type))
    }
}

/// The types of elements that arrays may have.
const ELEMENTS: [DataType; 8] = [
    DataType::Bool,
    DataType::Int8,
    DataType::Int16,
    DataType::Int32,
    DataType::Int64,
    DataType::Float,
    DataType::Double,
    DataType::VarChar,
];

/// Checks, from a table's schema alone, that a column of this type can be the source of the field.
/// `column_type` is what [`IcebergType::parse`] reads.
///
/// # Errors
/// As [`check`], with the Iceberg type and what it can be mapped to; those of
/// [`IcebergType::parse`].
pub fn check_iceberg(field: &FieldSchema, column_type: &str) -> Result<()> {
    let column_type = IcebergType::parse(column_type)?;
    let is_admitted = match &column_type {
        IcebergType::Geometry => field.data_type == DataType::Geometry,
        IcebergType::Uuid => field.data_type.is_string(),
        _ => true,
    };
    let checked = match column_type.arrow_type().filter(|_| is_admitted) {
        Some(arrow_type) => check(field, &arrow_type),
        None => {
            let actual = format!("Iceberg {column_type}");
            Err(mismatch(field, "field type", field.data_type, actual))
        }
    };
    checked.map_err(|error| {
        let possible = match column_type.readable_as() {
            none if none.is_empty() => "which is not supported".to_owned(),
            possible => format!("which can be mapped to {possible}"),
        };
        let text = format!(
            "{}: the column has the Iceberg type {column_type}, {possible}",
            error.message()
        );
        Error::new(error.kind(), text).about(error.subject())
    })
}

impl fmt::Display for IcebergType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decimal { precision, scale } => write!(f, "decimal({precision}, {scale})"),
            Self::Fixed(length) => write!(f, "fixed[{length}]"),
            Self::Struct(fields) => {
                f.write_str("struct<")?;
                for (at, field) in fields.iter().enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    write!(f, "{comma}{}: {}", field.name, field.field_type)?;
                }
                f.write_str(">")
            }
            Self::List(element) => write!(f, "list<{}>", element.field_type),
            Self::Map(key, value) => write!(f, "map<{}, {}>", key.field_type, value.field_type),
            primitive => f.write_str(text::name(primitive)),
        }
    }
}

#[cfg(test)]
mod tests;
