//! Keys for containers: of ECS tasks, and of EKS pods with a pod identity. An agent on the same
//! machine hands them out to whoever shows the container's token.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use pandion_source::{AwsCredentials, CredentialSource};
use pandion_types::{Error, ErrorKind, Result, Secret, Subject};
use url::{Host, Url};

use super::metadata::parse_keys;
use super::own::read_token;
use super::{CONTAINER_HOST, own_http};
use crate::aws_http::AwsHttp;
use crate::environment::Environment;

/// The addresses beside the loopback at which an agent may be asked without TLS.
const AGENTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// Asks the agent each time.
pub(super) struct Issuer {
    url: Url,
    http: AwsHttp,
    token: Option<Token>,
}

/// What the agent wants to be shown.
enum Token {
    Text(Secret),
    File(String),
}

impl Issuer {
    /// The agent that the environment names, if it names one.
    ///
    /// # Errors
    /// `InvalidArgument` for a URL that is none, or one to which the token would travel in clear
    /// over a network.
    pub(super) fn of(environment: &Environment) -> Result<Option<Self>> {
        let relative = environment.text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let full = environment.text("AWS_CONTAINER_CREDENTIALS_FULL_URI");
        let (name, text) = match (relative, full) {
            (Some(path), _) => (
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                format!("http://{CONTAINER_HOST}/{}", path.trim_start_matches('/')),
            ),
            (None, Some(url)) => ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.to_owned()),
            (None, None) => return Ok(None),
        };
        let invalid = || {
            Error::invalid_argument(format!(
                "the server's {name} must be a URL with https, or one with http whose host is a \
                 loopback address or one of {}",
                AGENTS.join(", ")
            ))
            .about(Subject::Source)
        };
        let url = Url::parse(&text).map_err(|error| invalid().caused_by(error))?;
        if !is_safe(&url) {
            return Err(invalid());
        }
        let file = environment.text("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
        let token = match (file, environment.secret("AWS_CONTAINER_AUTHORIZATION_TOKEN")) {
            (Some(file), _) => Some(Token::File(file.to_owned())),
            (None, Some(token)) => Some(Token::Text(token.clone())),
            (None, None) => None,
        };
        Ok(Some(Self { http: own_http(&url)?, url, token }))
    }

    async fn token(&self) -> Result<Option<Secret>> {
        Ok(match &self.token {
            None => None,
            Some(Token::Text(token)) => Some(token.clone()),
            Some(Token::File(file)) => {
                Some(read_token("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file).await?)
            }
        })
    }

    fn failed(&self, kind: ErrorKind, what: &str) -> Error {
        Error::new(kind, format!("{self:?} {what}")).about(Subject::Source)
    }
}

fn is_safe(url: &Url) -> bool {
    let address: IpAddr = match (url.scheme(), url.host()) {
        ("https", Some(_)) => return true,
        ("http", Some(Host::Ipv4(address))) => address.into(),
        ("http", Some(Host::Ipv6(address))) => address.into(),
        ("http", Some(Host::Domain(name))) => return name == "localhost",
        _ => return false,
    };
    address.is_loopback() || AGENTS.iter().any(|agent| agent.parse() == Ok(address))
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str().unwrap_or_default();
        write!(f, "the container credentials of this server, at {}://{host}", self.url.scheme())
    }
}

#[async_trait]
impl CredentialSource for Issuer {
    async fn credentials(&self) -> Result<Arc<AwsCredentials>> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() =
            self.url.as_str().parse().map_err(|error: http::uri::InvalidUri| {
                self.failed(ErrorKind::InvalidArgument, "have no usable URL").caused_by(error)
            })?;
        if let Some(token) = self.token().await? {
            let mut value = HeaderValue::from_str(token.expose()).map_err(|_invalid| {
                self.failed(ErrorKind::InvalidArgument, "have a token that is none")
            })?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let answer = self
            .http
            .send(request)
            .await
            .map_err(|error| self.failed(error.kind(), &format!("cannot be had: {error}")))?;
        let status = answer.status().as_u16();
        match status {
            200 => {}
            401 | 403 => {
                let what = format!("were refused (HTTP {status}): check the authorization token");
                return Err(self.failed(ErrorKind::PermissionDenied, &what));
            }
            _ => {
                let what = format!("cannot be had now (HTTP {status})");
                return Err(self.failed(ErrorKind::Unavailable, &what));
            }
        }
        let keys = parse_keys(answer.body())
            .map_err(|what| self.failed(ErrorKind::Corrupt, &format!("make no sense: {what}")))?;
        Ok(Arc::new(keys))
    }

    async fn renew(&self, _rejected: &AwsCredentials) -> Result<Arc<AwsCredentials>> {
        self.credentials().await
    }
}
