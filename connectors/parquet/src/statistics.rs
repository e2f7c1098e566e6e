//! What the footer says of the values of mapped columns.
//!
//! Bounds are bounds and no more: they may be wider than the values, as those of long strings are.
//! NaN is below and above nothing, so that floats within the bounds may stand beside NaN.

use arrow::datatypes::{DataType as ArrowType, TimeUnit};
use pandion_manifest::{ColumnStatistics, StatValue};
use pandion_source::columns;
use pandion_types::{DataType, FieldId, FieldSchema};
use parquet::basic::{ColumnOrder, SortOrder};
use parquet::data_type::ByteArray;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;

use crate::constant;
use crate::file::ParquetFile;
use crate::mapping::Source;

impl ParquetFile {
    /// Statistics of the columns of `fields` over all row groups, in the order of `fields`. Reads
    /// nothing. What is missing, unreliable or of another type than the field's is unknown.
    #[must_use]
    pub fn statistics(&self, fields: &[FieldSchema]) -> Vec<ColumnStatistics> {
        fields.iter().map(|field| self.column_statistics(field, 0..self.row_groups())).collect()
    }

    /// As [`Self::statistics`], over one row group.
    #[must_use]
    pub fn row_group_statistics(
        &self,
        fields: &[FieldSchema],
        row_group: usize,
    ) -> Vec<ColumnStatistics> {
        let groups = row_group..row_group.saturating_add(1).min(self.row_groups());
        fields.iter().map(|field| self.column_statistics(field, groups.clone())).collect()
    }

    fn column_statistics(
        &self,
        field: &FieldSchema,
        row_groups: std::ops::Range<usize>,
    ) -> ColumnStatistics {
        let unknown = ColumnStatistics { field: field.id, null_count: None, min: None, max: None };
        let groups = self.metadata().row_groups().get(row_groups).unwrap_or_default();
        let found = match self.resolve(field) {
            Ok(Source::Column(found)) => found,
            Ok(Source::Value(value)) if constant::array(field, value, 0).is_ok() => {
                let rows = groups.iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0));
                return constant::statistics(field, value, rows.sum());
            }
            Ok(Source::Value(_)) | Err(_) => return unknown,
        };
        let (Some(held_as), Some(read_as)) = (found.held_as(), found.read_as()) else {
            return unknown;
        };
        // Nulls in a struct's only column are not those of the struct.
        let is_struct = matches!(held_as, ArrowType::Struct(_) | ArrowType::Map(..));
        if columns::check(field, read_as).is_err() || found.column.leaves.len() != 1 || is_struct {
            return unknown;
        }
        let leaf = found.column.leaves.start;
        let order = self.metadata().file_metadata().column_order(leaf);
        let mut merged = Merged::default();
        for group in groups.iter().filter(|group| group.num_rows() > 0) {
            merged.add((field.data_type, held_as), group.column(leaf), order);
        }
        merged.finish(field.id)
    }
}

/// Statistics of the row groups so far.
struct Merged {
    null_count: Option<u64>,
    /// `None` when some row group has no such bound.
    min: Option<Option<StatValue>>,
    max: Option<Option<StatValue>>,
}

impl Default for Merged {
    fn default() -> Self {
        Self { null_count: Some(0), min: Some(None), max: Some(None) }
    }
}

impl Merged {
    fn add(
        &mut self,
        types: (DataType, &ArrowType),
        chunk: &ColumnChunkMetaData,
        order: ColumnOrder,
    ) {
        let statistics = chunk.statistics();
        let nulls = statistics.and_then(Statistics::null_count_opt);
        let rows = u64::try_from(chunk.num_values()).unwrap_or(0);
        // Inside of lists, empty lists and null elements count as nulls too.
        let nested = chunk.column_descr().max_rep_level() > 0;
        let row_nulls = nulls.filter(|&nulls| if nested { nulls == 0 } else { nulls <= rows });
        self.null_count = self.null_count.zip(row_nulls).map(|(sum, nulls)| sum + nulls);
        if row_nulls == Some(rows) && rows > 0 {
            // A row group without values bounds nothing.
            return;
        }
        let (min, max) = statistics
            .filter(|_| !nested)
            .map(|statistics| bounds(types, statistics, order))
            .unwrap_or_default();
        let keep_first = |left: &StatValue, right: &StatValue| left < right;
        self.min = extend(self.min.take(), min, keep_first);
        self.max = extend(self.max.take(), max, |left, right| right < left);
    }

    fn finish(self, field: FieldId) -> ColumnStatistics {
        let (mut min, mut max) = (self.min.flatten(), self.max.flatten());
        if let (Some(low), Some(high)) = (&min, &max)
            && high < low
        {
            (min, max) = (None, None);
        }
        ColumnStatistics { field, null_count: self.null_count, min, max }
    }
}

