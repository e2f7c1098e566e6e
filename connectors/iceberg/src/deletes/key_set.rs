//! Keys of equality deletes, and how late each was deleted.
//!
//! Every row of every data file that the deletes may concern is looked for here, so that looking is
//! what a refresh with equality deletes spends its time on. Keys that fit into a register are kept
//! without a pointer and hashed with two multiplications.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Bytes of the longest key that is packed into a number.
const SHORT_BYTES_MAX: usize = 15;

/// An odd number whose bits have no order: 2⁶⁴ divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Keys, and the highest sequence number that each was deleted with.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    short: HashMap<u128, i64, Seeds>,
    long: HashMap<Box<[u8]>, i64>,
}

impl KeySet {
    /// Adds a key that was deleted with this sequence number.
    pub(crate) fn insert(&mut self, key: &[u8], sequence_number: i64) {
        let highest = match packed(key) {
            Some(key) => self.short.entry(key).or_insert(sequence_number),
            None => self.long.entry(key.into()).or_insert(sequence_number),
        };
        *highest = sequence_number.max(*highest);
    }

    /// Makes room for so many more keys of about this length.
    pub(crate) fn reserve(&mut self, keys: usize, bytes: usize) {
        if bytes <= SHORT_BYTES_MAX {
            self.short.reserve(keys);
        } else {
            self.long.reserve(keys);
        }
    }

    /// The highest sequence number that the key was deleted with.
    pub(crate) fn deleted_at(&self, key: &[u8]) -> Option<i64> {
        match packed(key) {
            Some(key) => self.short.get(&key).copied(),
            None => self.long.get(key).copied(),
        }
    }
}

/// The bytes of a short key and their number.
fn packed(key: &[u8]) -> Option<u128> {
    let mut bytes = [0; SHORT_BYTES_MAX + 1];
    let (text, length) = bytes.split_at_mut(SHORT_BYTES_MAX);
    text.get_mut(..key.len())?.copy_from_slice(key);
    *length.first_mut()? = u8::try_from(key.len()).ok()?;
    Some(u128::from_le_bytes(bytes))
}

/// Numbers that nobody outside can know, so that nobody can make keys that all meet in one place.
#[derive(Clone, Copy, Debug)]
struct Seeds(u64, u64);

impl Default for Seeds {
    fn default() -> Self {
        let random = RandomState::new();
        Self(random.hash_one(0), random.hash_one(1))
    }
}

impl BuildHasher for Seeds {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { seeds: *self, hash: 0 }
    }
}

/// Hashes a number by multiplying its two halves, each mixed with a seed, and folding the product;
/// once more at the end, so that numbers that differ in few bits differ in all.
#[derive(Debug)]
struct Folded {
    seeds: Seeds,
    hash: u64,
}

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        folded(self.hash ^ self.seeds.0, SPREAD)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u128(u128::from(*byte));
        }
    }

    fn write_u128(&mut self, number: u128) {
        let (low, high) = halves(number);
        self.hash = folded(low ^ self.hash ^ self.seeds.0, high ^ self.seeds.1);
    }
}

/// Both halves of a product, mixed.
fn folded(left: u64, right: u64) -> u64 {
    let (low, high) = halves(u128::from(left) * u128::from(right));
    low ^ high
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
fn halves(number: u128) -> (u64, u64) {
    (number as u64, (number >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn keys_of_every_length_keep_their_highest_number() {
        let keys: Vec<Vec<u8>> = (0..40_usize)
            .flat_map(|length| [vec![0; length], vec![1; length], vec![255; length]])
            .collect();
        let mut set = KeySet::default();
        let mut plain: BTreeMap<&[u8], i64> = BTreeMap::new();
        for (number, key) in [5_i64, 9, 2].iter().flat_map(|round| {
            keys.iter()
                .enumerate()
                .map(move |(at, key)| (round + i64::try_from(at % 3).unwrap(), key))
        }) {
            set.insert(key, number);
            let highest = plain.entry(key).or_insert(number);
            *highest = number.max(*highest);
        }
        for key in &keys {
            assert_eq!(set.deleted_at(key), plain.get(key.as_slice()).copied(), "{key:?}");
        }
        assert_eq!(set.deleted_at(&[2]), None);
        assert_eq!(set.deleted_at(&[2; 30]), None);
        // A key that another one begins with, or that ends in zeros.
        assert!(set.deleted_at(&[0, 1]).is_none() && set.deleted_at(&[1, 0]).is_none());
    }

    #[test]
    fn hashes_of_consecutive_keys_spread() {
        let seeds = Seeds::default();
        let hash = |number: u64| seeds.hash_one(packed(&number.to_be_bytes()).unwrap());
        // Both the bits that choose a place and those that tell keys in one place apart.
        let low: std::collections::HashSet<u64> = (0..4096).map(|at| hash(at) % 65_536).collect();
        let high: std::collections::HashSet<u64> = (0..4096).map(|at| hash(at) >> 48).collect();
        assert!(low.len() > 3_500 && high.len() > 3_500, "{} {}", low.len(), high.len());
    }
}
