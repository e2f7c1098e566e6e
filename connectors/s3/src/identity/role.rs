//! Sessions of a role, opened with this server's identity and no other.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pandion_source::{AssumedRole, AwsCredentials, CredentialSource};
use pandion_types::{Result, ResultExt, Secret};

use crate::sts::{Refusal, Sts};

/// Opens a session each time it is asked.
pub(super) struct Issuer {
    pub(super) sts: Sts,
    /// The identity that assumes the role.
    pub(super) base: Arc<dyn CredentialSource>,
    pub(super) role: AssumedRole,
    pub(super) external_id: Option<Secret>,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "extfs.role_arn {}, by {:?}", self.role.role_arn, self.sts)
    }
}

impl Issuer {
    async fn session(&self, base: &AwsCredentials) -> Result<AwsCredentials, Refusal> {
        self.sts.assume_role(base, &self.role, self.external_id.as_ref()).await
    }
}

#[async_trait]
impl CredentialSource for Issuer {
    async fn credentials(&self) -> Result<Arc<AwsCredentials>> {
        let role = || format!("extfs.role_arn {} cannot be assumed", self.role.role_arn);
        let base = self.base.credentials().await.context(role)?;
        let session = match self.session(&base).await {
            Err(refusal) if refusal.is_expired() => {
                // The session of this server's own identity ended before its time.
                let base = self.base.renew(&base).await.context(role)?;
                self.session(&base).await
            }
            session => session,
        };
        session.map(Arc::new).map_err(|refusal| refusal.error.context(role()))
    }

    async fn renew(&self, _rejected: &AwsCredentials) -> Result<Arc<AwsCredentials>> {
        self.credentials().await
    }
}
