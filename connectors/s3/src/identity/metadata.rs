//! Keys from instance metadata, version 2 only: every question shows a token that the service gave
//! before, and an answer to a question without one is never used.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::imds::Client;
use aws_config::imds::client::error::ImdsError;
use aws_config::provider_config::ProviderConfig;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use pandion_source::{AwsCredentials, CredentialSource};
use pandion_types::{Error, ErrorKind, Result, Secret, Subject};
use serde::Deserialize;
use url::Url;

use crate::aws_http::{AwsHttp, own_cause, unlogged};

/// Where the name of the instance's role stands, and below it that role's keys.
const ROLE_PATH: &str = "/latest/meta-data/iam/security-credentials/";
/// Time for one attempt, and for all.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a question is asked before it is given up.
const ATTEMPTS_MAX: u32 = 3;
/// The longest name of a role, in bytes.
const ROLE_BYTES_MAX: usize = 128;

/// Asks the service each time.
pub(super) struct Issuer {
    endpoint: String,
    client: Client,
}

impl Issuer {
    pub(super) fn new(endpoint: &Url, http: AwsHttp) -> Result<Self> {
        let config = ProviderConfig::empty()
            .with_http_client(http)
            .with_sleep_impl(SharedAsyncSleep::new(TokioSleep::new()));
        let endpoint = super::bare(endpoint);
        // Given here, so that the library looks for it neither in the environment nor in files.
        let client = Client::builder()
            .configure(&config)
            .endpoint(&endpoint)
            .map_err(|error| {
                Error::invalid_argument(format!("{endpoint} is no endpoint of instance metadata"))
                    .about(Subject::Source)
                    .caused_by(error)
            })?
            .max_attempts(ATTEMPTS_MAX)
            .connect_timeout(ATTEMPT_TIMEOUT)
            .read_timeout(ATTEMPT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(CALL_TIMEOUT)
            .build();
        Ok(Self { endpoint, client })
    }

    async fn get(&self, path: String) -> Result<String> {
        let answer = unlogged(self.client.get(path)).await;
        answer.map(String::from).map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &ImdsError) -> Error {
        if let Some(own) = own_cause(error) {
            return self.failed(own.kind(), &format!("cannot be asked: {own}"));
        }
        if let ImdsError::ErrorResponse(answer) = error {
            let status = answer.response().status().as_u16();
            let (kind, what) = match status {
                404 => (ErrorKind::PermissionDenied, "knows of no role of this instance"),
                400..500 => (ErrorKind::PermissionDenied, "refused to answer"),
                _ => (ErrorKind::Unavailable, "failed to answer"),
            };
            return self.failed(kind, &format!("{what} (HTTP {status})"));
        }
        let what = match error {
            ImdsError::FailedToLoadToken(_) => "gave no token",
            _ => "did not answer in time",
        };
        self.failed(ErrorKind::Unavailable, what)
    }

    fn failed(&self, kind: ErrorKind, what: &str) -> Error {
        let message = format!(
            "{self:?} {what}; it serves instances of AWS, and containers on them if its hop limit \
             lets it"
        );
        Error::new(kind, message).about(Subject::Source)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the instance metadata service at {}", self.endpoint)
    }
}

#[async_trait]
impl CredentialSource for Issuer {
    async fn credentials(&self) -> Result<Arc<AwsCredentials>> {
        let names = self.get(ROLE_PATH.to_owned()).await?;
        let role = names.lines().next().unwrap_or_default().trim();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
        if role.is_empty() || role.len() > ROLE_BYTES_MAX || !role.bytes().all(fits) {
            return Err(self.failed(ErrorKind::Corrupt, "names no role"));
        }
        let answer = self.get(format!("{ROLE_PATH}{role}")).await?;
        let keys = parse_keys(answer.as_bytes())
            .map_err(|what| self.failed(ErrorKind::Corrupt, &format!("makes no sense: {what}")))?;
        Ok(Arc::new(keys))
    }

    async fn renew(&self, _rejected: &AwsCredentials) -> Result<Arc<AwsCredentials>> {
        self.credentials().await
    }
}

/// The document in which instances and containers get their keys.
#[derive(Deserialize)]
struct Document {
    #[serde(rename = "Code")]
    code: Option<String>,
    #[serde(rename = "AccessKeyId")]
    key_id: Option<String>,
    #[serde(rename = "SecretAccessKey")]
    secret: Option<String>,
    #[serde(rename = "Token")]
    token: Option<String>,
    #[serde(rename = "Expiration")]
    expiration: Option<String>,
}

/// Reads that document. What it says on failure holds nothing of it.
pub(super) fn parse_keys(text: &[u8]) -> std::result::Result<AwsCredentials, &'static str> {
    // The parser's error is dropped on purpose: it may quote a key.
    let Ok(document) = serde_json::from_slice::<Document>(text) else {
        return Err("not the JSON of credentials");
    };
    if document.code.is_some_and(|code| code != "Success") {
        return Err("a failure in place of credentials");
    }
    let (Some(key_id), Some(secret)) = (document.key_id, document.secret) else {
        return Err("credentials without their keys");
    };
    let expires_at = match document.expiration {
        None => None,
        Some(text) => {
            let time = DateTime::from_str(&text, Format::DateTimeWithOffset)
                .ok()
                .and_then(|time| SystemTime::try_from(time).ok());
            Some(time.ok_or("credentials whose end is no time")?)
        }
    };
    let keys = AwsCredentials {
        key_id: Secret::new(key_id),
        secret: Secret::new(secret),
        token: document.token.filter(|token| !token.is_empty()).map(Secret::new),
        expires_at,
    };
    keys.check().map_err(|_unusable| "credentials that cannot stand in a request")?;
    Ok(keys)
}
