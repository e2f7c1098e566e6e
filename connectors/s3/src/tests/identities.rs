//! Roles and machine identities, against a server that issues and checks them.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use object_store::path::Path;
use pandion_source::{AwsCredentials, Clock, PinnedObject};
use pandion_testkit::s3::{S3Fault, S3Identities, S3Op, S3Options, S3Role, S3Server, S3User};
use serde_json::json;

use super::*;

const ROLE: &str = "arn:aws:iam::123456789012:role/reader";
const EXTERNAL_ID: &str = "CANARYEXTERNAL";
const TOKEN: &str = "CANARYTOKEN";
const GUIDE: &str = include_str!("../../../../docs/guide/credentials.md");

/// A clock that runs ahead of this computer's by as much as a test wants.
#[derive(Debug, Default)]
struct Ahead(Mutex<Duration>);

impl Ahead {
    fn advance(&self, seconds: u64) {
        *self.0.lock().unwrap() += Duration::from_secs(seconds);
    }
}

impl Clock for Ahead {
    fn now(&self) -> SystemTime {
        SystemTime::now() + *self.0.lock().unwrap()
    }
}

/// A policy of the guide's page, with the names of these tests.
fn guide_policy(holding: &str) -> serde_json::Value {
    let policy = GUIDE
        .split("```json\n")
        .filter_map(|rest| rest.split("```").next())
        .find(|block| block.contains("Statement") && block.contains(holding))
        .unwrap()
        .replace("my-bucket", "lake")
        .replace("an-id-of-your-choice", EXTERNAL_ID);
    serde_json::from_str(&policy).unwrap()
}

fn allow(action: &str) -> serde_json::Value {
    json!({"Statement": {"Effect": "Allow", "Action": action, "Resource": "*"}})
}

/// A role for which the guide's own policies hold, and the user that may assume it.
fn identities() -> S3Identities {
    let mut trust = guide_policy("sts:AssumeRole");
    let federated = json!({"Effect": "Allow", "Principal": {"Federated": "oidc"},
        "Action": "sts:AssumeRoleWithWebIdentity"});
    trust["Statement"].as_array_mut().unwrap().push(federated);
    S3Identities {
        users: vec![S3User {
            name: "pandion".to_owned(),
            access_key: "AKCANARYBASE".to_owned(),
            secret_key: "SKCANARYBASE".to_owned(),
            policy: allow("sts:AssumeRole"),
        }],
        roles: vec![S3Role {
            arn: ROLE.to_owned(),
            trust,
            policy: guide_policy("s3:GetObject"),
            web_identity_tokens: vec![TOKEN.to_owned()],
        }],
        session_seconds: None,
        instance_role: Some(ROLE.to_owned()),
        container_role: Some(ROLE.to_owned()),
        container_token: TOKEN.to_owned(),
    }
}

async fn start() -> S3Server {
    let options = S3Options { identities: identities(), ..S3Options::default() };
    let server = S3Server::start(options).await.unwrap();
    for number in 0..20 {
        server.put("lake", &format!("t/{number:02}.parquet"), vec![number; 100]);
    }
    server
}

/// The server's own keys, and where its AWS is.
fn environment(server: &S3Server) -> Vec<(&'static str, String)> {
    let mut pairs = places(server);
    pairs.push(("AWS_ACCESS_KEY_ID", "AKCANARYBASE".to_owned()));
    pairs.push(("AWS_SECRET_ACCESS_KEY", "SKCANARYBASE".to_owned()));
    pairs
}

/// Where AWS is, and nobody's keys.
fn places(server: &S3Server) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", server.endpoint()),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.endpoint()),
    ]
}

