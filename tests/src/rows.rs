//! Sets of rows as scripts write them: `1-5 8 12`, `all`, `none`, or, when that would be long,
//! `312 rows 0123456789abcdef`, where the digits are a hash of the numbers.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};

/// Numbers of rows, from 1.
pub type Numbers = BTreeSet<usize>;

/// The longest list that is written as one.
const LIST_CHARS_MAX: usize = 96;

/// The text of a set of the rows `1..=total`.
#[must_use]
pub fn write(numbers: &Numbers, total: usize) -> String {
    if numbers.is_empty() {
        return "none".to_owned();
    }
    if numbers.len() == total {
        return "all".to_owned();
    }
    let list = ranges(numbers);
    if list.len() <= LIST_CHARS_MAX {
        return list;
    }
    format!("{} rows {:016x}", numbers.len(), hash(numbers))
}

/// Whether `text` is the text of this set.
///
/// # Errors
/// It is the text of no set.
pub fn matches(text: &str, numbers: &Numbers, total: usize) -> Result<bool> {
    if let Some((count, digits)) = text.split_once(" rows ") {
        let count: usize = count.parse().with_context(|| format!("{count} is no number"))?;
        let digits =
            u64::from_str_radix(digits, 16).with_context(|| format!("{digits} is no hash"))?;
        return Ok(count == numbers.len() && digits == hash(numbers));
    }
    Ok(read(text, total)? == *numbers)
}

/// The set of a text that lists it.
///
/// # Errors
/// The text is none, or names a row that does not exist.
pub fn read(text: &str, total: usize) -> Result<Numbers> {
    match text {
        "all" => return Ok((1..=total).collect()),
        "none" => return Ok(Numbers::new()),
        _ => {}
    }
    let mut numbers = Numbers::new();
    for part in text.split_whitespace() {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            text.parse::<usize>().with_context(|| format!("{part} names no rows in: {text}"))
        };
        let (first, last) = (number(first)?, number(last)?);
        ensure!(1 <= first && first <= last && last <= total, "{part} is not within 1-{total}");
        numbers.extend(first..=last);
    }
    ensure!(!numbers.is_empty(), "no rows are named; `none` stands for none");
    Ok(numbers)
}

fn ranges(numbers: &Numbers) -> String {
    let mut text = String::new();
    let mut rest = numbers.iter().copied().peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while rest.next_if_eq(&(last + 1)).is_some() {
            last += 1;
        }
        let space = if text.is_empty() { "" } else { " " };
        let written = match last - first {
            0 => write!(text, "{space}{first}"),
            1 => write!(text, "{space}{first} {last}"),
            _ => write!(text, "{space}{first}-{last}"),
        };
        debug_assert!(written.is_ok(), "writing to a String does not fail");
    }
    text
}

/// The 64-bit FNV-1a hash of the numbers in decimal, each followed by a space.
fn hash(numbers: &Numbers) -> u64 {
    let bytes = numbers.iter().flat_map(|number| format!("{number} ").into_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_written_and_read() {
        let set = |numbers: &[usize]| numbers.iter().copied().collect::<Numbers>();
        for (numbers, text) in [
            (set(&[]), "none"),
            (set(&[1, 2, 3, 4]), "1-4"),
            (set(&[1, 2, 4, 6, 7, 8]), "1 2 4 6-8"),
            (set(&[9]), "9"),
        ] {
            assert_eq!(write(&numbers, 9), text);
            assert!(matches(text, &numbers, 9).unwrap());
        }
        assert_eq!(write(&(1..=9).collect(), 9), "all");
        assert_eq!(read("1-2 2-3", 9).unwrap(), set(&[1, 2, 3]));
        for wrong in ["", "0", "10", "3-2", "x", "1,2"] {
            assert!(read(wrong, 9).is_err(), "{wrong}");
        }
    }

    #[test]
    fn long_lists_are_hashed() {
        let even: Numbers = (1..=1000).filter(|number| number % 2 == 0).collect();
        let text = write(&even, 1000);
        assert!(text.starts_with("500 rows "), "{text}");
        assert!(matches(&text, &even, 1000).unwrap());
        let other: Numbers = (1..=1000).filter(|number| number % 2 == 1).collect();
        assert!(!matches(&text, &other, 1000).unwrap());
        assert!(matches("5 rows x", &even, 1000).is_err());
    }
}
