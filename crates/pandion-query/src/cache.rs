//! A cache of values in memory within a budget of bytes, the least recently used of which leave
//! first.
//!
//! A value is made once, however many callers ask for it meanwhile. Values in use stay alive for as
//! long as they are held, whatever the budget says. Nothing here knows what the values are, nor
//! whether a key still means the same: a key has to hold the identity of the content.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pandion_types::Result;
use tokio::sync::OnceCell;

/// Counted for each entry beside its value, so that many small values cannot grow without bound.
/// Keys are taken to be of about this size.
pub(crate) const ENTRY_BYTES: usize = 256;

/// What a cache can keep.
pub(crate) trait Weigh {
    /// Bytes that the value holds in memory.
    fn weigh(&self) -> usize;
}

/// How full a cache is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheUsage {
    /// Values kept, those that are being made included.
    pub entries: usize,
    /// Bytes of the values kept, with what it takes to keep them.
    pub bytes: usize,
    /// The budget.
    pub bytes_max: usize,
}

/// Values by key.
pub(crate) struct ByteCache<K, V: ?Sized> {
    bytes_max: usize,
    state: Mutex<State<K, V>>,
}

struct State<K, V: ?Sized> {
    entries: HashMap<K, Entry<V>>,
    /// Keys of filled entries by the tick of their last use; ticks are unique.
    by_use: BTreeMap<u64, K>,
    tick: u64,
    bytes: usize,
}

struct Entry<V: ?Sized> {
    slot: Slot<V>,
    /// `None` while it is being made; else the bytes counted for it and the tick of its last use.
    kept: Option<Kept>,
}

#[derive(Clone, Copy)]
struct Kept {
    bytes: usize,
    used: u64,
}

/// Filled once; whoever needs it meanwhile waits.
type Slot<V> = Arc<OnceCell<Arc<V>>>;

impl<K: Clone + Eq + Hash, V: Weigh + ?Sized> ByteCache<K, V> {
    /// A cache that keeps up to `bytes_max` bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let state = State { entries: HashMap::new(), by_use: BTreeMap::new(), tick: 0, bytes: 0 };
        Self { bytes_max, state: Mutex::new(state) }
    }

    /// How full the cache is now.
    pub(crate) fn usage(&self) -> CacheUsage {
        let state = self.lock();
        CacheUsage { entries: state.entries.len(), bytes: state.bytes, bytes_max: self.bytes_max }
    }

    /// The value, if it is there. Counts as a use.
    pub(crate) fn get(&self, key: &K) -> Option<Arc<V>> {
        let mut state = self.lock();
        let value = state.entries.get(key)?.slot.get().map(Arc::clone)?;
        state.touch(key);
        Some(value)
    }

    /// Keeps a value that was made elsewhere, unless one is there or being made.
    pub(crate) fn insert(&self, key: &K, value: &Arc<V>) {
        let slot = self.slot(key);
        if slot.set(Arc::clone(value)).is_ok() {
            self.settle(key, &slot, value);
        }
    }

    /// Forgets the values whose keys `keep` refuses. Those being made are not forgotten.
    pub(crate) fn retain(&self, mut keep: impl FnMut(&K) -> bool) {
        let mut state = self.lock();
        let gone: Vec<K> = state.by_use.values().filter(|key| !keep(key)).cloned().collect();
        gone.iter().for_each(|key| state.remove(key));
    }

    /// The value, made by `load` when it is not there, and whether it was there. Concurrent callers
    /// share one load, which counts as there for all but the one who made it. When it fails or its
    /// caller goes away, the next caller tries again.
    ///
    /// # Errors
    /// Those of `load`.
    pub(crate) async fn get_or_load<F>(
        &self,
        key: &K,
        load: impl FnOnce() -> F + Send,
    ) -> Result<(Arc<V>, bool)>
    where
        F: Future<Output = Result<Arc<V>>> + Send,
    {
        if let Some(value) = self.get(key) {
            return Ok((value, true));
        }
        let claim = Claim { cache: self, key, slot: self.slot(key) };
        let mut loaded = false;
        let made = claim.slot.get_or_try_init(|| {
            loaded = true;
            load()
        });
        let value = Arc::clone(made.await?);
        if loaded {
            self.settle(key, &claim.slot, &value);
        }
        Ok((value, !loaded))
    }

    fn slot(&self, key: &K) -> Slot<V> {
        let mut state = self.lock();
        if let Some(entry) = state.entries.get(key) {
            return Arc::clone(&entry.slot);
        }
        let slot = Slot::default();
        state.entries.insert(key.clone(), Entry { slot: Arc::clone(&slot), kept: None });
        slot
    }

    /// Counts a value that was made, and makes room for it.
    fn settle(&self, key: &K, slot: &Slot<V>, value: &Arc<V>) {
        let bytes = value.weigh().saturating_add(ENTRY_BYTES);
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(key) else { return };
        if !Arc::ptr_eq(&entry.slot, slot) || entry.kept.is_some() {
            return;
        }
        if bytes > self.bytes_max {
            // It would push out everything and then not fit itself.
            state.entries.remove(key);
            return;
        }
        state.tick += 1;
        let used = state.tick;
        if let Some(entry) = state.entries.get_mut(key) {
            entry.kept = Some(Kept { bytes, used });
        }
        state.by_use.insert(used, key.clone());
        state.bytes += bytes;
        while state.bytes > self.bytes_max {
            let Some(oldest) = state.by_use.values().next().cloned() else { break };
            state.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        // The state is consistent between statements, so a panic elsewhere cannot have torn it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash, V: ?Sized> State<K, V> {
    fn touch(&mut self, key: &K) {
        self.tick += 1;
        let now = self.tick;
        let entry = self.entries.get_mut(key).and_then(|entry| entry.kept.as_mut());
        let Some(kept) = entry else { return };
        let before = std::mem::replace(&mut kept.used, now);
        self.by_use.remove(&before);
        self.by_use.insert(now, key.clone());
    }

    fn remove(&mut self, key: &K) {
        if let Some(kept) = self.entries.remove(key).and_then(|entry| entry.kept) {
            self.by_use.remove(&kept.used);
            self.bytes -= kept.bytes;
        }
    }
}

/// One caller's part in making a value. The last to go forgets a slot that stayed empty, so that
/// failed and abandoned loads leave nothing behind.
struct Claim<'a, K: Clone + Eq + Hash, V: Weigh + ?Sized> {
    cache: &'a ByteCache<K, V>,
    key: &'a K,
    slot: Slot<V>,
}

impl<K: Clone + Eq + Hash, V: Weigh + ?Sized> Drop for Claim<'_, K, V> {
    fn drop(&mut self) {
        if self.slot.initialized() {
            return;
        }
        let mut state = self.cache.lock();
        let is_ours =
            state.entries.get(self.key).is_some_and(|entry| Arc::ptr_eq(&entry.slot, &self.slot));
        // Slots are handed out under this lock: two references are the map's and this one.
        if is_ours && Arc::strong_count(&self.slot) <= 2 {
            state.entries.remove(self.key);
        }
    }
}

impl<K, V: ?Sized> fmt::Debug for ByteCache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteCache").field("bytes_max", &self.bytes_max).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
