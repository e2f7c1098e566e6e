//! An administrator's way into stores, and what it may be used for.

use pandion_types::{Error, ErrorKind, Result};

use super::ResolvedSource;
use super::definition::{ExtfsDefinition, parse_extfs};
use crate::scope::StoreScope;
use crate::spec::{CatalogAuthentication, ExternalSpec, SourceSecrets};
use crate::uri::{BucketAddress, Scheme, SourceUri};

/// The keys of `extfs` that say where a store is and how it is spoken to. A user may give them
/// beside a credential; all others belong to the credential.
const PLACE_KEYS: [&str; 6] =
    ["bucket_name", "cloud_provider", "region", "storage_type", "use_ssl", "use_virtual_host"];

/// One credential mode with its secrets, and perhaps the prefixes that it is bound to.
#[derive(Debug)]
pub(super) struct StoreAccess {
    spec: ExternalSpec,
    secrets: SourceSecrets,
    /// Empty means any source.
    allowed: Vec<BucketAddress>,
}

impl StoreAccess {
    /// Where prefixes are given, `extfs` must suffice to open them: what the prefixes mean must not
    /// depend on what a user adds.
    pub(super) fn new(extfs: &ExtfsDefinition, allowed: &[String]) -> Result<Self> {
        let (spec, secrets) = parse_extfs(extfs, None)?;
        spec.credential_mode()?;
        let allowed = allowed
            .iter()
            .map(|prefix| {
                let uri = SourceUri::parse(prefix)?;
                if uri.scheme() == Scheme::File {
                    return Err(Error::invalid_argument("a file source takes no credential"));
                }
                spec.validate_complete(&uri)?;
                uri.bucket_address(&spec)
            })
            .collect::<Result<_>>()?;
        Ok(Self { spec, secrets, allowed })
    }

    /// The source, opened with this. `what` names it in errors.
    pub(super) fn open(
        &self,
        what: &str,
        uri: SourceUri,
        spec: &ExternalSpec,
        secrets: &SourceSecrets,
    ) -> Result<ResolvedSource> {
        if uri.scheme() == Scheme::File {
            return Err(Error::invalid_argument("a file source takes no credential"));
        }
        for (key, value) in spec.stated() {
            let prescribed = self.spec.extfs(key);
            if !PLACE_KEYS.contains(&key) {
                return Err(Error::invalid_argument(format!(
                    "{what} and extfs.{key} are mutually exclusive: with a credential that the \
                     administrator defined, extfs may have {} only",
                    PLACE_KEYS.join(", ")
                )));
            }
            if !prescribed.is_empty() && prescribed != value {
                return Err(Error::invalid_argument(format!(
                    "extfs.{key}={value:?} contradicts {what}, which prescribes another value: \
                     leave it out"
                )));
            }
        }
        let spec = spec.opened_as(&self.spec);
        let secrets = secrets.opened_as(&self.secrets);
        let scope = self.scope(what, &uri, &spec)?;
        if scope.is_some() {
            refuse_to_sign_for_catalogs(what, &spec, &secrets)?;
        }
        Ok(ResolvedSource { uri, spec, secrets, scope })
    }

    fn scope(
        &self,
        what: &str,
        uri: &SourceUri,
        spec: &ExternalSpec,
    ) -> Result<Option<StoreScope>> {
        if self.allowed.is_empty() {
            return Ok(None);
        }
        spec.validate_complete(uri)?;
        let address = uri.bucket_address(spec)?;
        let prefixes = self
            .allowed
            .iter()
            .filter(|allowed| is_same_bucket(&address, allowed))
            .map(|allowed| allowed.prefix.clone())
            .collect();
        let scope = StoreScope::new(prefixes);
        if scope.holds(&address.prefix) {
            return Ok(Some(scope));
        }
        Err(Error::new(
            ErrorKind::PermissionDenied,
            format!(
                "{what} may not be used for {uri}: its administrator has bound it to other places"
            ),
        ))
    }
}

/// What is bound to places in a bucket must not prove who asks anywhere else.
pub(super) fn refuse_to_sign_for_catalogs(
    what: &str,
    spec: &ExternalSpec,
    secrets: &SourceSecrets,
) -> Result<()> {
    let authentication = spec.catalog().map(|catalog| &catalog.authentication);
    if matches!(authentication, Some(CatalogAuthentication::SigV4 { .. }))
        && secrets.catalog_keys().is_none()
    {
        return Err(Error::invalid_argument(format!(
            "catalog.sigv4=true needs catalog.access_key_id and catalog.access_key_value of its \
             own: {what} is bound to its store"
        )));
    }
    Ok(())
}

/// Whether the address is in the bucket that is allowed, and at least as well protected on the way.
fn is_same_bucket(address: &BucketAddress, allowed: &BucketAddress) -> bool {
    (&address.host, address.port, &address.bucket) == (&allowed.host, allowed.port, &allowed.bucket)
        && (address.tls || !allowed.tls)
}
