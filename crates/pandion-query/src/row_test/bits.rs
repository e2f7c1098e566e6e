//! Packing of answers into bits.

use arrow::array::BooleanArray;
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};

/// Bits that are appended in whole words; only the last word may be partly filled.
#[derive(Debug, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
    length: usize,
}

impl Bits {
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self { words: Vec::with_capacity(rows.div_ceil(64)), length: 0 }
    }

    /// One bit per value. What was pushed before has to fill whole words.
    #[inline]
    pub(super) fn push<T: Copy>(&mut self, values: &[T], test: impl Fn(T) -> bool) {
        debug_assert!(self.length.is_multiple_of(64));
        self.words.extend(values.chunks(64).map(|chunk| {
            let bits = chunk.iter().enumerate();
            bits.fold(0_u64, |word, (at, &value)| word | u64::from(test(value)) << at)
        }));
        self.length += values.len();
    }

    /// As [`Self::push`] for the numbers from 0 to `rows`.
    #[inline]
    pub(super) fn push_rows(&mut self, rows: usize, mut test: impl FnMut(usize) -> bool) {
        debug_assert!(self.length.is_multiple_of(64));
        self.words.extend((0..rows).step_by(64).map(|first| {
            let last = rows.min(first + 64);
            (first..last).fold(0_u64, |word, row| word | u64::from(test(row)) << (row - first))
        }));
        self.length += rows;
    }

    pub(super) fn finish(self) -> BooleanBuffer {
        BooleanBuffer::new(Buffer::from_vec(self.words), 0, self.length)
    }
}

/// An answer for each row, in one pass.
pub(super) fn answers(rows: usize, test: impl FnMut(usize) -> Option<bool>) -> BooleanArray {
    let mut test = test;
    let mut values = Vec::with_capacity(rows.div_ceil(64));
    let mut known = Vec::with_capacity(rows.div_ceil(64));
    for first in (0..rows).step_by(64) {
        let (mut value_word, mut known_word) = (0_u64, 0_u64);
        for row in first..rows.min(first + 64) {
            if let Some(value) = test(row) {
                known_word |= 1 << (row - first);
                value_word |= u64::from(value) << (row - first);
            }
        }
        values.push(value_word);
        known.push(known_word);
    }
    let buffer = |words: Vec<u64>| BooleanBuffer::new(Buffer::from_vec(words), 0, rows);
    let nulls = NullBuffer::new(buffer(known));
    BooleanArray::new(buffer(values), (nulls.null_count() > 0).then_some(nulls))
}

/// Whether one of the bits from `start` to `end` is set.
#[inline]
pub(super) fn any_set(words: &[u64], start: usize, end: usize) -> bool {
    if start >= end {
        return false;
    }
    let (first, last) = (start / 64, (end - 1) / 64);
    let from = u64::MAX << (start % 64);
    let to = u64::MAX >> (63 - (end - 1) % 64);
    let word = |at: usize| words.get(at).copied().unwrap_or(0);
    if first == last {
        return word(first) & from & to != 0;
    }
    word(first) & from != 0 || (first + 1..last).any(|at| word(at) != 0) || word(last) & to != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_bits_are_looked_at_from_end_to_end() {
        let words = [1_u64 << 63, 0, 0, 1];
        assert!(any_set(&words, 63, 64) && any_set(&words, 0, 256) && any_set(&words, 192, 193));
        assert!(any_set(&words, 100, 193) && any_set(&words, 5, 64));
        assert!(!any_set(&words, 0, 63) && !any_set(&words, 64, 192) && !any_set(&words, 193, 256));
        assert!(!any_set(&words, 63, 63) && !any_set(&words, 64, 63));
    }

    #[test]
    fn answers_of_any_number_of_rows() {
        for rows in [0, 1, 63, 64, 65, 200] {
            let answer = |row: usize| [None, Some(true), Some(false)][row % 3];
            let expected: BooleanArray = (0..rows).map(answer).collect();
            assert_eq!(answers(rows, answer), expected);
            let mut bits = Bits::with_capacity(rows);
            bits.push_rows(rows, |row| row % 7 == 0);
            let expected: Vec<bool> = (0..rows).map(|row| row % 7 == 0).collect();
            assert_eq!(bits.finish().iter().collect::<Vec<_>>(), expected);
        }
    }
}
