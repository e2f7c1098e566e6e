//! Plain HTTP for what is neither a listing nor a file: token services, metadata services,
//! catalogues.
//!
//! It is as guarded as the stores' own client: every connection is made to an address that the
//! endpoint policy has checked, no redirect is followed and no proxy used. Nothing is sent twice:
//! repeating a request is the caller's decision.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{Request, Response};
use pandion_types::{Error, ErrorKind, Result, Secret, Subject};

use crate::http_connector::{GuardedConnector, find_refusal, root_certificates};
use crate::policy::EndpointPolicy;

/// How many endpoints' connections are kept. Beyond that all are closed and made anew.
const ENDPOINTS_MAX: usize = 32;
/// The longest text of a transport error that is passed on, in characters.
const DETAIL_CHARS_MAX: usize = 200;

/// A client for any endpoint that a policy allows. Clones share their connections.
#[derive(Clone)]
pub struct GuardedClient {
    policy: Arc<EndpointPolicy>,
    root_certificates: Vec<reqwest::Certificate>,
    endpoints: Arc<Mutex<HashMap<Endpoint, reqwest::Client>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Endpoint {
    tls: bool,
    host: String,
    port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl GuardedClient {
    /// A client that lets `policy` decide, and that trusts `ca_pem` beside the system's
    /// certificates.
    ///
    /// # Errors
    /// `InvalidArgument` when `ca_pem` is no PEM text; it shows nothing of it.
    pub fn new(policy: &Arc<EndpointPolicy>, ca_pem: Option<&Secret>) -> Result<Self> {
        Ok(Self {
            policy: Arc::clone(policy),
            root_certificates: root_certificates(ca_pem)?,
            endpoints: Arc::default(),
        })
    }

    /// Sends a request and reads the whole answer, whatever its status; a redirect is an answer
    /// like any other.
    ///
    /// # Errors
    /// `InvalidArgument` for a URL that is no `http` or `https` URL with a host;
    /// `PermissionDenied` when the policy refuses the address; `Unavailable` when there is no
    /// answer; `Corrupt` for an answer of more than `answer_bytes_max` bytes. All are about the
    /// source and name the endpoint, and none repeats more of the request.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        answer_bytes_max: usize,
    ) -> Result<Response<Bytes>> {
        let endpoint = endpoint_of(request.uri())?;
        let client = self.client(&endpoint, request.uri())?;
        let failed = |error: reqwest::Error| failure(&endpoint, error);
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string();
        let answer = client
            .request(parts.method, url)
            .headers(parts.headers)
            .body(body)
            .send()
            .await
            .map_err(failed)?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        let mut body = BytesMut::new();
        let mut chunks = answer.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(failed)?;
            if body.len() + chunk.len() > answer_bytes_max {
                let message = format!("the answer of {endpoint} is longer than can be");
                return Err(Error::corrupt(message).about(Subject::Source));
            }
            body.extend_from_slice(&chunk);
        }
        *response.body_mut() = body.freeze();
        Ok(response)
    }

    fn client(&self, endpoint: &Endpoint, uri: &http::Uri) -> Result<reqwest::Client> {
        let connector = GuardedConnector::trusting(
            &self.policy,
            endpoint.tls,
            &endpoint.host,
            endpoint.port,
            self.root_certificates.clone(),
        )?;
        connector.check(uri).map_err(|error| match find_refusal(&error) {
            Some(refusal) => refused(&refusal.to_string()),
            None => invalid(endpoint).caused_by(error),
        })?;
        // What a panicking holder left is whole: an entry is made before it is put in.
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = endpoints.get(endpoint) {
            return Ok(client.clone());
        }
        let client = connector.client().map_err(|error| {
            Error::internal(format!("no HTTP client can be made for {endpoint}")).caused_by(error)
        })?;
        if endpoints.len() >= ENDPOINTS_MAX {
            endpoints.clear();
        }
        endpoints.insert(endpoint.clone(), client.clone());
        Ok(client)
    }
}

impl fmt::Debug for GuardedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuardedClient")
    }
}

fn endpoint_of(uri: &http::Uri) -> Result<Endpoint> {
    let (tls, default_port) = match uri.scheme_str() {
        Some("https") => (true, 443),
        Some("http") => (false, 80),
        _ => return Err(invalid("a URL without http:// or https://")),
    };
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    if host.is_empty() {
        return Err(invalid("a URL without a host"));
    }
    Ok(Endpoint { tls, host, port: uri.port_u16().unwrap_or(default_port) })
}

