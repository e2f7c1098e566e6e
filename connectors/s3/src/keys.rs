//! From the one credential mode of a specification to the keys that sign its requests, and to no
//! others.

use std::sync::Arc;

use pandion_source::{AwsCredentials, CredentialMode, CredentialSource, StaticCredentials};
use pandion_types::{Error, Result, ResultExt, Secret, Subject};

use crate::identity::RoleRequest;
use crate::{S3Access, region};

/// Keys, and whether there may be others when these are over.
pub(crate) enum Keys {
    /// Nothing is signed.
    Nobodys,
    /// These and no others.
    Lasting(StaticCredentials),
    /// Others when these end.
    Renewed(Arc<dyn CredentialSource>),
}

impl S3Access<'_> {
    /// The keys of the specification, for requests to `host:port` that are not the store's, such as
    /// those to a catalog; `None` where nothing is signed.
    ///
    /// # Errors
    /// As [`crate::open_s3`]; `PermissionDenied` when the identity of this server, or a role that
    /// it assumes, would be shown to an endpoint that is neither AWS's nor named by the operator.
    pub fn credentials(&self, host: &str, port: u16) -> Result<Option<Arc<dyn CredentialSource>>> {
        Ok(match self.keys(host, port)? {
            Keys::Nobodys => None,
            Keys::Lasting(keys) => Some(Arc::new(keys)),
            Keys::Renewed(keys) => Some(keys),
        })
    }

    /// Whose keys these are, for errors.
    pub(crate) fn who(&self) -> String {
        let role = self.spec.extfs("role_arn");
        match self.spec.credential_mode() {
            Ok(CredentialMode::RoleArn) => format!("extfs.role_arn {role}"),
            Ok(CredentialMode::AccessKey) => "extfs.access_key_id".to_owned(),
            Ok(mode) => format!("extfs.{}", mode.name()),
            Err(_) => "the keys that the catalog gave".to_owned(),
        }
    }

    /// The keys for requests to `host:port`.
    pub(crate) fn keys(&self, host: &str, port: u16) -> Result<Keys> {
        let Self { spec, secrets, policy, identity, .. } = self;
        match spec.credential_mode()? {
            CredentialMode::AccessKey => {
                let keys = AwsCredentials::lasting(
                    needed("access_key_id", secrets.access_key_id())?,
                    needed("access_key_value", secrets.access_key_value())?,
                );
                keys.check().context(|| "extfs.access_key_id")?;
                Ok(Keys::Lasting(StaticCredentials::new(keys)))
            }
            CredentialMode::Anonymous => Ok(Keys::Nobodys),
            CredentialMode::RoleArn => {
                identity.check_shown_to("role_arn", host, port)?;
                self.role().map(Keys::Renewed)
            }
            CredentialMode::Iam => match spec.iam_endpoint() {
                Some(endpoint) => {
                    let ca_pem = secrets.ssl_ca_cert();
                    Ok(Keys::Renewed(identity.metadata_at(endpoint, policy, ca_pem)?))
                }
                None => {
                    identity.check_shown_to("use_iam=true", host, port)?;
                    Ok(Keys::Renewed(identity.keys().context(|| "extfs.use_iam=true")?))
                }
            },
            CredentialMode::GcpServiceAccount | CredentialMode::AzureBroker => self.no_keys(),
        }
    }

    fn role(&self) -> Result<Arc<dyn CredentialSource>> {
        let Self { uri, spec, secrets, policy, identity } = self;
        let Some(role) = spec.assumed_role()? else { return self.no_keys() };
        let external_id = match spec.extfs("external_id") {
            "" => None,
            _ => Some(needed("external_id", secrets.get("external_id"))?),
        };
        identity.assume(&RoleRequest {
            role,
            external_id: external_id.as_ref(),
            region: region(spec, spec.cloud_provider(uri))?,
            iam_endpoint: spec.iam_endpoint(),
            policy,
        })
    }

    fn no_keys<T>(&self) -> Result<T> {
        let message = format!("the source {} has no credentials for an S3 store", self.uri);
        Err(Error::unsupported(message).about(Subject::Source))
    }
}

fn needed(key: &str, secret: Option<&Secret>) -> Result<Secret> {
    secret.cloned().ok_or_else(|| {
        Error::corrupt(format!("the secret extfs.{key} of a source is missing"))
            .about(Subject::Source)
    })
}
