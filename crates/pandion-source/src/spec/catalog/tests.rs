use pandion_types::ErrorKind;

use super::super::{ExternalSpec, SnapshotChoice, redact_spec};
use super::*;
use crate::SourceUri;

const BASE: &str = r#""type":"rest","uri":"https://c.example/api","table":"a.b.t""#;

fn text(catalog: &str) -> String {
    format!(r#"{{"format":"iceberg-table","catalog":{{{catalog}}}}}"#)
}

fn with(more: &str) -> String {
    text(&format!("{BASE},{more}"))
}

fn settings(text: &str) -> RestCatalogSettings {
    ExternalSpec::parse(text).unwrap().0.catalog().unwrap().rest().unwrap().clone()
}

fn refused(text: &str) -> String {
    let error = ExternalSpec::parse(text).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
    let prefix = "external_spec is invalid: parse external spec: ";
    error.message().strip_prefix(prefix).unwrap().to_owned()
}

#[test]
fn a_table_is_named_by_a_path_or_a_list() {
    let plain = settings(&text(BASE));
    assert_eq!(plain.table.to_string(), "a.b.t");
    assert_eq!(plain.table.namespace, ["a", "b"]);
    assert_eq!(plain.uri.as_str(), "https://c.example/api");
    assert_eq!(plain.authentication, CatalogAuthentication::Anonymous);
    assert!(!plain.vended_credentials && plain.warehouse.is_none());
    let list = settings(&text(r#""type":"rest","uri":"http://c","table":["a.b","t.u"]"#));
    assert_eq!(
        (list.table.namespace.as_slice(), list.table.name.as_str()),
        (&["a.b".to_owned()][..], "t.u")
    );
    for table in [
        r#""t""#,
        r#""a..t""#,
        r#"["t"]"#,
        r#"[]"#,
        r#"["a",1]"#,
        "5",
        r#""..\u0001.t""#,
        r#"["..","t"]"#,
    ] {
        let error = refused(&text(&format!(r#""type":"rest","uri":"http://c","table":{table}"#)));
        assert!(error.contains("catalog.table must be"), "{table}: {error}");
    }
    assert_eq!(refused(&text(r#""type":"rest","uri":"http://c""#)), "catalog.table is required");
}

#[test]
fn every_way_to_authenticate() {
    assert_eq!(settings(&with(r#""token":"T""#)).authentication, CatalogAuthentication::Token);
    assert_eq!(
        settings(&with(r#""credential":"id:secret""#)).authentication,
        CatalogAuthentication::ClientCredentials {
            server: None,
            scope: "catalog".to_owned(),
            audience: None,
            resource: None,
        }
    );
    let full = settings(&with(
        r#""credential":"s","oauth2_server_uri":"https://login.example/token","scope":"PRINCIPAL_ROLE:ALL","audience":"a","resource":"r""#,
    ));
    let CatalogAuthentication::ClientCredentials { server, scope, .. } = full.authentication else {
        panic!("{full:?}");
    };
    assert_eq!(
        (server.unwrap().as_str(), scope.as_str()),
        ("https://login.example/token", "PRINCIPAL_ROLE:ALL")
    );
    for (uri, more, expected) in [
        ("https://glue.eu-west-1.amazonaws.com/iceberg", "", (Some("eu-west-1"), "glue")),
        ("https://s3tables.us-east-1.amazonaws.com/iceberg", "", (Some("us-east-1"), "s3tables")),
        ("https://glue.cn-north-1.amazonaws.com.cn/iceberg", "", (Some("cn-north-1"), "glue")),
        ("https://c.example", "", (None, "execute-api")),
        ("https://c.example", r#","signing_region":"r","signing_name":"n""#, (Some("r"), "n")),
    ] {
        let found = settings(&text(&format!(
            r#""type":"rest","uri":"{uri}","table":"a.t","sigv4":"true"{more}"#
        )));
        let CatalogAuthentication::SigV4 { region, service } = found.authentication else {
            panic!("{uri}");
        };
        assert_eq!((region.as_deref(), service.as_str()), expected, "{uri}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_what_does() {
    for (text, expected) in [
        (
            with(r#""tokn":"x""#),
            "catalog key \"tokn\" is not allowed; allowed keys: access_key_id, ",
        ),
        (
            with(r#""token":"a","credential":"b""#),
            "mutually exclusive: set at most one of token, credential and sigv4",
        ),
        (with(r#""token":"a","sigv4":"true""#), "mutually exclusive"),
        (with(r#""scope":"a""#), "catalog.scope is only valid together with catalog.credential"),
        (
            with(r#""access_key_id":"a","access_key_value":"b""#),
            "only valid together with catalog.sigv4",
        ),
        (with(r#""sigv4":"true","access_key_id":"a""#), "must be set together"),
        (
            with(r#""sigv4":"yes""#),
            "catalog key \"sigv4\" must be \"true\" or \"false\", got \"yes\"",
        ),
        (with(r#""vended_credentials":true"#), "catalog.vended_credentials must be a string"),
        (with(r#""token":5"#), "catalog.token must be a string"),
        (with(r#""token":"a b""#), "catalog.token has a character"),
        (text(r#""uri":"http://c","table":"a.t""#), "catalog.type is required"),
        (
            text(r#""type":"jdbc","uri":"http://c","table":"a.t""#),
            "a catalog of Iceberg's JdbcCatalog is of type \"sql\"",
        ),
        (text(r#""type":"hive","uri":"http://c","table":"a.t""#), "must be one of [rest, sql]"),
        (
            text(r#""type":"glue","uri":"http://c","table":"a.t""#),
            "https://glue.<region>.amazonaws.com/iceberg",
        ),
        (text(r#""type":"rest","table":"a.t""#), "catalog.uri is required"),
        (text(r#""type":"rest","uri":"ftp://c","table":"a.t""#), "catalog.uri must be a URL"),
        (
            text(r#""type":"rest","uri":"https://u:CANARY@c","table":"a.t""#),
            "catalog.uri must be a URL",
        ),
        (
            text(r#""type":"rest","uri":"https://c/?t=CANARY","table":"a.t""#),
            "catalog.uri must be a URL",
        ),
        (r#"{"format":"iceberg-table","catalog":"x"}"#.to_owned(), "catalog must be an object"),
        (r#"{"catalog":{}}"#.to_owned(), "catalog is only valid for format \"iceberg-table\""),
    ] {
        let error = refused(&text);
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains("CANARY"), "{error}");
    }
}

#[test]
fn secrets_are_stars_and_come_back() {
    for (more, keys) in [
        (
            r#""token":"CANARY1","ssl_ca_cert":"CANARY 2""#,
            &["catalog.ssl_ca_cert", "catalog.token"][..],
        ),
        (r#""credential":"id:CANARY1""#, &["catalog.credential"]),
        (
            r#""sigv4":"true","access_key_id":"CANARY1","access_key_value":"CANARY2","signing_region":"r""#,
            &["catalog.access_key_id", "catalog.access_key_value"],
        ),
    ] {
        let text = with(more);
        let (spec, secrets) = ExternalSpec::parse(&text).unwrap();
        let redacted = spec.redacted_json();
        assert_eq!(redacted, redact_spec(&text));
        let shown = format!("{spec:?} {redacted} {secrets:?}");
        assert!(!shown.contains("CANARY"), "{shown}");
        assert!(keys.iter().all(|key| secrets.get(key).is_some()), "{secrets:?}");
        assert_eq!(ExternalSpec::from_redacted(&redacted).unwrap(), spec);
        let stored = SourceSecrets::from_stored(&secrets.to_stored()).unwrap();
        let joined = ExternalSpec::join(&redacted, &stored).unwrap();
        let (again, secrets_again) = ExternalSpec::parse(joined.expose()).unwrap();
        assert!(again == spec && secrets_again == secrets);
        let missing = ExternalSpec::join(&redacted, &SourceSecrets::default());
        assert_eq!(missing.map(|_| ()).unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(refused(&redacted).contains("which is what a description shows"));
        assert_eq!(ExternalSpec::from_redacted(&text).unwrap_err().kind(), ErrorKind::Internal);
    }
}

#[test]
fn a_refused_catalog_is_shown_without_what_may_be_secret() {
    let text = r#"{"catalog":{"tokn":"CANARY","token":["CANARY"],"uri":"https://u:CANARY@c/","scope":{"x":"CANARY"},"table":["a","t"],"type":"rest","warehouse":null}}"#;
    assert_eq!(
        redact_spec(text),
        r#"{"catalog":{"scope":"***","table":["a","t"],"token":"***","tokn":"***","type":"rest","uri":"***","warehouse":null}}"#
    );
    assert_eq!(redact_spec(r#"{"catalog":["CANARY"]}"#), "<invalid spec>");
}

#[test]
fn one_way_to_choose_a_snapshot() {
    let choice = |more: &str| {
        let (spec, _) = ExternalSpec::parse(&format!(r#"{{"format":"iceberg-table"{more}}}"#))?;
        // What is stored says the same.
        let stored = ExternalSpec::from_redacted(&spec.redacted_json())?;
        assert_eq!(stored.snapshot_choice(), spec.snapshot_choice());
        Ok::<_, Error>(spec.snapshot_choice().clone())
    };
    for (more, expected) in [
        ("", SnapshotChoice::Latest),
        (r#","branch":null"#, SnapshotChoice::Latest),
        (r#","snapshot_id":"7""#, SnapshotChoice::Id(7)),
        (r#","branch":"audit""#, SnapshotChoice::Branch("audit".to_owned())),
        (r#","tag":"v1""#, SnapshotChoice::Tag("v1".to_owned())),
        (r#","timestamp":1767225600000"#, SnapshotChoice::Timestamp(1_767_225_600_000)),
        (r#","timestamp":"1767225600000""#, SnapshotChoice::Timestamp(1_767_225_600_000)),
        (
            r#","timestamp":"2026-01-01T01:00:00.5+01:00""#,
            SnapshotChoice::Timestamp(1_767_225_600_500),
        ),
    ] {
        assert_eq!(choice(more).unwrap(), expected, "{more}");
    }
    for (more, expected) in [
        (r#","branch":"a","tag":"b""#, "are mutually exclusive, found branch and tag"),
        (r#","snapshot_id":1,"timestamp":1"#, "found snapshot_id and timestamp"),
        (r#","branch":"""#, "branch must be a non-empty string"),
        (r#","tag":1"#, "tag must be a non-empty string"),
        (r#","timestamp":-1"#, "timestamp must be milliseconds"),
        (r#","timestamp":"2026-01-01""#, "timestamp must be milliseconds"),
        (r#","timestamp":1.5"#, "timestamp must be milliseconds"),
    ] {
        let error = choice(more).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains(expected), "{more}: {error}");
    }
    let error = refused(r#"{"branch":"main"}"#);
    assert!(error.contains("branch is only valid for format \"iceberg-table\""), "{error}");
}

#[test]
fn vended_credentials_stand_in_place_of_a_mode() {
    let validate = |source: &str, vended: &str, extfs: &str| {
        let text = format!(
            r#"{{"format":"iceberg-table","catalog":{{{BASE},"vended_credentials":"{vended}"}},"extfs":{{{extfs}}}}}"#
        );
        let spec = ExternalSpec::parse(&text).unwrap().0;
        spec.validate_complete(&SourceUri::parse(source).unwrap())
    };
    let aws = r#""cloud_provider":"aws","region":"us-east-1""#;
    let passes = |outcome: Result<()>| match outcome {
        Ok(()) => true,
        // Formats are looked at last.
        Err(error) => error.message().contains("format \"iceberg-table\" is not supported"),
    };
    assert!(passes(validate("s3://b/t", "true", aws)));
    assert!(passes(validate("minio://h:9000/b/t", "true", "")));
    assert!(passes(validate("file:///t", "false", "")));
    for (source, vended, extfs, expected) in [
        ("s3://b/t", "false", aws.to_owned(), "extfs credential mode missing"),
        (
            "s3://b/t",
            "true",
            format!(r#"{aws},"anonymous":"true""#),
            "extfs must have no credential mode beside",
        ),
        ("s3://b/t", "true", r#""cloud_provider":"aws""#.to_owned(), "extfs.region is required"),
        (
            "gs://b/t",
            "true",
            r#""cloud_provider":"gcp""#.to_owned(),
            "not supported for cloud_provider \"gcp\"",
        ),
        ("file:///t", "true", String::new(), "not valid for a file source"),
    ] {
        let error = validate(source, vended, &extfs).unwrap_err();
        assert!(error.message().contains(expected), "{source}: {error}");
    }
}
