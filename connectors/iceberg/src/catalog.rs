//! Tables that an Iceberg REST catalog knows: which metadata a table has now, and the credentials
//! that the catalog hands out for the table's storage.
//!
//! A thin client that only reads: it asks for the catalog's configuration, for tables and for
//! credentials, and never creates, commits or drops. It speaks to the catalog's own host and to the
//! token server that the user named, behind the endpoint policy, and follows no redirect. A catalog
//! cannot make it send credentials elsewhere: an address that the catalog's configuration names is
//! taken only if it is the same host.

mod address;
mod answer;
mod oauth;
mod rest;
mod signing;
mod vended;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use iceberg::spec::TableMetadata;
use pandion_source::{
    AwsCredentials, CatalogSettings, Clock, CredentialSource, EndpointPolicy, IoStats,
    RenewalLimits, RenewingCredentials, SourceSecrets, SystemClock, TableName,
};
use pandion_types::{Error, ErrorKind, Result, Subject};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::guard::decode;
use crate::metadata::parse;
use address::Addresses;
use answer::Answer;
use rest::{CatalogClient, Question};
use vended::VendedIssuer;
pub use vended::VendedStorage;

/// The longest table that is read, in bytes of its JSON.
const TABLE_BYTES_MAX: usize = 64 << 20;
/// The longest answer of any other kind, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What a client of a catalog takes from its surroundings.
#[derive(Clone, Debug)]
pub struct CatalogOptions {
    /// Tells when tokens end and when requests are signed.
    pub clock: Arc<dyn Clock>,
    /// Who signs requests where the settings ask for signatures and bring no keys of their own: the
    /// identity of `extfs`.
    pub identity: Option<Arc<dyn CredentialSource>>,
    /// The region of `extfs`, for which requests are signed where the settings name none.
    pub region: Option<String>,
    /// The pause before the first repetition of a request; later ones are twice as long each.
    pub pause: Duration,
    /// How long one attempt may take, with its whole answer.
    pub timeout: Duration,
}

impl Default for CatalogOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            identity: None,
            region: None,
            pause: Duration::from_millis(200),
            timeout: Duration::from_secs(30),
        }
    }
}

/// A table as the catalog knows it now.
#[derive(Clone, Debug)]
pub struct LoadedTable {
    /// The table's metadata.
    pub metadata: TableMetadata,
    /// Where the metadata lie, if the catalog says it.
    pub metadata_location: Option<String>,
    /// The credentials for the table's storage; `None` when they were not asked for.
    pub storage: Option<VendedStorage>,
}

/// A client for one table of one catalog. It keeps its token and the catalog's configuration, so
/// that it is worth keeping.
pub struct RestCatalog {
    settings: CatalogSettings,
    clock: Arc<dyn Clock>,
    client: CatalogClient,
    /// What the catalog's configuration says; asked for once.
    addresses: OnceCell<Addresses>,
    vended: Mutex<Vended>,
}

/// What came with the table when it was last loaded.
#[derive(Default)]
struct Vended {
    /// Where the table lies.
    location: Option<String>,
    /// Keys for it that nobody has taken yet.
    keys: Option<AwsCredentials>,
}

impl fmt::Debug for RestCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RestCatalog({}, {})", self.settings.uri, self.settings.table)
    }
}

impl RestCatalog {
    /// A client. No request is made and no name resolved.
    ///
    /// # Errors
    /// `InvalidArgument` about the source for a certificate that is no PEM text, for keys that
    /// cannot stand in a request and where neither keys nor a region for signatures are known;
    /// `Corrupt` when a secret is missing that the settings have.
    pub fn new(
        settings: &CatalogSettings,
        secrets: &SourceSecrets,
        policy: &Arc<EndpointPolicy>,
        options: CatalogOptions,
    ) -> Result<Self> {
        Ok(Self {
            settings: settings.clone(),
            clock: Arc::clone(&options.clock),
            client: CatalogClient::new(settings, secrets, policy, options)?,
            addresses: OnceCell::new(),
            vended: Mutex::default(),
        })
    }

    /// The table that is asked for.
    #[must_use]
    pub fn table(&self) -> &TableName {
        &self.settings.table
    }

    /// Asks for the table as it is now: one request, and before the first also one for the
    /// catalog's configuration and, with client credentials, one for a token. Each attempt is
    /// counted as a read in `stats`.
    ///
    /// # Errors
    /// About the source: `NotFound` for a table, namespace or warehouse that does not exist;
    /// `PermissionDenied` where the catalog, the token server or the endpoint policy refuses;
    /// `Unavailable` when repetitions were used up; `Corrupt` for answers that make no sense or are
    /// too long; `InvalidArgument` for a redirect and what the catalog finds wrong; `Unsupported`
    /// for credentials of a kind that is not served. No text holds a secret.
    pub async fn load_table(&self, stats: &IoStats) -> Result<LoadedTable> {
        let mut table = self.ask_for_table(stats).await?;
        let metadata = match table.get_mut("metadata").map(Value::take) {
            Some(Value::Null) | None => return Err(self.senseless("it has no metadata")),
            Some(metadata) => self.read_metadata(&metadata).await?,
        };
        let metadata_location =
            table.get("metadata-location").and_then(Value::as_str).map(str::to_owned);
        let mut storage = None;
        if self.settings.vended_credentials {
            let location = metadata.location().to_owned();
            let found = self.storage_of(&table, &location)?;
            let keys = Some(found.credentials.clone());
            *self.vended() = Vended { location: Some(location), keys };
            storage = Some(found);
        }
        Ok(LoadedTable { metadata, metadata_location, storage })
    }

