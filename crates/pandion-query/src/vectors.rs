//! Decoded vectors in memory, shared by all queries, within a budget of bytes.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pandion_index::VectorBlock;
use pandion_source::IoStats;
use pandion_types::{FileIdentity, Result, VectorType};
use tokio::sync::OnceCell;

/// Names the vectors of one column in one row group of one file's content.
///
/// The identity is part of the name, so that a file that was overwritten can never be answered from
/// what was there before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct VectorKey {
    pub(crate) identity: FileIdentity,
    pub(crate) column: String,
    pub(crate) vector_type: VectorType,
    pub(crate) row_group: usize,
}

/// Blocks of vectors, the least recently used of which leave when the budget is exceeded.
///
/// Blocks in use by a query stay alive until the query ends, whatever the budget says.
#[derive(Debug)]
pub struct VectorCache {
    bytes_max: usize,
    state: Mutex<State>,
}

/// How full a [`VectorCache`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorCacheUsage {
    /// Blocks kept.
    pub blocks: usize,
    /// Bytes of the blocks kept.
    pub bytes: usize,
    /// The budget.
    pub bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<VectorKey, Entry>,
    /// Keys by the tick of their last use; ticks are unique.
    by_use: BTreeMap<u64, VectorKey>,
    tick: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    /// Filled once; whoever needs it meanwhile waits, so that a block is read once.
    slot: Arc<OnceCell<Arc<VectorBlock>>>,
    used: u64,
    /// Bytes counted for this entry: 0 while it is being filled.
    bytes: usize,
}

