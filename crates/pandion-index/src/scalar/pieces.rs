//! The texts that a string must hold for a pattern to match it.
//!
//! What is found is enough, never too much: a pattern whose pieces cannot be told for sure has
//! none.

use std::mem;

use pandion_filter::{LikeForm, LikePart, LikePattern};

/// The texts that every string holds that is `like` a pattern.
pub(super) fn of_like(pattern: &LikePattern) -> Vec<String> {
    match pattern.form() {
        LikeForm::Equal(text)
        | LikeForm::Prefix(text)
        | LikeForm::Suffix(text)
        | LikeForm::Contains(text) => vec![text.clone()],
        LikeForm::General(parts) => parts
            .iter()
            .filter_map(|part| match part {
                LikePart::Literal(text) => Some(text.clone()),
                LikePart::AnyChar | LikePart::AnyRun => None,
            })
            .collect(),
    }
}

/// The texts that every string holds in which a valid regular expression matches.
///
/// Only what stands outside of groups is looked at. An alternative there, or a flag, leaves nothing
/// that is sure.
pub(super) fn of_regex(pattern: &str) -> Vec<String> {
    let mut scan = Scan { rest: pattern, pieces: Vec::new(), piece: String::new() };
    match scan.run() {
        Some(()) => scan.pieces,
        None => Vec::new(),
    }
}

struct Scan<'a> {
    rest: &'a str,
    pieces: Vec<String>,
    piece: String,
}

impl Scan<'_> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next()?;
        self.rest = chars.as_str();
        Some(next)
    }

    fn cut(&mut self) {
        if !self.piece.is_empty() {
            self.pieces.push(mem::take(&mut self.piece));
        }
    }

    /// `None` when nothing is sure.
    fn run(&mut self) -> Option<()> {
        while let Some(char) = self.next() {
            match char {
                '|' => return None,
                '(' => {
                    self.cut();
                    self.skip_group()?;
                }
                '[' => {
                    self.cut();
                    self.skip_class()?;
                }
                // The character before is optional, or repeated.
                '*' | '?' => {
                    self.piece.pop();
                    self.cut();
                }
                '{' => {
                    self.piece.pop();
                    self.cut();
                    let end = self.rest.find('}')?;
                    self.rest = &self.rest[end + 1..];
                }
                '+' => {
                    // A second repetition may be of none.
                    if self.rest.starts_with(['*', '?', '+', '{']) {
                        self.piece.pop();
                    }
                    self.cut();
                }
                '.' | '^' | '$' => self.cut(),
                '\\' => self.escape()?,
                literal => self.piece.push(literal),
            }
        }
        self.cut();
        Some(())
    }

    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'b' | 'B' | 'A' | 'z' => {
                // `\b{start}` is one assertion.
                if self.rest.starts_with('{') {
                    return None;
                }
                self.cut();
                Some(())
            }
            other if other.is_ascii_punctuation() => {
                // Some punctuation is special after a backslash in some syntaxes.
                if matches!(other, '<' | '>') {
                    return None;
                }
                self.piece.push(other);
                Some(())
            }
            _ => None,
        }
    }

    /// Behind the group whose parenthesis was just read.
    fn skip_group(&mut self) -> Option<()> {
        let mut depth = 1_usize;
        self.check_flags()?;
        while depth > 0 {
            match self.next()? {
                '(' => {
                    self.check_flags()?;
                    depth += 1;
                }
                ')' => depth -= 1,
                '[' => self.skip_class()?,
                '\\' => {
                    self.next()?;
                }
                _ => {}
            }
        }
        Some(())
    }

    /// A flag may change what the characters after it mean.
    fn check_flags(&self) -> Option<()> {
        let Some(after) = self.rest.strip_prefix('?') else { return Some(()) };
        let harmless = [":", "<", "P<"].iter().any(|start| after.starts_with(start));
        harmless.then_some(())
    }

    /// Behind the class whose bracket was just read.
    fn skip_class(&mut self) -> Option<()> {
        let mut depth = 1_usize;
        self.skip_class_start();
        while depth > 0 {
            match self.next()? {
                '[' => {
                    self.skip_class_start();
                    depth += 1;
                }
                ']' => depth -= 1,
                '\\' => {
                    self.next()?;
                }
                _ => {}
            }
        }
        Some(())
    }

    /// A bracket that closes right after the opening one, or after its `^`, is a plain character.
    fn skip_class_start(&mut self) {
        let rest = self.rest.strip_prefix('^').unwrap_or(self.rest);
        self.rest = rest.strip_prefix(']').unwrap_or(rest);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scalar::compile_regex;

    #[test]
    fn pieces_of_regular_expressions() {
        let table: [(&str, &[&str]); 20] = [
            ("abc", &["abc"]),
            ("^abc$", &["abc"]),
            ("ab+c", &["ab", "c"]),
            ("ab*c", &["a", "c"]),
            ("ab?cd", &["a", "cd"]),
            ("ab{2}cd", &["a", "cd"]),
            ("abc.*def", &["abc", "def"]),
            (r"a\.b\\c", &[r"a.b\c"]),
            (r"ab\d+cd", &["ab", "cd"]),
            ("abc[x]]def", &["abc", "]def"]),
            ("abc[]x]def", &["abc", "def"]),
            ("abc[^]x]def", &["abc", "def"]),
            ("ab(cd|ef)gh", &["ab", "gh"]),
            ("ab(?:cd)?gh", &["ab", "gh"]),
            ("ab|cd", &[]),
            ("(?i)abc", &[]),
            ("abc(?i:def)", &[]),
            (r"ab\x41cd", &[]),
            (r"\p{Greek}abc", &[]),
            ("größe", &["größe"]),
        ];
        for (pattern, pieces) in table {
            compile_regex(pattern).unwrap();
            assert_eq!(of_regex(pattern), pieces, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn a_match_holds_every_piece(
            pattern in r"([ab.+*?|()^$\\{}1-3\[\]-]|\\d|\(\?:|\(\?i\)){0,10}",
            texts in prop::collection::vec("[abAB1]{0,6}", 1..20),
        ) {
            if let Ok(regex) = compile_regex(&pattern) {
                let pieces = of_regex(&pattern);
                for text in texts.iter().filter(|text| regex.is_match(text)) {
                    for piece in &pieces {
                        prop_assert!(text.contains(piece.as_str()), "{pattern} {text} {piece}");
                    }
                }
            }
        }
    }
}
