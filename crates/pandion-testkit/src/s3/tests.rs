use std::time::Instant;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path as Key;
use object_store::{Error, GetOptions, ObjectStore, ObjectStoreExt as _, PutPayload, RetryConfig};

use super::*;
use crate::contract::object_store::{Ability, all};

async fn server() -> S3Server {
    S3Server::start(S3Options::default()).await.unwrap()
}

/// A client that reports the first failure instead of trying again.
fn impatient(server: &S3Server) -> AmazonS3 {
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    server.client("lake").unwrap().with_retry(retry).build().unwrap()
}

async fn get(store: &AmazonS3, key: &str) -> object_store::Result<Bytes> {
    store.get(&Key::from(key)).await?.bytes().await
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_path_style() {
    let server = server().await;
    all(&*server.bucket("lake").unwrap(), "suite", &[Ability::Update]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_virtual_host_style() {
    let server = server().await;
    let store = server.virtual_host_client("lake").build().unwrap();
    all(&store, "suite", &[Ability::Update]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_over_tls_in_both_styles() {
    let server = S3Server::start(S3Options::with_tls()).await.unwrap();
    assert!(server.endpoint().starts_with("https://127.0.0.1:"));
    all(&*server.bucket("lake").unwrap(), "path", &[Ability::Update]).await.unwrap();
    let store = server.virtual_host_client("lake").build().unwrap();
    all(&store, "host", &[Ability::Update]).await.unwrap();
}

#[tokio::test]
async fn tls_is_refused_by_clients_that_do_not_trust_it() {
    let server = S3Server::start(S3Options::with_tls()).await.unwrap();
    server.put("lake", "k", "v");
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let store = server.client("lake").unwrap().with_client_options(ClientOptions::new());
    let error = get(&store.with_retry(retry).build().unwrap(), "k").await.unwrap_err();
    assert!(format!("{error:?}").contains("UnknownIssuer"), "{error:?}");
}

#[tokio::test]
async fn requests_under_way_at_a_time_are_counted() {
    let server = server().await;
    server.put("lake", "k", "v");
    server.set_faults(vec![S3Fault::latency(100)]).unwrap();
    let store = impatient(&server);
    get(&store, "k").await.unwrap();
    assert_eq!(server.in_flight_max(), 1);
    for answer in futures::future::join_all((0..3).map(|_| get(&store, "k"))).await {
        answer.unwrap();
    }
    assert_eq!(server.in_flight_max(), 3);
    server.reset_stats();
    assert_eq!(server.in_flight_max(), 0);
}

#[tokio::test]
async fn wrong_keys_are_refused() {
    let server = server().await;
    server.put("lake", "k", "v");
    let signed = |access: &str, secret: &str| {
        let client = server.client("lake").unwrap();
        client.with_access_key_id(access).with_secret_access_key(secret)
    };
    let right = server.options().clone();
    let (access, secret) = (right.access_key.as_str(), right.secret_key.as_str());
    let refused = [
        ("SignatureDoesNotMatch", signed(access, "wrong")),
        ("InvalidAccessKeyId", signed("unknown", secret)),
        ("AccessDenied", signed(access, secret).with_skip_signature(true)),
        ("InvalidToken", signed(access, secret).with_token("bogus")),
        ("AuthorizationHeaderMalformed", signed(access, secret).with_region("eu-central-9")),
    ];
    for (code, client) in refused {
        let store = client.build().unwrap();
        let read = get(&store, "k").await.unwrap_err();
        assert!(format!("{read:?}").contains(code), "{code}: {read:?}");
        let listed = store.list(None).try_collect::<Vec<_>>().await.unwrap_err();
        assert!(format!("{listed:?}").contains(code), "{code}: {listed:?}");
        store.put(&Key::from("evil"), PutPayload::from_static(b"x")).await.unwrap_err();
    }
    let denied = get(&signed(access, "wrong").build().unwrap(), "k").await.unwrap_err();
    assert!(matches!(denied, Error::PermissionDenied { .. }), "{denied:?}");
    assert_eq!(server.keys("lake"), ["k"]);
    assert_eq!(get(&signed(access, secret).build().unwrap(), "k").await.unwrap(), "v");
}

#[tokio::test]
async fn keys_rotate_and_tokens_are_compulsory_when_set() {
    let options = S3Options { session_token: Some("token".to_owned()), ..S3Options::default() };
    let server = S3Server::start(options).await.unwrap();
    server.put("lake", "k", "v");
    assert_eq!(get(&server.bucket("lake").unwrap(), "k").await.unwrap(), "v");
    let without = AmazonS3Builder::new()
        .with_bucket_name("lake")
        .with_region("us-east-1")
        .with_endpoint(server.endpoint())
        .with_allow_http(true)
        .with_access_key_id(&server.options().access_key)
        .with_secret_access_key(&server.options().secret_key);
    assert!(get(&without.build().unwrap(), "k").await.is_err());

    server.add_key("second", "secret");
    server.remove_key("pandion-test-key");
    assert!(get(&server.bucket("lake").unwrap(), "k").await.is_err());
    let second = server.client("lake").unwrap();
    let second = second.with_access_key_id("second").with_secret_access_key("secret");
    assert_eq!(get(&second.build().unwrap(), "k").await.unwrap(), "v");
}

#[tokio::test]
async fn requests_and_bytes_are_counted() {
    let server = server().await;
    let store = server.bucket("lake").unwrap();
    let key = Key::from("a/b");
    store.put(&key, PutPayload::from_static(b"0123456789")).await.unwrap();
    let etag = store.head(&key).await.unwrap().e_tag;
    store.get_range(&key, 2..5).await.unwrap();
    let pinned = GetOptions { if_match: etag, ..GetOptions::default() };
    store.get_opts(&key, pinned).await.unwrap().bytes().await.unwrap();
    store.list(None).try_collect::<Vec<_>>().await.unwrap();
    store.get(&Key::from("missing")).await.unwrap_err();
    store.delete(&key).await.unwrap();
    let expect = S3Stats {
        list: 1,
        get: 3,
        get_pinned: 1,
        head: 1,
        put: 1,
        delete: 1,
        failed: 1,
        bytes_read: 13,
        bytes_written: 10,
        ..S3Stats::default()
    };
    assert_eq!(server.stats(), expect);
    assert_eq!(server.stats().requests(), 7);

    let page = format!("{}/_stats", server.endpoint());
    let client = reqwest::Client::new();
    let read: S3Stats =
        serde_json::from_str(&client.get(&page).send().await.unwrap().text().await.unwrap())
            .unwrap();
    assert_eq!(read, expect);
    let reset = client.delete(&page).send().await.unwrap().text().await.unwrap();
    assert_eq!(serde_json::from_str::<S3Stats>(&reset).unwrap(), expect);
    assert_eq!(server.stats(), S3Stats::default());
    store.head(&key).await.unwrap_err();
    assert_eq!(server.reset_stats().head, 1);
}

#[tokio::test]
async fn a_listing_of_many_keys_takes_a_request_per_thousand() {
    let server = server().await;
    for number in 0..2_500 {
        server.put("lake", &format!("p/{number:04}"), "x");
    }
    let store = server.bucket("lake").unwrap();
    let found: Vec<_> = store.list(Some(&Key::from("p"))).try_collect().await.unwrap();
    assert_eq!((found.len(), server.stats().list), (2_500, 3));
}

#[tokio::test]
async fn throttling_is_retried_by_the_client_and_seen_without_retries() {
    let server = server().await;
    server.put("lake", "k.parquet", "v");
    let fault =
        S3Fault { count: Some(2), key: r"^lake/.*\.parquet$".into(), ..S3Fault::slow_down() };
    server.set_faults(vec![fault.clone()]).unwrap();
    assert_eq!(get(&server.bucket("lake").unwrap(), "k.parquet").await.unwrap(), "v");
    assert_eq!((server.stats().get, server.fault_hits()), (3, vec![2]));

    server.set_faults(vec![fault]).unwrap();
    let error = get(&impatient(&server), "k.parquet").await.unwrap_err();
    assert!(format!("{error:?}").contains("SlowDown"), "{error:?}");
}

#[tokio::test]
async fn bodies_are_cut_and_connections_closed() {
    let server = server().await;
    server.put("lake", "k", vec![b'x'; 200_000]);
    let store = impatient(&server);
    server.set_faults(vec![S3Fault { count: Some(1), ..S3Fault::cut_after(100_000) }]).unwrap();
    let mut body = store.get(&Key::from("k")).await.unwrap().into_stream();
    let mut received = 0;
    let broken = loop {
        match body.next().await {
            Some(Ok(chunk)) => received += chunk.len(),
            Some(Err(error)) => break error,
            None => panic!("the body ended after {received} bytes as if it were whole"),
        }
    };
    assert_eq!(received, 100_000, "{broken:?}");
    assert_eq!(server.stats().bytes_read, 100_000);
    assert_eq!(get(&store, "k").await.unwrap().len(), 200_000);

    server.set_faults(vec![S3Fault { close: true, count: Some(1), ..S3Fault::default() }]).unwrap();
    get(&store, "k").await.unwrap_err();
    assert_eq!(get(&store, "k").await.unwrap().len(), 200_000);

    server.set_faults(vec![S3Fault { op: Some(S3Op::List), ..S3Fault::cut_after(150) }]).unwrap();
    store.list(None).try_collect::<Vec<_>>().await.unwrap_err();
}

#[tokio::test]
async fn a_failure_may_come_after_the_effect() {
    let server = server().await;
    let fault = S3Fault { op: Some(S3Op::Put), ..S3Fault::internal_error() };
    let store = impatient(&server);
    server.set_faults(vec![S3Fault { applied: true, ..fault.clone() }]).unwrap();
    store.put(&Key::from("applied"), PutPayload::from_static(b"x")).await.unwrap_err();
    server.set_faults(vec![fault]).unwrap();
    store.put(&Key::from("refused"), PutPayload::from_static(b"x")).await.unwrap_err();
    assert_eq!(server.keys("lake"), ["applied"]);
}

#[tokio::test]
async fn faults_are_set_over_http() {
    let server = server().await;
    server.put("lake", "k", "v");
    let page = format!("{}/_faults", server.endpoint());
    let client = reqwest::Client::new();
    let put = |body: &'static str| client.put(&page).body(body).send();
    let set = put(r#"[{"op": "get", "latency_ms": 50, "count": 1}]"#).await.unwrap();
    assert_eq!(set.status(), 200);
    let start = Instant::now();
    get(&server.bucket("lake").unwrap(), "k").await.unwrap();
    assert!(start.elapsed().as_millis() >= 50);
    let hits = client.get(&page).send().await.unwrap().text().await.unwrap();
    let hits: Vec<(S3Fault, u64)> = serde_json::from_str(&hits).unwrap();
    assert_eq!((hits[0].0.latency_ms, hits[0].1), (50, 1));

    for wrong in [r#"[{"key": "("}]"#, r#"[{"statsu": 503}]"#, "no json"] {
        assert_eq!(put(wrong).await.unwrap().status(), 400, "{wrong}");
    }
    assert_eq!(server.fault_hits(), [1]);
    client.delete(&page).send().await.unwrap();
    assert!(server.fault_hits().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_are_served_at_once() {
    let server = server().await;
    server.put("lake", "k", vec![7; 10_000]);
    // Every request is held back, so that all of them are under way at the same time.
    server.set_faults(vec![S3Fault::latency(300)]).unwrap();
    let store = server.bucket("lake").unwrap();
    let key = Key::from("k");
    let start = Instant::now();
    let sizes: Vec<usize> = stream::iter(0..128)
        .map(|_| async { store.get(&key).await?.bytes().await.map(|bytes| bytes.len()) })
        .buffer_unordered(128)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(sizes, [10_000; 128]);
    let seconds = start.elapsed().as_secs_f64();
    assert!(seconds < 128.0 * 0.3 / 4.0, "128 answers of 0.3 s took {seconds} s");
}

#[tokio::test]
async fn files_of_a_directory_are_served() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("sub")).unwrap();
    std::fs::write(directory.path().join("sub/a.bin"), b"0123456789").unwrap();
    std::fs::write(directory.path().join("empty"), b"").unwrap();
    let server = server().await;
    assert_eq!(server.preload("files", directory.path()).unwrap(), 2);
    assert_eq!(server.keys("files"), ["empty", "sub/a.bin"]);
    let store = server.bucket("files").unwrap();
    assert_eq!(store.get_range(&Key::from("sub/a.bin"), 3..6).await.unwrap(), "345");
    assert!(get(&store, "empty").await.unwrap().is_empty());
    let missing = server.preload("files", Path::new("/nowhere/at/all")).unwrap_err();
    assert!(missing.to_string().contains("/nowhere/at/all"));
}

#[tokio::test]
async fn the_server_ends_when_told_or_dropped() {
    let first = server().await;
    let address = first.address();
    let store = impatient(&first);
    first.put("lake", "k", "v");
    get(&store, "k").await.unwrap();
    first.shutdown().await.unwrap();
    assert!(get(&store, "k").await.is_err());
    let options = S3Options { port: address.port(), ..S3Options::default() };
    let second = S3Server::start(options.clone()).await.unwrap();
    let taken = S3Server::start(options).await.unwrap_err();
    assert!(taken.to_string().contains(&address.port().to_string()), "{taken}");
    drop(second);
}