impl VectorCache {
    /// A cache that keeps up to `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, state: Mutex::default() }
    }

    /// How full the cache is now.
    #[must_use]
    pub fn usage(&self) -> VectorCacheUsage {
        let state = self.lock();
        VectorCacheUsage {
            blocks: state.entries.len(),
            bytes: state.bytes,
            bytes_max: self.bytes_max,
        }
    }

    /// The block, if it is there. Counts as a use.
    pub(crate) fn get(&self, key: &VectorKey) -> Option<Arc<VectorBlock>> {
        let mut state = self.lock();
        let block = state.entries.get(key)?.slot.get().map(Arc::clone)?;
        state.touch(key);
        Some(block)
    }

    /// The block, made by `load` when it is not there. Concurrent callers share one load; when it
    /// fails, the next caller tries again.
    pub(crate) async fn get_or_load<F>(
        &self,
        key: &VectorKey,
        stats: &IoStats,
        load: impl FnOnce() -> F + Send,
    ) -> Result<Arc<VectorBlock>>
    where
        F: Future<Output = Result<VectorBlock>> + Send,
    {
        if let Some(block) = self.get(key) {
            stats.count_cache(true);
            return Ok(block);
        }
        let slot = self.slot(key);
        let mut loaded = false;
        let outcome = slot
            .get_or_try_init(|| {
                loaded = true;
                let load = load();
                async move { load.await.map(Arc::new) }
            })
            .await
            .map(Arc::clone);
        stats.count_cache(!loaded);
        if loaded {
            self.settle(key, &slot, outcome.as_ref().ok());
        }
        outcome
    }

    fn slot(&self, key: &VectorKey) -> Arc<OnceCell<Arc<VectorBlock>>> {
        let mut state = self.lock();
        if let Some(entry) = state.entries.get(key) {
            return Arc::clone(&entry.slot);
        }
        state.tick += 1;
        let used = state.tick;
        let slot = Arc::new(OnceCell::new());
        state.by_use.insert(used, key.clone());
        state.entries.insert(key.clone(), Entry { slot: Arc::clone(&slot), used, bytes: 0 });
        slot
    }

    /// After a load: counts the block's bytes and makes room, or forgets a slot that stayed empty.
    fn settle(
        &self,
        key: &VectorKey,
        slot: &Arc<OnceCell<Arc<VectorBlock>>>,
        block: Option<&Arc<VectorBlock>>,
    ) {
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(key) else { return };
        if !Arc::ptr_eq(&entry.slot, slot) {
            return;
        }
        let Some(block) = block else {
            // Another caller may be filling the same slot right now; it settles for itself.
            if Arc::strong_count(slot) <= 2 {
                state.remove(key);
            }
            return;
        };
        let bytes = block.memory_bytes();
        entry.bytes = bytes;
        state.bytes += bytes;
        state.touch(key);
        while state.bytes > self.bytes_max {
            let Some(oldest) = state.oldest_filled() else { break };
            state.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent between statements, so a panic elsewhere cannot have torn it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn touch(&mut self, key: &VectorKey) {
        self.tick += 1;
        let now = self.tick;
        let Some(entry) = self.entries.get_mut(key) else { return };
        let before = std::mem::replace(&mut entry.used, now);
        self.by_use.remove(&before);
        self.by_use.insert(now, key.clone());
    }

    fn remove(&mut self, key: &VectorKey) {
        if let Some(entry) = self.entries.remove(key) {
            self.by_use.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }

    fn oldest_filled(&self) -> Option<VectorKey> {
        let mut keys = self.by_use.values();
        keys.find(|key| self.entries.get(*key).is_some_and(|entry| entry.bytes > 0)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use pandion_index::VectorBlockBuilder;
    use pandion_types::{ContentTag, Error, VectorElement};

    use super::*;

    const VECTOR_TYPE: VectorType = VectorType { element: VectorElement::Float32, dim: 16 };

    fn key(name: &str) -> VectorKey {
        VectorKey {
            identity: FileIdentity {
                uri: format!("s3://host/bucket/{name}"),
                size: 1,
                tag: ContentTag::ETag("tag".into()),
            },
            column: "v".into(),
            vector_type: VECTOR_TYPE,
            row_group: 0,
        }
    }

    fn block() -> VectorBlock {
        let mut builder = VectorBlockBuilder::new(VECTOR_TYPE, 4).unwrap();
        builder.push_raw(&[0; 4 * 64]).unwrap();
        builder.finish().unwrap()
    }

    #[tokio::test]
    async fn a_block_is_loaded_once_and_leaves_when_the_budget_is_exceeded() {
        let one = block().memory_bytes();
        let cache = VectorCache::new(one * 2);
        let stats = IoStats::default();
        let loads = AtomicUsize::new(0);
        let load = || async {
            loads.fetch_add(1, Ordering::Relaxed);
            Ok(block())
        };
        for name in ["a", "b", "a", "c", "a", "b"] {
            cache.get_or_load(&key(name), &stats, load).await.unwrap();
        }
        // `c` pushed out `b`, the least recently used, which is then loaded again.
        assert_eq!(loads.load(Ordering::Relaxed), 4);
        assert_eq!(
            cache.usage(),
            VectorCacheUsage { blocks: 2, bytes: 2 * one, bytes_max: 2 * one }
        );
        assert_eq!((stats.counts().cache_hits, stats.counts().cache_misses), (2, 4));
    }

    #[tokio::test]
    async fn a_failed_load_leaves_nothing_and_is_tried_again() {
        let cache = VectorCache::new(1 << 20);
        let stats = IoStats::default();
        let failed = cache
            .get_or_load(&key("a"), &stats, || async { Err(Error::unavailable("gone")) })
            .await;
        assert!(failed.is_err());
        assert_eq!(cache.usage().blocks, 0);
        cache.get_or_load(&key("a"), &stats, || async { Ok(block()) }).await.unwrap();
        assert_eq!(cache.usage().blocks, 1);
    }

    #[tokio::test]
    async fn concurrent_callers_share_one_load() {
        let cache = Arc::new(VectorCache::new(1 << 20));
        let loads = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (cache, loads) = (Arc::clone(&cache), Arc::clone(&loads));
                tokio::spawn(async move {
                    let stats = IoStats::default();
                    let load = || async {
                        loads.fetch_add(1, Ordering::Relaxed);
                        tokio::task::yield_now().await;
                        Ok(block())
                    };
                    cache.get_or_load(&key("a"), &stats, load).await.map(|block| block.rows())
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap(), 4);
        }
        assert_eq!(loads.load(Ordering::Relaxed), 1);
    }
}
