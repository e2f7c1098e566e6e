//! What a file's partition says of its rows.
//!
//! A partition's value is known before the file is opened and holds for every row: an identity is
//! the value itself, truncation and the transforms of time are ranges, a bucket is a bucket. Nothing
//! here compares partitions with filters.

use iceberg::spec::Transform;
use iceberg::spec::{Literal, PartitionSpec, PrimitiveLiteral, PrimitiveType, Schema, Struct};
use pandion_manifest::{Bucket, ColumnStatistics, StatValue, TableFile};
use pandion_types::{DataType, Result};
use serde_json::{Value, json};

use crate::columns::Columns;
use crate::guard::{corrupt, unsupported};
use crate::values::{self, Bound, MICROS_PER_DAY};

const MICROS_PER_HOUR: i64 = 3_600_000_000;

/// The fields of a partition spec whose source columns are mapped.
#[derive(Debug)]
pub(crate) struct MappedPartition {
    fields: Vec<MappedPartitionField>,
    /// Fields of the spec.
    len: usize,
}

#[derive(Debug)]
struct MappedPartitionField {
    /// Place in the partition's value.
    at: usize,
    /// Places in [`Columns::mapped`].
    mapped: Vec<usize>,
    transform: Transform,
    /// Type of the source column when the manifest was written.
    source_type: PrimitiveType,
}

impl MappedPartition {
    /// The spec of a manifest that was written under `schema`.
    pub(crate) fn new(spec: &PartitionSpec, schema: &Schema, columns: &Columns) -> Self {
        let fields = spec.fields().iter().enumerate();
        let fields = fields.filter_map(|(at, field)| {
            let mapped = columns.of_column(field.source_id);
            let source = schema.field_by_id(field.source_id)?;
            let source_type = source.field_type.as_primitive_type()?.clone();
            let transform = field.transform;
            let is_known = !matches!(transform, Transform::Void | Transform::Unknown);
            (is_known && !mapped.is_empty()).then(|| MappedPartitionField {
                at,
                mapped: mapped.to_vec(),
                transform,
                source_type,
            })
        });
        Self { fields: fields.collect(), len: spec.fields().len() }
    }

    /// Adds what the partition says to the statistics, which are those of [`Columns::mapped`] in
    /// order, of a file of `rows` rows, and to the table's part of the file.
    ///
    /// # Errors
    /// `Corrupt` when the value has another number of fields than the spec; `Unsupported` for an
    /// identity whose value cannot be one of the field.
    pub(crate) fn apply(
        &self,
        partition: &Struct,
        columns: &Columns,
        rows: u64,
        statistics: &mut [ColumnStatistics],
        file: &mut TableFile,
    ) -> Result<()> {
        if partition.fields().len() != self.len {
            return Err(corrupt(format!(
                "the partition has {} values, its spec {} fields",
                partition.fields().len(),
                self.len
            )));
        }
        for field in &self.fields {
            let literal = match partition.fields().get(field.at) {
                Some(Some(Literal::Primitive(literal))) => Some(literal),
                _ => None,
            };
            for &at in &field.mapped {
                let (Some(mapped), Some(statistics)) =
                    (columns.mapped().get(at), statistics.get_mut(at))
                else {
                    continue;
                };
                // Every transform keeps null, and gives null for nothing else.
                statistics.null_count = Some(if literal.is_some() { 0 } else { rows });
                if literal.is_none() {
                    (statistics.min, statistics.max) = (None, None);
                }
                let data_type = mapped.field.data_type;
                if field.transform == Transform::Identity {
                    let value = literal
                        .map(|literal| values::value(literal, &field.source_type, data_type));
                    if value == Some(None) {
                        return Err(unsupported(format!(
                            "field '{}' (external_field '{}'): the table is partitioned by the \
                             column, whose values cannot be a {data_type}",
                            mapped.field.name, mapped.column.name
                        )));
                    }
                    file.constants.push((mapped.field.id, value.flatten()));
                }
                if let Transform::Bucket(buckets) = field.transform {
                    file.buckets.extend(bucket(mapped.field.id, buckets, literal));
                }
                if let Some(literal) = literal {
                    let bounds = field.bounds(literal, data_type);
                    tighten(statistics, bounds);
                }
            }
        }
        file.constants.sort_by_key(|(field, _)| *field);
        file.constants.dedup_by_key(|(field, _)| *field);
        file.buckets.sort_by_key(|bucket| bucket.field);
        file.buckets.dedup_by_key(|bucket| bucket.field);
        Ok(())
    }
}

