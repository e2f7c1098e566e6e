//! Tables that a catalog in a file of SQLite names.

use pandion_source::{EndpointPolicy, ExternalSpec, LocalRoots, SourceUri, open_local};
use pandion_testkit::iceberg::{Place, Sample, SampleOptions};
use pandion_types::ErrorKind;
use tempfile::TempDir;

use super::*;
use crate::catalog::{SqlCatalog, SqlCatalogOptions};

struct World {
    folder: TempDir,
    table: TableWriter,
    database: rusqlite::Connection,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::in_directory(&folder.path().join("table")).unwrap();
        let table = Sample::PositionDeletes.write(place, &SampleOptions::default()).await.unwrap();
        let database = rusqlite::Connection::open(folder.path().join("catalog.db")).unwrap();
        database
            .execute_batch(
                "CREATE TABLE iceberg_tables (catalog_name VARCHAR(255) NOT NULL, \
                 table_namespace VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL, \
                 metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000), \
                 PRIMARY KEY (catalog_name, table_namespace, table_name));
                 INSERT INTO iceberg_tables VALUES ('lake', 'a.b', 't', '', NULL)",
            )
            .unwrap();
        Self { folder, table, database }
    }

    fn point_at(&self, location: &str) {
        let update = "UPDATE iceberg_tables SET metadata_location = ?1";
        assert_eq!(self.database.execute(update, [location]).unwrap(), 1);
    }

    fn connector(&self) -> IcebergConnector {
        let folder = self.folder.path().canonicalize().unwrap();
        let text = format!(
            r#"{{"format":"iceberg-table","catalog":{{"type":"sql","catalog_name":"lake","table":"a.b.t","uri":"sqlite://{}/catalog.db"}}}}"#,
            folder.display()
        );
        let (spec, secrets) = ExternalSpec::parse(&text).unwrap();
        let roots = LocalRoots::new([&folder]).unwrap();
        let uri = SourceUri::parse(&format!("file://{}", folder.display())).unwrap();
        let root = open_local(&uri, &roots).unwrap();
        let settings = spec.catalog().unwrap().sql().unwrap();
        let policy = Arc::new(EndpointPolicy::default());
        let options = SqlCatalogOptions::default();
        let catalog = SqlCatalog::new(settings, &secrets, &policy, &roots, options).unwrap();
        let loader = Arc::new(catalog).loader(root.clone());
        let place = TablePlace::Catalog(loader);
        IcebergConnector::new(root, place, SnapshotChoice::Latest, sample_schema())
    }
}

#[tokio::test]
async fn each_refresh_reads_what_the_catalog_names_then() {
    let world = World::new().await;
    let connector = world.connector();
    let all = world.table.metadata_locations();
    world.point_at(&all[1]);
    let (before, _) = refresh(&connector, None).await.unwrap();
    assert!(
        before
            .table
            .as_ref()
            .unwrap()
            .metadata_location
            .ends_with(all[1].rsplit('/').next().unwrap())
    );
    // A path without a scheme, as writers on local disks have them, too.
    for last in
        [world.table.metadata_location(), &world.table.metadata_location()["file://".len()..]]
    {
        world.point_at(last);
        let (now, counts) = refresh(&connector, Some(&before)).await.unwrap();
        assert_eq!(live_rows(&now), expected_rows(&world.table.rows().unwrap()));
        assert_ne!(live_rows(&now), live_rows(&before));
        assert_eq!(counts.list_requests, 0);
    }
}

#[tokio::test]
async fn a_metadata_file_that_cannot_be_read_is_named_with_the_catalog() {
    let world = World::new().await;
    let connector = world.connector();
    let gone = world.table.place().uri("metadata/gone.metadata.json");
    for (location, kind, expected) in [
        (gone.as_str(), ErrorKind::NotFound, "gone.metadata.json"),
        ("s3://pond/t/metadata/v1.metadata.json", ErrorKind::Unsupported, "s3://pond/t"),
        ("v1.metadata.json", ErrorKind::Corrupt, "not a URI"),
        ("file:///etc/hostname", ErrorKind::PermissionDenied, "--local-root"),
    ] {
        world.point_at(location);
        let error = refresh(&connector, None).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        if kind != ErrorKind::PermissionDenied {
            assert!(error.to_string().contains("catalog.db, a.b.t"), "{error}");
        }
    }
}
