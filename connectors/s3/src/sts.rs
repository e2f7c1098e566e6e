//! The token service: sessions of roles, for a signed request or for the token of a web identity.
//!
//! What it answers is passed on by its code only. Its texts name identities of this server, which
//! are no business of whoever reads the error.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_sts::Client;
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{BehaviorVersion, Config, IdentityCache, Region};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use pandion_source::{AssumedRole, AwsCredentials};
use pandion_types::{Error, ErrorKind, Result, Secret, Subject};

use crate::aws_http::{AwsHttp, own_cause, unlogged};

/// Time for one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);
/// Time for all attempts.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a call is tried before it is given up.
const ATTEMPTS_MAX: u32 = 3;
/// The pause before the second attempt; it doubles before the third.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The token service at one endpoint.
#[derive(Clone)]
pub(crate) struct Sts {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) http: AwsHttp,
}

impl fmt::Debug for Sts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "STS at {}", self.endpoint)
    }
}

/// What the token service said no to, so that the caller can tell its own reasons.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The error code, if there was one.
    pub(crate) code: Option<String>,
    pub(crate) error: Error,
}

impl Refusal {
    /// Whether the keys that signed the call are over.
    pub(crate) fn is_expired(&self) -> bool {
        matches!(self.code.as_deref(), Some("ExpiredToken" | "ExpiredTokenException"))
    }
}

impl Sts {
    /// Opens a session of `role`, signed with `base`.
    pub(crate) async fn assume_role(
        &self,
        base: &AwsCredentials,
        role: &AssumedRole,
        external_id: Option<&Secret>,
    ) -> Result<AwsCredentials, Refusal> {
        let seconds = i32::try_from(role.session.as_secs()).unwrap_or(i32::MAX);
        let call = self
            .client(Some(base))
            .assume_role()
            .role_arn(&role.role_arn)
            .role_session_name(&role.session_name)
            .duration_seconds(seconds)
            .set_external_id(external_id.map(|id| id.expose().to_owned()));
        let answer = unlogged(call.send()).await.map_err(|error| self.refusal(&error))?;
        self.session(answer.credentials)
    }

    /// Opens a session of a role for whoever bears `token`.
    pub(crate) async fn assume_role_with_web_identity(
        &self,
        role_arn: &str,
        session_name: &str,
        token: &Secret,
    ) -> Result<AwsCredentials, Refusal> {
        let call = self
            .client(None)
            .assume_role_with_web_identity()
            .role_arn(role_arn)
            .role_session_name(session_name)
            .web_identity_token(token.expose());
        let answer = unlogged(call.send()).await.map_err(|error| self.refusal(&error))?;
        self.session(answer.credentials)
    }

    fn client(&self, base: Option<&AwsCredentials>) -> Client {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(CALL_TIMEOUT)
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(ATTEMPTS_MAX)
            .with_initial_backoff(FIRST_PAUSE);
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .endpoint_url(&self.endpoint)
            .http_client(self.http.clone())
            .identity_cache(IdentityCache::no_cache())
            .sleep_impl(TokioSleep::new())
            .retry_config(retries)
            .timeout_config(timeouts);
        let config = match base {
            None => config.allow_no_auth(),
            Some(keys) => config.credentials_provider(Credentials::new(
                keys.key_id.expose(),
                keys.secret.expose(),
                keys.token.as_ref().map(|token| token.expose().to_owned()),
                keys.expires_at,
                "pandion",
            )),
        };
        Client::from_conf(config.build())
    }

    fn session(
        &self,
        credentials: Option<aws_sdk_sts::types::Credentials>,
    ) -> Result<AwsCredentials, Refusal> {
        let nonsense = |what: &str| Refusal {
            code: None,
            error: Error::corrupt(format!("{self:?} answered {what}")).about(Subject::Source),
        };
        let credentials = credentials.ok_or_else(|| nonsense("without credentials"))?;
        let expires_at = SystemTime::try_from(*credentials.expiration())
            .map_err(|error| nonsense("with an end that is no time").caused_by(error))?;
        let session = AwsCredentials {
            key_id: Secret::new(credentials.access_key_id()),
            secret: Secret::new(credentials.secret_access_key()),
            token: Some(Secret::new(credentials.session_token())),
            expires_at: Some(expires_at),
        };
        session.check().map_err(|error| nonsense("with unusable keys").caused_by(error))?;
        Ok(session)
    }

