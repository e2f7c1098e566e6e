use pandion_source::CatalogAuthentication;
use pandion_types::ErrorKind;
use serde_json::json;

use super::*;

fn settings(uri: &str, warehouse: Option<&str>) -> CatalogSettings {
    CatalogSettings {
        uri: Url::parse(uri).unwrap(),
        warehouse: warehouse.map(str::to_owned),
        table: table(&["a"], "t"),
        authentication: CatalogAuthentication::Anonymous,
        vended_credentials: false,
    }
}

fn table(namespace: &[&str], name: &str) -> TableName {
    let namespace = namespace.iter().map(|level| (*level).to_owned()).collect();
    TableName { namespace, name: name.to_owned() }
}

fn addresses(config: &Value) -> Result<Addresses> {
    Addresses::new(&settings("https://c.example/api/", None), config)
}

fn table_at(config: &Value, table: &TableName) -> String {
    addresses(config).unwrap().table(table).unwrap().to_string()
}

#[test]
fn the_configuration_is_asked_for_with_the_warehouse() {
    for (uri, warehouse, expected) in [
        ("https://c.example", None, "https://c.example/v1/config"),
        ("https://c.example/api/", None, "https://c.example/api/v1/config"),
        (
            "https://c.example/api",
            Some("arn:aws:s3tables:us-east-1:1:bucket/b c"),
            "https://c.example/api/v1/config?warehouse=arn%3Aaws%3As3tables%3Aus-east-1%3A1%3Abucket%2Fb%20c",
        ),
    ] {
        let url = Addresses::config(&settings(uri, warehouse)).unwrap();
        assert_eq!(url.as_str(), expected);
    }
}

#[test]
fn names_are_encoded_and_cannot_lead_elsewhere() {
    let open = json!({});
    assert_eq!(
        table_at(&open, &table(&["a", "b"], "t")),
        "https://c.example/api/v1/namespaces/a%1Fb/tables/t"
    );
    assert_eq!(
        table_at(&open, &table(&["a/../b", "ü ?#%"], "t&u")),
        "https://c.example/api/v1/namespaces/a%2F..%2Fb%1F%C3%BC%20%3F%23%25/tables/t%26u"
    );
    let addresses = addresses(&open).unwrap();
    for name in ["..", "."] {
        assert!(addresses.table(&table(&[name], "t")).is_err());
        assert!(addresses.table(&table(&["a"], name)).is_err());
    }
}

#[test]
fn overrides_count_before_defaults() {
    let t = table(&["a", "b"], "t");
    let config = json!({"defaults": {"prefix": "d"}, "overrides": {"prefix": "catalogs/12"}});
    assert_eq!(
        table_at(&config, &t),
        "https://c.example/api/v1/catalogs/12/namespaces/a%1Fb/tables/t"
    );
    let config = json!({"defaults": {"prefix": "arn%3Aaws%3Ab", "namespace-separator": "%2E"}});
    assert_eq!(
        table_at(&config, &t),
        "https://c.example/api/v1/arn%3Aaws%3Ab/namespaces/a%2Eb/tables/t"
    );
    let config = json!({"overrides": {"uri": "https://c.example/other"}});
    assert_eq!(table_at(&config, &t), "https://c.example/other/v1/namespaces/a%1Fb/tables/t");
}

#[test]
fn a_configuration_cannot_lead_elsewhere() {
    for (config, kind) in [
        (json!({"overrides": {"prefix": "../../x"}}), ErrorKind::Corrupt),
        (json!({"overrides": {"prefix": "a/%2e%2e/x"}}), ErrorKind::Corrupt),
        (json!({"overrides": {"prefix": "a?b"}}), ErrorKind::Corrupt),
        (json!({"overrides": {"prefix": "a#b"}}), ErrorKind::Corrupt),
        (json!({"overrides": {"prefix": "a b"}}), ErrorKind::Corrupt),
        (json!({"overrides": {"namespace-separator": "/"}}), ErrorKind::Corrupt),
        (json!({"overrides": {"uri": "nonsense"}}), ErrorKind::Corrupt),
        (json!({"overrides": {"uri": "https://evil.example/api"}}), ErrorKind::InvalidArgument),
        (json!({"overrides": {"uri": "http://c.example/api"}}), ErrorKind::InvalidArgument),
        (json!({"overrides": {"uri": "https://c.example:8443/"}}), ErrorKind::InvalidArgument),
        (json!({"overrides": {"uri": "https://u@c.example/"}}), ErrorKind::InvalidArgument),
    ] {
        assert_eq!(addresses(&config).unwrap_err().kind(), kind, "{config}");
    }
}

#[test]
fn new_credentials_are_asked_for_where_the_catalog_says() {
    let t = table(&["a"], "t");
    assert_eq!(addresses(&json!({})).unwrap().credentials(&t).unwrap(), None);
    let config = json!({"endpoints": ["GET /v1/config", CREDENTIALS_ENDPOINT]});
    let url = addresses(&config).unwrap().credentials(&t).unwrap().unwrap();
    assert_eq!(url.as_str(), "https://c.example/api/v1/namespaces/a/tables/t/credentials");
}
