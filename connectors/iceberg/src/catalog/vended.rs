//! Credentials for a table's storage that the catalog hands out.
//!
//! Only keys of the S3 protocol are served. Whatever endpoint comes with them is a hint: data are
//! read from the endpoint that the source names, so a catalog cannot choose where keys are sent.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pandion_source::{AwsCredentials, CredentialSource, IoStats};
use pandion_types::{Error, Result, Secret};
use serde_json::{Map, Value};

use super::RestCatalog;

/// What the catalog says about the storage of a table, with keys to read it.
#[derive(Clone, Debug)]
pub struct VendedStorage {
    /// Where the keys are good: what begins with it. Empty when the catalog does not say it.
    pub prefix: String,
    /// The keys, with their end if the catalog says it.
    pub credentials: AwsCredentials,
    /// The endpoint as a URL, if the catalog says it.
    pub endpoint: Option<String>,
    /// The region, if the catalog says it.
    pub region: Option<String>,
    /// Whether the bucket stands in the path of requests, if the catalog says it.
    pub path_style: Option<bool>,
}

impl VendedStorage {
    /// The credentials in an answer for what lies at `location`: those of the longest prefix that
    /// fits, else those of the table's configuration.
    ///
    /// # Errors
    /// `Unsupported` when there are none, or none of the S3 protocol.
    pub(super) fn select(answer: &Value, location: &str) -> Result<Self> {
        let nothing = Map::new();
        let config = answer.get("config").and_then(Value::as_object).unwrap_or(&nothing);
        let mut fitting: Vec<(&str, &Map<String, Value>)> = answer
            .get("storage-credentials")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                Some((entry.get("prefix")?.as_str()?, entry.get("config")?.as_object()?))
            })
            .filter(|(prefix, _)| is_below(location, prefix))
            .collect();
        fitting.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        fitting.push(("", config));
        let found = fitting.iter().find_map(|(prefix, own)| Self::read(prefix, own, config));
        match found {
            Some(storage) => {
                storage.credentials.check()?;
                Ok(storage)
            }
            None => Err(none_served(fitting.iter().map(|(_, own)| *own))),
        }
    }

    /// Keys of one entry; what else it does not say, the table's configuration may.
    fn read(prefix: &str, own: &Map<String, Value>, config: &Map<String, Value>) -> Option<Self> {
        let said = |key: &str| text(own, key).or_else(|| text(config, key)).map(str::to_owned);
        let expires_at = ["s3.session-token-expires-at-ms", "expiration-time"]
            .into_iter()
            .find_map(|key| number(own.get(key)?))
            .and_then(|ms| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
        Some(Self {
            prefix: prefix.to_owned(),
            credentials: AwsCredentials {
                key_id: Secret::new(text(own, "s3.access-key-id")?),
                secret: Secret::new(text(own, "s3.secret-access-key")?),
                token: text(own, "s3.session-token").map(Secret::new),
                expires_at,
            },
            endpoint: said("s3.endpoint"),
            region: said("client.region").or_else(|| said("s3.region")),
            path_style: said("s3.path-style-access").map(|value| value == "true"),
        })
    }
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key)?.as_str().filter(|text| !text.is_empty())
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// Whether a location lies below a prefix. The schemes of S3 mean the same storage.
fn is_below(location: &str, prefix: &str) -> bool {
    let (location, prefix) = (canonical(location), canonical(prefix));
    let Some(rest) = location.strip_prefix(prefix.as_str()) else { return false };
    rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/') || !prefix.contains("://")
}

fn canonical(location: &str) -> String {
    for alias in ["s3a://", "s3n://"] {
        if let Some(rest) = location.strip_prefix(alias) {
            return format!("s3://{rest}");
        }
    }
    location.to_owned()
}

fn none_served<'a>(entries: impl Iterator<Item = &'a Map<String, Value>>) -> Error {
    let mut others = None;
    for entry in entries {
        for key in entry.keys() {
            others = others.or(match key.split('.').next() {
                Some("gcs") => Some("Google Cloud Storage"),
                Some("adls") => Some("Azure"),
                _ => None,
            });
        }
        if text(entry, "s3.remote-signing-enabled") == Some("true") {
            others = Some("remote signing");
        }
    }
    let what = match others {
        Some(others) => format!("the catalog hands out credentials for {others} alone"),
        None => "the catalog handed out no credentials for the table's storage".to_owned(),
    };
    Error::unsupported(format!(
        "{what}: set a credential mode in extfs in place of catalog.vended_credentials"
    ))
}

/// Asks the catalog for keys, each time for others.
pub(super) struct VendedIssuer {
    catalog: Arc<RestCatalog>,
    stats: Arc<IoStats>,
}

impl VendedIssuer {
    pub(super) fn new(catalog: Arc<RestCatalog>, stats: Arc<IoStats>) -> Self {
        Self { catalog, stats }
    }
}

impl fmt::Debug for VendedIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.catalog.settings;
        write!(f, "the catalog {} for table {}", settings.uri, settings.table)
    }
}

#[async_trait]
impl CredentialSource for VendedIssuer {
    async fn credentials(&self) -> Result<Arc<AwsCredentials>> {
        self.catalog.keys(&self.stats).await.map(Arc::new)
    }

    async fn renew(&self, _rejected: &AwsCredentials) -> Result<Arc<AwsCredentials>> {
        self.credentials().await
    }
}
