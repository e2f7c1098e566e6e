//! How a catalog fails on demand.

use std::sync::Mutex;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::response::Response;
use futures::StreamExt;

use crate::convert::lock;

/// A failure that meets some requests.
#[derive(Clone, Debug)]
pub struct CatalogFault {
    /// The end of the path of the requests that it meets, such as `/config`; empty meets all.
    pub path: String,
    /// How many requests it meets.
    pub times: u32,
    /// What happens to them.
    pub failure: CatalogFailure,
}

/// What happens to a request that meets a fault.
#[derive(Clone, Debug)]
pub enum CatalogFailure {
    /// It is answered with this status, without asking who asks, and with this error text.
    Status(u16, String),
    /// It is redirected to this address.
    Redirect(String),
    /// It is answered with success and this text.
    Body(String),
    /// It is answered with success and this many bytes, whose number is not announced.
    Endless(u64),
    /// It is never answered.
    Hang,
    /// Its answer breaks off.
    Cut,
}

/// The failure that a request meets, if one is left for it.
pub(crate) fn take(faults: &Mutex<Vec<CatalogFault>>, path: &str) -> Option<CatalogFailure> {
    let mut faults = lock(faults);
    let fault = faults.iter_mut().find(|fault| fault.times > 0 && path.ends_with(&fault.path))?;
    fault.times -= 1;
    Some(fault.failure.clone())
}

/// The answer that the failure means.
pub(crate) async fn answer(failure: CatalogFailure) -> Result<Response, axum::http::Error> {
    let json = || Response::builder().header(CONTENT_TYPE, "application/json");
    match failure {
        CatalogFailure::Status(status, message) => {
            let error = serde_json::json!({
                "error": {"message": message, "type": "FaultException", "code": status},
            });
            json().status(status).body(Body::from(error.to_string()))
        }
        CatalogFailure::Redirect(target) => {
            Response::builder().status(307).header(LOCATION, target).body(Body::empty())
        }
        CatalogFailure::Body(text) => json().body(Body::from(text)),
        CatalogFailure::Endless(bytes) => {
            const CHUNK: &[u8] = &[b' '; 1 << 16];
            let chunks = bytes.div_ceil(1 << 16);
            let stream = futures::stream::iter(0..chunks)
                .map(|_| Ok::<_, std::io::Error>(bytes::Bytes::from_static(CHUNK)));
            json().body(Body::from_stream(stream))
        }
        CatalogFailure::Hang => futures::future::pending().await,
        CatalogFailure::Cut => {
            let parts = [
                Ok(bytes::Bytes::from_static(b"{\"defaults\":")),
                Err(std::io::Error::other("cut on purpose")),
            ];
            json().body(Body::from_stream(futures::stream::iter(parts)))
        }
    }
}
