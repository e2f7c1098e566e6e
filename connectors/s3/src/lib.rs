//! S3 and the stores that speak its protocol, as sources.
//!
//! Everything that a store needs comes from the source's own specification. Where that names an
//! identity of AWS (`role_arn`, `use_iam`), the keys are those of [`ServerIdentity`] or of a role
//! assumed with it; no other mode reads the environment or asks a metadata service, and none turns
//! to another identity when its own fails. The HTTP client that a store gets here can reach its one
//! endpoint only.
#![warn(missing_docs)]

mod aws_http;
mod endpoints;
mod environment;
mod identity;
mod signing;
mod sts;

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::client::HttpConnector;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use pandion_source::{
    AwsCredentials, BucketAddress, CloudProvider, CredentialMode, CredentialSource, EndpointPolicy,
    ExternalSpec, GuardedConnector, ReadOnlyStore, SourceRoot, SourceSecrets, SourceUri,
    StaticCredentials, is_cloud_endpoint_host,
};
use pandion_types::{Error, Result, ResultExt, Secret, Subject};

pub use environment::Environment;
pub use identity::ServerIdentity;

use identity::RoleRequest;
use signing::{RenewingConnector, StoreKeys};

/// How often a request is repeated after 429, 5xx, a lost connection or a timeout, with growing
/// random pauses.
const RETRIES_MAX: usize = 5;
/// No repetition begins later than this after the first attempt. The last attempt has the
/// client's own limits: ten seconds without a byte, a minute in all.
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// Opens a source's bucket for reading. No request is made and no name is resolved: every
/// connection that the store makes later is checked by `policy` first.
///
/// The bucket stands in the path of requests, but in the host name where `use_virtual_host` says
/// so or, when it says nothing, at the endpoints of AWS (unless the bucket's name has a dot, which
/// no certificate covers), Aliyun, Tencent and Huawei. TLS is used as
/// [`SourceUri::bucket_address`] says.
///
/// # Errors
/// As [`ExternalSpec::validate_complete`] and [`SourceUri::bucket_address`]; `InvalidArgument`
/// about the source for a region or key that cannot stand in a request and for a certificate that
/// is no PEM text; `Corrupt` when a secret is missing that the specification has;
/// `PermissionDenied` when the identity of this server is to be shown to a store that is not
/// AWS's. Whether an identity is to be had shows when the store is first used.
pub fn open_s3(
    uri: &SourceUri,
    spec: &ExternalSpec,
    secrets: &SourceSecrets,
    policy: &Arc<EndpointPolicy>,
) -> Result<Arc<dyn ObjectStore>> {
    spec.validate_complete(uri)?;
    let address = uri.bucket_address(spec)?;
    Opening { uri, spec, secrets, policy, identity: ServerIdentity::of_process() }.open(&address)
}

/// Resolves the source's endpoint, asks `policy`, and opens the source. No request is made.
///
/// # Errors
/// As [`open_s3`] and [`EndpointPolicy::check_host`].
pub async fn open_s3_root(
    uri: &SourceUri,
    spec: &ExternalSpec,
    secrets: &SourceSecrets,
    policy: &Arc<EndpointPolicy>,
) -> Result<SourceRoot> {
    open_s3_root_as(uri, spec, secrets, policy, ServerIdentity::of_process()).await
}

/// [`open_s3_root`] for a server that is `identity` to AWS.
///
/// # Errors
/// As [`open_s3_root`].
pub async fn open_s3_root_as(
    uri: &SourceUri,
    spec: &ExternalSpec,
    secrets: &SourceSecrets,
    policy: &Arc<EndpointPolicy>,
    identity: &ServerIdentity,
) -> Result<SourceRoot> {
    spec.validate_complete(uri)?;
    let address = uri.bucket_address(spec)?;
    policy.check_host(&address.host, address.port).await?;
    let store = Opening { uri, spec, secrets, policy, identity }.open(&address)?;
    Ok(SourceRoot { store, base_uri: address.base_uri(), prefix: address.prefix })
}

/// What a store is opened from.
struct Opening<'a> {
    uri: &'a SourceUri,
    spec: &'a ExternalSpec,
    secrets: &'a SourceSecrets,
    policy: &'a Arc<EndpointPolicy>,
    identity: &'a ServerIdentity,
}

/// Keys, and whether there may be others when these are over.
enum Keys {
    Lasting(AwsCredentials),
    Renewed(Arc<dyn CredentialSource>),
}

