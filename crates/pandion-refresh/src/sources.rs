//! From what a user says of a source to a connector that can list it.

use std::sync::Arc;

use pandion_catalog::SourceBinding;
use pandion_connector_azure::open_azure_root;
use pandion_connector_gcs::open_gcs_root;
use pandion_connector_iceberg::catalog::{CatalogOptions, RestCatalog};
use pandion_connector_iceberg::{IcebergConnector, TableLoader, TablePlace};
use pandion_connector_parquet::ParquetConnector;
use pandion_connector_s3::{S3Access, ServerIdentity, open_s3_root, open_s3_root_with};
use pandion_source::{
    CatalogAuthentication, CloudProvider, Connector, CredentialMode, EndpointPolicy, ExternalSpec,
    IoStats, LocalRoots, NamedSources, ResolvedSource, Scheme, SourceFormat, SourceRoot,
    SourceSecrets, open_local,
};
use pandion_types::{CollectionSchema, Error, Result, Secret, Subject};

/// A source whose store is open.
#[derive(Debug)]
pub struct OpenSource {
    /// The store, and where in it the source lies.
    pub root: SourceRoot,
    spec: ExternalSpec,
    catalog: Option<Arc<RestCatalog>>,
}

impl OpenSource {
    /// What tells which files the source has, for a collection with these fields.
    #[must_use]
    pub fn connector(&self, schema: &Arc<CollectionSchema>) -> Arc<dyn Connector> {
        let root = self.root.clone();
        if self.spec.format() != SourceFormat::IcebergTable {
            return Arc::new(ParquetConnector::new(root));
        }
        let place = match &self.catalog {
            Some(catalog) => TablePlace::Catalog(Arc::clone(catalog) as Arc<dyn TableLoader>),
            None => TablePlace::at(root.prefix.clone()),
        };
        let choice = self.spec.snapshot_choice().clone();
        Arc::new(IcebergConnector::new(root, place, choice, Arc::clone(schema)))
    }
}

/// Opens sources, within what the administrator allows.
#[derive(Debug)]
pub struct SourceOpener {
    policy: Arc<EndpointPolicy>,
    roots: LocalRoots,
    named: NamedSources,
}

impl SourceOpener {
    /// An opener that lets `policy` decide on network addresses and `roots` on local directories.
    #[must_use]
    pub fn new(policy: Arc<EndpointPolicy>, roots: LocalRoots) -> Self {
        Self { policy, roots, named: NamedSources::default() }
    }

    /// The same, for users who refer to volumes, credentials and the default storage of `named`.
    #[must_use]
    pub fn with_named(self, named: NamedSources) -> Self {
        Self { named, ..self }
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
    /// or directory that is not allowed; those of [`NamedSources::resolve`].
    pub async fn check(&self, source: &str, spec: &str) -> Result<SourceBinding> {
        let (parsed, secrets) = ExternalSpec::parse(spec)?;
        let secret = (!secrets.is_empty()).then(|| secrets.to_stored());
        // What is kept is what the user said; what it refers to is looked up at every opening.
        let binding =
            SourceBinding { source: source.to_owned(), spec: parsed.redacted_json(), secret };
        let resolved = self.named.resolve(source, parsed, secrets)?;
        self.open_resolved(resolved).await?;
        Ok(binding)
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
        let secrets = secret.map(SourceSecrets::from_stored).transpose()?.unwrap_or_default();
        let joined = ExternalSpec::join(redacted_spec, &secrets)?;
        let (spec, secrets) = ExternalSpec::parse(joined.expose())?;
        let resolved = self.named.resolve(source, spec, secrets)?;
        self.open_resolved(resolved).await
    }

    async fn open_resolved(&self, source: ResolvedSource) -> Result<OpenSource> {
        source.spec.validate_complete(&source.uri)?;
        let catalog = self.catalog(&source).await?;
        let root = self.root(&source, catalog.as_ref()).await?;
        Ok(OpenSource { root, spec: source.spec, catalog })
    }

    /// The catalog that the specification names, if it names one. It is not asked yet.
    async fn catalog(&self, source: &ResolvedSource) -> Result<Option<Arc<RestCatalog>>> {
        let ResolvedSource { uri, spec, secrets, .. } = source;
        let Some(settings) = spec.catalog() else { return Ok(None) };
        let host = settings.uri.host_str().unwrap_or_default();
        let port = settings.uri.port_or_known_default().unwrap_or_default();
        self.policy.check_host(host, port).await?;
        let mut options = CatalogOptions::default();
        if !spec.region().is_empty() {
            options.region = Some(spec.region().to_owned());
        }
        let signs = matches!(settings.authentication, CatalogAuthentication::SigV4 { .. });
        if signs && !settings.vended_credentials {
            let (policy, identity) = (&self.policy, ServerIdentity::of_process());
            let access = S3Access { uri, spec, secrets, policy, identity };
            options.identity = access.credentials(host, port)?;
        }
        Ok(Some(Arc::new(RestCatalog::new(settings, secrets, &self.policy, options)?)))
    }

    async fn root(
        &self,
        source: &ResolvedSource,
        catalog: Option<&Arc<RestCatalog>>,
    ) -> Result<SourceRoot> {
        let ResolvedSource { uri, spec, secrets, scope } = source;
        let policy = &self.policy;
        let vended = catalog.and_then(|it| it.credential_source(Arc::new(IoStats::default())));
        let root = match (uri.scheme(), spec.cloud_provider(uri)) {
            (_, Some(provider @ (CloudProvider::Azure | CloudProvider::Gcp)))
                if vended.is_some() =>
            {
                return Err(Error::unsupported(format!(
                    "catalog.vended_credentials is served for stores that speak S3, not for \
                     cloud_provider {:?}",
                    provider.name()
                ))
                .about(Subject::Source));
            }
            (Scheme::File, _) => open_local(uri, &self.roots)?,
            (_, Some(CloudProvider::Azure)) => open_azure_root(uri, spec, secrets, policy).await?,
            (_, Some(CloudProvider::Gcp)) if asks_for_tokens(spec)? => {
                open_gcs_root(uri, spec, secrets, policy).await?
            }
            _ => match vended {
                Some(keys) => open_s3_root_with(uri, spec, secrets, policy, keys).await?,
                None => open_s3_root(uri, spec, secrets, policy).await?,
            },
        };
        Ok(match scope {
            Some(scope) => scope.clone().bound(root),
            None => root,
        })
    }
}

/// Whether Google is asked for tokens; with keys, or without any, its store speaks S3.
fn asks_for_tokens(spec: &ExternalSpec) -> Result<bool> {
    let mode = spec.credential_mode()?;
    Ok(matches!(mode, CredentialMode::GcpServiceAccount | CredentialMode::Iam))
}

#[cfg(test)]
mod tests;
