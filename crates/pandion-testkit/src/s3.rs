//! An S3 server in the test's own process, on the loopback, in memory.
//!
//! Signatures (`SigV4`) are checked as S3 checks them, so that a client with a wrong key learns it.
//! Both styles of addressing work: `http://127.0.0.1:PORT/bucket/key`, and
//! `http://bucket.DOMAIN:PORT/key` for clients that can be told where `bucket.DOMAIN` is.
//! It counts what it is asked, and it is slow or fails on demand, from Rust or over HTTP:
//!
//! | request | answer |
//! |---|---|
//! | `GET /_stats` | [`S3Stats`] as JSON |
//! | `DELETE /_stats` | the same, and the counts start anew |
//! | `PUT /_faults` | takes a JSON array of [`S3Fault`] in place of the ones before |
//! | `GET /_faults` | each fault with its number of hits |
//! | `DELETE /_faults` | removes them |
//!
//! Beside S3 it is the token service, instance metadata and the agent that gives containers their
//! keys, for the roles that [`S3Identities`] names; the sessions that these open are checked at
//! every request, for their token, their end, and what their role's policy lets them do.
//!
//! It is no model of S3's versions, bucket policies or eventual errors: requests that need what is
//! not built are answered `NotImplemented`.

mod faults;
mod http;
mod identities;
mod metadata;
mod policy;
mod service;
mod stats;
mod store;
mod sts;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{Certificate, HttpClient, HttpConnector};
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::faults::S3Fault;
use self::http::Front;
use self::identities::{Bearer, Identities};
pub use self::identities::{S3Identities, S3Role, S3User};
use self::service::{Domain, Service, Shared};
pub use self::stats::{S3Op, S3Stats};
use self::store::{Object, Precondition, Store};

/// How a server is to be.
#[derive(Clone, Debug)]
pub struct S3Options {
    /// TCP port on 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    /// The access key that clients sign with.
    pub access_key: String,
    /// Its secret key.
    pub secret_key: String,
    /// The session token that every request must bear; `None` refuses requests that bear one.
    pub session_token: Option<String>,
    /// The region that signatures must be scoped to.
    pub region: String,
    /// The domain below which hosts name buckets.
    pub domain: String,
    /// Whether to speak TLS, with a certificate of an authority made for this server.
    pub tls: bool,
    /// Buckets to begin with.
    pub buckets: Vec<String>,
    /// Who there is beside the owner of the access key, who may do everything.
    pub identities: S3Identities,
    /// Seed of the faults' choices.
    pub seed: u64,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            port: 0,
            access_key: "pandion-test-key".to_owned(),
            secret_key: "pandion-test-secret".to_owned(),
            session_token: None,
            region: "us-east-1".to_owned(),
            domain: "s3.localhost".to_owned(),
            tls: false,
            buckets: vec!["lake".to_owned()],
            identities: S3Identities::default(),
            seed: 0,
        }
    }
}

impl S3Options {
    /// The defaults, with TLS.
    #[must_use]
    pub fn with_tls() -> Self {
        Self { tls: true, ..Self::default() }
    }
}

/// A running server. Dropping it closes the port and every connection.
#[derive(Debug)]
pub struct S3Server {
    shared: Arc<Shared>,
    options: S3Options,
    address: SocketAddr,
    ca_pem: Option<String>,
    task: JoinHandle<()>,
}

/// Writes to a server's buckets past HTTP, also after the server was moved elsewhere.
#[derive(Clone, Debug)]
pub struct S3Writer(Arc<Shared>);

