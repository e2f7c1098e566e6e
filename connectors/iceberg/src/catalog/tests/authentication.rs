//! Who asks: bearer tokens, tokens for client credentials, signatures.

use std::sync::Arc;
use std::time::Duration;

use pandion_source::{AwsCredentials, StaticCredentials};
use pandion_testkit::rest_catalog::{
    CatalogAuth, CatalogFailure, CatalogFault, RestCatalogOptions,
};
use pandion_types::{ErrorKind, Secret};

use super::*;

const WRONG: &str = r#","credential":"me:CANARY+&wrong%/""#;
const LIFETIME: Duration = Duration::from_secs(3000);

fn bearer() -> RestCatalogOptions {
    let auth = CatalogAuth::Bearer("CANARY-TOKEN".to_owned());
    RestCatalogOptions { auth, ..RestCatalogOptions::default() }
}

fn oauth(lifetime: Option<Duration>) -> RestCatalogOptions {
    let auth = CatalogAuth::OAuth2 {
        client_id: "me".to_owned(),
        client_secret: "CANARY:+&secret%/".to_owned(),
        scope: "catalog".to_owned(),
        lifetime,
    };
    RestCatalogOptions { auth, ..RestCatalogOptions::default() }
}

fn fault(path: &str, times: u32, status: u16) -> CatalogFault {
    let failure = CatalogFailure::Status(status, "on purpose".to_owned());
    CatalogFault { path: path.to_owned(), times, failure }
}

const GOOD: &str = r#","credential":"me:CANARY:+&secret%/""#;

#[tokio::test]
async fn a_bearer_token_is_sent_and_never_shown() {
    let fixture = Fixture::start(bearer()).await;
    let catalog = fixture.client(r#","token":"CANARY-TOKEN""#);
    fixture.load(&catalog).await.unwrap();
    assert_eq!(fixture.asked().unauthorized, 0);
    for settings in [r#","token":"CANARY-OTHER""#, ""] {
        let error = fixture.refused(&fixture.client(settings)).await;
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.message().contains("check catalog.token"), "{error}");
    }
    // A token that the user gave is not got anew, so asking twice would not help.
    assert_eq!((fixture.asked().unauthorized), 2);
}

#[tokio::test]
async fn a_token_is_got_once_and_renewed_before_its_end() {
    let fixture = Fixture::start(oauth(Some(LIFETIME))).await;
    let catalog = fixture.client(GOOD);
    for _ in 0..3 {
        fixture.load(&catalog).await.unwrap();
    }
    let asked = fixture.asked();
    assert_eq!((asked.token, asked.config, asked.table), (1, 1, 3));
    assert_eq!(fixture.stats.counts().read_requests, 5);
    // Five minutes before its end it is renewed, and so never refused.
    fixture.server.advance(LIFETIME - Duration::from_secs(301));
    fixture.load(&catalog).await.unwrap();
    assert_eq!(fixture.asked().token, 0);
    fixture.server.advance(Duration::from_secs(2));
    fixture.load(&catalog).await.unwrap();
    let asked = fixture.asked();
    assert_eq!((asked.token, asked.unauthorized), (1, 0));
    // After a long pause too.
    fixture.server.advance(LIFETIME * 2);
    fixture.load(&catalog).await.unwrap();
    let asked = fixture.asked();
    assert_eq!((asked.token, asked.unauthorized), (1, 0));
}

#[tokio::test]
async fn a_token_that_is_still_good_serves_while_no_other_can_be_got() {
    let fixture = Fixture::start(oauth(Some(LIFETIME))).await;
    let catalog = fixture.client(GOOD);
    fixture.load(&catalog).await.unwrap();
    fixture.server.advance(LIFETIME - Duration::from_secs(100));
    fixture.server.set_faults(vec![fault("/oauth/tokens", u32::MAX, 503)]);
    fixture.load(&catalog).await.unwrap();
    fixture.server.advance(Duration::from_secs(100));
    let error = fixture.refused(&catalog).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("the token server http://127.0.0.1"), "{error}");
    fixture.server.set_faults(Vec::new());
    fixture.load(&catalog).await.unwrap();
}

#[tokio::test]
async fn a_token_that_the_catalog_has_forgotten_is_replaced_once() {
    let fixture = Fixture::start(oauth(None)).await;
    let catalog = fixture.client(GOOD);
    fixture.load(&catalog).await.unwrap();
    fixture.server.revoke_tokens();
    fixture.asked();
    fixture.load(&catalog).await.unwrap();
    let asked = fixture.asked();
    assert_eq!((asked.table, asked.token, asked.unauthorized), (2, 1, 1));
    fixture.server.set_faults(vec![fault("/t", 1, 401)]);
    fixture.load(&catalog).await.unwrap();
    assert_eq!(fixture.asked().token, 1);
    // A catalog that accepts no token is asked twice and not for ever.
    fixture.server.set_faults(vec![fault("/t", u32::MAX, 401)]);
    let error = fixture.refused(&catalog).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let asked = fixture.asked();
    assert_eq!((asked.table, asked.token), (2, 1));
}

#[tokio::test]
async fn many_readers_wait_for_one_token() {
    let fixture = Fixture::start(oauth(Some(LIFETIME))).await;
    let catalog = fixture.client(GOOD);
    fixture.load(&catalog).await.unwrap();
    fixture.server.advance(LIFETIME);
    fixture.asked();
    let loads = (0..32).map(|_| fixture.load(&catalog));
    for loaded in futures::future::join_all(loads).await {
        loaded.unwrap();
    }
    let asked = fixture.asked();
    assert_eq!((asked.token, asked.table), (1, 32));
}

