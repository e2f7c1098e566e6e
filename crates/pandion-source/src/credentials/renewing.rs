//! Holds keys that end, and sees to it that there are others in time.
//!
//! Readers get the keys that are held as long as these are valid. They are renewed well before
//! their end, in the background, one renewal at a time; while that fails the old ones serve on. A
//! reader waits only when there are none that are valid, and then all readers wait for the same
//! renewal and share its failure. Keys are never dropped: only better ones replace them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pandion_types::{Error, ErrorKind, Result, Subject};
use tokio::sync::{Mutex as RenewalLock, OwnedMutexGuard};

use super::{AwsCredentials, CredentialSource};
use crate::clock::Clock;

/// Keys are renewed at the latest this long before their end, or after two thirds of their life if
/// that is sooner.
const LEAD_MAX: Duration = Duration::from_secs(300);
/// The part of their life at whose begin short-lived keys are renewed: the last third.
const LEAD_PART: u32 = 3;
/// After a renewal in the background has failed, the next one begins no sooner than this.
const FAILURE_PAUSE: Duration = Duration::from_secs(10);
/// After a store has refused keys, others are asked for no sooner than this after the last time.
const FORCED_PAUSE: Duration = Duration::from_secs(5);
/// How long an issuer may take.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(30);

/// When keys are renewed although they are valid.
#[derive(Clone, Copy, Debug)]
pub struct RenewalLimits {
    /// The age at which they are, whenever they end.
    pub age_max: Duration,
}

impl Default for RenewalLimits {
    fn default() -> Self {
        Self { age_max: Duration::from_secs(3600) }
    }
}

/// A decorator of an issuer, which is asked for keys only when there have to be others. Clones
/// share their keys.
#[derive(Clone)]
pub struct RenewingCredentials(Arc<Shared>);

struct Shared {
    issuer: Arc<dyn CredentialSource>,
    clock: Arc<dyn Clock>,
    limits: RenewalLimits,
    held: Mutex<Held>,
    /// Held by whoever asks the issuer.
    renewal: Arc<RenewalLock<()>>,
}

struct Held {
    keys: Option<Arc<AwsCredentials>>,
    /// From then on they are renewed in the background.
    renew_at: SystemTime,
    /// No renewal in the background begins before.
    paused_until: SystemTime,
    /// When a store last had keys renewed.
    forced_at: Option<SystemTime>,
    /// How often the issuer was asked and has answered or failed.
    attempts: u64,
    /// How the last attempt failed, if it did.
    failure: Option<(ErrorKind, String)>,
}

impl Held {
    fn valid(&self, now: SystemTime) -> Option<&Arc<AwsCredentials>> {
        self.keys.as_ref().filter(|keys| is_valid(keys, now))
    }

    fn failure(&self) -> Option<Error> {
        let (kind, message) = self.failure.as_ref()?;
        Some(Error::new(*kind, message.clone()).about(Subject::Source))
    }

    fn was_forced_recently(&self, now: SystemTime) -> bool {
        self.forced_at.is_some_and(|at| now.duration_since(at).is_ok_and(|age| age < FORCED_PAUSE))
    }
}

fn is_valid(keys: &AwsCredentials, now: SystemTime) -> bool {
    keys.expires_at.is_none_or(|end| now < end)
}

impl RenewingCredentials {
    /// Keys of `issuer`, none of which is asked for yet.
    #[must_use]
    pub fn new(
        issuer: Arc<dyn CredentialSource>,
        clock: Arc<dyn Clock>,
        limits: RenewalLimits,
    ) -> Self {
        let held = Held {
            keys: None,
            renew_at: SystemTime::UNIX_EPOCH,
            paused_until: SystemTime::UNIX_EPOCH,
            forced_at: None,
            attempts: 0,
            failure: None,
        };
        let renewal = Arc::new(RenewalLock::new(()));
        Self(Arc::new(Shared { issuer, clock, limits, held: Mutex::new(held), renewal }))
    }
}

impl fmt::Debug for RenewingCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.issuer, f)
    }
}

#[async_trait]
impl CredentialSource for RenewingCredentials {
    async fn credentials(&self) -> Result<Arc<AwsCredentials>> {
        let shared = &self.0;
        let now = shared.clock.now();
        let attempts = {
            let held = shared.held();
            match held.valid(now) {
                Some(keys) if now < held.renew_at => return Ok(Arc::clone(keys)),
                Some(keys) => {
                    let keys = Arc::clone(keys);
                    let is_paused = now < held.paused_until;
                    drop(held);
                    if !is_paused {
                        shared.renew_in_background();
                    }
                    return Ok(keys);
                }
                None => held.attempts,
            }
        };
        shared.renew_and_wait(attempts, None).await
    }

