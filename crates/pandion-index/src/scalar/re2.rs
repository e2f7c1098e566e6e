//! Regular expressions as Milvus reads them: RE2's syntax, in which `.` is any character, line ends
//! included, and `\d`, `\w`, `\s` and `\b` are about ASCII.
//!
//! Only the difference between RE2's syntax and that of the `regex` crate is handled here. What RE2
//! refuses and the crate accepts (a few more flags, set operations it does not know) stays accepted.

use pandion_types::{Error, Result};
use regex::{Regex, RegexBuilder};

/// Bytes that a compiled regular expression may take, and again its tables while it matches.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// How many characters of an expression are repeated inside a message.
const SHOWN_CHARS_MAX: usize = 256;

/// Compiles the regular expression of a filter. Matching takes time linear in the text.
///
/// # Errors
/// `InvalidArgument` that names the expression when it is none, or is too large.
pub fn compile_regex(pattern: &str) -> Result<Regex> {
    RegexBuilder::new(&translate(pattern))
        .dot_matches_new_line(true)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| {
            let shown: String = pattern.chars().take(SHOWN_CHARS_MAX).collect();
            let cut = if shown.len() < pattern.len() { "..." } else { "" };
            Error::invalid_argument(format!(
                "failed to create query plan: invalid regular expression {shown:?}{cut}: invalid \
                 parameter"
            ))
            .caused_by(error)
        })
}

/// The expression in the syntax of the `regex` crate.
fn translate(pattern: &str) -> String {
    let mut translated = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '\\' => escape(rest, &mut translated),
            '[' => class(rest, &mut translated),
            other => copy(rest, other.len_utf8(), &mut translated),
        };
    }
    translated
}

/// Appends the first bytes of `rest` as they are and gives back what follows them.
fn copy<'a>(rest: &'a str, bytes: usize, translated: &mut String) -> &'a str {
    let (copied, rest) = rest.split_at_checked(bytes).unwrap_or((rest, ""));
    translated.push_str(copied);
    rest
}

/// An escape outside of brackets, whose backslash `rest` begins with.
fn escape<'a>(rest: &'a str, translated: &mut String) -> &'a str {
    if let Some(quoted) = rest.strip_prefix(r"\Q") {
        let (literal, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
        translated.push_str(&regex::escape(literal));
        return after;
    }
    let letter = rest.chars().nth(1);
    let meaning = match letter {
        Some('d') => "[0-9]",
        Some('D') => "[^0-9]",
        Some('w') => "[0-9A-Za-z_]",
        Some('W') => "[^0-9A-Za-z_]",
        Some('s') => r"[\t\n\f\r ]",
        Some('S') => r"[^\t\n\f\r ]",
        // A word boundary with braces has another meaning, which RE2 does not know.
        Some('b') => r"(?-u:\b)",
        _ => return copy(rest, 1 + letter.map_or(0, char::len_utf8), translated),
    };
    translated.push_str(meaning);
    rest.get(2..).unwrap_or_default()
}

/// A class, whose bracket `rest` begins with. Where it has no end the whole stays as it is, to be
/// refused.
fn class<'a>(rest: &'a str, translated: &mut String) -> &'a str {
    let mut inside = copy(rest, 1, translated);
    if inside.starts_with('^') {
        inside = copy(inside, 1, translated);
    }
    // A bracket at the start is one of the characters.
    if inside.starts_with(']') {
        translated.push('\\');
        inside = copy(inside, 1, translated);
    }
    while let Some(first) = inside.chars().next() {
        inside = match first {
            ']' => return copy(inside, 1, translated),
            '\\' => class_escape(inside, translated),
            '[' => match inside.find(":]").filter(|_| inside.starts_with("[:")) {
                Some(end) => copy(inside, end + 2, translated),
                None => literal(inside, translated),
            },
            // Two of them in a row are a set operation of the crate.
            '&' | '~' => literal(inside, translated),
            other => copy(inside, other.len_utf8(), translated),
        };
    }
    inside
}

/// Appends a character that stands for itself.
fn literal<'a>(rest: &'a str, translated: &mut String) -> &'a str {
    translated.push('\\');
    copy(rest, 1, translated)
}

