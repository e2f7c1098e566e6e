use pandion_types::{ErrorKind, Secret};

use super::*;

const AWS_KEYS: [(&str, &str); 4] = [
    ("cloud_provider", "aws"),
    ("region", "eu-west-1"),
    ("access_key_id", "CANARYID"),
    ("access_key_value", "CANARYVALUE"),
];
const TABLE: &str = r#"{"format":"parquet"}"#;
const REMOTE: &str = r#"{"extfs":{"storage_type":"remote"}}"#;

fn extfs<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> ExtfsDefinition {
    entries.into_iter().map(|(key, value)| (key.to_owned(), Secret::new(value))).collect()
}

fn volume(name: &str, uri: &str, credential: Option<&str>) -> VolumeDefinition {
    let extfs = if credential.is_some() { extfs([]) } else { extfs(AWS_KEYS) };
    VolumeDefinition {
        name: name.to_owned(),
        uri: uri.to_owned(),
        credential: credential.map(str::to_owned),
        extfs,
    }
}

fn credential(name: &str, allowed: &[&str]) -> CredentialDefinition {
    CredentialDefinition {
        name: name.to_owned(),
        allowed: allowed.iter().map(|uri| (*uri).to_owned()).collect(),
        extfs: extfs(AWS_KEYS),
    }
}

fn named() -> NamedSources {
    NamedSources::new(NamedSourcesDefinition {
        volumes: vec![
            volume("products", "s3://lake/products/", None),
            volume("bucket", "s3://lake", None),
            volume("bound", "s3://lake/bound/inner", Some("bound")),
        ],
        credentials: vec![
            credential("free", &[]),
            credential("bound", &["s3://lake/bound", "s3://s3.eu-west-1.amazonaws.com/lake/two"]),
        ],
        default_storage: Some(DefaultStorageDefinition {
            allowed: vec!["s3://lake/default".to_owned()],
            extfs: extfs(AWS_KEYS),
        }),
    })
    .unwrap()
}

fn resolve(named: &NamedSources, source: &str, spec: &str) -> Result<ResolvedSource> {
    let (spec, secrets) = ExternalSpec::parse(spec).unwrap();
    let shown = spec.redacted_json();
    let resolved = named.resolve(source, spec, secrets)?;
    assert_eq!(resolved.spec.redacted_json(), shown, "what the user wrote is what is shown");
    resolved.spec.validate_complete(&resolved.uri)?;
    Ok(resolved)
}

fn refusal(named: &NamedSources, source: &str, spec: &str) -> Error {
    let error = resolve(named, source, spec).map(|_| ()).unwrap_err();
    assert!(!format!("{error:?}").contains("CANARY"), "{error:?}");
    assert_eq!(error.subject(), Subject::Source, "{error}");
    error
}

#[test]
fn a_volume_is_opened_as_it_is_defined() {
    let named = named();
    for (source, expected) in [
        ("volume://products/2024/", "s3://lake/products/2024"),
        ("volume://products", "s3://lake/products/"),
        ("Volume://bucket/a/b", "s3://lake/a/b"),
        ("volume://bound/t", "s3://lake/bound/inner/t"),
    ] {
        for spec in [TABLE, "", "{}", REMOTE, r#"{"extfs":{}}"#] {
            let found = resolve(&named, source, spec).unwrap();
            assert_eq!(found.uri.as_str(), expected);
            assert_eq!(found.secrets.access_key_value().unwrap().expose(), "CANARYVALUE");
            assert_eq!(found.spec.region(), "eu-west-1");
            let shown = format!("{found:?}");
            assert!(!shown.contains("CANARY"), "{shown}");
        }
    }
}

#[test]
fn a_volume_bounds_what_is_read() {
    let named = named();
    let scope = |source| resolve(&named, source, TABLE).unwrap().scope.unwrap();
    let holds = |scope: &StoreScope, at: &str| scope.holds(&at.into());
    let products = scope("volume://products/2024");
    assert!(holds(&products, "products/2023/x") && !holds(&products, "productsX/x"));
    assert!(holds(&scope("volume://bucket/a"), "anything"));
    assert!(!holds(&scope("volume://bound/t"), "bound/outer"));
}

