use pandion_types::ErrorKind;

use super::*;

mod clouds;

const CANARIES: [&str; 4] = ["CANARYID", "CANARYVALUE", "CANARYEXTERNAL", "CANARYCERT"];
const WITH_CANARIES: &str = r#"{"zeta":{"b":1,"a":2},"snapshot_id":7,"format":"parquet","extfs":{
    "region":"us-east-1","access_key_id":"CANARYID","access_key_value":"CANARYVALUE",
    "external_id":"CANARYEXTERNAL","ssl_ca_cert":"CANARYCERT","role_arn":"arn:aws:iam::1:role/r"}}"#;

fn parse(text: &str) -> Result<ExternalSpec> {
    ExternalSpec::parse(text).map(|(spec, _)| spec)
}

fn parse_error(text: &str) -> String {
    let error = parse(text).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let prefix = "external_spec is invalid: parse external spec: ";
    error.message().strip_prefix(prefix).unwrap().to_owned()
}

#[test]
fn parse_errors_have_the_texts_that_clients_match() {
    let keys = EXTFS_KEYS.join(", ");
    for (text, expected) in [
        (
            r#"{"format":"orc"}"#,
            "unsupported format \"orc\", supported formats: iceberg-table, lance-table, \
             milvus-table, parquet, vortex"
                .to_owned(),
        ),
        (
            r#"{"extfs":{"address":"h"}}"#,
            format!("extfs key \"address\" is not allowed; allowed keys: {keys}"),
        ),
        (
            r#"{"extfs":{"use_ssl":"yes"}}"#,
            "extfs key \"use_ssl\" must be \"true\" or \"false\", got \"yes\"".to_owned(),
        ),
        (
            r#"{"extfs":{"anonymous":""}}"#,
            "extfs key \"anonymous\" must be \"true\" or \"false\", got \"\"".to_owned(),
        ),
    ] {
        assert_eq!(parse_error(text), expected);
    }
    for text in [
        "{",
        "[]",
        "5",
        r#"{"format":1}"#,
        r#"{"columns":"a"}"#,
        r#"{"columns":[1]}"#,
        r#"{"extfs":[]}"#,
        r#"{"extfs":{"region":1}}"#,
        r#"{"extfs":{"use_ssl":true}}"#,
        r#"{"snapshot_id":"x"}"#,
        r#"{"snapshot_id":1.5}"#,
        r#"{"snapshot_id":9223372036854775808}"#,
    ] {
        assert!(parse_error(text).starts_with("invalid external spec JSON: "), "{text}");
    }
}

