//! `random_sample`: keeps each row with the same probability.
//!
//! Whether a row is kept follows from its row id and a seed, and from nothing else: wherever and
//! however often one request looks at a row, it decides the same.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType as ArrowType, Int64Type, Schema};
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;

/// Whether a row is part of the sample.
#[derive(Debug, Eq)]
pub(crate) struct Sample {
    key: Arc<dyn PhysicalExpr>,
    /// Rows whose number is below are kept.
    limit: u64,
    seed: u64,
}

impl Sample {
    /// `key` gives the row ids as 64-bit integers; `factor` is the part that is kept, from 0 to 1.
    pub(crate) fn new(key: Arc<dyn PhysicalExpr>, factor: f64, seed: u64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of all numbers; the cast stays within them"
        )]
        let limit = (factor * 18_446_744_073_709_551_616.0) as u64;
        Self { key, limit, seed }
    }

    fn keeps(&self, key: i64) -> bool {
        mixed(key.cast_unsigned().wrapping_add(mixed(self.seed))) < self.limit
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
/// 2014), whose bits each depend on every bit of the number.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

// Written out because a derived one would move the key.
impl PartialEq for Sample {
    fn eq(&self, other: &Self) -> bool {
        self.key.eq(&other.key) && self.limit == other.limit && self.seed == other.seed
    }
}

impl Hash for Sample {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
        self.limit.hash(state);
        self.seed.hash(state);
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "random_sample({} of 2^64, seed {})", self.limit, self.seed)
    }
}

impl PhysicalExpr for Sample {
    fn data_type(&self, _: &Schema) -> DataFusionResult<ArrowType> {
        Ok(ArrowType::Boolean)
    }

    fn nullable(&self, _: &Schema) -> DataFusionResult<bool> {
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DataFusionResult<ColumnarValue> {
        let keys = self.key.evaluate(batch)?.into_array(batch.num_rows())?;
        let keys = keys
            .as_primitive_opt::<Int64Type>()
            .filter(|keys| keys.null_count() == 0)
            .ok_or_else(|| DataFusionError::Internal("a row has no id".to_owned()))?;
        let kept: BooleanBuffer = keys.values().iter().map(|&key| self.keeps(key)).collect();
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::new(kept, None))))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.key]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        let mut children = children.into_iter();
        match (children.next(), children.next()) {
            (Some(key), None) => Ok(Arc::new(Self { key, limit: self.limit, seed: self.seed })),
            _ => Err(DataFusionError::Internal("a sample is taken by one key".to_owned())),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::Field;
    use datafusion::physical_expr::expressions::Column;

    use super::*;

    fn kept(factor: f64, seed: u64, keys: &[i64]) -> Vec<bool> {
        let schema = Arc::new(Schema::new(vec![Field::new("key", ArrowType::Int64, false)]));
        let array = Arc::new(Int64Array::from(keys.to_vec()));
        let batch = RecordBatch::try_new(schema, vec![array]).unwrap();
        let sample = Sample::new(Arc::new(Column::new("key", 0)), factor, seed);
        let values = sample.evaluate(&batch).unwrap().into_array(keys.len()).unwrap();
        values.as_boolean().values().iter().collect()
    }

    #[test]
    fn about_the_asked_part_is_kept_whatever_the_keys() {
        let near: Vec<i64> = (0..20_000).collect();
        let far: Vec<i64> = (0..20_000).map(|at| at << 32 | 7).collect();
        for keys in [near, far] {
            for (factor, seed) in [(0.01, 1), (0.5, 2), (0.9, 3)] {
                let count = kept(factor, seed, &keys).iter().filter(|kept| **kept).count();
                let expected = factor * 20_000.0;
                // Six standard deviations.
                let allowed = 6.0 * (expected * (1.0 - factor)).sqrt();
                assert!((f64::from(u32::try_from(count).unwrap()) - expected).abs() < allowed);
            }
        }
    }

    #[test]
    fn the_seed_decides_and_nothing_else() {
        let keys: Vec<i64> = (0..1000).collect();
        let all = kept(0.5, 9, &keys);
        assert_eq!(kept(0.5, 9, &keys[300..]), all[300..]);
        assert_ne!(kept(0.5, 10, &keys), all);
        // Who is in a small sample is in a larger one, too.
        let fewer = kept(0.25, 9, &keys);
        assert!(fewer.iter().zip(&all).all(|(fewer, all)| !fewer || *all));
        assert!(!kept(1e-10, 9, &keys).contains(&true));
    }
}