/// An escape inside of brackets.
fn class_escape<'a>(rest: &'a str, translated: &mut String) -> &'a str {
    let letter = rest.chars().nth(1);
    let meaning = match letter {
        Some('d') => "0-9",
        Some('D') => "[^0-9]",
        Some('w') => "0-9A-Za-z_",
        Some('W') => "[^0-9A-Za-z_]",
        Some('s') => r"\t\n\f\r ",
        Some('S') => r"[^\t\n\f\r ]",
        _ => return copy(rest, 1 + letter.map_or(0, char::len_utf8), translated),
    };
    translated.push_str(meaning);
    rest.get(2..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use pandion_types::ErrorKind;
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], other: &[&str]) {
        let regex = compile_regex(pattern).unwrap();
        for text in matching {
            assert!(regex.is_match(text), "{pattern} on {text:?}");
        }
        for text in other {
            assert!(!regex.is_match(text), "{pattern} on {text:?}");
        }
    }

    #[test]
    fn classes_are_those_of_ascii() {
        check(r"^\d$", &["7"], &["\u{663}", "a", ""]);
        check(r"^\D$", &["\u{663}", "a"], &["7"]);
        check(r"^\w$", &["7", "_", "z"], &["\u{e4}", "-"]);
        check(r"^\W$", &["\u{e4}", "-"], &["z"]);
        check(r"^\s\S$", &[" x", "\n\u{a0}"], &["\u{b}x", "xx"]);
        check(r"^[\d\s]$", &["7", " "], &["\u{663}", "a"]);
        check(r"^[^\d]$", &["\u{663}", "a"], &["7"]);
        check(r"^[x\D]$", &["\u{663}", "x"], &["7"]);
        check(r"^[\w-]$", &["-", "a"], &["\u{e4}", "+"]);
        check(r"\bosprey", &["an osprey", "\u{e4}osprey"], &["osprays", "aosprey"]);
        check("^[[:alpha:]]$", &["a"], &["\u{e4}", "1"]);
        check(r"^\pL$", &["a", "\u{e4}"], &["1"]);
    }

    #[test]
    fn a_dot_is_any_character() {
        check("a.b", &["a\nb", "a\u{4f60}b"], &["ab"]);
        check("(?-s:a.b)", &["axb"], &["a\nb"]);
        check("^a$", &["a"], &["a\n", "a\nb"]);
        check("(?m)^a$", &["b\na"], &["ab"]);
    }

    #[test]
    fn what_is_quoted_stands_for_itself() {
        check(r"\Qa%b.*\E$", &["xa%b.*"], &["a%bcd"]);
        check(r"^\Q(", &["("], &["x"]);
        check(r"\\Q", &[r"\Q"], &["Q"]);
        check(r"^[a[]$", &["a", "["], &["]"]);
        check(r"^[]a]$", &["]", "a"], &["["]);
        check(r"^[a&&b~~]$", &["&", "~", "b"], &["c"]);
        check(r"^[\]\\]$", &["]", "\\"], &["a"]);
    }

    #[test]
    fn what_is_none_is_refused() {
        for pattern in
            ["(", "[a", "*a", "a{2,1}", r"(a)\1", "(?=a)", "(?<!a)", r"\", r"[\", r"[a\d"]
        {
            let error = compile_regex(pattern).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{pattern}");
            assert!(error.message().contains("invalid regular expression"), "{pattern}: {error}");
        }
        let error = compile_regex(&format!("({}", "x".repeat(10_000))).unwrap_err();
        assert!(error.message().len() < 1_000, "{error}");
        assert!(compile_regex("((a{1000}){1000}){1000}").is_err());
    }

    proptest! {
        #[test]
        fn what_both_read_alike_is_left_alone(
            pattern in r"[ab.|()*+?^$\[-]{0,10}",
            text in "[ab]{0,6}",
        ) {
            // There is no escape and no class in it.
            let own = compile_regex(&pattern).map(|regex| regex.is_match(&text)).ok();
            prop_assert_eq!(own, Regex::new(&pattern).map(|regex| regex.is_match(&text)).ok());
        }

        #[test]
        fn any_text_is_an_expression_or_an_error(pattern in r"[\[\]\\^QEdDwb&~:a%-]{0,12}") {
            if let Err(error) = compile_regex(&pattern) {
                prop_assert!(error.message().contains("invalid regular expression"), "{}", error);
            }
        }
    }
}
