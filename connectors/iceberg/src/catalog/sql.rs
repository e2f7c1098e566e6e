//! Tables that a catalog in a database knows: one row of `iceberg_tables` names the metadata file,
//! which is then read through the source's own store.
//!
//! The table is that of Iceberg's `JdbcCatalog`, with or without its column `iceberg_type`, which
//! PyIceberg's `SqlCatalog` and `iceberg-catalog-sql` share. The latter crate is not used: it opens
//! connections and reads metadata by itself, so that neither could be held to the endpoint policy
//! and the source's credentials. Nothing is written, and no other row is read.

mod postgres;
mod row;
mod sqlite;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pandion_source::{
    EndpointPolicy, IoStats, LocalRoots, SourceRoot, SourceSecrets, SqlCatalogSettings, SqlDatabase,
};
use pandion_types::{Error, ErrorKind, Result, Subject};

use crate::guard::{corrupt, decode, unsupported};
use crate::metadata;
use crate::paths::TablePaths;
use crate::place::{LoadedMetadata, TableLoader};
use postgres::PostgresClient;
use row::{CatalogRow, RowKey};

/// The table that a catalog is.
const CATALOG_TABLE: &str = "iceberg_tables";
/// Rows that are asked for: a second one shows that the table is none of a catalog.
const ROWS_MAX: usize = 2;

/// How a database is asked.
#[derive(Clone, Copy, Debug)]
pub struct SqlCatalogOptions {
    /// The pause before the first repetition; later ones are twice as long each.
    pub pause: Duration,
    /// How long one attempt may take, from the first packet to the row.
    pub timeout: Duration,
}

impl Default for SqlCatalogOptions {
    fn default() -> Self {
        Self { pause: Duration::from_millis(200), timeout: Duration::from_secs(30) }
    }
}

/// One table of one catalog in a database. Holds no connection.
pub struct SqlCatalog {
    settings: SqlCatalogSettings,
    database: Database,
    timeout: Duration,
}

enum Database {
    Postgres(Box<PostgresClient>),
    Sqlite { path: PathBuf, roots: LocalRoots },
}

impl fmt::Debug for SqlCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlCatalog({}, {})", self.settings.database, self.settings.table)
    }
}

impl SqlCatalog {
    /// A catalog whose server `policy` must allow, or whose file must lie below one of `roots`.
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// `InvalidArgument` about the source for a certificate that is no PEM text.
    pub fn new(
        settings: &SqlCatalogSettings,
        secrets: &SourceSecrets,
        policy: &Arc<EndpointPolicy>,
        roots: &LocalRoots,
        options: SqlCatalogOptions,
    ) -> Result<Self> {
        let database = match &settings.database {
            SqlDatabase::Postgres { .. } => {
                let client = PostgresClient::new(&settings.database, secrets, policy, options)?;
                Database::Postgres(Box::new(client))
            }
            SqlDatabase::Sqlite { path } => {
                Database::Sqlite { path: path.clone(), roots: roots.clone() }
            }
        };
        Ok(Self { settings: settings.clone(), database, timeout: options.timeout })
    }

    /// Checks that the database may be asked, without asking it: a host is resolved, a path looked
    /// up.
    ///
    /// # Errors
    /// `PermissionDenied` about the source for an address or path that is not allowed, and for a
    /// server without TLS that the operator has not named; `Unavailable` for a host that does not
    /// resolve; `NotFound` for a file that is not there.
    pub async fn check(&self) -> Result<()> {
        match &self.database {
            Database::Postgres(client) => client.addresses().await.map(|_| ()),
            Database::Sqlite { path, roots } => sqlite::resolve(roots, path).map(|_| ()),
        }
    }

    /// Asks where the metadata of the table lie now: one connection, one row. Each attempt is
    /// counted as a read.
    ///
    /// # Errors
    /// About the source: `NotFound` for a table, database or `iceberg_tables` that is not there;
    /// `PermissionDenied` as [`Self::check`] and for a user or password that is refused;
    /// `Unavailable` when repetitions were used up; `InvalidArgument` for a certificate that is
    /// not trusted; `Corrupt` for what makes no sense; `Unsupported` for a view and for ways to
    /// authenticate that are not spoken. No text holds the password.
    pub async fn metadata_location(&self, stats: &IoStats) -> Result<String> {
        let SqlCatalogSettings { catalog_name, table, .. } = &self.settings;
        let key = RowKey {
            catalog: catalog_name.clone(),
            namespace: table.namespace.join("."),
            table: table.name.clone(),
        };
        let rows = match &self.database {
            Database::Postgres(client) => client.rows(&key, stats).await?,
            Database::Sqlite { path, roots } => {
                let (path, roots, timeout) = (path.clone(), roots.clone(), self.timeout);
                let place = self.settings.database.to_string();
                stats.count_read(0);
                decode(place, move |place| sqlite::rows(&roots, &path, &key, timeout, place))
                    .await?
            }
        };
        self.location_in(rows)
    }

    /// What hands over the table's metadata, which are read from the store of `root`.
    #[must_use]
    pub fn loader(self: &Arc<Self>, root: SourceRoot) -> Arc<dyn TableLoader> {
        let paths = TablePaths::new(&root);
        Arc::new(SqlTable { catalog: Arc::clone(self), root, paths })
    }

    fn location_in(&self, rows: Vec<CatalogRow>) -> Result<String> {
        let SqlCatalogSettings { catalog_name, table, database } = &self.settings;
        let listed = rows.len();
        let mut rows = rows.into_iter();
        let row = match (rows.next(), listed) {
            (Some(row), 1) => row,
            (None, _) => {
                return Err(Error::not_found(
                    Subject::Source,
                    format!(
                        "table {table} not found in the catalog {database} under catalog_name \
                         {catalog_name:?}"
                    ),
                ));
            }
            _ => {
                return Err(corrupt(format!("the catalog {database} lists table {table} twice")));
            }
        };
        if row.kind.as_deref().is_some_and(|kind| !kind.eq_ignore_ascii_case("TABLE")) {
            return Err(unsupported(format!(
                "{table} of the catalog {database} is no table but a {}",
                row.kind.unwrap_or_default().to_lowercase()
            )));
        }
        row.metadata_location.filter(|location| !location.is_empty()).ok_or_else(|| {
            corrupt(format!("the catalog {database} names no metadata file for table {table}"))
        })
    }
}

/// A table whose metadata the catalog names and the source's store holds.
#[derive(Debug)]
struct SqlTable {
    catalog: Arc<SqlCatalog>,
    root: SourceRoot,
    paths: TablePaths,
}

#[async_trait]
impl TableLoader for SqlTable {
    async fn load(&self, stats: &IoStats) -> Result<LoadedMetadata> {
        let location = self.catalog.metadata_location(stats).await?;
        let named = |error: Error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::Corrupt => {
                error.context(format!("the metadata file that {:?} names", self.catalog))
            }
            _ => error,
        };
        let path = self.paths.locate(&location).map_err(named)?;
        metadata::read(&self.root, &path, stats).await.map_err(named)
    }
}
