//! Patterns and regular expressions over strings, one at a time or a whole column at once.

use arrow::array::{Array, StringArray};
use arrow::buffer::{BooleanBuffer, Buffer};
use memchr::memmem::Finder;
use pandion_filter::{LikeForm, LikePart, LikePattern};
use pandion_index::scalar::compile_regex;
use pandion_types::Result;
use regex::Regex;

use super::bits::Bits;
use super::start_of;

/// What a string has to look like.
#[derive(Debug)]
pub(super) enum TextMatcher {
    Equal(String),
    Prefix(String),
    Suffix(String),
    /// The text that is searched is not empty.
    Contains(Box<Finder<'static>>),
    Pattern(Box<Pattern>),
    Regex(Regex),
}

impl TextMatcher {
    pub(super) fn like(pattern: &LikePattern) -> Self {
        match pattern.form() {
            LikeForm::Equal(text) => Self::Equal(text.clone()),
            LikeForm::Prefix(text) => Self::Prefix(text.clone()),
            LikeForm::Suffix(text) => Self::Suffix(text.clone()),
            LikeForm::Contains(text) => Self::Contains(Box::new(finder(text))),
            LikeForm::General(parts) => Self::Pattern(Box::new(Pattern::new(parts))),
        }
    }

    /// A part of the string matches a regular expression. One without special characters is
    /// searched for as a text.
    ///
    /// # Errors
    /// `InvalidArgument` when it is no regular expression, or one that takes too much memory.
    pub(super) fn regex(pattern: &str) -> Result<Self> {
        let (starts, rest) =
            pattern.strip_prefix('^').map_or((false, pattern), |rest| (true, rest));
        let (ends, text) = rest.strip_suffix('$').map_or((false, rest), |rest| (true, rest));
        if regex::escape(text) == text {
            return Ok(match (starts, ends, text) {
                (true, true, text) => Self::Equal(text.to_owned()),
                (true, false, text) | (false, false, text @ "") => Self::Prefix(text.to_owned()),
                (false, true, text) => Self::Suffix(text.to_owned()),
                (false, false, text) => Self::Contains(Box::new(finder(text))),
            });
        }
        compile_regex(pattern).map(Self::Regex)
    }

    #[inline]
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Equal(known) => text == known,
            Self::Prefix(known) => text.starts_with(known.as_str()),
            Self::Suffix(known) => text.ends_with(known.as_str()),
            Self::Contains(finder) => finder.find(text.as_bytes()).is_some(),
            Self::Pattern(pattern) => pattern.matches(text),
            Self::Regex(regex) => regex.is_match(text),
        }
    }

    /// The rows of a column that match. What it says of null rows means nothing.
    pub(super) fn column(&self, array: &StringArray) -> BooleanBuffer {
        match self {
            Self::Equal(known) => equal_rows(array, std::slice::from_ref(known)),
            Self::Prefix(known) => text_of_rows(array, |text| text.starts_with(known.as_str())),
            Self::Suffix(known) => text_of_rows(array, |text| text.ends_with(known.as_str())),
            Self::Contains(finder) => rows_holding(array, finder, |_| true),
            Self::Pattern(pattern) => match &pattern.rarest {
                Some(finder) => {
                    rows_holding(array, finder, |row| pattern.matches(array.value(row)))
                }
                None => text_of_rows(array, |text| pattern.matches(text)),
            },
            Self::Regex(regex) => text_of_rows(array, |text| regex.is_match(text)),
        }
    }
}

fn finder(text: &str) -> Finder<'static> {
    Finder::new(text.as_bytes()).into_owned()
}

/// A text that whole strings are compared with, eight bytes at once.
struct Needle<'a> {
    text: &'a [u8],
    /// Its first eight bytes; those that it does not have are masked out.
    word: u64,
    mask: u64,
}

