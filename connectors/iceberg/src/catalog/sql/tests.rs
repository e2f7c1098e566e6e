//! Catalogs in files of SQLite: what is found, what is refused, and what is not touched.

use std::collections::BTreeMap;
use std::path::Path;

use pandion_source::ExternalSpec;
use pandion_types::ErrorKind;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

const TABLE: &str = "CREATE TABLE iceberg_tables (catalog_name TEXT, table_namespace TEXT, \
                     table_name TEXT, metadata_location TEXT, previous_metadata_location TEXT);";
const LOCATION: &str = "s3://lake/t/metadata/v1.metadata.json";

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn database(folder: &TempDir, sql: &str) -> Connection {
    let connection = Connection::open(folder.path().join("catalog.db")).unwrap();
    connection.execute_batch(sql).unwrap();
    connection
}

fn catalog_at(folder: &Path, file: &str, timeout: Duration) -> SqlCatalog {
    let folder = folder.canonicalize().unwrap();
    let text = format!(
        r#"{{"format":"iceberg-table","catalog":{{"type":"sql","catalog_name":"lake","table":"a.b.t","uri":"sqlite://{}/{file}"}}}}"#,
        folder.display()
    );
    let (spec, secrets) = ExternalSpec::parse(&text).unwrap();
    let settings = spec.catalog().unwrap().sql().unwrap();
    let roots = LocalRoots::new([folder]).unwrap();
    let options = SqlCatalogOptions { pause: Duration::from_millis(1), timeout };
    let policy = Arc::new(EndpointPolicy::default());
    SqlCatalog::new(settings, &secrets, &policy, &roots, options).unwrap()
}

async fn ask(folder: &TempDir) -> Result<String> {
    let catalog = catalog_at(folder.path(), "catalog.db", Duration::from_secs(30));
    catalog.check().await?;
    catalog.metadata_location(&IoStats::default()).await
}

async fn refused(folder: &TempDir) -> Error {
    let error = ask(folder).await.unwrap_err();
    assert_eq!(error.subject(), Subject::Source, "{error:?}");
    assert!(error.to_string().contains("catalog.db"), "{error}");
    error
}

/// Names and contents of a folder's files.
fn contents(folder: &TempDir) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap());
    files
        .map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap()))
        .collect()
}

#[tokio::test]
async fn the_row_of_the_table_is_read_whatever_columns_there_are() {
    let rows = |more: &str| {
        format!(
            "INSERT INTO iceberg_tables VALUES ('lake','a.b','t','{LOCATION}',NULL{more}), \
             ('lake','a','t','x',NULL{more}), ('pond','a.b','t','x',NULL{more}), \
             ('lake','a.b','u','x',NULL{more})"
        )
    };
    for sql in [
        format!("{TABLE}{}", rows("")),
        format!("{TABLE}ALTER TABLE iceberg_tables ADD iceberg_type TEXT;{}", rows(",'TABLE'")),
        format!("{TABLE}ALTER TABLE iceberg_tables ADD iceberg_type TEXT;{}", rows(",NULL")),
        format!("PRAGMA journal_mode=WAL;{TABLE}{}", rows("")),
    ] {
        let folder = folder();
        drop(database(&folder, &sql));
        let before = contents(&folder);
        assert_eq!(ask(&folder).await.unwrap(), LOCATION, "{sql}");
        let mut after = contents(&folder);
        if sql.contains("WAL") {
            // SQLite needs these beside such a database.
            after.retain(|name, _| !name.ends_with("-wal") && !name.ends_with("-shm"));
        }
        assert!(after == before, "{sql}: {:?}", after.keys());
    }
}

#[tokio::test]
async fn what_a_writer_has_not_committed_is_not_seen() {
    for mode in ["DELETE", "WAL"] {
        let folder = folder();
        let insert =
            format!("INSERT INTO iceberg_tables VALUES ('lake','a.b','t','{LOCATION}','')");
        let sql = format!("PRAGMA journal_mode={mode};{TABLE}{insert}");
        let writer = database(&folder, &sql);
        writer.execute_batch("BEGIN; UPDATE iceberg_tables SET metadata_location = 'x'").unwrap();
        assert_eq!(ask(&folder).await.unwrap(), LOCATION, "{mode}");
        writer.execute_batch("COMMIT").unwrap();
        assert_eq!(ask(&folder).await.unwrap(), "x", "{mode}");
    }
}

