//! Requests to a catalog: authenticated, repeated where that may help, bounded in time and size.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, HeaderName, HeaderValue, RETRY_AFTER};
use pandion_source::{
    AwsCredentials, CatalogAuthentication, CatalogSettings, EndpointPolicy, GuardedClient,
    GuardedConnector, IoStats, SourceSecrets, read_bounded,
};
use pandion_types::{Error, ErrorKind, Result, Secret, Subject};
use tokio::time::Instant;
use url::Url;

use super::CatalogOptions;
use super::answer::{Answer, at};
use super::oauth::TokenServer;
use super::signing::Signer;

/// How often a request is repeated.
const REPETITIONS_MAX: u32 = 4;
/// No repetition begins later than this after the first attempt.
const REPETITION_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest pause that a server can ask for.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// The longest answer without success that is read, in bytes.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// The header that asks for credentials of the storage.
const DELEGATION: HeaderName = HeaderName::from_static("x-iceberg-access-delegation");

/// Something to be asked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) url: Url,
    /// Whether credentials for the storage are asked for as well.
    pub(super) delegates: bool,
    pub(super) bytes_max: usize,
}

/// One endpoint, with repetitions.
#[derive(Debug)]
pub(super) struct Transport {
    client: GuardedClient,
    uri: Url,
    pause: Duration,
    timeout: Duration,
}

impl Transport {
    /// A way to the host of `uri`. `ca_pem` are certificates to trust beside the system's.
    pub(super) fn new(
        uri: &Url,
        policy: &Arc<EndpointPolicy>,
        ca_pem: Option<&Secret>,
        options: &CatalogOptions,
    ) -> Result<Self> {
        let (Some(host), Some(port)) = (uri.host_str(), uri.port_or_known_default()) else {
            return Err(
                Error::invalid_argument(format!("{uri} names no host")).about(Subject::Source)
            );
        };
        let is_tls = uri.scheme() == "https";
        let connector =
            GuardedConnector::new(policy, is_tls, host, port, ca_pem).map_err(|error| {
                Error::invalid_argument(
                    "catalog.ssl_ca_cert must be the text of certificates in PEM form, not a path",
                )
                .about(Subject::Source)
                .caused_by(error)
            })?;
        let client = connector.http_client()?;
        Ok(Self { client, uri: uri.clone(), pause: options.pause, timeout: options.timeout })
    }

    /// Sends what `make` makes, anew for each attempt, until there is an answer that repetition
    /// will not better. `secrets` are those that the request holds.
    ///
    /// # Errors
    /// Those of `make`; `InvalidArgument` for a redirect; `Unavailable`, `PermissionDenied` and
    /// `Corrupt` as [`GuardedClient::execute`] and [`read_bounded`]. An answer without success is
    /// none of these.
    pub(super) async fn send(
        &self,
        make: &(dyn Fn() -> Result<reqwest::Request> + Send + Sync),
        bytes_max: usize,
        secrets: &[&Secret],
        stats: &IoStats,
    ) -> Result<Answer> {
        let begun = Instant::now();
        let mut pause = self.pause;
        for repetition in 0.. {
            let is_last =
                repetition == REPETITIONS_MAX || begun.elapsed() + pause > REPETITION_TIMEOUT;
            let (outcome, asked) = self.attempt(make()?, bytes_max, secrets, stats).await;
            match outcome {
                Ok(answer) if !is_last && is_passing(answer.status) => {}
                Err(error) if !is_last && error.kind() == ErrorKind::Unavailable => {}
                Ok(answer) => return Ok(answer),
                Err(error) => return Err(at(&self.uri)(error)),
            }
            tokio::time::sleep(asked.unwrap_or(pause).min(PAUSE_MAX)).await;
            pause *= 2;
        }
        Err(Error::internal("a request was never sent"))
    }

    /// One attempt, and the pause that the server asks for.
    async fn attempt(
        &self,
        mut request: reqwest::Request,
        bytes_max: usize,
        secrets: &[&Secret],
        stats: &IoStats,
    ) -> (Result<Answer>, Option<Duration>) {
        *request.timeout_mut() = Some(self.timeout);
        let response = match self.client.execute(request).await {
            Ok(response) => response,
            Err(error) => {
                stats.count_read(0);
                return (Err(error), None);
            }
        };
        let status = response.status();
        let asked = pause_asked_for(&response);
        if status.is_redirection() {
            stats.count_read(0);
            return (Err(redirected(&response)), None);
        }
        let body = match status.is_success() {
            true => read_bounded(response, bytes_max).await,
            // A server's long text about an error must not hide the error.
            false => read_bounded(response, ERROR_BYTES_MAX).await.or_else(|error| {
                if error.kind() == ErrorKind::Corrupt {
                    Ok(bytes::Bytes::new())
                } else {
                    Err(error)
                }
            }),
        };
        let length = body.as_ref().map_or(0, |body| u64::try_from(body.len()).unwrap_or(u64::MAX));
        stats.count_read(length);
        (body.map(|body| Answer::new(status.as_u16(), body, secrets)), asked)
    }
}

fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502..=504)
}

