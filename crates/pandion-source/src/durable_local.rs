//! A local directory as an object store whose writes survive a power cut.
//!
//! For Pandion's own objects: catalog, manifests, index segments. `object_store`'s local store
//! writes a temporary file and renames it, but syncs neither file nor directory, so that an
//! acknowledged write can be gone or empty after a crash. Here a `put` returns only when the bytes
//! and every directory entry on the way to them are synced. A reader sees an object whole or not
//! at all.
//!
//! Reads, listings and deletions are those of the local store. A deletion is not synced: after a
//! crash an object may be back, which garbage collection has to bear anyway. Copies and renames
//! are refused; conditional overwrites (`PutMode::Update`) too, as nothing here can make them
//! atomic.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path as FsPath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use futures::FutureExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result, UploadPart,
};
use tokio::sync::Mutex;

const STORE: &str = "durable local store";

/// An object store in a local directory that syncs what it writes. Results of writes carry no
/// entity tag.
pub struct DurableLocalStore {
    inner: LocalFileSystem,
    root: PathBuf,
    directories: Arc<KnownDirectories>,
}

impl DurableLocalStore {
    /// Opens the store in `root`, which is made if it is missing. Blocks for a few system calls.
    ///
    /// # Errors
    /// `Unavailable` naming the directory when it cannot be made or synced.
    pub fn open(root: impl AsRef<FsPath>) -> pandion_types::Result<Self> {
        let root = root.as_ref();
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            pandion_types::Error::unavailable(format!("cannot use directory {}", root.display()))
                .caused_by(error)
        };
        let absolute = std::path::absolute(root).map_err(|error| failed(error.into()))?;
        make_directories(&absolute).map_err(|error| failed(error.into()))?;
        let inner =
            LocalFileSystem::new_with_prefix(&absolute).map_err(|error| failed(error.into()))?;
        let root = absolute.canonicalize().map_err(|error| failed(error.into()))?;
        let directories = Arc::new(KnownDirectories::below(root.clone()));
        Ok(Self { inner, root, directories })
    }

    fn check_attributes(attributes: &object_store::Attributes, operation: &str) -> Result<()> {
        if attributes.is_empty() {
            return Ok(());
        }
        Err(not_implemented(&format!("{operation} with attributes")))
    }
}

impl fmt::Display for DurableLocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DurableLocal({})", self.root.display())
    }
}

