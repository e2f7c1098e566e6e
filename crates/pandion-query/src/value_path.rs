//! Places in a row whose values decide the order or the groups of hits.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int8Array, Int16Array, Int32Array, Int64Array, StringArray,
};
use pandion_filter::PathSegment;
use pandion_types::{DataType, Error, FieldId, Result, RowId};
use serde_json::Value;

use crate::counters::Counters;
use crate::engine::QueryEngine;
use crate::request::OutputColumn;
use crate::snapshot::Snapshot;

/// A field, or a value inside of a JSON field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValuePath {
    /// The field.
    pub field: FieldId,
    /// The steps from the root of the document; empty for fields of other types.
    pub path: Vec<PathSegment>,
}

/// The type that JSON values are brought to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonCast {
    /// Bool, Int8 to Int64 or VarChar.
    pub to: DataType,
    /// Whether only values of that very JSON type count. Otherwise a number or truth value may
    /// stand as a string, and every value has a text.
    pub strict: bool,
}

impl QueryEngine {
    /// The columns of fields for rows, in the order of `fields` and of `rows`, which both may
    /// repeat. They are not for an answer: only the memory of the request bounds them.
    pub(crate) async fn take_repeating(
        &self,
        snapshot: &Arc<Snapshot>,
        fields: &[FieldId],
        rows: &[RowId],
        counters: &Arc<Counters>,
    ) -> Result<Vec<OutputColumn>> {
        let mut distinct = fields.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let bytes_max = self.limits().memory_bytes_max;
        let columns =
            self.take_within(snapshot, &distinct, rows.to_vec(), bytes_max, counters).await?;
        fields
            .iter()
            .map(|id| {
                let column = columns.iter().find(|column| column.field.id == *id);
                column.cloned().ok_or_else(|| Error::internal("a taken column was lost"))
            })
            .collect()
    }
}

/// The values at `path` in the documents of a column, `None` where it leads nowhere or to null. As
/// in filters, no path leads anywhere in a document that is not JSON.
///
/// # Errors
/// `Internal` when the column holds no texts.
pub(crate) fn json_values(column: &ArrayRef, path: &[PathSegment]) -> Result<Vec<Option<Value>>> {
    let documents: &StringArray = column
        .as_string_opt::<i32>()
        .ok_or_else(|| Error::internal("a JSON column does not hold texts"))?;
    let values = documents.iter().map(|document| {
        let mut document: Value = serde_json::from_str(document?).ok()?;
        let found = path.iter().try_fold(&mut document, step).map(Value::take);
        found.filter(|value| !value.is_null())
    });
    Ok(values.collect())
}

fn step<'a>(value: &'a mut Value, segment: &PathSegment) -> Option<&'a mut Value> {
    match (value, segment) {
        (Value::Object(members), PathSegment::Key(key)) => members.get_mut(key),
        (Value::Object(members), PathSegment::Index(index)) => members.get_mut(&index.to_string()),
        (Value::Array(elements), PathSegment::Index(index)) => {
            elements.get_mut(usize::try_from(*index).ok()?)
        }
        _ => None,
    }
}

/// The values as a column of the type, null where they do not fit it.
pub(crate) fn cast(values: &[Option<Value>], cast: JsonCast) -> Result<ArrayRef> {
    let strict = cast.strict;
    let integers = || values.iter().map(|value| integer(value.as_ref()?, strict));
    Ok(match cast.to {
        DataType::Bool => Arc::new(
            values.iter().map(|value| boolean(value.as_ref()?, strict)).collect::<BooleanArray>(),
        ),
        DataType::Int8 => {
            Arc::new(integers().map(|value| i8::try_from(value?).ok()).collect::<Int8Array>())
        }
        DataType::Int16 => {
            Arc::new(integers().map(|value| i16::try_from(value?).ok()).collect::<Int16Array>())
        }
        DataType::Int32 => {
            Arc::new(integers().map(|value| i32::try_from(value?).ok()).collect::<Int32Array>())
        }
        DataType::Int64 => Arc::new(integers().collect::<Int64Array>()),
        DataType::VarChar => Arc::new(
            values.iter().map(|value| text(value.as_ref()?, strict)).collect::<StringArray>(),
        ),
        other => {
            return Err(Error::invalid_argument(format!(
                "json_type {other} is not supported: use Bool, Int8, Int16, Int32, Int64 or VarChar"
            )));
        }
    })
}

fn boolean(value: &Value, strict: bool) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) if !strict => text.parse().ok(),
        _ => None,
    }
}

fn integer(value: &Value, strict: bool) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) if !strict => text.parse().ok(),
        _ => None,
    }
}

/// A number such as `3.0`.
#[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
fn whole(number: f64) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT_MAX).then_some(number as i64)
}

fn text(value: &Value, strict: bool) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        other if !strict => Some(other.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> PathSegment {
        PathSegment::Key(name.to_owned())
    }

    #[test]
    fn paths_lead_to_values_or_nowhere() {
        let documents = [
            Some(r#"{"a": {"b": [1, "x"]}, "n": null}"#),
            Some(r#"{"a": 5}"#),
            None,
            Some("[7]"),
            Some(r#"{"0": 8}"#),
        ];
        let column: ArrayRef = Arc::new(StringArray::from_iter(documents));
        let at = |path: &[PathSegment]| json_values(&column, path).unwrap();
        let second = at(&[key("a"), key("b"), PathSegment::Index(1)]);
        assert_eq!(second, [Some(Value::from("x")), None, None, None, None]);
        assert_eq!(at(&[key("n")]), vec![None; 5]);
        let first = at(&[PathSegment::Index(0)]);
        assert_eq!(first, [None, None, None, Some(Value::from(7)), Some(Value::from(8))]);
        let broken: ArrayRef = Arc::new(StringArray::from(vec!["{"]));
        assert_eq!(json_values(&broken, &[]).unwrap(), [None]);
    }

    #[test]
    fn casts_keep_what_fits() {
        let values: Vec<Option<Value>> = [r#""12""#, "12", "3.0", "300", "true", "1.5", "[1]"]
            .map(|text| Some(serde_json::from_str(text).unwrap()))
            .into();
        let cast = |to, strict| cast(&values, JsonCast { to, strict }).unwrap();
        let lax = cast(DataType::Int8, false);
        let lax: &Int8Array = lax.as_primitive();
        let expected = [Some(12), Some(12), Some(3), None, None, None, None];
        assert_eq!(lax.iter().collect::<Vec<_>>(), expected);
        assert_eq!(cast(DataType::Int64, true).null_count(), 4);
        assert_eq!(cast(DataType::Bool, true).null_count(), 6);
        let texts = cast(DataType::VarChar, false);
        let texts: Vec<_> = texts.as_string::<i32>().iter().flatten().map(str::to_owned).collect();
        assert_eq!(texts, ["12", "12", "3.0", "300", "true", "1.5", "[1]"]);
        assert_eq!(cast(DataType::VarChar, true).null_count(), 6);
    }

    #[test]
    fn other_types_are_refused() {
        let error = cast(&[], JsonCast { to: DataType::Double, strict: false }).unwrap_err();
        assert!(error.message().contains("json_type Double"), "{error}");
    }
}
