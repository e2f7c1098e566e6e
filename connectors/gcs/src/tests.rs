use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use pandion_source::{IoStats, list_flat_prefix};
use pandion_types::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const ACCOUNT: &str = "reader@project.iam.gserviceaccount.com";
const START: &str = "2026-01-01T00:00:00Z";

/// Google in one process: metadata server, token service and storage on one port. `answer` gives
/// status and body for a request of which it sees the first line.
struct Google {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

type Answer = Arc<dyn Fn(&str) -> (u16, String) + Send + Sync>;

impl Google {
    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut text = Vec::new();
                while !text.ends_with(b"\r\n\r\n") {
                    text.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(text).unwrap();
                let length = head.to_lowercase().lines().find_map(|line| {
                    line.strip_prefix("content-length: ").map(|value| value.parse().unwrap())
                });
                let mut body = vec![0; length.unwrap_or(0)];
                stream.read_exact(&mut body).await.unwrap();
                let (status, reply) = answer(head.lines().next().unwrap());
                seen.lock().unwrap().push(head + &String::from_utf8(body).unwrap());
                let length = reply.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\nconnection: close\r\nmetadata-flavor: Google\r\n\
                     content-length: {length}\r\n\r\n{reply}"
                );
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        Self { port, requests }
    }

    fn policy(&self) -> Arc<EndpointPolicy> {
        Arc::new(EndpointPolicy::new([format!("127.0.0.1:{}", self.port)]).unwrap())
    }

    /// A source of tokens whose clock stands at `seconds` after the start.
    fn tokens(&self, account: Option<&str>, seconds: &Arc<AtomicI64>) -> Arc<TokenSource> {
        let settings = IdentitySettings {
            metadata_host: Some(format!("127.0.0.1:{}", self.port)),
            ..IdentitySettings::default()
        };
        let identity = Identity::open(&settings, &self.policy()).unwrap();
        let iam = TokenClient::new(&self.policy(), false, "127.0.0.1", self.port).unwrap();
        let seconds = Arc::clone(seconds);
        let start: DateTime<Utc> = START.parse().unwrap();
        let now = Arc::new(move || start + TimeDelta::seconds(seconds.load(Ordering::SeqCst)));
        Arc::new(TokenSource::new(account.map(str::to_owned), identity, iam).at(now))
    }

    fn root(&self, tokens: Arc<TokenSource>) -> SourceRoot {
        let uri = SourceUri::parse(&format!("gs://127.0.0.1:{}/bucket/t", self.port)).unwrap();
        let address = BucketAddress {
            tls: false,
            host: "127.0.0.1".to_owned(),
            port: self.port,
            bucket: "bucket".to_owned(),
            prefix: "t".into(),
        };
        open(&uri, &address, &SourceSecrets::default(), &self.policy(), tokens).unwrap()
    }

    fn count(&self, part: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|request| request.contains(part)).count()
    }
}

/// What Google says when everything is in order; the generated token lives for an hour after the
/// start.
fn in_order(line: &str) -> (u16, String) {
    if line.contains("/computeMetadata/") {
        let body = r#"{"access_token":"OWNCANARY","expires_in":3000,"token_type":"Bearer"}"#;
        return (200, body.to_owned());
    }
    if line.contains(":generateAccessToken") {
        let body = r#"{"accessToken":"READCANARY","expireTime":"2026-01-01T01:00:00Z"}"#;
        return (200, body.to_owned());
    }
    let page = "<ListBucketResult><Contents><Key>t/a.parquet</Key><Size>4</Size>\
                <ETag>\"e\"</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>\
                </ListBucketResult>";
    (200, page.to_owned())
}

fn clock() -> Arc<AtomicI64> {
    Arc::new(AtomicI64::new(0))
}

async fn list(root: &SourceRoot) -> Result<Vec<String>> {
    let files = list_flat_prefix(root, ".parquet", &IoStats::default()).await?;
    Ok(files.into_iter().map(|file| file.identity.uri).collect())
}

