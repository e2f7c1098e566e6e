//! What an error of an object store means for whoever asked.
//!
//! A store's own error texts hold request bodies, which may quote access keys and signatures. None
//! of that is passed on: a message names the file or bucket, the HTTP status and the store's error
//! code, and the cause that is kept is a digest of the same.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use object_store::Error as StoreError;
use pandion_types::{Error, ErrorKind, Subject};

use crate::attributed::AskedAs;
use crate::credentials::CredentialFailure;
use crate::http_connector::{BrokenListing, find_refusal};

/// The longest text of a transport error that is passed on, in characters.
const DETAIL_CHARS_MAX: usize = 200;

/// What went wrong, as far as it can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The object, folder or bucket does not exist.
    NotFound,
    /// The content is not the one asked for.
    Changed,
    /// The store does not let us.
    Forbidden,
    /// The store answered with a redirect.
    Redirected,
    /// The store finds the request wrong.
    Refused,
    /// It may work later.
    Unavailable,
    /// There are no credentials to ask the store with.
    Unidentified(ErrorKind),
    /// The task was aborted.
    Cancelled,
    /// The answer makes no sense.
    Senseless,
}

/// A store's error, digested.
#[derive(Debug)]
pub(crate) struct StoreFailure {
    pub(crate) failure: Failure,
    detail: String,
    /// On whose behalf the store was asked, if that is known.
    who: Option<Arc<str>>,
    /// A text of ours that is complete by itself.
    message: Option<String>,
}

impl StoreFailure {
    pub(crate) fn of(error: &StoreError) -> Self {
        let told = |failure, detail: &str, message: String| Self {
            failure,
            detail: detail.to_owned(),
            who: None,
            message: Some(message),
        };
        if let Some(refusal) = find_refusal(error) {
            return told(Failure::Forbidden, "endpoint policy", refusal.to_string());
        }
        if let Some(cause) = find::<CredentialFailure>(error) {
            return told(Failure::Unidentified(cause.kind()), "credentials", cause.to_string());
        }
        let text = error.to_string();
        let status = status_of(&text);
        let code = code_of(&text);
        let failure = classify(error, status, code);
        let detail = match (status, code) {
            (Some(status), Some(code)) => match advice(code) {
                Some(advice) => format!("HTTP {status}, {code}: {advice}"),
                None => format!("HTTP {status}, {code}"),
            },
            (Some(status), None) => format!("HTTP {status}"),
            (None, _) => innermost_text(error),
        };
        let who = find::<AskedAs>(error).map(|asked| Arc::clone(&asked.who));
        Self { failure, detail, who, message: None }
    }

    /// The error to report about `target`, which is `file <uri>` or `bucket <uri>`.
    pub(crate) fn into_error(self, target: &str) -> Error {
        let detail = &self.detail;
        let (kind, message) = match self.failure {
            Failure::NotFound => (ErrorKind::NotFound, format!("{target} not found ({detail})")),
            Failure::Changed => {
                (ErrorKind::Conflict, format!("{target} has changed; refresh the collection"))
            }
            Failure::Forbidden => (
                ErrorKind::PermissionDenied,
                self.message.clone().unwrap_or_else(|| match &self.who {
                    Some(who) => {
                        format!("access to {target} with {who} was denied by the store ({detail})")
                    }
                    None => format!("access to {target} was denied by the store ({detail})"),
                }),
            ),
            Failure::Unidentified(kind) => {
                let cause = self.message.as_deref().unwrap_or(detail);
                (kind, format!("{target} cannot be asked for: {cause}"))
            }
            Failure::Redirected => (
                ErrorKind::InvalidArgument,
                format!(
                    "the store answered a request for {target} with a redirect, which is not \
                     followed: check the endpoint and extfs.region ({detail})"
                ),
            ),
            Failure::Refused => (
                ErrorKind::InvalidArgument,
                format!(
                    "the store refused a request for {target}: check extfs.region, use_ssl and \
                     use_virtual_host ({detail})"
                ),
            ),
            Failure::Unavailable => (
                ErrorKind::Unavailable,
                format!("{target} cannot be reached now; retries were used up ({detail})"),
            ),
            Failure::Cancelled => {
                (ErrorKind::Cancelled, format!("access to {target} was cancelled"))
            }
            Failure::Senseless => (
                ErrorKind::Corrupt,
                format!("the store's answer about {target} makes no sense ({detail})"),
            ),
        };
        Error::new(kind, message).about(Subject::Source).caused_by(self)
    }
}

