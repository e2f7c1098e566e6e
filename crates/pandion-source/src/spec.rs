//! What `external_spec` may say: its JSON text, its secrets, and its redacted form.
//!
//! Parsing takes the secrets out at once: an [`ExternalSpec`] holds stars where they stood and may
//! be printed and stored, the values live in [`SourceSecrets`]. No error repeats a value of the
//! text, except of keys that are never secret. Whether a specification suffices for a source is
//! decided in `spec/complete.rs`.

mod catalog;
mod complete;
mod identity;
mod overlay;
mod provider;
mod secrets;
mod snapshot;

use std::collections::BTreeMap;
use std::fmt;

use pandion_types::{Error, Result, Secret, Subject};
use serde_json::Value;

pub use catalog::{CatalogAuthentication, CatalogSettings, TableName};
pub use complete::CredentialMode;
pub use identity::AssumedRole;
pub use provider::CloudProvider;
pub use secrets::SourceSecrets;
pub use snapshot::SnapshotChoice;

use crate::uri::{Scheme, SourceUri};
use catalog::{join_catalog, read_catalog, redact_catalog};
use overlay::read_credential;
use snapshot::read_choice;

/// What stands in a redacted text where a secret stood.
const STARS: &str = "***";
/// The longest specification that is looked at, in bytes; a bundle of certificates fits.
const SPEC_BYTES_MAX: usize = 1 << 20;

/// The keys of `extfs` whose values are secret.
pub(crate) const SECRET_KEYS: [&str; 4] =
    ["access_key_id", "access_key_value", "external_id", "ssl_ca_cert"];

/// The keys that `extfs` may have, sorted as the error text lists them.
const EXTFS_KEYS: [&str; 20] = [
    "access_key_id",
    "access_key_value",
    "anonymous",
    "azure_client_id",
    "azure_credential_endpoint",
    "azure_tenant_id",
    "bucket_name",
    "cloud_provider",
    "external_id",
    "gcp_target_service_account",
    "iam_endpoint",
    "load_frequency",
    "region",
    "role_arn",
    "session_name",
    "ssl_ca_cert",
    "storage_type",
    "use_iam",
    "use_ssl",
    "use_virtual_host",
];

const BOOLEAN_KEYS: [&str; 4] = ["anonymous", "use_iam", "use_ssl", "use_virtual_host"];

/// The format of a source's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum SourceFormat {
    Parquet,
    IcebergTable,
    LanceTable,
    MilvusTable,
    Vortex,
}

impl SourceFormat {
    const ALL: [Self; 5] =
        [Self::IcebergTable, Self::LanceTable, Self::MilvusTable, Self::Parquet, Self::Vortex];

    /// The name as users write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::IcebergTable => "iceberg-table",
            Self::LanceTable => "lance-table",
            Self::MilvusTable => "milvus-table",
            Self::Vortex => "vortex",
        }
    }

    /// The format with this name. `iceberg_table` is accepted too, since Milvus's user guide
    /// writes it so.
    fn from_name(name: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|format| format.name() == name);
        match known {
            Some(format) => Ok(format),
            None if name == "iceberg_table" => Ok(Self::IcebergTable),
            None => Err(Error::invalid_argument(format!(
                "unsupported format {name:?}, supported formats: {}",
                Self::ALL.map(Self::name).join(", ")
            ))),
        }
    }
}

impl fmt::Display for SourceFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A specification without its secrets: wherever a secret stood, stars stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalSpec {
    format: SourceFormat,
    columns: Vec<String>,
    snapshot: SnapshotChoice,
    catalog: Option<CatalogSettings>,
    /// The credential of the administrator's that the user names.
    credential: Option<String>,
    extfs: BTreeMap<String, String>,
    /// The redacted text's top level; `None` for the empty text.
    document: Option<BTreeMap<String, Value>>,
}

