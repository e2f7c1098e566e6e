//! Conversations with servers that behave, that fail, and that lie.

mod proofs;
mod server;
mod tls;

use pandion_source::ExternalSpec;
use pandion_source::LocalRoots;

use self::server::{Server, Talk, begun, error, message, rows, step, welcome};
use super::super::SqlCatalog;
use super::*;

const LOCATION: &str = "s3://lake/t/metadata/v1.metadata.json";
const COLUMNS: [&str; 3] = ["catalog_name", "metadata_location", "iceberg_type"];

/// The answer that a catalog gives.
fn found() -> Vec<u8> {
    rows(&COLUMNS, &[&[Some("lake"), Some(LOCATION), Some("TABLE")]])
}

fn good() -> Talk {
    Talk::of(&[&welcome(), &begun(), &found()])
}

fn try_catalog(
    host_port: &str,
    more: &str,
    allowed: &[&str],
    options: SqlCatalogOptions,
) -> Result<SqlCatalog> {
    let text = format!(
        r#"{{"format":"iceberg-table","catalog":{{"type":"sql","catalog_name":"lake","table":"a.b.t","uri":"postgresql://reader@{host_port}/catalogs"{more}}}}}"#
    );
    let (spec, secrets) = ExternalSpec::parse(&text)?;
    let policy = Arc::new(EndpointPolicy::new(allowed)?);
    let settings = spec.catalog().unwrap().sql().unwrap();
    SqlCatalog::new(settings, &secrets, &policy, &LocalRoots::default(), options)
}

fn options() -> SqlCatalogOptions {
    SqlCatalogOptions { pause: Duration::from_millis(1), ..SqlCatalogOptions::default() }
}