impl fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.failure, self.detail)
    }
}

impl StdError for StoreFailure {}

fn classify(error: &StoreError, status: Option<u16>, code: Option<&str>) -> Failure {
    match error {
        StoreError::NotFound { .. } => Failure::NotFound,
        StoreError::Precondition { .. } | StoreError::NotModified { .. } => Failure::Changed,
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
            Failure::Forbidden
        }
        StoreError::JoinError { .. } => Failure::Cancelled,
        StoreError::NotSupported { .. } | StoreError::NotImplemented { .. } => Failure::Refused,
        _ => match (status, code) {
            (_, Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired")) => {
                Failure::Forbidden
            }
            // Which of them a store answers to a wrong region differs, and so does the status.
            (_, Some("AuthorizationHeaderMalformed" | "IllegalLocationConstraintException")) => {
                Failure::Refused
            }
            (Some(404), _) => Failure::NotFound,
            (Some(412), _) => Failure::Changed,
            (Some(401 | 403), _) => Failure::Forbidden,
            (Some(408 | 429 | 500..), _) => Failure::Unavailable,
            (Some(300..400), _) => Failure::Redirected,
            (Some(400..500), _) => Failure::Refused,
            // A page with status 200 that carries an error.
            (Some(_), Some("SlowDown" | "InternalError")) => Failure::Unavailable,
            _ => classify_without_status(error),
        },
    }
}

fn classify_without_status(error: &StoreError) -> Failure {
    let mut current: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = current {
        if error.is::<BrokenListing>() {
            return Failure::Senseless;
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return match error.kind() {
                io::ErrorKind::NotFound => Failure::NotFound,
                io::ErrorKind::PermissionDenied => Failure::Forbidden,
                _ => Failure::Unavailable,
            };
        }
        if let Some(error) = error.downcast_ref::<reqwest::Error>()
            && (error.is_timeout() || error.is_connect() || error.is_request() || error.is_body())
        {
            return Failure::Unavailable;
        }
        if error.is::<Error>() {
            return Failure::Unavailable;
        }
        current = error.source();
    }
    if error.to_string().contains("Received redirect without LOCATION") {
        return Failure::Redirected;
    }
    Failure::Senseless
}

/// What to do about an error code of S3, where that follows from the code.
fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
        "AccessDenied" | "AllAccessDisabled" => {
            "the identity needs s3:ListBucket and s3:GetBucketLocation on the bucket and \
             s3:GetObject on its objects"
        }
        "InvalidAccessKeyId" | "NotSignedUp" => "the store does not know the access key id",
        "SignatureDoesNotMatch" => {
            "the secret key does not belong to the access key id, or the endpoint or region is wrong"
        }
        "RequestTimeTooSkewed" => {
            "the clocks of this server and of the store differ by more than the store allows: set \
             this server's clock"
        }
        "ExpiredToken" | "TokenRefreshRequired" => "the session has expired",
        "InvalidToken" => "the store does not accept the session's token",
        "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
            "extfs.region is not the region of the bucket"
        }
        _ => return None,
    })
}

/// The first cause of this type.
fn find<E: StdError + 'static>(error: &StoreError) -> Option<&E> {
    let mut current: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        current = error.source();
    }
    None
}

