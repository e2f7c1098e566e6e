//! The log as numbered immutable objects, with create-if-absent as the only primitive.
//!
//! Commit n is the object `meta/catalog/<n>`, n with twenty digits; a checkpoint of version n is
//! `meta/checkpoint/<n>`. Nothing is overwritten. Commits and checkpoints older than the second
//! newest checkpoint are deleted, after both of the newest were read back.
//!
//! A writer that slept for long could create anew an object that was deleted, and believe that it
//! had committed; a reader could take the absence of a deleted object for the end of the log. So
//! what is learnt of an object's presence is believed only if, afterwards, the second newest
//! checkpoint is not above it: as long as that holds, the object has never been deleted.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use pandion_types::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;

use crate::framing::{self, Kind};
use crate::{Checkpoint, Commit, CommitError, History, Metastore, News, Transaction, Version};

const LOG: &str = "meta/catalog";
const CHECKPOINTS: &str = "meta/checkpoint";
const PROBES: &str = "meta/probe";

/// How often a write whose outcome is unknown, or a load that was overtaken, is tried.
const ATTEMPTS: usize = 3;
/// How many commits are read at a time.
const CONCURRENT_READS: usize = 16;

/// A [`Metastore`] over any object store that can create an object without overwriting one.
///
/// It keeps nothing in memory: any number of them, in any number of processes, may stand over one
/// store. A commit is as durable as an object that the store has acknowledged, so a local directory
/// needs a store that syncs file and directory.
pub struct ObjectMetastore {
    store: Arc<dyn ObjectStore>,
}

impl fmt::Debug for ObjectMetastore {
    /// The store's name only: its own `Debug` may show what it holds, and how it is reached.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectMetastore({})", self.store)
    }
}

impl ObjectMetastore {
    /// A metastore over `store`, after a probe that the store refuses to create an object twice.
    ///
    /// # Errors
    /// `Unsupported` when the store lets the second creation pass or cannot create if absent;
    /// `Unavailable` or `PermissionDenied` when it cannot be reached.
    pub async fn open(store: Arc<dyn ObjectStore>) -> Result<Self> {
        probe(store.as_ref()).await?;
        Ok(Self { store })
    }

