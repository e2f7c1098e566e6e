//! An answer of a catalog or token server, and what an error in it means.
//!
//! Servers put into their error texts whatever they like, so these are shortened, and freed of the
//! secrets that the request had, before anyone sees them.

use bytes::Bytes;
use pandion_types::{Error, ErrorKind, Result, Secret, Subject};
use serde_json::Value;
use url::Url;

/// The longest part of a server's own text that is passed on, in characters.
const REASON_CHARS_MAX: usize = 300;

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
    /// The server's own words about an error, fit to be shown.
    reason: String,
}

impl Answer {
    /// An answer to a request that held `secrets`.
    pub(super) fn new(status: u16, body: Bytes, secrets: &[&Secret]) -> Self {
        let reason = match status {
            200..300 => String::new(),
            _ => reason_of(&body, secrets),
        };
        Self { status, body, reason }
    }

    /// Whether it is what was asked for.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the server says that the token or session has ended, or does not know it.
    pub(super) fn is_unauthenticated(&self) -> bool {
        matches!(self.status, 401 | 419) || self.reason.contains("ExpiredToken")
    }

    /// The status, and the server's words about it.
    pub(super) fn reason(&self) -> String {
        match self.reason.is_empty() {
            true => format!("HTTP {}", self.status),
            false => format!("HTTP {}, {}", self.status, self.reason),
        }
    }

    /// The class of the error, if the server names one.
    pub(super) fn error_type(&self) -> Option<&str> {
        self.reason.split(':').next()
    }

    /// The JSON object that it holds; `refused` makes the error of an answer without success.
    ///
    /// # Errors
    /// That of `refused`; `Corrupt` for what is no JSON object. The text shows nothing of it.
    pub(super) fn json(&self, uri: &Url, refused: impl FnOnce(&Self) -> Error) -> Result<Value> {
        if !self.is_success() {
            return Err(refused(self));
        }
        let malformed = |what: String| {
            Error::corrupt(format!("{uri}: an answer is no JSON object: {what}"))
                .about(Subject::Source)
        };
        match serde_json::from_slice::<Value>(&self.body) {
            Ok(value) if value.is_object() => Ok(value),
            Ok(_) => Err(malformed("it is something else".to_owned())),
            // Reading into a `Value`, the parser knows of syntax and positions only.
            Err(error) => Err(malformed(error.to_string())),
        }
    }

    /// The error for a status that means the same for whatever was asked.
    pub(super) fn refusal(&self, uri: &Url, what: &str) -> Error {
        let reason = self.reason();
        let (kind, message) = match self.status {
            400 | 409 | 422 => (
                ErrorKind::InvalidArgument,
                format!("the catalog {uri} finds {what} wrong ({reason})"),
            ),
            401 | 419 => (
                ErrorKind::PermissionDenied,
                format!(
                    "the catalog {uri} does not accept the credentials of {what}: check \
                     catalog.token, catalog.credential or the keys that sign ({reason})"
                ),
            ),
            403 => (
                ErrorKind::PermissionDenied,
                format!("the catalog {uri} forbids {what} ({reason})"),
            ),
            404 => (
                ErrorKind::NotFound,
                format!("the catalog {uri} has not found what {what} is about ({reason})"),
            ),
            405 | 406 | 501 => (
                ErrorKind::Unsupported,
                format!("the catalog {uri} does not serve {what} ({reason})"),
            ),
            408 | 429 | 500.. => (
                ErrorKind::Unavailable,
                format!(
                    "the catalog {uri} cannot answer {what} now; retries were used up ({reason})"
                ),
            ),
            _ => (
                ErrorKind::Corrupt,
                format!("the catalog {uri} answers {what} in a way that makes no sense ({reason})"),
            ),
        };
        Error::new(kind, message).about(Subject::Source)
    }
}

/// Says of an error where it came from.
pub(super) fn at(uri: &Url) -> impl Fn(Error) -> Error {
    move |error| match error.kind() {
        // The policy's text is complete by itself.
        ErrorKind::PermissionDenied => error,
        _ => error.context(uri),
    }
}

/// `type: message` of the protocol's errors, `error: description` of OAuth's, and what AWS says.
fn reason_of(body: &[u8], secrets: &[&Secret]) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return String::new() };
    let text = |value: &Value, keys: [&str; 3]| {
        keys.into_iter().find_map(|key| value.get(key)?.as_str().map(str::to_owned))
    };
    let (class, message) = match value.get("error") {
        Some(Value::String(class)) => {
            (Some(class.clone()), text(&value, ["error_description", "message", "detail"]))
        }
        Some(error) => {
            (text(error, ["type", "__type", "name"]), text(error, ["message", "Message", "detail"]))
        }
        None => (
            text(&value, ["__type", "type", "code"]),
            text(&value, ["message", "Message", "detail"]),
        ),
    };
    let words: Vec<_> = [class, message].into_iter().flatten().collect();
    shown(&words.join(": "), secrets)
}

fn shown(text: &str, secrets: &[&Secret]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        // A short one could stand anywhere by chance, and hiding it would show what it is.
        if secret.expose().len() >= 4 {
            text = text.replace(secret.expose(), "***");
        }
    }
    let cleaned = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    cleaned.take(REASON_CHARS_MAX).collect()
}
