//! Sources on this machine: `file:///directory`, below directories that the operator named.
//!
//! Off unless a root is configured. Paths are resolved with all their links before the roots are
//! consulted, at the opening of the source and again at every read, so that neither `..` nor a link
//! leads out. A path outside the roots is refused without being looked at.
//!
//! Against someone who can write inside a root and exchanges a directory for a link in the moment
//! between two system calls, the second look at the opened file narrows the gap but cannot close
//! it; whoever can do that is inside the root anyway.

use std::fmt;
use std::io;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult,
};
use pandion_types::{Error, ErrorKind, Result, Subject};

use crate::listing::SourceRoot;
use crate::read_only::{ReadOnlyStore, failed_list};
use crate::uri::SourceUri;

/// The directories below which `file` sources may lie.
#[derive(Clone, Debug, Default)]
pub struct LocalRoots {
    /// As the operator wrote them, absolute.
    given: Vec<PathBuf>,
    /// The same with all links resolved.
    resolved: Vec<PathBuf>,
}

impl LocalRoots {
    /// The roots; none refuses every `file` source. Reads the file system.
    ///
    /// # Errors
    /// `InvalidArgument` naming the root that is not an existing directory.
    pub fn new<P: AsRef<FsPath>>(roots: impl IntoIterator<Item = P>) -> Result<Self> {
        let mut all = Self::default();
        for root in roots {
            let root = root.as_ref();
            let failed = |error: io::Error| {
                Error::invalid_argument(format!("local root {} is no directory", root.display()))
                    .caused_by(error)
            };
            let resolved = root.canonicalize().map_err(failed)?;
            if !resolved.is_dir() {
                return Err(failed(io::ErrorKind::NotADirectory.into()));
            }
            all.given.push(std::path::absolute(root).map_err(failed)?);
            all.resolved.push(resolved);
        }
        Ok(all)
    }

    /// The path with all links resolved, if that lies below a root.
    ///
    /// # Errors
    /// `PermissionDenied` about the source, saying which option allows it; `NotFound`.
    pub fn resolve(&self, path: &FsPath) -> Result<PathBuf> {
        let below =
            |roots: &[PathBuf], path: &FsPath| roots.iter().any(|root| path.starts_with(root));
        if !below(&self.given, path) && !below(&self.resolved, path) {
            return Err(self.refused(path));
        }
        let resolved = path.canonicalize().map_err(|error| {
            let shown = path.display();
            match error.kind() {
                io::ErrorKind::NotFound => {
                    Error::not_found(Subject::Source, format!("{shown} does not exist"))
                }
                io::ErrorKind::PermissionDenied => Error::new(
                    ErrorKind::PermissionDenied,
                    format!("the server may not read {shown}"),
                ),
                _ => Error::unavailable(format!("{shown} cannot be resolved")),
            }
            .about(Subject::Source)
            .caused_by(error)
        })?;
        if below(&self.resolved, &resolved) { Ok(resolved) } else { Err(self.refused(path)) }
    }

    fn refused(&self, path: &FsPath) -> Error {
        let shown = path.display();
        let what = if self.given.is_empty() {
            "file sources are off".to_owned()
        } else {
            format!("{shown} is not below a directory that is allowed for file sources")
        };
        Error::new(
            ErrorKind::PermissionDenied,
            format!("{what}; start the server with --local-root DIR to allow what lies below DIR"),
        )
        .about(Subject::Source)
        .with("external_source", shown)
    }
}

/// Opens the directory that a `file` source names. Reads the file system, but no file.
///
/// # Errors
/// `PermissionDenied` when it is not below a root, `NotFound` when it is not there,
/// `InvalidArgument` when it is no directory or no `file` source.
pub fn open_local(uri: &SourceUri, roots: &LocalRoots) -> Result<SourceRoot> {
    let directory = uri.directory().ok_or_else(|| {
        Error::invalid_argument(format!("{uri} is not a file source")).about(Subject::Source)
    })?;
    let directory = roots.resolve(&directory)?;
    let unusable = |what: &str| {
        Error::invalid_argument(format!("{} {what}", directory.display())).about(Subject::Source)
    };
    // The metadata file of a table is a source, too.
    let is_json =
        [".json", ".json.gz"].iter().any(|end| directory.to_string_lossy().ends_with(end));
    let is_source = directory.is_dir() || (is_json && directory.is_file());
    if !is_source {
        return Err(unusable("is not a directory"));
    }
    let prefix = Path::from_absolute_path(&directory)
        .map_err(|error| unusable("has a name that cannot be a source").caused_by(error))?;
    let store = LocalSourceStore { inner: LocalFileSystem::new(), roots: roots.clone() };
    Ok(SourceRoot {
        store: Arc::new(ReadOnlyStore::new(Arc::new(store))),
        base_uri: "file:///".to_owned(),
        prefix,
    })
}