fn invalid(what: impl fmt::Display) -> Error {
    Error::invalid_argument(format!("{what} is no endpoint that can be asked"))
        .about(Subject::Source)
}

fn refused(text: &str) -> Error {
    Error::new(ErrorKind::PermissionDenied, text).about(Subject::Source)
}

/// The innermost text says what went wrong; those around it repeat the URL.
fn failure(endpoint: &Endpoint, error: reqwest::Error) -> Error {
    if let Some(refusal) = find_refusal(&error) {
        return refused(&refusal.to_string());
    }
    let error = error.without_url();
    let detail = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        let mut innermost: &(dyn std::error::Error + 'static) = &error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        innermost.to_string().chars().take(DETAIL_CHARS_MAX).collect()
    };
    Error::unavailable(format!("{endpoint} cannot be reached ({detail})"))
        .about(Subject::Source)
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that gives this answer to each connection and tells what it has read.
    async fn serve(answer: &'static str) -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                request.truncate(length);
                sender.send(String::from_utf8(request).unwrap()).unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        (port, receiver)
    }

    fn client(allowed: &[String]) -> GuardedClient {
        GuardedClient::new(&Arc::new(EndpointPolicy::new(allowed).unwrap()), None).unwrap()
    }

    async fn get(client: &GuardedClient, url: &str) -> Result<Response<Bytes>> {
        let request = Request::get(url).header("x-token", "CANARY").body(Bytes::new()).unwrap();
        client.send(request, 100).await
    }

    #[tokio::test]
    async fn an_answer_is_read_whole() {
        let (port, mut requests) =
            serve("HTTP/1.1 418 no\r\ncontent-length: 3\r\nx-a: b\r\nconnection: close\r\n\r\nabc")
                .await;
        let client = client(&[format!("127.0.0.1:{port}")]);
        let answer = get(&client, &format!("http://127.0.0.1:{port}/a?b=c")).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (418, b"abc".as_slice()));
        assert_eq!(answer.headers()["x-a"], "b");
        let request = requests.recv().await.unwrap();
        assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("x-token: CANARY"), "{request}");
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let (target, mut reached) = serve("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let location = format!(
            "HTTP/1.1 307 x\r\nlocation: http://127.0.0.1:{target}/\r\ncontent-length: 0\r\n\r\n"
        );
        let (port, _requests) = serve(location.leak()).await;
        let client = client(&[format!("127.0.0.1:{port}"), format!("127.0.0.1:{target}")]);
        let answer = get(&client, &format!("http://127.0.0.1:{port}/")).await.unwrap();
        assert_eq!(answer.status().as_u16(), 307);
        assert!(reached.try_recv().is_err());
    }

    #[tokio::test]
    async fn the_policy_decides_by_address() {
        let (port, mut requests) = serve("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let strict = client(&[]);
        for host in ["127.0.0.1", "localhost", "[::ffff:7f00:1]", "2130706433"] {
            let error = get(&strict, &format!("http://{host}:{port}/")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{host}: {error}");
            assert!(error.message().contains("--allow-endpoint"), "{error}");
        }
        assert!(requests.try_recv().is_err());
    }

    #[tokio::test]
    async fn failures_name_the_endpoint_and_nothing_else() {
        let (port, _requests) =
            serve("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\nconnection: close\r\n\r\nCANARY")
                .await;
        let client = client(&[format!("127.0.0.1:{port}"), "127.0.0.1:1".to_owned()]);
        let cut = get(&client, &format!("http://127.0.0.1:{port}/?k=CANARY")).await.unwrap_err();
        let down = get(&client, "http://127.0.0.1:1/?k=CANARY").await.unwrap_err();
        for error in [cut, down] {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            assert!(error.message().contains("http://127.0.0.1:"), "{error}");
            assert!(!format!("{error:?}").contains("CANARY"), "{error:?}");
        }
        let body = "x".repeat(101);
        let long = format!("HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n{body}");
        let (port, _requests) = serve(long.leak()).await;
        let client = self::client(&[format!("127.0.0.1:{port}")]);
        let error = get(&client, &format!("http://127.0.0.1:{port}/")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        for url in ["/a", "ftp://h/a"] {
            assert_eq!(get(&client, url).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
    }
}