fn pause_asked_for(response: &reqwest::Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn redirected(response: &reqwest::Response) -> Error {
    let location = response.headers().get(http::header::LOCATION);
    let target = location
        .and_then(|location| response.url().join(location.to_str().ok()?).ok())
        .map(|target| format!(" to {}", target.origin().ascii_serialization()))
        .unwrap_or_default();
    Error::invalid_argument(format!(
        "it answered with a redirect{target}, which is not followed: set the address itself"
    ))
    .about(Subject::Source)
}

/// How requests prove who asks.
enum Authorizer {
    Anonymous,
    Token(Secret),
    Tokens(Box<TokenServer>),
    Signer(Box<Signer>),
}

/// What one request proves it with.
enum Proof {
    Nothing,
    Bearer(Secret),
    Keys(Arc<AwsCredentials>),
}

/// The catalog's side of the protocol.
pub(super) struct CatalogClient {
    transport: Transport,
    authorizer: Authorizer,
}

impl CatalogClient {
    pub(super) fn new(
        settings: &CatalogSettings,
        secrets: &SourceSecrets,
        policy: &Arc<EndpointPolicy>,
        options: CatalogOptions,
    ) -> Result<Self> {
        let transport = Transport::new(&settings.uri, policy, secrets.catalog_ca_cert(), &options)?;
        let authorizer = match &settings.authentication {
            CatalogAuthentication::Anonymous => Authorizer::Anonymous,
            CatalogAuthentication::Token => {
                Authorizer::Token(needed("catalog.token", secrets.catalog_token())?.clone())
            }
            CatalogAuthentication::ClientCredentials { .. } => {
                let server = TokenServer::new(settings, secrets, policy, &options)?;
                Authorizer::Tokens(Box::new(server))
            }
            CatalogAuthentication::SigV4 { region, service } => {
                let signer = Signer::new(region.as_deref(), service, secrets, options)?;
                Authorizer::Signer(Box::new(signer))
            }
        };
        Ok(Self { transport, authorizer })
    }

    /// Asks, once more with another token or other keys if the catalog says that those of the first
    /// time have ended.
    ///
    /// # Errors
    /// As [`Transport::send`], and those of the token server or the source of keys.
    pub(super) async fn get(&self, question: &Question, stats: &IoStats) -> Result<Answer> {
        let proof = self.proof(stats).await?;
        let answer = self.ask(question, &proof, stats).await?;
        if !answer.is_unauthenticated() {
            return Ok(answer);
        }
        let another = match (&self.authorizer, &proof) {
            (Authorizer::Tokens(server), Proof::Bearer(token)) => {
                server.reject(token).await;
                Proof::Bearer(server.token(stats).await?)
            }
            (Authorizer::Signer(signer), Proof::Keys(keys)) if signer.is_renewed() => {
                Proof::Keys(signer.renew(keys).await?)
            }
            _ => return Ok(answer),
        };
        self.ask(question, &another, stats).await
    }

    async fn proof(&self, stats: &IoStats) -> Result<Proof> {
        Ok(match &self.authorizer {
            Authorizer::Anonymous => Proof::Nothing,
            Authorizer::Token(token) => Proof::Bearer(token.clone()),
            Authorizer::Tokens(server) => Proof::Bearer(server.token(stats).await?),
            Authorizer::Signer(signer) => Proof::Keys(signer.keys().await?),
        })
    }

    async fn ask(&self, question: &Question, proof: &Proof, stats: &IoStats) -> Result<Answer> {
        let make = || {
            let mut request = reqwest::Request::new(http::Method::GET, question.url.clone());
            let headers = request.headers_mut();
            headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
            if question.delegates {
                headers.insert(DELEGATION, HeaderValue::from_static("vended-credentials"));
            }
            match (proof, &self.authorizer) {
                (Proof::Bearer(token), _) => {
                    headers.insert(AUTHORIZATION, bearer(token)?);
                }
                (Proof::Keys(keys), Authorizer::Signer(signer)) => {
                    signer.sign(keys, &mut request)?;
                }
                _ => {}
            }
            Ok(request)
        };
        let secrets: Vec<&Secret> = match proof {
            Proof::Nothing => Vec::new(),
            Proof::Bearer(token) => vec![token],
            Proof::Keys(keys) => {
                [&keys.key_id, &keys.secret].into_iter().chain(keys.token.as_ref()).collect()
            }
        };
        self.transport.send(&make, question.bytes_max, &secrets, stats).await
    }
}

/// The header for a token. Its error shows nothing of it.
fn bearer(token: &Secret) -> Result<HeaderValue> {
    let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.expose())) else {
        return Err(Error::invalid_argument(
            "the token for the catalog has a character that cannot stand in a request",
        )
        .about(Subject::Source));
    };
    value.set_sensitive(true);
    Ok(value)
}

/// A secret that the settings say is there.
pub(super) fn needed<'a>(key: &str, secret: Option<&'a Secret>) -> Result<&'a Secret> {
    secret.ok_or_else(|| {
        Error::corrupt(format!("the secret {key} of a source is missing")).about(Subject::Source)
    })
}
