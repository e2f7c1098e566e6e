//! Whether a specification suffices for a source: one provider, one credential mode, an endpoint.
//!
//! The rules and texts are those of Milvus, in its order. What they admit but this server cannot
//! do yet is refused by name afterwards; nothing falls back to an identity of the machine.

use pandion_types::{Error, Result, Subject};

use super::{CloudProvider, ExternalSpec, SourceFormat};
use crate::uri::{Scheme, SourceUri};

/// How requests to a store are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialMode {
    /// `access_key_id` and `access_key_value`.
    AccessKey,
    /// `anonymous=true`: requests are not signed.
    Anonymous,
    /// `role_arn`: a role to assume.
    RoleArn,
    /// `use_iam=true`: the identity of the machine or pod.
    Iam,
    /// `gcp_target_service_account`: a service account to act as.
    GcpServiceAccount,
    /// The Azure credential broker.
    AzureBroker,
}

impl CredentialMode {
    const ALL: [Self; 6] = [
        Self::AccessKey,
        Self::RoleArn,
        Self::Iam,
        Self::GcpServiceAccount,
        Self::AzureBroker,
        Self::Anonymous,
    ];

    /// The name in error texts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessKey => "access_key_id+access_key_value",
            Self::Anonymous => "anonymous=true",
            Self::RoleArn => "role_arn",
            Self::Iam => "use_iam=true",
            Self::GcpServiceAccount => "gcp_target_service_account",
            Self::AzureBroker => "Azure credential broker",
        }
    }

    fn is_set(self, spec: &ExternalSpec) -> bool {
        let has = |key: &str| !spec.extfs(key).is_empty();
        match self {
            Self::AccessKey => has("access_key_id") && has("access_key_value"),
            Self::Anonymous => spec.is_anonymous(),
            Self::RoleArn => has("role_arn"),
            // A role to assume says already where the first identity comes from.
            Self::Iam => spec.extfs("use_iam") == "true" && !has("role_arn"),
            Self::GcpServiceAccount => has("gcp_target_service_account"),
            Self::AzureBroker => {
                has("azure_client_id") || has("azure_tenant_id") || has("azure_credential_endpoint")
            }
        }
    }
}

impl ExternalSpec {
    /// Checks that the specification suffices to open the source. A `file` source needs no
    /// `extfs`.
    ///
    /// # Errors
    /// `InvalidArgument` about the source, with the texts of Milvus; `Unsupported`, naming it, for
    /// a format or credential mode that is valid and not built.
    pub fn validate_complete(&self, uri: &SourceUri) -> Result<()> {
        let wrapped =
            |error: Error| error.about(Subject::Source).context("external_spec is invalid");
        let mode = if uri.scheme() == Scheme::File {
            self.refuse_vended_for_files().map_err(wrapped)?;
            None
        } else {
            self.validate_extfs(uri).map_err(wrapped)?
        };
        if !matches!(self.format(), SourceFormat::Parquet | SourceFormat::IcebergTable) {
            return Err(wrapped(Error::unsupported(format!(
                "format {:?} is not supported by this server yet; it supports: parquet, \
                 iceberg-table",
                self.format().name()
            ))));
        }
        match mode {
            None
            | Some(
                CredentialMode::AccessKey
                | CredentialMode::Anonymous
                | CredentialMode::GcpServiceAccount,
            ) => Ok(()),
            Some(CredentialMode::RoleArn | CredentialMode::Iam) => {
                self.validate_identity(uri).map_err(wrapped)
            }
            Some(mode) => Err(wrapped(Error::unsupported(format!(
                "credential mode {} is not supported by this server; it supports: \
                 access_key_id+access_key_value, anonymous=true, role_arn, use_iam=true, \
                 gcp_target_service_account",
                mode.name()
            )))),
        }
    }