impl<'a> Needle<'a> {
    fn new(text: &'a str) -> Self {
        let text = text.as_bytes();
        let mut first = [0; 8];
        for (byte, known) in first.iter_mut().zip(text) {
            *byte = *known;
        }
        let missing = 8_u32.saturating_sub(u32::try_from(text.len()).unwrap_or(8));
        let mask = u64::MAX.checked_shr(missing * 8).unwrap_or(0);
        Self { text, word: u64::from_le_bytes(first), mask }
    }

    /// Whether it is what stands from `start` to `end`.
    #[inline]
    fn is_at(&self, bytes: &[u8], start: usize, end: usize) -> bool {
        let is_as_long = end - start == self.text.len();
        // Bytes of the strings behind are read, too, and masked out.
        let Some(word) = bytes.get(start..).and_then(<[u8]>::first_chunk::<8>) else {
            return is_as_long && bytes.get(start..end) == Some(self.text);
        };
        // Lengths and bytes are compared at once: which of them differs cannot be foreseen.
        let begins_so = is_as_long & (u64::from_le_bytes(*word) & self.mask == self.word);
        begins_so && (self.text.len() <= 8 || bytes.get(start + 8..end) == self.text.get(8..))
    }
}

/// The rows that are one of a few texts.
pub(super) fn equal_rows(array: &StringArray, texts: &[String]) -> BooleanBuffer {
    let needles: Vec<Needle<'_>> = texts.iter().map(|text| Needle::new(text)).collect();
    let (offsets, bytes) = (array.value_offsets(), array.value_data());
    let mut bits = Bits::with_capacity(array.len());
    bits.push_rows(array.len(), |row| match offsets.get(row..row + 2) {
        Some([start, end]) => {
            let (start, end) = (start_of(*start), start_of(*end));
            needles.iter().any(|needle| needle.is_at(bytes, start, end))
        }
        _ => false,
    });
    bits.finish()
}

pub(super) fn text_of_rows(array: &StringArray, test: impl Fn(&str) -> bool) -> BooleanBuffer {
    let mut bits = Bits::with_capacity(array.len());
    bits.push_rows(array.len(), |row| test(array.value(row)));
    bits.finish()
}

/// The rows that hold a text and meet `confirm`. Searches through the column's bytes as one text
/// and looks up in which row each place lies, so that rows without the text cost next to nothing.
fn rows_holding(
    array: &StringArray,
    finder: &Finder<'_>,
    confirm: impl Fn(usize) -> bool,
) -> BooleanBuffer {
    let (offsets, bytes) = (array.value_offsets(), array.value_data());
    let start = |row: usize| offsets.get(row).map_or(bytes.len(), |&offset| start_of(offset));
    let mut words = vec![0_u64; array.len().div_ceil(64)];
    let end = start(array.len());
    let (mut row, mut at) = (0, start(0));
    while let Some(found) = bytes.get(at..end).and_then(|rest| finder.find(rest)) {
        let place = at + found;
        row = row_of(offsets, row, place);
        let row_end = start(row + 1);
        if place + finder.needle().len() > row_end {
            // Part of it lies in the next row.
            at = place + 1;
            continue;
        }
        if confirm(row)
            && let Some(word) = words.get_mut(row / 64)
        {
            *word |= 1 << (row % 64);
        }
        row += 1;
        at = row_end;
    }
    BooleanBuffer::new(Buffer::from_vec(words), 0, array.len())
}

/// The row that a place lies in, which is not before row `from`.
fn row_of(offsets: &[i32], from: usize, place: usize) -> usize {
    let begins_before = |row: usize| offsets.get(row).is_some_and(|&at| start_of(at) <= place);
    let mut step = 1;
    while begins_before(from + step) {
        step *= 2;
    }
    // The row stands in the last step, which is not longer than what was passed already.
    let (low, high) = (from + step / 2, (from + step).min(offsets.len()));
    let rest = offsets.get(low..high).unwrap_or_default();
    (low + rest.partition_point(|&at| start_of(at) <= place)).saturating_sub(1).max(from)
}