impl S3Server {
    /// Starts a server on the current runtime; it answers when this returns.
    ///
    /// # Errors
    /// The port is taken, the domain makes no certificate, or a policy is not understood.
    pub async fn start(options: S3Options) -> anyhow::Result<Self> {
        let identities = Identities::new(&options.identities)?;
        let owner = Bearer::owner(&options.secret_key, options.session_token.as_deref());
        identities.add(&options.access_key, owner);
        let shared = Arc::new(Shared {
            store: Store::default(),
            counters: stats::Counters::default(),
            faults: faults::Faults::new(options.seed),
            identities,
            session_token: options.session_token.clone(),
            region: options.region.clone(),
            domain: options.domain.clone(),
        });
        for bucket in &options.buckets {
            shared.store.create_bucket(bucket);
        }

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))
            .await
            .with_context(|| format!("cannot listen on 127.0.0.1:{}", options.port))?;
        let address = listener.local_addr()?;
        let tls = options.tls.then(|| tls::issue(&options.domain)).transpose()?;
        let (acceptor, ca_pem) = tls.map(|tls| (tls.acceptor, tls.ca_pem)).unzip();

        let service = Service(Arc::clone(&shared));
        let mut builder = S3ServiceBuilder::new(service.clone());
        builder.set_auth(service.clone());
        builder.set_access(service.clone());
        builder.set_route(service);
        builder.set_host(Domain(options.domain.clone()));
        let front = Front { shared: Arc::clone(&shared), service: builder.build() };
        let task = tokio::spawn(http::serve(listener, acceptor, front));
        Ok(Self { shared, options, address, ca_pem, task })
    }

    /// `http://127.0.0.1:PORT`, or `https://..` with TLS.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme(), self.address)
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn host_port(&self) -> String {
        self.address.to_string()
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the server was started with.
    #[must_use]
    pub fn options(&self) -> &S3Options {
        &self.options
    }

    /// The certificate that clients must trust, in PEM; `None` without TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// A handle that writes to the buckets past HTTP.
    #[must_use]
    pub fn writer(&self) -> S3Writer {
        S3Writer(Arc::clone(&self.shared))
    }

    /// See [`S3Writer::put`].
    pub fn put(&self, bucket: &str, key: &str, data: impl Into<Bytes>) -> String {
        self.writer().put(bucket, key, data)
    }

    /// See [`S3Writer::delete`].
    pub fn delete(&self, bucket: &str, key: &str) -> bool {
        self.writer().delete(bucket, key)
    }

    /// The bytes of an object, without a request.
    #[must_use]
    pub fn get(&self, bucket: &str, key: &str) -> Option<Bytes> {
        self.shared.store.get(bucket, key).ok().map(|object| object.data.clone())
    }

    /// The keys of a bucket in order, without a request; none if there is no such bucket.
    #[must_use]
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.shared.store.keys(bucket)
    }

    /// Serves the files below `directory` from `bucket`, their relative paths as keys. They are
    /// mapped into memory, not read, and must not change while the server lives. Returns how many
    /// there are.
    ///
    /// # Errors
    /// A directory that cannot be listed, or a file that cannot be mapped, by its path.
    pub fn preload(&self, bucket: &str, directory: &Path) -> anyhow::Result<usize> {
        self.shared.store.preload(bucket, directory)
    }

    /// What was counted since the start or the last reset.
    #[must_use]
    pub fn stats(&self) -> S3Stats {
        self.shared.counters.snapshot()
    }

    /// What was counted until now; counting starts anew.
    pub fn reset_stats(&self) -> S3Stats {
        self.shared.counters.reset()
    }

    /// The most requests that were under way at a time since the start or the last reset. A request
    /// is under way from its arrival, latency included, until its answer begins.
    #[must_use]
    pub fn in_flight_max(&self) -> u64 {
        self.shared.counters.in_flight_max()
    }

    /// Puts these faults in place of the ones before.
    ///
    /// # Errors
    /// A key that is no regular expression, a rate outside [0, 1], a status that is no error.
    pub fn set_faults(&self, faults: Vec<S3Fault>) -> anyhow::Result<()> {
        self.shared.faults.set(faults)
    }

    /// How often each fault has hit, in the order in which they were set.
    #[must_use]
    pub fn fault_hits(&self) -> Vec<u64> {
        self.shared.faults.hits().into_iter().map(|(_, hits)| hits).collect()
    }

    /// Lets clients sign with one more key, or gives a key another secret.
    pub fn add_key(&self, access_key: &str, secret_key: &str) {
        let bearer = Bearer::owner(secret_key, self.shared.session_token.as_deref());
        self.shared.identities.add(access_key, bearer);
    }

    /// Refuses requests signed with this key from now on.
    pub fn remove_key(&self, access_key: &str) {
        self.shared.identities.remove(access_key);
    }

    /// Puts a role in place of one with the same ARN. Sessions that were opened before keep what
    /// they could do.
    ///
    /// # Errors
    /// A policy that is not understood.
    pub fn set_role(&self, role: &S3Role) -> anyhow::Result<()> {
        self.shared.identities.set_role(role)
    }

    /// Lets every session that was opened until now end at once.
    pub fn expire_sessions(&self) {
        self.shared.identities.expire_sessions();
    }

    /// A client of `bucket` with the right key, path-style. Its options and retries are
    /// `object_store`'s defaults, to be changed before building.
    ///
    /// # Errors
    /// The authority's certificate is not accepted.
    pub fn client(&self, bucket: &str) -> anyhow::Result<AmazonS3Builder> {
        let builder = self.signed(bucket).with_endpoint(self.endpoint());
        let mut options = ClientOptions::new().with_allow_http(!self.options.tls);
        if let Some(pem) = &self.ca_pem {
            options = options.with_root_certificate(Certificate::from_pem(pem.as_bytes())?);
        }
        Ok(builder.with_client_options(options))
    }

    /// A client of `bucket` with the right key that addresses it as `bucket.DOMAIN`, virtual-host
    /// style. It finds that name at the server's address without asking a resolver, for which it
    /// brings its own HTTP client: client options have no effect.
    #[must_use]
    pub fn virtual_host_client(&self, bucket: &str) -> AmazonS3Builder {
        let host = format!("{bucket}.{}", self.options.domain);
        let endpoint = format!("{}://{host}:{}", self.scheme(), self.address.port());
        self.signed(bucket)
            .with_endpoint(endpoint)
            .with_virtual_hosted_style_request(true)
            .with_http_connector(PinnedHost {
                host,
                address: self.address,
                ca_pem: self.ca_pem.clone(),
            })
    }

    /// [`Self::client`], built.
    ///
    /// # Errors
    /// The client cannot be built.
    pub fn bucket(&self, bucket: &str) -> anyhow::Result<Arc<AmazonS3>> {
        Ok(Arc::new(self.client(bucket)?.build()?))
    }

    /// Stops the server and waits until its port is free.
    ///
    /// # Errors
    /// The server had panicked.
    pub async fn shutdown(mut self) -> anyhow::Result<()> {
        self.task.abort();
        match (&mut self.task).await {
            Err(error) if !error.is_cancelled() => Err(error).context("the S3 server panicked"),
            _ => Ok(()),
        }
    }

    fn scheme(&self) -> &'static str {
        if self.options.tls { "https" } else { "http" }
    }

    fn signed(&self, bucket: &str) -> AmazonS3Builder {
        let builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&self.options.region)
            .with_allow_http(!self.options.tls)
            .with_access_key_id(&self.options.access_key)
            .with_secret_access_key(&self.options.secret_key);
        match &self.options.session_token {
            Some(token) => builder.with_token(token),
            None => builder,
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl S3Writer {
    /// Writes an object past HTTP and its counters, replacing one that is there; makes the bucket
    /// if it is missing. Returns the ETag, without quotes.
    pub fn put(&self, bucket: &str, key: &str, data: impl Into<Bytes>) -> String {
        let object = Object::new(data.into(), None);
        let etag = object.etag.clone();
        self.0.store.create_bucket(bucket);
        let put = self.0.store.put(bucket, key, object, &Precondition::None);
        debug_assert!(put.is_ok(), "the bucket was just made and is never removed");
        etag
    }

    /// Removes an object past HTTP. Whether there was one.
    pub fn delete(&self, bucket: &str, key: &str) -> bool {
        self.0.store.delete(bucket, key).unwrap_or_default()
    }
}

/// Connects to one host at one address.
#[derive(Debug)]
struct PinnedHost {
    host: String,
    address: SocketAddr,
    ca_pem: Option<String>,
}

impl HttpConnector for PinnedHost {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let refuse = |error: reqwest::Error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(error),
        };
        let mut builder = reqwest::Client::builder().no_proxy().resolve(&self.host, self.address);
        if let Some(pem) = &self.ca_pem {
            let certificate = reqwest::Certificate::from_pem(pem.as_bytes()).map_err(refuse)?;
            builder = builder.add_root_certificate(certificate);
        }
        Ok(HttpClient::new(builder.build().map_err(refuse)?))
    }
}

#[cfg(test)]
mod tests;
