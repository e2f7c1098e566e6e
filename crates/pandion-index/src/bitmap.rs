//! A set of rows of one block or file.

/// A bitmap of a fixed number of rows; row 0 is the lowest bit of the first word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    words: Vec<u64>,
    len: usize,
}

impl Bitmap {
    /// `len` rows, none of them in the set.
    #[must_use]
    pub fn empty(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len }
    }

    /// `len` rows, all of them in the set.
    #[must_use]
    pub fn full(len: usize) -> Self {
        let mut bitmap = Self { words: vec![u64::MAX; len.div_ceil(64)], len };
        bitmap.clear_tail();
        bitmap
    }

    /// `len` rows, those in the set whose bits are 1 in `words`; bits at and above `len` are ignored.
    /// `None` when there are not as many words as it takes.
    #[must_use]
    pub fn from_words(words: Vec<u64>, len: usize) -> Option<Self> {
        (words.len() == len.div_ceil(64)).then(|| {
            let mut bitmap = Self { words, len };
            bitmap.clear_tail();
            bitmap
        })
    }

    /// Number of rows that the bitmap speaks of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the bitmap speaks of no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The words; bits at and above `len` are 0.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Whether the row is in the set. Rows at and above `len` are not.
    #[must_use]
    pub fn get(&self, row: usize) -> bool {
        self.words.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Puts the row into the set. Rows at and above `len` are ignored.
    pub fn insert(&mut self, row: usize) {
        debug_assert!(row < self.len, "row {row} of {}", self.len);
        if row < self.len {
            self.words[row / 64] |= 1 << (row % 64);
        }
    }

    /// Takes the row out of the set.
    pub fn remove(&mut self, row: usize) {
        debug_assert!(row < self.len, "row {row} of {}", self.len);
        if let Some(word) = self.words.get_mut(row / 64) {
            *word &= !(1 << (row % 64));
        }
    }

    /// Number of rows in the set.
    #[must_use]
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Keeps the rows that are in both sets.
    ///
    /// # Panics
    /// In debug builds, when the lengths differ.
    pub fn intersect(&mut self, other: &Self) {
        debug_assert_eq!(self.len, other.len, "bitmaps of different lengths");
        for (at, word) in self.words.iter_mut().enumerate() {
            *word &= other.words.get(at).copied().unwrap_or(0);
        }
    }

    /// Adds the rows of the other set.
    ///
    /// # Panics
    /// In debug builds, when the lengths differ.
    pub fn unite(&mut self, other: &Self) {
        debug_assert_eq!(self.len, other.len, "bitmaps of different lengths");
        self.unite_words(&other.words);
    }

    /// Takes out the rows of the other set.
    ///
    /// # Panics
    /// In debug builds, when the lengths differ.
    pub fn subtract(&mut self, other: &Self) {
        debug_assert_eq!(self.len, other.len, "bitmaps of different lengths");
        self.subtract_words(&other.words);
    }

    /// Adds the rows whose bits are set in `words`.
    pub(crate) fn unite_words(&mut self, words: &[u64]) {
        for (word, other) in self.words.iter_mut().zip(words) {
            *word |= other;
        }
        self.clear_tail();
    }

    /// Takes out the rows whose bits are set in `words`.
    pub(crate) fn subtract_words(&mut self, words: &[u64]) {
        for (word, other) in self.words.iter_mut().zip(words) {
            *word &= !other;
        }
    }

    /// Adds rows; those at and above `len` are ignored.
    pub(crate) fn insert_rows(&mut self, rows: &[u32]) {
        for &row in rows {
            self.insert(row as usize);
        }
    }

    /// Takes rows out.
    pub(crate) fn remove_rows(&mut self, rows: &[u32]) {
        for &row in rows {
            self.remove(row as usize);
        }
    }

    /// Puts every row that is in the set out of it, and every other in.
    pub fn invert(&mut self) {
        self.words.iter_mut().for_each(|word| *word = !*word);
        self.clear_tail();
    }

    /// Replaces the rows from `64 * first_word` on by the bits of `words`; what lies beyond the end
    /// is ignored.
    pub fn write_words(&mut self, first_word: usize, words: impl IntoIterator<Item = u64>) {
        let rest = self.words.get_mut(first_word..).unwrap_or_default();
        for (word, new) in rest.iter_mut().zip(words) {
            *word = new;
        }
        self.clear_tail();
    }

    /// Whether no row is in the set.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// The rows `start..start + len` as a bitmap of their own; rows beyond the end are not in it.
    #[must_use]
    pub fn slice(&self, start: usize, len: usize) -> Self {
        let mut part = Self::empty(len);
        let (first, shift) = (start / 64, start % 64);
        for (at, word) in part.words.iter_mut().enumerate() {
            let low = self.words.get(first + at).copied().unwrap_or(0) >> shift;
            let high = if shift == 0 {
                0
            } else {
                self.words.get(first + at + 1).copied().unwrap_or(0) << (64 - shift)
            };
            *word = low | high;
        }
        part.clear_tail();
        part
    }

    /// The rows in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(at, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    at * 64 + bit
                })
            })
        })
    }

    fn clear_tail(&mut self) {
        if !self.len.is_multiple_of(64)
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << (self.len % 64)) - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slice_equals_row_by_row_copy() {
        let mut bitmap = Bitmap::empty(300);
        for row in (0..300).filter(|row| row % 3 == 0 || row % 7 == 1) {
            bitmap.insert(row);
        }
        for (start, len) in [(0, 300), (1, 64), (63, 130), (64, 64), (250, 50), (290, 40)] {
            let part = bitmap.slice(start, len);
            let rows: Vec<_> = part.iter().collect();
            let expected: Vec<_> =
                (0..len).filter(|row| start + row < 300 && bitmap.get(start + row)).collect();
            assert_eq!(rows, expected, "{start}+{len}");
            assert_eq!(part.count(), expected.len());
        }
    }

    #[test]
    fn set_algebra_keeps_to_the_length() {
        let of = |rows: &[usize]| {
            let mut bitmap = Bitmap::empty(70);
            rows.iter().for_each(|&row| bitmap.insert(row));
            bitmap
        };
        let rows = |bitmap: &Bitmap| bitmap.iter().collect::<Vec<_>>();
        let mut bitmap = of(&[0, 64, 69]);
        bitmap.unite(&of(&[1, 64]));
        assert_eq!(rows(&bitmap), [0, 1, 64, 69]);
        bitmap.subtract(&of(&[0, 69]));
        assert_eq!(rows(&bitmap), [1, 64]);
        bitmap.invert();
        assert_eq!(bitmap.count(), 68);
        bitmap.write_words(1, [u64::MAX, 7]);
        assert_eq!(bitmap.count(), 63 + 6);
        assert!(!bitmap.is_clear() && Bitmap::empty(70).is_clear());
        assert_eq!(Bitmap::from_words(vec![u64::MAX; 2], 70), Some(Bitmap::full(70)));
        assert_eq!(Bitmap::from_words(vec![0; 3], 70), None);
    }

    #[test]
    fn full_has_no_bits_beyond_its_end() {
        assert_eq!(Bitmap::full(70).count(), 70);
        assert_eq!(Bitmap::full(64).count(), 64);
        assert!(!Bitmap::full(70).get(70));
    }
}