    /// Asks for new credentials for the storage of the table, which lies at `location`: one
    /// request, to the endpoint that the protocol has for it where the catalog has that endpoint,
    /// else the one for the table.
    ///
    /// # Errors
    /// As [`Self::load_table`].
    pub async fn renew_storage(&self, location: &str, stats: &IoStats) -> Result<VendedStorage> {
        let addresses = self.addresses(stats).await?;
        if let Some(url) = addresses.credentials(&self.settings.table)? {
            let question = Question { url, delegates: true, bytes_max: ANSWER_BYTES_MAX };
            let answer = self.client.get(&question, stats).await?;
            // Servers that list the endpoint and do not have it are known.
            if !matches!(answer.status, 404 | 405 | 501) {
                let found = answer.json(&self.settings.uri, |answer| self.refused(answer))?;
                return self.storage_of(&found, location);
            }
        }
        let table = self.ask_for_table(stats).await?;
        self.storage_of(&table, location)
    }

    /// Keys for the table's storage, renewed in time for as long as the answer lives: to be given
    /// to the store that reads the table. The first are those that came with the table when it was
    /// loaded, without another request. Renewals are counted in `stats`. `None` when the settings
    /// do not ask for credentials.
    #[must_use]
    pub fn credential_source(
        self: &Arc<Self>,
        stats: Arc<IoStats>,
    ) -> Option<Arc<dyn CredentialSource>> {
        if !self.settings.vended_credentials {
            return None;
        }
        Some(Arc::new(RenewingCredentials::new(
            Arc::new(VendedIssuer::new(Arc::clone(self), stats)),
            Arc::clone(&self.clock),
            RenewalLimits::default(),
        )))
    }

    /// Keys that came with the table and that nobody has taken yet, or new ones.
    async fn keys(&self, stats: &IoStats) -> Result<AwsCredentials> {
        let now = self.clock.now();
        let (location, fresh) = {
            let mut vended = self.vended();
            let fresh = vended.keys.take();
            (vended.location.clone(), fresh)
        };
        if let Some(fresh) = fresh.filter(|keys| keys.expires_at.is_none_or(|end| now < end)) {
            return Ok(fresh);
        }
        if let Some(location) = location {
            return Ok(self.renew_storage(&location, stats).await?.credentials);
        }
        let loaded = self.load_table(stats).await?;
        self.vended().keys = None;
        match loaded.storage {
            Some(storage) => Ok(storage.credentials),
            None => Err(Error::internal("credentials that were asked for are missing")),
        }
    }

    /// Every critical section is an assignment, so what a panicking holder left is whole.
    fn vended(&self) -> MutexGuard<'_, Vended> {
        self.vended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask_for_table(&self, stats: &IoStats) -> Result<Value> {
        let url = self.addresses(stats).await?.table(&self.settings.table)?;
        let delegates = self.settings.vended_credentials;
        let question = Question { url, delegates, bytes_max: TABLE_BYTES_MAX };
        let answer = self.client.get(&question, stats).await?;
        answer.json(&self.settings.uri, |answer| self.refused(answer))
    }

    async fn addresses(&self, stats: &IoStats) -> Result<&Addresses> {
        let ask = || async {
            let url = Addresses::config(&self.settings)?;
            let question = Question { url, delegates: false, bytes_max: ANSWER_BYTES_MAX };
            let answer = self.client.get(&question, stats).await?;
            let config = answer.json(&self.settings.uri, |answer| self.config_refused(answer))?;
            Addresses::new(&self.settings, &config)
        };
        self.addresses.get_or_try_init(ask).await
    }

    fn storage_of(&self, answer: &Value, location: &str) -> Result<VendedStorage> {
        VendedStorage::select(answer, location).map_err(|error| {
            error.about(Subject::Source).context(format!(
                "table {} of the catalog {}",
                self.settings.table, self.settings.uri
            ))
        })
    }

    /// Reads metadata in the way in which those in files are read.
    async fn read_metadata(&self, metadata: &Value) -> Result<TableMetadata> {
        let CatalogSettings { uri, table, .. } = &self.settings;
        let json = Bytes::from(metadata.to_string());
        let place = format!("table {table} of the catalog {uri}");
        decode(place, move |place| parse(&json, place)).await
    }

    fn senseless(&self, what: &str) -> Error {
        let CatalogSettings { uri, table, .. } = &self.settings;
        Error::corrupt(format!("the answer of the catalog {uri} about table {table}: {what}"))
            .about(Subject::Source)
    }

    fn refused(&self, answer: &Answer) -> Error {
        let CatalogSettings { uri, table, .. } = &self.settings;
        match answer.status {
            404 if answer.error_type().is_some_and(|name| name.contains("Namespace")) => {
                let namespace = table.namespace.join(".");
                Error::new(
                    ErrorKind::NotFound,
                    format!("namespace {namespace} not found in the catalog {uri}"),
                )
            }
            404 => Error::new(
                ErrorKind::NotFound,
                format!("table {table} not found in the catalog {uri} ({})", answer.reason()),
            ),
            _ => answer.refusal(uri, &format!("the request for table {table}")),
        }
        .about(Subject::Source)
    }

    fn config_refused(&self, answer: &Answer) -> Error {
        let CatalogSettings { uri, warehouse, .. } = &self.settings;
        if answer.status == 404 {
            let named = match warehouse {
                Some(warehouse) => format!(" for warehouse {warehouse:?}"),
                None => String::new(),
            };
            return Error::new(
                ErrorKind::NotFound,
                format!(
                    "{uri} answers as no REST catalog does{named}: catalog.uri must be what stands \
                     before /v1/config, and catalog.warehouse one that it has ({})",
                    answer.reason()
                ),
            )
            .about(Subject::Source);
        }
        answer.refusal(uri, "the request for its configuration").about(Subject::Source)
    }
}
