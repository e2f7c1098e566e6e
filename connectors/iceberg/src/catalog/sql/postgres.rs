//! A catalog in a PostgreSQL server: connections to addresses that the endpoint policy has checked,
//! encrypted and with the server's name proven, repeated where that may help.
//!
//! The protocol is spoken here because no client library fits: those that there are receive
//! messages of any length, and what they depend on would change how the storage stack is built.
//! Only what it takes to ask for one row is spoken. Without TLS only a server that the operator has
//! named is spoken to, and then only a proof is sent, never the password or what stands for it.

mod scram;
mod server_error;
mod session;
mod tls;
mod wire;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pandion_source::{EndpointPolicy, IoStats, SourceSecrets, SqlDatabase};
use pandion_types::{Error, ErrorKind, Result, Secret, Subject};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::SqlCatalogOptions;
use super::row::{CatalogRow, RowKey};
use session::Session;
use tls::Trust;
use wire::Wire;

/// How often an attempt is repeated.
const REPETITIONS_MAX: u32 = 4;
/// No repetition begins later than this after the first attempt.
const REPETITION_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a connection to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Asks one database. Every question has a connection of its own.
pub(super) struct PostgresClient {
    /// The database's URI without the user, for errors.
    place: String,
    host: String,
    port: u16,
    login: Login,
    trust: Option<Trust>,
    policy: Arc<EndpointPolicy>,
    options: SqlCatalogOptions,
}

/// Who asks what.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) database: String,
    pub(super) password: Option<Secret>,
}

/// What one attempt came to.
struct Attempt {
    outcome: Result<Vec<CatalogRow>>,
    bytes_received: u64,
}

impl PostgresClient {
    /// A client for a database of PostgreSQL. No name is resolved.
    ///
    /// # Errors
    /// `InvalidArgument` about the source for a certificate that is no PEM text; `Internal` for a
    /// database of another kind.
    pub(super) fn new(
        database: &SqlDatabase,
        secrets: &SourceSecrets,
        policy: &Arc<EndpointPolicy>,
        options: SqlCatalogOptions,
    ) -> Result<Self> {
        let SqlDatabase::Postgres { host, port, user, name, tls } = database else {
            return Err(Error::internal(format!("{database} is not a database of PostgreSQL")));
        };
        let trust = match tls {
            true => Some(Trust::new(host, secrets.catalog_ca_cert())?),
            false => None,
        };
        let login = Login {
            user: user.clone(),
            database: name.clone(),
            password: secrets.catalog_password().cloned(),
        };
        Ok(Self {
            place: database.to_string(),
            host: host.clone(),
            port: *port,
            login,
            trust,
            policy: Arc::clone(policy),
            options,
        })
    }

    /// The server's addresses, all of which may be connected to.
    ///
    /// # Errors
    /// As [`EndpointPolicy::check_host`]; `PermissionDenied` about the source without TLS where the
    /// operator has not named the server.
    pub(super) async fn addresses(&self) -> Result<Vec<SocketAddr>> {
        let Self { host, port, .. } = self;
        let addresses = self.policy.check_host(host, *port).await?;
        let is_named = |address: &SocketAddr| self.policy.names(host, *port, address.ip());
        if self.trust.is_none() && !addresses.iter().all(is_named) {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                format!(
                    "catalog.sslmode=disable is refused for {host}:{port}: without TLS only \
                     servers that the operator has named are spoken to; start the server with \
                     --allow-endpoint {host}:{port} to allow it"
                ),
            )
            .about(Subject::Source));
        }
        Ok(addresses)
    }

    /// The rows with this key.
    ///
    /// # Errors
    /// As [`super::SqlCatalog::metadata_location`].
    pub(super) async fn rows(&self, key: &RowKey, stats: &IoStats) -> Result<Vec<CatalogRow>> {
        let begun = Instant::now();
        let mut pause = self.options.pause;
        for repetition in 0.. {
            let is_last =
                repetition == REPETITIONS_MAX || begun.elapsed() + pause > REPETITION_TIMEOUT;
            let Attempt { outcome, bytes_received } = self.attempt(key).await;
            stats.count_read(bytes_received);
            match outcome {
                Err(error) if !is_last && error.kind() == ErrorKind::Unavailable => {}
                Ok(rows) => return Ok(rows),
                // The texts of refusals are complete by themselves.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    return Err(error.about(Subject::Source));
                }
                Err(error) => {
                    return Err(error
                        .about(Subject::Source)
                        .context(format!("the catalog {}", self.place)));
                }
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(Error::internal("a catalog was never asked"))
    }

    async fn attempt(&self, key: &RowKey) -> Attempt {
        let mut bytes_received = 0;
        let asked = self.ask(key, &mut bytes_received);
        let outcome = match tokio::time::timeout(self.options.timeout, asked).await {
            Ok(outcome) => outcome,
            Err(elapsed) => Err(Error::unavailable("did not answer in time").caused_by(elapsed)),
        };
        Attempt { outcome, bytes_received }
    }

    async fn ask(&self, key: &RowKey, bytes_received: &mut u64) -> Result<Vec<CatalogRow>> {
        let stream = self.connect().await?;
        match &self.trust {
            None => {
                let wire = Wire::new(stream, bytes_received);
                Session::new(wire, &self.login, false).rows(key).await
            }
            Some(trust) => {
                let stream = trust.secure(stream).await?;
                let wire = Wire::new(stream, bytes_received);
                Session::new(wire, &self.login, true).rows(key).await
            }
        }
    }

    /// A connection to one of the addresses that have just been checked.
    async fn connect(&self) -> Result<TcpStream> {
        let mut last = Error::unavailable("has no address");
        for address in self.addresses().await? {
            match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => {
                    last = Error::unavailable("cannot be connected to").caused_by(error);
                }
                Err(elapsed) => {
                    last = Error::unavailable("cannot be connected to in time").caused_by(elapsed);
                }
            }
        }
        Err(last)
    }
}
