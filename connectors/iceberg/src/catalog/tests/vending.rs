//! Credentials for storage that the catalog hands out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pandion_connector_s3::open_s3_root_with;
use pandion_source::{SourceUri, list_flat_prefix};
use pandion_testkit::rest_catalog::{
    CatalogFailure, CatalogFault, IssuedKeys, RestCatalogOptions, Vending,
};
use pandion_testkit::s3::{S3Options, S3Server};
use pandion_types::ErrorKind;
use serde_json::json;

use super::*;

const VENDED: &str = r#","vended_credentials":"true""#;
const LIFETIME: Duration = Duration::from_secs(900);

/// A catalog that hands out numbered keys.
fn vending(renews_credentials: bool) -> RestCatalogOptions {
    let issued = AtomicU64::new(0);
    let vending = Vending::new(move |location, now| {
        assert_eq!(location, LOCATION);
        let number = issued.fetch_add(1, Ordering::Relaxed);
        IssuedKeys {
            access_key: format!("AK{number}"),
            secret_key: "SKCANARY".to_owned(),
            session_token: Some("TOKENCANARY".to_owned()),
            expires_at: Some(now + LIFETIME),
        }
    });
    let table_config = [
        ("s3.endpoint", "http://store.example:9000"),
        ("client.region", "eu-west-1"),
        ("s3.path-style-access", "true"),
    ];
    RestCatalogOptions {
        vending: Some(vending),
        renews_credentials,
        table_config: table_config.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..RestCatalogOptions::default()
    }
}

#[tokio::test]
async fn the_keys_of_the_longest_prefix_come_with_the_table() {
    let fixture = Fixture::start(vending(true)).await;
    let table = fixture.load(&fixture.client(VENDED)).await.unwrap();
    assert_shows_no_secret(&format!("{table:?}"));
    let storage = table.storage.unwrap();
    assert_eq!(storage.prefix, LOCATION);
    assert_eq!(storage.credentials.key_id.expose(), "AK0");
    assert_eq!(storage.credentials.secret.expose(), "SKCANARY");
    assert_eq!(storage.credentials.token.unwrap().expose(), "TOKENCANARY");
    let end = storage.credentials.expires_at.unwrap();
    let life = end.duration_since(fixture.server.now()).unwrap();
    // The end travels in whole milliseconds.
    assert!(life <= LIFETIME && life + Duration::from_millis(1) > LIFETIME);
    assert_eq!(storage.endpoint.as_deref(), Some("http://store.example:9000"));
    assert_eq!((storage.region.as_deref(), storage.path_style), (Some("eu-west-1"), Some(true)));
    // Who does not ask for keys gets none.
    let catalog = fixture.client("");
    assert!(fixture.load(&catalog).await.unwrap().storage.is_none());
    assert!(catalog.credential_source(Arc::default()).is_none());
}

#[tokio::test]
async fn keys_are_renewed_before_their_end() {
    for renews_credentials in [true, false] {
        let fixture = Fixture::start(vending(renews_credentials)).await;
        let catalog = fixture.client(VENDED);
        let stats = Arc::new(IoStats::default());
        let source = catalog.credential_source(Arc::clone(&stats)).unwrap();
        fixture.load(&catalog).await.unwrap();
        fixture.asked();
        assert_shows_no_secret(&format!("{source:?}"));
        let key = async || source.credentials().await.unwrap().key_id.expose().to_owned();
        // Those that came with the table serve first, without a request.
        assert_eq!(key().await, "AK0");
        fixture.server.advance(LIFETIME / 2);
        assert_eq!(key().await, "AK0");
        assert_eq!((fixture.asked(), stats.counts().read_requests), Default::default());
        // Near their end they serve on while others are got.
        fixture.server.advance(LIFETIME / 3);
        assert_eq!(key().await, "AK0");
        while key().await == "AK0" {
            tokio::task::yield_now().await;
        }
        assert_eq!(key().await, "AK1");
        let asked = fixture.asked();
        let expected = if renews_credentials { (1, 0) } else { (0, 1) };
        assert_eq!((asked.credentials, asked.table), expected);
        assert_eq!(stats.counts().read_requests, 1);
        // A store that refuses keys has others got at once.
        let refused = source.credentials().await.unwrap();
        let others = source.renew(&refused).await.unwrap();
        assert_eq!(others.key_id.expose(), "AK2");
        // After a long pause nobody gets keys that are over, also not those of the last refresh.
        fixture.load(&catalog).await.unwrap();
        fixture.server.advance(LIFETIME * 3);
        assert_eq!(key().await, "AK4");
    }
}