impl ExternalSpec {
    /// Reads an `external_spec` as a user sends it, and takes the secrets out. The empty text
    /// means Parquet and nothing else. Unknown keys at the top level are kept.
    ///
    /// # Errors
    /// `InvalidArgument` about the source, with the texts of Milvus, for text that is no such
    /// JSON, unknown formats, `extfs` keys and booleans; also for stars in the place of a secret,
    /// which are what a description shows and not a value.
    pub fn parse(text: &str) -> Result<(Self, SourceSecrets)> {
        let mut secrets = SourceSecrets::default();
        let spec = Self::read(text, &mut |key, value| {
            if value == STARS {
                return Err(Error::invalid_argument(format!(
                    "{} is {STARS:?}, which is what a description shows in its place: give the \
                     value itself",
                    shown_name(key)
                )));
            }
            secrets.insert(key, Secret::new(value));
            Ok(())
        })?;
        Ok((spec, secrets))
    }

    /// Reads a text that [`Self::redacted_json`] made.
    ///
    /// # Errors
    /// As [`Self::parse`]; also when the text holds a secret's value, since it comes from a place
    /// that must hold none.
    pub fn from_redacted(text: &str) -> Result<Self> {
        Self::read(text, &mut |key, value| {
            if value == STARS {
                return Ok(());
            }
            let name = shown_name(key);
            Err(Error::internal(format!("a redacted specification holds a value of {name}")))
        })
    }

    /// Puts the secrets back into a redacted text: the opposite of [`Self::parse`] followed by
    /// [`Self::redacted_json`].
    ///
    /// # Errors
    /// `Corrupt` when the text has stars for a secret that is not among `secrets`; else as
    /// [`Self::from_redacted`].
    pub fn join(redacted: &str, secrets: &SourceSecrets) -> Result<Secret> {
        let spec = Self::from_redacted(redacted)?;
        let Some(mut document) = spec.document else { return Ok(Secret::new("")) };
        if let Some(Value::Object(extfs)) = document.get_mut("extfs") {
            for (key, value) in extfs.iter_mut().filter(|(key, _)| is_secret(key)) {
                if value.as_str().is_none_or(str::is_empty) {
                    continue;
                }
                let secret = secrets.get(key).ok_or_else(|| {
                    Error::corrupt(format!("the secret extfs.{key} of a source is missing"))
                        .about(Subject::Source)
                })?;
                *value = Value::String(secret.expose().to_owned());
            }
        }
        join_catalog(&mut document, secrets)?;
        Ok(Secret::new(to_text(&document)))
    }

    /// The text for descriptions and job records: as the user gave it, but with stars for
    /// secrets, `snapshot_id` as a string and sorted keys; empty if the text was.
    #[must_use]
    pub fn redacted_json(&self) -> String {
        self.document.as_ref().map(to_text).unwrap_or_default()
    }

    /// The format of the files.
    #[must_use]
    pub fn format(&self) -> SourceFormat {
        self.format
    }

    /// The columns to read; empty means those that the schema maps.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The id of the snapshot to read, if the user chose it by id.
    #[must_use]
    pub fn snapshot_id(&self) -> Option<i64> {
        match self.snapshot {
            SnapshotChoice::Id(id) => Some(id),
            _ => None,
        }
    }

    /// The snapshot of the table to read, for formats that have snapshots.
    #[must_use]
    pub fn snapshot_choice(&self) -> &SnapshotChoice {
        &self.snapshot
    }

    /// The catalog that knows the table, if one is to be asked.
    #[must_use]
    pub fn catalog(&self) -> Option<&CatalogSettings> {
        self.catalog.as_ref()
    }

    /// The value of a key of `extfs`, stars for a secret; empty when it is missing.
    #[must_use]
    pub fn extfs(&self, key: &str) -> &str {
        self.extfs.get(key).map_or("", String::as_str)
    }

    /// The region; empty when none is given.
    #[must_use]
    pub fn region(&self) -> &str {
        self.extfs("region")
    }

