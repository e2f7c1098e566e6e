//! A catalog in a file of SQLite, below a directory that the operator allowed.
//!
//! The file is opened for reading only, and treated as what anyone could have written: nothing that
//! its schema says is run, and time and lengths are bounded. It may be in use by its writers; a
//! lock is waited for. Beside a database in WAL mode SQLite itself may make its `-wal` and `-shm`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pandion_source::LocalRoots;
use pandion_types::{Error, ErrorKind, Result, Subject};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _};

use super::CATALOG_TABLE;
use super::row::{CatalogRow, RowKey, no_text};
use crate::guard::{corrupt, unsupported};

/// The longest value or row that is read, in bytes.
const VALUE_BYTES_MAX: i32 = 1 << 20;
/// How long a writer's lock is waited for.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// Steps of SQLite's machine between two looks at the clock.
const STEPS_PER_LOOK: i32 = 1000;

/// The rows with this key. Blocks; `place` names the database in errors.
///
/// # Errors
/// About the source: `PermissionDenied` for what lies elsewhere or may not be read; `NotFound` for
/// a file or catalog that is not there; `Unavailable` when a lock or `timeout` ran out; `Corrupt`,
/// `Unsupported` and `InvalidArgument` for files that hold no catalog.
pub(super) fn rows(
    roots: &LocalRoots,
    path: &Path,
    key: &RowKey,
    timeout: Duration,
    place: &str,
) -> Result<Vec<CatalogRow>> {
    let resolved = resolve(roots, path)?;
    // Anything else, such as a pipe, could keep the thread waiting.
    if !resolved.is_file() {
        return Err(
            Error::invalid_argument(format!("{place} is not a file")).about(Subject::Source)
        );
    }
    let failed = |error| explain(error, place);
    let connection = open(&resolved, timeout).map_err(failed)?;
    check_catalog(&connection, place)?;
    let mut statement = connection.prepare(&CatalogRow::question('?')).map_err(failed)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let parameters = [&key.catalog, &key.namespace, &key.table];
    let mut found = statement.query(parameters).map_err(failed)?;
    let mut rows = Vec::new();
    while let Some(row) = found.next().map_err(failed)? {
        let mut read = CatalogRow::default();
        for (at, column) in columns.iter().enumerate() {
            let value = row.get_ref(at).map_err(failed)?;
            read.take(column, || match value {
                ValueRef::Null => Ok(None),
                ValueRef::Text(text) => match std::str::from_utf8(text) {
                    Ok(text) => Ok(Some(text.to_owned())),
                    Err(error) => Err(no_text(place).caused_by(error)),
                },
                ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => Err(no_text(place)),
            })?;
        }
        rows.push(read);
    }
    Ok(rows)
}

/// Where the file lies, if it may be opened.
///
/// # Errors
/// As [`LocalRoots::resolve`].
pub(super) fn resolve(roots: &LocalRoots, path: &Path) -> Result<PathBuf> {
    roots.resolve(path).map_err(|error| error.context("catalog.uri"))
}

fn open(resolved: &Path, timeout: Duration) -> rusqlite::Result<Connection> {
    // Without the flag that lets a name be a URI, and with the one that follows no link.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(resolved, flags)?;
    connection.busy_timeout(LOCK_TIMEOUT.min(timeout))?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    let begun = Instant::now();
    connection.progress_handler(STEPS_PER_LOOK, Some(move || begun.elapsed() > timeout))?;
    Ok(connection)
}

fn check_catalog(connection: &Connection, place: &str) -> Result<()> {
    let found: Option<(String, Option<String>)> = connection
        .query_row(
            "SELECT type, sql FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE",
            [CATALOG_TABLE],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .map_err(|error| explain(error, place))?;
    let Some((kind, sql)) = found else {
        return Err(Error::not_found(
            Subject::Source,
            format!("{place} is no catalog: it has no table {CATALOG_TABLE}"),
        ));
    };
    let is_virtual = sql.is_some_and(|sql| {
        let mut words = sql.split_ascii_whitespace();
        words.nth(1).is_some_and(|word| word.eq_ignore_ascii_case("virtual"))
    });
    if kind != "table" || is_virtual {
        return Err(unsupported(format!("{place}: {CATALOG_TABLE} is not an ordinary table")));
    }
    Ok(())
}

fn explain(error: rusqlite::Error, place: &str) -> Error {
    let unavailable = |what: &str| Error::unavailable(format!("the catalog {place} {what}"));
    let ours = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            unavailable("is locked by a writer")
        }
        Some(ErrorCode::OperationInterrupted) => unavailable("did not answer in time"),
        Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory) => unavailable("cannot be read"),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            Error::new(
                ErrorKind::PermissionDenied,
                format!(
                    "the catalog {place} cannot be opened for reading: the server may not read \
                     it, or a writer must finish what it left behind"
                ),
            )
        }
        Some(ErrorCode::NotADatabase) => corrupt(format!("{place} is no database of SQLite")),
        _ => corrupt(format!(
            "the catalog {place} cannot be read: it is damaged, or its table \
             {CATALOG_TABLE} is not that of a catalog"
        )),
    };
    ours.about(Subject::Source).caused_by(error)
}
