use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use pandion_types::{ErrorKind, Result};
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::{IoStats, SourceRoot, list_flat_prefix};

/// A server that answers with these replies in turn and keeps the first lines of the requests.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

async fn serve(replies: Vec<String>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        for reply in replies {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap();
            seen.lock().unwrap().push(request.lines().next().unwrap_or_default().to_owned());
            stream.write_all(reply.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    Server { port, requests }
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    )
}

fn page(keys: &[&str], more: &str) -> String {
    let contents: String = keys
        .iter()
        .map(|key| {
            format!(
                "<Contents><Key>{key}</Key><Size>4</Size><ETag>&quot;t&quot;</ETag>\
                 <LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            )
        })
        .collect();
    reply("200 OK", "", &format!("<ListBucketResult>{contents}{more}</ListBucketResult>"))
}

fn root(host: &str, port: u16, allowed: &str) -> SourceRoot {
    let policy = Arc::new(EndpointPolicy::new(Some(allowed).filter(|a| !a.is_empty())).unwrap());
    let connector = GuardedConnector::new(&policy, false, host, port, None).unwrap();
    let retry = object_store::RetryConfig { max_retries: 2, ..Default::default() };
    let store = AmazonS3Builder::new()
        .with_endpoint(format!("http://{host}:{port}"))
        .with_bucket_name("bucket")
        .with_access_key_id("AKCANARY")
        .with_secret_access_key("SKCANARY")
        .with_allow_http(true)
        .with_retry(retry)
        .with_http_connector(connector)
        .build()
        .unwrap();
    let base_uri = format!("s3://{host}:{port}/bucket/");
    SourceRoot { store: Arc::new(store), base_uri, prefix: Path::from("t") }
}

async fn list(root: &SourceRoot) -> (Result<usize>, u64) {
    let stats = IoStats::default();
    let listed = list_flat_prefix(root, ".parquet", &stats).await;
    (listed.map(|files| files.len()), stats.counts().list_requests)
}

#[tokio::test]
async fn all_pages_are_read_and_counted() {
    let more = "<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>";
    let server = serve(vec![
        page(&["t/a.parquet"], more),
        page(&["t/b.parquet", "t/c.parquet"], "<IsTruncated>false</IsTruncated>"),
    ])
    .await;
    let allowed = format!("localhost:{}", server.port);
    let (files, pages) = list(&root("localhost", server.port, &allowed)).await;
    assert_eq!((files.unwrap(), pages), (3, 2));
    let requests = server.requests.lock().unwrap();
    assert!(requests[0].starts_with("GET /bucket?"), "{requests:?}");
    assert!(requests[1].contains("continuation-token=x"), "{requests:?}");
}

#[tokio::test]
async fn a_listing_that_is_cut_short_is_an_error() {
    let whole = page(&["t/a.parquet"], "");
    for broken in [
        page(&["t/a.parquet"], "<IsTruncated>true</IsTruncated>"),
        page(
            &["t/a.parquet"],
            "<IsTruncated>true</IsTruncated><NextContinuationToken></NextContinuationToken>",
        ),
        reply("200 OK", "", "<ListBucketResult><Contents></Contents>"),
    ] {
        let server = serve(vec![broken]).await;
        let allowed = format!("127.0.0.1:{}", server.port);
        let (files, _) = list(&root("localhost", server.port, &allowed)).await;
        assert_eq!(files.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    // A second page that fails takes the first with it.
    let more = "<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>";
    let server = serve(vec![page(&["t/a.parquet"], more), reply("403 Forbidden", "", "")]).await;
    let allowed = format!("127.0.0.1:{}", server.port);
    let (files, pages) = list(&root("127.0.0.1", server.port, &allowed)).await;
    assert_eq!((files.unwrap_err().kind(), pages), (ErrorKind::PermissionDenied, 2));
    let server = serve(vec![whole]).await;
    let allowed = format!("127.0.0.1:{}", server.port);
    let (files, _) = list(&root("127.0.0.1", server.port, &allowed)).await;
    assert_eq!(files.unwrap(), 1);
}

#[tokio::test]
async fn a_missing_bucket_is_said_to_be_missing() {
    let body = "<Error><Code>NoSuchBucket</Code></Error>";
    let server = serve(vec![reply("404 Not Found", "", body)]).await;
    let allowed = format!("127.0.0.1:{}", server.port);
    let (files, _) = list(&root("127.0.0.1", server.port, &allowed)).await;
    let error = files.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("bucket"), "{error}");
    assert!(error.message().contains("NoSuchBucket"), "{error}");
}

#[tokio::test]
async fn a_temporary_failure_is_retried() {
    let busy = reply("503 Slow Down", "", "<Error><Code>SlowDown</Code></Error>");
    let server = serve(vec![busy.clone(), page(&["t/a.parquet"], "")]).await;
    let allowed = format!("127.0.0.1:{}", server.port);
    let (files, pages) = list(&root("127.0.0.1", server.port, &allowed)).await;
    assert_eq!((files.unwrap(), pages), (1, 2));

    let server = serve(vec![busy; 3]).await;
    let allowed = format!("127.0.0.1:{}", server.port);
    let (files, pages) = list(&root("127.0.0.1", server.port, &allowed)).await;
    let error = files.unwrap_err();
    assert_eq!((error.kind(), pages), (ErrorKind::Unavailable, 3));
    assert!(error.message().contains("SlowDown"), "{error}");
}

#[tokio::test]
async fn an_endpoint_that_is_not_allowed_is_never_connected_to() {
    for host in ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]"] {
        let server = serve(vec![page(&["t/a.parquet"], "")]).await;
        // The name of the endpoint with another port allows nothing.
        let root = root(host, server.port, &format!("{host}:1"));
        let started = std::time::Instant::now();
        let error = list(&root).await.0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{host}: {error}");
        let option = format!("--allow-endpoint {host}:{}", server.port);
        assert!(error.message().contains(&option), "{error}");
        assert!(server.requests.lock().unwrap().is_empty());
        assert!(started.elapsed() < Duration::from_secs(5), "a refusal is not retried");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let target = serve(vec![page(&["t/a.parquet"], "")]).await;
    let location = format!("location: http://127.0.0.1:{}/bucket\r\n", target.port);
    let server = serve(vec![reply("307 Temporary Redirect", &location, "")]).await;
    let allowed = format!("127.0.0.1:{}", server.port);
    let error = list(&root("127.0.0.1", server.port, &allowed)).await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("redirect"), "{error}");
    assert!(target.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn errors_and_debug_texts_show_no_key() {
    let body = "<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKCANARY\
                </AWSAccessKeyId></Error>";
    let server = serve(vec![reply("403 Forbidden", "", body)]).await;
    let allowed = format!("127.0.0.1:{}", server.port);
    let root = root("127.0.0.1", server.port, &allowed);
    let error = list(&root).await.0.unwrap_err();
    let wrapped = crate::ReadOnlyStore::new(Arc::clone(&root.store));
    let shown = format!("{error} {error:?} {root:?} {wrapped:?}");
    assert!(!shown.contains("CANARY"), "{shown}");
}

fn service(host: &str, port: u16) -> GuardedService {
    let policy = Arc::new(EndpointPolicy::default());
    let connector = GuardedConnector::new(&policy, false, host, port, None).unwrap();
    GuardedService { client: connector.client().unwrap(), connector }
}

fn request(url: &str) -> HttpRequest {
    http::Request::get(url).body(object_store::client::HttpRequestBody::empty()).unwrap()
}

#[tokio::test]
async fn requests_that_leave_the_endpoint_are_refused() {
    let by_name = service("store.example", 9000);
    for url in ["http://store.example:9000/b", "http://bucket.STORE.example:9000/k"] {
        by_name.check(&request(url)).unwrap();
    }
    for url in [
        "http://store.example/b",
        "http://store.example:9001/b",
        "http://evilstore.example:9000/b",
        "http://example:9000/b",
        "http://169.254.169.254:9000/latest/meta-data",
        "http://8.8.8.8:9000/b",
    ] {
        assert!(by_name.check(&request(url)).is_err(), "{url}");
    }
    let by_address = service("8.8.8.8", 80);
    by_address.check(&request("http://8.8.8.8/b")).unwrap();
    for url in ["http://8.8.4.4/b", "http://169.254.169.254/", "http://2852039166/"] {
        assert!(by_address.check(&request(url)).is_err(), "{url}");
    }
    let private = service("2130706433", 80);
    let denied = private.check(&request("http://2130706433/b")).unwrap_err();
    assert!(find_refusal(&denied).is_some());
}

#[test]
fn certificates_must_be_pem_text() {
    let policy = Arc::new(EndpointPolicy::default());
    for text in ["/etc/ssl/ca.pem", "CANARY", ""] {
        let pem = Secret::new(text);
        let error = GuardedConnector::new(&policy, true, "h", 443, Some(&pem)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(!format!("{error:?}").contains("CANARY"));
    }
}
