use std::sync::Mutex;

use object_store::ObjectStoreExt;
use object_store::path::Path;
use pandion_source::{IoStats, list_flat_prefix};
use pandion_types::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// `CANARY` is in the account's name; the key is the base64 of `CANARYKEY`.
const KEYS: &str =
    r#""cloud_provider":"azure","access_key_id":"canaryaccount","access_key_value":"Q0FOQVJZS0VZ""#;
const ANONYMOUS: &str = r#""cloud_provider":"azure","anonymous":"true""#;

async fn open_at(uri: &str, extfs: &str, allowed: &[&str]) -> Result<SourceRoot> {
    let (spec, secrets) = ExternalSpec::parse(&format!(r#"{{"extfs":{{{extfs}}}}}"#))?;
    let policy = Arc::new(EndpointPolicy::new(allowed)?);
    open_azure_root(&SourceUri::parse(uri)?, &spec, &secrets, &policy).await
}

fn place(uri: &str, extfs: &str) -> Result<String> {
    let (spec, secrets) = ExternalSpec::parse(&format!(r#"{{"extfs":{{{extfs}}}}}"#))?;
    let uri = SourceUri::parse(uri)?;
    spec.validate_complete(&uri)?;
    let account = Credential::new(&spec, &secrets)?.account;
    let place = Place::new(&uri.bucket_address(&spec)?, account.as_deref())?;
    let endpoint = place.address.endpoint_url();
    Ok(format!("{endpoint} {} {}", place.base_uri(), place.address.prefix))
}

/// A server that answers in turn with these bodies and keeps the heads of the requests.
async fn serve(replies: Vec<String>) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        for reply in replies {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            seen.lock().unwrap().push(String::from_utf8(head).unwrap());
            stream.write_all(reply.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    (port, requests)
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
}

fn page(marker: &str, name: &str) -> String {
    reply(
        "200 OK",
        "",
        &format!(
            "<?xml version=\"1.0\"?><EnumerationResults ContainerName=\"box\"><Blobs><Blob>\
             <Name>{name}</Name><Properties><Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT\
             </Last-Modified><Content-Length>4</Content-Length><Content-Type>x</Content-Type>\
             <Etag>0x8D93C7D4629C227</Etag></Properties></Blob></Blobs><NextMarker>{marker}\
             </NextMarker></EnumerationResults>"
        ),
    )
}

fn content() -> String {
    let headers = "etag: \"0x8D93C7D4629C227\"\r\ncontent-range: bytes 0-3/4\r\n\
                   last-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
    reply("206 Partial Content", headers, "data")
}

#[test]
fn every_form_leads_to_the_account() {
    let account = "https://canaryaccount.blob.core.windows.net \
                   azure://canaryaccount.blob.core.windows.net/box/ a/b";
    for uri in [
        "azure://box/a/b",
        "azure://core.windows.net/box/a/b",
        "azure://blob.core.windows.net/box/a/b",
        "azure://canaryaccount.blob.core.windows.net/box/a/b/",
    ] {
        assert_eq!(place(uri, KEYS).unwrap(), account, "{uri}");
    }
    for (uri, extfs, expected) in [
        (
            "azure://box/k",
            format!(r#"{KEYS},"region":"chinaeast2""#),
            "https://canaryaccount.blob.core.chinacloudapi.cn \
             azure://canaryaccount.blob.core.chinacloudapi.cn/box/ k",
        ),
        (
            "azure://box/k",
            format!(r#"{KEYS},"region":"USGovVirginia""#),
            "https://canaryaccount.blob.core.usgovcloudapi.net \
             azure://canaryaccount.blob.core.usgovcloudapi.net/box/ k",
        ),
        (
            "azure://open.blob.core.windows.net/box/k",
            ANONYMOUS.to_owned(),
            "https://open.blob.core.windows.net azure://open.blob.core.windows.net/box/ k",
        ),
        (
            "azure://127.0.0.1:10000/box/k",
            format!(r#"{KEYS},"use_ssl":"false""#),
            "http://127.0.0.1:10000 azure://127.0.0.1:10000/canaryaccount/box/ k",
        ),
        (
            "azure://blobs.example.com/box/k",
            ANONYMOUS.to_owned(),
            "https://blobs.example.com azure://blobs.example.com/box/ k",
        ),
    ] {
        assert_eq!(place(uri, &extfs).unwrap(), expected);
    }
}

#[test]
fn what_names_no_account_or_key_is_refused() {
    let with = |id: &str, key: &str| {
        format!(r#""cloud_provider":"azure","access_key_id":"{id}","access_key_value":"{key}""#)
    };
    for (uri, extfs, expected) in [
        ("azure://box/k", ANONYMOUS.to_owned(), "must name its account: azure://ACCOUNT.blob.core"),
        (
            "azure://other.blob.core.windows.net/box/k",
            KEYS.to_owned(),
            "extfs.access_key_id is not the account that external_source names",
        ),
        ("azure://box/k", with("evil.example/#", "aaaa"), "must be the name of an Azure storage"),
        ("azure://box/k", with("ok", "CANARY!"), "must be the key of an Azure storage account"),
    ] {
        let error = place(uri, &extfs).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{uri}");
        assert!(error.message().contains(expected), "{error}");
        let shown = format!("{error:?}");
        assert!(!shown.contains("CANARY") && !shown.contains("evil"), "{shown}");
    }
}

#[tokio::test]
async fn requests_are_signed_with_the_key_of_the_account() {
    let pages = vec![page("next", "t/a.parquet"), page("", "t/b.parquet"), content()];
    let (port, requests) = serve(pages).await;
    let extfs = format!(r#"{KEYS},"use_ssl":"false""#);
    let endpoint = format!("localhost:{port}");
    let root = open_at(&format!("azure://{endpoint}/box/t"), &extfs, &[&endpoint]).await.unwrap();
    let stats = IoStats::default();
    let files = list_flat_prefix(&root, ".parquet", &stats).await.unwrap();
    let base = format!("azure://{endpoint}/canaryaccount/box/t/");
    let uris: Vec<_> = files.iter().map(|file| file.identity.uri.clone()).collect();
    assert_eq!(uris, [format!("{base}a.parquet"), format!("{base}b.parquet")]);
    assert_eq!(stats.counts().list_requests, 2);
    assert_eq!(files[0].read_all(&stats).await.unwrap(), "data".as_bytes());

    let requests = requests.lock().unwrap();
    let lower: Vec<_> = requests.iter().map(|request| request.to_lowercase()).collect();
    assert!(lower[0].starts_with("get /canaryaccount/box?"), "{requests:?}");
    assert!(lower[1].contains("marker=next"), "{requests:?}");
    assert!(lower[2].starts_with("get /canaryaccount/box/t/a.parquet "), "{requests:?}");
    // The list shows the tag bare, but a condition has to quote it.
    assert!(lower[2].contains("if-match: \"0x8d93c7d4629c227\"\r\n"), "{requests:?}");
    for request in requests.iter() {
        assert!(request.contains("SharedKey canaryaccount:"), "{requests:?}");
        assert!(!request.contains("Q0FOQVJZS0VZ"), "{requests:?}");
    }
    let shown = format!("{root:?} {:?}", root.store);
    assert!(!shown.contains("Q0FOQVJZS0VZ") && !shown.contains("CANARY"), "{shown}");
}

#[tokio::test]
async fn anonymous_requests_are_not_signed_and_ask_nobody_for_an_identity() {
    let (port, requests) = serve(vec![page("", "t/a.parquet")]).await;
    let extfs = format!(r#"{ANONYMOUS},"use_ssl":"false""#);
    let endpoint = format!("127.0.0.1:{port}");
    let root = open_at(&format!("azure://{endpoint}/box/t"), &extfs, &[&endpoint]).await.unwrap();
    let files = list_flat_prefix(&root, ".parquet", &IoStats::default()).await.unwrap();
    assert_eq!(files.len(), 1);
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].starts_with("GET /box?"), "{requests:?}");
    assert!(!requests[0].to_lowercase().contains("authorization"), "{requests:?}");
}

#[tokio::test]
async fn a_refusal_of_the_store_names_its_code_and_no_key() {
    let body = "<Error><Code>AuthenticationFailed</Code><Message>CANARYKEY</Message></Error>";
    let (port, _) = serve(vec![reply("403 Forbidden", "", body)]).await;
    let endpoint = format!("127.0.0.1:{port}");
    let extfs = format!(r#"{KEYS},"use_ssl":"false""#);
    let root = open_at(&format!("azure://{endpoint}/box/t"), &extfs, &[&endpoint]).await.unwrap();
    let error = list_flat_prefix(&root, ".parquet", &IoStats::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("AuthenticationFailed"), "{error}");
    assert!(!format!("{error:?}").contains("CANARYKEY"), "{error:?}");
}

#[tokio::test]
async fn a_page_that_breaks_off_is_an_error() {
    let (port, _) = serve(vec![reply("200 OK", "", "<EnumerationResults><Blobs>")]).await;
    let endpoint = format!("127.0.0.1:{port}");
    let extfs = format!(r#"{ANONYMOUS},"use_ssl":"false""#);
    let root = open_at(&format!("azure://{endpoint}/box/t"), &extfs, &[&endpoint]).await.unwrap();
    let error = list_flat_prefix(&root, ".parquet", &IoStats::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[tokio::test]
async fn the_policy_decides_and_nothing_is_written() {
    let extfs = format!(r#"{KEYS},"use_ssl":"false""#);
    let error = open_at("azure://127.0.0.1:9/box/t", &extfs, &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let root = open_at("azure://127.0.0.1:9/box/t", &extfs, &["127.0.0.1:9"]).await.unwrap();
    let put = root.store.put(&Path::from("t/a"), "x".into()).await;
    assert!(matches!(put, Err(object_store::Error::PermissionDenied { .. })));
}

#[tokio::test]
async fn the_broker_is_refused_by_name() {
    let extfs = r#""cloud_provider":"azure","azure_client_id":"c","azure_tenant_id":"t",
        "azure_credential_endpoint":"https://h/","access_key_id":"a","region":"eastus""#;
    let error = open_at("azure://box/k", extfs, &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("Azure credential broker"), "{error}");
}
