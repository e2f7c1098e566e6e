//! Catalogs that fail, lie, or lead elsewhere.

use std::time::Duration;

use pandion_testkit::rest_catalog::{
    CatalogAuth, CatalogFailure, CatalogFault, RestCatalogOptions,
};
use pandion_types::ErrorKind;

use super::*;

fn fault(path: &str, times: u32, failure: CatalogFailure) -> Vec<CatalogFault> {
    vec![CatalogFault { path: path.to_owned(), times, failure }]
}

fn status(status: u16) -> CatalogFailure {
    CatalogFailure::Status(status, "on\npurpose".to_owned())
}

#[tokio::test]
async fn what_may_pass_is_repeated_and_not_for_ever() {
    let fixture = Fixture::start(RestCatalogOptions::default()).await;
    let catalog = fixture.client("");
    fixture.load(&catalog).await.unwrap();
    for failure in [status(503), status(429), status(500), CatalogFailure::Cut] {
        fixture.asked();
        fixture.server.set_faults(fault("/t", 3, failure));
        fixture.load(&catalog).await.unwrap();
        assert_eq!(fixture.asked().table, 4);
    }
    fixture.server.set_faults(fault("/t", u32::MAX, status(503)));
    let before = fixture.stats.counts().read_requests;
    let error = fixture.refused(&catalog).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("HTTP 503, FaultException: on purpose"), "{error}");
    assert_eq!(fixture.asked().table, 5);
    assert_eq!(fixture.stats.counts().read_requests - before, 5);
}

#[tokio::test]
async fn a_server_that_is_gone_or_silent_is_unavailable() {
    let fixture = Fixture::start(RestCatalogOptions::default()).await;
    let options = CatalogOptions { timeout: Duration::from_millis(20), ..fixture.options() };
    let allowed = [fixture.server.host_port()];
    let catalog = fixture.try_client(r#""a.t""#, "", &allowed, options).unwrap();
    fixture.server.set_faults(fault("", u32::MAX, CatalogFailure::Hang));
    let error = fixture.refused(&catalog).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("did not answer in time"), "{error}");
    assert_eq!(fixture.stats.counts().read_requests, 5);

    // Nothing listens there: the port was given back.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = listener.local_addr().unwrap().to_string();
    drop(listener);
    let text = format!(
        r#"{{"format":"iceberg-table","catalog":{{"type":"rest","uri":"http://{gone}","table":"a.t"}}}}"#
    );
    let (spec, secrets) = ExternalSpec::parse(&text).unwrap();
    let policy = Arc::new(EndpointPolicy::new([&gone]).unwrap());
    let settings = spec.catalog().unwrap();
    let catalog = RestCatalog::new(settings, &secrets, &policy, fixture.options()).unwrap();
    let error = fixture.refused(&catalog).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains(&gone), "{error}");
}

#[tokio::test]
async fn what_will_not_pass_is_not_repeated() {
    let fixture = Fixture::start(RestCatalogOptions::default()).await;
    let catalog = fixture.client("");
    fixture.load(&catalog).await.unwrap();
    fixture.asked();
    for (number, kind) in [
        (400, ErrorKind::InvalidArgument),
        (401, ErrorKind::PermissionDenied),
        (403, ErrorKind::PermissionDenied),
        (406, ErrorKind::Unsupported),
        (418, ErrorKind::Corrupt),
        (501, ErrorKind::Unsupported),
    ] {
        fixture.server.set_faults(fault("/t", u32::MAX, status(number)));
        assert_eq!(fixture.refused(&catalog).await.kind(), kind, "{number}");
        assert_eq!(fixture.asked().table, 1, "{number}");
    }
}

