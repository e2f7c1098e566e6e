use std::path::Path;

use pandion_types::ErrorKind;

use super::super::super::{ExternalSpec, SourceSecrets, redact_spec};
use super::*;

const BASE: &str = r#""type":"sql","catalog_name":"lake","table":"a.b.t""#;
const POSTGRES: &str = r#""uri":"postgresql://reader@db.example/catalogs""#;

fn text(more: &str) -> String {
    format!(r#"{{"format":"iceberg-table","catalog":{{{BASE},{more}}}}}"#)
}

fn settings(more: &str) -> SqlCatalogSettings {
    let (spec, _) = ExternalSpec::parse(&text(more)).unwrap();
    assert!(!spec.uses_vended_credentials() && spec.catalog().unwrap().rest().is_none());
    spec.catalog().unwrap().sql().unwrap().clone()
}

fn refused(text: &str) -> String {
    let error = ExternalSpec::parse(text).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
    let prefix = "external_spec is invalid: parse external spec: ";
    error.message().strip_prefix(prefix).unwrap().to_owned()
}

#[test]
fn databases_are_named_by_their_uris() {
    let plain = settings(POSTGRES);
    assert_eq!((plain.catalog_name.as_str(), plain.table.to_string()), ("lake", "a.b.t".into()));
    assert_eq!(plain.database.to_string(), "postgresql://db.example:5432/catalogs");
    for (uri, tls, expected) in [
        ("postgres://u@DB.example:6543/c", "", ("db.example", 6543, "u", "c", true)),
        ("postgresql://u%40x@h/a%2Fb", "", ("h", 5432, "u@x", "a/b", true)),
        ("postgresql://ü@h/ü", "verify-full", ("h", 5432, "ü", "ü", true)),
        ("postgresql://u@[::1]:1/c", "disable", ("[::1]", 1, "u", "c", false)),
        ("postgresql://u@0x7f.1/c", "disable", ("127.0.0.1", 5432, "u", "c", false)),
    ] {
        let (host, port, user, name, tls_expected) = expected;
        let found = settings(&format!(r#""uri":"{uri}","sslmode":"{tls}""#)).database;
        let expected = SqlDatabase::Postgres {
            host: host.to_owned(),
            port,
            user: user.to_owned(),
            name: name.to_owned(),
            tls: tls_expected,
        };
        assert_eq!(found, expected, "{uri}");
    }
    for (uri, path) in [
        ("sqlite:///lake/c.db", "/lake/c.db"),
        ("sqlite:////lake/c.db", "/lake/c.db"),
        ("sqlite:///lake/100%25 ü.db", "/lake/100%25 ü.db"),
    ] {
        let found = settings(&format!(r#""uri":"{uri}""#)).database;
        assert_eq!(found, SqlDatabase::Sqlite { path: Path::new(path).to_owned() }, "{uri}");
        assert_eq!(found.to_string(), format!("sqlite://{path}"));
    }
}

#[test]
fn what_does_not_fit_is_refused_with_what_does() {
    for uri in [
        "",
        "postgresql://db.example/c",
        "postgresql://u@/c",
        "postgresql://u@db.example",
        "postgresql://u@db.example/",
        "postgresql://u@db.example:0/c",
        "postgresql://u@db.example:70000/c",
        "postgresql://u@db.example/c?sslmode=disable&password=CANARY",
        "postgresql://u@db.example/c#CANARY",
        "postgresql://u%00@db.example/c",
        "postgresql://u@a b/c",
        "postgresql:u@db.example/c",
        "postgresql+psycopg2://u@db.example/c",
        "jdbc:postgresql://db.example/c",
        "sqlite:c.db",
        "sqlite://c.db",
        "sqlite:///",
        "sqlite:////",
        "sqlite://///c.db",
        "sqlite:///lake/",
        "sqlite:///c.db?mode=rwc",
        "sqlite+aiosqlite:///c.db",
        "CANARY",
        "://",
    ] {
        let error = refused(&text(&format!(r#""uri":"{uri}""#)));
        let expected = if uri.is_empty() { "catalog.uri is required" } else { FORM };
        assert!(error.contains(expected) && !error.contains("CANARY"), "{uri}: {error}");
    }
    for (more, expected) in [
        (r#""uri":"postgresql://u:CANARY@db/c""#, "give it as catalog.password"),
        (r#""uri":"mysql+pymysql://u:CANARY@db/c""#, "a database of kind \"mysql\""),
        (r#""uri":"jdbc:mysql://db/c""#, "a database of kind \"mysql\""),
        (r#""uri":"oracle://db/c""#, "must be one of [postgresql, sqlite]"),
        (r#""uri":"https://c.example""#, "must be one of [postgresql, sqlite]"),
        (r#""uri":"sqlite:///c.db","password":"x""#, "catalog.password is not valid"),
        (r#""uri":"sqlite:///c.db","sslmode":"disable""#, "catalog.sslmode is not valid"),
        (
            r#""uri":"sqlite:///c.db","token":"x""#,
            "catalog key \"token\" is not allowed; allowed \
            keys: catalog_name, password, ssl_ca_cert, sslmode, table, type, uri",
        ),
        (r#""uri":"sqlite:///c.db","catalog_name":"""#, "catalog.catalog_name is required"),
        (r#""uri":"sqlite:///c.db","table":"t""#, "catalog.table must be"),
        (r#""uri":"sqlite:///c.db","warehouse":"w""#, "\"warehouse\" is not allowed"),
    ] {
        let error = refused(&text(more));
        assert!(error.contains(expected) && !error.contains("CANARY"), "{more}: {error}");
    }
    for (more, expected) in [
        (r#""sslmode":"require""#, "must be one of [verify-full, disable], got \"require\""),
        (r#""sslmode":"disable","ssl_ca_cert":"x""#, "not valid together with catalog.sslmode"),
        (r#""password":"a\u0000b""#, "catalog.password has a character"),
        (r#""password":5"#, "catalog.password must be a string"),
    ] {
        let error = refused(&text(&format!("{POSTGRES},{more}")));
        assert!(error.contains(expected), "{more}: {error}");
    }
    let rest = r#"{"format":"iceberg-table","catalog":{"type":"rest","uri":"http://c","table":"a.t","password":"x"}}"#;
    assert!(
        refused(rest).contains("catalog key \"password\" is not allowed; allowed keys: access")
    );
}

#[test]
fn secrets_are_stars_and_come_back() {
    let text = text(&format!(r#"{POSTGRES},"password":"CANARY ü 1","ssl_ca_cert":"CANARY 2""#));
    let (spec, secrets) = ExternalSpec::parse(&text).unwrap();
    let redacted = spec.redacted_json();
    assert_eq!(redacted, redact_spec(&text));
    assert!(redacted.contains("postgresql://reader@db.example/catalogs"), "{redacted}");
    let shown = format!("{spec:?} {redacted} {secrets:?}");
    assert!(!shown.contains("CANARY"), "{shown}");
    assert_eq!(secrets.catalog_password().unwrap().expose(), "CANARY ü 1");
    let stored = SourceSecrets::from_stored(&secrets.to_stored()).unwrap();
    let joined = ExternalSpec::join(&redacted, &stored).unwrap();
    assert!(ExternalSpec::parse(joined.expose()).unwrap() == (spec, secrets));
}

#[test]
fn a_refused_uri_is_not_shown() {
    for uri in ["postgresql://u:CANARY@db/c", "mysql://u:CANARY@db/c", "sqlite:CANARY"] {
        let shown = redact_spec(&text(&format!(r#""uri":"{uri}""#)));
        assert!(shown.contains(r#""uri":"***""#) && !shown.contains("CANARY"), "{shown}");
    }
}
