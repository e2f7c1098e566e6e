//! The server's own Google identity: a file that the administrator names, else the metadata server.

use std::env;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use object_store::gcp::{GcpCredential, GcpCredentialProvider, GoogleCloudStorageBuilder};
use pandion_source::{EndpointPolicy, GuardedConnector, source_retry};
use pandion_types::{Error, ErrorKind, Result, Subject};
use serde::Deserialize;

use crate::token_client::TokenClient;

/// The machine's own metadata server.
const METADATA_HOST: &str = "metadata.google.internal";
const METADATA_TOKEN_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
/// Where the key of a person, in a file of type `authorized_user`, is exchanged for a token.
const SIGN_IN_HOST: &str = "accounts.google.com";
/// How long a token from a file is kept here; whoever made it renews it in time.
const FILE_TOKEN_SECONDS: i64 = 60;

/// Where the identity comes from. Never taken from a user's text.
#[derive(Debug, Default)]
pub(crate) struct IdentitySettings {
    /// The file that holds the identity, as the libraries of Google call it.
    pub(crate) application_credentials: Option<String>,
    /// Another host, perhaps with a port, than that of the metadata server.
    pub(crate) metadata_host: Option<String>,
}

impl IdentitySettings {
    pub(crate) fn from_environment() -> Self {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            application_credentials: variable("GOOGLE_APPLICATION_CREDENTIALS"),
            metadata_host: variable("GCE_METADATA_HOST"),
        }
    }
}

/// A token and when it ends.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) credential: Arc<GcpCredential>,
    pub(crate) expires_at: DateTime<Utc>,
}

impl Token {
    pub(crate) fn new(bearer: String, expires_at: DateTime<Utc>) -> Self {
        Self { credential: Arc::new(GcpCredential { bearer }), expires_at }
    }
}

/// The server's own identity.
pub(crate) enum Identity {
    File(GcpCredentialProvider),
    Metadata(TokenClient),
}

#[derive(Deserialize)]
struct MetadataToken {
    access_token: String,
    expires_in: u32,
}

impl Identity {
    /// Opens what the settings name. Contacts nobody.
    pub(crate) fn open(settings: &IdentitySettings, policy: &Arc<EndpointPolicy>) -> Result<Self> {
        match &settings.application_credentials {
            Some(path) => Self::from_file(path, policy),
            None => Self::from_metadata(settings.metadata_host.as_deref()),
        }
    }

    fn from_file(path: &str, policy: &Arc<EndpointPolicy>) -> Result<Self> {
        let connector = GuardedConnector::new(policy, true, SIGN_IN_HOST, 443, None)?;
        // Only the identity is taken from the store that is built here.
        let store = GoogleCloudStorageBuilder::new()
            .with_bucket_name("identity")
            .with_application_credentials(path)
            .with_retry(source_retry())
            .with_http_connector(connector)
            .build();
        match store {
            Ok(store) => Ok(Self::File(Arc::clone(store.credentials()))),
            // The cause is dropped on purpose: it may quote the file.
            Err(_) => Err(denied(
                "the server's own Google identity cannot be used: GOOGLE_APPLICATION_CREDENTIALS \
                 must name a readable file of type service_account or authorized_user",
            )),
        }
    }

    fn from_metadata(host: Option<&str>) -> Result<Self> {
        let (host, port) = match host.map(|host| host.rsplit_once(':').unwrap_or((host, "80"))) {
            None => (METADATA_HOST, 80),
            Some((host, port)) => (
                host,
                port.parse().map_err(|error| {
                    Error::invalid_argument("GCE_METADATA_HOST is not of the form HOST[:PORT]")
                        .caused_by(error)
                })?,
            ),
        };
        // A link-local address, which no user may name: allowed here and for this client alone.
        let policy = Arc::new(EndpointPolicy::new([format!("{host}:{port}")])?);
        Ok(Self::Metadata(TokenClient::new(&policy, false, host, port)?))
    }

    /// A token of the server itself.
    pub(crate) async fn token(&self, now: DateTime<Utc>) -> Result<Token> {
        match self {
            Self::File(provider) => {
                let credential = provider.get_credential().await.map_err(|error| {
                    Error::unavailable("the server's own Google identity gives no token now")
                        .about(Subject::Source)
                        .caused_by(error)
                })?;
                let expires_at = now + TimeDelta::seconds(FILE_TOKEN_SECONDS);
                Ok(Token { credential, expires_at })
            }
            Self::Metadata(client) => metadata_token(client, now).await,
        }
    }
}

async fn metadata_token(client: &TokenClient, now: DateTime<Utc>) -> Result<Token> {
    let mut headers = HeaderMap::new();
    headers.insert("metadata-flavor", HeaderValue::from_static("Google"));
    let none = "the server has no Google identity of its own: GOOGLE_APPLICATION_CREDENTIALS is \
                not set, and the metadata server";
    let answer =
        client.send(Method::GET, METADATA_TOKEN_PATH, headers, "").await.map_err(|error| {
            Error::unavailable(format!("{none} does not answer"))
                .about(Subject::Source)
                .caused_by(error)
        })?;
    if answer.status != StatusCode::OK {
        let text = format!("{none} gives none (HTTP {})", answer.status.as_u16());
        let kind = match answer.status.is_server_error() {
            true => ErrorKind::Unavailable,
            false => ErrorKind::PermissionDenied,
        };
        return Err(Error::new(kind, text).about(Subject::Source));
    }
    // Whatever else listens at that address does not say this.
    let is_google = answer.headers.get("metadata-flavor").is_some_and(|flavor| flavor == "Google");
    match serde_json::from_slice::<MetadataToken>(&answer.body) {
        Ok(token) if is_google => {
            let expires_at = now + TimeDelta::seconds(i64::from(token.expires_in));
            Ok(Token::new(token.access_token, expires_at))
        }
        // The parser's error is dropped on purpose: it may quote a token.
        _ => Err(denied(&format!("{none} answers with something else than a token"))),
    }
}

pub(crate) fn denied(message: &str) -> Error {
    Error::new(ErrorKind::PermissionDenied, message).about(Subject::Source)
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(_) => f.write_str("File"),
            Self::Metadata(client) => write!(f, "Metadata({client:?})"),
        }
    }
}
