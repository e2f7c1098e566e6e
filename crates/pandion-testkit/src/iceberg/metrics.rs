//! The column metrics of a file, as writers put them into manifests: counts, and bounds that are
//! cut to a number of characters. Columns inside lists, maps and structs have none.

use std::cmp::Ordering;
use std::collections::HashMap;

use arrow::array::RecordBatch;
use iceberg::spec::{
    DataFileBuilder, Datum, Literal, NestedField, PrimitiveLiteral, PrimitiveType, Schema,
};

use super::values::{datum, literals};
use crate::convert::to_u64;

/// The metrics of the primitive columns of a file, by field id.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    value_counts: HashMap<i32, u64>,
    null_value_counts: HashMap<i32, u64>,
    nan_value_counts: HashMap<i32, u64>,
    lower_bounds: HashMap<i32, Datum>,
    upper_bounds: HashMap<i32, Datum>,
}

impl Metrics {
    /// The metrics of a batch with the columns of a schema. Bounds of strings and bytes are cut to
    /// `length_max` characters or bytes, if this is given.
    ///
    /// # Errors
    /// A batch of another schema.
    pub(super) fn of(
        batch: &RecordBatch,
        schema: &Schema,
        length_max: Option<usize>,
    ) -> anyhow::Result<Self> {
        let mut metrics = Self::default();
        for (column, field) in batch.columns().iter().zip(schema.as_struct().fields()) {
            if field.field_type.is_primitive() {
                let values = literals(column, &field.field_type)?;
                metrics.add(field, &values, length_max)?;
            }
        }
        Ok(metrics)
    }

    fn add(
        &mut self,
        field: &NestedField,
        values: &[Option<Literal>],
        length_max: Option<usize>,
    ) -> anyhow::Result<()> {
        let Some(primitive) = field.field_type.as_primitive_type() else { return Ok(()) };
        let found: Vec<PrimitiveLiteral> =
            values.iter().flatten().filter_map(Literal::as_primitive_literal).collect();
        self.value_counts.insert(field.id, to_u64(values.len()));
        self.null_value_counts.insert(field.id, to_u64(values.len() - found.len()));
        if matches!(primitive, PrimitiveType::Float | PrimitiveType::Double) {
            let nans = found.iter().filter(|value| value.is_nan()).count();
            self.nan_value_counts.insert(field.id, to_u64(nans));
        }
        let comparable = || found.iter().filter(|value| !value.is_nan());
        let order = |left: &&PrimitiveLiteral, right: &&PrimitiveLiteral| {
            left.partial_cmp(right).unwrap_or(Ordering::Equal)
        };
        if let Some(least) = comparable().min_by(order) {
            self.lower_bounds.insert(field.id, datum(primitive, &cut(least, length_max))?);
        }
        if let Some(bound) = comparable().max_by(order).and_then(|most| cut_up(most, length_max)) {
            self.upper_bounds.insert(field.id, datum(primitive, &bound)?);
        }
        Ok(())
    }

    /// Puts the metrics into an entry of a manifest.
    pub(super) fn describe(self, builder: &mut DataFileBuilder) {
        builder
            .value_counts(self.value_counts)
            .null_value_counts(self.null_value_counts)
            .nan_value_counts(self.nan_value_counts)
            .lower_bounds(self.lower_bounds)
            .upper_bounds(self.upper_bounds);
    }
}

/// The longest allowed prefix, which is no greater than the value.
fn cut(value: &PrimitiveLiteral, length_max: Option<usize>) -> PrimitiveLiteral {
    match (value, length_max) {
        (PrimitiveLiteral::String(text), Some(length)) => {
            PrimitiveLiteral::String(text.chars().take(length).collect())
        }
        (PrimitiveLiteral::Binary(bytes), Some(length)) => {
            PrimitiveLiteral::Binary(bytes.iter().take(length).copied().collect())
        }
        _ => value.clone(),
    }
}

/// The least value of the allowed length that is no less than the value, if there is one.
fn cut_up(value: &PrimitiveLiteral, length_max: Option<usize>) -> Option<PrimitiveLiteral> {
    match (value, length_max) {
        (PrimitiveLiteral::String(text), Some(length)) if text.chars().count() > length => {
            let mut prefix: Vec<char> = text.chars().take(length).collect();
            while let Some(last) = prefix.pop() {
                if let Some(next) = next_character(last) {
                    prefix.push(next);
                    return Some(PrimitiveLiteral::String(prefix.into_iter().collect()));
                }
            }
            None
        }
        (PrimitiveLiteral::Binary(bytes), Some(length)) if bytes.len() > length => {
            let mut prefix = bytes[..length].to_vec();
            while let Some(last) = prefix.pop() {
                if let Some(next) = last.checked_add(1) {
                    prefix.push(next);
                    return Some(PrimitiveLiteral::Binary(prefix));
                }
            }
            None
        }
        _ => Some(value.clone()),
    }
}

/// The character after this one; surrogates are none.
fn next_character(character: char) -> Option<char> {
    let mut after = character..=char::MAX;
    after.next();
    after.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> PrimitiveLiteral {
        PrimitiveLiteral::String(text.to_owned())
    }

    #[test]
    fn bounds_are_cut_to_either_side() {
        assert_eq!(cut(&text("abcdef"), Some(3)), text("abc"));
        assert_eq!(cut_up(&text("abcdef"), Some(3)), Some(text("abd")));
        assert_eq!(cut_up(&text("abc"), Some(3)), Some(text("abc")));
        assert_eq!(cut_up(&text("ab\u{10ffff}x"), Some(3)), Some(text("ac")));
        assert_eq!(cut_up(&text("\u{10ffff}\u{10ffff}"), Some(1)), None);
        assert_eq!(cut_up(&text("\u{d7ff}x"), Some(1)), Some(text("\u{e000}")));
        assert_eq!(cut_up(&text("abcdef"), None), Some(text("abcdef")));
        let bytes = |bytes: &[u8]| PrimitiveLiteral::Binary(bytes.to_vec());
        assert_eq!(cut(&bytes(&[1, 2, 3]), Some(2)), bytes(&[1, 2]));
        assert_eq!(cut_up(&bytes(&[1, 255, 3]), Some(2)), Some(bytes(&[2])));
        assert_eq!(cut_up(&bytes(&[255, 255, 3]), Some(2)), None);
    }
}
