//! How a column of a file becomes a column of the type that a table has now.
//!
//! Columns of tables evolve: numbers widen, fields of structs come, go, and change their names and
//! places. A file keeps the form that was current when it was written. A projection leads from
//! there to the table's type by the ids of nested fields; which column of the file it is for has
//! been found out before. Only what the Iceberg specification allows is done: values are never
//! rounded or cut.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait,
    StringBuilder, StructArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType as ArrowType, Field, FieldRef, Fields, TimeUnit};
use arrow::error::ArrowError;
use pandion_types::{Error, Result, Subject};
use uuid::Uuid;

use super::iceberg::{IcebergField, IcebergType};
use super::rows::item_of;
use super::{arrow_name, unpacked};

/// Where Arrow keeps the id that a column has in a Parquet file.
const FIELD_ID_KEY: &str = "PARQUET:field_id";

/// Text of an UUID.
const UUID_LENGTH: usize = 36;

/// How the values of a file's column are turned into those of a table's column.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    step: Step,
    arrow_type: ArrowType,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// The values are right as they are.
    Keep,
    /// A wider type holds the values exactly.
    Widen,
    /// Sixteen bytes become text.
    Uuid,
    /// The file's place of each field of the table's struct, if it has it.
    Struct(Vec<(Option<usize>, Projection)>),
    List(Box<Projection>),
    Map(Box<Projection>, Box<Projection>),
}

impl Projection {
    /// Leaves values of this type as they are.
    #[must_use]
    pub fn keep(arrow_type: &ArrowType) -> Self {
        Self { step: Step::Keep, arrow_type: arrow_type.clone() }
    }

    /// Writes columns of 16 bytes as the text of the UUIDs that they are.
    #[must_use]
    pub fn uuid() -> Self {
        Self { step: Step::Uuid, arrow_type: ArrowType::Utf8 }
    }

    /// Leads from `found`, a column of a file as Arrow reads it, to the table's type.
    ///
    /// Fields of structs are found by their ids, which Arrow keeps under `PARQUET:field_id`. A
    /// struct of a file without ids must have exactly the table's fields, by name.
    ///
    /// # Errors
    /// `InvalidArgument` about the source, as `expected Arrow int64, actual Arrow string`, when the
    /// file's type is neither the table's nor one that the specification widens to it;
    /// `Unsupported` when the values of a nested field cannot be told: the file lacks it, and it
    /// has a default other than null or the struct has no ids.
    pub fn new(column_type: &IcebergType, found: &Field) -> Result<Self> {
        let actual = unpacked(found.data_type());
        match (column_type, actual) {
            (IcebergType::Struct(fields), ArrowType::Struct(held)) => Self::of_struct(fields, held),
            (IcebergType::List(element), _) => {
                let item = item_of(actual).ok_or_else(|| mismatch(column_type, actual))?;
                let inner = Self::new(&element.field_type, item)?;
                let step = Step::List(Box::new(inner.clone()));
                Ok(inner.unless_kept(found, step, |inner| list_of(actual, item, inner)))
            }
            (IcebergType::Map(key, value), ArrowType::Map(entries, sorted)) => {
                Self::of_map((key, value), found, entries, *sorted)
            }
            _ => match widened(column_type, actual) {
                Some(to) if to == *actual => Ok(Self::keep(found.data_type())),
                Some(ArrowType::Utf8) if *column_type == IcebergType::Uuid => Ok(Self::uuid()),
                Some(to) => Ok(Self { step: Step::Widen, arrow_type: to }),
                None => Err(mismatch(column_type, actual)),
            },
        }
    }

    /// The type of what [`Self::apply`] gives.
    #[must_use]
    pub fn arrow_type(&self) -> &ArrowType {
        &self.arrow_type
    }

