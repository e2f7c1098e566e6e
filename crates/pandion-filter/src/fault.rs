//! What is wrong with an expression, before it is wrapped into the message that a user reads.

use std::fmt::Write as _;

use pandion_types::Error;

/// How many characters of a text are repeated inside a message.
const MAX_QUOTED_CHARS: usize = 1024;

/// Why an expression was refused.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The text breaks a rule of the grammar or of the types.
    Detail(String),
    /// The text is a value of this type, not a condition.
    NotBoolean(String),
}

impl Fault {
    pub(crate) fn detail(detail: impl Into<String>) -> Self {
        Self::Detail(detail.into())
    }

    /// A fault of the grammar at byte `offset` of `text`: `line 1:5 <what>`, with the line counted
    /// from 1 and the column in characters from 0, as ANTLR counts them.
    pub(crate) fn syntax(text: &str, offset: usize, what: &str) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or(before).chars().count();
        Self::Detail(format!("line {line}:{column} {what}"))
    }

    /// The detail alone, for messages that quote one fault inside another.
    pub(crate) fn into_detail(self) -> String {
        match self {
            Self::Detail(detail) => detail,
            Self::NotBoolean(data_type) => {
                format!("predicate is not a boolean expression, data type: {data_type}")
            }
        }
    }

    pub(crate) fn into_error(self, text: &str) -> Error {
        let text = shorten(text, MAX_QUOTED_CHARS);
        Error::invalid_argument(match self {
            Self::Detail(detail) => format!(
                "failed to create query plan: cannot parse expression: {text}, error: {detail}: \
                 invalid parameter"
            ),
            Self::NotBoolean(data_type) => format!(
                "failed to create query plan: predicate is not a boolean expression: {text}, data \
                 type: {data_type}: invalid parameter"
            ),
        })
    }
}

impl From<String> for Fault {
    fn from(detail: String) -> Self {
        Self::Detail(detail)
    }
}

/// `text`, or its first `chars_max` characters and a note of its length.
pub(crate) fn shorten(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some((end, _)) => {
            let mut short = text.get(..end).unwrap_or_default().to_owned();
            let written = write!(short, "... ({} bytes)", text.len());
            debug_assert!(written.is_ok(), "writing to a String does not fail");
            short
        }
    }
}
