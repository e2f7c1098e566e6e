//! Google Cloud Storage with the tokens of Google, as a source.
//!
//! For `gcp_target_service_account` and `use_iam=true` alone; access keys and anonymous reads go
//! through the S3 protocol, which Google speaks as well. The server's own Google identity is used
//! because a specification asks for it by its mode, never because another one fails. A token is
//! sent to Google's storage over TLS and nowhere else: whoever it is shown to can use it.
#![warn(missing_docs)]

mod identity;
mod impersonate;
mod token_client;

use std::sync::Arc;

use object_store::client::CredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::{ClientOptions, ObjectStore};
use pandion_source::{
    BucketAddress, CredentialMode, EndpointPolicy, ExternalSpec, GuardedConnector, ReadOnlyStore,
    SourceRoot, SourceSecrets, SourceUri, source_retry,
};
use pandion_types::{Error, Result, Subject};

use crate::identity::{Identity, IdentitySettings};
use crate::impersonate::TokenSource;
use crate::token_client::TokenClient;

/// Where Google exchanges the server's identity for that of a service account.
const IAM_CREDENTIALS_HOST: &str = "iamcredentials.googleapis.com";
/// Domain of Google's storage endpoints, the private ones included.
const STORAGE_DOMAIN: &str = ".googleapis.com";

/// Resolves the source's endpoint, asks `policy`, and opens the source. No request is made; tokens
/// are fetched by the first read, and again before they expire.
///
/// The server's own identity is the file that `GOOGLE_APPLICATION_CREDENTIALS` names, else that of
/// the machine or pod, asked from the metadata server.
///
/// # Errors
/// As [`ExternalSpec::validate_complete`], [`SourceUri::bucket_address`] and
/// [`EndpointPolicy::check_host`]; `Unsupported` for other credential modes; `InvalidArgument` for
/// an endpoint that is not Google's or without TLS, and for an account that is no address;
/// `PermissionDenied` when the file of the server's identity cannot be used.
pub async fn open_gcs_root(
    uri: &SourceUri,
    spec: &ExternalSpec,
    secrets: &SourceSecrets,
    policy: &Arc<EndpointPolicy>,
) -> Result<SourceRoot> {
    spec.validate_complete(uri)?;
    let account = target_account(spec)?;
    let address = uri.bucket_address(spec)?;
    check_recipient(&address)?;
    policy.check_host(&address.host, address.port).await?;
    let identity = Identity::open(&IdentitySettings::from_environment(), policy)?;
    let iam = TokenClient::new(policy, true, IAM_CREDENTIALS_HOST, 443)?;
    let tokens = Arc::new(TokenSource::new(account, identity, iam));
    open(uri, &address, secrets, policy, tokens)
}

fn open(
    uri: &SourceUri,
    address: &BucketAddress,
    secrets: &SourceSecrets,
    policy: &Arc<EndpointPolicy>,
    tokens: Arc<dyn CredentialProvider<Credential = GcpCredential>>,
) -> Result<SourceRoot> {
    let connector = GuardedConnector::for_source(policy, address, secrets)?;
    let store = GoogleCloudStorageBuilder::new()
        .with_bucket_name(&address.bucket)
        .with_base_url(&address.endpoint_url())
        .with_client_options(ClientOptions::new().with_allow_http(!address.tls))
        .with_retry(source_retry())
        .with_http_connector(connector)
        .with_credentials(tokens)
        .build()
        .map_err(|error| uri.unusable_store(error))?;
    let store: Arc<dyn ObjectStore> = Arc::new(ReadOnlyStore::new(Arc::new(store)));
    Ok(SourceRoot { store, base_uri: address.base_uri(), prefix: address.prefix.clone() })
}

/// The service account to act as; `None` for the server's own identity.
fn target_account(spec: &ExternalSpec) -> Result<Option<String>> {
    match spec.credential_mode()? {
        CredentialMode::Iam => Ok(None),
        CredentialMode::GcpServiceAccount => {
            let account = spec.extfs("gcp_target_service_account");
            // It becomes part of a URL's path.
            let fits =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            match account.split_once('@') {
                Some((name, domain))
                    if !name.is_empty() && (name.bytes().chain(domain.bytes()).all(fits)) =>
                {
                    Ok(Some(account.to_owned()))
                }
                _ => Err(Error::invalid_argument(format!(
                    "extfs.gcp_target_service_account {account:?} is not the address of a service \
                     account"
                ))
                .about(Subject::Source)),
            }
        }
        mode => Err(Error::unsupported(format!(
            "credential mode {} is not one of Google's tokens",
            mode.name()
        ))
        .about(Subject::Source)),
    }
}

/// A token is worth as much as a password to whoever receives it.
fn check_recipient(address: &BucketAddress) -> Result<()> {
    if address.tls && address.host.ends_with(STORAGE_DOMAIN) {
        return Ok(());
    }
    Err(Error::invalid_argument(format!(
        "{} is no endpoint for gcp_target_service_account or use_iam: tokens of Google are sent \
         to hosts below googleapis.com over TLS only",
        address.endpoint_url()
    ))
    .about(Subject::Source))
}

#[cfg(test)]
mod tests;
