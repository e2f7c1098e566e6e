//! A store that can only be read: what every source's store is wrapped in.
//!
//! It passes reads and listings through and refuses everything else, so that no code path can
//! write to the lake, whatever the credentials would allow. Its `Debug` shows the store's name
//! only, not its configuration.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// Reads from a store and refuses to write to it.
pub struct ReadOnlyStore {
    inner: Arc<dyn ObjectStore>,
    quotes_tags: bool,
}

impl ReadOnlyStore {
    /// Wraps a store.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, quotes_tags: false }
    }

    /// Puts quotation marks round entity tags in conditions, for stores that list tags without
    /// them but, by the rules of HTTP, expect them in a request.
    #[must_use]
    pub fn quoting_tags(self) -> Self {
        Self { quotes_tags: true, ..self }
    }
}

fn refused(location: &Path) -> Error {
    Error::PermissionDenied { path: location.to_string(), source: "sources are read-only".into() }
}

impl fmt::Display for ReadOnlyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadOnly({})", self.inner)
    }
}

impl fmt::Debug for ReadOnlyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[async_trait]
impl ObjectStore for ReadOnlyStore {
    async fn put_opts(&self, at: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(refused(at))
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(refused(at))
    }

    async fn get_opts(&self, location: &Path, mut options: GetOptions) -> Result<GetResult> {
        if self.quotes_tags
            && let Some(tag) = options.if_match.take()
        {
            let is_complete = tag == "*" || tag.starts_with('"');
            options.if_match = Some(if is_complete { tag } else { format!("\"{tag}\"") });
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        locations.map(|location| Err(refused(&location?))).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, to: &Path, _: CopyOptions) -> Result<()> {
        Err(refused(to))
    }

    async fn rename_opts(&self, _: &Path, to: &Path, _: RenameOptions) -> Result<()> {
        Err(refused(to))
    }
}

/// A listing that fails at once, for stores that find a prefix forbidden.
pub(crate) fn failed_list(error: Error) -> BoxStream<'static, Result<ObjectMeta>> {
    stream::once(async move { Err(error) }).boxed()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn reads_pass_and_writes_do_not() {
        let inner = Arc::new(InMemory::new());
        let (a, b) = (Path::from("d/a"), Path::from("d/b"));
        inner.put(&a, "bytes".into()).await.unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(ReadOnlyStore::new(inner));
        let read = store.get(&a).await.unwrap().bytes().await.unwrap();
        assert_eq!(read, Bytes::from("bytes"));
        assert_eq!(store.list(None).count().await, 1);
        assert_eq!(store.list_with_delimiter(Some(&"d".into())).await.unwrap().objects.len(), 1);

        let denied = |result: Result<()>| matches!(result, Err(Error::PermissionDenied { .. }));
        assert!(denied(store.put(&b, "x".into()).await.map(|_| ())));
        assert!(denied(store.put_multipart(&b).await.map(|_| ())));
        assert!(denied(store.delete(&a).await));
        assert!(denied(store.copy(&a, &b).await));
        assert!(denied(store.copy_if_not_exists(&a, &b).await));
        assert!(denied(store.rename(&a, &b).await));
        assert!(denied(store.rename_if_not_exists(&a, &b).await));
        assert_eq!(store.list(None).count().await, 1);
    }
}
