//! A plain HTTP client for one endpoint, behind the endpoint policy, for what is no object store:
//! catalogs and services that hand out credentials.
//!
//! It follows no redirect (the answer is given to the caller as it is), uses no proxy, and refuses
//! a request to any other host or port. It repeats nothing: that is for callers, who know what may
//! be repeated.

use std::fmt;

use bytes::{Bytes, BytesMut};
use pandion_types::{Error, ErrorKind, Result, Subject};

use crate::http_connector::{GuardedConnector, find_refusal};

/// A client for one endpoint; cheap to clone, clones share their connections.
#[derive(Clone)]
pub struct GuardedClient {
    client: reqwest::Client,
    connector: GuardedConnector,
}

impl GuardedClient {
    pub(crate) fn new(client: reqwest::Client, connector: GuardedConnector) -> Self {
        Self { client, connector }
    }

    /// Sends a request and gives the answer, whatever its status, as soon as its head has arrived.
    /// Dropping the future drops the request.
    ///
    /// # Errors
    /// `PermissionDenied` when the policy refuses the address; `Unavailable` when no connection or
    /// no answer came about; `Internal` for a request that does not belong to the endpoint. The
    /// texts hold neither path nor headers.
    pub async fn execute(&self, request: reqwest::Request) -> Result<reqwest::Response> {
        self.connector.check(request.url()).map_err(|error| match find_refusal(&error) {
            Some(refusal) => denied(&refusal),
            None => Error::internal(format!("a request leaves the endpoint {}", self.host_port()))
                .caused_by(error),
        })?;
        self.client.execute(request).await.map_err(|error| match find_refusal(&error) {
            Some(refusal) => denied(&refusal),
            None => self.lost(error),
        })
    }

    /// The endpoint as `host:port`.
    #[must_use]
    pub fn host_port(&self) -> String {
        self.connector.host_port()
    }

    fn lost(&self, error: reqwest::Error) -> Error {
        let what = if error.is_timeout() {
            "did not answer in time"
        } else if error.is_connect() {
            "cannot be connected to"
        } else {
            "broke off the connection"
        };
        let host_port = self.host_port();
        Error::unavailable(format!("the endpoint {host_port} {what}"))
            .about(Subject::Source)
            .caused_by(error.without_url())
    }
}

impl fmt::Debug for GuardedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuardedClient({})", self.host_port())
    }
}

/// Reads an answer whole, but no more than `bytes_max` bytes of it.
///
/// # Errors
/// `Corrupt` when it is longer; `Unavailable` when the connection ends before it does.
pub async fn read_bounded(mut response: reqwest::Response, bytes_max: usize) -> Result<Bytes> {
    let too_long = || {
        Error::corrupt(format!("an answer is longer than {bytes_max} bytes")).about(Subject::Source)
    };
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(too_long());
    }
    let mut body = BytesMut::new();
    loop {
        let chunk = response.chunk().await.map_err(|error| {
            Error::unavailable("an answer broke off")
                .about(Subject::Source)
                .caused_by(error.without_url())
        })?;
        let Some(chunk) = chunk else { return Ok(body.freeze()) };
        if body.len() + chunk.len() > bytes_max {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
}

fn denied(refusal: &impl fmt::Display) -> Error {
    Error::new(ErrorKind::PermissionDenied, refusal.to_string()).about(Subject::Source)
}