type Bounds = (Option<StatValue>, Option<StatValue>);

impl MappedPartitionField {
    fn bounds(&self, literal: &PrimitiveLiteral, data_type: DataType) -> Bounds {
        let bound = |side| values::bound(literal, &self.source_type, data_type, side);
        match (self.transform, literal) {
            (Transform::Identity, _) => (bound(Bound::Lower), bound(Bound::Upper)),
            (Transform::Truncate(width), PrimitiveLiteral::String(prefix)) => {
                // A value that is shorter than the width was not cut.
                let is_whole = prefix.chars().count() < width as usize;
                (bound(Bound::Lower), bound(Bound::Upper).filter(|_| is_whole))
            }
            (Transform::Truncate(width), PrimitiveLiteral::Int(_) | PrimitiveLiteral::Long(_)) => {
                let max = match bound(Bound::Upper) {
                    Some(StatValue::Int(value)) => {
                        Some(StatValue::Int(value.saturating_add(i64::from(width) - 1)))
                    }
                    _ => None,
                };
                (bound(Bound::Lower), max)
            }
            (Transform::Year | Transform::Month | Transform::Day | Transform::Hour, _) => {
                let PrimitiveLiteral::Int(ordinal) = literal else { return (None, None) };
                let is_date = self.source_type == PrimitiveType::Date;
                let fits = data_type == DataType::Timestamptz
                    || (data_type == DataType::Int64 && !is_date);
                let range = time_range(self.transform, i64::from(*ordinal)).filter(|_| fits);
                let range =
                    range.map(|(first, last)| (StatValue::Int(first), StatValue::Int(last)));
                range.unzip()
            }
            _ => (None, None),
        }
    }
}

fn bucket(
    field: pandion_types::FieldId,
    buckets: u32,
    literal: Option<&PrimitiveLiteral>,
) -> Option<Bucket> {
    let bucket = match literal {
        None => None,
        Some(PrimitiveLiteral::Int(bucket)) => {
            // What no hash can give says nothing.
            Some(u32::try_from(*bucket).ok().filter(|bucket| *bucket < buckets)?)
        }
        Some(_) => return None,
    };
    Some(Bucket { field, buckets, bucket })
}

/// The first and last microsecond that a transform of time maps to `ordinal`. `None` when they
/// do not fit.
///
/// Old writers rounded what lies before 1970 towards it, so that the last period before each
/// ordinal that is not positive may have been given to it as well.
fn time_range(transform: Transform, ordinal: i64) -> Option<(i64, i64)> {
    let start = |ordinal: i64| match transform {
        Transform::Year => first_day(ordinal.checked_add(1970)?, 0)?.checked_mul(MICROS_PER_DAY),
        Transform::Month => {
            let year = 1970 + ordinal.div_euclid(12);
            first_day(year, ordinal.rem_euclid(12))?.checked_mul(MICROS_PER_DAY)
        }
        Transform::Day => ordinal.checked_mul(MICROS_PER_DAY),
        Transform::Hour => ordinal.checked_mul(MICROS_PER_HOUR),
        _ => None,
    };
    let first = if ordinal <= 0 { ordinal - 1 } else { ordinal };
    Some((start(first)?, start(ordinal + 1)? - 1))
}