fn identity(pairs: Vec<(&'static str, String)>) -> (ServerIdentity, Arc<Ahead>) {
    let clock = Arc::new(Ahead::default());
    let same: Arc<dyn Clock> = Arc::<Ahead>::clone(&clock);
    (ServerIdentity::new(Environment::from_pairs(pairs), same), clock)
}

fn with_role(external_id: &str) -> String {
    format!(r#""role_arn":"{ROLE}","external_id":"{external_id}","use_iam":"true""#)
}

async fn open_as(
    server: &S3Server,
    provider: &str,
    extfs: &str,
    identity: &ServerIdentity,
) -> Result<SourceRoot> {
    let host_port = server.host_port();
    let extfs =
        format!(r#""cloud_provider":"{provider}","region":"us-east-1","use_ssl":"false",{extfs}"#);
    let source = source(&format!("s3://{host_port}/lake/t/"), &extfs);
    let policy = Arc::new(EndpointPolicy::new([host_port]).unwrap());
    access(&source, &policy, identity).root().await
}

fn access<'a>(
    source: &'a Source,
    policy: &'a Arc<EndpointPolicy>,
    identity: &'a ServerIdentity,
) -> S3Access<'a> {
    let Source { uri, spec, secrets } = source;
    S3Access { uri, spec, secrets, policy, identity }
}

async fn open(server: &S3Server, extfs: &str, identity: &ServerIdentity) -> SourceRoot {
    open_as(server, "aws", extfs, identity).await.unwrap()
}

async fn files(root: &SourceRoot) -> Result<Vec<PinnedObject>> {
    list_flat_prefix(root, ".parquet", &IoStats::default()).await
}

/// Reads every file whole and says how many bytes there were.
async fn read(files: &[PinnedObject]) -> Result<usize> {
    let stats = IoStats::default();
    let reads = files.iter().map(|file| file.read_all(&stats));
    let bodies = futures::future::try_join_all(reads).await?;
    Ok(bodies.iter().map(Bytes::len).sum())
}

fn assert_bare(shown: &str) {
    assert!(!shown.contains("CANARY"), "{shown}");
}

#[tokio::test]
async fn a_role_reads_with_the_least_rights_and_asks_for_no_others() {
    let server = start().await;
    let (identity, _) = identity(environment(&server));
    let root = open(&server, &with_role(EXTERNAL_ID), &identity).await;
    let files = files(&root).await.unwrap();
    assert_eq!((files.len(), read(&files).await.unwrap()), (20, 2_000));
    root.store.head(&Path::from("t/00.parquet")).await.unwrap();
    let stats = server.stats();
    assert_eq!((stats.list, stats.get, stats.head, stats.sts), (1, 20, 1, 1));
    assert_eq!((stats.put, stats.delete, stats.other, stats.failed), (0, 0, 0, 0));
    assert_eq!(stats.metadata, 0);

    // Writing stops before a request is made.
    let at = Path::from("t/00.parquet");
    root.store.put(&at, PutPayload::from_static(b"x")).await.unwrap_err();
    root.store.delete(&at).await.unwrap_err();
    let stats = server.stats();
    assert_eq!((stats.put, stats.delete), (0, 0));

    // The identity that assumes the role may not read by itself.
    let direct = open(&server, r#""use_iam":"true""#, &identity).await;
    let error = self::files(&direct).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("AccessDenied"), "{error}");
    assert!(error.message().contains("s3:ListBucket"), "{error}");
    assert!(error.message().contains("extfs.use_iam=true"), "{error}");

    // Nor may the role read what its policy does not name.
    let mut role = identities().roles.remove(0);
    role.policy = allow("s3:ListBucket");
    server.set_role(&role).unwrap();
    server.expire_sessions();
    let error = read(&files[..1]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    for part in ["AccessDenied", "s3:GetObject", ROLE, &server.host_port()] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
}

#[tokio::test]
async fn who_is_not_trusted_gets_no_session_and_nothing_in_its_place() {
    let server = start().await;
    let (right, _) = identity(environment(&server));
    let mut wrong = environment(&server);
    wrong[3].1 = "SKCANARYWRONG".to_owned();
    let (wrong, _) = identity(wrong);
    let mut unknown = environment(&server);
    unknown[2].1 = "AKCANARYUNKNOWN".to_owned();
    let (unknown, _) = identity(unknown);
    let other_role = with_role(EXTERNAL_ID).replace("role/reader", "role/other");
    let no_id = format!(r#""role_arn":"{ROLE}""#);
    for (extfs, identity, code) in [
        (with_role("CANARYOTHER"), &right, "AccessDenied"),
        (no_id, &right, "AccessDenied"),
        (other_role, &right, "AccessDenied"),
        (with_role(EXTERNAL_ID), &wrong, "SignatureDoesNotMatch"),
        (with_role(EXTERNAL_ID), &unknown, "InvalidClientTokenId"),
    ] {
        server.reset_stats();
        let root = open(&server, &extfs, identity).await;
        let error = files(&root).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        for part in [code, "extfs.role_arn arn:aws:iam::123456789012:role/", &server.endpoint()] {
            assert!(error.message().contains(part), "{part}: {error}");
        }
        assert_bare(&format!("{error:?} {root:?} {:?} {identity:?}", root.store));
        let stats = server.stats();
        assert_eq!((stats.requests(), stats.sts, stats.metadata), (0, 1, 0), "{error}");
    }
}

#[tokio::test]
async fn a_session_that_ends_in_the_middle_is_renewed_once() {
    let server = start().await;
    let (identity, clock) = identity(environment(&server));
    let root = open(&server, &with_role(EXTERNAL_ID), &identity).await;
    let files = files(&root).await.unwrap();
    let (first, second) = files.split_at(7);
    let before = read(first).await.unwrap();
    server.expire_sessions();
    assert_eq!(before + read(second).await.unwrap(), 2_000);
    assert_eq!(server.stats().sts, 2);

    // The refusal of a HEAD has no body that could tell why.
    clock.advance(10);
    server.expire_sessions();
    root.store.head(&Path::from("t/00.parquet")).await.unwrap();
    assert_eq!(server.stats().sts, 3);

    // Nor does a listing lose its later pages.
    for number in 0..1_500 {
        server.put("lake", &format!("t/more{number:04}.parquet"), "x");
    }
    clock.advance(10);
    server
        .set_faults(vec![S3Fault {
            op: Some(S3Op::List),
            skip: 1,
            count: Some(1),
            status: Some(400),
            code: Some("ExpiredToken".to_owned()),
            ..S3Fault::default()
        }])
        .unwrap();
    assert_eq!(self::files(&root).await.unwrap().len(), 1_520);
    assert_eq!((server.stats().sts, server.fault_hits()), (4, vec![1]));
}

#[tokio::test]
async fn a_store_that_refuses_every_session_gets_each_request_twice_at_most() {
    let server = start().await;
    let (identity, _) = identity(environment(&server));
    let root = open(&server, &with_role(EXTERNAL_ID), &identity).await;
    let expired = S3Fault {
        op: Some(S3Op::Get),
        status: Some(400),
        code: Some("ExpiredToken".to_owned()),
        ..S3Fault::default()
    };
    let files = files(&root).await.unwrap();
    server.set_faults(vec![expired]).unwrap();
    let error = read(&files[..1]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("ExpiredToken"), "{error}");
    assert_eq!((server.stats().get, server.stats().sts), (2, 2));
    let error = read(&files).await.unwrap_err();
    assert!(error.message().contains("clock"), "{error}");
    assert_eq!(server.stats().sts, 2, "the token service is not asked on and on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_readers_cause_one_session() {
    let server = start().await;
    let (identity, _) = identity(environment(&server));
    let root = open(&server, &with_role(EXTERNAL_ID), &identity).await;
    let at = Path::from("t/00.parquet");
    let readers = || futures::future::try_join_all((0..64).map(|_| root.store.head(&at)));
    assert_eq!(readers().await.unwrap().len(), 64);
    assert_eq!(server.stats().sts, 1);
    server.expire_sessions();
    readers().await.unwrap();
    assert_eq!(server.stats().sts, 2);
}

#[tokio::test]
async fn a_session_is_renewed_before_its_end_while_reading_goes_on() {
    let server = start().await;
    let (identity, clock) = identity(environment(&server));
    let root = open(&server, &with_role(EXTERNAL_ID), &identity).await;
    files(&root).await.unwrap();
    clock.advance(599);
    files(&root).await.unwrap();
    assert_eq!(server.stats().sts, 1);
    clock.advance(1);
    let mut reads = 0;
    while server.stats().sts == 1 {
        assert_eq!(files(&root).await.unwrap().len(), 20);
        reads += 1;
        assert!(reads < 10_000, "no renewal was begun");
    }
    assert_eq!((server.stats().sts, server.stats().failed), (2, 0));
}

#[tokio::test]
async fn sessions_are_shared_by_those_who_name_the_same() {
    let server = start().await;
    let (identity, _) = identity(environment(&server));
    for _ in 0..3 {
        let root = open(&server, &with_role(EXTERNAL_ID), &identity).await;
        files(&root).await.unwrap();
    }
    assert_eq!(server.stats().sts, 1);
    // Who does not know the external id does not get the session of someone who does.
    let root = open(&server, &with_role("CANARYOTHER"), &identity).await;
    assert_eq!(files(&root).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(server.stats().sts, 2);
}

fn sts_is_down() -> S3Fault {
    S3Fault { op: Some(S3Op::Sts), close: true, ..S3Fault::default() }
}

#[tokio::test]
async fn a_first_use_without_the_token_service_is_an_error_that_may_pass() {
    let server = start().await;
    let (identity, _) = identity(environment(&server));
    server.set_faults(vec![sts_is_down()]).unwrap();
    let root = open(&server, &with_role(EXTERNAL_ID), &identity).await;
    let error = files(&root).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains(ROLE), "{error}");
    assert!(error.message().contains(&server.endpoint()), "{error}");
    assert_bare(&format!("{error:?}"));
    assert_eq!((server.stats().requests(), server.stats().metadata), (0, 0));
    server.set_faults(Vec::new()).unwrap();
    assert_eq!(files(&root).await.unwrap().len(), 20);
}

#[tokio::test]
async fn a_session_serves_to_its_end_without_the_token_service() {
    let server = start().await;
    let (identity, clock) = identity(environment(&server));
    let root = open(&server, &with_role(EXTERNAL_ID), &identity).await;
    assert_eq!(files(&root).await.unwrap().len(), 20);
    server.set_faults(vec![sts_is_down()]).unwrap();
    clock.advance(700);
    for _ in 0..5 {
        assert_eq!(files(&root).await.unwrap().len(), 20);
    }
    clock.advance(190);
    assert_eq!(files(&root).await.unwrap().len(), 20);
    clock.advance(100);
    let error = files(&root).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains(ROLE), "{error}");
}

#[tokio::test]
async fn clocks_that_differ_are_said_to_differ() {
    let server = start().await;
    let (identity, _) = identity(environment(&server));
    let root = open(&server, &with_role(EXTERNAL_ID), &identity).await;
    let skewed = S3Fault {
        op: Some(S3Op::List),
        status: Some(403),
        code: Some("RequestTimeTooSkewed".to_owned()),
        ..S3Fault::default()
    };
    server.set_faults(vec![skewed]).unwrap();
    let error = files(&root).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    for part in ["RequestTimeTooSkewed", "clock", &server.host_port()] {
        assert!(error.message().contains(part), "{error}");
    }
    assert_eq!((server.stats().list, server.stats().sts), (1, 1));
    // A session whose end has passed when it comes.
    let (late, clock) = self::identity(environment(&server));
    clock.advance(4_000);
    let root = open(&server, &with_role(EXTERNAL_ID), &late).await;
    let error = files(&root).await.unwrap_err();
    assert!(error.message().contains("clock"), "{error}");
}

const IAM: &str = r#""use_iam":"true""#;

async fn reads_with(server: &S3Server, identity: &ServerIdentity) -> Result<usize> {
    let root = open(server, IAM, identity).await;
    let files = files(&root).await?;
    read(&files).await
}

#[tokio::test]
async fn keys_of_the_environment_are_used() {
    let server = start().await;
    let owner = server.options();
    let mut pairs = places(&server);
    pairs.push(("AWS_ACCESS_KEY_ID", owner.access_key.clone()));
    pairs.push(("AWS_SECRET_ACCESS_KEY", owner.secret_key.clone()));
    let (identity, _) = identity(pairs);
    assert_eq!(reads_with(&server, &identity).await.unwrap(), 2_000);
    assert_eq!((server.stats().sts, server.stats().metadata), (0, 0));
}

#[tokio::test]
async fn a_web_identity_is_used_and_its_file_read_anew() {
    let server = start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{TOKEN}\n")).unwrap();
    let mut pairs = places(&server);
    let path = file.path().to_str().unwrap().to_owned();
    pairs.push(("AWS_WEB_IDENTITY_TOKEN_FILE", path));
    pairs.push(("AWS_ROLE_ARN", ROLE.to_owned()));
    let (identity, clock) = identity(pairs);
    assert_eq!(reads_with(&server, &identity).await.unwrap(), 2_000);
    assert_eq!((server.stats().sts, server.stats().metadata), (1, 0));

    // The token is rotated, and the old one forgotten.
    let mut role = identities().roles.remove(0);
    role.web_identity_tokens = vec!["CANARYSECOND".to_owned()];
    server.set_role(&role).unwrap();
    server.expire_sessions();
    let error = reads_with(&server, &identity).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("InvalidIdentityToken"), "{error}");
    assert_bare(&format!("{error:?}"));
    std::fs::write(file.path(), "CANARYSECOND").unwrap();
    clock.advance(10);
    assert_eq!(reads_with(&server, &identity).await.unwrap(), 2_000);
    assert_eq!(server.stats().metadata, 0);

    drop(file);
    clock.advance(4_000);
    let error = reads_with(&server, &identity).await.unwrap_err();
    assert!(error.message().contains("AWS_WEB_IDENTITY_TOKEN_FILE"), "{error}");
}

#[tokio::test]
async fn container_credentials_are_used_with_their_token() {
    let server = start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), TOKEN).unwrap();
    let url = format!("{}/v1/credentials", server.endpoint());
    let with = |name: &'static str, value: &str| {
        let mut pairs = places(&server);
        pairs.push(("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.clone()));
        pairs.push((name, value.to_owned()));
        identity(pairs).0
    };
    let path = file.path().to_str().unwrap();
    for identity in [
        with("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path),
        with("AWS_CONTAINER_AUTHORIZATION_TOKEN", TOKEN),
    ] {
        server.reset_stats();
        assert_eq!(reads_with(&server, &identity).await.unwrap(), 2_000);
        assert_eq!((server.stats().sts, server.stats().metadata), (0, 1));
        server.expire_sessions();
        assert_eq!(reads_with(&server, &identity).await.unwrap(), 2_000);
        assert_eq!(server.stats().metadata, 2);
    }
    server.reset_stats();
    let wrong = with("AWS_CONTAINER_AUTHORIZATION_TOKEN", "CANARYWRONG");
    let error = reads_with(&server, &wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("HTTP 401"), "{error}");
    assert_bare(&format!("{error:?} {wrong:?}"));
    assert_eq!((server.stats().requests(), server.stats().metadata), (0, 1));

    let mut pairs = places(&server);
    pairs.push(("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://8.8.8.8/keys".to_owned()));
    let error = open_as(&server, "aws", IAM, &identity(pairs).0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn instance_metadata_is_used_with_a_token() {
    let server = start().await;
    let (identity, _) = identity(places(&server));
    assert_eq!(reads_with(&server, &identity).await.unwrap(), 2_000);
    // A token, the role's name, its keys.
    assert_eq!((server.stats().sts, server.stats().metadata), (0, 3));
    server.expire_sessions();
    assert_eq!(reads_with(&server, &identity).await.unwrap(), 2_000);
    assert_eq!(server.stats().metadata, 5);

    let mut pairs = places(&server);
    pairs.push(("AWS_EC2_METADATA_DISABLED", "true".to_owned()));
    let error = open_as(&server, "aws", IAM, &self::identity(pairs).0).await.unwrap_err();
    assert!(error.message().contains("AWS_EC2_METADATA_DISABLED"), "{error}");
    assert_eq!(server.stats().metadata, 5);

    let mut pairs = places(&server);
    pairs[1].1 = "http://127.0.0.1:1".to_owned();
    let error = reads_with(&server, &self::identity(pairs).0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("http://127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn an_identity_that_fails_is_not_replaced_by_another() {
    let server = start().await;
    let mut keys = environment(&server);
    keys[3].1 = "SKCANARYWRONG".to_owned();
    let mut half = environment(&server);
    half.pop();
    let mut web = places(&server);
    web.push(("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere".to_owned()));
    web.push(("AWS_ROLE_ARN", ROLE.to_owned()));
    let mut half_web = places(&server);
    half_web.push(("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere".to_owned()));
    for (pairs, part) in [
        (keys, "SignatureDoesNotMatch"),
        (half, "AWS_SECRET_ACCESS_KEY"),
        (web, "/nowhere"),
        (half_web, "AWS_ROLE_ARN"),
    ] {
        let (identity, _) = identity(pairs);
        let error = match open_as(&server, "aws", IAM, &identity).await {
            Ok(root) => files(&root).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(error.message().contains(part), "{error}");
        assert_eq!(server.stats().metadata, 0);
    }
}

#[tokio::test]
async fn nobody_asks_for_metadata_on_behalf_of_other_stores() {
    let aws = start().await;
    let store = S3Server::start(S3Options::default()).await.unwrap();
    store.put("lake", "t/a.parquet", "x");
    let (machine, _) = identity(places(&aws));
    let wrong = r#""access_key_id":"AK","access_key_value":"SK""#;
    for (provider, extfs, kind) in [
        ("minio", IAM.to_owned(), ErrorKind::InvalidArgument),
        ("aws", IAM.to_owned(), ErrorKind::PermissionDenied),
        ("aws", with_role(EXTERNAL_ID), ErrorKind::PermissionDenied),
        ("minio", with_role(EXTERNAL_ID), ErrorKind::Unsupported),
        ("minio", wrong.to_owned(), ErrorKind::PermissionDenied),
        ("minio", r#""anonymous":"true""#.to_owned(), ErrorKind::PermissionDenied),
    ] {
        let error = match open_as(&store, provider, &extfs, &machine).await {
            Ok(root) => files(&root).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.kind(), kind, "{provider} {extfs}: {error}");
        let stats = aws.stats();
        assert_eq!((stats.metadata, stats.sts, stats.requests()), (0, 0, 0), "{provider} {extfs}");
    }
    // The server's own keys are not shown there either.
    let (keys, _) = identity(environment(&aws));
    store.reset_stats();
    open_as(&store, "aws", IAM, &keys).await.unwrap_err();
    assert_eq!(store.stats().requests(), 0);
}

#[tokio::test]
async fn an_endpoint_of_ones_own_gives_keys_and_is_shown_none() {
    let server = start().await;
    // What the server itself has would not do.
    let (machine, _) = identity(environment(&server));
    let with = |endpoint: &str| format!(r#"{IAM},"iam_endpoint":"{endpoint}""#);
    for provider in ["minio", "aws"] {
        server.reset_stats();
        let root = open_as(&server, provider, &with(&server.endpoint()), &machine).await.unwrap();
        assert_eq!(read(&files(&root).await.unwrap()).await.unwrap(), 2_000);
        assert_eq!((server.stats().metadata, server.stats().sts), (3, 0));
    }
    server.reset_stats();
    for (endpoint, part) in [
        ("http://169.254.169.254", "--allow-endpoint 169.254.169.254:80"),
        ("http://127.0.0.1:1", "--allow-endpoint 127.0.0.1:1"),
        ("http://localhost:1", "--allow-endpoint localhost:1"),
    ] {
        let root = open_as(&server, "minio", &with(endpoint), &machine).await.unwrap();
        let error = files(&root).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.message().contains(part), "{error}");
    }
    let error = open_as(&server, "minio", &with("h:80/x"), &machine).await.unwrap_err();
    assert!(error.message().contains("extfs.iam_endpoint"), "{error}");
    // A role is never assumed at a place of the user's choice: it would see the identity.
    let (plain, _) = identity(vec![
        ("AWS_ENDPOINT_URL_S3", server.endpoint()),
        ("AWS_ACCESS_KEY_ID", "AKCANARYBASE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "SKCANARYBASE".to_owned()),
    ]);
    let extfs = format!(r#"{},"iam_endpoint":"{}""#, with_role(EXTERNAL_ID), server.endpoint());
    let error = open_as(&server, "aws", &extfs, &plain).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("extfs.iam_endpoint"), "{error}");
    assert_eq!((server.stats().requests(), server.stats().sts), (0, 0));
}

fn redirect_to(port: u16) -> String {
    format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:{port}/\r\n\
         content-length: 0\r\nconnection: close\r\n\r\n"
    )
}

#[tokio::test]
async fn a_redirected_request_takes_its_keys_nowhere() {
    let (target, reached) = serve(listing()).await;
    // The token service redirects.
    let server = start().await;
    let (sts, asked) = serve(redirect_to(target)).await;
    let mut pairs = environment(&server);
    pairs.push(("AWS_ENDPOINT_URL_STS", format!("http://127.0.0.1:{sts}")));
    let (role, _) = identity(pairs);
    let root = open(&server, &with_role(EXTERNAL_ID), &role).await;
    let error = files(&root).await.unwrap_err();
    assert!(error.message().contains("redirect"), "{error}");
    assert!(asked.lock().unwrap()[0].contains("authorization"));
    // Instance metadata does.
    let (metadata, asked) = serve(redirect_to(target)).await;
    let mut pairs = places(&server);
    pairs[1].1 = format!("http://127.0.0.1:{metadata}");
    let error = reads_with(&server, &identity(pairs).0).await.unwrap_err();
    assert!(error.message().contains("metadata"), "{error}");
    assert_eq!(asked.lock().unwrap().len(), 1);
    // The store does.
    let (store, asked) = serve(redirect_to(target)).await;
    let mut pairs = environment(&server);
    pairs.push(("AWS_ENDPOINT_URL_S3", format!("http://127.0.0.1:{store}")));
    let (role, _) = identity(pairs);
    let uri = format!("s3://127.0.0.1:{store}/lake/t/");
    let extfs = format!(
        r#""cloud_provider":"aws","region":"us-east-1","use_ssl":"false",{}"#,
        with_role(EXTERNAL_ID)
    );
    let source = source(&uri, &extfs);
    let allowed = [format!("127.0.0.1:{store}"), format!("127.0.0.1:{target}")];
    let policy = Arc::new(EndpointPolicy::new(allowed).unwrap());
    let root = access(&source, &policy, &role).root().await;
    let error = files(&root.unwrap()).await.unwrap_err();
    assert!(error.message().contains("redirect"), "{error}");
    assert!(asked.lock().unwrap()[0].contains("x-amz-security-token"));
    assert!(reached.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_session_may_be_restricted_to_a_prefix() {
    let server = start().await;
    server.put("lake", "u/secret.parquet", "x");
    let (identity, _) = identity(environment(&server));
    let base = identity.keys().unwrap().credentials().await.unwrap();
    let policy = Arc::new(EndpointPolicy::new([server.host_port()]).unwrap());
    let port = server.address().port();
    let connector = GuardedConnector::new(&policy, false, "127.0.0.1", port, None).unwrap();
    let sts = aws_sdk_sts::Client::from_conf(
        aws_sdk_sts::config::Config::builder()
            .behavior_version(aws_sdk_sts::config::BehaviorVersion::latest())
            .region(aws_sdk_sts::config::Region::new("us-east-1"))
            .endpoint_url(server.endpoint())
            .http_client(aws_http::AwsHttp(connector.http_client().unwrap()))
            .credentials_provider(aws_credential_types::Credentials::new(
                base.key_id.expose(),
                base.secret.expose(),
                None,
                None,
                "test",
            ))
            .sleep_impl(aws_smithy_async::rt::sleep::TokioSleep::new())
            .build(),
    );
    let policy = json!({"Statement": [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::lake/t/*"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::lake",
            "Condition": {"StringLike": {"s3:prefix": "t/*"}}},
    ]});
    let session = sts
        .assume_role()
        .role_arn(ROLE)
        .role_session_name("table")
        .external_id(EXTERNAL_ID)
        .policy(policy.to_string())
        .send()
        .await
        .unwrap()
        .credentials
        .unwrap();
    let store = server
        .client("lake")
        .unwrap()
        .with_access_key_id(session.access_key_id())
        .with_secret_access_key(session.secret_access_key())
        .with_token(session.session_token())
        .build()
        .unwrap();
    store.get(&Path::from("t/00.parquet")).await.unwrap();
    let denied = store.get(&Path::from("u/secret.parquet")).await.unwrap_err();
    assert!(format!("{denied:?}").contains("AccessDenied"), "{denied:?}");
}

/// A log that a test can read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_finest_log_holds_no_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), TOKEN).unwrap();
    let mut web = places(&server);
    web.push(("AWS_WEB_IDENTITY_TOKEN_FILE", file.path().to_str().unwrap().to_owned()));
    web.push(("AWS_ROLE_ARN", ROLE.to_owned()));
    let mut issued = Vec::new();
    for pairs in [environment(&server), web, places(&server)] {
        let (identity, _) = identity(pairs);
        if identity.keys().unwrap().credentials().await.unwrap().token.is_some() {
            reads_with(&server, &identity).await.unwrap();
        }
        let root = open(&server, &with_role(EXTERNAL_ID), &identity).await;
        drop(files(&root).await);
        issued.push(identity.keys().unwrap().credentials().await.unwrap());
    }
    tracing::error!("the log works");
    let text = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(text.contains("the log works"));
    // The test server is in the same process, and its library logs what it is sent.
    let ours: Vec<_> = text.lines().filter(|line| !line.contains("s3s")).collect();
    for line in &ours {
        assert_bare(line);
        for AwsCredentials { secret, token, .. } in issued.iter().map(AsRef::as_ref) {
            assert!(!line.contains(secret.expose()), "{line}");
            assert!(token.as_ref().is_none_or(|token| !line.contains(token.expose())), "{line}");
        }
    }
}

#[tokio::test]
async fn keys_that_others_hand_out_are_renewed_too() {
    let server = start().await;
    let (machine, _) = identity(environment(&server));
    let host_port = server.host_port();
    let extfs =
        format!(r#""cloud_provider":"aws","region":"us-east-1",{}"#, with_role(EXTERNAL_ID));
    let source = source(&format!("s3://{host_port}/lake/t/"), &extfs);
    let policy = Arc::new(EndpointPolicy::new([&host_port]).unwrap());
    let keys = access(&source, &policy, &machine).credentials("127.0.0.1", server.address().port());
    let keys = keys.unwrap().unwrap();
    let elsewhere = access(&source, &policy, &machine).credentials("catalog.example", 443);
    assert_eq!(elsewhere.unwrap_err().kind(), ErrorKind::PermissionDenied);

    // The mode of the source itself would not do.
    let wrong = r#""use_ssl":"false","access_key_id":"AK","access_key_value":"SK""#;
    let other = self::source(&format!("minio://{host_port}/lake/t/"), wrong);
    let root = access(&other, &policy, &machine).root_with(keys).await.unwrap();
    assert_eq!(read(&files(&root).await.unwrap()).await.unwrap(), 2_000);
    server.expire_sessions();
    assert_eq!(read(&files(&root).await.unwrap()).await.unwrap(), 2_000);
    assert_eq!(server.stats().sts, 2);
}

#[test]
fn the_machine_is_shown_to_endpoints_of_aws() {
    let (machine, _) = identity(Vec::new());
    for host in ["s3.eu-west-1.amazonaws.com", "s3.amazonaws.com"] {
        machine.check_shown_to("use_iam=true", host, 443).unwrap();
    }
    let error = machine.check_shown_to("use_iam=true", "minio.example", 9000).unwrap_err();
    assert!(error.message().contains("extfs.use_iam=true"), "{error}");
    assert!(error.message().contains("minio.example:9000"), "{error}");
}
