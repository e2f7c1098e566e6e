mod authentication;
mod failures;
mod vending;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pandion_source::{Clock, EndpointPolicy, ExternalSpec, IoStats};
use pandion_testkit::rest_catalog::{RestCatalogOptions, RestCatalogServer, RestCatalogStats};
use pandion_types::{Error, ErrorKind, Result};

use super::*;

const LOCATION: &str = "s3://lake/warehouse/t";
const METADATA_LOCATION: &str = "s3://lake/warehouse/t/metadata/v1.metadata.json";

fn metadata() -> Value {
    serde_json::json!({
        "format-version": 2,
        "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1",
        "location": LOCATION,
        "last-sequence-number": 0,
        "last-updated-ms": 1_767_225_600_000_i64,
        "last-column-id": 1,
        "current-schema-id": 0,
        "schemas": [{"type": "struct", "schema-id": 0, "fields": [
            {"id": 1, "name": "id", "required": true, "type": "long"},
        ]}],
        "default-spec-id": 0,
        "partition-specs": [{"spec-id": 0, "fields": []}],
        "last-partition-id": 999,
        "default-sort-order-id": 0,
        "sort-orders": [{"order-id": 0, "fields": []}],
        "properties": {},
        "current-snapshot-id": -1,
        "snapshots": [],
    })
}

/// The server's clock, so that client and server see the same time.
#[derive(Debug)]
struct ServerClock(Arc<RestCatalogServer>);

impl Clock for ServerClock {
    fn now(&self) -> SystemTime {
        self.0.now()
    }
}

/// A catalog that knows the table `a.t`, and what its clients count.
struct Fixture {
    server: Arc<RestCatalogServer>,
    stats: IoStats,
}

impl Fixture {
    async fn start(options: RestCatalogOptions) -> Self {
        let store = InMemory::new();
        let key = Path::from("warehouse/t/metadata/v1.metadata.json");
        store.put(&key, metadata().to_string().into()).await.unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(store);
        let server = Arc::new(RestCatalogServer::start(options, store).await.unwrap());
        server.register(&["a"], "t", METADATA_LOCATION);
        Self { server, stats: IoStats::default() }
    }

    fn options(&self) -> CatalogOptions {
        CatalogOptions {
            clock: Arc::new(ServerClock(Arc::clone(&self.server))),
            pause: Duration::from_millis(1),
            ..CatalogOptions::default()
        }
    }