    /// Whether values are left as they are.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.step == Step::Keep
    }

    /// Whether values are single ones that a wider type holds.
    #[must_use]
    pub fn widens(&self) -> bool {
        self.step == Step::Widen
    }

    /// Converts an array of the type that the projection was made for.
    ///
    /// # Errors
    /// `Corrupt` about the source for values that the table's type cannot hold.
    pub fn apply(&self, array: &ArrayRef) -> Result<ArrayRef> {
        self.converted(array).map_err(|error| {
            Error::corrupt("a value does not fit the type that the table has now")
                .about(Subject::Source)
                .caused_by(error)
        })
    }

    fn of_struct(fields: &[IcebergField], held: &Fields) -> Result<Self> {
        let by_id = held.iter().any(|field| id_of(field).is_some());
        if !by_id && !same_names(fields, held) {
            return Err(Error::unsupported(
                "the file has a struct without column ids whose fields are not those of the table",
            )
            .about(Subject::Source));
        }
        let members = fields.iter().map(|field| {
            let is_it = |found: &FieldRef| match (by_id, field.id) {
                (true, Some(id)) => id_of(found) == Some(id),
                _ => *found.name() == field.name,
            };
            member(field, held.iter().position(is_it).map(|at| (at, &held[at])))
        });
        let members = members.collect::<Result<Vec<_>>>()?;
        let in_place = members.iter().enumerate().all(|(at, (from, projection))| {
            *from == Some(at) && projection.keeps() && fields[at].name == *held[at].name()
        });
        if in_place && members.len() == held.len() {
            return Ok(Self::keep(&ArrowType::Struct(held.clone())));
        }
        let projected = fields.iter().zip(&members).map(|(field, (_, projection))| {
            Arc::new(Field::new(&field.name, projection.arrow_type.clone(), true))
        });
        let arrow_type = ArrowType::Struct(projected.collect());
        Ok(Self { step: Step::Struct(members), arrow_type })
    }

    fn of_map(
        (key, value): (&IcebergField, &IcebergField),
        found: &Field,
        entries: &FieldRef,
        sorted: bool,
    ) -> Result<Self> {
        let ArrowType::Struct(pair) = entries.data_type() else {
            return Ok(Self::keep(found.data_type()));
        };
        let [held_key, held_value] = pair.as_ref() else {
            return Ok(Self::keep(found.data_type()));
        };
        let key = Self::new(&key.field_type, held_key)?;
        let value = Self::new(&value.field_type, held_value)?;
        if key.keeps() && value.keeps() {
            return Ok(Self::keep(found.data_type()));
        }
        let pair = [(held_key, &key), (held_value, &value)].map(|(held, projection)| {
            held.as_ref().clone().with_data_type(projection.arrow_type.clone())
        });
        let pair = ArrowType::Struct(pair.into_iter().map(Arc::new).collect());
        let entries = Arc::new(entries.as_ref().clone().with_data_type(pair));
        let arrow_type = ArrowType::Map(entries, sorted);
        Ok(Self { step: Step::Map(Box::new(key), Box::new(value)), arrow_type })
    }

    /// `step` with the type round this one's, or what keeps all of `found` if this keeps its part.
    fn unless_kept(
        self,
        found: &Field,
        step: Step,
        around: impl Fn(ArrowType) -> ArrowType,
    ) -> Self {
        if self.keeps() {
            return Self::keep(found.data_type());
        }
        Self { step, arrow_type: around(self.arrow_type) }
    }

    fn converted(&self, array: &ArrayRef) -> std::result::Result<ArrayRef, ArrowError> {
        let is_dictionary = matches!(array.data_type(), ArrowType::Dictionary(..));
        if is_dictionary && !self.keeps() {
            return self.converted(&arrow::compute::cast(array, unpacked(array.data_type()))?);
        }
        match (&self.step, &self.arrow_type) {
            (Step::Keep, _) => Ok(Arc::clone(array)),
            (Step::Widen, wider) => {
                let options = CastOptions { safe: false, ..CastOptions::default() };
                cast_with_options(array, wider, &options)
            }
            (Step::Uuid, _) => uuid_text(array),
            (Step::Struct(members), ArrowType::Struct(fields)) => {
                let held = array.as_struct();
                let columns = members.iter().map(|(from, projection)| match from {
                    Some(at) => projection.converted(held.column(*at)),
                    None => Ok(new_null_array(&projection.arrow_type, held.len())),
                });
                let columns = columns.collect::<std::result::Result<_, _>>()?;
                let (nulls, rows) = (held.nulls().cloned(), held.len());
                Ok(Arc::new(StructArray::try_new_with_length(
                    fields.clone(),
                    columns,
                    nulls,
                    rows,
                )?))
            }
            (Step::List(inner), wanted) => inner.converted_list(array, wanted),
            (Step::Map(key, value), ArrowType::Map(entries, sorted)) => {
                let map = array.as_map();
                let ArrowType::Struct(pair) = entries.data_type() else {
                    return Err(ArrowError::SchemaError("a map has pairs".to_owned()));
                };
                let columns = vec![key.converted(map.keys())?, value.converted(map.values())?];
                let pairs = StructArray::try_new(pair.clone(), columns, None)?;
                let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
                let entries = Arc::clone(entries);
                Ok(Arc::new(MapArray::try_new(entries, offsets, pairs, nulls, *sorted)?))
            }
            (Step::Struct(_) | Step::Map(..), other) => {
                Err(ArrowError::SchemaError(format!("a projection cannot give {other}")))
            }
        }
    }

    /// `self` is what is done to the elements.
    fn converted_list(
        &self,
        array: &ArrayRef,
        wanted: &ArrowType,
    ) -> std::result::Result<ArrayRef, ArrowError> {
        match wanted {
            ArrowType::List(item) => self.converted_offsets::<i32>(array, item),
            ArrowType::LargeList(item) => self.converted_offsets::<i64>(array, item),
            ArrowType::FixedSizeList(item, length) => {
                let list = array.as_fixed_size_list();
                let values = self.converted(list.values())?;
                let (item, nulls) = (Arc::clone(item), list.nulls().cloned());
                Ok(Arc::new(FixedSizeListArray::try_new(item, *length, values, nulls)?))
            }
            other => Err(ArrowError::SchemaError(format!("a projection cannot give {other}"))),
        }
    }

    fn converted_offsets<O: OffsetSizeTrait>(
        &self,
        array: &ArrayRef,
        item: &FieldRef,
    ) -> std::result::Result<ArrayRef, ArrowError> {
        let list = array.as_list::<O>();
        let values = self.converted(list.values())?;
        let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
        Ok(Arc::new(GenericListArray::<O>::try_new(Arc::clone(item), offsets, values, nulls)?))
    }
}

