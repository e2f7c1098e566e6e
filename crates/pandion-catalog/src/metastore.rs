//! The seam to where the catalogue is kept: a log of transactions with compare-and-swap.
//!
//! Nothing here knows what the keys mean. Values may hold secrets, so no `Debug` shows one.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use pandion_types::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How many transactions a state includes. Versions have no gaps.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// The state before the first transaction.
    pub const EMPTY: Self = Self(0);

    /// The version that the next transaction makes.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One step of a transaction.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The key has this value from now on.
    Put {
        /// Name of the record.
        key: String,
        /// The record.
        value: Value,
    },
    /// The key has no value from now on.
    Delete {
        /// Name of the record.
        key: String,
    },
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, .. } => write!(f, "put {key}"),
            Self::Delete { key } => write!(f, "delete {key}"),
        }
    }
}

/// Changes that happen together or not at all, applied in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transaction {
    /// Names the transaction, so that a writer who lost the answer can tell its own from another's.
    pub id: String,
    /// The lease under which it was written.
    pub epoch: u64,
    /// The changes.
    pub changes: Vec<Change>,
}

/// A transaction that is part of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Commit {
    /// The version that it made.
    pub version: Version,
    /// What it did.
    pub transaction: Transaction,
}

/// Every key and value at one version.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The version.
    pub version: Version,
    /// The records.
    pub entries: BTreeMap<String, Value>,
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "checkpoint {} of {} entries", self.version, self.entries.len())
    }
}

/// What makes up the newest state.
#[derive(Clone, Debug)]
pub struct History {
    /// Where to begin; the empty checkpoint when there is none.
    pub checkpoint: Checkpoint,
    /// Every commit after it, in order.
    pub commits: Vec<Commit>,
}

/// What happened after a version.
#[derive(Clone, Debug)]
pub enum News {
    /// Every commit after it, in order; none when it is the newest.
    Commits(Vec<Commit>),
    /// The commits are no longer kept: begin anew with [`Metastore::load`].
    Behind,
}

/// Why a transaction was not acknowledged.
#[derive(Debug)]
pub enum CommitError {
    /// The expected version is not the newest. Nothing was written.
    Conflict,
    /// Nothing was written.
    Failed(Error),
    /// It may have been written, or may yet be.
    Unknown(Error),
}

/// Keeps the log.
///
/// Every implementation passes the suite in `contract`. All methods may run concurrently, from any
/// number of processes.
#[async_trait]
pub trait Metastore: fmt::Debug + Send + Sync {
    /// Reads all that is needed for the newest state.
    ///
    /// # Errors
    /// `Corrupt` that names what is missing or damaged, `Unsupported` when a newer program wrote
    /// it, `Unavailable`, `PermissionDenied`.
    async fn load(&self) -> Result<History>;

    /// Reads what happened after `version`.
    ///
    /// # Errors
    /// As [`Metastore::load`].
    async fn news(&self, version: Version) -> Result<News>;

    /// Appends a transaction if `expected` is the newest version, and gives the version it made.
    /// When this returns `Ok` the transaction is durable and every later read sees it.
    ///
    /// # Errors
    /// See [`CommitError`]. Dropping the future is the same as [`CommitError::Unknown`].
    async fn commit(
        &self,
        expected: Version,
        transaction: &Transaction,
    ) -> Result<Version, CommitError>;

    /// Keeps a state whole, so that reading need not begin with the first commit. May then give up
    /// commits that nobody needs; never the newest state.
    ///
    /// # Errors
    /// As [`Metastore::load`]. The log is as good as before.
    async fn checkpoint(&self, checkpoint: &Checkpoint) -> Result<()>;
}
