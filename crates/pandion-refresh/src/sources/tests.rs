use pandion_source::{
    CredentialDefinition, DefaultStorageDefinition, ExtfsDefinition, IoStats,
    NamedSourcesDefinition, VolumeDefinition, list_flat_prefix,
};
use pandion_testkit::s3::{S3Options, S3Server};
use pandion_types::ErrorKind;

use super::*;

const ACCESS_KEY: &str = "CANARYID";
const SECRET_KEY: &str = "CANARYSECRET";
const TABLE: &str = r#"{"format":"parquet"}"#;

struct World {
    server: S3Server,
}

impl World {
    async fn new() -> Self {
        let server = S3Server::start(S3Options {
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            ..S3Options::default()
        })
        .await
        .unwrap();
        for key in ["inside/t/a.parquet", "inside/t/b.parquet", "outside/c.parquet"] {
            server.put("lake", key, "content");
        }
        Self { server }
    }

    fn uri(&self, prefix: &str) -> String {
        format!("minio://{}/lake/{prefix}", self.server.host_port())
    }

    /// A server that is told this secret key.
    fn opener(&self, secret_key: &str) -> SourceOpener {
        let keys = [("access_key_id", ACCESS_KEY), ("access_key_value", secret_key)];
        let extfs: ExtfsDefinition =
            keys.into_iter().map(|(key, value)| (key.to_owned(), Secret::new(value))).collect();
        let credential = |name: &str, allowed: Vec<String>| CredentialDefinition {
            name: name.to_owned(),
            allowed,
            extfs: extfs.clone(),
        };
        let definition = NamedSourcesDefinition {
            volumes: vec![VolumeDefinition {
                name: "products".to_owned(),
                uri: self.uri("inside"),
                credential: Some("anywhere".to_owned()),
                ..VolumeDefinition::default()
            }],
            credentials: vec![
                credential("anywhere", Vec::new()),
                credential("inside", vec![self.uri("inside")]),
            ],
            default_storage: Some(DefaultStorageDefinition {
                allowed: Vec::new(),
                extfs: extfs.clone(),
            }),
        };
        let policy = EndpointPolicy::new([self.server.host_port()]).unwrap();
        SourceOpener::new(Arc::new(policy), LocalRoots::default())
            .with_named(NamedSources::new(definition).unwrap())
    }
}

async fn list(opener: &SourceOpener, binding: &SourceBinding) -> Result<usize> {
    let open = opener.open(&binding.source, &binding.spec, binding.secret.as_ref()).await?;
    let shown = format!("{open:?}");
    assert!(!shown.contains("CANARY"), "{shown}");
    let files = list_flat_prefix(&open.root, ".parquet", &IoStats::default()).await?;
    Ok(files.len())
}

fn shows_no_secret(error: &Error) {
    let shown = format!("{error:?}");
    assert!(!shown.contains("CANARY"), "{shown}");
}

#[tokio::test]
async fn what_is_stored_is_what_the_user_wrote() {
    let world = World::new().await;
    let opener = world.opener(SECRET_KEY);
    for (source, spec) in [
        ("volume://products/t".to_owned(), TABLE),
        ("volume://products/t/".to_owned(), r#"{"extfs":{"storage_type":"remote"}}"#),
        (world.uri("inside/t"), r#"{"credential":"anywhere"}"#),
        (world.uri("inside/t"), r#"{"credential":"inside","format":"parquet"}"#),
        (world.uri("inside/t"), TABLE),
        (world.uri("inside/t"), r#"{"extfs":{"storage_type":"remote"}}"#),
    ] {
        let binding = opener.check(&source, spec).await.unwrap();
        assert_eq!((&binding.source, binding.secret.is_none()), (&source, true));
        let (parsed, _) = ExternalSpec::parse(spec).unwrap();
        assert_eq!(binding.spec, parsed.redacted_json());
        assert_eq!(list(&opener, &binding).await.unwrap(), 2, "{source} {spec}");
    }
}

#[tokio::test]
async fn a_secret_that_changes_needs_no_change_of_a_collection() {
    let world = World::new().await;
    let binding = world.opener("CANARYOLD").check("volume://products/t", TABLE).await.unwrap();
    let error = list(&world.opener("CANARYOLD"), &binding).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    shows_no_secret(&error);
    assert_eq!(list(&world.opener(SECRET_KEY), &binding).await.unwrap(), 2);
}

#[tokio::test]
async fn a_volume_or_credential_that_is_gone_is_missed_by_name() {
    let world = World::new().await;
    let opener = world.opener(SECRET_KEY);
    let without = SourceOpener::new(
        Arc::new(EndpointPolicy::new([world.server.host_port()]).unwrap()),
        LocalRoots::default(),
    );
    for (source, spec, name) in [
        ("volume://products/t".to_owned(), TABLE, "volume \"products\" does not exist"),
        (
            world.uri("inside/t"),
            r#"{"credential":"inside"}"#,
            "credential \"inside\" does not exist",
        ),
        (world.uri("inside/t"), TABLE, "source.default_storage"),
    ] {
        let binding = opener.check(&source, spec).await.unwrap();
        for error in [
            list(&without, &binding).await.unwrap_err(),
            without.check(&source, spec).await.map(|_| ()).unwrap_err(),
        ] {
            assert!(error.message().contains(name), "{error}");
        }
    }
}

#[tokio::test]
async fn nothing_leads_out_of_what_an_administrator_gave() {
    let world = World::new().await;
    let opener = world.opener(SECRET_KEY);
    for source in ["volume://products/../outside", "volume://products/%2e%2e/outside"] {
        let error = opener.check(source, TABLE).await.map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{source}");
    }
    let spec = r#"{"credential":"inside"}"#;
    let error = opener.check(&world.uri("outside"), spec).await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);

    // Nor does anything that a table's metadata may say.
    let sources = [("volume://products/t".to_owned(), TABLE), (world.uri("inside/t"), spec)];
    for (source, spec) in sources {
        let binding = opener.check(&source, spec).await.unwrap();
        let open = opener.open(&source, &binding.spec, None).await.unwrap();
        let mut root = open.root;
        root.prefix = "outside".into();
        let before = world.server.stats();
        let error = list_flat_prefix(&root, ".parquet", &IoStats::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{source}");
        assert_eq!(world.server.stats(), before, "the store was not asked");
    }
}
