//! What an administrator names and a user refers to: volumes, credentials and the server's own
//! default storage.
//!
//! Pure: it turns what a user says of a source into what is opened, and reads neither files nor
//! the environment. The result is for opening alone. What is stored and shown stays what the user
//! wrote, so that a secret that changes here never has to be changed in a collection.

mod access;
mod definition;
mod volume;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use pandion_types::{Error, Result, Subject};

pub use definition::{
    CredentialDefinition, DefaultStorageDefinition, ExtfsDefinition, NamedSourcesDefinition,
    VolumeDefinition,
};
pub use volume::VolumeUri;

use access::{StoreAccess, refuse_to_sign_for_catalogs};
use definition::parse_extfs;
use volume::is_name;

use crate::scope::StoreScope;
use crate::spec::{ExternalSpec, SourceSecrets};
use crate::uri::{Scheme, SourceUri};

/// The default storage in errors.
const DEFAULT_STORAGE: &str = "the default storage of this server";

/// What to open for a source.
#[derive(Clone, Debug)]
pub struct ResolvedSource {
    /// Where the source is; for a volume, the place behind it.
    pub uri: SourceUri,
    /// The user's table with the store's settings. It must neither be stored nor shown.
    pub spec: ExternalSpec,
    /// The secrets that go with it, the administrator's or the user's.
    pub secrets: SourceSecrets,
    /// What may be read of the bucket, where an administrator bounds it.
    pub scope: Option<StoreScope>,
}

/// The volumes, credentials and default storage of one server. Cheap to clone.
#[derive(Clone, Default)]
pub struct NamedSources(Arc<Named>);

#[derive(Default)]
struct Named {
    volumes: BTreeMap<String, Volume>,
    credentials: BTreeMap<String, StoreAccess>,
    default_storage: Option<StoreAccess>,
}

/// A volume whose store is known to be complete.
struct Volume {
    store: ResolvedSource,
}

impl NamedSources {
    /// Checks the definitions and keeps them. A volume is an object store's bucket, or a prefix in
    /// it, never a local directory, which has no credentials to hide.
    ///
    /// # Errors
    /// `InvalidArgument` naming the volume or credential that is not a complete store, names what
    /// is not there, or stands twice. No error repeats a secret.
    pub fn new(definition: NamedSourcesDefinition) -> Result<Self> {
        let mut named = Named::default();
        for credential in definition.credentials {
            let what = format!("credential {:?}", credential.name);
            check_name(&credential.name).map_err(|error| error.context(&what))?;
            let access = StoreAccess::new(&credential.extfs, &credential.allowed)
                .map_err(|error| error.context(&what))?;
            if named.credentials.insert(credential.name, access).is_some() {
                return Err(Error::invalid_argument(format!("{what} is defined twice")));
            }
        }
        named.default_storage = definition
            .default_storage
            .map(|storage| {
                StoreAccess::new(&storage.extfs, &storage.allowed)
                    .map_err(|error| error.context("the default storage"))
            })
            .transpose()?;
        for volume in definition.volumes {
            let what = format!("volume {:?}", volume.name);
            check_name(&volume.name).map_err(|error| error.context(&what))?;
            let checked = named.volume(&volume).map_err(|error| error.context(&what))?;
            if named.volumes.insert(volume.name, checked).is_some() {
                return Err(Error::invalid_argument(format!("{what} is defined twice")));
            }
        }
        Ok(Self(Arc::new(named)))
    }

    /// What to open for the source that a user describes. A source that refers to nothing of the
    /// administrator's comes back as it is. The administrator's settings are used only where the
    /// text asks for them: never because others are missing or have failed.
    ///
    /// Whether the specification suffices is not checked here, but by
    /// [`ExternalSpec::validate_complete`] on the result.
    ///
    /// # Errors
    /// `NotFound` about the source for a volume or credential that is not defined;
    /// `InvalidArgument` for a text that is malformed, says more than it may beside a volume or
    /// credential, or asks for a default storage that is not defined; `PermissionDenied` for a
    /// credential that may not be used for this source.
    pub fn resolve(
        &self,
        source: &str,
        spec: ExternalSpec,
        secrets: SourceSecrets,
    ) -> Result<ResolvedSource> {
        let resolved = match VolumeUri::parse(source)? {
            Some(place) => self.0.resolve_volume(&place, &spec, &secrets),
            None => self.0.resolve_store(SourceUri::parse(source)?, spec, secrets),
        };
        resolved.map_err(|error| error.about(Subject::Source))
    }
}

