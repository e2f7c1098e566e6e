//! The catalogue: a state that follows the log, and the way in which commands change it.
//!
//! Commands run one after the other in this process; the metastore orders them against those of
//! other processes. A command that lost its caller is finished all the same, so that the state in
//! memory never lags behind a transaction of its own.

use std::sync::Arc;

use pandion_types::{Error, ErrorKind, Result};
use tokio::sync::{Mutex, watch};

use crate::changes::Changes;
use crate::{CatalogState, Commit, CommitError, Lease, Metastore, News, Transaction, Version};

/// How often a command is decided anew because another writer was faster.
const ATTEMPTS: usize = 16;

/// How a catalogue is opened.
#[derive(Clone, Debug)]
pub struct CatalogOptions {
    /// Name of the process in the lease, for people who ask who writes.
    pub owner: String,
    /// A checkpoint is written each time the version is a multiple of this; 0 for never.
    pub checkpoint_every: u64,
}

impl Default for CatalogOptions {
    fn default() -> Self {
        Self { owner: "pandion".to_owned(), checkpoint_every: 256 }
    }
}

/// The catalogue. Clones share one state.
#[derive(Clone, Debug)]
pub struct Catalog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    metastore: Arc<dyn Metastore>,
    /// The lease under which this process writes; `None` when it only reads.
    epoch: Option<u64>,
    checkpoint_every: u64,
    state: watch::Sender<Arc<CatalogState>>,
    /// Held by whoever moves the state forward.
    moving: Mutex<()>,
}

impl Catalog {
    /// Opens the catalogue for writing. It takes over the lease: every catalogue that was opened
    /// before, in whichever process, is fenced and can only read from then on.
    ///
    /// # Errors
    /// As [`Metastore::load`]; `Corrupt` when the log contradicts itself.
    pub async fn open(metastore: Arc<dyn Metastore>, options: CatalogOptions) -> Result<Self> {
        let mut state = load(metastore.as_ref()).await?;
        for _ in 0..ATTEMPTS {
            let epoch = state.lease().epoch + 1;
            let mut changes = Changes::default();
            changes.put_lease(&Lease { epoch, owner: options.owner.clone() })?;
            state = match attempt(metastore.as_ref(), &state, epoch, changes).await? {
                Attempt::Committed(state) => {
                    let every = options.checkpoint_every;
                    return Ok(Self::new(metastore, Some(epoch), every, state));
                }
                Attempt::Overtaken(state) => state,
            };
        }
        Err(crowded())
    }

    /// Opens the catalogue for reading: every command is refused. Call [`Catalog::sync`] to follow
    /// the writer.
    ///
    /// # Errors
    /// As [`Catalog::open`].
    pub async fn open_for_reading(metastore: Arc<dyn Metastore>) -> Result<Self> {
        let state = load(metastore.as_ref()).await?;
        Ok(Self::new(metastore, None, 0, state))
    }

    fn new(
        metastore: Arc<dyn Metastore>,
        epoch: Option<u64>,
        checkpoint_every: u64,
        state: CatalogState,
    ) -> Self {
        let state = watch::Sender::new(Arc::new(state));
        let moving = Mutex::new(());
        Self { inner: Arc::new(Inner { metastore, epoch, checkpoint_every, state, moving }) }
    }

    /// The newest state that this process knows of. It includes every command that was
    /// acknowledged here. Cheap: no I/O, no waiting.
    #[must_use]
    pub fn state(&self) -> Arc<CatalogState> {
        self.inner.state()
    }

    /// Sees every newer state; several that follow quickly may be seen as one.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<CatalogState>> {
        self.inner.state.subscribe()
    }

    /// Catches up with what other processes have committed, and gives the newest state.
    ///
    /// # Errors
    /// As [`Metastore::news`].
    pub async fn sync(&self) -> Result<Arc<CatalogState>> {
        let inner = Arc::clone(&self.inner);
        finish(tokio::spawn(async move {
            let _moving = inner.moving.lock().await;
            let (state, _commits) = advance(inner.metastore.as_ref(), &inner.state()).await?;
            Ok(inner.publish(state))
        }))
        .await
    }

    /// Writes a checkpoint of the newest state now. This happens on its own every so often (see
    /// [`CatalogOptions::checkpoint_every`]).
    ///
    /// # Errors
    /// As [`Metastore::checkpoint`]. The catalogue is as good as before.
    pub async fn checkpoint(&self) -> Result<()> {
        self.inner.checkpoint().await
    }

    /// Decides on the newest state what to change, commits it, and gives what was decided once it
    /// is durable and visible in [`Catalog::state`]. `decide` may be called several times.
    ///
    /// # Errors
    /// What `decide` says; `Conflict` when this catalogue is fenced or only reads; `Unavailable`
    /// when the outcome is unknown or other writers are always faster.
    pub(crate) async fn change<T, F>(&self, decide: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&CatalogState, &mut Changes) -> Result<T> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        finish(tokio::spawn(async move {
            let before = inner.state().version();
            let reply = inner.change(decide).await?;
            let after = inner.state().version();
            if inner.checkpoint_is_due(before, after) {
                tokio::spawn(async move {
                    if let Err(error) = inner.checkpoint().await {
                        tracing::warn!(%error, "no checkpoint of the catalogue was written");
                    }
                });
            }
            Ok(reply)
        }))
        .await
    }
}