/// A pattern in the pieces that stand between its runs of any characters.
#[derive(Debug)]
pub(super) struct Pattern {
    head: Piece,
    middle: Vec<Piece>,
    /// Absent when there is no run: then the head is the whole string.
    tail: Option<Piece>,
    /// Searches for the longest text of the pattern, which every match holds. Absent when an end is
    /// given, which tells most strings apart at less cost.
    rarest: Option<Finder<'static>>,
}

impl Pattern {
    fn new(parts: &[LikePart]) -> Self {
        let mut pieces: Vec<Piece> =
            parts.split(|part| *part == LikePart::AnyRun).map(Piece::new).collect();
        let texts = parts.iter().filter_map(|part| match part {
            LikePart::Literal(text) => Some(text),
            LikePart::AnyChar | LikePart::AnyRun => None,
        });
        let rarest = texts.max_by_key(|text| text.len()).map(|text| finder(text));
        let tail = if pieces.len() > 1 { pieces.pop() } else { None };
        let middle = pieces.split_off(pieces.len().min(1));
        let head = pieces.pop().unwrap_or_else(|| Piece::new(&[]));
        let is_open = head.parts.is_empty() && tail.as_ref().is_some_and(|it| it.parts.is_empty());
        Self { head, middle, tail, rarest: rarest.filter(|_| is_open) }
    }

    /// Each piece is as long as its characters, so that the ends can be cut off first, and the
    /// leftmost place of each piece between them leaves the most room for those after it.
    fn matches(&self, text: &str) -> bool {
        let Some(rest) = self.head.strip_from_start(text) else { return false };
        let Some(tail) = &self.tail else { return rest.is_empty() };
        let Some(inner) = tail.strip_from_end(rest) else { return false };
        self.middle.iter().try_fold(inner, |rest, piece| piece.find(rest)).is_some()
    }
}

/// Texts and single characters.
#[derive(Debug)]
struct Piece {
    parts: Vec<LikePart>,
    /// Searches for the text that the piece begins with.
    first: Option<Finder<'static>>,
}

impl Piece {
    fn new(parts: &[LikePart]) -> Self {
        let first = match parts.first() {
            Some(LikePart::Literal(text)) => Some(finder(text)),
            _ => None,
        };
        Self { parts: parts.to_vec(), first }
    }

    /// What is left of a text that begins with the piece.
    fn strip_from_start<'a>(&self, text: &'a str) -> Option<&'a str> {
        self.parts.iter().try_fold(text, |rest, part| match part {
            LikePart::Literal(text) => rest.strip_prefix(text.as_str()),
            LikePart::AnyChar | LikePart::AnyRun => without_first(rest),
        })
    }

    /// What is left of a text that ends with the piece.
    fn strip_from_end<'a>(&self, text: &'a str) -> Option<&'a str> {
        self.parts.iter().rev().try_fold(text, |rest, part| match part {
            LikePart::Literal(text) => rest.strip_suffix(text.as_str()),
            LikePart::AnyChar | LikePart::AnyRun => {
                let mut chars = rest.chars();
                chars.next_back().map(|_| chars.as_str())
            }
        })
    }

    /// What is left after the first place of the piece in a text.
    fn find<'a>(&self, text: &'a str) -> Option<&'a str> {
        let mut rest = text;
        loop {
            if let Some(first) = &self.first {
                rest = rest.get(first.find(rest.as_bytes())?..)?;
            }
            if let Some(after) = self.strip_from_start(rest) {
                return Some(after);
            }
            rest = without_first(rest)?;
        }
    }
}

