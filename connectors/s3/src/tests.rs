mod identities;

use std::sync::Mutex;

use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use pandion_source::{ExternalSpec, IoStats, SourceUri, list_flat_prefix};
use pandion_types::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const KEYS: &str = r#""access_key_id":"AKCANARY","access_key_value":"SKCANARY""#;

struct Source {
    uri: SourceUri,
    spec: ExternalSpec,
    secrets: SourceSecrets,
}

fn source(uri: &str, extfs: &str) -> Source {
    let (spec, secrets) = ExternalSpec::parse(&format!(r#"{{"extfs":{{{extfs}}}}}"#)).unwrap();
    Source { uri: SourceUri::parse(uri).unwrap(), spec, secrets }
}

impl Source {
    fn open(&self, allowed: &[&str]) -> Result<Arc<dyn ObjectStore>> {
        let policy = Arc::new(EndpointPolicy::new(allowed).unwrap());
        open_s3(&self.uri, &self.spec, &self.secrets, &policy)
    }

    async fn root(&self, allowed: &[&str]) -> Result<SourceRoot> {
        let policy = Arc::new(EndpointPolicy::new(allowed).unwrap());
        open_s3_root(&self.uri, &self.spec, &self.secrets, &policy).await
    }

    fn endpoint(&self) -> String {
        let address = self.uri.bucket_address(&self.spec).unwrap();
        let provider = self.spec.cloud_provider(&self.uri);
        let virtual_host = uses_virtual_host(&self.spec, provider, &address);
        endpoint(&address, virtual_host).unwrap()
    }
}

/// A server that answers every request with this reply and keeps the heads of the requests.
async fn serve(reply: String) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            seen.lock().unwrap().push(String::from_utf8(head).unwrap().to_lowercase());
            stream.write_all(reply.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    (port, requests)
}

fn listing() -> String {
    let body = "<ListBucketResult><Contents><Key>t/a.parquet</Key><Size>4</Size>\
                <ETag>&quot;e&quot;</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                </Contents></ListBucketResult>";
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

async fn list(root: &SourceRoot) -> Result<Vec<String>> {
    let files = list_flat_prefix(root, ".parquet", &IoStats::default()).await?;
    Ok(files.into_iter().map(|file| file.identity.uri).collect())
}

#[tokio::test]
async fn requests_are_signed_with_the_given_keys() {
    let (port, requests) = serve(listing()).await;
    let region = r#""region":"eu-x","cloud_provider":"minio","use_ssl":"false""#;
    let source = source(&format!("s3://localhost:{port}/bucket/t/"), &format!("{region},{KEYS}"));
    let root = source.root(&[&format!("localhost:{port}")]).await.unwrap();
    assert_eq!(list(&root).await.unwrap(), [format!("s3://localhost:{port}/bucket/t/a.parquet")]);
    let requests = requests.lock().unwrap();
    assert!(requests[0].starts_with("get /bucket?"), "{requests:?}");
    assert!(requests[0].contains("credential=akcanary/"), "{requests:?}");
    assert!(requests[0].contains("/eu-x/s3/aws4_request"), "{requests:?}");
}

#[tokio::test]
async fn anonymous_requests_are_not_signed_and_ask_nobody_for_an_identity() {
    let (port, requests) = serve(listing()).await;
    let source = source(&format!("minio://127.0.0.1:{port}/bucket/t"), r#""anonymous":"true""#);
    let root = source.root(&[&format!("127.0.0.1:{port}")]).await.unwrap();
    assert_eq!(list(&root).await.unwrap().len(), 1);
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 1);
    assert!(!requests[0].contains("authorization"), "{requests:?}");
}

#[tokio::test]
async fn the_bucket_may_stand_in_the_host_name() {
    let (port, requests) = serve(listing()).await;
    let extfs = format!(r#""use_virtual_host":"true",{KEYS}"#);
    let source = source(&format!("minio://localhost:{port}/bucket/t"), &extfs);
    assert_eq!(source.endpoint(), format!("http://bucket.localhost:{port}"));
    let root = source.root(&[&format!("localhost:{port}")]).await.unwrap();
    match list(&root).await {
        Ok(files) => {
            assert_eq!(files, [format!("s3://localhost:{port}/bucket/t/a.parquet")]);
            let requests = requests.lock().unwrap();
            assert!(requests[0].starts_with("get /?"), "{requests:?}");
            let host = format!("host: bucket.localhost:{port}");
            assert!(requests[0].contains(&host), "{requests:?}");
        }
        // Not every resolver knows names below `localhost`; it was asked for the right one.
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(format!("{error:?}").contains("bucket.localhost"), "{error:?}");
        }
    }
}

#[test]
fn the_style_of_requests_follows_the_provider() {
    let aws = format!(r#""cloud_provider":"aws","region":"eu-west-1",{KEYS}"#);
    for (uri, extfs, expected) in [
        ("s3://bucket/k", aws.clone(), "https://bucket.s3.eu-west-1.amazonaws.com"),
        ("s3://b.dots/k", aws.clone(), "https://s3.eu-west-1.amazonaws.com"),
        (
            "s3://bucket/k",
            format!(r#"{aws},"use_virtual_host":"false""#),
            "https://s3.eu-west-1.amazonaws.com",
        ),
        (
            "oss://bucket/k",
            format!(r#""cloud_provider":"aliyun","region":"r",{KEYS}"#),
            "https://bucket.oss-r.aliyuncs.com",
        ),
        (
            "gs://bucket/k",
            format!(r#""cloud_provider":"gcp",{KEYS}"#),
            "https://storage.googleapis.com",
        ),
        ("minio://h:9000/bucket/k", KEYS.to_owned(), "http://h:9000"),
    ] {
        let source = source(uri, &extfs);
        assert_eq!(source.endpoint(), expected, "{uri}");
        source.open(&[]).unwrap();
    }
    let by_address =
        source("minio://10.0.0.1:1/b/k", &format!(r#""use_virtual_host":"true",{KEYS}"#));
    assert_eq!(by_address.open(&[]).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn an_endpoint_that_is_not_allowed_is_refused_at_opening_and_at_use() {
    let (port, requests) = serve(listing()).await;
    let source = source(&format!("minio://localhost:{port}/bucket/t"), KEYS);
    let error = source.root(&[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let option = format!("--allow-endpoint localhost:{port}");
    assert!(error.message().contains(&option), "{error}");

    let base_uri = "s3://localhost/bucket/".to_owned();
    let store = source.open(&[]).unwrap();
    let root = SourceRoot { store, base_uri, prefix: Path::from("t") };
    let error = list(&root).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains(&option), "{error}");
    assert!(requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_source_is_never_written_to() {
    let (port, requests) = serve(listing()).await;
    let source = source(&format!("minio://127.0.0.1:{port}/bucket/t"), KEYS);
    let root = source.root(&[&format!("127.0.0.1:{port}")]).await.unwrap();
    let at = Path::from("t/a.parquet");
    let put = root.store.put(&at, PutPayload::from_static(b"x")).await;
    assert!(matches!(put, Err(object_store::Error::PermissionDenied { .. })));
    assert!(root.store.delete(&at).await.is_err());
    assert!(requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn no_key_is_shown() {
    let body = "<Error><Code>InvalidAccessKeyId</Code><AWSAccessKeyId>AKCANARY</AWSAccessKeyId>\
                <Message>SKCANARY</Message></Error>";
    let length = body.len();
    let head = format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {length}\r\nconnection: close");
    let (port, _) = serve(format!("{head}\r\n\r\n{body}")).await;
    let source = source(&format!("minio://127.0.0.1:{port}/bucket/t"), KEYS);
    let root = source.root(&[&format!("127.0.0.1:{port}")]).await.unwrap();
    let error = list(&root).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("InvalidAccessKeyId"), "{error}");
    let shown = format!("{error:?} {root:?} {:?} {:#?}", root.store, source.secrets);
    assert!(!shown.contains("CANARY"), "{shown}");
}

#[test]
fn what_cannot_stand_in_a_request_is_refused() {
    let open = |uri: &str, extfs: &str| source(uri, extfs).open(&[]).unwrap_err();
    let spaced = r#""access_key_id":"CANARY\n","access_key_value":"b""#;
    let error = open("minio://h/b/k", spaced);
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(!format!("{error:?}").contains("CANARY"));
    let region = format!(r#""region":"a\nb",{KEYS}"#);
    assert_eq!(open("minio://h/b/k", &region).kind(), ErrorKind::InvalidArgument);
    let path = format!(r#""ssl_ca_cert":"/etc/passwd",{KEYS}"#);
    assert_eq!(open("minio://h/b/k", &path).kind(), ErrorKind::InvalidArgument);
    for host in ["999.1.1.1", "[zz]", "[::1"] {
        let uri = format!("minio://{host}/b/k");
        let refused = SourceUri::parse(&uri).is_err()
            || open(&uri, KEYS).kind() == ErrorKind::InvalidArgument;
        assert!(refused, "{host}");
    }
    let virtual_host = format!(r#""use_virtual_host":"true",{KEYS}"#);
    assert_eq!(open("minio://h/xn--/k", &virtual_host).kind(), ErrorKind::InvalidArgument);
    let iam = r#""cloud_provider":"aliyun","region":"r","use_iam":"true""#;
    assert_eq!(open("oss://b/k", iam).kind(), ErrorKind::Unsupported);
}

#[test]
fn a_specification_without_its_secrets_is_corrupt() {
    let mut source = source("minio://h/b/k", KEYS);
    source.secrets = SourceSecrets::default();
    assert_eq!(source.open(&[]).unwrap_err().kind(), ErrorKind::Corrupt);
}