#[tokio::test]
async fn a_wrong_credential_is_refused_and_not_shown() {
    let fixture = Fixture::start(oauth(None)).await;
    for settings in [
        WRONG.to_owned(),
        r#","credential":"CANARY-alone""#.to_owned(),
        format!(r#"{GOOD},"scope":"other""#),
    ] {
        let error = fixture.refused(&fixture.client(&settings)).await;
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.message().contains("refuses catalog.credential"), "{error}");
    }
    let asked = fixture.asked();
    assert_eq!((asked.token, asked.config), (3, 0));
}

#[tokio::test]
async fn a_token_server_apart_gets_the_credential_and_nobody_else() {
    let tokens = Fixture::start(oauth(Some(LIFETIME))).await;
    let catalog = Fixture::start(bearer()).await;
    let settings =
        format!(r#"{GOOD},"oauth2_server_uri":"{}/v1/oauth/tokens""#, tokens.server.uri());
    let allowed = [catalog.server.host_port(), tokens.server.host_port()];
    let client = catalog.try_client(r#""a.t""#, &settings, &allowed, catalog.options()).unwrap();
    // The catalog knows other tokens: it refuses, twice.
    let error = catalog.refused(&client).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(tokens.asked().token, 2);
    let asked = catalog.asked();
    assert_eq!((asked.token, asked.config, asked.unauthorized), (0, 2, 2));
    // The token server's address is checked like the catalog's.
    let client =
        catalog.try_client(r#""a.t""#, &settings, &allowed[..1], catalog.options()).unwrap();
    let error = catalog.refused(&client).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("--allow-endpoint"), "{error}");
    assert_eq!((tokens.asked().token, catalog.asked().config), (0, 0));
}

fn signed() -> RestCatalogOptions {
    let auth = CatalogAuth::SigV4 {
        access_key: "AKCANARY".to_owned(),
        secret_key: "SKCANARY/+".to_owned(),
        region: "eu-west-1".to_owned(),
        service: "glue".to_owned(),
    };
    let warehouse = Some("123:s3tablescatalog/b c*~".to_owned());
    let prefix = Some("catalogs/arn%3Aaws%3Ax".to_owned());
    RestCatalogOptions { auth, warehouse, prefix, ..RestCatalogOptions::default() }
}

const SIGNED: &str = r#","warehouse":"123:s3tablescatalog/b c*~","sigv4":"true","signing_region":"eu-west-1","signing_name":"glue""#;
const KEYS: &str = r#","access_key_id":"AKCANARY","access_key_value":"SKCANARY/+""#;

#[tokio::test]
async fn requests_are_signed() {
    let fixture = Fixture::start(signed()).await;
    fixture.server.register(&["a b", "c"], "t~u", METADATA_LOCATION);
    let catalog = fixture.client_of(r#"["a b","c","t~u"]"#, &format!("{SIGNED}{KEYS}"));
    fixture.load(&catalog).await.unwrap();
    // Signed anew, by the time that it is then.
    fixture.server.advance(Duration::from_secs(86_400));
    fixture.load(&catalog).await.unwrap();
    assert_eq!(fixture.asked().unauthorized, 0);
    for (from, to) in
        [("SKCANARY/+", "SKCANARY"), ("AKCANARY", "AKCANARY2"), ("eu-west-1", "eu-west-2")]
    {
        let settings = format!("{SIGNED}{KEYS}").replace(from, to);
        let error = fixture.refused(&fixture.client(&settings)).await;
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.message().contains("InvalidSignatureException"), "{error}");
    }
}

#[tokio::test]
async fn the_identity_of_the_source_signs_where_the_settings_have_no_keys() {
    let fixture = Fixture::start(signed()).await;
    let keys = AwsCredentials::lasting(Secret::new("AKCANARY"), Secret::new("SKCANARY/+"));
    let options = CatalogOptions {
        identity: Some(Arc::new(StaticCredentials::new(keys))),
        region: Some("eu-west-1".to_owned()),
        ..fixture.options()
    };
    let allowed = [fixture.server.host_port()];
    let settings = SIGNED.replace(r#","signing_region":"eu-west-1""#, "");
    let client = |options| fixture.try_client(r#""a.t""#, &settings, &allowed, options);
    fixture.load(&client(options.clone()).unwrap()).await.unwrap();
    let without = CatalogOptions { region: None, ..options.clone() };
    let error = client(without).map(|_| ()).unwrap_err();
    assert!(error.message().contains("catalog.signing_region is required"), "{error}");
    let without = CatalogOptions { identity: None, ..options };
    let error = client(without).map(|_| ()).unwrap_err();
    assert!(error.message().contains("catalog.sigv4=true needs keys"), "{error}");
}

#[test]
fn secrets_that_are_missing_are_not_made_up() {
    let text = r#"{"format":"iceberg-table","catalog":{"type":"rest","uri":"http://c","table":"a.t","token":"CANARY"}}"#;
    let (spec, _) = ExternalSpec::parse(text).unwrap();
    let settings = spec.catalog().unwrap().rest().unwrap();
    let policy = Arc::new(EndpointPolicy::default());
    let none = SourceSecrets::default();
    let error = RestCatalog::new(settings, &none, &policy, CatalogOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}
