//! Volumes, credentials and the default storage, as the settings write them.
//!
//! A value of `extfs` may stand in a file: `access_key_value_file: PATH` instead of
//! `access_key_value`. Files are read when the server starts. No error and no `Debug` text shows a
//! value, since any may be secret.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::marker::PhantomData;

use anyhow::{Context as _, Result, ensure};
use pandion_source::{
    CredentialDefinition, DefaultStorageDefinition, ExtfsDefinition, NamedSources,
    NamedSourcesDefinition, VolumeDefinition,
};
use pandion_types::Secret;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::Source;

/// What the key of a value in a file ends in.
const FILE_SUFFIX: &str = "_file";
/// The largest file of a value that is read, in bytes; a bundle of certificates fits.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The one key of `extfs` whose value is a number.
const NUMBER_KEY: &str = "load_frequency";

/// A place in an object store that users refer to as `volume://NAME/path`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Volume {
    name: String,
    uri: String,
    credential: Option<String>,
    #[serde(default)]
    extfs: Extfs,
}

/// A way to prove who asks that users refer to as `"credential": "NAME"`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credential {
    name: String,
    #[serde(default)]
    allowed: Vec<String>,
    extfs: Extfs,
}

/// What opens sources whose specification names no store.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct DefaultStorage {
    #[serde(default)]
    allowed: Vec<String>,
    extfs: Extfs,
}

/// Keys and values of `extfs`.
#[derive(Clone, Default, PartialEq)]
struct Extfs(BTreeMap<String, Secret>);

impl Source {
    /// Reads the files and checks everything that has a name.
    ///
    /// # Errors
    /// When a file cannot be read or a definition would not open; the text names it.
    pub(crate) fn named(&self) -> Result<NamedSources> {
        let volume = |volume: &Volume| {
            Ok(VolumeDefinition {
                name: volume.name.clone(),
                uri: volume.uri.clone(),
                credential: volume.credential.clone(),
                extfs: volume.extfs.read().with_context(|| format!("volume {:?}", volume.name))?,
            })
        };
        let credential = |credential: &Credential| {
            let extfs = credential.extfs.read();
            Ok(CredentialDefinition {
                name: credential.name.clone(),
                allowed: credential.allowed.clone(),
                extfs: extfs.with_context(|| format!("credential {:?}", credential.name))?,
            })
        };
        let default_storage = |storage: &DefaultStorage| {
            Ok::<_, anyhow::Error>(DefaultStorageDefinition {
                allowed: storage.allowed.clone(),
                extfs: storage.extfs.read().context("the default storage")?,
            })
        };
        let definition = NamedSourcesDefinition {
            volumes: self.volumes.iter().map(volume).collect::<Result<_>>()?,
            credentials: self.credentials.iter().map(credential).collect::<Result<_>>()?,
            default_storage: self.default_storage.as_ref().map(default_storage).transpose()?,
        };
        Ok(NamedSources::new(definition)?)
    }
}

impl Extfs {
    /// The values, from files where the keys say so.
    fn read(&self) -> Result<ExtfsDefinition> {
        self.0
            .iter()
            .map(|(key, value)| {
                let Some(plain) = key.strip_suffix(FILE_SUFFIX) else {
                    return Ok((key.clone(), value.clone()));
                };
                ensure!(!self.0.contains_key(plain), "extfs has both {plain} and {key}");
                Ok((plain.to_owned(), read_value(key, value.expose())?))
            })
            .collect()
    }
}

/// The text of a file, without the line end that editors add.
fn read_value(key: &str, path: &str) -> Result<Secret> {
    let mut text = String::new();
    let file = File::open(path).with_context(|| format!("extfs.{key}: opening {path}"))?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("extfs.{key}: reading {path}"))?;
    let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
    ensure!(length <= FILE_BYTES_MAX, "extfs.{key}: {path} is longer than {FILE_BYTES_MAX} bytes");
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

impl fmt::Debug for Extfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A value as a file of settings has it.
enum Scalar {
    Text(String),
    Boolean(bool),
    Integer(i64),
}

/// Reads a list, or the text of a JSON array, which is how an environment variable has a list.
pub(super) fn list_or_json<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    deserializer.deserialize_any(ListVisitor(PhantomData))
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(list)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<T>, E> {
        // Read in two steps: the first knows of syntax only, so that its error shows no value.
        let items = match serde_json::from_str(text) {
            Ok(Value::Array(items)) if items.iter().all(Value::is_object) => items,
            Ok(_) => return Err(E::custom("a list in JSON must be an array of objects")),
            Err(error) => return Err(E::custom(format!("a list must be a JSON array: {error}"))),
        };
        items.into_iter().map(|item| serde_json::from_value(item).map_err(E::custom)).collect()
    }
}

impl<'de> Deserialize<'de> for Extfs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExtfsVisitor)
    }
}

struct ExtfsVisitor;

impl<'de> Visitor<'de> for ExtfsVisitor {
    type Value = Extfs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys with texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Extfs, A::Error> {
        let mut extfs = BTreeMap::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = match entries.next_value()? {
                Scalar::Text(text) => text,
                Scalar::Boolean(value) => value.to_string(),
                Scalar::Integer(value) if key == NUMBER_KEY => value.to_string(),
                // What was written is not known any more: 007 has become 7.
                Scalar::Integer(_) => {
                    return Err(A::Error::custom(format!(
                        "extfs.{key} looks like a number: put it in quotes, or in a file that \
                         extfs.{key}{FILE_SUFFIX} names"
                    )));
                }
            };
            extfs.insert(key, Secret::new(value));
        }
        Ok(Extfs(extfs))
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Extfs, E> {
        Err(E::custom("extfs must be keys with texts"))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Boolean(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Integer(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Scalar, E> {
        i64::try_from(value).map(Scalar::Integer).map_err(E::custom)
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Scalar, E> {
        Err(E::custom("a text that looks like a number must be put in quotes"))
    }
}

#[cfg(test)]
mod tests;
