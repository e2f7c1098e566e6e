//! Manifests as objects in Pandion's own prefix.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use pandion_catalog::ManifestPointer;
use pandion_manifest::Manifest;
use pandion_types::{Error, Result};

/// Reads and writes manifests. A manifest that was written is never written again.
#[derive(Clone, Debug)]
pub struct ManifestStore {
    store: Arc<dyn ObjectStore>,
}

impl ManifestStore {
    /// Manifests below `manifests/` of this store, which is Pandion's own.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    /// Makes a manifest durable. Its name holds its content's digest, so that two attempts at the
    /// same version cannot overwrite each other.
    ///
    /// # Errors
    /// `Unavailable` when the store fails; those of [`Manifest::encode`].
    pub async fn write(&self, manifest: &Manifest) -> Result<ManifestPointer> {
        let bytes = manifest.encode()?;
        let digest = blake3::hash(&bytes).to_hex().to_string();
        let short = digest.get(..16).unwrap_or(&digest);
        let path = format!(
            "manifests/{}/{:020}-{short}.manifest",
            manifest.collection, manifest.version.0
        );
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let location = Path::from(path.as_str());
        match self.store.put_opts(&location, PutPayload::from(bytes), options).await {
            // The same content under the same name: an earlier attempt got this far.
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => {
                return Err(Error::unavailable(format!("manifest {path} could not be written"))
                    .caused_by(error));
            }
        }
        Ok(ManifestPointer {
            version: manifest.version,
            path,
            digest,
            rows: manifest.live_rows(),
            files: manifest.files.len() as u64,
        })
    }

    /// Reads a manifest and checks it against its pointer.
    ///
    /// # Errors
    /// `Unavailable` when the store fails, `Corrupt` when the bytes are others than were written.
    pub async fn read(&self, pointer: &ManifestPointer) -> Result<Manifest> {
        let bytes = self.bytes(&pointer.path).await?;
        let digest = blake3::hash(&bytes).to_hex();
        if digest.as_str() != pointer.digest {
            return Err(Error::corrupt(format!(
                "manifest {} is not what was written: expected digest {}, found {digest}",
                pointer.path, pointer.digest
            )));
        }
        Manifest::decode(&bytes)
    }

    async fn bytes(&self, path: &str) -> Result<Bytes> {
        let failed = |error: object_store::Error| match error {
            object_store::Error::NotFound { .. } => {
                Error::corrupt(format!("manifest {path} is missing")).caused_by(error)
            }
            _ => Error::unavailable(format!("manifest {path} could not be read")).caused_by(error),
        };
        let found = self.store.get(&Path::from(path)).await.map_err(failed)?;
        found.bytes().await.map_err(failed)
    }
}