    /// A metastore over `store` for someone who only reads: the store is not probed and nothing is
    /// written to it.
    #[must_use]
    pub fn open_for_reading(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    async fn read<T: DeserializeOwned>(&self, kind: Kind, path: &Path) -> Result<Option<T>> {
        let bytes = match self.store.get(path).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match bytes {
            Ok(bytes) => framing::decode(kind, path, &bytes).map(Some),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(store_error("read", path, error)),
        }
    }

    async fn read_commit(&self, version: Version) -> Result<Option<Commit>> {
        let path = log_path(version);
        let commit: Option<Commit> = self.read(Kind::Commit, &path).await?;
        match commit {
            Some(commit) if commit.version != version => Err(misnamed(&path, commit.version)),
            commit => Ok(commit),
        }
    }

    async fn read_checkpoint(&self, version: Version) -> Result<Option<Checkpoint>> {
        let path = checkpoint_path(version);
        let checkpoint: Option<Checkpoint> = self.read(Kind::Checkpoint, &path).await?;
        match checkpoint {
            Some(checkpoint) if checkpoint.version != version => {
                Err(misnamed(&path, checkpoint.version))
            }
            checkpoint => Ok(checkpoint),
        }
    }

    /// The numbers of the objects in `folder` above `after`.
    async fn versions(&self, folder: &str, after: Version) -> Result<BTreeSet<Version>> {
        let prefix = Path::from(folder);
        let offset = numbered(folder, after);
        self.store
            .list_with_offset(Some(&prefix), &offset)
            .map_err(|error| store_error("listed", &prefix, error))
            .try_filter_map(|meta| {
                let number = meta.location.filename().and_then(parse_number);
                futures::future::ready(Ok(number.filter(|&number| number > after)))
            })
            .try_collect()
            .await
    }

    /// Whether no commit after `version` has been deleted so far; see the head of this file.
    async fn is_kept(&self, version: Version) -> Result<bool> {
        let checkpoints = self.versions(CHECKPOINTS, Version::EMPTY).await?;
        Ok(checkpoints.iter().nth_back(1).is_none_or(|&horizon| version.next() >= horizon))
    }

    /// The newest checkpoint that can be read, and the first damage met on the way to it.
    async fn newest_checkpoint(
        &self,
        versions: &BTreeSet<Version>,
    ) -> Result<(Option<Checkpoint>, Option<Error>)> {
        let mut damage = None;
        for &version in versions.iter().rev() {
            match self.read_checkpoint(version).await {
                Ok(Some(checkpoint)) => return Ok((Some(checkpoint), damage)),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::warn!(%error, "damaged checkpoint passed over");
                    damage.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok((None, damage))
    }

    /// Every commit after `base`, or the first that is missing while a later one is there.
    async fn commits_after(&self, base: Version) -> Result<Result<Vec<Commit>, Version>> {
        let last = self.versions(LOG, base).await?.last().copied().unwrap_or(base);
        let mut reads = futures::stream::iter(base.0 + 1..=last.0)
            .map(|number| async move { (Version(number), self.read_commit(Version(number)).await) })
            .buffered(CONCURRENT_READS);
        let mut commits = Vec::new();
        while let Some((version, commit)) = reads.next().await {
            match commit? {
                Some(commit) => commits.push(commit),
                None => return Ok(Err(version)),
            }
        }
        commits.extend(self.probe_after(last).await?);
        Ok(Ok(commits))
    }

    /// Every commit after `version`, looked for one by one.
    async fn probe_after(&self, version: Version) -> Result<Vec<Commit>> {
        let mut commits = Vec::new();
        let mut next = version.next();
        while let Some(commit) = self.read_commit(next).await? {
            commits.push(commit);
            next = next.next();
        }
        Ok(commits)
    }

    /// One attempt at a load; `None` when checkpoints and commits moved on meanwhile.
    async fn try_load(&self) -> Result<Option<History>> {
        let versions = self.versions(CHECKPOINTS, Version::EMPTY).await?;
        let (checkpoint, damage) = self.newest_checkpoint(&versions).await?;
        let checkpoint = checkpoint.unwrap_or_default();
        let base = checkpoint.version;
        let commits = self.commits_after(base).await?;
        let whole = match &commits {
            Ok(commits) => {
                // The log reaches beyond every checkpoint, damaged ones too.
                let last = commits.last().map_or(base, |commit| commit.version);
                versions.last().is_none_or(|&newest| newest <= last) && self.is_kept(base).await?
            }
            Err(_missing) => false,
        };
        match commits {
            Ok(commits) if whole => Ok(Some(History { checkpoint, commits })),
            _ if self.versions(CHECKPOINTS, Version::EMPTY).await? != versions => Ok(None),
            Ok(_) => Err(damage.unwrap_or_else(|| missing(base))),
            Err(version) => Err(damage.unwrap_or_else(|| missing(version))),
        }
    }

    /// What became of a transaction whose object is known to exist.
    async fn confirm(&self, expected: Version) -> Result<Version, CommitError> {
        let mut outcome = Err(Error::internal("a commit is confirmed at least once"));
        for _ in 0..ATTEMPTS {
            outcome = self.is_kept(expected).await;
            if outcome.is_ok() {
                break;
            }
        }
        match outcome {
            Ok(true) => Ok(expected.next()),
            Ok(false) => Err(CommitError::Unknown(Error::unavailable(format!(
                "the catalogue moved on from version {expected} by more than it keeps"
            )))),
            Err(error) => Err(CommitError::Unknown(error)),
        }
    }

    /// Deletes what the two newest checkpoints make unnecessary, if both can be read.
    async fn prune(&self) -> Result<()> {
        let versions = self.versions(CHECKPOINTS, Version::EMPTY).await?;
        let mut newest = versions.iter().rev().copied();
        let (Some(first), Some(second)) = (newest.next(), newest.next()) else { return Ok(()) };
        for version in [first, second] {
            match self.read_checkpoint(version).await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::warn!(%error, "nothing is deleted beside a damaged checkpoint");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        let commits = self.versions(LOG, Version::EMPTY).await?;
        let paths = commits.range(..second).map(|&version| log_path(version));
        let paths = paths.chain(newest.map(checkpoint_path)).map(Ok).collect::<Vec<_>>();
        let mut deleted = self.store.delete_stream(futures::stream::iter(paths).boxed());
        while let Some(outcome) = deleted.next().await {
            match outcome {
                Ok(_) | Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(store_error("deleted", &Path::from(LOG), error)),
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Metastore for ObjectMetastore {
    async fn load(&self) -> Result<History> {
        for _ in 0..ATTEMPTS {
            if let Some(history) = self.try_load().await? {
                return Ok(history);
            }
        }
        Err(Error::unavailable("the catalogue changes faster than it can be read"))
    }

    async fn news(&self, version: Version) -> Result<News> {
        let commits = self.probe_after(version).await?;
        // An empty answer may also mean that what followed was deleted.
        if self.is_kept(version).await? { Ok(News::Commits(commits)) } else { Ok(News::Behind) }
    }

    async fn commit(
        &self,
        expected: Version,
        transaction: &Transaction,
    ) -> Result<Version, CommitError> {
        let version = expected.next();
        let path = log_path(version);
        let commit = Commit { version, transaction: transaction.clone() };
        let bytes = framing::encode(Kind::Commit, &commit).map_err(CommitError::Failed)?;
        let mut unclear = None;
        for _ in 0..ATTEMPTS {
            let Err(put_error) = create(self.store.as_ref(), &path, bytes.clone()).await else {
                return self.confirm(expected).await;
            };
            // Whatever the store said, its own repetition may have met the object that its first
            // attempt had made: what counts is whose transaction is there.
            match self.read_commit(version).await {
                Ok(Some(found)) if found.transaction.id == transaction.id => {
                    return self.confirm(expected).await;
                }
                Ok(Some(_)) => return Err(CommitError::Conflict),
                Ok(None) if already_exists(&put_error) => return Err(CommitError::Conflict),
                Ok(None) => {
                    let was_tried = unclear.is_some();
                    let error = store_error("created", &path, put_error);
                    if !was_tried && error.kind() != ErrorKind::Unavailable {
                        return Err(CommitError::Failed(error));
                    }
                    unclear = Some(error);
                }
                Err(error) => unclear = Some(error),
            }
        }
        let error = unclear.unwrap_or_else(|| Error::internal("a commit is tried at least once"));
        Err(CommitError::Unknown(error))
    }

    async fn checkpoint(&self, checkpoint: &Checkpoint) -> Result<()> {
        let path = checkpoint_path(checkpoint.version);
        let bytes = framing::encode(Kind::Checkpoint, checkpoint)?;
        match create(self.store.as_ref(), &path, bytes).await {
            Ok(()) => {}
            // The state of a version is the same for everyone.
            Err(error) if already_exists(&error) => {}
            Err(error) => return Err(store_error("created", &path, error)),
        }
        self.prune().await
    }
}

async fn create(store: &dyn ObjectStore, path: &Path, bytes: Bytes) -> Result<(), StoreError> {
    store.put_opts(path, bytes.into(), PutOptions::from(PutMode::Create)).await.map(|_| ())
}

fn already_exists(error: &StoreError) -> bool {
    matches!(error, StoreError::AlreadyExists { .. } | StoreError::Precondition { .. })
}

/// Refuses a store that lets an object be created twice.
async fn probe(store: &dyn ObjectStore) -> Result<()> {
    let path = Path::from(format!("{PROBES}/{}", uuid::Uuid::new_v4().simple()));
    let first = create(store, &path, Bytes::from_static(b"first")).await;
    match first {
        Ok(()) => {}
        // A repetition inside the store's client; nobody else has this name.
        Err(error) if already_exists(&error) => {}
        Err(error) => return Err(store_error("created", &path, error)),
    }
    let second = create(store, &path, Bytes::from_static(b"second")).await;
    if let Err(error) = store.delete(&path).await {
        tracing::warn!(%path, error = %error, "probe object left behind");
    }
    match second {
        Err(error) if already_exists(&error) => Ok(()),
        Err(error) => Err(store_error("created a second time", &path, error)),
        Ok(()) => Err(Error::unsupported(format!(
            "object store {store} creates an object that exists already: it cannot keep the \
             catalogue, because two writers would overwrite each other"
        ))),
    }
}

fn log_path(version: Version) -> Path {
    numbered(LOG, version)
}

fn checkpoint_path(version: Version) -> Path {
    numbered(CHECKPOINTS, version)
}

fn numbered(folder: &str, version: Version) -> Path {
    Path::from(format!("{folder}/{:020}", version.0))
}

/// The number that a name of twenty digits stands for.
fn parse_number(name: &str) -> Option<Version> {
    let is_number = name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| name.parse().ok().map(Version)).flatten()
}

fn misnamed(path: &Path, version: Version) -> Error {
    Error::corrupt(format!("catalogue object {path} holds version {version}"))
}

fn missing(version: Version) -> Error {
    Error::corrupt(format!(
        "catalogue object {} is missing, but later ones are there",
        log_path(version)
    ))
}

fn store_error(done: &str, path: &Path, error: StoreError) -> Error {
    let kind = match &error {
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
            ErrorKind::PermissionDenied
        }
        StoreError::NotSupported { .. } | StoreError::NotImplemented { .. } => {
            ErrorKind::Unsupported
        }
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("catalogue object {path} cannot be {done}")).caused_by(error)
}

#[cfg(test)]
mod tests;
