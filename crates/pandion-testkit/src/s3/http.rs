//! The HTTP side of the server: connections, the `/_stats` and `/_faults` pages, and the faults
//! themselves, which happen before or after a request reaches the S3 service. Refusals of requests
//! to the token service are brought into its own form here, whoever made them.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::{HOST, IF_MATCH};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use s3s::service::S3Service;
use s3s::{Body, HttpError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::faults::{Failure, S3Fault, Verdict};
use super::metadata;
use super::service::{Shared, bucket_of_host};
use super::stats::S3Op;
use super::sts;
use crate::convert::{to_u64, to_usize};

/// The path of the counters: GET reads them, DELETE reads and resets them.
const STATS_PATH: &str = "/_stats";
/// The path of the faults: GET reads them with their hits, PUT replaces them, DELETE removes them.
const FAULTS_PATH: &str = "/_faults";

/// Everything that a connection needs.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) shared: Arc<Shared>,
    pub(crate) service: S3Service,
}

/// Accepts connections until the future is dropped, which also cuts every open connection.
pub(crate) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, front: Front) {
    let mut connections = JoinSet::new();
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _peer)) => socket,
                // The peer went away between connecting and being accepted.
                Err(_) => continue,
            },
            Some(_ended) = connections.join_next() => continue,
        };
        let front = front.clone();
        let tls = tls.clone();
        connections.spawn(async move {
            // Without this, small answers wait for the client's delayed acknowledgement.
            if socket.set_nodelay(true).is_err() {
                return;
            }
            match tls {
                None => front.connection(socket).await,
                Some(tls) => {
                    // A client that does not trust the certificate hangs up here.
                    if let Ok(stream) = tls.accept(socket).await {
                        front.connection(stream).await;
                    }
                }
            }
        });
    }
}

impl Front {
    async fn connection(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let handler = service_fn(move |request| {
            let front = self.clone();
            async move { front.answer(request).await }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), handler);
        // An error here is a client that hung up or a fault that cut the connection.
        drop(connection.await);
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, HttpError> {
        let mut target = Target::of(&self.shared.domain, &request);
        if !target.is_virtual_host {
            match request.uri().path() {
                STATS_PATH => return Ok(self.stats_page(request.method())),
                FAULTS_PATH => return Ok(self.faults_page(request).await),
                path if metadata::is_metadata(&self.shared.identities, path) => {
                    target.op = S3Op::Metadata;
                }
                _ => {}
            }
        }

        let _in_flight = self.shared.counters.begin();
        self.shared.counters.count_request(target.op, request.headers().contains_key(IF_MATCH));
        let verdict = self.shared.faults.judge(target.op, &target.resource);
        self.shared.counters.count_faults(verdict.fired);
        if !verdict.latency.is_zero() {
            tokio::time::sleep(verdict.latency).await;
        }
        let response = self.perform(request, target.op, &verdict).await?;

        if response.status().as_u16() >= 400 {
            self.shared.counters.count_failure();
            return match target.op {
                S3Op::Sts => sts_refusal(response).await,
                _ => Ok(response),
            };
        }
        let sent = response.body().size_hint().exact().unwrap_or_default();
        if target.op == S3Op::Get {
            let cut = verdict.cut_after.unwrap_or(u64::MAX);
            self.shared.counters.count_read(sent.min(cut));
        }
        Ok(match verdict.cut_after {
            Some(keep) if keep < sent || target.op == S3Op::List => {
                response.map(|body| cut_body(body, keep))
            }
            _ => response,
        })
    }

    /// Performs the request, or fails as the verdict says.
    async fn perform(
        &self,
        request: Request<Incoming>,
        op: S3Op,
        verdict: &Verdict,
    ) -> Result<Response<Body>, HttpError> {
        let Some(failure) = &verdict.failure else {
            return self.serve(request, op).await;
        };
        if failure.applied {
            drop(self.serve(request, op).await?);
        } else {
            // The client is still sending: an unread body would show as a broken connection.
            drop(request.into_body().collect().await);
        }
        failure_response(failure)
    }

    async fn serve(
        &self,
        request: Request<Incoming>,
        op: S3Op,
    ) -> Result<Response<Body>, HttpError> {
        match op {
            S3Op::Metadata => Ok(metadata::answer(&self.shared.identities, &request)),
            _ => self.service.call(request.map(Body::from)).await,
        }
    }

    fn stats_page(&self, method: &Method) -> Response<Body> {
        match *method {
            Method::GET => json(&self.shared.counters.snapshot()),
            Method::DELETE => json(&self.shared.counters.reset()),
            _ => text(StatusCode::METHOD_NOT_ALLOWED, "GET or DELETE".to_owned()),
        }
    }

    async fn faults_page(&self, request: Request<Incoming>) -> Response<Body> {
        let faults = match *request.method() {
            Method::GET => return json(&self.shared.faults.hits()),
            Method::DELETE => Ok(Vec::new()),
            Method::PUT => match request.into_body().collect().await {
                Ok(body) => serde_json::from_slice::<Vec<S3Fault>>(&body.to_bytes()),
                Err(error) => return text(StatusCode::BAD_REQUEST, error.to_string()),
            },
            _ => return text(StatusCode::METHOD_NOT_ALLOWED, "GET, PUT or DELETE".to_owned()),
        };
        match faults.map_err(anyhow::Error::from).and_then(|faults| self.shared.faults.set(faults))
        {
            Ok(()) => json(&self.shared.faults.hits()),
            Err(error) => text(StatusCode::BAD_REQUEST, format!("{error:#}")),
        }
    }
}

/// What a request is about.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    op: S3Op,
    /// `bucket/key`, decoded.
    resource: String,
    is_virtual_host: bool,
}

