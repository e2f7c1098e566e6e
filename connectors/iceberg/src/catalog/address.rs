//! The addresses of the protocol: built from the user's settings and the catalog's configuration,
//! and never off the catalog's host.

use std::fmt::Write as _;

use pandion_source::{CatalogSettings, TableName};
use pandion_types::{Error, Result, Subject};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use url::Url;

/// What a segment of a path keeps as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What stands between the levels of a namespace: the unit separator.
const LEVEL_SEPARATOR: &str = "%1F";
/// How catalogs list that they renew credentials.
const CREDENTIALS_ENDPOINT: &str =
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials";

/// Where a catalog answers what.
#[derive(Debug)]
pub(super) struct Addresses {
    /// Ends with `/v1`, or with the prefix that the catalog's configuration names.
    root: String,
    /// In the encoded form.
    separator: String,
    renews_credentials: bool,
}

impl Addresses {
    /// Where the catalog's configuration is.
    pub(super) fn config(settings: &CatalogSettings) -> Result<Url> {
        let mut url = checked(&format!("{}/config", version_root(&settings.uri)))?;
        if let Some(warehouse) = &settings.warehouse {
            // Not as a form does it: a space written as a plus sign would be signed as one.
            url.set_query(Some(&format!("warehouse={}", encoded(warehouse))));
        }
        Ok(url)
    }

    /// Reads the catalog's configuration: its overrides count, then its defaults.
    ///
    /// # Errors
    /// `InvalidArgument` when the catalog says that it is at another host; `Corrupt` for a prefix
    /// or separator that cannot stand in an address.
    pub(super) fn new(settings: &CatalogSettings, config: &Value) -> Result<Self> {
        let said = |key: &str| {
            ["overrides", "defaults"]
                .into_iter()
                .find_map(|part| config.get(part)?.get(key)?.as_str())
                .filter(|text| !text.is_empty())
        };
        let mut root = match said("uri") {
            Some(uri) => version_root(&same_host(&settings.uri, uri)?),
            None => version_root(&settings.uri),
        };
        if let Some(prefix) = said("prefix") {
            let prefix = prefix.trim_matches('/');
            if write!(root, "/{prefix}").is_err() || checked(&root).is_err() {
                return Err(senseless(&settings.uri, "its prefix cannot stand in an address"));
            }
        }
        let separator = said("namespace-separator").unwrap_or(LEVEL_SEPARATOR).to_owned();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"%-._~".contains(&byte);
        if !separator.bytes().all(fits) {
            return Err(senseless(
                &settings.uri,
                "its namespace-separator cannot stand in an address",
            ));
        }
        let endpoints = config.get("endpoints").and_then(Value::as_array);
        let renews_credentials = endpoints.is_some_and(|endpoints| {
            endpoints.iter().any(|endpoint| endpoint.as_str() == Some(CREDENTIALS_ENDPOINT))
        });
        Ok(Self { root, separator, renews_credentials })
    }

    /// Where the table is.
    pub(super) fn table(&self, table: &TableName) -> Result<Url> {
        checked(&self.table_text(table))
    }

    /// Where new credentials for the table are, if the catalog says that it has such a place.
    pub(super) fn credentials(&self, table: &TableName) -> Result<Option<Url>> {
        if !self.renews_credentials {
            return Ok(None);
        }
        checked(&format!("{}/credentials", self.table_text(table))).map(Some)
    }

    fn table_text(&self, table: &TableName) -> String {
        let levels: Vec<_> = table.namespace.iter().map(|level| encoded(level)).collect();
        let namespace = levels.join(&self.separator);
        format!("{}/namespaces/{namespace}/tables/{}", self.root, encoded(&table.name))
    }
}

fn version_root(uri: &Url) -> String {
    format!("{}/v1", uri.as_str().trim_end_matches('/'))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// The text as an address, if a client reads it as it stands: no segment that leads upwards, no
/// query, nothing that would be encoded.
fn checked(text: &str) -> Result<Url> {
    match Url::parse(text) {
        Ok(url) if url.as_str() == text && url.query().is_none() && url.fragment().is_none() => {
            Ok(url)
        }
        _ => Err(Error::invalid_argument("the name of the table cannot stand in an address")
            .about(Subject::Source)),
    }
}

fn same_host(ours: &Url, theirs: &str) -> Result<Url> {
    let found = Url::parse(theirs).map_err(|error| {
        senseless(ours, "the uri that its configuration names is none").caused_by(error)
    })?;
    let is_plain = found.username().is_empty()
        && found.password().is_none()
        && found.query().is_none()
        && found.fragment().is_none();
    if found.origin() == ours.origin() && is_plain {
        return Ok(found);
    }
    Err(Error::invalid_argument(format!(
        "the catalog {ours} says that it is to be asked at {}, and credentials are not sent to \
         another host: set catalog.uri to that address if it is right",
        found.origin().ascii_serialization()
    ))
    .about(Subject::Source))
}

fn senseless(uri: &Url, what: &str) -> Error {
    Error::corrupt(format!("the configuration of the catalog {uri} makes no sense: {what}"))
        .about(Subject::Source)
}

#[cfg(test)]
mod tests;
