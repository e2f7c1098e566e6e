//! Tokens for client credentials (RFC 6749, section 4.4), got in time and one at a time.
//!
//! A token that is still good serves on while no other can be got. The credential goes into the
//! body of the request, as other clients of the protocol send it, and to the token server alone.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use pandion_source::{
    CatalogAuthentication, CatalogSettings, Clock, EndpointPolicy, IoStats, SourceSecrets,
};
use pandion_types::{Error, ErrorKind, Result, Secret, Subject};
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;
use url::form_urlencoded::Serializer;

use super::answer::Answer;
use super::rest::{Transport, needed};
use super::{ANSWER_BYTES_MAX, CatalogOptions};

/// A token is renewed at the latest this long before its end, or in the last third of its life if
/// that is later.
const LEAD_MAX: Duration = Duration::from_secs(300);

/// The server that hands out tokens, and the token that it handed out last.
pub(super) struct TokenServer {
    transport: Transport,
    url: Url,
    /// The body of requests.
    form: Secret,
    /// What must not be shown when the server speaks about a request.
    secrets: [Secret; 2],
    clock: Arc<dyn Clock>,
    /// Locked while a token is got, so that only one is.
    held: Mutex<Option<Held>>,
}

struct Held {
    token: Secret,
    /// From then on another is got; `None` when the server did not say when the token ends.
    renew_at: Option<SystemTime>,
    ends_at: Option<SystemTime>,
}

impl fmt::Debug for TokenServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenServer({})", self.url)
    }
}

impl TokenServer {
    pub(super) fn new(
        settings: &CatalogSettings,
        secrets: &SourceSecrets,
        policy: &Arc<EndpointPolicy>,
        options: &CatalogOptions,
    ) -> Result<Self> {
        let CatalogAuthentication::ClientCredentials { server, scope, audience, resource } =
            &settings.authentication
        else {
            return Err(Error::internal("a catalog without a credential needs no token server"));
        };
        let url = match server {
            Some(server) => server.clone(),
            None => own_token_url(&settings.uri)?,
        };
        let credential = needed("catalog.credential", secrets.catalog_credential())?;
        let (id, secret) = match credential.expose().split_once(':') {
            Some((id, secret)) => (Some(id), secret),
            None => (None, credential.expose()),
        };
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        for (key, value) in [
            ("client_id", id),
            ("client_secret", Some(secret)),
            ("scope", Some(scope.as_str())),
            ("audience", audience.as_deref()),
            ("resource", resource.as_deref()),
        ] {
            if let Some(value) = value {
                form.append_pair(key, value);
            }
        }
        Ok(Self {
            transport: Transport::new(&url, policy, secrets.catalog_ca_cert(), options)?,
            url,
            form: Secret::new(form.finish()),
            secrets: [credential.clone(), Secret::new(secret)],
            clock: Arc::clone(&options.clock),
            held: Mutex::new(None),
        })
    }

    /// A token that is good now: the one that is held, unless its end is near.
    ///
    /// # Errors
    /// `PermissionDenied` when the server refuses the credential; else as [`Transport::send`].
    pub(super) async fn token(&self, stats: &IoStats) -> Result<Secret> {
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        if let Some(held) = held.as_ref()
            && held.renew_at.is_none_or(|renew_at| now < renew_at)
        {
            return Ok(held.token.clone());
        }
        match self.exchange(now, stats).await {
            Ok(got) => Ok(held.insert(got).token.clone()),
            Err(error) => match held.as_ref() {
                Some(old) if old.ends_at.is_some_and(|end| self.clock.now() < end) => {
                    tracing::warn!(%error, "a token could not be renewed; the old one serves on");
                    Ok(old.token.clone())
                }
                _ => Err(error),
            },
        }
    }

    /// Forgets a token that the catalog did not accept, unless another has taken its place.
    pub(super) async fn reject(&self, token: &Secret) {
        let mut held = self.held.lock().await;
        if held.as_ref().is_some_and(|held| held.token == *token) {
            *held = None;
        }
    }

    async fn exchange(&self, now: SystemTime, stats: &IoStats) -> Result<Held> {
        let make = || {
            let mut request = reqwest::Request::new(http::Method::POST, self.url.clone());
            let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().insert(CONTENT_TYPE, form_type);
            request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
            *request.body_mut() = Some(self.form.expose().to_owned().into());
            Ok(request)
        };
        let [credential, secret] = &self.secrets;
        let secrets = [credential, secret];
        let answer = self.transport.send(&make, ANSWER_BYTES_MAX, &secrets, stats).await?;
        let token = answer.json(&self.url, |answer| self.refused(answer))?;
        self.read(&token, now)
    }

    fn read(&self, answer: &Value, now: SystemTime) -> Result<Held> {
        let senseless = |what: &str| {
            Error::corrupt(format!("the answer of the token server {}: {what}", self.url))
                .about(Subject::Source)
        };
        let token = answer.get("access_token").and_then(Value::as_str).unwrap_or_default();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(senseless("it has no access_token that can stand in a request"));
        }
        let kind = answer.get("token_type").and_then(Value::as_str).unwrap_or("bearer");
        if !["bearer", "n_a"].iter().any(|known| kind.eq_ignore_ascii_case(known)) {
            return Err(senseless("its token_type is not bearer"));
        }
        let life = answer.get("expires_in").and_then(Value::as_u64).map(Duration::from_secs);
        // A life beyond the end of the calendar is one without end.
        let ends_at = life.and_then(|life| now.checked_add(life));
        let lead = life.unwrap_or_default() / 3;
        let renew_at = ends_at.and_then(|end| end.checked_sub(lead.min(LEAD_MAX)));
        Ok(Held { token: Secret::new(token), renew_at, ends_at })
    }

    fn refused(&self, answer: &Answer) -> Error {
        let (url, reason) = (&self.url, answer.reason());
        let (kind, message) = match answer.status {
            400 | 401 | 403 => (
                ErrorKind::PermissionDenied,
                format!(
                    "the token server {url} refuses catalog.credential ({reason}): check id and \
                     secret, and catalog.scope"
                ),
            ),
            404 | 405 | 501 => (
                ErrorKind::InvalidArgument,
                format!(
                    "{url} is no token server ({reason}): set catalog.oauth2_server_uri to the \
                     one that hands out tokens for this catalog"
                ),
            ),
            _ => (
                ErrorKind::Unavailable,
                format!(
                    "the token server {url} cannot answer now; retries were used up ({reason})"
                ),
            ),
        };
        Error::new(kind, message).about(Subject::Source)
    }
}

fn own_token_url(uri: &Url) -> Result<Url> {
    let text = format!("{}/v1/oauth/tokens", uri.as_str().trim_end_matches('/'));
    Url::parse(&text).map_err(|error| {
        Error::invalid_argument(format!("{uri} is no address of a catalog"))
            .about(Subject::Source)
            .caused_by(error)
    })
}