/// The bound over one more row group: unknown if it is unknown there.
fn extend(
    so_far: Option<Option<StatValue>>,
    bound: Option<StatValue>,
    keeps: impl Fn(&StatValue, &StatValue) -> bool,
) -> Option<Option<StatValue>> {
    let (so_far, bound) = (so_far?, bound?);
    match so_far {
        Some(held) if keeps(&held, &bound) => Some(Some(held)),
        _ => Some(Some(bound)),
    }
}

type Bounds = (Option<StatValue>, Option<StatValue>);

/// The bounds of one chunk, if its values are what the field's type says, or become it in a way
/// that keeps their order, and were compared as the field's values are.
fn bounds(
    (data_type, held_as): (DataType, &ArrowType),
    statistics: &Statistics,
    order: ColumnOrder,
) -> Bounds {
    use ArrowType as A;
    match (data_type, statistics, held_as) {
        (DataType::Bool, Statistics::Boolean(values), _) => {
            both(values.min_opt(), values.max_opt(), |&value| Some(StatValue::Bool(value)))
        }
        (
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64,
            Statistics::Int32(values),
            A::Int8 | A::Int16 | A::Int32,
        ) => both(values.min_opt(), values.max_opt(), |&value| {
            Some(StatValue::Int(i64::from(value)))
        }),
        (DataType::Int64 | DataType::Timestamptz, _, _) => moments(statistics, held_as),
        (DataType::Float | DataType::Double, Statistics::Float(values), _) => floats(
            values.min_opt().map(|&value| f64::from(value)),
            values.max_opt().map(|&value| f64::from(value)),
        ),
        (DataType::Double, Statistics::Double(values), _) => {
            floats(values.min_opt().copied(), values.max_opt().copied())
        }
        // The withdrawn bounds of old files compare bytes as signed, and so does an order that the
        // file does not define.
        (
            DataType::VarChar | DataType::Text,
            Statistics::ByteArray(values),
            A::Utf8 | A::LargeUtf8 | A::Utf8View | A::Binary | A::LargeBinary | A::BinaryView,
        ) if !statistics.is_min_max_deprecated()
            && order == ColumnOrder::TYPE_DEFINED_ORDER(SortOrder::UNSIGNED) =>
        {
            both(values.min_opt(), values.max_opt(), string)
        }
        _ => (None, None),
    }
}

fn both<T>(min: Option<&T>, max: Option<&T>, make: impl Fn(&T) -> Option<StatValue>) -> Bounds {
    (min.and_then(&make), max.and_then(&make))
}

fn string(value: &ByteArray) -> Option<StatValue> {
    // Bytes that are cut inside of a character bound nothing that could be compared as text.
    value.as_utf8().ok().map(|text| StatValue::String(text.to_owned()))
}

fn floats(min: Option<f64>, max: Option<f64>) -> Bounds {
    if min.is_some_and(f64::is_nan) || max.is_some_and(f64::is_nan) {
        return (None, None);
    }
    // The format leaves open which zero is meant.
    let min = min.map(|min| if min == 0.0 { -0.0 } else { min });
    let max = max.map(|max| if max == 0.0 { 0.0 } else { max });
    (min.map(StatValue::Float), max.map(StatValue::Float))
}

/// Numbers, and microseconds of timestamps, dates and times.
fn moments(statistics: &Statistics, held_as: &ArrowType) -> Bounds {
    let bounds = match statistics {
        Statistics::Int32(values) => {
            let wide = |value: Option<&i32>| value.map(|&value| i64::from(value));
            (wide(values.min_opt()), wide(values.max_opt()))
        }
        Statistics::Int64(values) => (values.min_opt().copied(), values.max_opt().copied()),
        _ => return (None, None),
    };
    let bound = |value: i64| micros(value, held_as).map(StatValue::Int);
    (bounds.0.and_then(bound), bounds.1.and_then(bound))
}

/// What a value is in microseconds, or as a plain number: the same that its row is read as.
fn micros(value: i64, held_as: &ArrowType) -> Option<i64> {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    match held_as {
        ArrowType::Date32 => value.checked_mul(86_400_000_000),
        ArrowType::Timestamp(Second, _) | ArrowType::Time32(Second) => value.checked_mul(1_000_000),
        ArrowType::Timestamp(Millisecond, _) | ArrowType::Time32(Millisecond) => {
            value.checked_mul(1000)
        }
        ArrowType::Timestamp(Nanosecond, _) | ArrowType::Time64(Nanosecond) => {
            Some(value.div_euclid(1000))
        }
        ArrowType::Timestamp(Microsecond, _)
        | ArrowType::Time64(Microsecond)
        | ArrowType::Int8
        | ArrowType::Int16
        | ArrowType::Int32
        | ArrowType::Int64 => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
