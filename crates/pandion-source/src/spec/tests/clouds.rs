//! Every provider with the schemes and modes that go with it, and what is said where they do not.

use super::{KEYS, validate};

const MISSING_MODE: &str = "extfs credential mode missing: set exactly one of \
    {access_key_id+access_key_value}, role_arn, use_iam=true, gcp_target_service_account, Azure \
    credential broker, or anonymous=true";
const EXCLUSIVE: &str = "extfs credential modes are mutually exclusive: set exactly one of AK/SK, \
    role_arn, use_iam=true, gcp_target_service_account, Azure credential broker, or anonymous=true";
const ANONYMOUS: &str = r#""anonymous":"true""#;
const ACCOUNT: &str = r#""gcp_target_service_account":"a@b.iam.gserviceaccount.com""#;
const BROKER: &str = r#""azure_client_id":"c","azure_tenant_id":"t",
    "azure_credential_endpoint":"https://broker.example/token","access_key_id":"account",
    "region":"eastus""#;

fn unresolved(source: &str, provider: &str) -> String {
    format!(
        "cannot resolve endpoint for {source:?} with cloud_provider={provider:?}: set \
         extfs.region, or use Milvus-form URI scheme://<endpoint>/<bucket>/<key>"
    )
}

#[test]
fn every_cloud_is_opened_with_what_belongs_to_it() {
    for (source, provider, more) in [
        ("s3://b/k", "aws", r#""region":"us-east-1","#),
        ("s3a://b/k", "aws", r#""region":"cn-north-1","use_virtual_host":"true","#),
        ("aws://s3.us-east-1.amazonaws.com/b/k", "aws", r#""region":"us-east-1","#),
        ("gs://b/k", "gcp", ""),
        ("gcs://b/k", "gcp", r#""region":"europe-west1","use_ssl":"true","#),
        ("gs://storage.googleapis.com/b/k", "gcp", ""),
        ("s3://storage.googleapis.com/b/k", "gcp", r#""region":"auto","#),
        ("azure://box/k", "azure", ""),
        ("azure://box/k", "azure", r#""region":"chinaeast","#),
        ("azure://core.windows.net/box/k", "azure", ""),
        ("azure://account.blob.core.windows.net/box/k", "azure", ""),
        ("oss://b/k", "aliyun", r#""region":"cn-hangzhou","#),
        ("oss://oss-cn-hangzhou.aliyuncs.com/b/k", "aliyun", ""),
        ("cos://b/k", "tencent", r#""region":"ap-guangzhou","#),
        ("cos://cos.ap-guangzhou.myqcloud.com/b/k", "tencent", ""),
        ("obs://b/k", "huawei", r#""region":"cn-north-4","#),
        ("obs://obs.cn-north-4.myhuaweicloud.com/b/k", "huawei", ""),
        ("minio://host:9000/b/k", "minio", r#""use_ssl":"true","#),
        ("s3://host:9000/b/k", "minio", r#""region":"us-east-1","use_virtual_host":"false","#),
    ] {
        for mode in [KEYS, ANONYMOUS] {
            let extfs = format!(r#""cloud_provider":"{provider}",{more}{mode}"#);
            if let Err(error) = validate(source, &extfs) {
                panic!("{source} {extfs}: {error}");
            }
        }
        let extfs = format!(r#""cloud_provider":"{provider}",{more}"storage_type":"remote""#);
        let error = validate(source, &extfs).unwrap_err();
        assert_eq!(error.message(), format!("external_spec is invalid: {MISSING_MODE}"));
    }
    for mode in [ACCOUNT, r#""use_iam":"true""#] {
        validate("gs://b/k", &format!(r#""cloud_provider":"gcp",{mode}"#)).unwrap();
    }
}

#[test]
fn what_does_not_go_together_has_the_texts_that_clients_match() {
    let region = "extfs.region is required for scheme \"aws\" (AWS-family schemes need region for \
                  SigV4 signing)";
    let no_account = "extfs.gcp_target_service_account is only valid for GCP (scheme=gs/gcs or \
                      cloud_provider=gcp), got scheme=\"s3\" cloud_provider=\"minio\"";
    let no_email = "extfs.gcp_target_service_account must be a GCP service account email ending \
                    in .gserviceaccount.com, got \"a.gserviceaccount.com\"";
    let email = r#""gcp_target_service_account":"a.gserviceaccount.com""#;
    for (source, provider, more, expected) in [
        // The region is asked for even where a store of one's own has none.
        ("aws://host:9000/b/k", "minio", KEYS, region.to_owned()),
        ("oss://b/k", "aliyun", KEYS, unresolved("oss://b/k", "aliyun")),
        ("cos://b/k", "tencent", KEYS, unresolved("cos://b/k", "tencent")),
        ("obs://b", "huawei", KEYS, unresolved("obs://b", "huawei")),
        ("gs://b/k", "minio", KEYS, unresolved("gs://b/k", "minio")),
        ("minio://host", "minio", KEYS, unresolved("minio://host", "minio")),
        (
            "minio://host/b/k",
            "gcp",
            KEYS,
            "scheme=minio requires extfs.cloud_provider=\"minio\", got \"gcp\"".to_owned(),
        ),
        (
            "azure://b/k",
            "minio",
            KEYS,
            "scheme=azure requires extfs.cloud_provider=\"azure\", got \"minio\"".to_owned(),
        ),
        (
            "gs://b/k",
            "azure",
            KEYS,
            "extfs.cloud_provider=azure requires scheme=azure, got scheme=\"gs\"".to_owned(),
        ),
        (
            "oss://b/k",
            "Aliyun",
            KEYS,
            "extfs.cloud_provider=\"Aliyun\" must use the canonical lowercase value \"aliyun\""
                .to_owned(),
        ),
        (
            "cos://b/k",
            "qcloud",
            KEYS,
            "extfs.cloud_provider=\"qcloud\" is not supported: must be one of [aws, gcp, aliyun, \
             tencent, huawei, azure, minio]"
                .to_owned(),
        ),
        ("s3://host:9000/b/k", "minio", ACCOUNT, no_account.to_owned()),
        ("gs://b/k", "gcp", email, no_email.to_owned()),
        ("gs://b/k", "gcp", r#""use_iam":"true","anonymous":"true""#, EXCLUSIVE.to_owned()),
    ] {
        let error = validate(source, &format!(r#""cloud_provider":"{provider}",{more}"#));
        let error = error.map_err(|error| error.message().to_owned());
        assert_eq!(error, Err(format!("external_spec is invalid: {expected}")), "{source}");
    }
    let both = format!(r#""cloud_provider":"gcp",{KEYS},{ACCOUNT}"#);
    assert!(validate("gs://b/k", &both).unwrap_err().message().ends_with(EXCLUSIVE));
}

#[test]
fn the_azure_broker_is_checked_and_refused_by_name() {
    let azure = r#""cloud_provider":"azure""#;
    let error = validate("azure://box/k", &format!("{azure},{BROKER}")).unwrap_err();
    assert_eq!(error.kind(), pandion_types::ErrorKind::Unsupported);
    assert!(error.message().contains("credential mode Azure credential broker"), "{error}");

    for key in ["azure_tenant_id", "azure_credential_endpoint", "access_key_id", "region"] {
        let without = BROKER.replace(key, if key == "region" { "session_name" } else { "region" });
        let error = validate("azure://box/k", &format!("{azure},{without}"));
        let expected = format!(
            "external_spec is invalid: extfs.{key} is required for Azure credential broker mode"
        );
        assert_eq!(error.map_err(|error| error.message().to_owned()), Err(expected));
    }
    let url = BROKER.replace("https://broker.example/token", "ftp://broker.example");
    let error = validate("azure://box/k", &format!("{azure},{url}")).unwrap_err();
    let expected = "extfs.azure_credential_endpoint must be a valid HTTP(S) URL";
    assert!(error.message().ends_with(expected), "{error}");
    let error = validate("s3://b/k", &format!(r#""cloud_provider":"aws",{BROKER}"#)).unwrap_err();
    let expected = "Azure credential broker mode requires scheme=\"azure\" and \
                    extfs.cloud_provider=\"azure\", got scheme=\"s3\" cloud_provider=\"aws\"";
    assert!(error.message().ends_with(expected), "{error}");
}
