//! Equality deletes by one column of whole numbers: a bit for each number that a batch may hold.
//!
//! Numbers that are written together often lie close together, as ids do that count upwards. Then
//! the keys between the least and the greatest of a batch are few and near, and a bit for each number
//! is cheaper to ask than any table. Where a batch is spread widely nothing is said here, and its
//! keys have to be looked up one by one.

use arrow::array::{Array as _, Int64Array};
use arrow::compute::{max, min};

/// Numbers that a batch may span, for each of its rows.
const SPREAD_MAX: u64 = 64;
/// Keys that are gone through, for each row of a batch.
const KEYS_PER_ROW_MAX: usize = 4;

/// Keys and the sequence numbers that they were deleted with, in ascending order.
#[derive(Debug)]
pub(crate) struct SortedKeys(Vec<(i64, i64)>);

impl SortedKeys {
    pub(crate) fn new(mut keys: Vec<(i64, i64)>) -> Self {
        keys.sort_unstable();
        Self(keys)
    }

    fn between(&self, least: i64, greatest: i64) -> &[(i64, i64)] {
        let start = self.0.partition_point(|(key, _)| *key < least);
        let keys = self.0.get(start..).unwrap_or_default();
        keys.get(..keys.partition_point(|(key, _)| *key <= greatest)).unwrap_or_default()
    }
}

/// The dead numbers between the least and the greatest of a batch.
#[derive(Debug)]
pub(crate) struct DeadNumbers {
    least: i64,
    bits: Vec<u64>,
}

impl DeadNumbers {
    /// Those that keys of `sets` with a higher sequence number than the batch's name; `None` when
    /// the batch holds a null, or when looking keys up one by one is cheaper.
    pub(crate) fn of(
        sets: &[&SortedKeys],
        batch: &Int64Array,
        sequence_number: i64,
    ) -> Option<Self> {
        if batch.null_count() > 0 {
            return None;
        }
        let (least, greatest) = min(batch).zip(max(batch))?;
        let spread = greatest.abs_diff(least);
        let rows = batch.len();
        if spread / SPREAD_MAX >= rows as u64 {
            return None;
        }
        let keys: Vec<&[(i64, i64)]> =
            sets.iter().map(|set| set.between(least, greatest)).collect();
        if keys.iter().map(|keys| keys.len()).sum::<usize>() / KEYS_PER_ROW_MAX > rows {
            return None;
        }
        let words = usize::try_from(spread / u64::from(u64::BITS)).ok()? + 1;
        let mut numbers = Self { least, bits: vec![0; words] };
        for (key, number) in keys.into_iter().flatten() {
            if *number > sequence_number {
                let (word, bit) = numbers.place(*key);
                if let Some(word) = numbers.bits.get_mut(word) {
                    *word |= bit;
                }
            }
        }
        Some(numbers)
    }

    /// Whether a number of the batch is dead.
    pub(crate) fn contains(&self, number: i64) -> bool {
        let (word, bit) = self.place(number);
        self.bits.get(word).is_some_and(|word| word & bit != 0)
    }

    fn place(&self, number: i64) -> (usize, u64) {
        let at = number.abs_diff(self.least);
        let word = usize::try_from(at / u64::from(u64::BITS)).unwrap_or(usize::MAX);
        (word, 1 << (at % u64::from(u64::BITS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(sets: &[&SortedKeys], batch: Vec<Option<i64>>) -> Option<Vec<i64>> {
        let batch = Int64Array::from(batch);
        let numbers = DeadNumbers::of(sets, &batch, 5)?;
        Some(batch.values().iter().copied().filter(|number| numbers.contains(*number)).collect())
    }

    #[test]
    fn only_newer_keys_of_any_set_kill() {
        let some = |values: &[i64]| values.iter().map(|value| Some(*value)).collect();
        let first = SortedKeys::new(vec![(70, 6), (3, 6), (3, 4), (10, 5), (i64::MAX, 9)]);
        let second = SortedKeys::new(vec![(-2, 7), (200, 7), (3, 1)]);
        let sets = [&first, &second];
        assert_eq!(dead(&sets, some(&[-2, 3, 10, 70, 71])).unwrap(), [-2, 3, 70]);
        assert_eq!(dead(&sets, some(&[200, 3, 3, 199])).unwrap(), [200, 3, 3]);
        assert_eq!(dead(&sets, some(&[i64::MAX, i64::MAX - 1])).unwrap(), [i64::MAX]);
        assert_eq!(dead(&sets, some(&[4, 5])), Some(Vec::new()));
        assert_eq!(dead(&[], some(&[4, 5])), Some(Vec::new()));
    }

    #[test]
    fn batches_that_are_spread_or_have_nulls_or_many_keys_are_left_to_others() {
        let none = SortedKeys::new(Vec::new());
        assert_eq!(dead(&[&none], vec![Some(1), None]), None);
        assert_eq!(dead(&[&none], vec![]), None);
        assert_eq!(dead(&[&none], vec![Some(i64::MIN), Some(i64::MAX)]), None);
        assert_eq!(dead(&[&none], vec![Some(0), Some(200)]), None);
        assert_eq!(dead(&[&none], vec![Some(0), Some(127)]), Some(Vec::new()));
        let many = SortedKeys::new((0..20).map(|key| (key / 10, key)).collect());
        assert_eq!(dead(&[&many], vec![Some(0), Some(1)]), None);
    }
}
