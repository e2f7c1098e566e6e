//! Distinct strings, numbered as they come, in one buffer.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;

use pandion_types::Result;

use super::format::reserve;
use super::section::checked_len;

/// The string with this number is followed by none of the same hash.
const NONE: u32 = u32::MAX;

/// Distinct strings.
#[derive(Debug, Default)]
pub(super) struct Interner {
    text: String,
    ends: Vec<u32>,
    hasher: RandomState,
    /// The string of each hash that came last.
    heads: HashMap<u64, u32>,
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
        let mut order = Vec::new();
        reserve(&mut order, self.ends.len())?;
        order.extend(0..checked_len(self.ends.len())?);
        order.sort_unstable_by(|left, right| self.get(*left).cmp(self.get(*right)));
        Ok(order)
    }
}
