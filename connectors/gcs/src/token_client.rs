//! Requests to the servers that issue tokens: small JSON answers, a few attempts, one host.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, Request, StatusCode};
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequestBody};
use pandion_source::{EndpointPolicy, GuardedConnector};
use pandion_types::{Error, Result, Subject};

/// The largest answer that is read, in bytes; tokens have some two thousand.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Pauses before the second and the third attempt.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// An HTTP client that can reach one host, as the policy allows.
pub(crate) struct TokenClient {
    client: HttpClient,
    base_url: String,
}

/// An answer, complete.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl TokenClient {
    pub(crate) fn new(
        policy: &Arc<EndpointPolicy>,
        tls: bool,
        host: &str,
        port: u16,
    ) -> Result<Self> {
        let connector = GuardedConnector::new(policy, tls, host, port, None)?;
        let client = connector.connect(&ClientOptions::new()).map_err(|error| {
            Error::internal("an HTTP client for tokens cannot be made").caused_by(error)
        })?;
        let scheme = if tls { "https" } else { "http" };
        Ok(Self { client, base_url: format!("{scheme}://{host}:{port}") })
    }

    /// Asks, and asks again after a failure that may pass. Any status comes back.
    ///
    /// # Errors
    /// `Unavailable` about the source when no answer came.
    pub(crate) async fn send(
        &self,
        method: http::Method,
        path: &str,
        headers: HeaderMap,
        body: &str,
    ) -> Result<Answer> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let mut request = Request::new(HttpRequestBody::from(body.to_owned()));
            *request.method_mut() = method.clone();
            *request.headers_mut() = headers.clone();
            *request.uri_mut() = format!("{}{path}", self.base_url).parse().map_err(
                |error: http::uri::InvalidUri| {
                    Error::internal("the URL of a token is none").caused_by(error)
                },
            )?;
            let answered = self.attempt(request).await;
            let may_pass = match &answered {
                Ok(answer) => {
                    answer.status.is_server_error()
                        || answer.status == StatusCode::TOO_MANY_REQUESTS
                }
                Err(_) => true,
            };
            match pauses.next().filter(|_| may_pass) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return answered.map_err(|error| self.unreachable(error)),
            }
        }
    }

    async fn attempt(&self, request: Request<HttpRequestBody>) -> Result<Answer, HttpError> {
        let (parts, body) = self.client.execute(request).await?.into_parts();
        let mut bytes = BytesMut::new();
        let mut chunks = body.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk?);
            if bytes.len() > ANSWER_BYTES_MAX {
                break;
            }
        }
        Ok(Answer { status: parts.status, headers: parts.headers, body: bytes.freeze() })
    }

    fn unreachable(&self, error: HttpError) -> Error {
        Error::unavailable(format!("no token was got: {} cannot be reached now", self.base_url))
            .about(Subject::Source)
            .caused_by(error)
    }
}

impl fmt::Debug for TokenClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenClient({})", self.base_url)
    }
}
