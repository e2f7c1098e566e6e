//! Search iterators that the server keeps: which snapshot each reads, and where its pages ended.
//!
//! A client repeats with each page a token and the bound that the page before gave it, a score.
//! Many rows may have one score, so the bound only names a place that is kept here; where two pages
//! end at the same score, their bounds differ in the last bits. A page that is asked for again is
//! the same page. Iterators are forgotten when they have not been used for a while, and the one
//! that was not used for the longest time when there are too many.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pandion_query::{SearchHit, Snapshot};
use pandion_types::{CollectionId, Error, Result};
use uuid::Uuid;

/// Iterators that are kept, at most.
const ITERATORS_MAX: usize = 1024;
/// How long an unused iterator is kept.
const IDLE_MAX: Duration = Duration::from_secs(3600);
/// Ends of pages that are kept per iterator, at most.
const PAGES_MAX: usize = 64;

/// All iterators of the server.
#[derive(Debug, Default)]
pub(crate) struct Iterators {
    sessions: Mutex<HashMap<Uuid, Session>>,
}

#[derive(Debug)]
struct Session {
    collection: CollectionId,
    snapshot: Arc<Snapshot>,
    /// The bounds that were given out, oldest first, and the last hits before them.
    pages: VecDeque<(f32, Option<SearchHit>)>,
    used: Instant,
}

/// Where a page begins.
#[derive(Debug)]
pub(crate) struct Resumed {
    /// What the iterator reads, whatever was refreshed since.
    pub(crate) snapshot: Arc<Snapshot>,
    /// The last hit of the page before.
    pub(crate) after: Option<SearchHit>,
}

/// The end of a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageEnd {
    /// The last hit handed out so far; `None` when there was none.
    pub(crate) last: Option<SearchHit>,
    /// Its score, as the client sees it; for an empty page the bound of the page before.
    pub(crate) score: f32,
    /// Whether scores fall from page to page.
    pub(crate) larger_is_nearer: bool,
}

impl Iterators {
    /// The iterator with this token, at the place that the bound names; at its begin without one.
    ///
    /// # Errors
    /// `InvalidArgument` when there is no such iterator (any more), or it never gave out the bound.
    pub(crate) fn resume(
        &self,
        token: Uuid,
        collection: CollectionId,
        bound: Option<f32>,
        now: Instant,
    ) -> Result<Resumed> {
        let mut sessions = self.lock(now);
        let session = sessions
            .get_mut(&token)
            .filter(|session| session.collection == collection)
            .ok_or_else(|| {
            Error::invalid_argument(format!(
                "search iterator {token} is not known here: it has expired or belongs to \
                     another collection or server; start a new one"
            ))
        })?;
        session.used = now;
        let after = match bound {
            None => None,
            Some(bound) => session.after(bound).ok_or_else(|| {
                Error::invalid_argument(format!(
                    "search_iter_last_bound {bound} was not given out by search iterator {token}, \
                     or too many pages ago"
                ))
            })?,
        };
        Ok(Resumed { snapshot: Arc::clone(&session.snapshot), after })
    }

    /// A new iterator, whose first page ended so. Gives its token and the bound of the page.
    pub(crate) fn open(
        &self,
        collection: CollectionId,
        snapshot: Arc<Snapshot>,
        end: PageEnd,
        now: Instant,
    ) -> (Uuid, f32) {
        let mut session = Session { collection, snapshot, pages: VecDeque::new(), used: now };
        let bound = session.end(end);
        let mut sessions = self.lock(now);
        if sessions.len() >= ITERATORS_MAX {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.used);
            if let Some(token) = oldest.map(|(token, _)| *token) {
                sessions.remove(&token);
            }
        }
        let token = Uuid::new_v4();
        sessions.insert(token, session);
        (token, bound)
    }

    /// Notes where a page ended. Gives its bound.
    pub(crate) fn advance(&self, token: Uuid, end: PageEnd, now: Instant) -> f32 {
        match self.lock(now).get_mut(&token) {
            Some(session) => session.end(end),
            None => end.score,
        }
    }

    /// The iterators that have not expired.
    fn lock(&self, now: Instant) -> MutexGuard<'_, HashMap<Uuid, Session>> {
        // Every session is whole between statements, so a panic elsewhere cannot have torn one.
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| now.saturating_duration_since(session.used) <= IDLE_MAX);
        sessions
    }
}

impl Session {
    fn after(&self, bound: f32) -> Option<Option<SearchHit>> {
        let mut pages = self.pages.iter();
        pages.find(|(known, _)| known.to_bits() == bound.to_bits()).map(|(_, last)| *last)
    }

    /// A bound that names this place and no other.
    fn end(&mut self, end: PageEnd) -> f32 {
        let row = |hit: Option<SearchHit>| hit.map(|hit| hit.row);
        if let Some((bound, _)) = self.pages.iter().find(|(_, last)| row(*last) == row(end.last)) {
            return *bound;
        }
        let mut bound = end.score;
        while self.after(bound).is_some() {
            let next = if end.larger_is_nearer { bound.next_down() } else { bound.next_up() };
            if next.to_bits() == bound.to_bits() {
                break;
            }
            bound = next;
        }
        self.pages.retain(|(known, _)| known.to_bits() != bound.to_bits());
        if self.pages.len() >= PAGES_MAX {
            self.pages.pop_front();
        }
        self.pages.push_back((bound, end.last));
        bound
    }
}

#[cfg(test)]
mod tests;
