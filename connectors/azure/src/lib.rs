//! Azure Blob Storage as a source, with the key of an account or anonymously.
//!
//! Everything that a store needs comes from the specification: `access_key_id` is the account,
//! `access_key_value` its key. Nothing is read from the environment, and neither the metadata
//! service nor a token service is ever asked: the HTTP client that a store gets here can reach its
//! one endpoint only.
#![warn(missing_docs)]

use std::sync::Arc;

use object_store::azure::{AzureAccessKey, AzureCredential, MicrosoftAzureBuilder};
use object_store::client::StaticCredentialProvider;
use object_store::{ClientOptions, ObjectStore};
use pandion_source::{
    BucketAddress, CredentialMode, EndpointPolicy, ExternalSpec, GuardedConnector, ReadOnlyStore,
    SourceRoot, SourceSecrets, SourceUri, is_cloud_endpoint_host, source_retry,
};
use pandion_types::{Error, Result, Secret, Subject};

/// Resolves the source's endpoint, asks `policy`, and opens the source. No request is made.
///
/// The account stands in the host name at the clouds of Azure (`ACCOUNT.blob.core.windows.net`),
/// whether the source names that host, the cloud's domain, or only a container. Other endpoints
/// that are signed for have it in the path, as the emulator does; where nothing is signed, such an
/// endpoint is an account's own name.
///
/// # Errors
/// As [`ExternalSpec::validate_complete`], [`SourceUri::bucket_address`] and
/// [`EndpointPolicy::check_host`]; `Unsupported`, naming it, for other credential modes;
/// `InvalidArgument` for an account or key that is none; `Corrupt` when a secret is missing that
/// the specification has.
pub async fn open_azure_root(
    uri: &SourceUri,
    spec: &ExternalSpec,
    secrets: &SourceSecrets,
    policy: &Arc<EndpointPolicy>,
) -> Result<SourceRoot> {
    spec.validate_complete(uri)?;
    let credential = Credential::new(spec, secrets)?;
    let address = uri.bucket_address(spec)?;
    let place = Place::new(&address, credential.account.as_deref())?;
    policy.check_host(&place.address.host, place.address.port).await?;
    let store = open(uri, &place, credential, secrets, policy)?;
    Ok(SourceRoot { store, base_uri: place.base_uri(), prefix: place.address.prefix })
}

fn open(
    uri: &SourceUri,
    place: &Place,
    credential: Credential,
    secrets: &SourceSecrets,
    policy: &Arc<EndpointPolicy>,
) -> Result<Arc<dyn ObjectStore>> {
    let Place { address, account_in_path } = place;
    let connector = GuardedConnector::for_source(policy, address, secrets)?;
    let mut endpoint = address.endpoint_url();
    if let Some(account) = account_in_path {
        endpoint = format!("{endpoint}/{account}");
    }
    let is_anonymous = credential.account.is_none();
    let store = MicrosoftAzureBuilder::new()
        // Signatures name the account. Where nothing is signed it is not looked at.
        .with_account(credential.account.unwrap_or_default())
        .with_container_name(&address.bucket)
        .with_endpoint(endpoint)
        .with_client_options(ClientOptions::new().with_allow_http(!address.tls))
        .with_retry(source_retry())
        .with_http_connector(connector)
        // Always given, also where nothing is signed: without credentials the builder would turn
        // to the metadata service of the machine.
        .with_credentials(Arc::new(StaticCredentialProvider::new(credential.key)))
        .with_skip_signature(is_anonymous)
        .build()
        .map_err(|error| uri.unusable_store(error))?;
    Ok(Arc::new(ReadOnlyStore::new(Arc::new(store)).quoting_tags()))
}

/// Who asks.
struct Credential {
    /// `None` signs nothing.
    account: Option<String>,
    key: AzureCredential,
}

impl Credential {
    fn new(spec: &ExternalSpec, secrets: &SourceSecrets) -> Result<Self> {
        match spec.credential_mode()? {
            CredentialMode::Anonymous => {
                Ok(Self { account: None, key: AzureCredential::SASToken(Vec::new()) })
            }
            CredentialMode::AccessKey => {
                let account = needed("access_key_id", secrets.access_key_id())?;
                // It becomes part of a host name.
                let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
                if !account.expose().bytes().all(|byte| fits(byte) || byte == b'-') {
                    return Err(invalid(
                        "extfs.access_key_id must be the name of an Azure storage account: lower \
                         case letters and digits",
                    ));
                }
                let key = needed("access_key_value", secrets.access_key_value())?;
                // The cause is dropped on purpose: it describes the key.
                let Ok(key) = AzureAccessKey::try_new(key.expose()) else {
                    return Err(invalid(
                        "extfs.access_key_value must be the key of an Azure storage account, in \
                         base64",
                    ));
                };
                let account = Some(account.expose().to_owned());
                Ok(Self { account, key: AzureCredential::AccessKey(key) })
            }
            mode => Err(Error::unsupported(format!(
                "credential mode {} is not supported for Azure; it supports: \
                 access_key_id+access_key_value, anonymous=true",
                mode.name()
            ))
            .about(Subject::Source)),
        }
    }
}

fn needed<'a>(key: &str, secret: Option<&'a Secret>) -> Result<&'a Secret> {
    secret.ok_or_else(|| {
        Error::corrupt(format!("the secret extfs.{key} of a source is missing"))
            .about(Subject::Source)
    })
}

/// Where a container is, with its account.
struct Place {
    /// The host is that of the account, wherever there is one.
    address: BucketAddress,
    account_in_path: Option<String>,
}

impl Place {
    fn new(address: &BucketAddress, account: Option<&str>) -> Result<Self> {
        let mut address = address.clone();
        let at_cloud = is_cloud_endpoint_host(&address.host);
        let domain = address.host.strip_prefix("blob.").unwrap_or(&address.host);
        if !is_cloud_endpoint_host(domain) && is_cloud_endpoint_host(&format!("x.{domain}")) {
            let account = account.ok_or_else(|| {
                invalid(format!(
                    "an anonymous source of Azure must name its account: \
                     azure://ACCOUNT.blob.{domain}/{}/...",
                    address.bucket
                ))
            })?;
            address.host = format!("{account}.blob.{domain}");
            return Ok(Self { address, account_in_path: None });
        }
        if !at_cloud {
            return Ok(Self { address, account_in_path: account.map(str::to_owned) });
        }
        let named = address.host.split('.').next().unwrap_or_default();
        if account.is_some_and(|account| account != named) {
            return Err(invalid(format!(
                "extfs.access_key_id is not the account that external_source names in the host {}",
                address.host
            )));
        }
        Ok(Self { address, account_in_path: None })
    }

    /// What stands before a key in a file's identity.
    fn base_uri(&self) -> String {
        let Self { address, account_in_path } = self;
        let account = account_in_path.as_ref().map(|account| format!("{account}/"));
        let (authority, container) = (address.authority(), &address.bucket);
        format!("azure://{authority}/{}{container}/", account.unwrap_or_default())
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::invalid_argument(message).about(Subject::Source)
}

#[cfg(test)]
mod tests;