fn member(
    field: &IcebergField,
    found: Option<(usize, &FieldRef)>,
) -> Result<(Option<usize>, Projection)> {
    if let Some((at, held)) = found {
        let projection = Projection::new(&field.field_type, held)
            .map_err(|error| error.context(format!("field '{}' of the struct", field.name)))?;
        return Ok((Some(at), projection));
    }
    if field.has_default {
        return Err(Error::unsupported(format!(
            "the file lacks field '{}' of the struct, whose default is not null: defaults of \
             nested fields are not supported",
            field.name
        ))
        .about(Subject::Source));
    }
    let arrow_type = field.field_type.arrow_type().ok_or_else(|| {
        Error::unsupported(format!(
            "field '{}' of the struct has the Iceberg type {}, which is not supported",
            field.name, field.field_type
        ))
        .about(Subject::Source)
    })?;
    Ok((None, Projection::keep(&arrow_type)))
}

/// What a column of a file is read as, so that it is of the table's type, both of single values;
/// `None` when it cannot be. Types that differ only in how they are written down are kept.
fn widened(column_type: &IcebergType, found: &ArrowType) -> Option<ArrowType> {
    use ArrowType as A;
    let is_text = matches!(found, A::Utf8 | A::LargeUtf8 | A::Utf8View);
    let is_binary = matches!(found, A::Binary | A::LargeBinary | A::BinaryView);
    let is_kept = match column_type {
        IcebergType::Int => match found {
            A::Int8 | A::Int16 => return Some(A::Int32),
            found => *found == A::Int32,
        },
        IcebergType::Long => match found {
            A::Int8 | A::Int16 | A::Int32 => return Some(A::Int64),
            found => *found == A::Int64,
        },
        IcebergType::Double => match found {
            A::Float32 => return Some(A::Float64),
            found => *found == A::Float64,
        },
        IcebergType::Timestamp | IcebergType::TimestampNs => match found {
            A::Date32 => return Some(A::Timestamp(TimeUnit::Microsecond, None)),
            found => matches!(found, A::Timestamp(..)),
        },
        IcebergType::Timestamptz | IcebergType::TimestamptzNs => matches!(found, A::Timestamp(..)),
        IcebergType::Decimal { precision, scale } => match found {
            // Text and number of a decimal do not tell its precision.
            A::Decimal32(held, of) | A::Decimal64(held, of) | A::Decimal128(held, of) => {
                held <= precision && of == scale
            }
            _ => false,
        },
        IcebergType::Uuid => match found {
            A::FixedSizeBinary(16) => return Some(A::Utf8),
            _ => is_text,
        },
        IcebergType::Time => matches!(found, A::Time32(_) | A::Time64(_)),
        IcebergType::String => is_text || is_binary,
        IcebergType::Fixed(_) | IcebergType::Binary => {
            is_text || is_binary || matches!(found, A::FixedSizeBinary(_))
        }
        IcebergType::Geometry => is_binary,
        IcebergType::Boolean | IcebergType::Float | IcebergType::Date => {
            column_type.arrow_type().as_ref() == Some(found)
        }
        IcebergType::Unknown
        | IcebergType::Variant
        | IcebergType::Geography
        | IcebergType::Struct(_)
        | IcebergType::List(_)
        | IcebergType::Map(..) => false,
    };
    is_kept.then(|| found.clone())
}

