//! What a specification says of the store, so that an administrator's settings can take its place.

use std::collections::BTreeMap;

use pandion_types::Result;
use serde_json::Value;

use super::{ExternalSpec, SourceSecrets, bad_json};

impl ExternalSpec {
    /// The name of the administrator's credential that the user refers to.
    #[must_use]
    pub fn credential(&self) -> Option<&str> {
        self.credential.as_deref()
    }

    /// Whether nothing is said of the store: no `extfs`, or one that says `"storage_type":
    /// "remote"` and nothing else. Milvus's user guide writes the latter for the server's own
    /// storage.
    #[must_use]
    pub fn names_no_store(&self) -> bool {
        // A catalog that hands out credentials is asked for them by name, too.
        if self.uses_vended_credentials() {
            return false;
        }
        let says_nothing = |key: &str, value: &str| {
            value.is_empty() || (key == "storage_type" && value == "remote")
        };
        self.extfs.iter().all(|(key, value)| says_nothing(key, value))
    }

    /// The keys of `extfs` that say something, with stars for secrets: empty values are left out,
    /// and so are credential modes that are switched off.
    pub(crate) fn stated(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_off =
            |key: &str, value: &str| matches!(key, "anonymous" | "use_iam") && value == "false";
        self.extfs
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .filter(move |(key, value)| !value.is_empty() && !is_off(key, value))
    }

    /// The same table, opened as `store` says: its `extfs` takes precedence, key by key. What the
    /// user wrote is still what [`Self::redacted_json`] shows.
    pub(crate) fn opened_as(&self, store: &Self) -> Self {
        let mut extfs: BTreeMap<String, String> = self.extfs.clone();
        extfs.extend(store.extfs.iter().map(|(key, value)| (key.clone(), value.clone())));
        Self { extfs, credential: None, ..self.clone() }
    }
}

impl SourceSecrets {
    /// The secrets of a specification that is [`ExternalSpec::opened_as`] a store: what the user
    /// has for a catalog, and the store's own.
    pub(crate) fn opened_as(&self, store: &Self) -> Self {
        let catalog = self.0.iter().filter(|(key, _)| key.starts_with("catalog."));
        Self(catalog.chain(&store.0).map(|(key, value)| (*key, value.clone())).collect())
    }
}

pub(super) fn read_credential(value: Option<&Value>) -> Result<Option<String>> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) if !name.is_empty() => Ok(Some(name.clone())),
        Some(_) => Err(bad_json("credential must be the name of a credential, as a string")),
    }
}
