//! Keys of equality deletes: values of columns, in a form in which equal keys are equal bytes.
//!
//! Equal as the reference implementation has it: null equals null, NaN equals NaN, and the two
//! zeros differ. Values of narrower types, from before a column was promoted, are widened first.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BinaryArray, BooleanArray, Decimal128Array, Float32Array,
    Float64Array, Int32Array, Int64Array, StringArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType as ArrowType, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit,
};
use arrow::row::{RowConverter, Rows, SortField};
use iceberg::spec::{
    Literal, NestedFieldRef, PartitionSpec, PrimitiveLiteral, PrimitiveType, SchemaRef,
    TableMetadata, Transform,
};
use pandion_manifest::TableFile;
use pandion_types::{Error, Result};

use crate::deletes::spans::KeySpan;
use crate::guard::{corrupt, unsupported};
use crate::{metadata, partition};

/// Digits of the widest decimal.
const DECIMAL_DIGITS: u8 = 38;

/// The columns that a set of equality delete files compares.
#[derive(Debug)]
pub(crate) struct KeyColumns {
    columns: Vec<KeyColumn>,
    converter: RowConverter,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct KeyColumn {
    pub(crate) id: i32,
    pub(crate) name: String,
    /// What it is called in data files without column ids.
    pub(crate) names: Vec<String>,
    kind: PrimitiveType,
    default: Option<PrimitiveLiteral>,
}

impl KeyColumns {
    /// The columns with these ids, in their present types.
    ///
    /// # Errors
    /// `Corrupt` about the source for ids that no schema of the table has; `Unsupported` for nested
    /// columns.
    pub(crate) fn new(table: &TableMetadata, ids: &[i32]) -> Result<Self> {
        let names = metadata::name_mapping(table)?;
        let columns = ids
            .iter()
            .map(|id| {
                let field = find(table, *id)?;
                let kind = field.field_type.as_primitive_type().ok_or_else(|| {
                    unsupported(format!(
                        "an equality delete compares column {:?}, which is nested: only columns \
                         of single values can be compared",
                        field.name
                    ))
                })?;
                let default = field.initial_default.as_ref();
                Ok(KeyColumn {
                    id: *id,
                    name: field.name.clone(),
                    names: names.get(id).cloned().unwrap_or_default(),
                    kind: kind.clone(),
                    default: default.and_then(Literal::as_primitive_literal),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let fields = columns.iter().map(|column| SortField::new(arrow_type(&column.kind)));
        let converter = RowConverter::new(fields.collect()).map_err(internal)?;
        Ok(Self { columns, converter })
    }

    pub(crate) fn columns(&self) -> &[KeyColumn] {
        &self.columns
    }

    /// The values of rows in the form in which they are compared, from arrays in the order of the
    /// columns.
    ///
    /// # Errors
    /// `Corrupt`, naming `place` and the column, for types that the column cannot have had.
    pub(crate) fn values(&self, arrays: &[ArrayRef], place: &str) -> Result<Vec<ArrayRef>> {
        let arrays = self.columns.iter().zip(arrays);
        arrays.map(|(column, array)| column.normal(array, place)).collect()
    }

    /// Takes values into the spans of the columns.
    pub(crate) fn extend(&self, spans: &mut [KeySpan], values: &[ArrayRef]) {
        for ((column, array), span) in self.columns.iter().zip(values).zip(spans) {
            span.extend(&column.kind, array);
        }
    }

    /// The keys of rows.
    ///
    /// # Errors
    /// `Internal` for values that are not of [`Self::values`].
    pub(crate) fn keys(&self, values: &[ArrayRef]) -> Result<Rows> {
        self.converter.convert_columns(values).map_err(internal)
    }

    /// The values of the only column, when those are whole numbers: equal numbers are equal keys.
    pub(crate) fn integers(&self, values: &[ArrayRef]) -> Option<Int64Array> {
        let ([_], [array]) = (self.columns.as_slice(), values) else { return None };
        match array.data_type() {
            ArrowType::Int64 => Some(array.as_primitive::<Int64Type>().clone()),
            ArrowType::Int32 => {
                Some(array.as_primitive::<Int32Type>().unary::<_, Int64Type>(i64::from))
            }
            _ => None,
        }
    }
}

impl KeyColumn {
    /// The value that every row of a data file without the column has: that of the file's
    /// partition, else the column's default, else null.
    pub(crate) fn absent(
        &self,
        table: &TableMetadata,
        file: &TableFile,
        rows: usize,
    ) -> Result<ArrayRef> {
        let spec = table.partition_spec_by_id(file.spec_id);
        let value = spec.and_then(|spec| self.in_partition(spec, file));
        let value = value.unwrap_or_else(|| self.default.clone());
        repeat(value.as_ref(), &self.kind, rows).ok_or_else(|| {
            corrupt(format!(
                "column {:?} has a value that is none of type {}",
                self.name, self.kind
            ))
        })
    }

    fn in_partition(
        &self,
        spec: &PartitionSpec,
        file: &TableFile,
    ) -> Option<Option<PrimitiveLiteral>> {
        let at = spec.fields().iter().position(|field| {
            field.source_id == self.id && field.transform == Transform::Identity
        })?;
        partition::parse(&file.partition, at, &self.kind)
    }

    /// The values in the column's present type, each in one form only.
    fn normal(&self, array: &ArrayRef, place: &str) -> Result<ArrayRef> {
        let plain = match array.data_type() {
            ArrowType::Dictionary(_, values) => self.cast(array, values, place)?,
            _ => Arc::clone(array),
        };
        if !fits(plain.data_type(), &self.kind) {
            return Err(corrupt(format!(
                "{place}: column {:?} is of type {}, which is no form of {}",
                self.name,
                plain.data_type(),
                self.kind
            )));
        }
        let wanted = arrow_type(&self.kind);
        let plain = match (unit(&self.kind), plain.data_type()) {
            // Instants are compared whatever zone they are shown in.
            (Some(unit), ArrowType::Timestamp(_, zone)) => {
                self.cast(&plain, &ArrowType::Timestamp(unit, zone.clone()), place)?
            }
            (Some(unit), ArrowType::Date32) => {
                self.cast(&plain, &ArrowType::Timestamp(unit, None), place)?
            }
            (None, ArrowType::Time32(_) | ArrowType::Time64(_)) => {
                self.cast(&plain, &ArrowType::Time64(TimeUnit::Microsecond), place)?
            }
            _ => plain,
        };
        let plain = self.cast(&plain, &wanted, place)?;
        Ok(match wanted {
            ArrowType::Float32 => {
                let values = plain.as_primitive::<Float32Type>();
                Arc::new(
                    values.unary::<_, Float32Type>(
                        |value| {
                            if value.is_nan() { f32::NAN } else { value }
                        },
                    ),
                )
            }
            ArrowType::Float64 => {
                let values = plain.as_primitive::<Float64Type>();
                Arc::new(
                    values.unary::<_, Float64Type>(
                        |value| {
                            if value.is_nan() { f64::NAN } else { value }
                        },
                    ),
                )
            }
            _ => plain,
        })
    }

    fn cast(&self, array: &ArrayRef, wanted: &ArrowType, place: &str) -> Result<ArrayRef> {
        if array.data_type() == wanted {
            return Ok(Arc::clone(array));
        }
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(array, wanted, &options).map_err(|error| {
            corrupt(format!("{place}: column {:?} cannot be read as {}", self.name, self.kind))
                .caused_by(error)
        })
    }
}

/// The column with this id, in the newest schema that has it.
fn find(table: &TableMetadata, id: i32) -> Result<NestedFieldRef> {
    let mut schemas: Vec<&SchemaRef> = table.schemas_iter().collect();
    schemas.sort_by_key(|schema| {
        let is_current = schema.schema_id() == table.current_schema_id();
        std::cmp::Reverse((is_current, schema.schema_id()))
    });
    let top = schemas.iter().find_map(|schema| {
        let fields = schema.as_struct().fields();
        fields.iter().find(|field| field.id == id).cloned()
    });
    top.ok_or_else(|| match schemas.iter().find_map(|schema| schema.name_by_field_id(id)) {
        Some(name) => unsupported(format!(
            "an equality delete compares column {name:?}, which is nested in another: only \
             columns at the top level can be compared"
        )),
        None => corrupt(format!(
            "an equality delete compares the column with id {id}, which no schema of the table has"
        )),
    })
}

/// The type in which values of a column are compared.
fn arrow_type(kind: &PrimitiveType) -> ArrowType {
    match kind {
        PrimitiveType::Boolean => ArrowType::Boolean,
        PrimitiveType::Int | PrimitiveType::Date => ArrowType::Int32,
        PrimitiveType::Long
        | PrimitiveType::Time
        | PrimitiveType::Timestamp
        | PrimitiveType::Timestamptz
        | PrimitiveType::TimestampNs
        | PrimitiveType::TimestamptzNs => ArrowType::Int64,
        PrimitiveType::Float => ArrowType::Float32,
        PrimitiveType::Double => ArrowType::Float64,
        PrimitiveType::Decimal { scale, .. } => {
            ArrowType::Decimal128(DECIMAL_DIGITS, i8::try_from(*scale).unwrap_or(i8::MAX))
        }
        PrimitiveType::String => ArrowType::Utf8,
        PrimitiveType::Uuid | PrimitiveType::Fixed(_) | PrimitiveType::Binary => ArrowType::Binary,
    }
}

/// The unit of a column of timestamps.
fn unit(kind: &PrimitiveType) -> Option<TimeUnit> {
    match kind {
        PrimitiveType::Timestamp | PrimitiveType::Timestamptz => Some(TimeUnit::Microsecond),
        PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs => Some(TimeUnit::Nanosecond),
        _ => None,
    }
}

/// Whether a file may hold a column of type `kind` in this form.
fn fits(found: &ArrowType, kind: &PrimitiveType) -> bool {
    match kind {
        PrimitiveType::Boolean => *found == ArrowType::Boolean,
        PrimitiveType::Int => *found == ArrowType::Int32,
        PrimitiveType::Long => matches!(found, ArrowType::Int64 | ArrowType::Int32),
        PrimitiveType::Float => *found == ArrowType::Float32,
        PrimitiveType::Double => matches!(found, ArrowType::Float64 | ArrowType::Float32),
        PrimitiveType::Decimal { scale, .. } => match found {
            ArrowType::Decimal32(_, held)
            | ArrowType::Decimal64(_, held)
            | ArrowType::Decimal128(_, held) => u32::try_from(*held) == Ok(*scale),
            _ => false,
        },
        PrimitiveType::Date => matches!(found, ArrowType::Date32 | ArrowType::Int32),
        PrimitiveType::Time => {
            matches!(found, ArrowType::Time32(_) | ArrowType::Time64(_) | ArrowType::Int64)
        }
        PrimitiveType::Timestamp
        | PrimitiveType::Timestamptz
        | PrimitiveType::TimestampNs
        | PrimitiveType::TimestamptzNs => {
            matches!(found, ArrowType::Timestamp(..) | ArrowType::Date32 | ArrowType::Int64)
        }
        PrimitiveType::String => {
            matches!(found, ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View)
        }
        PrimitiveType::Uuid | PrimitiveType::Fixed(_) | PrimitiveType::Binary => matches!(
            found,
            ArrowType::FixedSizeBinary(_)
                | ArrowType::Binary
                | ArrowType::LargeBinary
                | ArrowType::BinaryView
        ),
    }
}

/// An array of one value, in the type in which the column is compared.
fn repeat(value: Option<&PrimitiveLiteral>, kind: &PrimitiveType, rows: usize) -> Option<ArrayRef> {
    let wanted = arrow_type(kind);
    let Some(value) = value else { return Some(new_null_array(&wanted, rows)) };
    Some(match (value, &wanted) {
        (PrimitiveLiteral::Boolean(value), ArrowType::Boolean) => {
            Arc::new(BooleanArray::from(vec![*value; rows]))
        }
        (PrimitiveLiteral::Int(value), ArrowType::Int32) => {
            Arc::new(Int32Array::from_value(*value, rows))
        }
        (PrimitiveLiteral::Int(value), ArrowType::Int64) => {
            Arc::new(Int64Array::from_value(i64::from(*value), rows))
        }
        (PrimitiveLiteral::Long(value), ArrowType::Int64) => {
            Arc::new(Int64Array::from_value(*value, rows))
        }
        (PrimitiveLiteral::Float(value), ArrowType::Float32) => {
            Arc::new(Float32Array::from_value(value.0, rows))
        }
        (PrimitiveLiteral::Float(value), ArrowType::Float64) => {
            Arc::new(Float64Array::from_value(f64::from(value.0), rows))
        }
        (PrimitiveLiteral::Double(value), ArrowType::Float64) => {
            Arc::new(Float64Array::from_value(value.0, rows))
        }
        (PrimitiveLiteral::Double(value), ArrowType::Float32) => {
            #[expect(clippy::cast_possible_truncation, reason = "it was widened from this type")]
            let value = value.0 as f32;
            Arc::new(Float32Array::from_value(value, rows))
        }
        (PrimitiveLiteral::Int128(value), ArrowType::Decimal128(precision, scale)) => {
            let array = Decimal128Array::from_value(*value, rows);
            Arc::new(array.with_precision_and_scale(*precision, *scale).ok()?)
        }
        (PrimitiveLiteral::String(value), ArrowType::Utf8) => {
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, rows)))
        }
        (PrimitiveLiteral::UInt128(value), ArrowType::Binary) => {
            let bytes = value.to_be_bytes();
            Arc::new(BinaryArray::from_iter_values(std::iter::repeat_n(bytes, rows)))
        }
        (PrimitiveLiteral::Binary(value), ArrowType::Binary) => {
            Arc::new(BinaryArray::from_iter_values(std::iter::repeat_n(value, rows)))
        }
        _ => return None,
    })
}

fn internal(error: arrow::error::ArrowError) -> Error {
    Error::internal("keys of equality deletes cannot be compared").caused_by(error)
}

#[cfg(test)]
mod tests;
