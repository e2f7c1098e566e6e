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
mod keys;
mod signing;
mod sts;

use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::client::HttpConnector;
use object_store::{ClientOptions, ObjectStore};
use pandion_source::{
    AttributedStore, AwsCredentials, BucketAddress, CloudProvider, CredentialSource,
    EndpointPolicy, ExternalSpec, GuardedConnector, ReadOnlyStore, SourceRoot, SourceSecrets,
    SourceUri, StaticCredentials, is_cloud_endpoint_host, source_retry,
};
use pandion_types::{Error, Result, Secret, Subject};

pub use environment::Environment;
pub use identity::ServerIdentity;

use keys::Keys;
use signing::{RenewingConnector, StoreKeys};

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
    S3Access { uri, spec, secrets, policy, identity: ServerIdentity::of_process() }.store()
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
    S3Access { uri, spec, secrets, policy, identity: ServerIdentity::of_process() }.root().await
}

/// Opens a source with `keys` in place of its credential mode, such as a catalog hands out. They
/// are renewed when the store says that they have expired.
///
/// # Errors
/// As [`open_s3_root`].
pub async fn open_s3_root_with(
    uri: &SourceUri,
    spec: &ExternalSpec,
    secrets: &SourceSecrets,
    policy: &Arc<EndpointPolicy>,
    keys: Arc<dyn CredentialSource>,
) -> Result<SourceRoot> {
    let identity = ServerIdentity::of_process();
    S3Access { uri, spec, secrets, policy, identity }.root_with(keys).await
}

/// What a store is opened from.
#[derive(Clone, Copy, Debug)]
pub struct S3Access<'a> {
    /// The source.
    pub uri: &'a SourceUri,
    /// Its specification.
    pub spec: &'a ExternalSpec,
    /// The specification's secrets.
    pub secrets: &'a SourceSecrets,
    /// Decides on every endpoint that the specification names.
    pub policy: &'a Arc<EndpointPolicy>,
    /// Who this server is to AWS.
    pub identity: &'a ServerIdentity,
}

impl S3Access<'_> {
    /// See [`open_s3`].
    ///
    /// # Errors
    /// As [`open_s3`].
    pub fn store(&self) -> Result<Arc<dyn ObjectStore>> {
        self.spec.validate_complete(self.uri)?;
        let address = self.uri.bucket_address(self.spec)?;
        self.open(&address, self.keys(&address.host, address.port)?)
    }

    /// See [`open_s3_root`].
    ///
    /// # Errors
    /// As [`open_s3_root`].
    pub async fn root(&self) -> Result<SourceRoot> {
        let address = self.address().await?;
        let keys = self.keys(&address.host, address.port)?;
        self.root_at(address, keys)
    }

    /// See [`open_s3_root_with`].
    ///
    /// # Errors
    /// As [`open_s3_root_with`].
    pub async fn root_with(&self, keys: Arc<dyn CredentialSource>) -> Result<SourceRoot> {
        let address = self.address().await?;
        self.root_at(address, Keys::Renewed(keys))
    }

    async fn address(&self) -> Result<BucketAddress> {
        self.spec.validate_complete(self.uri)?;
        let address = self.uri.bucket_address(self.spec)?;
        self.policy.check_host(&address.host, address.port).await?;
        Ok(address)
    }

    fn root_at(&self, address: BucketAddress, keys: Keys) -> Result<SourceRoot> {
        let store = self.open(&address, keys)?;
        Ok(SourceRoot { store, base_uri: address.base_uri(), prefix: address.prefix })
    }

    fn open(&self, address: &BucketAddress, keys: Keys) -> Result<Arc<dyn ObjectStore>> {
        let Self { uri, spec, .. } = self;
        let provider = spec.cloud_provider(uri);
        let region = region(spec, provider)?;
        let connector = GuardedConnector::for_source(self.policy, address, self.secrets)?;
        let virtual_host = uses_virtual_host(spec, provider, address);
        let builder = AmazonS3Builder::new()
            .with_bucket_name(&address.bucket)
            .with_region(region)
            .with_endpoint(endpoint(address, virtual_host)?)
            .with_virtual_hosted_style_request(virtual_host)
            .with_client_options(ClientOptions::new().with_allow_http(!address.tls))
            .with_retry(source_retry());
        // Keys are always given, also where nothing is signed: without them the builder would turn
        // to the metadata service of the machine.
        let builder = match keys {
            Keys::Nobodys => {
                let nobody = AwsCredentials::lasting(Secret::new("-"), Secret::new("-"));
                let keys = Arc::new(StaticCredentials::new(nobody));
                signed(builder, keys, connector).with_skip_signature(true)
            }
            Keys::Lasting(keys) => signed(builder, Arc::new(keys), connector),
            Keys::Renewed(keys) => {
                let (inner, region) = (connector, region.to_owned());
                let connector = RenewingConnector { inner, keys: Arc::clone(&keys), region };
                signed(builder, keys, connector)
            }
        };
        let store = builder.build().map_err(|error| uri.unusable_store(error))?;
        let store = AttributedStore::new(Arc::new(store), self.who());
        Ok(Arc::new(ReadOnlyStore::new(Arc::new(store))))
    }
}

fn signed(
    builder: AmazonS3Builder,
    keys: Arc<dyn CredentialSource>,
    connector: impl HttpConnector,
) -> AmazonS3Builder {
    builder.with_credentials(Arc::new(StoreKeys(keys))).with_http_connector(connector)
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

#[cfg(test)]
mod tests;
