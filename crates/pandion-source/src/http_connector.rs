//! The HTTP client of every source: it speaks to one endpoint, and only after the endpoint policy
//! has checked the address it is about to connect to.
//!
//! It follows no redirect, uses no proxy, and refuses a request to any other host or port, so that
//! no library default (a metadata service, a token service) can be contacted through it. It also
//! sees to two things that the object store client leaves open: a listing page that says it is cut
//! short but names no continuation is an error, and pages are counted.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::Method;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use pandion_types::Secret;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::http_client::GuardedClient;
use crate::listing;
use crate::policy::{EndpointDenied, EndpointPolicy, parse_host};
use crate::spec::SourceSecrets;
use crate::uri::BucketAddress;

/// Time for a connection to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Time without a byte, headers included, after which an attempt is given up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for one attempt with its whole body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest page of a listing that is read, in bytes: some fifty times a full page.
const LIST_PAGE_BYTES_MAX: usize = 64 << 20;

/// Makes HTTP clients for one endpoint.
#[derive(Clone)]
pub struct GuardedConnector {
    policy: Arc<EndpointPolicy>,
    tls: bool,
    host: String,
    port: u16,
    root_certificates: Vec<reqwest::Certificate>,
}

impl GuardedConnector {
    /// A connector for the endpoint of a source, which trusts the certificates that the source
    /// brings.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn for_source(
        policy: &Arc<EndpointPolicy>,
        address: &BucketAddress,
        secrets: &SourceSecrets,
    ) -> pandion_types::Result<Self> {
        let BucketAddress { tls, host, port, .. } = address;
        Self::new(policy, *tls, host, *port, secrets.ssl_ca_cert())
    }

    /// A connector for `host:port`, and for names below `host` on the same port, where a bucket
    /// stands in the host name. `ca_pem` are certificates to trust beside the system's.
    ///
    /// # Errors
    /// `InvalidArgument` when `host` is no host or `ca_pem` no PEM text; it shows nothing of the
    /// latter.
    pub fn new(
        policy: &Arc<EndpointPolicy>,
        tls: bool,
        host: &str,
        port: u16,
        ca_pem: Option<&Secret>,
    ) -> pandion_types::Result<Self> {
        let root_certificates = match ca_pem {
            None => Vec::new(),
            Some(pem) => reqwest::Certificate::from_pem_bundle(pem.expose().as_bytes())
                .ok()
                .filter(|certificates| !certificates.is_empty())
                .ok_or_else(|| {
                    pandion_types::Error::invalid_argument(
                        "extfs.ssl_ca_cert must be the text of certificates in PEM form, not a \
                         path",
                    )
                    .about(pandion_types::Subject::Source)
                })?,
        };
        let host = host.to_ascii_lowercase();
        parse_host(&host)?;
        Ok(Self { policy: Arc::clone(policy), tls, host, port, root_certificates })
    }

    /// A client for requests that no object store makes, such as those of a catalog. It is held to
    /// the same endpoint in the same way.
    ///
    /// # Errors
    /// `Internal` when the system's certificates cannot be read.
    pub fn http_client(&self) -> pandion_types::Result<GuardedClient> {
        let client = self.client().map_err(|error| {
            pandion_types::Error::internal("the HTTP client cannot be set up").caused_by(error)
        })?;
        Ok(GuardedClient::new(client, self.clone()))
    }

    /// The endpoint as `host:port`.
    pub(crate) fn host_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Checks what the resolver does not see: that the request goes to the endpoint, and hosts
    /// that are addresses, which are connected to without being resolved.
    pub(crate) fn check(&self, url: &Url) -> Result<(), HttpError> {
        let Self { policy, host, port, .. } = self;
        let stray = || {
            let found = url.host_str().unwrap_or("nowhere");
            HttpError::new(HttpErrorKind::Unknown, StrayRequest(found.to_owned()))
        };
        if url.port_or_known_default() != Some(*port) {
            return Err(stray());
        }
        let endpoint = parse_host(host).map_err(denied_or_unknown)?;
        let found = url.host().ok_or_else(stray)?.to_owned();
        let address = match found {
            Host::Ipv4(address) => address.into(),
            Host::Ipv6(address) => address.into(),
            Host::Domain(ref name) => {
                let below = |endpoint: &str| {
                    name.strip_suffix(endpoint).is_some_and(|bucket| bucket.ends_with('.'))
                };
                return match &endpoint {
                    Host::Domain(endpoint) if name == endpoint || below(endpoint) => Ok(()),
                    _ => Err(stray()),
                };
            }
        };
        if found != endpoint {
            return Err(stray());
        }
        policy
            .check_address(host, *port, address)
            .map_err(|denied| HttpError::new(HttpErrorKind::Unknown, denied))
    }

    fn client(&self) -> reqwest::Result<reqwest::Client> {
        let resolver = GuardedResolver {
            policy: Arc::clone(&self.policy),
            host: self.host.clone(),
            port: self.port,
        };
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("pandion/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(resolver))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(IDLE_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .https_only(self.tls)
            // Reading the system's certificates costs time that an unencrypted endpoint wastes.
            .tls_built_in_root_certs(self.tls)
            // Object stores answer many small requests faster over several connections than
            // over one multiplexed connection.
            .http1_only();
        for certificate in &self.root_certificates {
            builder = builder.add_root_certificate(certificate.clone());
        }
        builder.build()
    }
}

