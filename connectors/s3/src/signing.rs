//! Lets reading go on when a session ends in the middle of it: a request that the store refuses
//! because its session has expired is signed anew with renewed keys and sent once more.
//!
//! This is the one place that sees both what a request was signed with and what came back. A
//! request is repeated once at most, and only for that reason.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use futures::StreamExt;
use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientOptions, CredentialProvider};
use pandion_source::{AwsCredentials, CredentialFailure, CredentialSource, GuardedConnector};
use pandion_types::{Error, Secret};

/// The header of the session's token.
const TOKEN_HEADER: &str = "x-amz-security-token";
/// The error codes that say that a session has ended.
const EXPIRED_CODES: [&str; 3] = [
    "<Code>ExpiredToken</Code>",
    "<Code>ExpiredTokenException</Code>",
    "<Code>TokenRefreshRequired</Code>",
];
/// The largest refusal that is read for its code, in bytes.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// Hands the keys of a source to an object store's client.
#[derive(Debug)]
pub(crate) struct StoreKeys(pub(crate) Arc<dyn CredentialSource>);

#[async_trait]
impl CredentialProvider for StoreKeys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let failed = |error: &Error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(CredentialFailure::of(error)),
        };
        let keys = self.0.credentials().await.map_err(|error| failed(&error))?;
        // The client takes for granted that they can stand in a header.
        keys.check().map_err(|error| failed(&error))?;
        Ok(Arc::new(keys.to_object_store()))
    }
}

/// Makes clients that survive the end of a session.
#[derive(Debug)]
pub(crate) struct RenewingConnector {
    pub(crate) inner: GuardedConnector,
    pub(crate) keys: Arc<dyn CredentialSource>,
    pub(crate) region: String,
}

impl HttpConnector for RenewingConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = self.inner.connect(options)?;
        let (keys, region) = (Arc::clone(&self.keys), self.region.clone());
        Ok(HttpClient::new(RenewingService { client, keys, region }))
    }
}

#[derive(Debug)]
struct RenewingService {
    client: HttpClient,
    keys: Arc<dyn CredentialSource>,
    region: String,
}

#[async_trait]
impl HttpService for RenewingService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let repeat = request.clone();
        match Answer::of(self.client.execute(request).await?, &repeat).await? {
            Answer::Final(response) => Ok(response),
            Answer::Expired => self.repeat(repeat).await,
        }
    }
}

impl RenewingService {
    async fn repeat(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let failed =
            |error: &Error| HttpError::new(HttpErrorKind::Unknown, CredentialFailure::of(error));
        let rejected = signed_with(&request);
        tracing::debug!("a session has expired while it was used; its keys are renewed");
        let keys = self.keys.renew(&rejected).await.map_err(|error| failed(&error))?;
        keys.check().map_err(|error| failed(&error))?;
        let credential = keys.to_object_store();
        request.headers_mut().remove(AUTHORIZATION);
        request.headers_mut().remove(TOKEN_HEADER);
        AwsAuthorizer::new(&credential, "s3", &self.region).authorize(&mut request, None);
        self.client.execute(request).await
    }
}

/// The keys that a request was signed with, as far as it shows them.
fn signed_with(request: &HttpRequest) -> AwsCredentials {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let key_id = header(AUTHORIZATION.as_str())
        .and_then(|text| text.split_once("Credential="))
        .and_then(|(_, scope)| scope.split('/').next())
        .unwrap_or_default();
    AwsCredentials {
        key_id: Secret::new(key_id),
        secret: Secret::new(""),
        token: header(TOKEN_HEADER).map(Secret::new),
        expires_at: None,
    }
}

/// What an answer means for the session.
enum Answer {
    Final(HttpResponse),
    Expired,
}

impl Answer {
    async fn of(response: HttpResponse, request: &HttpRequest) -> Result<Self, HttpError> {
        // Stores that speak S3's protocol agree on the code, but not on the status.
        let may_be = [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        if !may_be.contains(&response.status()) {
            return Ok(Self::Final(response));
        }
        if request.method() == Method::HEAD {
            // Such an answer has no body that could say why. S3 gives this status to an expired
            // session, and hardly to anything else that we send.
            let is_session = request.headers().contains_key(TOKEN_HEADER);
            let is_expired = is_session && response.status() == StatusCode::BAD_REQUEST;
            return Ok(if is_expired { Self::Expired } else { Self::Final(response) });
        }
        let (parts, body) = response.into_parts();
        let mut text = BytesMut::new();
        let mut chunks = body.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            let room = REFUSAL_BYTES_MAX.saturating_sub(text.len());
            text.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        }
        let is_expired = EXPIRED_CODES.iter().any(|code| holds(&text, code.as_bytes()));
        if is_expired {
            return Ok(Self::Expired);
        }
        let body = HttpResponseBody::from(text.freeze());
        Ok(Self::Final(HttpResponse::from_parts(parts, body)))
    }
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