    fn refusal<E>(&self, error: &SdkError<E, HttpResponse>) -> Refusal
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        if let Some(own) = own_cause(error) {
            let error = Error::new(own.kind(), format!("{self:?} cannot be asked: {own}"));
            return Refusal { code: None, error: error.about(Subject::Source) };
        }
        let status = error.raw_response().map(|response| response.status().as_u16());
        let code = error.code().filter(|code| is_code(code)).map(str::to_owned);
        let (kind, text) = match (&code, status) {
            (Some(code), Some(status)) => {
                let (kind, advice) = meaning(code, status);
                (kind, format!("{self:?} refused (HTTP {status}, {code}): {advice}"))
            }
            (None, Some(status @ 300..400)) => (
                ErrorKind::InvalidArgument,
                format!("{self:?} answered with a redirect (HTTP {status}), which is not followed"),
            ),
            (None, Some(status @ 500..)) => {
                (ErrorKind::Unavailable, format!("{self:?} failed (HTTP {status}); try again"))
            }
            (None, Some(status)) => (
                ErrorKind::Corrupt,
                format!("the answer of {self:?} makes no sense (HTTP {status})"),
            ),
            (_, None) => (ErrorKind::Unavailable, format!("{self:?} did not answer in time")),
        };
        Refusal { code, error: Error::new(kind, text).about(Subject::Source) }
    }
}

impl Refusal {
    fn caused_by(self, error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { error: self.error.caused_by(error), ..self }
    }
}

fn is_code(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
}

/// What a code means for whoever asked, and what to do about it.
fn meaning(code: &str, status: u16) -> (ErrorKind, &'static str) {
    match code {
        "AccessDenied" => (
            ErrorKind::PermissionDenied,
            "the trust policy of the role must name this server's identity and, if it asks for an \
             external id, the one in extfs.external_id; and this server's identity must be allowed \
             sts:AssumeRole on the role",
        ),
        "InvalidClientTokenId" | "UnrecognizedClientException" | "InvalidAccessKeyId" => {
            (ErrorKind::PermissionDenied, "it does not know the keys of this server's identity")
        }
        "SignatureDoesNotMatch" | "IncompleteSignature" => (
            ErrorKind::PermissionDenied,
            "the secret key of this server's identity is wrong, or this server's clock is",
        ),
        "RequestExpired" | "RequestTimeTooSkewed" => {
            (ErrorKind::PermissionDenied, "this server's clock is wrong: set it")
        }
        "ExpiredToken" | "ExpiredTokenException" => {
            (ErrorKind::PermissionDenied, "the session or token of this server's identity is over")
        }
        "InvalidIdentityToken" | "IDPRejectedClaim" => (
            ErrorKind::PermissionDenied,
            "the role does not accept the web identity token of this server",
        ),
        "RegionDisabledException" => {
            (ErrorKind::InvalidArgument, "the account has no STS in this region: activate it there")
        }
        "ValidationError" | "ValidationException" => (
            ErrorKind::InvalidArgument,
            "check role_arn, session_name and external_id; load_frequency must not exceed the \
             role's longest session, or one hour if this server's identity is itself a role's \
             session",
        ),
        _ if status >= 500 || status == 429 || is_throttling(code) => {
            (ErrorKind::Unavailable, "try again")
        }
        _ => (ErrorKind::PermissionDenied, "see AWS's documentation of this code"),
    }
}

fn is_throttling(code: &str) -> bool {
    matches!(code, "Throttling" | "ThrottlingException" | "RequestLimitExceeded" | "SlowDown")
        || code == "IDPCommunicationError"
}