#[test]
fn a_volume_takes_nothing_of_the_user_but_the_table() {
    let named = named();
    for spec in [
        r#"{"credential":"free"}"#,
        r#"{"extfs":{"region":"us-east-1"}}"#,
        r#"{"extfs":{"use_ssl":"false"}}"#,
        r#"{"extfs":{"anonymous":"true"}}"#,
        r#"{"extfs":{"storage_type":"local"}}"#,
        r#"{"extfs":{"ssl_ca_cert":"CANARY"}}"#,
    ] {
        let error = refusal(&named, "volume://products/x", spec);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{spec}");
        assert!(error.message().starts_with("volume \"products\" is opened as"), "{error}");
    }
    let spec = r#"{"columns":["a"],"snapshot_id":7,"zeta":1}"#;
    let found = resolve(&named, "volume://products/x", spec).unwrap();
    assert_eq!((found.spec.columns().len(), found.spec.snapshot_id()), (1, Some(7)));
}

#[test]
fn what_is_not_defined_is_named() {
    let named = named();
    let error = refusal(&named, "volume://nowhere/x", TABLE);
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().starts_with("volume \"nowhere\" does not exist"), "{error}");
    let error = refusal(&named, "s3://lake/x", r#"{"credential":"nobody"}"#);
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().starts_with("credential \"nobody\" does not exist"), "{error}");
    assert_eq!(refusal(&named, "volume://../x", TABLE).kind(), ErrorKind::InvalidArgument);
    assert_eq!(refusal(&named, "volume://v/../x", TABLE).kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_credential_is_used_where_it_is_named() {
    let named = named();
    let spec = r#"{"credential":"free","extfs":{"region":"eu-west-1","use_ssl":"true",
        "anonymous":"false","storage_type":"remote"}}"#;
    let found = resolve(&named, "s3://any/where", spec).unwrap();
    assert_eq!(found.secrets.access_key_id().unwrap().expose(), "CANARYID");
    assert_eq!((found.spec.use_ssl(), found.scope), (Some(true), None));
    let found = resolve(&named, "s3://any/where", r#"{"credential":"free"}"#).unwrap();
    assert_eq!(found.secrets.access_key_value().unwrap().expose(), "CANARYVALUE");
}

