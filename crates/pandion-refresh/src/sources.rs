//! From what a user says of a source to a connector that can list it.

use std::sync::Arc;

use pandion_catalog::SourceBinding;
use pandion_connector_parquet::ParquetConnector;
use pandion_connector_s3::open_s3_root;
use pandion_source::{
    Connector, EndpointPolicy, ExternalSpec, LocalRoots, Scheme, SourceFormat, SourceRoot,
    SourceSecrets, SourceUri, open_local,
};
use pandion_types::{CollectionSchema, Error, Result, Secret};

/// A source whose store is open.
#[derive(Debug)]
pub struct OpenSource {
    /// The store, and where in it the source lies.
    pub root: SourceRoot,
    uri: SourceUri,
    spec: ExternalSpec,
}

impl OpenSource {
    /// What tells which files the source has, for a collection with these fields.
    ///
    /// # Errors
    /// `InvalidArgument` about the source when the specification asks for what its format has not.
    pub fn connector(&self, schema: &Arc<CollectionSchema>) -> Result<Arc<dyn Connector>> {
        match self.spec.format() {
            SourceFormat::IcebergTable => todo!("{} {}", self.uri, schema.version),
            _ => Ok(Arc::new(ParquetConnector::new(self.root.clone()))),
        }
    }
}

/// Opens sources, within what the administrator allows.
#[derive(Debug)]
pub struct SourceOpener {
    policy: Arc<EndpointPolicy>,
    roots: LocalRoots,
}

impl SourceOpener {
    /// An opener that lets `policy` decide on network addresses and `roots` on local directories.
    #[must_use]
    pub fn new(policy: Arc<EndpointPolicy>, roots: LocalRoots) -> Self {
        Self { policy, roots }
    }

    /// Checks a source that may be left out: then both texts are empty.
    ///
    /// # Errors
    /// `InvalidArgument` when only one of the two is given; else as [`Self::check`].
    pub async fn check_optional(&self, source: &str, spec: &str) -> Result<Option<SourceBinding>> {
        match (source.is_empty(), spec.is_empty()) {
            (true, true) => Ok(None),
            (false, false) => self.check(source, spec).await.map(Some),
            _ => Err(Error::invalid_argument(
                "external collection requires external_source and external_spec to be both set or \
                 both empty",
            )),
        }
    }

    /// Checks form, specification and the address that the source leads to. Reads nothing of it. The
    /// answer has the specification with stars for secrets, and the secrets apart.
    ///
    /// # Errors
    /// `InvalidArgument` and `Unsupported` with Milvus's texts; `PermissionDenied` for an address
    /// or directory that is not allowed.
    pub async fn check(&self, source: &str, spec: &str) -> Result<SourceBinding> {
        let uri = SourceUri::parse(source)?;
        let (parsed, secrets) = ExternalSpec::parse(spec)?;
        parsed.validate_complete(&uri)?;
        self.root(&uri, &parsed, &secrets).await?;
        let secret = (!secrets.is_empty()).then(|| secrets.to_stored());
        Ok(SourceBinding { source: source.to_owned(), spec: parsed.redacted_json(), secret })
    }

    /// Opens a source whose texts were checked and stored. Its address is checked again: what a
    /// name resolves to can change.
    ///
    /// # Errors
    /// As [`Self::check`]; `Corrupt` when stored secrets are missing.
    pub async fn open(
        &self,
        source: &str,
        redacted_spec: &str,
        secret: Option<&Secret>,
    ) -> Result<OpenSource> {
        let uri = SourceUri::parse(source)?;
        let secrets = secret.map(SourceSecrets::from_stored).transpose()?.unwrap_or_default();
        let joined = ExternalSpec::join(redacted_spec, &secrets)?;
        let (spec, secrets) = ExternalSpec::parse(joined.expose())?;
        let root = self.root(&uri, &spec, &secrets).await?;
        Ok(OpenSource { root, uri, spec })
    }

    async fn root(
        &self,
        uri: &SourceUri,
        spec: &ExternalSpec,
        secrets: &SourceSecrets,
    ) -> Result<SourceRoot> {
        if uri.scheme() == Scheme::File {
            return open_local(uri, &self.roots);
        }
        open_s3_root(uri, spec, secrets, &self.policy).await
    }
}