#[tokio::test]
async fn redirects_are_refused_and_nothing_is_sent_after_them() {
    let auth = CatalogAuth::OAuth2 {
        client_id: "me".to_owned(),
        client_secret: "CANARY".to_owned(),
        scope: "catalog".to_owned(),
        lifetime: None,
    };
    let options = RestCatalogOptions { auth, ..RestCatalogOptions::default() };
    let fixture = Fixture::start(options.clone()).await;
    let elsewhere = Fixture::start(options).await;
    let target = format!("{}/v1/config?token=CANARY", elsewhere.server.uri());
    for path in ["/oauth/tokens", "/config", "/t"] {
        let failure = CatalogFailure::Redirect(target.clone());
        fixture.server.set_faults(fault(path, u32::MAX, failure));
        let catalog = fixture.client(r#","credential":"me:CANARY""#);
        let error = fixture.refused(&catalog).await;
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let origin = format!("redirect to http://{}", elsewhere.server.host_port());
        assert!(error.message().contains(&origin), "{error}");
    }
    assert_eq!(elsewhere.asked(), RestCatalogStats::default());
}

#[tokio::test]
async fn a_catalog_cannot_send_its_clients_elsewhere() {
    let elsewhere = Fixture::start(RestCatalogOptions::default()).await;
    let options = RestCatalogOptions {
        overrides: [("uri".to_owned(), elsewhere.server.uri())].into(),
        ..RestCatalogOptions::default()
    };
    let fixture = Fixture::start(options).await;
    let allowed = [fixture.server.host_port(), elsewhere.server.host_port()];
    let catalog = fixture.try_client(r#""a.t""#, "", &allowed, fixture.options()).unwrap();
    let error = fixture.refused(&catalog).await;
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("credentials are not sent to another host"), "{error}");
    assert_eq!(elsewhere.asked(), RestCatalogStats::default());
}

#[tokio::test]
async fn an_address_that_is_not_allowed_is_never_connected_to() {
    let fixture = Fixture::start(RestCatalogOptions::default()).await;
    let catalog = fixture.try_client(r#""a.t""#, "", &[], fixture.options()).unwrap();
    let error = fixture.refused(&catalog).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let option = format!("--allow-endpoint {}", fixture.server.host_port());
    assert!(error.message().contains(&option), "{error}");
    assert_eq!(fixture.asked(), RestCatalogStats::default());
}

#[tokio::test]
async fn answers_that_are_too_long_are_not_read_whole() {
    let fixture = Fixture::start(RestCatalogOptions::default()).await;
    let catalog = fixture.client("");
    fixture.server.set_faults(fault("/config", 1, CatalogFailure::Endless(1 << 40)));
    let error = fixture.refused(&catalog).await;
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("longer than 1048576 bytes"), "{error}");
    fixture.load(&catalog).await.unwrap();
    fixture.asked();
    fixture.server.set_faults(fault("/t", 1, CatalogFailure::Endless(1 << 40)));
    let error = fixture.refused(&catalog).await;
    assert!(error.message().contains("longer than 67108864 bytes"), "{error}");
    assert_eq!(fixture.asked().table, 1);
}

#[tokio::test]
async fn answers_that_make_no_sense_are_refused_without_being_shown() {
    let fixture = Fixture::start(RestCatalogOptions::default()).await;
    let catalog = fixture.client(r#","vended_credentials":"true""#);
    for text in ["", "{", "[\"CANARY\"]", "<html>CANARY</html>", "\"CANARY\"", "null"] {
        fixture.server.set_faults(fault("/config", 1, CatalogFailure::Body(text.to_owned())));
        assert_eq!(fixture.refused(&catalog).await.kind(), ErrorKind::Corrupt, "{text}");
    }
    let deep = "[".repeat(100_000);
    let deep = format!("{{\"metadata\":{deep}");
    let mut without_schema = metadata();
    without_schema["schemas"] = serde_json::json!([]);
    let without_schema = format!("{{\"metadata\":{without_schema}}}");
    for text in [
        "{\"config\":{\"s3.secret-access-key\":\"CANARY\"",
        "{}",
        "{\"metadata\":null}",
        "{\"metadata\":\"CANARY\"}",
        &deep,
        &without_schema,
    ] {
        fixture.server.set_faults(fault("/t", 1, CatalogFailure::Body(text.to_owned())));
        let error = fixture.refused(&catalog).await;
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{text}");
    }
    let newer = CatalogFailure::Body("{\"metadata\":{\"format-version\":9}}".to_owned());
    fixture.server.set_faults(fault("/t", 1, newer));
    let error = fixture.refused(&catalog).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().starts_with("table a.t of the catalog http://"), "{error}");
}