    async fn renew(&self, rejected: &AwsCredentials) -> Result<Arc<AwsCredentials>> {
        let shared = &self.0;
        let attempts = {
            let held = shared.held();
            match held.valid(shared.clock.now()) {
                Some(keys) if !keys.is_same_session(rejected) => return Ok(Arc::clone(keys)),
                _ => held.attempts,
            }
        };
        shared.renew_and_wait(attempts, Some(rejected)).await
    }
}

impl Shared {
    /// Every critical section is a few assignments, so what a panicking holder left is whole.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the renewal under way, if there is one, and begins another if that brought
    /// nothing. `attempts` is how many there had been when the caller found that it needs one.
    async fn renew_and_wait(
        &self,
        attempts: u64,
        rejected: Option<&AwsCredentials>,
    ) -> Result<Arc<AwsCredentials>> {
        let _renewal = self.renewal.lock().await;
        {
            let mut held = self.held();
            let now = self.clock.now();
            let is_other = |keys: &Arc<AwsCredentials>| {
                rejected.is_none_or(|rejected| !keys.is_same_session(rejected))
            };
            if let Some(keys) = held.valid(now).filter(|keys| is_other(keys)) {
                return Ok(Arc::clone(keys));
            }
            if held.attempts != attempts
                && let Some(failure) = held.failure()
            {
                return Err(failure);
            }
            if rejected.is_some() {
                if held.was_forced_recently(now) {
                    return Err(held.failure().unwrap_or_else(refused_again));
                }
                held.forced_at = Some(now);
            }
        }
        let keys = self.attempt().await?;
        if rejected.is_some_and(|rejected| keys.is_same_session(rejected)) {
            return Err(no_others(&self.issuer));
        }
        Ok(keys)
    }

    fn renew_in_background(self: &Arc<Self>) {
        // Someone else is at it, or just was.
        let Ok(renewal) = Arc::clone(&self.renewal).try_lock_owned() else { return };
        let shared = Arc::clone(self);
        tokio::spawn(async move { shared.renew_if_due(renewal).await });
    }

    async fn renew_if_due(&self, _renewal: OwnedMutexGuard<()>) {
        if self.clock.now() < self.held().renew_at {
            return;
        }
        if let Err(error) = self.attempt().await {
            tracing::warn!(%error, "keys could not be renewed; the old ones serve on");
        }
    }

    /// Asks the issuer once. The caller holds the lock of renewals.
    async fn attempt(&self) -> Result<Arc<AwsCredentials>> {
        let issued = match tokio::time::timeout(RENEWAL_TIMEOUT, self.issuer.credentials()).await {
            Ok(issued) => issued,
            Err(elapsed) => Err(Error::unavailable(format!(
                "{:?} did not answer within {} s",
                self.issuer,
                RENEWAL_TIMEOUT.as_secs()
            ))
            .about(Subject::Source)
            .caused_by(elapsed)),
        };
        let now = self.clock.now();
        let issued = issued.and_then(|keys| match is_valid(&keys, now) {
            true => Ok(keys),
            false => Err(over_already(&self.issuer)),
        });
        let mut held = self.held();
        held.attempts += 1;
        match &issued {
            Ok(keys) => {
                held.renew_at = self.renew_at(keys, now);
                held.keys = Some(Arc::clone(keys));
                held.failure = None;
            }
            Err(error) => {
                held.paused_until = now + FAILURE_PAUSE;
                held.failure = Some((error.kind(), error.message().to_owned()));
            }
        }
        issued
    }

    fn renew_at(&self, keys: &AwsCredentials, now: SystemTime) -> SystemTime {
        let by_age = now + self.limits.age_max;
        let Some(end) = keys.expires_at else { return by_age };
        let life = end.duration_since(now).unwrap_or_default();
        let lead = LEAD_MAX.min(life / LEAD_PART);
        by_age.min(end - lead)
    }
}

fn refused_again() -> Error {
    Error::new(
        ErrorKind::PermissionDenied,
        "the store says that the session has expired, although it was just renewed: check the \
         clocks of this server and of the store",
    )
    .about(Subject::Source)
}

fn no_others(issuer: &Arc<dyn CredentialSource>) -> Error {
    let message =
        format!("the store says that the session has expired, and {issuer:?} has no other keys");
    Error::new(ErrorKind::PermissionDenied, message).about(Subject::Source)
}

fn over_already(issuer: &Arc<dyn CredentialSource>) -> Error {
    Error::unavailable(format!(
        "{issuer:?} gave keys whose end has passed already: check the clock of this server"
    ))
    .about(Subject::Source)
}
