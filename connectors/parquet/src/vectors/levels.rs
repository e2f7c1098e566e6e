//! Runs of the RLE and bit-packing hybrid: levels of nesting, and indices into dictionaries.
//!
//! A column of vectors without nulls says the same thing about every value. The checks here read
//! that off the runs, without making a level of every value.

use crate::thrift::{Cursor, Malformed};

/// A stretch of equal or of packed numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run<'a> {
    /// One number, `count` times.
    Repeated { value: u32, count: usize },
    /// `count` numbers of the stream's width, lowest bits first.
    Packed { bytes: &'a [u8], count: usize },
}

/// The runs of `count` numbers of `width` bits. The bytes may hold more than these; if they hold
/// fewer, the last item is an error.
#[derive(Debug)]
pub(crate) struct Runs<'a> {
    bytes: &'a [u8],
    at: usize,
    width: u32,
    left: usize,
}

impl<'a> Runs<'a> {
    pub(crate) fn new(bytes: &'a [u8], width: u32, count: usize) -> Self {
        debug_assert!(width <= 32, "{width} bits");
        Self { bytes, at: 0, width, left: count }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..count));
        let taken =
            taken.ok_or(Malformed { at: self.at, what: "has a run that ends too early" })?;
        self.at += count;
        Ok(taken)
    }

    fn read(&mut self) -> Result<Run<'a>, Malformed> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let mut cursor = Cursor::new(rest);
        let header = cursor.varint().map_err(|error| Malformed { at: self.at, ..error })?;
        self.at += cursor.at();
        let length = usize::try_from(header >> 1).unwrap_or(usize::MAX);
        let width = self.width as usize;
        if header & 1 == 1 {
            let stored = length.saturating_mul(8);
            let count = stored.min(self.left);
            // The last group is padded to whole bytes of eight numbers, but writers have been seen
            // to leave the padding out.
            let needed = count.saturating_mul(width).div_ceil(8);
            let padded = length.saturating_mul(width);
            let there = self.bytes.len() - self.at;
            let bytes = self.take(if count < stored { needed } else { padded.min(there) })?;
            if bytes.len() < needed {
                return Err(Malformed { at: self.at, what: "has a run that ends too early" });
            }
            return Ok(Run::Packed { bytes, count });
        }
        let mut value = [0; 4];
        let stored = self.take(width.div_ceil(8))?;
        value[..stored.len()].copy_from_slice(stored);
        Ok(Run::Repeated { value: u32::from_le_bytes(value), count: length.min(self.left) })
    }
}

impl<'a> Iterator for Runs<'a> {
    type Item = Result<Run<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let run = self.read();
        match &run {
            Ok(Run::Repeated { count, .. } | Run::Packed { count, .. }) => self.left -= count,
            Err(_) => self.left = 0,
        }
        Some(run)
    }
}

/// Bits that hold every level up to `max`.
pub(crate) fn level_width(max: u8) -> u32 {
    u8::BITS - max.leading_zeros()
}

/// Whether all of `count` levels are `max`.
pub(crate) fn all_max(bytes: &[u8], max: u8, count: usize) -> Result<bool, Malformed> {
    if max == 0 {
        return Ok(true);
    }
    let width = level_width(max);
    // Eight numbers of `width` bits are `width` bytes.
    let mut pattern = 0_u64;
    for at in 0..8 {
        pattern |= u64::from(max) << (at * width);
    }
    let pattern = &pattern.to_le_bytes()[..width as usize];
    for run in Runs::new(bytes, width, count) {
        let equal = match run? {
            Run::Repeated { value, count } => count == 0 || value == u32::from(max),
            Run::Packed { bytes, count } => packed_equal(bytes, pattern, width, count),
        };
        if !equal {
            return Ok(false);
        }
    }
    Ok(true)
}

fn packed_equal(bytes: &[u8], pattern: &[u8], width: u32, count: usize) -> bool {
    let whole = count / 8 * pattern.len();
    let (groups, tail) = bytes.split_at(whole.min(bytes.len()));
    let equal = groups.chunks_exact(pattern.len()).all(|group| group == pattern);
    let bits = (count % 8) * width as usize;
    let mut differ = tail.iter().zip(pattern).enumerate().map(|(at, (found, wanted))| {
        let from = at * 8;
        let mask = if bits >= from + 8 { 0xff } else { (1_u8 << (bits - from).min(7)) - 1 };
        (found ^ wanted) & mask
    });
    equal && differ.by_ref().take(bits.div_ceil(8)).all(|differ| differ == 0)
}