/// A catalog at an allowed server without TLS.
fn plain(server: &Server, more: &str) -> SqlCatalog {
    let more = format!(r#","sslmode":"disable"{more}"#);
    try_catalog(&server.host_port, &more, &[&server.host_port], options()).unwrap()
}

async fn ask(catalog: &SqlCatalog) -> (Result<String>, u64) {
    let stats = IoStats::default();
    let found = catalog.metadata_location(&stats).await;
    if let Err(error) = &found {
        let shown = format!("{error} {error:?} {catalog:?}");
        assert!(!shown.contains("CANARY"), "{shown}");
        assert_eq!(error.subject(), Subject::Source, "{shown}");
    }
    (found, stats.counts().read_requests)
}

async fn refused(catalog: &SqlCatalog) -> Error {
    let (found, attempts) = ask(catalog).await;
    let error = found.unwrap_err();
    let expected = if error.kind() == ErrorKind::Unavailable { 5 } else { 1 };
    assert_eq!(attempts, expected, "{error}");
    error
}

#[tokio::test]
async fn one_question_is_asked_in_a_transaction_that_cannot_write() {
    let server = Server::start(vec![good()]).await;
    let stats = IoStats::default();
    let location = plain(&server, "").metadata_location(&stats).await.unwrap();
    assert_eq!(location, LOCATION);
    let counts = stats.counts();
    assert_eq!(counts.read_requests, 1);
    let said = welcome().len() + begun().len() + found().len();
    assert_eq!(counts.bytes_read, said as u64);
    let heard = String::from_utf8_lossy(&server.heard()[0]).into_owned();
    for part in [
        "user\0reader\0database\0catalogs\0",
        "BEGIN TRANSACTION READ ONLY",
        "catalog_name = $1 AND table_namespace = $2 AND table_name = $3",
        "\0\0\0\x04lake\0\0\0\x03a.b\0\0\0\x01t",
    ] {
        assert!(heard.contains(part), "{part:?} in {heard:?}");
    }
}

#[tokio::test]
async fn rows_mean_what_they_mean_elsewhere() {
    for (answer, kind, expected) in [
        (
            rows(&COLUMNS, &[]),
            ErrorKind::NotFound,
            "table a.b.t not found in the catalog postgresql",
        ),
        (
            rows(&COLUMNS, &[&[None, Some("x"), Some("VIEW")]]),
            ErrorKind::Unsupported,
            "is no table but a view",
        ),
        (rows(&COLUMNS, &[&[None, None, None]]), ErrorKind::Corrupt, "names no metadata file"),
        (rows(&["x"], &[&[None]]), ErrorKind::Corrupt, "names no metadata file"),
        (rows(&["x"], &[&[None], &[None]]), ErrorKind::Corrupt, "twice"),
    ] {
        let server = Server::start(vec![Talk::of(&[&welcome(), &begun(), &answer])]).await;
        let error = refused(&plain(&server, "")).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn lost_connections_are_made_again_and_not_for_ever() {
    let lost = || {
        vec![
            Talk::of(&[]),
            Talk::of(&[&welcome()]),
            Talk::of(&[&welcome(), &begun(), &found()[..20]]),
            Talk::of(&[&error("53300", "sorry, too many clients already")]),
        ]
    };
    let server = Server::start(lost().into_iter().chain([good()]).collect()).await;
    let (found, attempts) = ask(&plain(&server, "")).await;
    assert_eq!((found.unwrap().as_str(), attempts), (LOCATION, 5));

    let server = Server::start(lost().into_iter().chain([Talk::of(&[])]).collect()).await;
    let error = refused(&plain(&server, "")).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("broke off the connection"), "{error}");

    // Nothing listens there: the port was given back.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host_port = listener.local_addr().unwrap().to_string();
    drop(listener);
    let disable = r#","sslmode":"disable""#;
    let gone = try_catalog(&host_port, disable, &[&host_port], options()).unwrap();
    let error = refused(&gone).await;
    assert!(error.to_string().contains("cannot be connected to"), "{error}");
    assert!(error.to_string().contains(&host_port), "{error}");
}

#[tokio::test]
async fn a_silent_server_is_unavailable() {
    let silent = || Talk { closes: false, ..Talk::of(&[&welcome()]) };
    let server = Server::start(vec![silent(), silent(), silent(), silent(), silent()]).await;
    let options = SqlCatalogOptions { timeout: Duration::from_millis(50), ..options() };
    let disable = r#","sslmode":"disable""#;
    let host_port = server.host_port.as_str();
    let catalog = try_catalog(host_port, disable, &[host_port], options).unwrap();
    let error = refused(&catalog).await;
    assert!(error.to_string().contains("did not answer in time"), "{error}");
}

#[tokio::test]
async fn errors_of_the_server_say_what_to_do() {
    for (code, kind, expected) in [
        (
            "28P01",
            ErrorKind::PermissionDenied,
            "check the user in catalog.uri and catalog.password",
        ),
        ("28000", ErrorKind::PermissionDenied, "refuses user \"reader\""),
        ("42501", ErrorKind::PermissionDenied, "may not read iceberg_tables"),
        ("3D000", ErrorKind::NotFound, "the server has no database \"catalogs\""),
        ("42P01", ErrorKind::NotFound, "has no table iceberg_tables"),
        ("42703", ErrorKind::Corrupt, "is not that of a catalog"),
        ("0A000", ErrorKind::Unsupported, "does not serve"),
        ("XX000", ErrorKind::Corrupt, "makes no sense here"),
        ("", ErrorKind::Corrupt, "makes no sense here"),
    ] {
        let report = error(code, "on\npurpose with CANARYPASSWORD");
        for talk in [Talk::of(&[&report]), Talk::of(&[&welcome(), &begun(), &report])] {
            let server = Server::start(vec![talk]).await;
            let error = refused(&plain(&server, r#","password":"CANARYPASSWORD""#)).await;
            assert_eq!(error.kind(), kind, "{code}: {error}");
            let text = error.to_string();
            assert!(text.contains(expected) && text.contains("on purpose with ***"), "{error}");
        }
    }
}

#[tokio::test]
async fn what_is_no_sense_is_no_answer() {
    let after = |answer: Vec<u8>| Talk::of(&[&welcome(), &begun(), &answer]);
    let cut = |whole: Vec<u8>, tag: u8| {
        let at = whole.iter().position(|byte| *byte == tag).unwrap();
        let length = u32::from_be_bytes(whole[at + 1..at + 5].try_into().unwrap()) as usize;
        // The message ends earlier than what it says of its parts.
        let body = &whole[at + 5..at + 1 + length - 3];
        [message(tag, body), message(b'Z', b"T")].concat()
    };
    let too_many = rows(&["x"], &[&[None], &[None], &[None]]);
    let uneven = rows(&["x"], &[&[None, None]]);
    let endless: Vec<u8> = message(b'N', &vec![0; 1 << 20]).repeat(5);
    for (talk, expected) in [
        (Talk::of(&[b"HTTP/1.1 400 Bad Request\r\n\r\n"]), "none of PostgreSQL's"),
        (Talk::of(&[b"R\0\0\0\x03"]), "a message of 3 bytes"),
        (Talk::of(&[b"R\x7f\xff\xff\xff"]), "a message of 2147483647 bytes"),
        (Talk::of(&[&message(b'R', b"")]), "cut short"),
        (Talk::of(&[&message(b'E', b"Mx")]), "cut short"),
        (Talk::of(&[&message(b'G', b"")]), "'G' that PostgreSQL does not send there"),
        (Talk::of(&[&endless]), "sent more than 4194304 bytes"),
        (after(cut(found(), b'T')), "cut short"),
        (after(cut(rows(&["metadata_location"], &[&[Some("xxxxxx")]]), b'D')), "does not fit"),
        (after(too_many), "more rows than were asked for"),
        (after(uneven), "does not fit its columns"),
        (after(message(b'T', b"\0\x01\xff\0")), "not UTF-8"),
    ] {
        let server = Server::start(vec![talk]).await;
        let error = refused(&plain(&server, "")).await;
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{expected}: {error}");
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
}

#[tokio::test]
async fn only_allowed_servers_are_spoken_to() {
    let server = Server::start(vec![good()]).await;
    for (host_port, more) in [
        (server.host_port.as_str(), ""),
        (server.host_port.as_str(), r#","sslmode":"disable""#),
        // Public, so that it is allowed, but not named by the operator.
        ("192.88.99.1:5432", r#","sslmode":"disable""#),
    ] {
        let catalog = try_catalog(host_port, more, &["127.0.0.1:1"], options()).unwrap();
        let checked = catalog.check().await.unwrap_err();
        let error = refused(&catalog).await;
        for error in [checked, error] {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            let option = format!("--allow-endpoint {host_port}");
            assert!(error.to_string().contains(&option), "{error}");
        }
    }
    assert!(server.heard().is_empty());
    let public = try_catalog("192.88.99.1:5432", "", &[], options()).unwrap();
    public.check().await.unwrap();
}