    /// The credential mode of `extfs`; exactly one is set.
    ///
    /// # Errors
    /// `InvalidArgument` about the source, with the texts of Milvus; also where the catalog hands
    /// out the credentials.
    pub fn credential_mode(&self) -> Result<CredentialMode> {
        let provider = CloudProvider::from_name(self.extfs("cloud_provider"));
        self.validate_credential_mode(provider.unwrap_or(CloudProvider::Minio))
            .and_then(|mode| match mode {
                Some(mode) => Ok(mode),
                None => invalid("extfs has no credential mode: the catalog hands them out"),
            })
            .map_err(|error| error.about(Subject::Source).context("external_spec is invalid"))
    }

    /// Whether the catalog is asked for the credentials, so that `extfs` has none.
    #[must_use]
    pub fn uses_vended_credentials(&self) -> bool {
        self.catalog().is_some_and(|catalog| catalog.vended_credentials)
    }

    fn refuse_vended_for_files(&self) -> Result<()> {
        if self.uses_vended_credentials() {
            return invalid("catalog.vended_credentials=true is not valid for a file source");
        }
        Ok(())
    }

    /// The credential mode of `extfs`; `None` where the catalog hands out credentials.
    fn validate_extfs(&self, uri: &SourceUri) -> Result<Option<CredentialMode>> {
        let provider = self.validate_provider(uri)?;
        self.validate_azure_broker(uri, provider)?;
        let mode = self.validate_credential_mode(provider)?;
        if mode == Some(CredentialMode::GcpServiceAccount) {
            self.validate_gcp(uri, provider)?;
        }
        let scheme = uri.scheme();
        if scheme.is_aws_family() && self.region().is_empty() {
            return invalid(format!(
                "extfs.region is required for scheme {:?} (AWS-family schemes need region for \
                 SigV4 signing)",
                scheme.name()
            ));
        }
        if scheme == Scheme::Azure && provider != CloudProvider::Azure {
            return invalid(format!(
                "scheme=azure requires extfs.cloud_provider=\"azure\", got {:?}",
                provider.name()
            ));
        }
        if provider == CloudProvider::Azure && scheme != Scheme::Azure {
            return invalid(format!(
                "extfs.cloud_provider=azure requires scheme=azure, got scheme={:?}",
                scheme.name()
            ));
        }
        let may_be_bucket_form = !uri.host_is_cloud_endpoint() && uri.path_segments() <= 1;
        if may_be_bucket_form && provider.endpoint_host(self.region()).is_none() {
            // `minio://host/bucket` has one segment and yet names its endpoint.
            if scheme != Scheme::Minio || uri.path_segments() == 0 {
                return invalid(format!(
                    "cannot resolve endpoint for {:?} with cloud_provider={:?}: set extfs.region, \
                     or use Milvus-form URI scheme://<endpoint>/<bucket>/<key>",
                    uri.as_str(),
                    provider.name()
                ));
            }
        }
        Ok(mode)
    }

    fn validate_provider(&self, uri: &SourceUri) -> Result<CloudProvider> {
        let name = self.extfs("cloud_provider");
        let lower = name.to_lowercase();
        if name != lower {
            return invalid(format!(
                "extfs.cloud_provider={name:?} must use the canonical lowercase value {lower:?}"
            ));
        }
        if name.is_empty() && uri.scheme() != Scheme::Minio {
            return invalid(
                "extfs.cloud_provider is required: one of [aws, gcp, aliyun, tencent, huawei, \
                 azure, minio]; inferring from URI scheme is ambiguous (e.g. s3:// matches both \
                 AWS S3 and self-hosted MinIO)",
            );
        }
        let Some(provider) = self.cloud_provider(uri) else {
            return invalid(format!(
                "extfs.cloud_provider={name:?} is not supported: must be one of [aws, gcp, \
                 aliyun, tencent, huawei, azure, minio]"
            ));
        };
        if uri.scheme() == Scheme::Minio && provider != CloudProvider::Minio {
            return invalid(format!(
                "scheme=minio requires extfs.cloud_provider=\"minio\", got {name:?}"
            ));
        }
        Ok(provider)
    }