impl Opening<'_> {
    fn open(&self, address: &BucketAddress) -> Result<Arc<dyn ObjectStore>> {
        let Self { uri, spec, .. } = self;
        let provider = spec.cloud_provider(uri);
        let region = region(spec, provider)?;
        let connector = GuardedConnector::new(
            self.policy,
            address.tls,
            &address.host,
            address.port,
            self.secrets.ssl_ca_cert(),
        )?;
        let virtual_host = uses_virtual_host(spec, provider, address);
        let builder = AmazonS3Builder::new()
            .with_bucket_name(&address.bucket)
            .with_region(region)
            .with_endpoint(endpoint(address, virtual_host)?)
            .with_virtual_hosted_style_request(virtual_host)
            .with_client_options(ClientOptions::new().with_allow_http(!address.tls))
            .with_retry(retry())
            .with_skip_signature(spec.is_anonymous());
        // Always given, also where nothing is signed: without credentials the builder would turn
        // to the metadata service of the machine.
        let builder = match self.keys(address)? {
            Keys::Lasting(keys) => {
                signed(builder, Arc::new(StaticCredentials::new(keys)), connector)
            }
            Keys::Renewed(keys) => {
                let connector = RenewingConnector {
                    inner: connector,
                    keys: Arc::clone(&keys),
                    region: region.to_owned(),
                };
                signed(builder, keys, connector)
            }
        };
        let store = builder.build().map_err(|error| {
            Error::invalid_argument(format!("the store of source {uri} cannot be set up"))
                .about(Subject::Source)
                .caused_by(error)
        })?;
        Ok(Arc::new(ReadOnlyStore::new(Arc::new(store))))
    }

    /// The keys of the specification's one credential mode, and of no other.
    fn keys(&self, address: &BucketAddress) -> Result<Keys> {
        let Self { uri, spec, secrets, policy, identity } = self;
        match spec.credential_mode()? {
            CredentialMode::AccessKey => {
                let keys = AwsCredentials::lasting(
                    needed("access_key_id", secrets.access_key_id())?,
                    needed("access_key_value", secrets.access_key_value())?,
                );
                keys.check().context(|| "extfs.access_key_id")?;
                Ok(Keys::Lasting(keys))
            }
            CredentialMode::Anonymous => {
                Ok(Keys::Lasting(AwsCredentials::lasting(Secret::new("-"), Secret::new(""))))
            }
            CredentialMode::RoleArn => {
                identity.check_store("role_arn", &address.host, address.port)?;
                let Some(role) = spec.assumed_role()? else { return self.no_keys() };
                let external_id = match spec.extfs("external_id") {
                    "" => None,
                    _ => Some(needed("external_id", secrets.get("external_id"))?),
                };
                let keys = identity.assume(&RoleRequest {
                    role,
                    external_id: external_id.as_ref(),
                    region: region(spec, spec.cloud_provider(uri))?,
                    iam_endpoint: spec.iam_endpoint(),
                    policy,
                })?;
                Ok(Keys::Renewed(keys))
            }
            CredentialMode::Iam => match spec.iam_endpoint() {
                Some(endpoint) => {
                    let ca_pem = secrets.ssl_ca_cert();
                    Ok(Keys::Renewed(identity.metadata_at(endpoint, policy, ca_pem)?))
                }
                None => {
                    identity.check_store("use_iam=true", &address.host, address.port)?;
                    Ok(Keys::Renewed(identity.keys().context(|| "extfs.use_iam=true")?))
                }
            },
            CredentialMode::GcpServiceAccount | CredentialMode::AzureBroker => self.no_keys(),
        }
    }

    fn no_keys<T>(&self) -> Result<T> {
        let message = format!("the source {} has no credentials for an S3 store", self.uri);
        Err(Error::unsupported(message).about(Subject::Source))
    }
}

fn signed(
    builder: AmazonS3Builder,
    keys: Arc<dyn CredentialSource>,
    connector: impl HttpConnector,
) -> AmazonS3Builder {
    builder.with_credentials(Arc::new(StoreKeys(keys))).with_http_connector(connector)
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(4),
            base: 2.0,
        },
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_TIMEOUT,
    }
}

fn uses_virtual_host(
    spec: &ExternalSpec,
    provider: Option<CloudProvider>,
    address: &BucketAddress,
) -> bool {
    if let Some(said) = spec.use_virtual_host() {
        return said;
    }
    let at_cloud = is_cloud_endpoint_host(&address.host);
    match provider {
        Some(CloudProvider::Aws) => at_cloud && !address.bucket.contains('.'),
        Some(CloudProvider::Aliyun | CloudProvider::Tencent | CloudProvider::Huawei) => at_cloud,
        Some(CloudProvider::Gcp | CloudProvider::Azure | CloudProvider::Minio) | None => false,
    }
}

/// The endpoint as the client wants it: with the bucket in the host name, if it is to stand there.
fn endpoint(address: &BucketAddress, virtual_host: bool) -> Result<String> {
    if !virtual_host {
        return checked(address.endpoint_url());
    }
    let is_name =
        address.host.contains(|c: char| c.is_ascii_alphabetic()) && !address.host.starts_with('[');
    if !is_name {
        return Err(Error::invalid_argument(format!(
            "extfs.use_virtual_host needs an endpoint with a name, got {}",
            address.host
        ))
        .about(Subject::Source));
    }
    let host = format!("{}.{}", address.bucket, address.host);
    checked(BucketAddress { host, ..address.clone() }.endpoint_url())
}

/// The store's client takes for granted that its endpoint is a URL, so it has to be one.
fn checked(endpoint: String) -> Result<String> {
    match url::Url::parse(&endpoint) {
        Ok(_) => Ok(endpoint),
        Err(error) => Err(Error::invalid_argument(format!("{endpoint} is no valid endpoint"))
            .about(Subject::Source)
            .caused_by(error)),
    }
}

/// The region that requests are signed for. Stores without regions take any.
fn region(spec: &ExternalSpec, provider: Option<CloudProvider>) -> Result<&str> {
    let region = spec.region();
    if region.is_empty() {
        return Ok(if provider == Some(CloudProvider::Gcp) { "auto" } else { "us-east-1" });
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if region.bytes().all(fits) {
        return Ok(region);
    }
    Err(Error::invalid_argument(format!("extfs.region {region:?} is not the name of a region"))
        .about(Subject::Source))
}

fn needed(key: &str, secret: Option<&Secret>) -> Result<Secret> {
    secret.cloned().ok_or_else(|| {
        Error::corrupt(format!("the secret extfs.{key} of a source is missing"))
            .about(Subject::Source)
    })
}

#[cfg(test)]
mod tests;