    /// The provider; the scheme `minio` implies it.
    #[must_use]
    pub fn cloud_provider(&self, uri: &SourceUri) -> Option<CloudProvider> {
        match self.extfs("cloud_provider") {
            "" if uri.scheme() == Scheme::Minio => Some(CloudProvider::Minio),
            name => CloudProvider::from_name(name),
        }
    }

    /// Whether to use TLS, if the user says so.
    #[must_use]
    pub fn use_ssl(&self) -> Option<bool> {
        self.boolean("use_ssl")
    }

    /// Whether the bucket stands in the host name of requests, if the user says so.
    #[must_use]
    pub fn use_virtual_host(&self) -> Option<bool> {
        self.boolean("use_virtual_host")
    }

    /// Whether requests go unsigned.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.boolean("anonymous") == Some(true)
    }

    /// The bucket, if the user names it beside the URI.
    #[must_use]
    pub fn bucket_name(&self) -> Option<&str> {
        Some(self.extfs("bucket_name")).filter(|name| !name.is_empty())
    }

    fn boolean(&self, key: &str) -> Option<bool> {
        match self.extfs(key) {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    fn read(
        text: &str,
        take_secret: &mut dyn FnMut(&'static str, &str) -> Result<()>,
    ) -> Result<Self> {
        Self::read_bare(text, take_secret).map_err(|error| {
            error
                .about(Subject::Source)
                .context("parse external spec")
                .context("external_spec is invalid")
        })
    }

    fn read_bare(
        text: &str,
        take_secret: &mut dyn FnMut(&'static str, &str) -> Result<()>,
    ) -> Result<Self> {
        let Some(mut document) = read_document(text)? else {
            return Ok(Self {
                format: SourceFormat::Parquet,
                columns: Vec::new(),
                snapshot: SnapshotChoice::Latest,
                catalog: None,
                credential: None,
                extfs: BTreeMap::new(),
                document: None,
            });
        };
        let format = match document.get("format") {
            None | Some(Value::Null) => SourceFormat::Parquet,
            Some(Value::String(name)) if name.is_empty() => SourceFormat::Parquet,
            Some(Value::String(name)) => SourceFormat::from_name(name)?,
            Some(_) => return Err(bad_json("format must be a string")),
        };
        let columns = read_columns(document.get("columns"))?;
        let snapshot = read_choice(&document, format)?;
        if let SnapshotChoice::Id(id) = snapshot {
            document.insert("snapshot_id".to_owned(), Value::String(id.to_string()));
        }
        let credential = read_credential(document.get("credential"))?;
        let extfs = match document.get_mut("extfs") {
            None | Some(Value::Null) => BTreeMap::new(),
            Some(Value::Object(extfs)) => read_extfs(extfs, take_secret)?,
            Some(_) => return Err(bad_json("extfs must be an object of strings")),
        };
        let catalog = read_catalog(&mut document, format, take_secret)?;
        let document = Some(document);
        Ok(Self { format, columns, snapshot, catalog, credential, extfs, document })
    }
}

/// The redacted form of any text for logs: as [`ExternalSpec::redacted_json`], but also for
/// specifications that are refused; `<invalid spec>` for what is no JSON object of that shape.
#[must_use]
pub fn redact_spec(text: &str) -> String {
    let redacted = || {
        let mut document = read_document(text).ok()?.unwrap_or_default();
        if let Some(id) = read_snapshot_id(document.get("snapshot_id")).ok()? {
            document.insert("snapshot_id".to_owned(), Value::String(id.to_string()));
        }
        match document.get_mut("extfs") {
            None | Some(Value::Null) => {}
            Some(Value::Object(extfs)) => {
                for (_, value) in extfs.iter_mut().filter(|(key, _)| is_secret(key)) {
                    if value.as_str() != Some("") {
                        *value = Value::String(STARS.to_owned());
                    }
                }
            }
            Some(_) => return None,
        }
        redact_catalog(&mut document)?;
        Some(to_text(&document))
    };
    if text.is_empty() {
        return String::new();
    }
    redacted().unwrap_or_else(|| "<invalid spec>".to_owned())
}

fn is_secret(key: &str) -> bool {
    SECRET_KEYS.contains(&key)
}

/// How errors name a secret.
fn shown_name(key: &str) -> String {
    if key.starts_with("catalog.") { key.to_owned() } else { format!("extfs.{key}") }
}

/// The top level of the text; `None` for the empty text.
fn read_document(text: &str) -> Result<Option<BTreeMap<String, Value>>> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > SPEC_BYTES_MAX {
        return Err(bad_json(&format!("it is longer than {SPEC_BYTES_MAX} bytes")));
    }
    // The parser's own text is safe to show: reading into a `Value`, it knows of syntax and
    // positions only.
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(object)) => Ok(Some(object.into_iter().collect())),
        Ok(Value::Null) => Ok(Some(BTreeMap::new())),
        Ok(_) => Err(bad_json("it must be an object")),
        Err(error) => Err(bad_json(&error.to_string())),
    }
}

