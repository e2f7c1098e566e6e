use std::io::Write as _;

use super::*;
use crate::settings::Settings;

const KEYS: &str = "cloud_provider: aws, region: eu-west-1, access_key_id: CANARYID";

fn load(text: &str) -> Result<Settings> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(text.as_bytes())?;
    Settings::load(Some(file.path()))
}

fn named(text: &str) -> Result<String> {
    let settings = load(text)?;
    let shown = format!("{settings:?}");
    assert!(!shown.contains("CANARY"), "{shown}");
    Ok(format!("{:?}", settings.source.named()?))
}

fn error_of(text: &str) -> String {
    let error = format!("{:#}", named(text).map(|_| ()).unwrap_err());
    assert!(!error.contains("CANARY"), "{error}");
    error
}

#[test]
fn everything_is_read_and_checked() {
    let shown = named(&format!(
        "source:\n  \
           volumes:\n    \
             - {{name: products, uri: 's3://lake/products/', credential: lake}}\n    \
             - name: open\n      \
               uri: minio://h:9000/b\n      \
               extfs: {{anonymous: true}}\n  \
           credentials:\n    \
             - name: lake\n      \
               allowed: ['s3://lake/']\n      \
               extfs: {{{KEYS}, access_key_value: CANARYVALUE, use_ssl: true}}\n  \
           default_storage: {{extfs: {{{KEYS}, access_key_value: CANARYVALUE}}}}\n"
    ))
    .unwrap();
    let expected = r#"NamedSources { volumes: ["open", "products"], credentials: ["lake"], default_storage: true }"#;
    assert_eq!(shown, expected);
    assert_eq!(
        named("{}").unwrap(),
        "NamedSources { volumes: [], credentials: [], default_storage: false }"
    );
}

#[test]
fn a_value_may_stand_in_a_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"CANARYVALUE\r\n").unwrap();
    let path = file.path().display();
    let volume = |extfs: &str| {
        format!("source: {{volumes: [{{name: v, uri: 's3://b', extfs: {{{KEYS}, {extfs}}}}}]}}")
    };
    let settings = load(&volume(&format!("access_key_value_file: '{path}'"))).unwrap();
    let extfs = settings.source.volumes[0].extfs.read().unwrap();
    let (_, value) = extfs.iter().find(|(key, _)| *key == "access_key_value").unwrap();
    assert_eq!(value.expose(), "CANARYVALUE");
    settings.source.named().unwrap();

    let both = format!("access_key_value_file: '{path}', access_key_value: CANARY");
    assert!(error_of(&volume(&both)).contains("both access_key_value and access_key_value_file"));
    let missing = error_of(&volume("access_key_value_file: /no/such/file"));
    assert!(missing.contains("volume \"v\"") && missing.contains("/no/such/file"), "{missing}");
}

#[test]
fn what_is_wrong_is_named_without_its_value() {
    let volume =
        |extfs: &str| format!("source: {{volumes: [{{name: v, uri: 's3://b', extfs: {extfs}}}]}}");
    for (text, expected) in [
        (volume("CANARY"), "extfs must be keys with texts"),
        (volume("{access_key_value: [CANARY]}"), "expected a text"),
        (volume("{access_key_value: {a: CANARY}}"), "expected a text"),
        (volume("{access_key_value: 0123}"), "extfs.access_key_value looks like a number"),
        (volume("{access_key_value: 1.50}"), "must be put in quotes"),
        (volume("{access_key: CANARY}"), "extfs key \"access_key\" is not allowed"),
        (volume("{anonymous: true}"), "volume \"v\": external_spec is invalid"),
        ("source: {volumes: CANARY}".to_owned(), "a list must be a JSON array"),
        ("source: {credentials: [{name: c}]}".to_owned(), "extfs"),
        ("source: {volumes: [{name: c, url: x}]}".to_owned(), "url"),
    ] {
        let error = error_of(&text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[derive(Debug, Deserialize)]
struct Lists {
    #[serde(deserialize_with = "list_or_json")]
    volumes: Vec<Volume>,
}

/// What an environment variable holds arrives as a text.
#[test]
fn a_list_may_be_a_text_in_json() {
    let read = |text: &str| serde_json::from_value::<Lists>(serde_json::json!({"volumes": text}));
    let lists = read(
        r#"[{"name": "v", "uri": "minio://h/b", "extfs": {"anonymous": "true"}},
            {"name": "w", "uri": "minio://h/c", "credential": "c"}]"#,
    )
    .unwrap();
    let names: Vec<_> = lists.volumes.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(names, ["v", "w"]);
    assert!(read("[]").unwrap().volumes.is_empty());
    for text in ["CANARY", "[\"CANARY\"]", "{\"a\":\"CANARY\"}", "[{\"name\":\"v\"]", ""] {
        let error = read(text).unwrap_err().to_string();
        assert!(!error.contains("CANARY"), "{error}");
    }
}
