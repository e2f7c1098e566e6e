use super::*;

const ALLOWED: &str = "aws, azure, cos, gcs, gs, minio, obs, oss, s3, s3a";

fn error_of(text: &str) -> String {
    let error = SourceUri::parse(text).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
    let message = error.message();
    message.strip_prefix("external_source is invalid: ").unwrap_or(message).to_owned()
}

fn address(source: &str, extfs: &str) -> Result<BucketAddress> {
    let (spec, _) =
        ExternalSpec::parse(&format!(r#"{{"format":"parquet","extfs":{{{extfs}}}}}"#)).unwrap();
    SourceUri::parse(source).unwrap().bucket_address(&spec)
}

fn place(source: &str, extfs: &str) -> String {
    let address = address(source, extfs).unwrap();
    format!("{} {} {}", address.endpoint_url(), address.bucket, address.prefix)
}

#[test]
fn refusals_have_the_texts_that_clients_match() {
    let explicit = "external_source must have an explicit scheme (e.g. s3://, aws://, gs://)";
    let host = "external_source must have a non-empty host (e.g. s3://bucket/key, \
                s3://endpoint/bucket/key, or minio://endpoint/bucket/key)";
    let embed = "external_source must not embed credentials in the URL (use \
                 extfs.access_key_id / extfs.access_key_value instead)";
    let scheme = |name: &str| {
        format!("external_source scheme {name:?} is not allowed; allowed schemes: {ALLOWED}")
    };
    for (text, expected) in [
        ("", "external_source is empty".to_owned()),
        ("external-demo/", explicit.to_owned()),
        ("/abs/path", explicit.to_owned()),
        ("1s3://b/k", explicit.to_owned()),
        ("://b/k", "invalid external_source URL".to_owned()),
        ("s3://b\u{7}/k", "invalid external_source URL".to_owned()),
        ("s3://b ucket/k", "invalid external_source URL".to_owned()),
        ("s3://host:99999/b/k", "invalid external_source URL".to_owned()),
        ("s3://host:x/b/k", "invalid external_source URL".to_owned()),
        ("http://host/b", scheme("http")),
        ("HTTPS://host/b", scheme("https")),
        ("ftp://host/b", scheme("ftp")),
        ("volume://my_volume/x", scheme("volume")),
        ("s3://key:secret@bucket/k", embed.to_owned()),
        ("s3://@bucket/k", embed.to_owned()),
        ("s3:///k", host.to_owned()),
        ("s3:bucket/k", host.to_owned()),
        ("minio://", host.to_owned()),
        (
            "s3://b/k?X-Amz-Signature=1",
            "external_source must not have a query or a fragment".into(),
        ),
        ("s3://b/k#f", "external_source must not have a query or a fragment".into()),
        ("file://relative/x", "a file source must be an absolute path: file:///directory".into()),
        ("file:/x", "a file source must be an absolute path: file:///directory".into()),
        ("file:///a/../etc", "a file source must not hold a .. segment".into()),
        ("file:///a/%2e%2e/etc", "a file source must not hold a .. segment".into()),
    ] {
        assert_eq!(error_of(text), expected, "{text}");
    }
}

#[test]
fn no_refusal_repeats_the_credentials() {
    for text in ["s3://AKCANARY:SKCANARY@b/k", "s3://b/k?X-Amz-Signature=CANARY", "s3://b#CANARY"] {
        let error = SourceUri::parse(text).unwrap_err();
        assert!(!format!("{error:?}").contains("CANARY"), "{error:?}");
        assert_eq!(redact_source(text), "<redacted>");
    }
}

#[test]
fn redaction_keeps_what_is_well_formed() {
    for text in
        ["", "s3://bucket/key/", "minio://h:9000/b/k", "file:///lake/t", "volume://products/2024"]
    {
        assert_eq!(redact_source(text), text);
    }
    for text in ["lake/", "http://h/b", "s3://b/k?x=1", "s3:opaque", "volume://v/../x"] {
        assert_eq!(redact_source(text), "<redacted>");
    }
}

#[test]
fn both_forms_resolve_to_endpoint_bucket_and_prefix() {
    let aws = r#""cloud_provider":"aws","region":"eu-west-1""#;
    let minio = r#""cloud_provider":"minio","region":"us-east-1","use_ssl":"false""#;
    for (source, extfs, expected) in [
        ("s3://bucket/a/b/", aws, "https://s3.eu-west-1.amazonaws.com bucket a/b"),
        ("s3://bucket", aws, "https://s3.eu-west-1.amazonaws.com bucket "),
        (
            "s3://bucket/deep/er/key",
            r#""cloud_provider":"aws","region":"cn-north-1""#,
            "https://s3.cn-north-1.amazonaws.com.cn bucket deep/er/key",
        ),
        ("aws://s3.amazonaws.com/bucket/key", aws, "https://s3.amazonaws.com bucket key"),
        ("s3://S3.EU-WEST-1.amazonaws.com/b/k", aws, "https://s3.eu-west-1.amazonaws.com b k"),
        ("s3://localhost:9000/bucket/p/", minio, "http://localhost:9000 bucket p"),
        ("s3://localhost:9000/bucket/p/q", minio, "http://localhost:9000 bucket p/q"),
        ("minio://store:9000/b/k", "", "http://store:9000 b k"),
        ("minio://store:443/b/k", r#""use_ssl":"true""#, "https://store b k"),
        ("minio://[::1]:9000/b/k", "", "http://[::1]:9000 b k"),
        ("gs://bucket/k", r#""cloud_provider":"gcp""#, "https://storage.googleapis.com bucket k"),
        (
            "oss://bucket/k",
            r#""cloud_provider":"aliyun","region":"cn-hangzhou""#,
            "https://oss-cn-hangzhou.aliyuncs.com bucket k",
        ),
        (
            "cos://bucket/k",
            r#""cloud_provider":"tencent","region":"ap-x""#,
            "https://cos.ap-x.myqcloud.com bucket k",
        ),
        (
            "obs://bucket/k",
            r#""cloud_provider":"huawei","region":"r1""#,
            "https://obs.r1.myhuaweicloud.com bucket k",
        ),
        ("gcs://bucket/k", r#""cloud_provider":"gcp""#, "https://storage.googleapis.com bucket k"),
        ("azure://box/k/l", r#""cloud_provider":"azure""#, "https://core.windows.net box k/l"),
        (
            "azure://box/k",
            r#""cloud_provider":"azure","region":"germanycentral""#,
            "https://core.cloudapi.de box k",
        ),
        (
            "azure://account.blob.core.windows.net/box/k",
            r#""cloud_provider":"azure""#,
            "https://account.blob.core.windows.net box k",
        ),
        (
            "azure://emulator:10000/box/k",
            r#""cloud_provider":"azure","use_ssl":"false""#,
            "http://emulator:10000 box k",
        ),
    ] {
        assert_eq!(place(source, extfs), expected, "{source}");
    }
}

#[test]
fn identity_is_the_same_whatever_form_was_written() {
    let extfs = r#""cloud_provider":"aws","region":"eu-west-1""#;
    let short = address("s3://bucket/key", extfs).unwrap();
    let long = address("aws://s3.eu-west-1.amazonaws.com:443/bucket/key/", extfs).unwrap();
    assert_eq!(short, long);
    assert_eq!(short.base_uri(), "s3://s3.eu-west-1.amazonaws.com/bucket/");
    let minio = address("minio://Store:9000/bucket/key", "").unwrap();
    assert_eq!(minio.base_uri(), "s3://store:9000/bucket/");
}

#[test]
fn addresses_that_mean_nothing_are_refused() {
    let minio = r#""cloud_provider":"minio","region":"r""#;
    let kind = |source: &str, extfs: &str| address(source, extfs).unwrap_err().kind();
    assert_eq!(kind("s3://localhost:9000/", minio), ErrorKind::InvalidArgument);
    for bucket in ["..", "b@c", "b%2f", "b:1", "b c"] {
        assert_eq!(kind(&format!("s3://h/{bucket}/k"), minio), ErrorKind::InvalidArgument);
    }
    assert_eq!(
        kind("s3://bucket/k", r#""cloud_provider":"aws","region":"x.evil.example/""#),
        ErrorKind::InvalidArgument
    );
    assert_eq!(kind("s3://h/b/a//c", minio), ErrorKind::InvalidArgument);
    assert_eq!(kind("s3://h/b/a/../c", minio), ErrorKind::InvalidArgument);
    assert_eq!(kind("minio://h/b/k", r#""bucket_name":"other""#), ErrorKind::InvalidArgument);
}

#[test]
fn keys_are_literal_and_file_paths_are_decoded() {
    let extfs = r#""cloud_provider":"minio","region":"r""#;
    let literal = address("s3://h/b/ts=00%3A00 x", extfs).unwrap();
    assert_eq!(literal.prefix.as_ref(), "ts=00%3A00 x");
    let file = SourceUri::parse("file:///my%20lake/t/").unwrap();
    assert_eq!(file.directory(), Some(PathBuf::from("/my lake/t")));
    assert_eq!(file.scheme(), Scheme::File);
    assert_eq!(SourceUri::parse("s3://b/k").unwrap().directory(), None);
}