fn without_first(text: &str) -> Option<&str> {
    let mut chars = text.chars();
    chars.next().map(|_| chars.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agrees(matcher: &TextMatcher, rows: &[Option<String>], expected: impl Fn(&str) -> bool) {
        let array: StringArray = rows.iter().cloned().collect();
        // A part of a column starts and ends somewhere in its bytes.
        let parts = [(0, array.len()), (array.len() / 3, array.len() / 2)];
        for (from, length) in parts {
            let array = array.slice(from, length);
            let column = matcher.column(&array);
            assert_eq!(column.len(), length);
            for (row, text) in rows[from..from + length].iter().enumerate() {
                let Some(text) = text else { continue };
                assert_eq!(column.value(row), expected(text), "{matcher:?} {text:?}");
                assert_eq!(matcher.matches(text), expected(text), "{matcher:?} {text:?}");
            }
        }
    }

    #[test]
    fn texts_of_every_length_are_found_at_every_place() {
        let lengths = [0, 1, 5, 7, 8, 9, 16, 17, 40];
        let text = |length: usize, last: char| format!("{}{last}", "x".repeat(length));
        let rows: Vec<Option<String>> = lengths
            .iter()
            .flat_map(|&length| [Some(text(length, 'a')), Some(text(length, 'b'))])
            .collect();
        for length in lengths {
            let known = text(length, 'b');
            agrees(&TextMatcher::Equal(known.clone()), &rows, |text| text == known);
        }
        agrees(&TextMatcher::Equal(String::new()), &rows, str::is_empty);
    }

    proptest! {
        #[test]
        fn patterns_agree_with_the_naive_matcher(
            pattern in r"[ab\\%_\u{e9}]{0,8}",
            rows in prop::collection::vec(prop::option::of("[ab%_\u{e9}\n]{0,8}"), 0..150),
        ) {
            let like = LikePattern::new(pattern);
            agrees(&TextMatcher::like(&like), &rows, |text| like.matches(text));
        }

        #[test]
        fn shortcuts_agree_with_the_regular_expression(
            pattern in r"\^?[ab.*\u{e9}]{0,3}\$?",
            rows in prop::collection::vec(prop::option::of("[ab.*\u{e9}\n]{0,5}"), 0..90),
        ) {
            let mut regex = regex::RegexBuilder::new(&pattern);
            let Ok(regex) = regex.dot_matches_new_line(true).build() else { return Ok(()) };
            let matcher = TextMatcher::regex(&pattern).unwrap();
            agrees(&matcher, &rows, |text| regex.is_match(text));
        }
    }

    #[test]
    fn expressions_have_the_meaning_of_re2() {
        for (pattern, text, expected) in [
            ("a.b", "a\nb", true),
            ("a$", "a\nb", false),
            ("(?m)a$", "a\nb", true),
            (r"^\d$", "\u{663}", false),
            (r"^\D$", "\u{663}", true),
            (r"^[\w\W]+$", "caf\u{e9}", true),
            (r"\bf", "\u{e9}f", true),
            (r"\Qa.b\E", "xa.b", true),
            (r"\Qa.b\E", "axb", false),
            (r"^\x{4f60}$", "\u{4f60}", true),
            ("(?i)CAF\u{c9}", "caf\u{e9}", true),
        ] {
            let matcher = TextMatcher::regex(pattern).unwrap();
            assert_eq!(matcher.matches(text), expected, "{pattern} {text:?}");
        }
    }

    #[test]
    fn expressions_that_explode_are_refused() {
        for pattern in ["(", "(a{1000}){1000}", "\\w{500}{500}", "[^\u{1}]{9999}{9999}"] {
            let error = TextMatcher::regex(pattern).unwrap_err();
            assert!(error.message().contains("invalid regular expression"), "{error}");
            assert!(error.message().ends_with(": invalid parameter"), "{error}");
        }
        let error = TextMatcher::regex(&"(a".repeat(1 << 20)).unwrap_err();
        assert!(error.message().len() < 1000);
        // Exponential for engines that go back.
        let matcher = TextMatcher::regex("(a*)*(a*)*(a*)*b$").unwrap();
        assert!(!matcher.matches(&"a".repeat(100_000)));
    }
}
