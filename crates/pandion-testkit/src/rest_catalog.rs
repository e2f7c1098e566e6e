//! An Iceberg REST catalog in the test's own process, on the loopback, that only reads: tables are
//! registered by name and metadata location, and their metadata come from an object store.
//!
//! It asks for a bearer token, hands out and checks tokens for client credentials, or checks
//! signatures of AWS; it hands out credentials for storage that the test makes; and it fails on
//! demand. Its clock stands until the test moves it, so that tokens end without anyone waiting.

mod auth;
mod faults;
mod service;
mod sigv4;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use object_store::ObjectStore;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::faults::{CatalogFailure, CatalogFault};
use self::service::Shared;
use crate::convert::{lock, write};

/// How clients prove who asks.
#[derive(Clone, Debug, Default)]
pub enum CatalogAuth {
    /// Not at all.
    #[default]
    Open,
    /// With this bearer token.
    Bearer(String),
    /// With tokens that the server hands out at `/v1/oauth/tokens`.
    OAuth2 {
        /// The id of the one client.
        client_id: String,
        /// Its secret.
        client_secret: String,
        /// What tokens must be asked for.
        scope: String,
        /// How long tokens are good for, by the server's clock; `None` tells clients nothing and
        /// ends none.
        lifetime: Option<Duration>,
    },
    /// With signatures of AWS, version 4, made within 15 minutes of the server's clock.
    SigV4 {
        /// The access key.
        access_key: String,
        /// Its secret key.
        secret_key: String,
        /// The region that signatures are scoped to.
        region: String,
        /// The service that signatures are scoped to.
        service: String,
    },
}

/// Keys that a catalog hands out.
#[derive(Clone, Debug)]
pub struct IssuedKeys {
    /// The access key.
    pub access_key: String,
    /// Its secret key.
    pub secret_key: String,
    /// The session's token.
    pub session_token: Option<String>,
    /// When they end.
    pub expires_at: Option<SystemTime>,
}

/// Makes keys for the storage of the table that lies at a location, by the server's clock.
#[derive(Clone)]
pub struct Vending(Arc<Issue>);

type Issue = dyn Fn(&str, SystemTime) -> IssuedKeys + Send + Sync;

impl Vending {
    /// Vending by this function.
    pub fn new(issue: impl Fn(&str, SystemTime) -> IssuedKeys + Send + Sync + 'static) -> Self {
        Self(Arc::new(issue))
    }
}

impl fmt::Debug for Vending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vending")
    }
}

/// How a server is to be.
#[derive(Clone, Debug, Default)]
pub struct RestCatalogOptions {
    /// How clients prove who asks.
    pub auth: CatalogAuth,
    /// The prefix that the configuration's overrides name; every address but the configuration's
    /// has it then.
    pub prefix: Option<String>,
    /// The one warehouse; `None` lets clients ask for any or none.
    pub warehouse: Option<String>,
    /// More overrides of the configuration.
    pub overrides: BTreeMap<String, String>,
    /// Who makes keys for clients that ask for them; `None` hands out none.
    pub vending: Option<Vending>,
    /// Whether there is an endpoint that renews keys, and the configuration lists it.
    pub renews_credentials: bool,
    /// The configuration that comes with every table.
    pub table_config: BTreeMap<String, String>,
}

/// What clients asked for, attempts that failed included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestCatalogStats {
    /// Requests for the configuration.
    pub config: u64,
    /// Requests for tables.
    pub table: u64,
    /// Requests for new keys.
    pub credentials: u64,
    /// Requests for tokens.
    pub token: u64,
    /// Anything else.
    pub other: u64,
    /// Requests that were refused because of who asked.
    pub unauthorized: u64,
}

/// A running server. Dropping it closes the port.
#[derive(Debug)]
pub struct RestCatalogServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl RestCatalogServer {
    /// Starts a server on the current runtime; it answers when this returns. `store` holds the
    /// metadata files: `s3://bucket/key` is `key` in it, whatever the bucket.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(
        options: RestCatalogOptions,
        store: Arc<dyn ObjectStore>,
    ) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port is free")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            options,
            store,
            tables: RwLock::default(),
            tokens: Mutex::default(),
            faults: Mutex::default(),
            stats: Mutex::default(),
            now: Mutex::new(SystemTime::now()),
        });
        let router = service::router(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // Ends only when the task is aborted.
            drop(axum::serve(listener, router).await);
        });
        Ok(Self { shared, address, task })
    }

    /// What clients call the catalog's URI: `http://127.0.0.1:PORT/api`.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("http://{}/api", self.address)
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn host_port(&self) -> String {
        self.address.to_string()
    }

    /// Registers a table, or lets its name stand for other metadata.
    pub fn register(&self, namespace: &[&str], table: &str, metadata_location: &str) {
        let mut name: Vec<_> = namespace.iter().map(|level| (*level).to_owned()).collect();
        name.push(table.to_owned());
        write(&self.shared.tables).insert(name, metadata_location.to_owned());
    }

    /// Puts these faults in place of the ones before.
    pub fn set_faults(&self, faults: Vec<CatalogFault>) {
        *lock(&self.shared.faults) = faults;
    }

    /// The server's time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        *lock(&self.shared.now)
    }

    /// Lets time pass at the server.
    pub fn advance(&self, by: Duration) {
        *lock(&self.shared.now) += by;
    }

    /// Forgets every token that was handed out.
    pub fn revoke_tokens(&self) {
        lock(&self.shared.tokens).clear();
    }

    /// What clients asked for since the start or the last reset.
    #[must_use]
    pub fn stats(&self) -> RestCatalogStats {
        *lock(&self.shared.stats)
    }

    /// What clients asked for until now; counting starts anew.
    pub fn reset_stats(&self) -> RestCatalogStats {
        std::mem::take(&mut *lock(&self.shared.stats))
    }
}

impl Drop for RestCatalogServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests;
