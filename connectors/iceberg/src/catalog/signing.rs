//! Signatures of AWS (version 4) for catalogs that are services of AWS.
//!
//! The keys are those of the settings, or come from the source's own identity. Nothing is looked up
//! in the environment.

use std::fmt;
use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use http::header::{HeaderName, HeaderValue};
use pandion_source::{AwsCredentials, Clock, CredentialSource, SourceSecrets, StaticCredentials};
use pandion_types::{Error, Result, Subject};

use super::CatalogOptions;

/// Signs requests for one service in one region.
pub(super) struct Signer {
    region: String,
    service: String,
    source: Arc<dyn CredentialSource>,
    /// Whether other keys can be had when the service says that these have ended.
    is_renewed: bool,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} in {})", self.service, self.region)
    }
}

impl Signer {
    pub(super) fn new(
        region: Option<&str>,
        service: &str,
        secrets: &SourceSecrets,
        options: CatalogOptions,
    ) -> Result<Self> {
        let region = region.or(options.region.as_deref()).filter(|region| !region.is_empty());
        let Some(region) = region else {
            return Err(Error::invalid_argument(
                "catalog.signing_region is required with catalog.sigv4=true where neither the \
                 catalog's host nor extfs.region says the region",
            )
            .about(Subject::Source));
        };
        let (source, is_renewed): (Arc<dyn CredentialSource>, _) =
            match (secrets.catalog_keys(), options.identity) {
                (Some((key_id, secret)), _) => {
                    let keys = AwsCredentials::lasting(key_id.clone(), secret.clone());
                    keys.check()?;
                    (Arc::new(StaticCredentials::new(keys)), false)
                }
                (None, Some(identity)) => (identity, true),
                (None, None) => {
                    return Err(Error::invalid_argument(
                        "catalog.sigv4=true needs keys: set catalog.access_key_id and \
                         catalog.access_key_value, or a credential mode in extfs that has keys",
                    )
                    .about(Subject::Source));
                }
            };
        Ok(Self {
            region: region.to_owned(),
            service: service.to_owned(),
            source,
            is_renewed,
            clock: options.clock,
        })
    }

    pub(super) fn is_renewed(&self) -> bool {
        self.is_renewed
    }

    pub(super) async fn keys(&self) -> Result<Arc<AwsCredentials>> {
        self.source.credentials().await
    }

    pub(super) async fn renew(&self, rejected: &AwsCredentials) -> Result<Arc<AwsCredentials>> {
        self.source.renew(rejected).await
    }

    /// Signs a request without a body, as it stands, and puts the signature into its headers.
    pub(super) fn sign(&self, keys: &AwsCredentials, request: &mut reqwest::Request) -> Result<()> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::invalid_argument(format!(
                "a request cannot be signed for {} in {}",
                self.service, self.region
            ))
            .about(Subject::Source)
            .caused_by(error)
        };
        let identity = Credentials::new(
            keys.key_id.expose(),
            keys.secret.expose(),
            keys.token.as_ref().map(|token| token.expose().to_owned()),
            None,
            "pandion",
        )
        .into();
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let params = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(self.clock.now())
            .settings(settings)
            .build()
            .map_err(|error| failed(error.into()))?
            .into();
        let headers = request
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let signable = SignableRequest::new(
            request.method().as_str(),
            request.url().as_str(),
            headers,
            SignableBody::Bytes(&[]),
        )
        .map_err(|error| failed(error.into()))?;
        let (instructions, _) =
            sign(signable, &params).map_err(|error| failed(error.into()))?.into_parts();
        let (headers, _) = instructions.into_parts();
        for header in headers {
            let mut value =
                HeaderValue::from_str(header.value()).map_err(|error| failed(error.into()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(HeaderName::from_static(header.name()), value);
        }
        Ok(())
    }
}
