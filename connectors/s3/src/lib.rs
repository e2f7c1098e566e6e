//! S3 and the stores that speak its protocol, as sources.
//!
//! Everything that a store needs comes from the source's own specification. Nothing is read from
//! the environment or the machine's profile, and the metadata service is never asked: the HTTP
//! client that a store gets here can reach its one endpoint only. Requests are signed with the
//! given keys, or not at all for `anonymous=true`.
#![warn(missing_docs)]

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AwsCredential};
use object_store::client::StaticCredentialProvider;
use object_store::{ClientOptions, ObjectStore};
use pandion_source::{
    BucketAddress, CloudProvider, EndpointPolicy, ExternalSpec, GuardedConnector, ReadOnlyStore,
    SourceRoot, SourceSecrets, SourceUri, is_cloud_endpoint_host, source_retry,
};
use pandion_types::{Error, Result, Secret, Subject};

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
/// is no PEM text; `Corrupt` when a secret is missing that the specification has.
pub fn open_s3(
    uri: &SourceUri,
    spec: &ExternalSpec,
    secrets: &SourceSecrets,
    policy: &Arc<EndpointPolicy>,
) -> Result<Arc<dyn ObjectStore>> {
    spec.validate_complete(uri)?;
    let address = uri.bucket_address(spec)?;
    open(uri, spec, secrets, policy, &address)
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
    spec.validate_complete(uri)?;
    let address = uri.bucket_address(spec)?;
    policy.check_host(&address.host, address.port).await?;
    let store = open(uri, spec, secrets, policy, &address)?;
    Ok(SourceRoot { store, base_uri: address.base_uri(), prefix: address.prefix })
}

fn open(
    uri: &SourceUri,
    spec: &ExternalSpec,
    secrets: &SourceSecrets,
    policy: &Arc<EndpointPolicy>,
    address: &BucketAddress,
) -> Result<Arc<dyn ObjectStore>> {
    let provider = spec.cloud_provider(uri);
    let connector = GuardedConnector::new(
        policy,
        address.tls,
        &address.host,
        address.port,
        secrets.ssl_ca_cert(),
    )?;
    let virtual_host = uses_virtual_host(spec, provider, address);
    let builder = AmazonS3Builder::new()
        .with_bucket_name(&address.bucket)
        .with_region(region(spec, provider)?)
        .with_endpoint(endpoint(address, virtual_host)?)
        .with_virtual_hosted_style_request(virtual_host)
        .with_client_options(ClientOptions::new().with_allow_http(!address.tls))
        .with_retry(source_retry())
        .with_http_connector(connector)
        // Always given, also where nothing is signed: without credentials the builder would turn
        // to the metadata service of the machine.
        .with_credentials(Arc::new(StaticCredentialProvider::new(credential(spec, secrets)?)))
        .with_skip_signature(spec.is_anonymous());
    let store = builder.build().map_err(|error| {
        Error::invalid_argument(format!("the store of source {uri} cannot be set up"))
            .about(Subject::Source)
            .caused_by(error)
    })?;
    Ok(Arc::new(ReadOnlyStore::new(Arc::new(store))))
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

fn credential(spec: &ExternalSpec, secrets: &SourceSecrets) -> Result<AwsCredential> {
    if spec.is_anonymous() {
        let nothing = String::new();
        return Ok(AwsCredential { key_id: nothing.clone(), secret_key: nothing, token: None });
    }
    let key_id = needed("access_key_id", secrets.access_key_id())?;
    let secret_key = needed("access_key_value", secrets.access_key_value())?;
    // The key id goes into a header in clear, the other half does not.
    if !key_id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::invalid_argument(
            "extfs.access_key_id has a character that no key id has, such as a space or line end",
        )
        .about(Subject::Source));
    }
    Ok(AwsCredential { key_id, secret_key, token: None })
}

fn needed(key: &str, secret: Option<&Secret>) -> Result<String> {
    let secret = secret.ok_or_else(|| {
        Error::corrupt(format!("the secret extfs.{key} of a source is missing"))
            .about(Subject::Source)
    })?;
    Ok(secret.expose().to_owned())
}

#[cfg(test)]
mod tests;
