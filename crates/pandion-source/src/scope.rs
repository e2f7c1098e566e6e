//! The parts of a bucket that a source may read, where an administrator bounds them.
//!
//! A table's own metadata says where its files are. Behind a volume, or with a credential that is
//! meant for some prefixes only, that must not lead out of what the administrator gave.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use pandion_types::{ErrorKind, Subject};

use crate::listing::SourceRoot;
use crate::read_only::{ReadOnlyStore, failed_list};

/// Prefixes inside one bucket. A prefix ends at a slash: `a/b` holds `a/b/c` and not `a/bc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreScope {
    prefixes: Vec<Path>,
}

impl StoreScope {
    /// The scope of these prefixes; the root is everything.
    #[must_use]
    pub fn new(prefixes: Vec<Path>) -> Self {
        Self { prefixes }
    }

    /// Whether a location, or everything below it, lies in the scope.
    #[must_use]
    pub fn holds(&self, location: &Path) -> bool {
        self.prefixes.iter().any(|prefix| location.prefix_matches(prefix))
    }

    /// The root, with a store that refuses to look outside of the scope. The store cannot be
    /// written to.
    #[must_use]
    pub fn bound(self, root: SourceRoot) -> SourceRoot {
        let base_uri = root.base_uri.clone();
        let inner = ReadOnlyStore::new(root.store);
        SourceRoot { store: Arc::new(ScopedStore { inner, scope: self, base_uri }), ..root }
    }
}

struct ScopedStore {
    inner: ReadOnlyStore,
    scope: StoreScope,
    base_uri: String,
}

impl ScopedStore {
    fn check(&self, location: Option<&Path>) -> Result<()> {
        let root = Path::default();
        let location = location.unwrap_or(&root);
        if self.scope.holds(location) {
            return Ok(());
        }
        let refusal = pandion_types::Error::new(
            ErrorKind::PermissionDenied,
            format!(
                "{}{location} lies outside of what the administrator lets this source read",
                self.base_uri
            ),
        )
        .about(Subject::Source);
        Err(Error::PermissionDenied { path: location.to_string(), source: Box::new(refusal) })
    }
}

impl fmt::Display for ScopedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scoped({})", self.inner)
    }
}

impl fmt::Debug for ScopedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[async_trait]
impl ObjectStore for ScopedStore {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.inner.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check(Some(location))?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.check(prefix) {
            Ok(()) => self.inner.list(prefix),
            Err(error) => failed_list(error),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.check(prefix)?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;
    use crate::{IoStats, list_flat_prefix};

    async fn root(prefix: &str, scope: &[&str]) -> SourceRoot {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        for name in ["a/b/x.parquet", "a/bc/y.parquet", "z.parquet"] {
            store.put(&Path::from(name), "bytes".into()).await.unwrap();
        }
        let scope = StoreScope::new(scope.iter().map(|prefix| Path::from(*prefix)).collect());
        let base_uri = "s3://h/bucket/".to_owned();
        scope.bound(SourceRoot { store, base_uri, prefix: Path::from(prefix) })
    }

    #[tokio::test]
    async fn what_lies_in_the_scope_is_read_and_nothing_else() {
        let root = root("a/b", &["a/b"]).await;
        let files = list_flat_prefix(&root, ".parquet", &IoStats::default()).await.unwrap();
        assert_eq!(files.len(), 1);
        assert!(root.store.get(&"a/b/x.parquet".into()).await.is_ok());
        for outside in ["a/bc/y.parquet", "z.parquet"] {
            let error = root.store.get(&outside.into()).await.unwrap_err();
            assert!(matches!(error, Error::PermissionDenied { .. }), "{error:?}");
            assert!(root.store.head(&outside.into()).await.is_err());
        }
        for outside in [None, Some("a"), Some("a/bc")] {
            let prefix = outside.map(Path::from);
            assert!(root.store.list_with_delimiter(prefix.as_ref()).await.is_err());
            let listed: Result<Vec<_>> = root.store.list(prefix.as_ref()).try_collect().await;
            assert!(listed.is_err(), "{outside:?}");
        }
        assert!(root.store.put(&"a/b/n".into(), "x".into()).await.is_err());
        assert!(root.store.delete(&"a/b/x.parquet".into()).await.is_err());
    }

    #[tokio::test]
    async fn a_refusal_names_the_place_and_the_reason() {
        let root = root("a/bc", &["a/b", "q"]).await;
        let error = list_flat_prefix(&root, ".parquet", &IoStats::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let expected = "s3://h/bucket/a/bc lies outside of what the administrator lets";
        assert!(error.message().starts_with(expected), "{error}");
    }

    #[tokio::test]
    async fn the_root_is_everything() {
        let root = root("", &[""]).await;
        assert!(root.store.get(&"z.parquet".into()).await.is_ok());
        assert_eq!(root.store.list_with_delimiter(None).await.unwrap().objects.len(), 1);
    }
}
