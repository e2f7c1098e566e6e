//! Order of hits by values of their rows instead of by score.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray};
use arrow::compute::SortOptions;
use arrow::row::{RowConverter, SortField};
use pandion_types::{DataType, Error, FieldId, Result, RowId};
use serde_json::Value;

use crate::counters::Counters;
use crate::engine::QueryEngine;
use crate::request::SearchHit;
use crate::snapshot::Snapshot;
use crate::value_path::{ValuePath, json_values};

/// One key of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderKey {
    /// Where the value stands. Inside of a JSON field, strings come before numbers, numbers before
    /// truth values, and these before arrays and objects, which are compared as texts.
    pub source: ValuePath,
    /// Largest first.
    pub descending: bool,
    /// Rows without a value come first, whatever the direction.
    pub nulls_first: bool,
}

impl QueryEngine {
    /// Orders the units of each query (single hits, or groups of hits) by the values of their first
    /// hits. Units with equal values keep their order.
    pub(crate) async fn order(
        &self,
        snapshot: &Arc<Snapshot>,
        keys: &[OrderKey],
        queries: &mut [Vec<Vec<SearchHit>>],
        counters: &Arc<Counters>,
    ) -> Result<()> {
        let first = |unit: &Vec<SearchHit>| unit.first().map(|hit| hit.row);
        let rows: Vec<RowId> = queries.iter().flatten().filter_map(first).collect();
        let fields: Vec<FieldId> = keys.iter().map(|key| key.source.field).collect();
        let columns = self.take_repeating(snapshot, &fields, &rows, counters).await?;
        let mut sort_fields = Vec::with_capacity(keys.len());
        let mut values = Vec::with_capacity(keys.len());
        for (key, column) in keys.iter().zip(columns) {
            let column = if column.field.data_type == DataType::Json {
                json_keys(&json_values(&column.values, &key.source.path)?)
            } else {
                column.values
            };
            let options = SortOptions { descending: key.descending, nulls_first: key.nulls_first };
            sort_fields.push(SortField::new_with_options(column.data_type().clone(), options));
            values.push(column);
        }
        let failed = |error| Error::internal("encoding values to order by failed").caused_by(error);
        let converter = RowConverter::new(sort_fields).map_err(failed)?;
        let encoded = converter.convert_columns(&values).map_err(failed)?;
        let mut next = 0;
        for units in queries {
            let mut keyed: Vec<_> = (next..).zip(std::mem::take(units)).collect();
            next += keyed.len();
            keyed.sort_by_key(|(at, _)| encoded.row(*at));
            *units = keyed.into_iter().map(|(_, unit)| unit).collect();
        }
        Ok(())
    }
}

/// Bytes that compare as the values do.
fn json_keys(values: &[Option<Value>]) -> ArrayRef {
    let key = |value: &Value| match value {
        Value::String(text) => [b"0", text.as_bytes()].concat(),
        Value::Number(number) => {
            let bits = (number.as_f64().unwrap_or(f64::NAN) + 0.0).to_bits();
            // Negative numbers, whose sign bit is set, come first and the smallest of them before.
            let ordered = if bits >> 63 == 1 { !bits } else { bits | (1 << 63) };
            [b"1".as_slice(), &ordered.to_be_bytes()].concat()
        }
        Value::Bool(value) => vec![b'2', u8::from(*value)],
        other => format!("3{other}").into_bytes(),
    };
    Arc::new(BinaryArray::from_iter(values.iter().map(|value| value.as_ref().map(key))))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::*;

    #[test]
    fn json_keys_compare_as_their_values() {
        let ordered = [
            r#""""#,
            r#""10""#,
            r#""9""#,
            "-1e300",
            "-2",
            "-0.5",
            "0",
            "1",
            "1.5",
            "9",
            "10",
            "18446744073709551615",
            "false",
            "true",
            "[1]",
            "{}",
        ];
        let values: Vec<Option<Value>> = ordered
            .iter()
            .map(|text| Some(serde_json::from_str(text).unwrap()))
            .chain([None])
            .collect();
        let keys = json_keys(&values);
        assert!(keys.is_null(ordered.len()));
        let keys: Vec<&[u8]> = keys.as_binary::<i32>().iter().flatten().collect();
        assert!(keys.is_sorted_by(|left, right| left < right), "{keys:?}");
        let zeros = json_keys(&[Some(Value::from(-0.0)), Some(Value::from(0))]);
        assert_eq!(zeros.as_binary::<i32>().value(0), zeros.as_binary::<i32>().value(1));
    }
}
