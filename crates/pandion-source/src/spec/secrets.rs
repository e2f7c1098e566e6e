//! The secrets of a source, apart from its specification.
//!
//! There is no way to print them: `Debug` shows names only. They leave the process in one form
//! alone, that of [`SourceSecrets::to_stored`], for the catalog's own record of secrets.

use std::collections::BTreeMap;
use std::fmt;

use pandion_types::{Error, Result, Secret};

use super::SECRET_KEYS;
use super::catalog::stored_key;

/// The values of the secret keys of `extfs`: `access_key_id`, `access_key_value`, `external_id`
/// and `ssl_ca_cert`; and those of `catalog`, under names such as `catalog.token`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SourceSecrets(pub(super) BTreeMap<&'static str, Secret>);

impl SourceSecrets {
    /// The value of a secret key of `extfs`, or of a name such as `catalog.token`, if there is one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Secret> {
        self.0.get(key)
    }

    /// The user's half of the key pair.
    #[must_use]
    pub fn access_key_id(&self) -> Option<&Secret> {
        self.get("access_key_id")
    }

    /// The secret half of the key pair.
    #[must_use]
    pub fn access_key_value(&self) -> Option<&Secret> {
        self.get("access_key_value")
    }

    /// Certificates (PEM) to trust beside those of the system.
    #[must_use]
    pub fn ssl_ca_cert(&self) -> Option<&Secret> {
        self.get("ssl_ca_cert")
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text, a JSON object in clear, under which the catalog stores the secrets apart from
    /// everything that is shown. Wrapped, so that it cannot be printed on its way.
    #[must_use]
    pub fn to_stored(&self) -> Secret {
        let object: serde_json::Map<_, _> = self
            .0
            .iter()
            .map(|(key, secret)| ((*key).to_owned(), secret.expose().to_owned().into()))
            .collect();
        Secret::new(serde_json::Value::Object(object).to_string())
    }

    /// Reads what [`Self::to_stored`] made; the empty text means none.
    ///
    /// # Errors
    /// `Corrupt` when the text is anything else. The error shows nothing of the text.
    pub fn from_stored(stored: &Secret) -> Result<Self> {
        let mut secrets = Self::default();
        if stored.is_empty() {
            return Ok(secrets);
        }
        let corrupt = || Error::corrupt("the stored secrets of a source are not readable");
        let object = serde_json::from_str::<BTreeMap<String, String>>(stored.expose());
        // The parser's error is dropped on purpose: it may quote a value.
        let Ok(object) = object else { return Err(corrupt()) };
        for (key, value) in object {
            let of_extfs = SECRET_KEYS.into_iter().find(|known| *known == key);
            let key = of_extfs.or_else(|| stored_key(&key)).ok_or_else(corrupt)?;
            secrets.insert(key, Secret::new(value));
        }
        Ok(secrets)
    }

    pub(super) fn insert(&mut self, key: &'static str, value: Secret) {
        self.0.insert(key, value);
    }
}

impl fmt::Debug for SourceSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