impl Named {
    fn volume(&self, definition: &VolumeDefinition) -> Result<Volume> {
        let uri = SourceUri::parse(&definition.uri)?;
        if uri.scheme() == Scheme::File {
            return Err(Error::invalid_argument(
                "a volume is in an object store; a local directory is allowed as a local root",
            ));
        }
        let (spec, secrets) = parse_extfs(&definition.extfs, definition.credential.as_deref())?;
        let mut store = self.resolve_store(uri, spec, secrets)?;
        store.spec.validate_complete(&store.uri)?;
        let address = store.uri.bucket_address(&store.spec)?;
        store.scope = Some(StoreScope::new(vec![address.prefix]));
        Ok(Volume { store })
    }

    fn resolve_volume(
        &self,
        place: &VolumeUri,
        spec: &ExternalSpec,
        secrets: &SourceSecrets,
    ) -> Result<ResolvedSource> {
        let name = place.name();
        let volume = self.volumes.get(name).ok_or_else(|| {
            Error::not_found(
                Subject::Source,
                format!(
                    "volume {name:?} does not exist: the administrator of this server defines \
                     volumes in its configuration (source.volumes)"
                ),
            )
        })?;
        if spec.credential().is_some() || !spec.names_no_store() {
            return Err(Error::invalid_argument(format!(
                "volume {name:?} is opened as its administrator defined it: external_spec may \
                 have neither a credential nor keys of extfs, but for storage_type=\"remote\""
            )));
        }
        let Volume { store } = volume;
        let mut uri = store.uri.clone();
        if !place.path().is_empty() {
            let base = store.uri.as_str().trim_end_matches('/');
            uri = SourceUri::parse(&format!("{base}/{}", place.path()))?;
        }
        let spec = spec.opened_as(&store.spec);
        let secrets = secrets.opened_as(&store.secrets);
        refuse_to_sign_for_catalogs(&format!("volume {name:?}"), &spec, &secrets)?;
        Ok(ResolvedSource { uri, spec, secrets, scope: store.scope.clone() })
    }

    fn resolve_store(
        &self,
        uri: SourceUri,
        spec: ExternalSpec,
        secrets: SourceSecrets,
    ) -> Result<ResolvedSource> {
        if let Some(name) = spec.credential() {
            let access = self.credentials.get(name).ok_or_else(|| {
                Error::not_found(
                    Subject::Source,
                    format!(
                        "credential {name:?} does not exist: the administrator of this server \
                         defines credentials in its configuration (source.credentials)"
                    ),
                )
            })?;
            let what = format!("credential {name:?}");
            return access.open(&what, uri, &spec, &secrets);
        }
        if uri.scheme() == Scheme::File || !spec.names_no_store() {
            return Ok(ResolvedSource { uri, spec, secrets, scope: None });
        }
        match &self.default_storage {
            Some(access) => access.open(DEFAULT_STORAGE, uri, &spec, &secrets),
            None => Err(no_default_storage(&uri, &spec)),
        }
    }
}

/// The text of Milvus for what is missing, and why it is not taken from elsewhere.
fn no_default_storage(uri: &SourceUri, spec: &ExternalSpec) -> Error {
    let missing = match spec.validate_complete(uri) {
        Err(error) => error.message().to_owned(),
        Ok(()) => "external_spec has no extfs".to_owned(),
    };
    Error::invalid_argument(format!(
        "{missing} (without more in extfs than storage_type=\"remote\", external_spec asks for the \
         default storage of this server, and its administrator has defined none: \
         source.default_storage)"
    ))
}

fn check_name(name: &str) -> Result<()> {
    if is_name(name) {
        return Ok(());
    }
    Err(Error::invalid_argument(
        "a name has letters, digits, '_', '-' and '.', at most 128, and no dot in front",
    ))
}

impl fmt::Debug for NamedSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedSources")
            .field("volumes", &self.0.volumes.keys())
            .field("credentials", &self.0.credentials.keys())
            .field("default_storage", &self.0.default_storage.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests;