fn mismatch(column_type: &IcebergType, actual: &ArrowType) -> Error {
    let expected = match column_type.arrow_type() {
        Some(arrow_type) => format!("Arrow {}", arrow_name(&arrow_type)),
        None => format!("Iceberg {column_type}"),
    };
    Error::invalid_argument(format!("expected {expected}, actual Arrow {}", arrow_name(actual)))
        .about(Subject::Source)
}

fn id_of(field: &FieldRef) -> Option<i32> {
    field.metadata().get(FIELD_ID_KEY)?.parse().ok()
}

fn same_names(fields: &[IcebergField], held: &Fields) -> bool {
    let count = |name: &str| held.iter().filter(|field| field.name() == name).count();
    fields.len() == held.len() && fields.iter().all(|field| count(&field.name) == 1)
}

/// A list of the kind of `list`, whose element is `item`, with other elements.
fn list_of(list: &ArrowType, item: &FieldRef, element: ArrowType) -> ArrowType {
    let item = Arc::new(item.as_ref().clone().with_data_type(element));
    match list {
        ArrowType::LargeList(_) => ArrowType::LargeList(item),
        ArrowType::FixedSizeList(_, length) => ArrowType::FixedSizeList(item, *length),
        _ => ArrowType::List(item),
    }
}

fn uuid_text(array: &ArrayRef) -> std::result::Result<ArrayRef, ArrowError> {
    let bytes = array.as_fixed_size_binary();
    let mut texts = StringBuilder::with_capacity(bytes.len(), bytes.len() * UUID_LENGTH);
    let mut text = Uuid::encode_buffer();
    for value in bytes {
        let uuid = value.map(Uuid::from_slice).transpose();
        let uuid = uuid.map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        texts.append_option(uuid.map(|uuid| &*uuid.hyphenated().encode_lower(&mut text)));
    }
    Ok(Arc::new(texts.finish()))
}

#[cfg(test)]
mod tests;
