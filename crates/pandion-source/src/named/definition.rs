//! Definitions as an administrator writes them, before they are checked.

use std::collections::BTreeMap;
use std::fmt;

use pandion_types::{Result, Secret};
use serde_json::Value;

use crate::spec::{ExternalSpec, SourceSecrets};

/// Keys and values of `extfs`. Which of them are secret is not known yet, so `Debug` shows keys
/// only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ExtfsDefinition(BTreeMap<String, Secret>);

/// A named place in an object store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeDefinition {
    /// The name, as in `volume://NAME/path`.
    pub name: String,
    /// The bucket, or the prefix in it, in any form of `external_source`.
    pub uri: String,
    /// A credential to open it with, instead of one in `extfs`.
    pub credential: Option<String>,
    /// How to open it. Empty and without a credential it is opened as the default storage is.
    pub extfs: ExtfsDefinition,
}

/// A named way to prove who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialDefinition {
    /// The name, as in `"credential": "NAME"`.
    pub name: String,
    /// The prefixes that it may be used for, as URIs; empty means any source.
    pub allowed: Vec<String>,
    /// Its mode, and whatever users may not choose.
    pub extfs: ExtfsDefinition,
}

/// What opens sources whose specification names no store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultStorageDefinition {
    /// The prefixes that it may be used for, as URIs; empty means any source.
    pub allowed: Vec<String>,
    /// How to open it.
    pub extfs: ExtfsDefinition,
}

/// Everything that an administrator names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedSourcesDefinition {
    /// Places.
    pub volumes: Vec<VolumeDefinition>,
    /// Ways to prove who asks.
    pub credentials: Vec<CredentialDefinition>,
    /// The server's own storage; `None` refuses specifications that name no store.
    pub default_storage: Option<DefaultStorageDefinition>,
}

impl ExtfsDefinition {
    /// Keys with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }
}

impl FromIterator<(String, Secret)> for ExtfsDefinition {
    fn from_iter<T: IntoIterator<Item = (String, Secret)>>(entries: T) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl fmt::Debug for ExtfsDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Reads a definition by the rules that specifications of users have.
pub(super) fn parse_extfs(
    extfs: &ExtfsDefinition,
    credential: Option<&str>,
) -> Result<(ExternalSpec, SourceSecrets)> {
    let extfs: serde_json::Map<String, Value> =
        extfs.iter().map(|(key, value)| (key.to_owned(), value.expose().into())).collect();
    let mut document = serde_json::Map::from_iter([("extfs".to_owned(), Value::Object(extfs))]);
    if let Some(name) = credential {
        document.insert("credential".to_owned(), name.into());
    }
    ExternalSpec::parse(&Value::Object(document).to_string())
}