impl Target {
    fn of<B>(domain: &str, request: &Request<B>) -> Self {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let bucket = host.and_then(|host| bucket_of_host(domain, host));
        let decoded = percent_decode_str(request.uri().path()).decode_utf8_lossy();
        let path = decoded.strip_prefix('/').unwrap_or(&decoded);
        let resource = match bucket {
            Some(bucket) => format!("{bucket}/{path}"),
            None => path.to_owned(),
        };
        let has_key = resource.split_once('/').is_some_and(|(_, key)| !key.is_empty());
        let has_bucket = !resource.is_empty();
        let query = request.uri().query().unwrap_or_default();
        let asks = |name: &str| {
            query.split('&').any(|pair| pair.split('=').next().is_some_and(|found| found == name))
        };
        let is_sts =
            bucket.is_none() && sts::is_sts(request.method(), request.uri(), request.headers());
        let op = match (request.method(), has_key) {
            _ if is_sts => S3Op::Sts,
            (&Method::GET, true) => S3Op::Get,
            (&Method::GET, false) if has_bucket && !asks("location") => S3Op::List,
            (&Method::HEAD, true) => S3Op::Head,
            (&Method::PUT | &Method::POST, true) => S3Op::Put,
            (&Method::DELETE, true) if !asks("uploadId") => S3Op::Delete,
            (&Method::POST, false) if asks("delete") => S3Op::Delete,
            _ => S3Op::Other,
        };
        Self { op, resource, is_virtual_host: bucket.is_some() }
    }
}

/// A refusal with the same code, in the form of the token service.
async fn sts_refusal(response: Response<Body>) -> Result<Response<Body>, HttpError> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(HttpError::new)?.to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    if body.contains("<ErrorResponse") {
        return Ok(Response::from_parts(parts, Body::from(body)));
    }
    let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let code = match code.map_or("InternalFailure", |(code, _)| code) {
        "InvalidAccessKeyId" => "InvalidClientTokenId",
        code => code,
    };
    let refusal = sts::refusal(parts.status, code);
    Ok(Response::from_parts(parts, refusal.output))
}

fn json(value: &impl serde::Serialize) -> Response<Body> {
    match serde_json::to_string(value) {
        Ok(body) => text(StatusCode::OK, body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
}

fn failure_response(failure: &Failure) -> Result<Response<Body>, HttpError> {
    let Some(status) = failure.status.and_then(|status| StatusCode::from_u16(status).ok()) else {
        return Err(HttpError::new(Box::new(io::Error::other("connection closed by a fault"))));
    };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <Error><Code>{}</Code><Message>injected by a fault</Message></Error>",
        failure.code
    );
    Ok(text(status, body))
}

/// The body up to `keep` bytes, then an error, which makes hyper break the connection.
fn cut_body(body: Body, keep: u64) -> Body {
    let frames = stream::unfold(Some((body, keep)), |state| async move {
        let (mut body, left) = state?;
        if left == 0 {
            // hyper flushes what it was given only when the body has nothing ready.
            tokio::task::yield_now().await;
            return Some((Err(io::Error::other("body cut by a fault")), None));
        }
        let data: Bytes = match body.frame().await? {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => return Some((Err(io::Error::other(error)), None)),
        };
        let data = data.slice(..data.len().min(to_usize(left)));
        let left = left - to_u64(data.len());
        Some((Ok(Frame::data(data)), Some((body, left))))
    });
    Body::http_body_unsync(StreamBody::new(frames))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, host: &str, uri: &str, op: S3Op, resource: &str) {
        let request = Request::builder().method(method).uri(uri).header(HOST, host).body(());
        let target = Target::of("s3.localhost", &request.unwrap());
        assert_eq!((target.op, target.resource.as_str()), (op, resource), "{host}{uri}");
    }

    #[test]
    fn requests_are_told_apart() {
        let host = "127.0.0.1:9000";
        check(Method::GET, host, "/", S3Op::Other, "");
        check(Method::GET, host, "/b?list-type=2&prefix=x", S3Op::List, "b");
        check(Method::GET, host, "/b/?list-type=2", S3Op::List, "b/");
        check(Method::GET, host, "/b?location", S3Op::Other, "b");
        check(Method::GET, host, "/b/a%20b/c", S3Op::Get, "b/a b/c");
        check(Method::HEAD, host, "/b/k", S3Op::Head, "b/k");
        check(Method::HEAD, host, "/b", S3Op::Other, "b");
        check(Method::PUT, host, "/b/k?partNumber=1&uploadId=u", S3Op::Put, "b/k");
        check(Method::POST, host, "/b/k?uploads", S3Op::Put, "b/k");
        check(Method::POST, host, "/b?delete", S3Op::Delete, "b");
        check(Method::DELETE, host, "/b/k", S3Op::Delete, "b/k");
        check(Method::DELETE, host, "/b/k?uploadId=u", S3Op::Other, "b/k");
        check(Method::PUT, host, "/b", S3Op::Other, "b");
        check(Method::POST, host, "/", S3Op::Other, "");
    }

    #[test]
    fn forms_sent_to_the_root_are_for_the_token_service() {
        let form = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
        let target = Target::of("s3.localhost", &form.body(()).unwrap());
        assert_eq!(target.op, S3Op::Sts);
    }

    #[test]
    fn the_bucket_may_stand_in_the_host() {
        check(Method::GET, "b.s3.localhost:9000", "/k/x", S3Op::Get, "b/k/x");
        check(Method::GET, "b.c.s3.localhost", "/?list-type=2", S3Op::List, "b.c/");
        check(Method::GET, "s3.localhost:9000", "/b/k", S3Op::Get, "b/k");
    }
}