    fn validate_azure_broker(&self, uri: &SourceUri, provider: CloudProvider) -> Result<()> {
        if !CredentialMode::AzureBroker.is_set(self) {
            return Ok(());
        }
        if provider != CloudProvider::Azure || uri.scheme() != Scheme::Azure {
            return invalid(format!(
                "Azure credential broker mode requires scheme=\"azure\" and \
                 extfs.cloud_provider=\"azure\", got scheme={:?} cloud_provider={:?}",
                uri.scheme().name(),
                provider.name()
            ));
        }
        for key in [
            "azure_client_id",
            "azure_tenant_id",
            "azure_credential_endpoint",
            "access_key_id",
            "region",
        ] {
            if self.extfs(key).is_empty() {
                return invalid(format!(
                    "extfs.{key} is required for Azure credential broker mode"
                ));
            }
        }
        let endpoint = url::Url::parse(self.extfs("azure_credential_endpoint"));
        if endpoint.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            return Ok(());
        }
        invalid("extfs.azure_credential_endpoint must be a valid HTTP(S) URL")
    }

    fn validate_credential_mode(&self, provider: CloudProvider) -> Result<Option<CredentialMode>> {
        let has_id = !self.extfs("access_key_id").is_empty();
        let has_value = !self.extfs("access_key_value").is_empty();
        if has_id != has_value && !CredentialMode::AzureBroker.is_set(self) {
            return invalid(
                "extfs.access_key_id and extfs.access_key_value must be set together (found one \
                 without the other)",
            );
        }
        let mut modes = CredentialMode::ALL.into_iter().filter(|mode| mode.is_set(self));
        match (modes.next(), modes.next()) {
            (Some(_), _) if self.uses_vended_credentials() => invalid(
                "extfs must have no credential mode beside catalog.vended_credentials=true, since \
                 the catalog hands out the credentials",
            ),
            (None, _) if self.uses_vended_credentials() => match provider {
                CloudProvider::Gcp | CloudProvider::Azure => Err(Error::unsupported(format!(
                    "catalog.vended_credentials=true is not supported for cloud_provider \
                         {:?}: set a credential mode in extfs",
                    provider.name()
                ))),
                _ => Ok(None),
            },
            (Some(mode), None) => Ok(Some(mode)),
            (None, _) => invalid(
                "extfs credential mode missing: set exactly one of \
                 {access_key_id+access_key_value}, role_arn, use_iam=true, \
                 gcp_target_service_account, Azure credential broker, or anonymous=true",
            ),
            (Some(_), Some(_)) => invalid(
                "extfs credential modes are mutually exclusive: set exactly one of AK/SK, \
                 role_arn, use_iam=true, gcp_target_service_account, Azure credential broker, or \
                 anonymous=true",
            ),
        }
    }

    fn validate_gcp(&self, uri: &SourceUri, provider: CloudProvider) -> Result<()> {
        let is_gcp_scheme = matches!(uri.scheme(), Scheme::Gs | Scheme::Gcs);
        if !is_gcp_scheme && provider != CloudProvider::Gcp {
            return invalid(format!(
                "extfs.gcp_target_service_account is only valid for GCP (scheme=gs/gcs or \
                 cloud_provider=gcp), got scheme={:?} cloud_provider={:?}",
                uri.scheme().name(),
                provider.name()
            ));
        }
        let account = self.extfs("gcp_target_service_account");
        if !account.contains('@') || !account.ends_with(".gserviceaccount.com") {
            return invalid(format!(
                "extfs.gcp_target_service_account must be a GCP service account email ending in \
                 .gserviceaccount.com, got {account:?}"
            ));
        }
        Ok(())
    }
}

fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::invalid_argument(message))
}
