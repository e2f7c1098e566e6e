//! A store whose refusals say on whose behalf it was asked: an operator with many identities has to
//! know which of them lacks a right.
//!
//! It changes nothing but the causes of errors.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryFutureExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// A store that is asked on behalf of somebody.
pub struct AttributedStore {
    inner: Arc<dyn ObjectStore>,
    who: Arc<str>,
}

impl AttributedStore {
    /// Wraps a store that is asked as `who`, in words for a user and without a secret.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, who: impl Into<Arc<str>>) -> Self {
        Self { inner, who: who.into() }
    }
}

/// An error of a store, with on whose behalf it was asked.
#[derive(Debug)]
pub(crate) struct AskedAs {
    pub(crate) who: Arc<str>,
    source: Box<dyn StdError + Send + Sync>,
}

impl fmt::Display for AskedAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.source, f)
    }
}

impl StdError for AskedAs {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.source.as_ref())
    }
}

/// The kind of an error stays: callers tell by it what to do.
pub(crate) fn attribute(who: &Arc<str>, error: Error) -> Error {
    let asked = |source| Box::new(AskedAs { who: Arc::clone(who), source });
    match error {
        Error::PermissionDenied { path, source } => {
            Error::PermissionDenied { path, source: asked(source) }
        }
        Error::Unauthenticated { path, source } => {
            Error::Unauthenticated { path, source: asked(source) }
        }
        Error::Generic { store, source } => Error::Generic { store, source: asked(source) },
        other => other,
    }
}

impl fmt::Display for AttributedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {}", self.inner, self.who)
    }
}

impl fmt::Debug for AttributedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[async_trait]
impl ObjectStore for AttributedStore {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let put = self.inner.put_opts(at, payload, options);
        put.map_err(|error| attribute(&self.who, error)).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let put = self.inner.put_multipart_opts(at, options);
        put.map_err(|error| attribute(&self.who, error)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let get = self.inner.get_opts(location, options);
        get.map_err(|error| attribute(&self.who, error)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let who = Arc::clone(&self.who);
        self.inner.delete_stream(locations).map_err(move |error| attribute(&who, error)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let who = Arc::clone(&self.who);
        self.inner.list(prefix).map_err(move |error| attribute(&who, error)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let list = self.inner.list_with_delimiter(prefix);
        list.map_err(|error| attribute(&self.who, error)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let copy = self.inner.copy_opts(from, to, options);
        copy.map_err(|error| attribute(&self.who, error)).await
    }
}
