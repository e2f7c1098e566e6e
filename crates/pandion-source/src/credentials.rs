//! Keys of AWS and of the stores that speak its protocol: where they come from, and how long they
//! are good for.
//!
//! [`CredentialSource`] is the seam between whoever signs requests and whoever issues keys: a
//! specification, a token service, a metadata service, a catalogue that vends them. Nothing here
//! asks for keys over the network, and no key can be printed.

mod renewing;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use object_store::aws::AwsCredential;
use pandion_types::{Error, ErrorKind, Result, Secret, Subject};

pub use renewing::{RenewalLimits, RenewingCredentials};

/// Keys that sign requests, and the token that goes with those of a session.
#[derive(Clone, PartialEq, Eq)]
pub struct AwsCredentials {
    /// Which key it is. It travels in clear, but descriptions do not show it either.
    pub key_id: Secret,
    /// The half that signs.
    pub secret: Secret,
    /// The session's token; `None` for keys that belong to no session.
    pub token: Option<Secret>,
    /// When they stop to be valid; `None` when they do not by themselves.
    pub expires_at: Option<SystemTime>,
}

impl AwsCredentials {
    /// Keys without a session and without an end.
    #[must_use]
    pub fn lasting(key_id: Secret, secret: Secret) -> Self {
        Self { key_id, secret, token: None, expires_at: None }
    }

    /// Whether both are the same session: the same key with the same token.
    #[must_use]
    pub fn is_same_session(&self, other: &Self) -> bool {
        self.key_id == other.key_id && self.token == other.token
    }

    /// Checks that the keys can stand in the headers of a request.
    ///
    /// # Errors
    /// `InvalidArgument` about the source for a key id or token with a character that no header
    /// carries. It shows neither.
    pub fn check(&self) -> Result<()> {
        let fits = |secret: &Secret| {
            !secret.is_empty() && secret.expose().bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !fits(&self.key_id) {
            return Err(unusable("access key id"));
        }
        if self.token.as_ref().is_some_and(|token| !fits(token)) {
            return Err(unusable("session token"));
        }
        Ok(())
    }

    /// The same keys, as the client of an object store takes them. Whoever gets them must not
    /// print them: their `Debug` shows the key id.
    #[must_use]
    pub fn to_object_store(&self) -> AwsCredential {
        AwsCredential {
            key_id: self.key_id.expose().to_owned(),
            secret_key: self.secret.expose().to_owned(),
            token: self.token.as_ref().map(|token| token.expose().to_owned()),
        }
    }
}

fn unusable(what: &str) -> Error {
    Error::invalid_argument(format!(
        "the {what} has a character that cannot stand in a request, such as a space or line end"
    ))
    .about(Subject::Source)
}

impl fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsCredentials")
            .field("has_token", &self.token.is_some())
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Where keys come from. Implementations never answer with the keys of another identity than the
/// one that they stand for, whatever fails. Their `Debug` says in a few words whose keys they are,
/// fit for an error that a user reads.
#[async_trait]
pub trait CredentialSource: fmt::Debug + Send + Sync {
    /// Keys to sign a request with now. It may be asked for each request: what costs a request
    /// of its own belongs behind [`RenewingCredentials`].
    ///
    /// # Errors
    /// `PermissionDenied` about the source when the issuer refuses, `Unavailable` when it cannot
    /// be reached, naming what was asked and what to do about it.
    async fn credentials(&self) -> Result<Arc<AwsCredentials>>;

    /// Other keys, after a store said that `rejected` are no longer valid.
    ///
    /// # Errors
    /// As [`Self::credentials`]; `PermissionDenied` when there are no others to be had.
    async fn renew(&self, rejected: &AwsCredentials) -> Result<Arc<AwsCredentials>>;
}

/// A failure of a [`CredentialSource`] on its way through the errors of an object store's client:
/// at the other end it is reported as it is, and not as a failure of the store.
#[derive(Clone, Debug)]
pub struct CredentialFailure {
    kind: ErrorKind,
    message: String,
}

impl CredentialFailure {
    /// Takes what is shown of `error`, and nothing of its causes.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        Self { kind: error.kind(), message: error.message().to_owned() }
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for CredentialFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CredentialFailure {}

/// Keys that never change.
#[derive(Clone)]
pub struct StaticCredentials(Arc<AwsCredentials>);

impl fmt::Debug for StaticCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys that do not change")
    }
}

impl StaticCredentials {
    /// A source of these keys.
    #[must_use]
    pub fn new(credentials: AwsCredentials) -> Self {
        Self(Arc::new(credentials))
    }
}

#[async_trait]
impl CredentialSource for StaticCredentials {
    async fn credentials(&self) -> Result<Arc<AwsCredentials>> {
        Ok(Arc::clone(&self.0))
    }

    async fn renew(&self, _rejected: &AwsCredentials) -> Result<Arc<AwsCredentials>> {
        let message = "the store says that the given keys are no longer valid: give others";
        Err(Error::new(ErrorKind::PermissionDenied, message).about(Subject::Source))
    }
}

#[cfg(test)]
mod tests;