#[tokio::test]
async fn keys_can_be_had_before_the_table() {
    let fixture = Fixture::start(vending(true)).await;
    let catalog = fixture.client(VENDED);
    let source = catalog.credential_source(Arc::default()).unwrap();
    assert_eq!(source.credentials().await.unwrap().key_id.expose(), "AK0");
    let refused = source.credentials().await.unwrap();
    assert_eq!(source.renew(&refused).await.unwrap().key_id.expose(), "AK1");
    let asked = fixture.asked();
    assert_eq!((asked.config, asked.table, asked.credentials), (1, 1, 1));
}

#[tokio::test]
async fn keys_that_are_good_serve_while_the_catalog_is_down() {
    let fixture = Fixture::start(vending(true)).await;
    let catalog = fixture.client(VENDED);
    let source = catalog.credential_source(Arc::default()).unwrap();
    assert_eq!(source.credentials().await.unwrap().key_id.expose(), "AK0");
    let failure = CatalogFailure::Status(503, "down".to_owned());
    let path = "/credentials".to_owned();
    fixture.server.set_faults(vec![CatalogFault { path, times: u32::MAX, failure }]);
    fixture.server.advance(LIFETIME - Duration::from_secs(10));
    fixture.asked();
    assert_eq!(source.credentials().await.unwrap().key_id.expose(), "AK0");
    // The renewal in the background uses its repetitions up.
    while fixture.server.stats().credentials < 5 {
        tokio::task::yield_now().await;
    }
    assert_eq!(source.credentials().await.unwrap().key_id.expose(), "AK0");
    fixture.server.advance(Duration::from_secs(10));
    let error = source.credentials().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_shows_no_secret(&format!("{error} {error:?}"));
    fixture.server.set_faults(Vec::new());
    assert_eq!(source.credentials().await.unwrap().key_id.expose(), "AK1");
}

#[tokio::test]
async fn a_store_is_read_with_what_the_catalog_hands_out() {
    let store = Arc::new(S3Server::start(S3Options::default()).await.unwrap());
    store.put("lake", "warehouse/t/data/a.parquet", "data");
    store.put("lake", "warehouse/t/metadata/v1.metadata.json", metadata().to_string());
    let issued = AtomicU64::new(0);
    let keys = Arc::clone(&store);
    let vending = Vending::new(move |_, now| {
        let access_key = format!("AK{}", issued.fetch_add(1, Ordering::Relaxed));
        keys.add_key(&access_key, "SKCANARY");
        let secret_key = "SKCANARY".to_owned();
        let expires_at = Some(now + LIFETIME);
        IssuedKeys { access_key, secret_key, session_token: None, expires_at }
    });
    let options = RestCatalogOptions {
        vending: Some(vending),
        renews_credentials: true,
        ..RestCatalogOptions::default()
    };
    let server = RestCatalogServer::start(options, store.bucket("lake").unwrap()).await.unwrap();
    let fixture = Fixture { server: Arc::new(server), stats: IoStats::default() };
    fixture.server.register(&["a"], "t", METADATA_LOCATION);
    let catalog = fixture.client(VENDED);

    let text = format!(
        r#"{{"format":"iceberg-table","extfs":{{"region":"us-east-1"}},
            "catalog":{{"type":"rest","uri":"{}","table":"a.t"{VENDED}}}}}"#,
        fixture.server.uri()
    );
    let (spec, secrets) = ExternalSpec::parse(&text).unwrap();
    let uri = format!("minio://{}/lake/warehouse/t/data", store.host_port());
    let uri = SourceUri::parse(&uri).unwrap();
    let policy = Arc::new(EndpointPolicy::new([store.host_port()]).unwrap());
    let keys = catalog.credential_source(Arc::default()).unwrap();
    let root = open_s3_root_with(&uri, &spec, &secrets, &policy, keys).await.unwrap();
    assert_shows_no_secret(&format!("{root:?}"));
    fixture.load(&catalog).await.unwrap();
    let list = async || list_flat_prefix(&root, ".parquet", &fixture.stats).await;
    assert_eq!(list().await.unwrap().len(), 1);
    assert_eq!(fixture.asked().credentials, 0);
    // What was handed out at first opens nothing any more.
    fixture.server.advance(LIFETIME);
    store.remove_key("AK0");
    assert_eq!(list().await.unwrap().len(), 1);
    assert_eq!(fixture.asked().credentials, 1);
    // Without any that are good, the error is the catalog's.
    fixture.server.advance(LIFETIME);
    let failure = CatalogFailure::Status(403, "not yours".to_owned());
    let path = "/credentials".to_owned();
    fixture.server.set_faults(vec![CatalogFault { path, times: u32::MAX, failure }]);
    let error = list().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("not yours"), "{error}");
    assert_shows_no_secret(&format!("{error} {error:?}"));
}

