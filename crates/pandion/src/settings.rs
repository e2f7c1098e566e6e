//! What the server is told: built-in values, overridden by one YAML file, by environment variables
//! `PANDION_SECTION__KEY`, and by flags, in this order.

mod named;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use self::named::{Credential, DefaultStorage, Volume, list_or_json};

/// Every setting.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) server: Server,
    pub(crate) source: Source,
    pub(crate) refresh: Refresh,
    pub(crate) cache: Cache,
    pub(crate) log: Log,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Server {
    /// Address of the Milvus gRPC door.
    pub(crate) listen: SocketAddr,
    /// Address of health and metrics.
    pub(crate) admin_listen: SocketAddr,
    /// Where the catalogue and the manifests are kept.
    pub(crate) data_dir: PathBuf,
    /// Serve on an address that other machines reach, although nobody is asked who they are.
    pub(crate) insecure_network: bool,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Source {
    /// Directories below which `file://` sources are allowed.
    pub(crate) local_roots: Vec<PathBuf>,
    /// `HOST:PORT` of object stores that are allowed although their address is loopback or private.
    pub(crate) allow_endpoints: Vec<String>,
    /// Places in object stores that users name without knowing how they are opened.
    #[serde(deserialize_with = "list_or_json")]
    pub(crate) volumes: Vec<Volume>,
    /// Ways to prove who asks that users name without knowing them.
    #[serde(deserialize_with = "list_or_json")]
    pub(crate) credentials: Vec<Credential>,
    /// What opens sources whose specification names no store.
    pub(crate) default_storage: Option<DefaultStorage>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Refresh {
    /// When a refreshed version serves.
    pub(crate) publish: Publish,
}

/// When a refreshed version serves.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum Publish {
    /// As soon as the refresh is complete.
    #[default]
    Immediate,
    /// When the collection is released and loaded again, as Milvus does.
    OnLoad,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Cache {
    /// Bytes of decoded vectors kept in memory.
    pub(crate) vector_bytes: usize,
    /// Bytes of scalar indexes kept in memory.
    pub(crate) scalar_index_bytes: usize,
    /// Bytes of decoded filter columns kept in memory.
    pub(crate) column_bytes: usize,
    /// Bytes of the matching rows of filters kept in memory.
    pub(crate) matches_bytes: usize,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter per module.
    pub(crate) level: String,
    /// One JSON object per line instead of text.
    pub(crate) json: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 19530)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 9091)),
            data_dir: PathBuf::from("pandion-data"),
            insecure_network: false,
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            vector_bytes: 4 << 30,
            scalar_index_bytes: 1 << 30,
            column_bytes: 1 << 30,
            matches_bytes: 256 << 20,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), json: false }
    }
}

impl Settings {
    /// Built-in values, then `file`, then the environment.
    ///
    /// # Errors
    /// When the file cannot be read, or a key is unknown or has a wrong value; the text names it.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self> {
        let mut builder = config::Config::builder();
        if let Some(file) = file {
            builder = builder.add_source(
                config::File::from(file.to_path_buf()).format(config::FileFormat::Yaml),
            );
        }
        // Other programs may own names that begin alike; ours have two underscores inside.
        let ours = std::env::vars().filter(|(name, _)| name.contains("__")).collect();
        let environment = config::Environment::with_prefix("PANDION")
            .source(Some(ours))
            .prefix_separator("_")
            .separator("__")
            .list_separator(",")
            .with_list_parse_key("source.local_roots")
            .with_list_parse_key("source.allow_endpoints")
            .with_list_parse_key("source.default_storage.allowed")
            .try_parsing(true);
        let settings = builder.add_source(environment).build().context("reading the settings")?;
        settings.try_deserialize().context("reading the settings")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn load(text: &str) -> Result<Settings> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(text.as_bytes())?;
        Settings::load(Some(file.path()))
    }

    #[test]
    fn a_file_overrides_what_it_names_and_nothing_else() {
        let settings = load(
            "server: {listen: '127.0.0.1:1'}\nrefresh: {publish: on_load}\n\
             source: {local_roots: [/a, /b]}\n",
        )
        .unwrap();
        assert_eq!(settings.server.listen.port(), 1);
        assert_eq!(settings.server.admin_listen, Server::default().admin_listen);
        assert_eq!(settings.refresh.publish, Publish::OnLoad);
        assert_eq!(settings.source.local_roots.len(), 2);
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_named() {
        let unknown = format!("{:#}", load("server: {listne: x}").unwrap_err());
        assert!(unknown.contains("listne"), "{unknown}");
        let wrong = format!("{:#}", load("cache: {vector_bytes: many}").unwrap_err());
        assert!(wrong.contains("vector_bytes"), "{wrong}");
    }
}