impl Inner {
    fn state(&self) -> Arc<CatalogState> {
        Arc::clone(&self.state.borrow())
    }

    fn publish(&self, state: CatalogState) -> Arc<CatalogState> {
        let state = Arc::new(state);
        self.state.send_replace(Arc::clone(&state));
        state
    }

    fn checkpoint_is_due(&self, before: Version, after: Version) -> bool {
        let round = |version: Version| version.0.checked_div(self.checkpoint_every);
        round(before) != round(after)
    }

    async fn checkpoint(&self) -> Result<()> {
        let checkpoint = self.state().checkpoint()?;
        self.metastore.checkpoint(&checkpoint).await
    }

    async fn change<T, F>(&self, decide: F) -> Result<T>
    where
        F: Fn(&CatalogState, &mut Changes) -> Result<T>,
    {
        let _moving = self.moving.lock().await;
        for _ in 0..ATTEMPTS {
            let state = self.state();
            let epoch = self.epoch_in(&state)?;
            let mut changes = Changes::default();
            let reply = decide(&state, &mut changes)?;
            if changes.is_empty() {
                return Ok(reply);
            }
            match attempt(self.metastore.as_ref(), &state, epoch, changes).await {
                Ok(Attempt::Committed(state)) => {
                    self.publish(state);
                    return Ok(reply);
                }
                Ok(Attempt::Overtaken(state)) => {
                    self.publish(state);
                }
                Err(error) => return Err(error),
            }
        }
        Err(crowded())
    }

    /// The epoch to write under, if nobody has taken over.
    fn epoch_in(&self, state: &CatalogState) -> Result<u64> {
        let Some(epoch) = self.epoch else {
            return Err(Error::conflict("this catalogue was opened for reading only"));
        };
        let lease = state.lease();
        if lease.epoch > epoch {
            return Err(Error::conflict(format!(
                "this process is fenced: {} has taken over the catalogue with epoch {}, this \
                 process holds epoch {epoch}",
                lease.owner, lease.epoch
            )));
        }
        Ok(epoch)
    }
}

enum Attempt {
    /// The state with the changes.
    Committed(CatalogState),
    /// A newer state without the changes: decide anew.
    Overtaken(CatalogState),
}

/// Tries once to commit `changes` on top of `state`.
async fn attempt(
    metastore: &dyn Metastore,
    state: &CatalogState,
    epoch: u64,
    changes: Changes,
) -> Result<Attempt> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let transaction = Transaction { id, epoch, changes: changes.into_vec() };
    match metastore.commit(state.version(), &transaction).await {
        Ok(version) => {
            let mut next = state.clone();
            next.apply(&Commit { version, transaction })?;
            Ok(Attempt::Committed(next))
        }
        Err(CommitError::Failed(error)) => Err(error),
        Err(CommitError::Conflict) => {
            let (next, _commits) = advance(metastore, state).await?;
            if next.version() == state.version() {
                return Err(Error::unavailable(
                    "the catalogue refused a commit on its newest version",
                ));
            }
            Ok(Attempt::Overtaken(next))
        }
        Err(CommitError::Unknown(cause)) => {
            // Whether it is in the log is all that counts.
            match advance(metastore, state).await {
                Ok((next, commits))
                    if commits.iter().any(|it| it.transaction.id == transaction.id) =>
                {
                    Ok(Attempt::Committed(next))
                }
                Ok(_) | Err(_) => Err(unknown_outcome(cause)),
            }
        }
    }
}

/// The newest state, and the commits that led to it from `state` if they are still kept.
async fn advance(
    metastore: &dyn Metastore,
    state: &CatalogState,
) -> Result<(CatalogState, Vec<Commit>)> {
    match metastore.news(state.version()).await? {
        News::Commits(commits) => {
            let mut next = state.clone();
            for commit in &commits {
                next.apply(commit)?;
            }
            Ok((next, commits))
        }
        News::Behind => {
            let next = load(metastore).await?;
            if next.version() < state.version() {
                return Err(Error::corrupt(format!(
                    "the catalogue has gone back from version {} to {}",
                    state.version(),
                    next.version()
                )));
            }
            Ok((next, Vec::new()))
        }
    }
}

async fn load(metastore: &dyn Metastore) -> Result<CatalogState> {
    CatalogState::replay(&metastore.load().await?)
}

/// The result of a task that runs on when its caller goes away.
async fn finish<T>(task: tokio::task::JoinHandle<Result<T>>) -> Result<T> {
    task.await
        .map_err(|error| Error::internal("a change of the catalogue broke off").caused_by(error))?
}

fn unknown_outcome(cause: Error) -> Error {
    let message = format!("the change may or may not have been made: {cause}");
    Error::new(ErrorKind::Unavailable, message).caused_by(cause)
}

fn crowded() -> Error {
    Error::unavailable("other processes change the catalogue all the time")
}

#[cfg(test)]
mod tests;