#[test]
fn a_credential_excludes_others_and_contradictions() {
    let named = named();
    for (extfs, expected) in [
        (r#""anonymous":"true""#, "credential \"free\" and extfs.anonymous are mutually exclusive"),
        (r#""role_arn":"arn""#, "credential \"free\" and extfs.role_arn are mutually exclusive"),
        (
            r#""access_key_id":"CANARY","access_key_value":"CANARY""#,
            "credential \"free\" and extfs.access_key_id are mutually exclusive",
        ),
        (r#""ssl_ca_cert":"CANARY""#, "credential \"free\" and extfs.ssl_ca_cert are mutually"),
        (r#""iam_endpoint":"http://h""#, "credential \"free\" and extfs.iam_endpoint are mutually"),
        (r#""region":"us-east-1""#, "extfs.region=\"us-east-1\" contradicts credential \"free\""),
        (r#""cloud_provider":"minio""#, "extfs.cloud_provider=\"minio\" contradicts"),
    ] {
        let spec = format!(r#"{{"credential":"free","extfs":{{{extfs}}}}}"#);
        let error = refusal(&named, "s3://lake/x", &spec);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().starts_with(expected), "{error}");
    }
    let error = refusal(&named, "file:///lake", r#"{"credential":"free"}"#);
    assert_eq!(error.message(), "a file source takes no credential");
}

#[test]
fn a_bound_credential_is_refused_elsewhere() {
    let named = named();
    let at = |source: &str, extfs: &str| {
        resolve(&named, source, &format!(r#"{{"credential":"bound","extfs":{{{extfs}}}}}"#))
    };
    for source in [
        "s3://lake/bound",
        "s3://lake/bound/t/",
        "s3://lake/two/t",
        "aws://s3.eu-west-1.amazonaws.com/lake/bound/t",
    ] {
        let scope = at(source, "").unwrap().scope.unwrap();
        assert!(scope.holds(&"bound/x".into()) && scope.holds(&"two/x".into()), "{source}");
        assert!(!scope.holds(&"three".into()), "{source}");
    }
    for (source, extfs) in [
        ("s3://lake/boundary", ""),
        ("s3://lake", ""),
        ("s3://other/bound/t", ""),
        ("s3://s3.us-east-1.amazonaws.com/lake/bound/t", ""),
        ("s3://lake/bound/t", r#""use_ssl":"false""#),
    ] {
        let error = at(source, extfs).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{source}");
        assert!(error.message().contains("credential \"bound\" may not be used for"), "{error}");
    }
    assert!(at("s3://lake/bound/../x", "").is_err());
}

#[test]
fn the_default_storage_serves_those_who_name_no_store() {
    let named = named();
    for spec in [TABLE, "", REMOTE, r#"{"extfs":{"storage_type":"remote","region":""}}"#] {
        let found = resolve(&named, "s3://lake/default/t", spec).unwrap();
        assert_eq!(found.secrets.access_key_id().unwrap().expose(), "CANARYID", "{spec}");
    }
    let error = refusal(&named, "s3://lake/elsewhere", TABLE);
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().starts_with("the default storage of this server may not"), "{error}");
    // Whoever says something of the store gets what he says, not what the server has.
    for spec in [r#"{"extfs":{"region":"eu-west-1"}}"#, r#"{"extfs":{"storage_type":"local"}}"#] {
        let error = refusal(&named, "s3://lake/default/t", spec);
        assert!(error.message().contains("extfs.cloud_provider is required"), "{error}");
    }
    assert!(resolve(&named, "file:///lake", "").unwrap().secrets.is_empty());
}

#[test]
fn a_default_storage_that_is_not_defined_is_missed_by_name() {
    let none = NamedSources::default();
    for spec in [TABLE, REMOTE] {
        for (source, milvus) in [
            ("s3://lake/t", "extfs.cloud_provider is required: one of [aws, gcp,"),
            ("minio://h:9000/lake/t", "extfs credential mode missing: set exactly one of"),
        ] {
            let error = refusal(&none, source, spec);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.message().starts_with("external_spec is invalid: "), "{error}");
            assert!(error.message().contains(milvus), "{error}");
            assert!(error.message().contains("source.default_storage"), "{error}");
        }
    }
    let own = r#"{"extfs":{"cloud_provider":"minio","access_key_id":"i","access_key_value":"v"}}"#;
    let found = resolve(&none, "minio://h/b/t", own).unwrap();
    assert_eq!(found.secrets.access_key_id().unwrap().expose(), "i");
}

#[test]
fn definitions_that_would_not_open_are_refused_by_name() {
    let refused = |definition: NamedSourcesDefinition, expected: &str| {
        let error = NamedSources::new(definition).map(|_| ()).unwrap_err();
        let shown = format!("{error:?}");
        assert!(shown.contains(expected) && !shown.contains("CANARY"), "{shown}");
    };
    let volumes = |volumes| NamedSourcesDefinition { volumes, ..Default::default() };
    let v = |name: &str, uri: &str| volume(name, uri, None);
    refused(volumes(vec![v("a", "s3://b"), v("a", "s3://c")]), "volume \"a\" is defined twice");
    refused(volumes(vec![v("a/b", "s3://b")]), "volume \"a/b\": a name has letters");
    refused(volumes(vec![v("a", "file:///x")]), "volume \"a\": a volume is in an object store");
    refused(volumes(vec![v("a", "volume://b")]), "volume \"a\": external_source is invalid");
    refused(volumes(vec![v("a", "minio://h/b")]), "volume \"a\": external_spec is invalid");
    let missing = volumes(vec![volume("a", "s3://b", Some("none"))]);
    refused(missing, "volume \"a\": credential \"none\" does not exist");
    let mut bare = v("a", "s3://b/t");
    bare.extfs = extfs([]);
    refused(volumes(vec![bare]), "source.default_storage");

    let credentials = |extfs, allowed: &[&str]| NamedSourcesDefinition {
        credentials: vec![CredentialDefinition { extfs, ..credential("c", allowed) }],
        ..Default::default()
    };
    refused(credentials(extfs([("region", "r")]), &[]), "credential \"c\": external_spec is");
    refused(credentials(extfs([("acces_key", "CANARY")]), &[]), "extfs key \"acces_key\" is not");
    refused(credentials(extfs(AWS_KEYS), &["file:///x"]), "a file source takes no credential");
    let incomplete = AWS_KEYS.into_iter().filter(|(key, _)| *key != "region");
    refused(credentials(extfs(incomplete), &["s3://lake"]), "extfs.region is required");
}