/// Whether `count` repetition levels of one level of nesting cut the values into rows of `per_row`,
/// when `phase` values of the first row came before.
pub(crate) fn regular_rows(
    bytes: &[u8],
    count: usize,
    per_row: usize,
    phase: usize,
) -> Result<bool, Malformed> {
    debug_assert!(phase < per_row, "{phase} of {per_row}");
    // Values until the next row must start.
    let mut until = (per_row - phase) % per_row;
    for run in Runs::new(bytes, 1, count) {
        match run? {
            Run::Repeated { count: 0, .. } => {}
            Run::Repeated { value: 0, count } => {
                if until != 0 || (count > 1 && per_row > 1) {
                    return Ok(false);
                }
                until = per_row - 1;
            }
            Run::Repeated { count, .. } => {
                if count > until {
                    return Ok(false);
                }
                until -= count;
            }
            Run::Packed { bytes, count } => match packed_rows(bytes, count, per_row, until) {
                Some(next) => until = next,
                None => return Ok(false),
            },
        }
    }
    Ok(true)
}

/// Whether the zero bits among `count` are `until`, `until + per_row` and so on; if so, how many
/// values then come before the next row.
fn packed_rows(bytes: &[u8], count: usize, per_row: usize, until: usize) -> Option<usize> {
    let mut expected = until;
    for (at, chunk) in bytes.chunks(8).enumerate() {
        let base = at * 64;
        if base >= count {
            break;
        }
        let mut word = [0xff; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let mut starts = !u64::from_le_bytes(word);
        if count - base < 64 {
            starts &= (1 << (count - base)) - 1;
        }
        while starts != 0 {
            if base + starts.trailing_zeros() as usize != expected {
                return None;
            }
            expected += per_row;
            starts &= starts - 1;
        }
        // A start that should have been among these bits and was not.
        if expected < count.min(base + 64) {
            return None;
        }
    }
    Some(expected - count)
}

/// Appends `count` levels to `levels`.
pub(crate) fn decode_levels(
    bytes: &[u8],
    max: u8,
    count: usize,
    levels: &mut Vec<u8>,
) -> Result<(), Malformed> {
    levels.clear();
    let width = level_width(max);
    for run in Runs::new(bytes, width, count) {
        match run? {
            Run::Repeated { value, count } => {
                let level = u8::try_from(value).unwrap_or(u8::MAX);
                levels.resize(levels.len() + count, level);
            }
            Run::Packed { bytes, count } => {
                levels.extend(
                    (0..count).map(|at| u8::try_from(unpack(bytes, width, at)).unwrap_or(u8::MAX)),
                );
            }
        }
    }
    match levels.iter().any(|&level| level > max) {
        true => Err(Malformed { at: 0, what: "has a level above the schema's" }),
        false => Ok(()),
    }
}

/// Number `at` of packed numbers of `width` bits, up to 32.
pub(crate) fn unpack(bytes: &[u8], width: u32, at: usize) -> u32 {
    let bit = at * width as usize;
    let from = bit / 8;
    let mut window = [0; 8];
    let available = bytes.get(from..).unwrap_or_default();
    match available.first_chunk::<8>() {
        Some(chunk) => window = *chunk,
        None => window[..available.len()].copy_from_slice(available),
    }
    let shifted = u64::from_le_bytes(window) >> (bit % 8);
    let masked = shifted & ((1 << width) - 1);
    u32::try_from(masked).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes numbers in runs: `true` packs, `false` repeats the first number of the stretch.
    fn encode(stretches: &[(bool, Vec<u8>)], width: u32) -> (Vec<u8>, Vec<u8>) {
        let (mut bytes, mut numbers) = (Vec::new(), Vec::new());
        for (position, (packed, stretch)) in stretches.iter().enumerate() {
            let last = position + 1 == stretches.len();
            if *packed {
                let padded = stretch.len().div_ceil(8) * 8;
                assert!(last || padded == stretch.len(), "only the last run may be padded");
                varint((padded as u64 / 8) << 1 | 1, &mut bytes);
                let mut packed = vec![0_u8; padded / 8 * width as usize];
                for (at, number) in stretch.iter().enumerate() {
                    for bit in 0..width as usize {
                        let to = at * width as usize + bit;
                        packed[to / 8] |= (number >> bit & 1) << (to % 8);
                    }
                }
                bytes.extend(packed);
                numbers.extend(stretch);
            } else {
                varint((stretch.len() as u64) << 1, &mut bytes);
                bytes.push(stretch[0]);
                numbers.extend(std::iter::repeat_n(stretch[0], stretch.len()));
            }
        }
        (bytes, numbers)
    }

    fn varint(mut value: u64, bytes: &mut Vec<u8>) {
        while value >= 0x80 {
            bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        bytes.push(u8::try_from(value).unwrap());
    }

    fn stretches(max: u8) -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
        let number = prop_oneof![4 => Just(max), 1 => 0..=max];
        let packed = (1_usize..5).prop_flat_map({
            let number = number.clone();
            move |groups| prop::collection::vec(number.clone(), groups * 8)
        });
        let one = prop_oneof![
            packed.prop_map(|numbers| (true, numbers)),
            prop::collection::vec(number.clone(), 1..40).prop_map(|numbers| (false, numbers)),
        ];
        (prop::collection::vec(one, 0..6), prop::collection::vec(number, 1..20)).prop_map(
            |(mut all, tail)| {
                all.push((true, tail));
                all
            },
        )
    }

    proptest! {
        #[test]
        fn runs_mean_the_numbers_that_were_written(
            (max, stretches) in (1_u8..=7).prop_flat_map(|max| (Just(max), stretches(max)))
        ) {
            let (bytes, numbers) = encode(&stretches, level_width(max));
            let mut levels = Vec::new();
            decode_levels(&bytes, max, numbers.len(), &mut levels).unwrap();
            prop_assert_eq!(&levels, &numbers);
            let all = numbers.iter().all(|&number| number == max);
            prop_assert_eq!(all_max(&bytes, max, numbers.len()).unwrap(), all);
            // Cut short anywhere, they mean the same or are refused.
            for end in 0..bytes.len() {
                let cut = &bytes[..end];
                let same = |found| found == all;
                prop_assert!(all_max(cut, max, numbers.len()).map_or(true, same));
                let decoded = decode_levels(cut, max, numbers.len(), &mut levels);
                prop_assert!(decoded.is_err() || levels == numbers);
            }
        }

        #[test]
        fn regular_rows_are_told_from_others(
            per_row in 1_usize..150,
            phase in 0_usize..150,
            count in 1_usize..700,
            pack in prop::collection::vec(any::<bool>(), 1..8),
            flip in prop::option::of(0_usize..700),
        ) {
            let phase = phase % per_row;
            let mut levels: Vec<u8> =
                (0..count).map(|at| u8::from((at + phase) % per_row != 0)).collect();
            if let Some(at) = flip.filter(|&at| at < count) {
                levels[at] ^= 1;
            }
            let (bytes, numbers) = encode(&into_stretches(&levels, &pack), 1);
            prop_assert_eq!(&numbers, &levels);
            let regular = regular_rows(&bytes, count, per_row, phase).unwrap();
            prop_assert_eq!(regular, flip.is_none_or(|at| at >= count));
            for end in 0..bytes.len() {
                let cut = regular_rows(&bytes[..end], count, per_row, phase);
                prop_assert!(cut.map_or(true, |found| found == regular));
            }
        }
    }

    /// Cuts levels into packed groups and runs of equal ones, as writers do.
    fn into_stretches(levels: &[u8], pack: &[bool]) -> Vec<(bool, Vec<u8>)> {
        let mut stretches = Vec::new();
        let mut rest = levels;
        let mut choices = pack.iter().cycle();
        while !rest.is_empty() {
            let packed = *choices.next().unwrap();
            let equal = rest.iter().take_while(|&&level| level == rest[0]).count();
            let length = if packed { rest.len().min(16) } else { equal };
            stretches.push((packed, rest[..length].to_vec()));
            rest = &rest[length..];
        }
        stretches
    }
}