/// Days from 1970-01-01 to the first of a month, counted from 0, in the proleptic Gregorian
/// calendar.
fn first_day(year: i64, month: i64) -> Option<i64> {
    if !(-300_000..=300_000).contains(&year) {
        return None;
    }
    // Years that begin in March put the leap day last.
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Makes bounds as narrow as both sources of them say. Bounds that contradict each other tell
/// nothing.
fn tighten(statistics: &mut ColumnStatistics, (min, max): Bounds) {
    let narrower =
        |held: Option<StatValue>, new: Option<StatValue>, wins: fn(&_, &_) -> bool| match (
            held, new,
        ) {
            (Some(held), Some(new)) => Some(if wins(&new, &held) { new } else { held }),
            (held, new) => held.or(new),
        };
    statistics.min = narrower(statistics.min.take(), min, |new, held| held < new);
    statistics.max = narrower(statistics.max.take(), max, |new, held| new < held);
    if let (Some(min), Some(max)) = (&statistics.min, &statistics.max)
        && max < min
    {
        (statistics.min, statistics.max) = (None, None);
    }
}

/// A partition's value in a canonical text, from which [`parse`] reads it back. Empty for a
/// partition without fields.
pub(crate) fn text(partition: &Struct) -> String {
    if partition.fields().is_empty() {
        return String::new();
    }
    let values = partition.iter().map(|value| match value {
        Some(Literal::Primitive(literal)) => to_json(literal),
        _ => Value::Null,
    });
    Value::Array(values.collect()).to_string()
}

fn to_json(literal: &PrimitiveLiteral) -> Value {
    match literal {
        PrimitiveLiteral::Boolean(value) => json!(value),
        PrimitiveLiteral::Int(value) => json!(value),
        PrimitiveLiteral::Long(value) => json!(value),
        PrimitiveLiteral::String(value) => json!(value),
        // Floats by their bits, all NaN alike; widening keeps equal what is equal.
        PrimitiveLiteral::Float(value) => float_bits(f64::from(value.0)),
        PrimitiveLiteral::Double(value) => float_bits(value.0),
        PrimitiveLiteral::Int128(value) => json!({"decimal": value.to_string()}),
        PrimitiveLiteral::UInt128(value) => json!({"uuid": format!("{value:032x}")}),
        PrimitiveLiteral::Binary(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({"bytes": hex})
        }
        PrimitiveLiteral::AboveMax | PrimitiveLiteral::BelowMin => Value::Null,
    }
}

fn float_bits(value: f64) -> Value {
    let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
    json!({"float": format!("{bits:016x}")})
}

/// The literal at a place in a text that [`text`] wrote, for a column of type `kind`: outside of it
/// none, at null the inner `None`.
pub(crate) fn parse(
    text: &str,
    at: usize,
    kind: &PrimitiveType,
) -> Option<Option<PrimitiveLiteral>> {
    let values: Vec<Value> = serde_json::from_str(text).ok()?;
    let literal = match values.get(at)? {
        Value::Null => return Some(None),
        Value::Bool(value) => PrimitiveLiteral::Boolean(*value),
        Value::Number(number) => {
            let value = number.as_i64()?;
            match kind {
                PrimitiveType::Int | PrimitiveType::Date => {
                    PrimitiveLiteral::Int(i32::try_from(value).ok()?)
                }
                _ => PrimitiveLiteral::Long(value),
            }
        }
        Value::String(value) => PrimitiveLiteral::String(value.clone()),
        Value::Object(object) => {
            let (form, value) = object.iter().next()?;
            let value = value.as_str()?;
            match form.as_str() {
                "float" => {
                    let value = f64::from_bits(u64::from_str_radix(value, 16).ok()?);
                    PrimitiveLiteral::Double(value.into())
                }
                "decimal" => PrimitiveLiteral::Int128(value.parse().ok()?),
                "uuid" => PrimitiveLiteral::UInt128(u128::from_str_radix(value, 16).ok()?),
                "bytes" => PrimitiveLiteral::Binary(from_hex(value)?),
                _ => return None,
            }
        }
        Value::Array(_) => return None,
    };
    Some(Some(literal))
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = hex.chars().map(|digit| digit.to_digit(16)).collect();
    let pairs = digits?;
    pairs
        .chunks_exact(2)
        .map(|pair| match pair {
            &[high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests;