#[tokio::test]
async fn a_service_account_is_acted_as_for_reading_only() {
    let google = Google::start(Arc::new(in_order)).await;
    let root = google.root(google.tokens(Some(ACCOUNT), &clock()));
    let uri = format!("s3://127.0.0.1:{}/bucket/t/a.parquet", google.port);
    assert_eq!(list(&root).await.unwrap(), [uri]);
    let requests = google.requests.lock().unwrap();
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(requests[0].to_lowercase().contains("metadata-flavor: google"), "{requests:?}");
    let path = format!("POST /v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken ");
    assert!(requests[1].starts_with(&path), "{requests:?}");
    assert!(requests[1].contains("Bearer OWNCANARY"), "{requests:?}");
    assert!(requests[1].contains("auth/devstorage.read_only"), "{requests:?}");
    assert!(requests[2].starts_with("GET /bucket?"), "{requests:?}");
    assert!(requests[2].contains("Bearer READCANARY"), "{requests:?}");
}

#[tokio::test]
async fn the_identity_of_the_machine_can_read_by_itself() {
    let google = Google::start(Arc::new(in_order)).await;
    let root = google.root(google.tokens(None, &clock()));
    list(&root).await.unwrap();
    assert_eq!(google.count(":generateAccessToken"), 0);
    assert_eq!(google.count("GET /bucket?"), 1);
    assert_eq!(google.count("Bearer OWNCANARY"), 1);
}

#[tokio::test]
async fn one_token_serves_many_readers_until_it_is_about_to_end() {
    let google = Google::start(Arc::new(in_order)).await;
    let time = clock();
    let tokens = google.tokens(Some(ACCOUNT), &time);
    let readers = (0..64).map(|_| tokens.get_credential());
    for token in futures::future::join_all(readers).await {
        assert_eq!(token.unwrap().bearer, "READCANARY");
    }
    time.store(3600 - 226, Ordering::SeqCst);
    tokens.get_credential().await.unwrap();
    assert_eq!(google.count(":generateAccessToken"), 1);
    time.store(3600 - 225, Ordering::SeqCst);
    tokens.get_credential().await.unwrap();
    assert_eq!(google.count(":generateAccessToken"), 2);
}

#[tokio::test]
async fn a_renewal_that_fails_leaves_the_living_token_in_use() {
    let healthy = Arc::new(Mutex::new(true));
    let seen = Arc::clone(&healthy);
    let google = Google::start(Arc::new(move |line| {
        if *seen.lock().unwrap() { in_order(line) } else { (503, String::new()) }
    }))
    .await;
    let time = clock();
    let tokens = google.tokens(Some(ACCOUNT), &time);
    tokens.get_credential().await.unwrap();
    *healthy.lock().unwrap() = false;
    time.store(3500, Ordering::SeqCst);
    assert_eq!(tokens.get_credential().await.unwrap().bearer, "READCANARY");
    let asked = google.count("/computeMetadata/");
    // Not every reader asks anew while Google is down.
    assert_eq!(tokens.get_credential().await.unwrap().bearer, "READCANARY");
    assert_eq!(google.count("/computeMetadata/"), asked);
    // A token that has ended is not used, and nothing takes its place.
    time.store(3600, Ordering::SeqCst);
    let error = tokens.get_credential().await.unwrap_err();
    assert!(error.to_string().contains("metadata server gives none (HTTP 503)"), "{error}");
}

#[tokio::test]
async fn an_account_that_may_not_be_acted_as_is_named_and_nothing_else_is_tried() {
    let google = Google::start(Arc::new(|line: &str| match line {
        line if line.contains(":generateAccessToken") => {
            let body = r#"{"error":{"code":403,"message":"CANARY","status":"PERMISSION_DENIED"}}"#;
            (403, body.to_owned())
        }
        line => in_order(line),
    }))
    .await;
    let root = google.root(google.tokens(Some(ACCOUNT), &clock()));
    let error = list(&root).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    for part in [ACCOUNT, "HTTP 403, PERMISSION_DENIED", "roles/iam.serviceAccountTokenCreator"] {
        assert!(error.message().contains(part), "{error}");
    }
    assert!(!format!("{error:?} {root:?} {:?}", root.store).contains("CANARY"));
    assert_eq!(google.count("GET /bucket"), 0);
}