fn read_columns(value: Option<&Value>) -> Result<Vec<String>> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(|| bad_json("columns must be an array of strings")),
        Some(_) => Err(bad_json("columns must be an array of strings")),
    }
}

fn read_snapshot_id(value: Option<&Value>) -> Result<Option<i64>> {
    let id = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    match id {
        Some(id) => Ok(Some(id)),
        None => Err(bad_json("snapshot_id must be a 64-bit integer, as a number or a string")),
    }
}

/// Reads `extfs`, hands each non-empty secret to `take_secret` and leaves stars in its place.
fn read_extfs(
    object: &mut serde_json::Map<String, Value>,
    take_secret: &mut dyn FnMut(&'static str, &str) -> Result<()>,
) -> Result<BTreeMap<String, String>> {
    let mut extfs = BTreeMap::new();
    for (key, value) in object.iter_mut() {
        let text = match value {
            Value::Null => "",
            Value::String(text) => text.as_str(),
            _ => return Err(bad_json(&format!("the value of extfs key {key:?} must be a string"))),
        };
        if !EXTFS_KEYS.contains(&key.as_str()) {
            return Err(Error::invalid_argument(format!(
                "extfs key {key:?} is not allowed; allowed keys: {}",
                EXTFS_KEYS.join(", ")
            )));
        }
        if BOOLEAN_KEYS.contains(&key.as_str()) && !matches!(text, "true" | "false") {
            return Err(Error::invalid_argument(format!(
                "extfs key {key:?} must be \"true\" or \"false\", got {text:?}"
            )));
        }
        let secret = SECRET_KEYS.into_iter().find(|secret| *secret == key);
        let shown = match secret {
            Some(secret) if !text.is_empty() => {
                take_secret(secret, text)?;
                STARS.to_owned()
            }
            _ => text.to_owned(),
        };
        if secret.is_some() {
            *value = Value::String(shown.clone());
        }
        extfs.insert(key.clone(), shown);
    }
    Ok(extfs)
}

fn bad_json(what: &str) -> Error {
    Error::invalid_argument(format!("invalid external spec JSON: {what}"))
}

/// Sorted keys at the top and in `extfs`, and the escapes that Go's encoder makes, so that
/// clients that compare texts see what Milvus would send.
fn to_text(document: &BTreeMap<String, Value>) -> String {
    let mut parts = Vec::with_capacity(document.len());
    for (key, value) in document {
        let value = match value {
            Value::Object(extfs) if key == "extfs" || key == "catalog" => {
                let sorted: BTreeMap<_, _> = extfs.iter().collect();
                let fields: Vec<_> = sorted
                    .into_iter()
                    .map(|(key, value)| format!("{}:{value}", Value::String(key.clone())))
                    .collect();
                format!("{{{}}}", fields.join(","))
            }
            _ => value.to_string(),
        };
        parts.push(format!("{}:{value}", Value::String(key.clone())));
    }
    let text = format!("{{{}}}", parts.join(","));
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