impl fmt::Debug for DurableLocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[async_trait]
impl ObjectStore for DurableLocalStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        Self::check_attributes(&options.attributes, "put")?;
        let create = match options.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return Err(not_implemented("put with PutMode::Update")),
        };
        let target = self.inner.path_to_filesystem(location)?;
        let directories = Arc::clone(&self.directories);
        blocking(move || {
            let mut staged = Staged::new(target, &directories)?;
            for part in &payload {
                staged.file.write_all(part)?;
            }
            staged.publish(create)
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Self::check_attributes(&options.attributes, "put_multipart")?;
        let target = self.inner.path_to_filesystem(location)?;
        let directories = Arc::clone(&self.directories);
        let staged = blocking(move || Staged::new(target, &directories)).await?;
        Ok(Box::new(DurableUpload { staged: Arc::new(Mutex::new(Some(staged))), offset: 0 }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(not_implemented("copy"))
    }

    async fn rename_opts(&self, _: &Path, _: &Path, _: RenameOptions) -> Result<()> {
        Err(not_implemented("rename"))
    }
}

/// A large object on its way: parts go to the temporary file, `complete` publishes it.
#[derive(Debug)]
struct DurableUpload {
    /// `None` once the upload is completed or aborted.
    staged: Arc<Mutex<Option<Staged>>>,
    offset: u64,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let offset = self.offset;
        self.offset += u64::try_from(data.content_length()).unwrap_or(u64::MAX);
        let staged = Arc::clone(&self.staged);
        async move {
            let mut staged = staged.lock_owned().await;
            blocking(move || {
                use std::io::{Seek as _, SeekFrom};
                let staged = staged.as_mut().ok_or_else(finished)?;
                staged.file.seek(SeekFrom::Start(offset))?;
                for part in &data {
                    staged.file.write_all(part)?;
                }
                Ok(())
            })
            .await
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let staged = self.staged.lock().await.take();
        blocking(move || staged.ok_or_else(finished)?.publish(false)).await
    }

    async fn abort(&mut self) -> Result<()> {
        let staged = self.staged.lock().await.take();
        blocking(move || staged.map(drop).ok_or_else(finished).map_err(Into::into)).await
    }
}

fn finished() -> io::Error {
    io::Error::other("the upload was completed or aborted before")
}

/// A temporary file beside its target; removed when dropped.
#[derive(Debug)]
struct Staged {
    file: File,
    path: PathBuf,
    target: PathBuf,
    /// The temporary name is free again, and perhaps another process's by now.
    renamed: bool,
}

impl Staged {
    fn new(target: PathBuf, directories: &KnownDirectories) -> Outcome<Self> {
        /// Tells the temporary files of this process apart.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        directories.make(parent_of(&target)?)?;
        loop {
            // The local store keeps names that end in `#<digits>` out of listings and reads. A
            // number left by a process that died is skipped.
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let mut path = target.clone().into_os_string();
            path.push(format!("#{}{number:010}", std::process::id()));
            let path = PathBuf::from(path);
            // Some of what is kept here is for nobody else's eyes.
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok(Self { file, path, target, renamed: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Syncs the bytes, gives the file its name and syncs that. With `create`, exactly one of
    /// those that publish to a target wins.
    fn publish(mut self, create: bool) -> Outcome<PutResult> {
        self.file.sync_all()?;
        let directory = parent_of(&self.target)?;
        if create {
            let linked = fs::hard_link(&self.path, &self.target);
            // Synced also for the loser, who from now on relies on the winner's object.
            sync_directory(directory)?;
            match linked {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let path = self.target.display().to_string();
                    return Err(Failed::Store(Error::AlreadyExists { path, source: error.into() }));
                }
                linked => linked?,
            }
        } else {
            fs::rename(&self.path, &self.target)?;
            self.renamed = true;
            sync_directory(directory)?;
        }
        Ok(PutResult { e_tag: None, version: None })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.renamed {
            return;
        }
        // What stays behind is hidden and harmless.
        if let Err(error) = fs::remove_file(&self.path) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "temporary file not removed");
        }
    }
}

fn parent_of(path: &FsPath) -> io::Result<&FsPath> {
    path.parent().ok_or_else(|| io::Error::other(format!("{} has no directory", path.display())))
}

/// The directories of a store whose entries are known to be synced: seeing that a directory exists
/// does not tell whether whoever made it has synced it yet.
#[derive(Debug)]
struct KnownDirectories {
    root: PathBuf,
    known: std::sync::Mutex<HashSet<PathBuf>>,
}

impl KnownDirectories {
    fn below(root: PathBuf) -> Self {
        Self { root, known: std::sync::Mutex::default() }
    }

    fn is_known(&self, directory: &FsPath) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        directory == self.root || known.contains(directory)
    }

    fn make(&self, directory: &FsPath) -> io::Result<()> {
        if self.is_known(directory) && directory.is_dir() {
            return Ok(());
        }
        let parent = parent_of(directory)?;
        self.make(parent)?;
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => sync_directory(parent)?,
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(directory.to_owned());
        Ok(())
    }
}

/// Makes a directory and those above it; each new entry is synced.
fn make_directories(directory: &FsPath) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = parent_of(directory)?;
    make_directories(parent)?;
    match fs::create_dir(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
        Err(error) => return Err(error),
    }
    sync_directory(parent)
}

#[cfg(unix)]
fn sync_directory(directory: &FsPath) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Directories cannot be opened for syncing here; the file system journals their entries.
#[cfg(not(unix))]
fn sync_directory(_: &FsPath) -> io::Result<()> {
    Ok(())
}

/// What blocking work fails with.
enum Failed {
    Io(io::Error),
    Store(Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

type Outcome<T> = std::result::Result<T, Failed>;

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Outcome<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await? {
        Ok(value) => Ok(value),
        Err(Failed::Store(error)) => Err(error),
        Err(Failed::Io(error)) => Err(Error::Generic { store: STORE, source: Box::new(error) }),
    }
}

fn not_implemented(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_owned(), implementer: STORE.to_owned() }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use object_store::ObjectStoreExt;
    use tempfile::TempDir;

    use super::*;

    fn store() -> (TempDir, Arc<DurableLocalStore>) {
        let directory = TempDir::new().unwrap();
        let store = DurableLocalStore::open(directory.path().join("a/b")).unwrap();
        (directory, Arc::new(store))
    }

    async fn read(store: &DurableLocalStore, location: &Path) -> Vec<u8> {
        store.get(location).await.unwrap().bytes().await.unwrap().to_vec()
    }

    fn files_below(directory: &FsPath) -> Vec<String> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                names.extend(files_below(&path));
            } else {
                names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
            }
        }
        names.sort();
        names
    }

    #[tokio::test]
    async fn put_get_overwrite_delete() {
        let (directory, store) = store();
        let at = Path::from("meta/catalog/0001");
        store.put(&at, "one".into()).await.unwrap();
        store.put(&at, "two".into()).await.unwrap();
        assert_eq!(read(&store, &at).await, b"two");
        assert_eq!(store.list(None).count().await, 1);
        assert_eq!(files_below(directory.path()), ["0001"]);
        store.delete(&at).await.unwrap();
        assert!(matches!(store.get(&at).await, Err(Error::NotFound { .. })));
    }

    #[tokio::test]
    async fn a_second_create_loses_and_changes_nothing() {
        let (directory, store) = store();
        let at = Path::from("x/1");
        store.put_opts(&at, "first".into(), PutMode::Create.into()).await.unwrap();
        let second = store.put_opts(&at, "second".into(), PutMode::Create.into()).await;
        assert!(matches!(second, Err(Error::AlreadyExists { .. })), "{second:?}");
        assert_eq!(read(&store, &at).await, b"first");
        assert_eq!(files_below(directory.path()), ["1"]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_concurrent_creates_exactly_one_wins() {
        let (directory, store) = store();
        for round in 0..20 {
            let at = Path::from(format!("race/{round}"));
            let tasks: Vec<_> = (0..4)
                .map(|writer| {
                    let (store, at) = (Arc::clone(&store), at.clone());
                    tokio::spawn(async move {
                        let payload = PutPayload::from(format!("writer {writer}"));
                        let put = store.put_opts(&at, payload, PutMode::Create.into()).await;
                        put.is_ok().then_some(writer)
                    })
                })
                .collect();
            let mut winners = Vec::new();
            for task in tasks {
                winners.extend(task.await.unwrap());
            }
            assert_eq!(winners.len(), 1, "{winners:?}");
            let found = read(&store, &at).await;
            assert_eq!(found, format!("writer {}", winners[0]).into_bytes());
        }
        assert_eq!(files_below(directory.path()).len(), 20);
    }

    #[tokio::test]
    async fn an_upload_in_parts_appears_whole_or_not_at_all() {
        let (directory, store) = store();
        let at = Path::from("segments/s");
        let mut upload = store.put_multipart(&at).await.unwrap();
        let (first, second) = (upload.put_part("ab".into()), upload.put_part("cd".into()));
        // Parts may be written in any order.
        second.await.unwrap();
        first.await.unwrap();
        assert!(matches!(store.head(&at).await, Err(Error::NotFound { .. })));
        assert_eq!(store.list(None).count().await, 0);
        upload.complete().await.unwrap();
        assert_eq!(read(&store, &at).await, b"abcd");
        assert!(upload.complete().await.is_err());

        let mut aborted = store.put_multipart(&Path::from("segments/t")).await.unwrap();
        aborted.put_part("x".into()).await.unwrap();
        aborted.abort().await.unwrap();
        drop(store.put_multipart(&Path::from("segments/u")).await.unwrap());
        assert_eq!(files_below(directory.path()), ["s"]);
    }

    #[tokio::test]
    async fn what_cannot_be_atomic_is_refused() {
        let (_directory, store) = store();
        let (a, b) = (Path::from("a"), Path::from("b"));
        store.put(&a, "x".into()).await.unwrap();
        let version = object_store::UpdateVersion { e_tag: None, version: None };
        let update = store.put_opts(&a, "y".into(), PutMode::Update(version).into()).await;
        assert!(matches!(update, Err(Error::NotImplemented { .. })));
        assert!(matches!(store.copy(&a, &b).await, Err(Error::NotImplemented { .. })));
        assert!(matches!(store.rename(&a, &b).await, Err(Error::NotImplemented { .. })));
        assert_eq!(read(&store, &a).await, b"x");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "x").unwrap();
        let error = DurableLocalStore::open(file.join("below")).unwrap_err();
        assert!(error.message().contains("below"), "{error}");
    }
}