#[test]
fn defaults_and_values() {
    for text in ["", "{}", "null", r#"{"format":""}"#, r#"{"format":null,"extfs":null}"#] {
        assert_eq!(parse(text).unwrap().format(), SourceFormat::Parquet, "{text}");
    }
    for (name, format) in [
        ("iceberg_table", SourceFormat::IcebergTable),
        ("iceberg-table", SourceFormat::IcebergTable),
        ("vortex", SourceFormat::Vortex),
    ] {
        assert_eq!(parse(&format!(r#"{{"format":"{name}"}}"#)).unwrap().format(), format);
    }
    let spec = parse(r#"{"columns":["a","b"],"snapshot_id":"-12"}"#).unwrap();
    assert_eq!((spec.columns(), spec.snapshot_id()), (&["a".into(), "b".into()][..], Some(-12)));
}

#[test]
fn redacted_text_is_sorted_starred_and_keeps_the_rest() {
    let (spec, _) = ExternalSpec::parse(WITH_CANARIES).unwrap();
    let redacted = spec.redacted_json();
    assert!(redacted.starts_with(
        r#"{"extfs":{"access_key_id":"***","access_key_value":"***","external_id":"***","region":"us-east-1","role_arn":"arn:aws:iam::1:role/r","ssl_ca_cert":"***"},"format":"parquet","snapshot_id":"7","zeta":{"#
    ), "{redacted}");
    assert_eq!(redacted, redact_spec(WITH_CANARIES));
    assert_eq!(parse("").unwrap().redacted_json(), "");
    assert_eq!(parse("{}").unwrap().redacted_json(), "{}");
    let empty_key = r#"{"extfs":{"access_key_id":"","region":"a<b"}}"#;
    let expected = r#"{"extfs":{"access_key_id":"","region":"a\u003cb"}}"#;
    assert_eq!(parse(empty_key).unwrap().redacted_json(), expected);
    assert_eq!(redact_spec(empty_key), expected);
}

#[test]
fn redaction_of_refused_texts_shows_nothing() {
    assert_eq!(redact_spec(""), "");
    assert_eq!(redact_spec(r#"{"extfs":{"access_key_id":"CANARY""#), "<invalid spec>");
    assert_eq!(redact_spec(r#"{"extfs":["CANARY"]}"#), "<invalid spec>");
    assert_eq!(redact_spec(r#"{"snapshot_id":"CANARY"}"#), "<invalid spec>");
    assert_eq!(
        redact_spec(r#"{"format":"orc","extfs":{"access_key_id":["CANARY"]}}"#),
        r#"{"extfs":{"access_key_id":"***"},"format":"orc"}"#
    );
}

#[test]
fn canaries_appear_nowhere_but_where_they_are_asked_for() {
    let (spec, secrets) = ExternalSpec::parse(WITH_CANARIES).unwrap();
    let shown = format!("{spec:?} {} {secrets:?} {secrets:#?}", spec.redacted_json());
    for canary in CANARIES {
        assert!(!shown.contains(canary), "{canary} in {shown}");
    }
    assert_eq!(secrets.access_key_id().unwrap().expose(), CANARIES[0]);
    assert_eq!(secrets.access_key_value().unwrap().expose(), CANARIES[1]);
    assert_eq!(secrets.get("external_id").unwrap().expose(), CANARIES[2]);
    assert_eq!(secrets.ssl_ca_cert().unwrap().expose(), CANARIES[3]);
    for text in [
        r#"{"extfs":{"access_key_id":"CANARY","x":"y"}}"#,
        r#"{"extfs":{"access_key_id":["CANARY"]}}"#,
        r#"{"extfs":{"access_key_value":"CANARY","use_ssl":"maybe"}}"#,
        r#"{"extfs":{"access_key_value":"CANARY"},"snapshot_id":true}"#,
        r#"{"extfs":{"access_key_value":"CANARY"}"#,
    ] {
        let error = ExternalSpec::parse(text).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("CANARY"), "{error:?}");
    }
}

#[test]
fn secrets_are_stored_apart_and_join_again() {
    let (spec, secrets) = ExternalSpec::parse(WITH_CANARIES).unwrap();
    let redacted = spec.redacted_json();
    assert_eq!(ExternalSpec::from_redacted(&redacted).unwrap(), spec);
    let stored = secrets.to_stored();
    let again = SourceSecrets::from_stored(&stored).unwrap();
    assert!(again == secrets);
    let joined = ExternalSpec::join(&redacted, &again).unwrap();
    let (spec_again, secrets_again) = ExternalSpec::parse(joined.expose()).unwrap();
    assert!(spec_again == spec && secrets_again == secrets);

    let missing = ExternalSpec::join(&redacted, &SourceSecrets::default());
    assert_eq!(missing.map(|_| ()).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(ExternalSpec::from_redacted(WITH_CANARIES).unwrap_err().kind(), ErrorKind::Internal);
    for broken in ["{", "[]", r#"{"region":"x"}"#, r#"{"access_key_id":5}"#] {
        let error = SourceSecrets::from_stored(&Secret::new(broken)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{broken}");
    }
    assert!(SourceSecrets::from_stored(&Secret::new("")).unwrap().is_empty());
}

#[test]
fn stars_are_no_value() {
    let error = parse_error(r#"{"extfs":{"access_key_value":"***"}}"#);
    assert!(error.contains("extfs.access_key_value"), "{error}");
}

fn validate(source: &str, extfs: &str) -> Result<()> {
    let spec = parse(&format!(r#"{{"extfs":{{{extfs}}}}}"#)).unwrap();
    spec.validate_complete(&SourceUri::parse(source).unwrap())
}

const KEYS: &str = r#""access_key_id":"a","access_key_value":"b""#;

fn assert_incomplete(cases: &[(&str, &str, &str)]) {
    for (source, extfs, expected) in cases {
        let error = validate(source, extfs).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert_eq!(error.message(), format!("external_spec is invalid: {expected}"));
    }
}

#[test]
fn refused_providers_have_the_texts_that_clients_match() {
    assert_incomplete(&[
        (
            "s3://b/k",
            "",
            "extfs.cloud_provider is required: one of [aws, gcp, aliyun, tencent, huawei, azure, \
             minio]; inferring from URI scheme is ambiguous (e.g. s3:// matches both AWS S3 and \
             self-hosted MinIO)",
        ),
        (
            "s3://b/k",
            r#""cloud_provider":"AWS""#,
            r#"extfs.cloud_provider="AWS" must use the canonical lowercase value "aws""#,
        ),
        (
            "s3://b/k",
            r#""cloud_provider":"ibm""#,
            "extfs.cloud_provider=\"ibm\" is not supported: must be one of [aws, gcp, aliyun, \
             tencent, huawei, azure, minio]",
        ),
        (
            "minio://h/b",
            r#""cloud_provider":"aws""#,
            r#"scheme=minio requires extfs.cloud_provider="minio", got "aws""#,
        ),
        (
            "azure://b/k",
            r#""cloud_provider":"gcp","anonymous":"true""#,
            r#"scheme=azure requires extfs.cloud_provider="azure", got "gcp""#,
        ),
        (
            "gs://b/k",
            r#""cloud_provider":"azure","anonymous":"true""#,
            r#"extfs.cloud_provider=azure requires scheme=azure, got scheme="gs""#,
        ),
        (
            "s3://b/k",
            r#""cloud_provider":"minio","region":"r","anonymous":"true""#,
            "cannot resolve endpoint for \"s3://b/k\" with cloud_provider=\"minio\": set \
             extfs.region, or use Milvus-form URI scheme://<endpoint>/<bucket>/<key>",
        ),
        (
            "s3a://b/k",
            r#""cloud_provider":"aws","anonymous":"true""#,
            "extfs.region is required for scheme \"s3a\" (AWS-family schemes need region for \
             SigV4 signing)",
        ),
    ]);
}

#[test]
fn refused_credential_modes_have_the_texts_that_clients_match() {
    assert_incomplete(&[
        (
            "s3://b/k",
            r#""cloud_provider":"aws","access_key_id":"a""#,
            "extfs.access_key_id and extfs.access_key_value must be set together (found one \
             without the other)",
        ),
        (
            "s3://b/k",
            r#""cloud_provider":"aws","use_iam":"false""#,
            "extfs credential mode missing: set exactly one of \
             {access_key_id+access_key_value}, role_arn, use_iam=true, \
             gcp_target_service_account, Azure credential broker, or anonymous=true",
        ),
        (
            "s3://b/k",
            r#""cloud_provider":"aws","anonymous":"true","role_arn":"r""#,
            "extfs credential modes are mutually exclusive: set exactly one of AK/SK, role_arn, \
             use_iam=true, gcp_target_service_account, Azure credential broker, or \
             anonymous=true",
        ),
        (
            "gs://b/k",
            r#""cloud_provider":"gcp","gcp_target_service_account":"x@y.com""#,
            "extfs.gcp_target_service_account must be a GCP service account email ending in \
             .gserviceaccount.com, got \"x@y.com\"",
        ),
        (
            "oss://b/k",
            r#""cloud_provider":"aliyun","gcp_target_service_account":"x@y.com""#,
            "extfs.gcp_target_service_account is only valid for GCP (scheme=gs/gcs or \
             cloud_provider=gcp), got scheme=\"oss\" cloud_provider=\"aliyun\"",
        ),
        (
            "azure://core/b",
            r#""cloud_provider":"azure","azure_client_id":"c""#,
            "extfs.azure_tenant_id is required for Azure credential broker mode",
        ),
        (
            "s3://b/k",
            r#""cloud_provider":"aws","azure_client_id":"c""#,
            "Azure credential broker mode requires scheme=\"azure\" and \
             extfs.cloud_provider=\"azure\", got scheme=\"s3\" cloud_provider=\"aws\"",
        ),
    ]);
}

#[test]
fn complete_specifications_pass() {
    let aws = r#""cloud_provider":"aws","region":"us-east-1""#;
    for (source, extfs) in [
        ("s3://b/deep/key", format!("{aws},{KEYS}")),
        ("s3://b", format!(r#"{aws},"anonymous":"true""#)),
        (
            "s3://localhost:9000/a-bucket/prefix/",
            format!(r#""cloud_provider":"minio","region":"us-east-1","use_ssl":"false",{KEYS}"#),
        ),
        ("minio://localhost:9000/a-bucket/prefix/", KEYS.to_owned()),
        ("minio://localhost:9000/a-bucket", KEYS.to_owned()),
        ("s3://s3.amazonaws.com/b", format!("{aws},{KEYS}")),
        ("file:///lake/t", String::new()),
    ] {
        validate(source, &extfs).unwrap();
    }
}

#[test]
fn what_is_valid_but_not_built_is_refused_by_name() {
    let broker = r#""cloud_provider":"azure","azure_client_id":"a","azure_tenant_id":"b",
        "azure_credential_endpoint":"https://broker.example","access_key_id":"c","region":"d""#;
    let error = validate("azure://container/k", &broker.replace('\n', "")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("Azure credential broker"), "{error}");
    for format in ["lance-table", "vortex", "milvus-table"] {
        let spec = parse(&format!(r#"{{"format":"{format}"}}"#)).unwrap();
        let error = spec.validate_complete(&SourceUri::parse("file:///t").unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains(format), "{error}");
    }
}
