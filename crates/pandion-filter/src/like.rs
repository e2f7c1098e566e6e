//! Patterns of `like`: `%` is any run of characters, `_` any one character, and a backslash takes
//! the meaning from the character after it.

/// A pattern, and the shape that lets an evaluator take a shortcut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LikePattern {
    text: String,
    form: LikeForm,
}

/// The shape of a pattern. Texts have no escapes left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LikeForm {
    /// The whole string is this text.
    Equal(String),
    /// The string begins with this text; with the empty text every string matches.
    Prefix(String),
    /// The string ends with this text, which is not empty.
    Suffix(String),
    /// The string holds this text, which is not empty.
    Contains(String),
    /// Anything else.
    General(Vec<LikePart>),
}

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LikePart {
    /// This text; not empty, and never next to another text.
    Literal(String),
    /// Any one character (`_`).
    AnyChar,
    /// Any run of characters, the empty one and line ends included (`%`); never twice in a row.
    AnyRun,
}

impl LikePattern {
    /// Reads a pattern. Every text is one: a backslash at the very end stands for itself.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let form = LikeForm::of(parts(&text));
        Self { text, form }
    }

    /// The pattern with its escapes: the string literal of the filter after C's escapes were
    /// resolved, so that `\%` is a percent sign.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The shape of the pattern.
    #[must_use]
    pub fn form(&self) -> &LikeForm {
        &self.form
    }

    /// Whether the whole of `candidate` matches. Takes time proportional to the product of the
    /// lengths at worst.
    #[must_use]
    pub fn matches(&self, candidate: &str) -> bool {
        match &self.form {
            LikeForm::Equal(text) => candidate == text,
            LikeForm::Prefix(text) => candidate.starts_with(text.as_str()),
            LikeForm::Suffix(text) => candidate.ends_with(text.as_str()),
            LikeForm::Contains(text) => candidate.contains(text.as_str()),
            LikeForm::General(parts) => general_matches(parts, candidate),
        }
    }
}

impl LikeForm {
    fn of(mut parts: Vec<LikePart>) -> Self {
        use LikePart::{AnyRun, Literal};
        let mut literal = |index: usize| match parts.get_mut(index) {
            Some(Literal(text)) => Some(std::mem::take(text)),
            _ => None,
        };
        let text = literal(0).map(|text| (0, text)).or_else(|| literal(1).map(|text| (1, text)));
        match (parts.as_slice(), text) {
            ([], _) => Self::Equal(String::new()),
            ([AnyRun], _) => Self::Prefix(String::new()),
            ([Literal(_)], Some((_, text))) => Self::Equal(text),
            ([Literal(_), AnyRun], Some((_, text))) => Self::Prefix(text),
            ([AnyRun, Literal(_)], Some((_, text))) => Self::Suffix(text),
            ([AnyRun, Literal(_), AnyRun], Some((_, text))) => Self::Contains(text),
            (_, taken) => {
                if let Some((index, text)) = taken
                    && let Some(part) = parts.get_mut(index)
                {
                    *part = Literal(text);
                }
                Self::General(parts)
            }
        }
    }
}

fn parts(text: &str) -> Vec<LikePart> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let flush = |literal: &mut String, parts: &mut Vec<LikePart>| {
        if !literal.is_empty() {
            parts.push(LikePart::Literal(std::mem::take(literal)));
        }
    };
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '%' => {
                flush(&mut literal, &mut parts);
                if parts.last() != Some(&LikePart::AnyRun) {
                    parts.push(LikePart::AnyRun);
                }
            }
            '_' => {
                flush(&mut literal, &mut parts);
                parts.push(LikePart::AnyChar);
            }
            '\\' => literal.push(chars.next().unwrap_or('\\')),
            other => literal.push(other),
        }
    }
    flush(&mut literal, &mut parts);
    parts
}

/// Greedy matching: after a mismatch the last run of `%` takes one character more, and only the
/// last one has to be tried again.
fn general_matches(parts: &[LikePart], candidate: &str) -> bool {
    let mut rest = candidate;
    let mut next = 0;
    let mut retry: Option<(usize, &str)> = None;
    loop {
        let step = match parts.get(next) {
            Some(LikePart::AnyRun) => {
                retry = Some((next + 1, rest));
                Some(rest)
            }
            Some(LikePart::AnyChar) => drop_char(rest),
            Some(LikePart::Literal(text)) => rest.strip_prefix(text.as_str()),
            None if rest.is_empty() => return true,
            None => None,
        };
        if let Some(after) = step {
            rest = after;
            next += 1;
            continue;
        }
        let Some((part, from)) = retry else { return false };
        let Some(shorter) = drop_char(from) else { return false };
        retry = Some((part, shorter));
        (next, rest) = (part, shorter);
    }
}

fn drop_char(text: &str) -> Option<&str> {
    let mut chars = text.chars();
    chars.next().map(|_| chars.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(text: &str) -> LikeForm {
        LikePattern::new(text).form
    }

    #[test]
    fn shapes_are_recognised() {
        let own = str::to_owned;
        assert_eq!(form(""), LikeForm::Equal(String::new()));
        assert_eq!(form("abc"), LikeForm::Equal(own("abc")));
        assert_eq!(form("%"), LikeForm::Prefix(String::new()));
        assert_eq!(form("%%"), LikeForm::Prefix(String::new()));
        assert_eq!(form("abc%"), LikeForm::Prefix(own("abc")));
        assert_eq!(form("%abc"), LikeForm::Suffix(own("abc")));
        assert_eq!(form("%abc%%"), LikeForm::Contains(own("abc")));
        assert_eq!(form(r"100\%"), LikeForm::Equal(own("100%")));
        assert_eq!(form(r"a\_b%"), LikeForm::Prefix(own("a_b")));
        assert_eq!(form(r"a\\%"), LikeForm::Prefix(own(r"a\")));
        assert_eq!(form(r"a\"), LikeForm::Equal(own(r"a\")));
        assert_eq!(
            form("a%b"),
            LikeForm::General(vec![
                LikePart::Literal(own("a")),
                LikePart::AnyRun,
                LikePart::Literal(own("b")),
            ])
        );
        assert_eq!(
            form("_b%"),
            LikeForm::General(vec![
                LikePart::AnyChar,
                LikePart::Literal(own("b")),
                LikePart::AnyRun
            ])
        );
    }

    /// Matches by trying every length of every run.
    fn naive(parts: &[LikePart], candidate: &str) -> bool {
        match parts.split_first() {
            None => candidate.is_empty(),
            Some((LikePart::Literal(text), rest)) => {
                candidate.strip_prefix(text.as_str()).is_some_and(|after| naive(rest, after))
            }
            Some((LikePart::AnyChar, rest)) => {
                drop_char(candidate).is_some_and(|after| naive(rest, after))
            }
            Some((LikePart::AnyRun, rest)) => {
                naive(rest, candidate)
                    || drop_char(candidate).is_some_and(|after| naive(parts, after))
            }
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_naive_matcher(
            pattern in r"[ab\\%_\n]{0,8}",
            candidate in r"[ab%_\n]{0,8}",
        ) {
            let like = LikePattern::new(pattern.clone());
            prop_assert_eq!(like.matches(&candidate), naive(&parts(&pattern), &candidate));
        }
    }
}
