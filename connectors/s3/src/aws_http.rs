//! The HTTP of AWS's libraries, through our own guarded client: they bring none here, and so reach
//! nothing that the endpoint policy does not let them.

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use pandion_source::{GuardedClient, read_bounded};
use pandion_types::{Error, ErrorKind, Result, Subject};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

/// The largest answer that is read, in bytes: many times what any of them has.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// An HTTP client for one endpoint, as AWS's libraries want it.
#[derive(Clone, Debug)]
pub(crate) struct AwsHttp(pub(crate) GuardedClient);

impl AwsHttp {
    /// Sends a request and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// As [`GuardedClient::execute`] and [`read_bounded`]; `InvalidArgument` for what is no URL.
    pub(crate) async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>> {
        let request = reqwest::Request::try_from(request).map_err(|error| {
            Error::invalid_argument(format!("{:?} cannot be asked like this", self.0))
                .about(Subject::Source)
                .caused_by(error.without_url())
        })?;
        let answer = self.0.execute(request).await?;
        let mut response = http::Response::new(Bytes::new());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        *response.body_mut() = read_bounded(answer, ANSWER_BYTES_MAX).await?;
        Ok(response)
    }

    async fn answer(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let user = |error: Error| ConnectorError::user(Box::new(error));
        let request = request.try_into_http1x().map_err(|error| {
            user(Error::internal("a request of AWS's library is no HTTP request").caused_by(error))
        })?;
        let (parts, body) = request.into_parts();
        let Some(body) = body.bytes().map(Bytes::copy_from_slice) else {
            return Err(user(Error::internal("a request of AWS's library has a body in parts")));
        };
        let answer = self.send(http::Request::from_parts(parts, body)).await.map_err(|error| {
            // Only what may pass is worth another attempt.
            match error.kind() {
                ErrorKind::Unavailable => ConnectorError::io(Box::new(error)),
                _ => user(error),
            }
        })?;
        HttpResponse::try_from(answer.map(SdkBody::from)).map_err(|error| {
            user(Error::corrupt("an answer to AWS's library is no HTTP answer").caused_by(error))
        })
    }
}

impl HttpClient for AwsHttp {
    /// Takes nothing from the settings: what time a request has is decided by the guarded client,
    /// and by the limits that AWS's libraries put around it.
    fn http_connector(
        &self,
        _settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for AwsHttp {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.clone();
        HttpConnectorFuture::new(async move { client.answer(request).await })
    }
}

/// Awaits a call of AWS's libraries without letting them log: at their finest level they print
/// requests whole, with external ids and tokens.
pub(crate) async fn unlogged<F: Future>(call: F) -> F::Output {
    call.with_subscriber(NoSubscriber::default()).await
}

/// Our own error among the causes of a foreign one, with its kind and text.
pub(crate) fn own_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(own) = error.downcast_ref::<Error>() {
            return Some(own);
        }
        current = error.source();
    }
    None
}