#[tokio::test]
async fn answers_that_make_no_sense_are_errors_that_show_no_token() {
    for (own, generated) in [
        (r#"{"access_token":["CANARY"],"expires_in":1}"#, ""),
        ("CANARY", ""),
        (r#"{"access_token":"a\nb","expires_in":3000}"#, ""),
        (r#"{"access_token":"a","expires_in":3000}"#, r#"{"accessToken":"CANARY"}"#),
        (r#"{"access_token":"a","expires_in":3000}"#, r#"{"accessToken":5,"expireTime":"CANARY"}"#),
    ] {
        let google = Google::start(Arc::new(move |line: &str| {
            let body = if line.contains("/computeMetadata/") { own } else { generated };
            (200, body.to_owned())
        }))
        .await;
        let root = google.root(google.tokens(Some(ACCOUNT), &clock()));
        let error = list(&root).await.unwrap_err();
        assert!(!format!("{error:?}").contains("CANARY"), "{error:?}");
        assert_eq!(google.count("GET /bucket"), 0, "{own}");
    }
}

fn spec(extfs: &str) -> (ExternalSpec, SourceSecrets) {
    ExternalSpec::parse(&format!(r#"{{"extfs":{{"cloud_provider":"gcp",{extfs}}}}}"#)).unwrap()
}

#[tokio::test]
async fn tokens_go_to_google_over_tls_only() {
    let policy = Arc::new(EndpointPolicy::new(["evil.example:443", "127.0.0.1:443"]).unwrap());
    let account = format!(r#""gcp_target_service_account":"{ACCOUNT}""#);
    for (uri, more) in [
        ("gs://evil.example/bucket/t", r#","use_ssl":"true""#),
        ("gs://storage.googleapis.com.evil.example/bucket/t", ""),
        ("gs://127.0.0.1/bucket/t", ""),
        ("gs://bucket/t", r#","use_ssl":"false""#),
    ] {
        let (mut spec, secrets) = spec(&format!("{account}{more}"));
        if !uri.contains("//bucket") {
            // A provider without an endpoint of its own lets the host be the endpoint.
            let text = spec.redacted_json().replace("\"gcp\"", "\"minio\"");
            (spec, _) = ExternalSpec::parse(&text).unwrap();
        }
        let uri = SourceUri::parse(uri).unwrap();
        let error = open_gcs_root(&uri, &spec, &secrets, &policy).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{uri}");
        assert!(error.message().contains("over TLS only"), "{error}");
    }
}

#[test]
fn accounts_must_be_addresses_and_modes_must_be_ours() {
    for account in
        ["a/b@c.gserviceaccount.com", "a@b?c.gserviceaccount.com", "@.gserviceaccount.com"]
    {
        let (spec, _) = spec(&format!(r#""gcp_target_service_account":"{account}""#));
        assert_eq!(target_account(&spec).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    let (iam, _) = spec(r#""use_iam":"true""#);
    assert_eq!(target_account(&iam).unwrap(), None);
    let (anonymous, _) = spec(r#""anonymous":"true""#);
    assert_eq!(target_account(&anonymous).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn the_identity_may_come_from_a_file() {
    let open = |text: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let settings = IdentitySettings {
            application_credentials: Some(file.path().display().to_string()),
            ..IdentitySettings::default()
        };
        Identity::open(&settings, &Arc::new(EndpointPolicy::default()))
    };
    let person = r#"{"type":"authorized_user","client_id":"i","client_secret":"CANARY",
        "refresh_token":"CANARY"}"#;
    let identity = open(person).unwrap();
    assert!(!format!("{identity:?}").contains("CANARY"));
    for wrong in ["", "{}", r#"{"type":"CANARY"}"#, r#"{"type":"service_account","private_key":1}"#]
    {
        let error = open(wrong).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.message().contains("GOOGLE_APPLICATION_CREDENTIALS"), "{error}");
        assert!(!format!("{error:?}").contains("CANARY"), "{error:?}");
    }
}
