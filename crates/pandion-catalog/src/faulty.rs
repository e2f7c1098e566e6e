//! An object store that fails at a chosen write, for the tests of this crate.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

/// When a write fails. Writes are creations and deletions, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The store fails the write and has not done it.
    Before(usize),
    /// The store fails the write but has done it.
    After(usize),
    /// The store fails every write from this one on, and has done none of them.
    From(usize),
    /// The store lets an object be created twice.
    Overwrites,
}

#[derive(Clone, Debug)]
pub(crate) struct FaultyStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn ObjectStore>,
    fault: Fault,
    /// Whether nothing works any more after the fault, as after the end of the process.
    crashes: bool,
    writes: AtomicUsize,
    crashed: AtomicBool,
}

impl FaultyStore {
    /// A store that goes on after its fault.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, fault: Fault) -> Self {
        Self::with(store, fault, false)
    }

    /// A store that is dead after its fault.
    pub(crate) fn crashing(store: Arc<dyn ObjectStore>, fault: Fault) -> Self {
        Self::with(store, fault, true)
    }

    fn with(store: Arc<dyn ObjectStore>, fault: Fault, crashes: bool) -> Self {
        let (writes, crashed) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self(Arc::new(Inner { store, fault, crashes, writes, crashed }))
    }

    pub(crate) fn writes(&self) -> usize {
        self.0.writes.load(Ordering::SeqCst)
    }
}

impl Inner {
    fn alive(&self) -> Result<()> {
        if self.crashed.load(Ordering::SeqCst) { Err(injected("dead")) } else { Ok(()) }
    }

    fn crash(&self) -> Error {
        self.crashed.store(self.crashes, Ordering::SeqCst);
        injected("fault")
    }

    async fn write<T>(&self, write: impl Future<Output = Result<T>>) -> Result<T> {
        self.alive()?;
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        match self.fault {
            Fault::Before(at) if at == number => Err(self.crash()),
            Fault::From(at) if at <= number => Err(self.crash()),
            Fault::After(at) if at == number => {
                write.await?;
                Err(self.crash())
            }
            _ => write.await,
        }
    }
}

fn injected(what: &'static str) -> Error {
    Error::Generic { store: "faulty", source: what.into() }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        at: &Path,
        data: PutPayload,
        mut how: PutOptions,
    ) -> Result<PutResult> {
        if self.0.fault == Fault::Overwrites {
            how.mode = PutMode::Overwrite;
        }
        self.0.write(self.0.store.put_opts(at, data, how)).await
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(injected("not needed"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.alive()?;
        self.0.store.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.alive()?;
        self.0.store.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let inner = Arc::clone(&self.0);
        let delete = move |location: Result<Path>| {
            let inner = Arc::clone(&inner);
            async move {
                let location = location?;
                inner.write(inner.store.delete(&location)).await?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.0.alive() {
            Ok(()) => self.0.store.list(prefix),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, _prefix: Option<&Path>) -> Result<ListResult> {
        Err(injected("not needed"))
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> Result<()> {
        Err(injected("not needed"))
    }
}
