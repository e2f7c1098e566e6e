//! Sets of literals that values are looked up in, built once for a filter.

use datafusion::common::HashSet;
use pandion_filter::Value;

/// Up to so many values are compared one by one, which is faster than hashing.
const FEW: usize = 6;

/// A set of integers.
#[derive(Debug)]
pub(super) enum IntSet {
    Few(Vec<i64>),
    /// One bit for each number from `first` on.
    Dense {
        first: i64,
        bits: Vec<u64>,
    },
    Many(HashSet<i64>),
}

impl IntSet {
    pub(super) fn new(values: impl IntoIterator<Item = i64>) -> Self {
        let mut values: Vec<i64> = values.into_iter().collect();
        values.sort_unstable();
        values.dedup();
        let (Some(&first), Some(&last)) = (values.first(), values.last()) else {
            return Self::Few(values);
        };
        if values.len() <= FEW {
            return Self::Few(values);
        }
        // Not more memory than a set of hashes would take.
        match usize::try_from(last.abs_diff(first)) {
            Ok(span) if span / 64 <= values.len() => {
                let mut bits = vec![0_u64; span / 64 + 1];
                for value in values {
                    let offset = value.abs_diff(first);
                    if let Some(word) = word_of(&mut bits, offset) {
                        *word |= 1 << (offset % 64);
                    }
                }
                Self::Dense { first, bits }
            }
            _ => Self::Many(values.into_iter().collect()),
        }
    }

    #[inline]
    pub(super) fn contains(&self, value: i64) -> bool {
        match self {
            Self::Few(values) => values.contains(&value),
            Self::Dense { first, bits } => is_dense(*first, bits, value),
            Self::Many(values) => values.contains(&value),
        }
    }
}

fn word_of(bits: &mut [u64], offset: u64) -> Option<&mut u64> {
    bits.get_mut(usize::try_from(offset / 64).ok()?)
}

/// Whether the bit of `value` is set, where the first bit stands for `first`.
#[inline]
pub(super) fn is_dense(first: i64, bits: &[u64], value: i64) -> bool {
    #[expect(clippy::cast_sign_loss, reason = "numbers below `first` become large offsets")]
    let offset = value.wrapping_sub(first) as u64;
    usize::try_from(offset / 64)
        .ok()
        .and_then(|word| bits.get(word))
        .is_some_and(|word| word >> (offset % 64) & 1 == 1)
}

/// A set of finite doubles, in which -0 is 0.
#[derive(Debug)]
pub(super) enum FloatSet {
    Few(Vec<f64>),
    /// Their bits.
    Many(HashSet<u64>),
}

impl FloatSet {
    pub(super) fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        values.dedup();
        if values.len() <= FEW {
            Self::Few(values)
        } else {
            Self::Many(values.into_iter().map(float_key).collect())
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Few(values) if values.is_empty())
    }

    #[inline]
    pub(super) fn contains(&self, value: f64) -> bool {
        match self {
            Self::Few(values) => values.contains(&value),
            Self::Many(values) => values.contains(&float_key(value)),
        }
    }
}

/// The same for numbers that are equal; NaN has a key that no finite number has.
#[inline]
pub(super) fn float_key(value: f64) -> u64 {
    if value == 0.0 { 0 } else { value.to_bits() }
}

/// A set of strings.
#[derive(Debug)]
pub(super) enum TextSet {
    Few(Vec<String>),
    Many(HashSet<String>),
}

impl TextSet {
    pub(super) fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let values: HashSet<String> = values.into_iter().map(str::to_owned).collect();
        if values.len() <= FEW {
            Self::Few(values.into_iter().collect())
        } else {
            Self::Many(values)
        }
    }

    #[inline]
    pub(super) fn contains(&self, value: &str) -> bool {
        match self {
            Self::Few(values) => values.iter().any(|known| known == value),
            Self::Many(values) => values.contains(value),
        }
    }
}

/// The numbers among literals, where integers are looked up.
#[derive(Debug)]
pub(super) struct NumberSet {
    /// The integers, compared exactly.
    pub(super) integers: IntSet,
    /// The other numbers, compared as doubles.
    pub(super) fractions: FloatSet,
}

impl NumberSet {
    /// `None` when there are no numbers among the literals.
    pub(super) fn new(values: &[Value]) -> Option<Self> {
        let integers = || {
            values.iter().filter_map(|value| match value {
                Value::Int(value) | Value::Timestamp(value) => Some(*value),
                _ => None,
            })
        };
        let fractions = || {
            values.iter().filter_map(|value| match value {
                Value::Float(value) => Some(*value),
                _ => None,
            })
        };
        (integers().next().is_some() || fractions().next().is_some()).then(|| Self {
            integers: IntSet::new(integers()),
            fractions: FloatSet::new(fractions()),
        })
    }

    #[inline]
    pub(super) fn contains(&self, value: i64) -> bool {
        self.integers.contains(value)
            || (!self.fractions.is_empty() && self.fractions.contains(value as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_arrangement_are_found() {
        let few = vec![i64::MIN, 0, i64::MAX];
        let dense: Vec<i64> = (-500..500).filter(|value| value % 3 == 0).collect();
        let many: Vec<i64> = (-500_i64..500).map(|value| value * 1_000_003).collect();
        let edges: Vec<i64> = (0..10).flat_map(|by| [i64::MIN + by, i64::MAX - by]).collect();
        for values in [vec![], few, dense, many, edges] {
            let set = IntSet::new(values.iter().copied().rev());
            let near = values.iter().flat_map(|&value| {
                [value.wrapping_sub(1), value, value.wrapping_add(1), value ^ (1 << 40)]
            });
            for value in near.chain([0, i64::MIN, i64::MAX]) {
                assert_eq!(set.contains(value), values.contains(&value), "{value} in {set:?}");
            }
        }
    }

    #[test]
    fn zeros_are_equal_and_nan_is_nowhere() {
        for count in [1, 100] {
            let set = FloatSet::new((0..count).map(|value| -f64::from(value)));
            assert!(set.contains(0.0) && set.contains(-0.0));
            assert!(!set.contains(f64::NAN) && !set.contains(0.5) && !set.contains(f64::INFINITY));
        }
    }
}