impl fmt::Debug for GuardedConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuardedConnector({}:{}, tls: {})", self.host, self.port, self.tls)
    }
}

impl HttpConnector for GuardedConnector {
    /// Takes nothing from `options`: what a source's client may do is decided here.
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = self.client().map_err(|error| object_store::Error::Generic {
            store: "HTTP client",
            source: Box::new(error),
        })?;
        Ok(HttpClient::new(GuardedService { client, connector: self.clone() }))
    }
}

/// Resolves names for the HTTP client, which then connects to the addresses that were checked.
struct GuardedResolver {
    policy: Arc<EndpointPolicy>,
    host: String,
    port: u16,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, endpoint, port) = (Arc::clone(&self.policy), self.host.clone(), self.port);
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                policy.check_host_as(name.as_str(), &endpoint, port).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[derive(Debug)]
struct GuardedService {
    client: reqwest::Client,
    connector: GuardedConnector,
}

impl GuardedService {
    fn check(&self, request: &HttpRequest) -> Result<(), HttpError> {
        // Parsed as the client will parse it, since that decides what is an address.
        let url = Url::parse(&request.uri().to_string())
            .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        self.connector.check(&url)
    }
}

#[async_trait]
impl HttpService for GuardedService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.check(&request)?;
        let listing = ListingProtocol::of(&request);
        if listing.is_some() {
            listing::count_page();
        }
        let response = self.client.call(request).await.map_err(unretried_if_denied)?;
        match listing {
            Some(protocol) if response.status().is_success() => {
                check_page(response, protocol).await
            }
            _ => Ok(response),
        }
    }
}

/// Whose form the pages of a listing have.
#[derive(Clone, Copy)]
enum ListingProtocol {
    S3,
    Azure,
}

impl ListingProtocol {
    /// The protocol of a request for a page of a listing; `None` for other requests.
    fn of(request: &HttpRequest) -> Option<Self> {
        let query = request.uri().query().filter(|_| request.method() == Method::GET)?;
        let asks = |parameter| query.split('&').any(|part| part == parameter);
        match () {
            () if asks("list-type=2") => Some(Self::S3),
            () if asks("comp=list") && asks("restype=container") => Some(Self::Azure),
            () => None,
        }
    }

    /// What a page ends with.
    fn end(self) -> &'static [u8] {
        match self {
            Self::S3 => b"</ListBucketResult>",
            Self::Azure => b"</EnumerationResults>",
        }
    }
}

/// A refused address stays refused: retrying it would only delay the answer.
fn unretried_if_denied(error: HttpError) -> HttpError {
    match find_refusal(&error) {
        Some(refusal) => HttpError::new(HttpErrorKind::Unknown, refusal),
        None => error,
    }
}

/// The refusal in a chain of errors, if one is the cause.
pub(crate) fn find_refusal(error: &(dyn std::error::Error + 'static)) -> Option<Refusal> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(refusal) = error.downcast_ref::<Refusal>() {
            return Some(refusal.clone());
        }
        if let Some(denied) = error.downcast_ref::<EndpointDenied>() {
            return Some(Refusal(denied.to_string()));
        }
        if let Some(error) = error.downcast_ref::<pandion_types::Error>()
            && error.kind() == pandion_types::ErrorKind::PermissionDenied
        {
            return Some(Refusal(error.message().to_owned()));
        }
        current = error.source();
    }
    None
}

/// The text of the endpoint policy's refusal, on its way through the client's errors.
#[derive(Clone, Debug)]
pub(crate) struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

fn denied_or_unknown(error: pandion_types::Error) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, error)
}

/// A request that would leave the endpoint.
#[derive(Debug)]
struct StrayRequest(String);

impl fmt::Display for StrayRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a request to {} does not belong to the source's endpoint", self.0)
    }
}

impl std::error::Error for StrayRequest {}

/// A page of a listing that cannot be trusted to be complete.
#[derive(Debug)]
pub(crate) struct BrokenListing(&'static str);

impl fmt::Display for BrokenListing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BrokenListing {}

/// Reads a page whole and refuses one that ends before the listing does without a way to go on:
/// taken as it is, it would look as if the files behind it had been deleted.
///
/// Only S3 says on the page that the listing goes on; of Azure's pages no more can be checked than
/// that they are whole.
async fn check_page(
    response: HttpResponse,
    protocol: ListingProtocol,
) -> Result<HttpResponse, HttpError> {
    let broken = |what| HttpError::new(HttpErrorKind::Decode, BrokenListing(what));
    let (parts, body) = response.into_parts();
    let mut page = BytesMut::new();
    let mut chunks = body.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        if page.len() + chunk.len() > LIST_PAGE_BYTES_MAX {
            return Err(broken("a page of the listing is too large"));
        }
        page.extend_from_slice(&chunk);
    }
    let page = page.freeze();
    if !holds(&page, protocol.end()) {
        return Err(broken("a page of the listing is incomplete"));
    }
    let goes_on = holds(&page, b"<NextContinuationToken>")
        && !holds(&page, b"<NextContinuationToken></NextContinuationToken>");
    if holds(&page, b"<IsTruncated>true<") && !goes_on {
        return Err(broken("the listing is cut short: it names no continuation"));
    }
    Ok(HttpResponse::from_parts(parts, HttpResponseBody::from(page)))
}

fn holds(text: &Bytes, part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests;
