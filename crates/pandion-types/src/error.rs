//! One error for the whole workspace.
//!
//! [`ErrorKind`] says what the caller can do, [`Subject`] what the error is about; the doors map
//! the pair to their own codes in one place. The message is complete for a user: it names the
//! offending thing. It never holds a secret.

use std::error::Error as StdError;
use std::fmt;

/// The workspace's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is wrong: change it.
    InvalidArgument,
    /// The named thing does not exist.
    NotFound,
    /// The named thing exists already.
    AlreadyExists,
    /// The state of the thing forbids it now (not loaded, a job is running, a file has changed).
    Conflict,
    /// Try again: the cause may pass.
    Unavailable,
    /// The caller went away or a deadline passed.
    Cancelled,
    /// The caller may not do this.
    PermissionDenied,
    /// Stored bytes are not what was written, or not what their format allows.
    Corrupt,
    /// Not built, or not possible for this kind of collection.
    Unsupported,
    /// A defect of ours.
    Internal,
}

/// What an error is about, for doors that have a code per noun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A collection.
    Collection,
    /// A collection's load state.
    Load,
    /// A database.
    Database,
    /// An alias.
    Alias,
    /// A partition.
    Partition,
    /// A field.
    Field,
    /// An index.
    Index,
    /// A refresh job.
    Job,
    /// A file or table in the lake, or the server that holds it.
    Source,
    /// A method or operation.
    Method,
    /// Anything else.
    Other,
}

/// An error of any Pandion crate; one word wide.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    subject: Subject,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error about no noun in particular.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            subject: Subject::Other,
            message: message.into(),
            source: None,
        }))
    }

    /// A request that is wrong.
    #[must_use]
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// A thing that does not exist.
    #[must_use]
    pub fn not_found(subject: Subject, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message).about(subject)
    }

    /// A thing that is not built or not possible.
    #[must_use]
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// Bytes that are not what they should be.
    #[must_use]
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// A cause that may pass.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// A state that forbids the request for now.
    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// A defect of ours.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Says what the error is about.
    #[must_use]
    pub fn about(mut self, subject: Subject) -> Self {
        self.0.subject = subject;
        self
    }

    /// Keeps the foreign error that caused this one. Its text is not shown to users.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Puts `context` in front of the message: `<context>: <message>`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// Appends `[key=value]` to the message, the form in which Milvus names offending things.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        use fmt::Write as _;
        let written = write!(self.0.message, "[{key}={value}]");
        debug_assert!(written.is_ok(), "writing to a String does not fail");
        self
    }

    /// What the caller can do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What it is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        self.0.subject
    }

    /// The text for the user.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({:?}): {}", self.0.kind, self.0.subject, self.0.message)?;
        match &self.0.source {
            Some(source) => write!(f, " (caused by: {source})"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Adds context to the error side of a [`Result`].
pub trait ResultExt<T> {
    /// Puts the context that `context` makes in front of the message.
    ///
    /// # Errors
    /// The same error, with the context.
    fn context<C: fmt::Display>(self, context: impl FnOnce() -> C) -> Result<T>;
}

impl<T> ResultExt<T> for Result<T> {
    fn context<C: fmt::Display>(self, context: impl FnOnce() -> C) -> Self {
        self.map_err(|error| error.context(context()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_has_context_before_and_keys_after() {
        let error = Error::not_found(Subject::Collection, "collection not found")
            .with("database", "default")
            .with("collection", "x")
            .context("describe");
        assert_eq!(
            error.to_string(),
            "describe: collection not found[database=default][collection=x]"
        );
        assert_eq!((error.kind(), error.subject()), (ErrorKind::NotFound, Subject::Collection));
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn cause_is_kept_but_not_shown() {
        let error = Error::corrupt("bad footer").caused_by("foreign text");
        assert_eq!(error.to_string(), "bad footer");
        assert!(format!("{error:?}").contains("foreign text"));
        assert!(error.source().is_some());
    }
}