#[tokio::test]
async fn rows_that_name_no_table_are_refused() {
    let typed = format!("{TABLE}ALTER TABLE iceberg_tables ADD iceberg_type TEXT;");
    let insert = "INSERT INTO iceberg_tables VALUES ('lake','a.b','t'";
    for (sql, kind, expected) in [
        (TABLE.to_owned(), ErrorKind::NotFound, "table a.b.t not found in the catalog sqlite:///"),
        (
            format!("{TABLE}INSERT INTO iceberg_tables VALUES ('Lake','a.b','t','x','')"),
            ErrorKind::NotFound,
            "under catalog_name \"lake\"",
        ),
        (
            format!("{typed}{insert},'x','','VIEW')"),
            ErrorKind::Unsupported,
            "is no table but a view",
        ),
        (format!("{TABLE}{insert},NULL,NULL)"), ErrorKind::Corrupt, "names no metadata file"),
        (format!("{TABLE}{insert},x'00ff',NULL)"), ErrorKind::Corrupt, "should be text is not"),
        (format!("{TABLE}{insert},'x',''),('lake','a.b','t','y','')"), ErrorKind::Corrupt, "twice"),
    ] {
        let folder = folder();
        drop(database(&folder, &sql));
        let error = refused(&folder).await;
        assert_eq!(error.kind(), kind, "{sql}: {error}");
        assert!(error.to_string().contains(expected), "{sql}: {error}");
    }
}

#[tokio::test]
async fn files_that_hold_no_catalog_are_refused() {
    for (sql, kind, expected) in [
        ("", ErrorKind::NotFound, "has no table iceberg_tables"),
        ("CREATE TABLE t (x)", ErrorKind::NotFound, "has no table iceberg_tables"),
        ("CREATE TABLE iceberg_tables (x)", ErrorKind::Corrupt, "is not that of a catalog"),
        (
            "CREATE VIEW iceberg_tables AS WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x FROM \
             r) SELECT x AS metadata_location FROM r",
            ErrorKind::Unsupported,
            "not an ordinary table",
        ),
        (
            "CREATE VIRTUAL TABLE iceberg_tables USING fts5(catalog_name, table_namespace, \
             table_name, metadata_location)",
            ErrorKind::Unsupported,
            "not an ordinary table",
        ),
    ] {
        let folder = folder();
        drop(database(&folder, sql));
        let error = refused(&folder).await;
        assert_eq!(error.kind(), kind, "{sql}: {error}");
        assert!(error.to_string().contains(expected), "{sql}: {error}");
    }
    let folder = folder();
    std::fs::write(folder.path().join("catalog.db"), vec![b'x'; 8192]).unwrap();
    let error = refused(&folder).await;
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("is no database of SQLite"), "{error}");
}

#[tokio::test]
async fn damaged_files_end_in_an_answer_or_an_error() {
    let folder = folder();
    let insert = format!("INSERT INTO iceberg_tables VALUES ('lake','a.b','t','{LOCATION}','')");
    drop(database(&folder, &format!("{TABLE}{insert}")));
    let path = folder.path().join("catalog.db");
    let whole = std::fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(97) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        std::fs::write(&path, &damaged).unwrap();
        if let Err(error) = ask(&folder).await {
            assert_ne!(error.kind(), ErrorKind::Internal, "byte {at}: {error:?}");
        }
        std::fs::write(&path, &whole[..at]).unwrap();
        if let Err(error) = ask(&folder).await {
            assert_ne!(error.kind(), ErrorKind::Internal, "cut at {at}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_lock_that_does_not_end_makes_the_catalog_unavailable() {
    let folder = folder();
    let writer = database(&folder, TABLE);
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let catalog = catalog_at(folder.path(), "catalog.db", Duration::from_millis(20));
    let error = catalog.metadata_location(&IoStats::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("is locked by a writer"), "{error}");
}

#[tokio::test]
async fn nothing_outside_of_the_allowed_directories_is_opened() {
    let (inside, outside) = (folder(), folder());
    let insert = format!("INSERT INTO iceberg_tables VALUES ('lake','a.b','t','{LOCATION}','')");
    drop(database(&outside, &format!("{TABLE}{insert}")));
    let file = outside.path().join("catalog.db");
    std::os::unix::fs::symlink(&file, inside.path().join("link.db")).unwrap();
    std::fs::create_dir(inside.path().join("folder.db")).unwrap();
    let up = format!("../{}/catalog.db", outside.path().file_name().unwrap().display());
    for (name, kind) in [
        ("link.db", ErrorKind::PermissionDenied),
        (up.as_str(), ErrorKind::PermissionDenied),
        ("gone.db", ErrorKind::NotFound),
        ("folder.db", ErrorKind::InvalidArgument),
    ] {
        let catalog = catalog_at(inside.path(), name, Duration::from_secs(30));
        let error = catalog.metadata_location(&IoStats::default()).await.unwrap_err();
        assert_eq!((error.kind(), error.subject()), (kind, Subject::Source), "{name}: {error}");
        if kind != ErrorKind::InvalidArgument {
            assert_eq!(catalog.check().await.unwrap_err().kind(), kind);
        }
    }
}