#[tokio::test]
async fn a_catalog_that_lists_the_endpoint_and_has_it_not_is_asked_for_the_table() {
    let fixture = Fixture::start(vending(true)).await;
    let catalog = fixture.client(VENDED);
    fixture.load(&catalog).await.unwrap();
    let failure = CatalogFailure::Status(404, "not here".to_owned());
    fixture.server.set_faults(vec![CatalogFault {
        path: "/credentials".to_owned(),
        times: u32::MAX,
        failure,
    }]);
    let storage = catalog.renew_storage(LOCATION, &fixture.stats).await.unwrap();
    assert_eq!(storage.credentials.key_id.expose(), "AK1");
}

#[tokio::test]
async fn a_catalog_that_hands_out_nothing_is_an_error() {
    let fixture = Fixture::start(RestCatalogOptions::default()).await;
    let error = fixture.refused(&fixture.client(VENDED)).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("handed out no credentials"), "{error}");
    assert!(error.message().contains("table a.t"), "{error}");
}

#[test]
fn the_right_keys_are_chosen() {
    let keys = |name: &str| json!({"s3.access-key-id": name, "s3.secret-access-key": "SKCANARY"});
    let chosen = |answer: &Value| {
        let storage = VendedStorage::select(answer, "s3://lake/wh/t1").unwrap();
        storage.credentials.key_id.expose().to_owned()
    };
    let answer = json!({"config": keys("config"), "storage-credentials": [
        {"prefix": "s3", "config": keys("scheme")},
        {"prefix": "s3a://lake/wh/", "config": keys("warehouse")},
        {"prefix": "s3://lake/wh/t", "config": keys("neighbour")},
        {"prefix": "s3://lake/wh/t1/data", "config": keys("below")},
        {"prefix": "gs://lake", "config": {"gcs.oauth2.token": "CANARY"}},
        {"config": keys("no prefix")}, 5, null,
    ]});
    assert_eq!(chosen(&answer), "warehouse");
    let answer = json!({"config": keys("config"), "storage-credentials": [
        {"prefix": "s3", "config": keys("scheme")},
    ]});
    assert_eq!(chosen(&answer), "scheme");
    assert_eq!(chosen(&json!({"config": keys("config"), "storage-credentials": []})), "config");
    for (config, expected) in [
        (json!({"gcs.oauth2.token": "CANARY"}), "Google Cloud Storage"),
        (json!({"adls.sas-token.x": "CANARY"}), "Azure"),
        (json!({"s3.remote-signing-enabled": "true"}), "remote signing"),
        (json!({"s3.access-key-id": "CANARY"}), "handed out no credentials"),
        (json!({"s3.access-key-id": 5, "s3.secret-access-key": "CANARY"}), "handed out no"),
    ] {
        let error = VendedStorage::select(&json!({"config": config}), "s3://l/t").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains(expected), "{error}");
        assert_shows_no_secret(&format!("{error:?}"));
    }
    let broken = json!({"config": keys("line\nCANARY")});
    let error = VendedStorage::select(&broken, "s3://l/t").unwrap_err();
    assert_shows_no_secret(&format!("{error:?}"));
}
