//! Distinct strings, numbered as they come, in one buffer.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use pandion_types::Result;

use super::format::reserve;
use super::section::checked_len;

/// The string with this number is followed by none of the same hash.
const NONE: u32 = u32::MAX;

/// Takes a hash for its own hash.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.is_empty(), "only whole hashes are hashed");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Distinct strings.
#[derive(Debug, Default)]
pub(super) struct Interner {
    text: String,
    ends: Vec<u32>,
    hasher: RandomState,
    /// The string of each hash that came last.
    heads: HashMap<u64, u32, BuildHasherDefault<AsIs>>,
    /// The string of the same hash that came before.
    previous: Vec<u32>,
}

impl Interner {
    /// The number of a string.
    ///
    /// # Errors
    /// `Unsupported` when the strings are too many or too long together.
    pub(super) fn number(&mut self, text: &str) -> Result<u32> {
        let hash = self.hasher.hash_one(text);
        let mut at = self.heads.get(&hash).copied().unwrap_or(NONE);
        while at != NONE {
            if self.get(at) == text {
                return Ok(at);
            }
            at = self.previous[at as usize];
        }
        let number = checked_len(self.ends.len())?;
        let end = checked_len(self.text.len() + text.len())?;
        reserve(&mut self.ends, 1)?;
        reserve(&mut self.previous, 1)?;
        self.text.push_str(text);
        self.ends.push(end);
        match self.heads.entry(hash) {
            Entry::Occupied(mut head) => self.previous.push(head.insert(number)),
            Entry::Vacant(head) => {
                self.previous.push(NONE);
                head.insert(number);
            }
        }
        Ok(number)
    }

    /// The string with this number.
    pub(super) fn get(&self, number: u32) -> &str {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[number] as usize]
    }

    /// Bytes of all strings.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The numbers in the order of their strings.
    pub(super) fn order(&self) -> Result<Vec<u32>> {
        let common = self.common_prefix();
        // What comes after the common start decides most comparisons, and lies beside the number.
        let head = |number: u32| {
            let text = self.get(number).as_bytes().get(common..).unwrap_or_default();
            let mut head = [0; 8];
            let length = text.len().min(8);
            head[..length].copy_from_slice(&text[..length]);
            u64::from_be_bytes(head)
        };
        let mut keys: Vec<(u64, u32)> = Vec::new();
        reserve(&mut keys, self.ends.len())?;
        keys.extend((0..checked_len(self.ends.len())?).map(|number| (head(number), number)));
        keys.sort_unstable_by(|left, right| {
            left.0.cmp(&right.0).then_with(|| self.get(left.1).cmp(self.get(right.1)))
        });
        let mut order = Vec::new();
        reserve(&mut order, keys.len())?;
        order.extend(keys.into_iter().map(|(_, number)| number));
        Ok(order)
    }

    /// Bytes that all strings start with.
    fn common_prefix(&self) -> usize {
        let Some(last) = self.ends.len().checked_sub(1) else { return 0 };
        let first = self.get(0).as_bytes();
        let mut common = first.len();
        for number in 1..=last {
            let start = self.ends[number - 1] as usize;
            let text = &self.text.as_bytes()[start..self.ends[number] as usize];
            let same = first[..common].iter().zip(text).take_while(|(one, other)| one == other);
            common = same.count();
            if common == 0 {
                break;
            }
        }
        common
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_ordered_as_their_strings(
            prefix in "[aä]{0,3}",
            texts in prop::collection::vec("[ab\\u{0}]{0,12}", 0..60),
        ) {
            let texts: Vec<String> = texts.iter().map(|text| format!("{prefix}{text}")).collect();
            let mut interner = Interner::default();
            for text in &texts {
                let number = interner.number(text).unwrap();
                prop_assert_eq!(interner.number(text).unwrap(), number);
                prop_assert_eq!(interner.get(number), text);
            }
            let order = interner.order().unwrap();
            let found: Vec<&str> = order.iter().map(|number| interner.get(*number)).collect();
            let mut expected: Vec<&str> = texts.iter().map(String::as_str).collect();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(found, expected);
        }
    }
}
