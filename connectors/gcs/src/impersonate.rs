//! Tokens for reading a bucket: fetched once for all readers, and renewed before they end.
//!
//! A renewal that fails changes nothing for as long as the token at hand lives. There is no way
//! from one identity to another: where the account cannot be acted as, reading fails.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use object_store::client::CredentialProvider;
use object_store::gcp::GcpCredential;
use pandion_types::{Error, ErrorKind, Result, Subject};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::identity::{Identity, Token, denied};
use crate::token_client::{Answer, TokenClient};

/// Reading is all that a source needs.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_only";
/// How long a token is asked for; the longest that Google gives to everybody.
const LIFETIME_SECONDS: u32 = 3600;
/// A token with less time than this left is renewed.
const RENEW_BEFORE: TimeDelta = TimeDelta::seconds(225);
/// The pause between renewals that fail.
const RENEW_AGAIN_AFTER: TimeDelta = TimeDelta::seconds(15);

/// What tells the time.
pub(crate) type Now = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Gives a token for reading to whoever asks.
pub(crate) struct TokenSource {
    /// The service account to act as; `None` is the server itself.
    account: Option<String>,
    identity: Identity,
    iam: TokenClient,
    now: Now,
    /// Held during a renewal, so that one renewal serves all who wait.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// No renewal before this, unless there is no token that lives.
    not_before: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GeneratedToken {
    access_token: String,
    expire_time: DateTime<Utc>,
}

impl TokenSource {
    pub(crate) fn new(account: Option<String>, identity: Identity, iam: TokenClient) -> Self {
        Self { account, identity, iam, now: Arc::new(Utc::now), state: Mutex::default() }
    }

    #[cfg(test)]
    pub(crate) fn at(self, now: Now) -> Self {
        Self { now, ..self }
    }

    async fn token(&self) -> Result<Token> {
        let mut state = self.state.lock().await;
        let now = (self.now)();
        let living = state.token.clone().filter(|token| token.expires_at > now);
        if let Some(token) = &living {
            let is_early = token.expires_at - now > RENEW_BEFORE;
            if is_early || state.not_before.is_some_and(|not_before| now < not_before) {
                return Ok(token.clone());
            }
        }
        match (self.fetch(now).await, living) {
            (Ok(token), _) => {
                *state = State { token: Some(token.clone()), not_before: None };
                Ok(token)
            }
            (Err(error), Some(token)) => {
                tracing::warn!(%error, "a token was not renewed; the one at hand lives on");
                state.not_before = Some(now + RENEW_AGAIN_AFTER);
                Ok(token)
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn fetch(&self, now: DateTime<Utc>) -> Result<Token> {
        let own = self.identity.token(now).await?;
        let Some(account) = &self.account else { return Ok(own) };
        let path = format!("/v1/projects/-/serviceAccounts/{account}:generateAccessToken");
        // The cause is dropped on purpose: it belongs to a token.
        let Ok(mut bearer) = HeaderValue::try_from(format!("Bearer {}", own.credential.bearer))
        else {
            return Err(denied("the server's own Google identity gave a malformed token"));
        };
        bearer.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = serde_json::json!({
            "scope": [SCOPE],
            "lifetime": format!("{LIFETIME_SECONDS}s"),
        });
        let answer = self.iam.send(Method::POST, &path, headers, &body.to_string()).await?;
        if !answer.status.is_success() {
            return Err(refusal(account, &answer));
        }
        match serde_json::from_slice::<GeneratedToken>(&answer.body) {
            Ok(token) => Ok(Token::new(token.access_token, token.expire_time)),
            // The parser's error is dropped on purpose: it may quote a token.
            Err(_) => Err(Error::corrupt(format!(
                "the answer of Google about service account {account} is not understood"
            ))
            .about(Subject::Source)),
        }
    }
}

fn refusal(account: &str, answer: &Answer) -> Error {
    let status = answer.status.as_u16();
    let detail = match error_status(&answer.body) {
        Some(name) => format!("HTTP {status}, {name}"),
        None => format!("HTTP {status}"),
    };
    if answer.status.is_server_error() || status == 429 {
        return Error::unavailable(format!(
            "no token for service account {account} was got now ({detail})"
        ))
        .about(Subject::Source);
    }
    Error::new(
        ErrorKind::PermissionDenied,
        format!(
            "the server may not act as service account {account} ({detail}): it must exist, and \
             the server's own Google identity needs the role \
             roles/iam.serviceAccountTokenCreator on it"
        ),
    )
    .about(Subject::Source)
}

/// The name of the error in an answer of Google, if it looks like one.
fn error_status(body: &[u8]) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(body).ok()?;
    let name = document.get("error")?.get("status")?.as_str()?;
    let fits = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    (name.len() <= 64 && name.bytes().all(fits)).then(|| name.to_owned())
}

#[async_trait]
impl CredentialProvider for TokenSource {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        match self.token().await {
            Ok(token) => Ok(token.credential),
            Err(error) => {
                Err(object_store::Error::Generic { store: "GCS", source: Box::new(error) })
            }
        }
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, identity, .. } = self;
        write!(f, "TokenSource({account:?} through {identity:?})")
    }
}