    /// A client for the table `a.t`; `more` are settings beside type, URI and table.
    fn client(&self, more: &str) -> Arc<RestCatalog> {
        self.client_of(r#""a.t""#, more)
    }

    fn client_of(&self, table: &str, more: &str) -> Arc<RestCatalog> {
        self.try_client(table, more, &[self.server.host_port()], self.options()).unwrap()
    }

    fn try_client(
        &self,
        table: &str,
        more: &str,
        allowed: &[String],
        options: CatalogOptions,
    ) -> Result<Arc<RestCatalog>> {
        let text = format!(
            r#"{{"format":"iceberg-table","catalog":{{"type":"rest","uri":"{}","table":{table}{more}}}}}"#,
            self.server.uri()
        );
        let (spec, secrets) = ExternalSpec::parse(&text)?;
        let policy = Arc::new(EndpointPolicy::new(allowed)?);
        let settings = spec.catalog().unwrap();
        RestCatalog::new(settings, &secrets, &policy, options).map(Arc::new)
    }

    async fn load(&self, catalog: &RestCatalog) -> Result<LoadedTable> {
        catalog.load_table(&self.stats).await
    }

    async fn refused(&self, catalog: &RestCatalog) -> Error {
        let error = self.load(catalog).await.unwrap_err();
        assert_eq!(error.subject(), Subject::Source, "{error:?}");
        assert_shows_no_secret(&format!("{error} {error:?} {catalog:?}"));
        error
    }

    fn asked(&self) -> RestCatalogStats {
        self.server.reset_stats()
    }
}

/// Every secret of these tests has a word in it.
fn assert_shows_no_secret(text: &str) {
    assert!(!text.contains("CANARY") && !text.contains("issued-token"), "{text}");
}

#[tokio::test]
async fn a_table_is_loaded_with_one_request_once_the_catalog_is_known() {
    let fixture = Fixture::start(RestCatalogOptions::default()).await;
    let catalog = fixture.client("");
    let table = fixture.load(&catalog).await.unwrap();
    assert_eq!(table.metadata.location(), LOCATION);
    assert_eq!(table.metadata_location.as_deref(), Some(METADATA_LOCATION));
    assert!(table.storage.is_none());
    fixture.load(&catalog).await.unwrap();
    let asked = fixture.asked();
    assert_eq!((asked.config, asked.table), (1, 2));
    let counts = fixture.stats.counts();
    assert_eq!(counts.read_requests, 3);
    assert!(counts.bytes_read > 1000);
}

#[tokio::test]
async fn prefix_warehouse_and_names_of_any_kind() {
    let options = RestCatalogOptions {
        prefix: Some("catalogs/arn%3Aaws%3Ax".to_owned()),
        warehouse: Some("s3://lake/ware house".to_owned()),
        ..RestCatalogOptions::default()
    };
    let fixture = Fixture::start(options).await;
    fixture.server.register(&["a.b", "c/d ü", "?#%"], "t.u", METADATA_LOCATION);
    let table = r#"["a.b","c/d ü","?#%","t.u"]"#;
    let catalog = fixture.client_of(table, r#","warehouse":"s3://lake/ware house""#);
    assert_eq!(fixture.load(&catalog).await.unwrap().metadata.location(), LOCATION);
    let error = fixture.refused(&fixture.client(r#","warehouse":"other""#)).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("for warehouse \"other\""), "{error}");
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let fixture = Fixture::start(RestCatalogOptions::default()).await;
    for (table, expected) in [
        (r#""a.nothing""#, "table a.nothing not found in the catalog http://127.0.0.1"),
        (r#""b.c.t""#, "namespace b.c not found in the catalog http://127.0.0.1"),
    ] {
        let error = fixture.refused(&fixture.client_of(table, "")).await;
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains(expected), "{error}");
    }
}

#[test]
fn metadata_that_make_no_sense_end_in_an_error() {
    // Every value of the metadata in turn is left out, and put in the place of another kind.
    fn mutate(value: &Value, put: &dyn Fn(Value), rebuild: &dyn Fn(Option<Value>) -> Value) {
        let strange = [
            Value::Null,
            (-1).into(),
            i64::MAX.into(),
            1.5.into(),
            "x".into(),
            serde_json::json!([]),
            serde_json::json!({}),
            serde_json::json!([[]]),
        ];
        put(rebuild(None));
        strange.into_iter().for_each(|strange| put(rebuild(Some(strange))));
        match value {
            Value::Object(object) => {
                for (key, inner) in object {
                    let within = |inner: Option<Value>| {
                        let mut object = object.clone();
                        match inner {
                            Some(inner) => object.insert(key.clone(), inner),
                            None => object.remove(key),
                        };
                        rebuild(Some(Value::Object(object)))
                    };
                    mutate(inner, put, &within);
                }
            }
            Value::Array(array) => {
                for (index, inner) in array.iter().enumerate() {
                    let within = |inner: Option<Value>| {
                        let mut array = array.clone();
                        match inner {
                            Some(inner) => array[index] = inner,
                            None => drop(array.remove(index)),
                        }
                        rebuild(Some(Value::Array(array)))
                    };
                    mutate(inner, put, &within);
                }
            }
            _ => {}
        }
    }
    let mut whole = metadata();
    whole["current-snapshot-id"] = 5.into();
    whole["last-sequence-number"] = 1.into();
    whole["snapshots"] = serde_json::json!([{
        "snapshot-id": 5, "sequence-number": 1, "timestamp-ms": 1_767_225_600_000_i64,
        "manifest-list": "s3://lake/m.avro", "summary": {"operation": "append"}, "schema-id": 0,
    }]);
    whole["refs"] = serde_json::json!({"main": {"snapshot-id": 5, "type": "branch"}});
    whole["partition-specs"] = serde_json::json!([{"spec-id": 0, "fields": [
        {"source-id": 1, "field-id": 1000, "name": "id_b", "transform": "bucket[4]"},
    ]}]);
    whole["last-partition-id"] = 1000.into();
    assert!(serde_json::from_value::<TableMetadata>(whole.clone()).is_ok());
    let tried = std::cell::Cell::new(0);
    let put = |mutated: Value| {
        tried.set(tried.get() + 1);
        // An error or not: what counts is that it comes back, and can be asked about.
        if let Ok(metadata) = serde_json::from_value::<TableMetadata>(mutated) {
            let _seen = (metadata.current_schema(), metadata.current_snapshot());
        }
    };
    mutate(&whole, &put, &|value| value.unwrap_or_default());
    assert!(tried.get() > 400);
}
