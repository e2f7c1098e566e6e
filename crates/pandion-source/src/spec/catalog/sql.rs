//! What the `catalog` object says of a catalog that is a table in a database.
//!
//! Text work alone. A database is named by a URI without password, query and fragment: what a
//! driver would read from these is said by keys of its own, or not at all.

use std::fmt;
use std::path::PathBuf;

use pandion_types::Result;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use url::{Host, Url};

use super::{Fields, TableName, invalid, read_table};

/// The keys that only catalogs in databases have.
pub(super) const OWN_KEYS: [&str; 3] = ["catalog_name", "password", "sslmode"];
/// The keys that other catalogs have as well.
pub(super) const SHARED_KEYS: [&str; 4] = ["ssl_ca_cert", "table", "type", "uri"];

const POSTGRES_PORT: u16 = 5432;
const FORM: &str = "catalog.uri of a SQL catalog must be postgresql://user@host:5432/database or \
                    sqlite:///path/to/file, without password, query and fragment";

/// A table in a catalog that is itself a table, `iceberg_tables`, in a database. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlCatalogSettings {
    /// The database.
    pub database: SqlDatabase,
    /// The name under which the catalog's writers list their tables.
    pub catalog_name: String,
    /// The table.
    pub table: TableName,
}

/// A database that holds a catalog; [`fmt::Display`] is its URI without the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SqlDatabase {
    /// A database of a PostgreSQL server; `catalog.password` belongs to the user.
    Postgres {
        /// The host in the form in which it is resolved; an IPv6 address in brackets.
        host: String,
        /// The port.
        port: u16,
        /// Who asks.
        user: String,
        /// The database of the server.
        name: String,
        /// Whether the server must prove by a certificate that it is `host`; else nothing is
        /// encrypted.
        tls: bool,
    },
    /// A file of SQLite on this machine, by its absolute path.
    Sqlite {
        /// The path, as the user wrote it.
        path: PathBuf,
    },
}

impl fmt::Display for SqlDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres { host, port, name, .. } => {
                write!(f, "postgresql://{host}:{port}/{name}")
            }
            Self::Sqlite { path } => write!(f, "sqlite://{}", path.display()),
        }
    }
}

/// Reads an object of type `sql`, whose secrets are stars already.
pub(super) fn read_settings(object: &Map<String, Value>) -> Result<SqlCatalogSettings> {
    let fields = Fields(object);
    let Some(uri) = fields.text("uri")? else {
        return invalid("catalog.uri is required: the database that holds iceberg_tables".into());
    };
    let database = match parse_database(uri) {
        Ok(database) => with_tls(database, &fields)?,
        Err(what) => return invalid(what),
    };
    let Some(catalog_name) = fields.text("catalog_name")? else {
        return invalid(
            "catalog.catalog_name is required for a SQL catalog: the name under which its writers \
             list their tables (column catalog_name of iceberg_tables)"
                .to_owned(),
        );
    };
    Ok(SqlCatalogSettings {
        database,
        catalog_name: catalog_name.to_owned(),
        table: read_table(object.get("table"))?,
    })
}

/// Whether a URI may be shown: it is one that is accepted, so that no password is in it.
pub(super) fn is_shown(uri: &str) -> bool {
    parse_database(uri).is_ok()
}

fn with_tls(database: SqlDatabase, fields: &Fields<'_>) -> Result<SqlDatabase> {
    match database {
        SqlDatabase::Sqlite { .. } => {
            let stray = ["password", "ssl_ca_cert", "sslmode"].into_iter();
            match stray.into_iter().find(|key| fields.is_set(key)) {
                Some(key) => {
                    invalid(format!("catalog.{key} is not valid for a catalog in a file of SQLite"))
                }
                None => Ok(database),
            }
        }
        SqlDatabase::Postgres { host, port, user, name, .. } => {
            let tls = match fields.text("sslmode")? {
                None | Some("verify-full") => true,
                Some("disable") if fields.is_set("ssl_ca_cert") => {
                    return invalid(
                        "catalog.ssl_ca_cert is not valid together with catalog.sslmode=disable"
                            .to_owned(),
                    );
                }
                Some("disable") => false,
                Some(other) => {
                    return invalid(format!(
                        "catalog.sslmode must be one of [verify-full, disable], got {other:?}"
                    ));
                }
            };
            Ok(SqlDatabase::Postgres { host, port, user, name, tls })
        }
    }
}

/// The database that a URI names. The error is a text without anything of the URI but the kind of
/// the database.
fn parse_database(uri: &str) -> std::result::Result<SqlDatabase, String> {
    let (scheme, rest) = uri.split_once(':').ok_or(FORM)?;
    match (scheme, rest.strip_prefix("//")) {
        ("postgresql" | "postgres", Some(_)) => parse_postgres(uri),
        ("sqlite", Some(path)) => parse_file(path),
        _ => Err(refused_kind(scheme, rest)),
    }
}

/// Says of another URI what is wrong with it, in the forms of JDBC and SQLAlchemy, too.
fn refused_kind(scheme: &str, rest: &str) -> String {
    let scheme = if scheme == "jdbc" { rest.split(':').next().unwrap_or_default() } else { scheme };
    let kind = scheme.split('+').next().unwrap_or_default();
    let is_kind = (2..=20).contains(&kind.len()) && kind.bytes().all(|b| b.is_ascii_lowercase());
    if !is_kind || matches!(kind, "postgresql" | "postgres" | "sqlite") {
        return FORM.to_owned();
    }
    format!(
        "catalog.uri names a database of kind {kind:?}, which is not supported: must be one of \
         [postgresql, sqlite]; a table of another catalog can be read by the URI of its \
         metadata.json, or through a REST catalog that serves the database"
    )
}

fn parse_postgres(uri: &str) -> std::result::Result<SqlDatabase, String> {
    let url = Url::parse(uri).map_err(|_malformed| FORM)?;
    if url.password().is_some() {
        return Err("catalog.uri must hold no password: give it as catalog.password".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(FORM.to_owned());
    }
    let user = decoded(url.username()).ok_or(FORM)?;
    let name = decoded(url.path().strip_prefix('/').ok_or(FORM)?).ok_or(FORM)?;
    // Hosts of this scheme are taken as they are written; those of HTTP are what is resolved.
    let host = Host::parse(url.host_str().ok_or(FORM)?).map_err(|_malformed| FORM)?.to_string();
    let port = url.port().unwrap_or(POSTGRES_PORT);
    if port == 0 {
        return Err(FORM.to_owned());
    }
    Ok(SqlDatabase::Postgres { host, port, user, name, tls: true })
}

/// A name that is there and that the server's protocol can carry.
fn decoded(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    let fits = !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control);
    fits.then(|| text.into_owned())
}

/// `///a/b` and, as SQLAlchemy writes absolute paths, `////a/b`. Taken literally.
fn parse_file(path: &str) -> std::result::Result<SqlDatabase, String> {
    let rest = path.strip_prefix('/').ok_or(FORM)?;
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let is_file = !rest.is_empty() && !rest.starts_with('/') && !rest.ends_with('/');
    if !is_file || rest.contains(['?', '#']) || rest.chars().any(char::is_control) {
        return Err(FORM.to_owned());
    }
    Ok(SqlDatabase::Sqlite { path: PathBuf::from(format!("/{rest}")) })
}

#[cfg(test)]
mod tests;