/// The HTTP status in the text of the client's error; it has no other way out of there.
fn status_of(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// The error code in a store's XML answer, if it looks like one.
fn code_of(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let fits = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then_some(code)
}

/// The text of the first cause, where no store has spoken: what we, the network or the operating
/// system say holds no secret.
fn innermost_text(error: &StoreError) -> String {
    let mut innermost: &(dyn StdError + 'static) = error;
    while let Some(source) = innermost.source() {
        innermost = source;
        if innermost.is::<Error>() {
            break;
        }
    }
    let text = innermost.to_string();
    if text.contains('<') {
        return "an answer that is not understood".to_owned();
    }
    text.chars().take(DETAIL_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributed::attribute;

    fn generic(text: &str) -> StoreError {
        StoreError::Generic { store: "S3", source: text.to_owned().into() }
    }

    fn status(status: &str, body: &str) -> String {
        format!(
            "Error performing GET http://h/b in 3ms - Server returned non-2xx status code: {status}: {body}"
        )
    }

    #[test]
    fn kinds_follow_status_and_code() {
        let no_bucket = "<?xml?><Error><Code>NoSuchBucket</Code></Error>";
        for (text, kind) in [
            (status("404 Not Found", no_bucket), ErrorKind::NotFound),
            (status("503 Service Unavailable", ""), ErrorKind::Unavailable),
            (status("429 Too Many Requests", ""), ErrorKind::Unavailable),
            (status("403 Forbidden", "<Code>AccessDenied</Code>"), ErrorKind::PermissionDenied),
            (status("401 Unauthorized", ""), ErrorKind::PermissionDenied),
            (status("400 Bad Request", "<Code>ExpiredToken</Code>"), ErrorKind::PermissionDenied),
            (status("400 Bad Request", ""), ErrorKind::InvalidArgument),
            (status("301 Moved Permanently", ""), ErrorKind::InvalidArgument),
            (status("412 Precondition Failed", ""), ErrorKind::Conflict),
            ("Content-Range header not present".to_owned(), ErrorKind::Corrupt),
        ] {
            let error = StoreFailure::of(&generic(&text)).into_error("bucket s3://h/b");
            assert_eq!(error.kind(), kind, "{text}");
            assert_eq!(error.subject(), Subject::Source);
            assert!(error.message().contains("bucket s3://h/b"), "{error}");
        }
    }

    #[test]
    fn nothing_of_an_answer_but_its_code_is_passed_on() {
        let body = "<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>CANARY\
                    </AWSAccessKeyId><StringToSign>CANARY</StringToSign></Error>";
        let error = StoreFailure::of(&generic(&status("403 Forbidden", body))).into_error("file f");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("CANARY"), "{shown}");
        assert!(shown.contains("SignatureDoesNotMatch"), "{shown}");
        let error = StoreFailure::of(&generic("<html>CANARY</html>")).into_error("file f");
        assert!(!format!("{error:?}").contains("CANARY"), "{error:?}");
    }

    #[test]
    fn a_code_says_what_to_do() {
        for (code, part, kind) in [
            ("AccessDenied", "s3:GetObject", ErrorKind::PermissionDenied),
            ("RequestTimeTooSkewed", "clock", ErrorKind::PermissionDenied),
            ("InvalidAccessKeyId", "access key id", ErrorKind::PermissionDenied),
            ("AuthorizationHeaderMalformed", "extfs.region", ErrorKind::InvalidArgument),
        ] {
            let text = status("403 Forbidden", &format!("<Code>{code}</Code>"));
            let error = StoreFailure::of(&generic(&text)).into_error("bucket s3://h/b");
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(part) && error.message().contains(code), "{error}");
        }
    }

    #[test]
    fn a_denial_says_who_was_denied() {
        let text = status("403 Forbidden", "<Code>AccessDenied</Code>");
        let denied = StoreError::PermissionDenied { path: "p".into(), source: text.into() };
        let error = StoreFailure::of(&attribute(&"extfs.role_arn r".into(), denied));
        let error = error.into_error("file f");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let expected = "access to file f with extfs.role_arn r was denied by the store (HTTP 403";
        assert!(error.message().starts_with(expected), "{error}");
    }

    #[test]
    fn a_failure_to_get_credentials_is_not_one_of_the_store() {
        let failed = Error::unavailable("STS is down").caused_by("CANARY");
        let source = Box::new(CredentialFailure::of(&failed));
        let error = StoreFailure::of(&StoreError::Generic { store: "S3", source });
        let error = error.into_error("file f");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.message(), "file f cannot be asked for: STS is down");
        assert!(!format!("{error:?}").contains("CANARY"));
    }

    #[test]
    fn errors_of_the_operating_system_keep_their_kind() {
        for (io_kind, kind) in [
            (io::ErrorKind::PermissionDenied, ErrorKind::PermissionDenied),
            (io::ErrorKind::ConnectionReset, ErrorKind::Unavailable),
        ] {
            let source = Box::new(io::Error::from(io_kind));
            let error = StoreError::Generic { store: "x", source };
            assert_eq!(StoreFailure::of(&error).into_error("file f").kind(), kind);
        }
    }
}
