//! Where a table lies: an object store, a prefix in it, and the location that the table's metadata
//! calls this prefix by. Knows nothing of Iceberg.

use std::path::Path as Directory;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

/// A prefix of an object store and its name outside.
#[derive(Clone, Debug)]
pub struct Place {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    location: String,
}

impl Place {
    /// Objects below `prefix` of `store`, which the table's metadata calls `location`.
    ///
    /// # Errors
    /// A prefix that is no path of an object store.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str, location: &str) -> anyhow::Result<Self> {
        let prefix = Path::parse(prefix).with_context(|| format!("{prefix} is no path"))?;
        Ok(Self { store, prefix, location: location.trim_end_matches('/').to_owned() })
    }

    /// `s3://bucket/prefix`, where `store` holds the bucket.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn in_bucket(
        store: Arc<dyn ObjectStore>,
        bucket: &str,
        prefix: &str,
    ) -> anyhow::Result<Self> {
        let prefix = prefix.trim_matches('/');
        Self::new(store, prefix, &format!("s3://{bucket}/{prefix}"))
    }

    /// `s3://lake/table` in a store in memory.
    ///
    /// # Errors
    /// None in practice: the names are constants.
    pub fn in_memory() -> anyhow::Result<Self> {
        Self::in_bucket(Arc::new(InMemory::new()), "lake", "table")
    }

    /// A directory, which is made if it is missing, as `file:///directory`.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn in_directory(directory: &Directory) -> anyhow::Result<Self> {
        let failed = || format!("cannot make the directory {}", directory.display());
        std::fs::create_dir_all(directory).with_context(failed)?;
        let directory = directory.canonicalize().with_context(failed)?;
        let store = LocalFileSystem::new_with_prefix(&directory).with_context(failed)?;
        Self::new(Arc::new(store), "", &format!("file://{}", directory.display()))
    }

    /// The table's location, without a slash at the end.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The store that holds the table.
    #[must_use]
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// The URI of an object below the location.
    #[must_use]
    pub fn uri(&self, name: &str) -> String {
        format!("{}/{name}", self.location)
    }

    /// Where in the store an object with this URI lies.
    ///
    /// # Errors
    /// A URI that is not below the location.
    pub fn key(&self, uri: &str) -> anyhow::Result<Path> {
        let below = uri.strip_prefix(&self.location).and_then(|rest| rest.strip_prefix('/'));
        let name = below.with_context(|| format!("{uri} is not below {}", self.location))?;
        let prefix = self.prefix.as_ref();
        let key = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        Path::parse(&key).with_context(|| format!("{key} is no path"))
    }

    /// Writes an object.
    ///
    /// # Errors
    /// As [`Self::key`], or the store's.
    pub async fn put(&self, uri: &str, bytes: Bytes) -> anyhow::Result<()> {
        let key = self.key(uri)?;
        self.store.put(&key, bytes.into()).await.with_context(|| format!("cannot write {uri}"))?;
        Ok(())
    }

    /// Reads an object.
    ///
    /// # Errors
    /// As [`Self::key`], or the store's.
    pub async fn get(&self, uri: &str) -> anyhow::Result<Bytes> {
        let key = self.key(uri)?;
        let read = async { self.store.get(&key).await?.bytes().await };
        read.await.with_context(|| format!("cannot read {uri}"))
    }

    /// Removes an object.
    ///
    /// # Errors
    /// As [`Self::key`], or the store's.
    pub async fn delete(&self, uri: &str) -> anyhow::Result<()> {
        let key = self.key(uri)?;
        self.store.delete(&key).await.with_context(|| format!("cannot remove {uri}"))
    }
}