/// The file system from `/` on, of which only what lies below a root can be read.
#[derive(Debug)]
struct LocalSourceStore {
    inner: LocalFileSystem,
    roots: LocalRoots,
}

impl LocalSourceStore {
    fn check(&self, location: &Path) -> object_store::Result<PathBuf> {
        check(&self.roots, location)
    }

    fn read_only(location: &Path) -> StoreError {
        StoreError::PermissionDenied {
            path: location.to_string(),
            source: "sources are read-only".into(),
        }
    }
}

/// Blocks for a few system calls.
fn check(roots: &LocalRoots, location: &Path) -> object_store::Result<PathBuf> {
    let path = PathBuf::from(format!("/{location}"));
    roots.resolve(&path).map_err(|error| to_store_error(location, error))
}

fn to_store_error(location: &Path, error: Error) -> StoreError {
    let path = location.to_string();
    match error.kind() {
        ErrorKind::NotFound => StoreError::NotFound { path, source: Box::new(error) },
        ErrorKind::PermissionDenied => {
            StoreError::PermissionDenied { path, source: Box::new(error) }
        }
        _ => StoreError::Generic { store: "local files", source: Box::new(error) },
    }
}

/// Whether the open file is the one that the resolved path leads to.
#[cfg(unix)]
fn is_same_file(file: &std::fs::File, resolved: &FsPath) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let (open, named) = (file.metadata()?, std::fs::symlink_metadata(resolved)?);
    Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
}

#[cfg(not(unix))]
fn is_same_file(file: &std::fs::File, resolved: &FsPath) -> io::Result<bool> {
    let (open, named) = (file.metadata()?, std::fs::symlink_metadata(resolved)?);
    Ok(named.is_file() && open.len() == named.len())
}

impl fmt::Display for LocalSourceStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalSource")
    }
}

#[async_trait]
impl ObjectStore for LocalSourceStore {
    async fn put_opts(
        &self,
        at: &Path,
        _: PutPayload,
        _: PutOptions,
    ) -> object_store::Result<PutResult> {
        Err(Self::read_only(at))
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Err(Self::read_only(at))
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        let resolved = self.check(location)?;
        let result = self.inner.get_opts(location, options).await?;
        if let GetResultPayload::File(file, _) = &result.payload {
            let same = is_same_file(file, &resolved).map_err(|error| StoreError::Generic {
                store: "local files",
                source: Box::new(error),
            })?;
            if !same {
                let path = location.to_string();
                let source = "the file was exchanged while it was opened".into();
                return Err(StoreError::Precondition { path, source });
            }
        }
        Ok(result)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        locations.map(|location| Err(Self::read_only(&location?))).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let prefix = prefix.cloned().unwrap_or_default();
        if let Err(error) = self.check(&prefix) {
            return failed_list(error);
        }
        let roots = self.roots.clone();
        let checked = self.inner.list(Some(&prefix)).and_then(move |meta| {
            let allowed = check(&roots, &meta.location).map(|_| meta);
            async move { allowed }
        });
        checked.boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        let prefix = prefix.cloned().unwrap_or_default();
        self.check(&prefix)?;
        let found = self.inner.list_with_delimiter(Some(&prefix)).await?;
        let roots = self.roots.clone();
        tokio::task::spawn_blocking(move || {
            for meta in &found.objects {
                check(&roots, &meta.location)?;
            }
            Ok(found)
        })
        .await?
    }

    async fn copy_opts(&self, _: &Path, to: &Path, _: CopyOptions) -> object_store::Result<()> {
        Err(Self::read_only(to))
    }
}

#[cfg(test)]
mod tests;
