//! Deletes segments that nobody needs.
//!
//! A segment is needed by a collection that serves or may serve a manifest with its file and has its
//! index, and by a refresh that is about to publish such a manifest.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use pandion_query::SegmentKey;
use pandion_types::Result;
use tokio::sync::watch;

use super::Inner;

/// How often it is begun anew because the catalogue has changed meanwhile.
const ATTEMPTS: usize = 4;

/// The segments that refreshes count on, and how many of them each.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    keys: Mutex<HashMap<SegmentKey, usize>>,
    /// Counts the pins that are gone.
    released: watch::Sender<u64>,
}

/// Keeps segments from being deleted, those that do not exist yet included.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Arc<Pins>,
    keys: Vec<SegmentKey>,
}

impl Pins {
    pub(crate) fn pin(self: &Arc<Self>, keys: Vec<SegmentKey>) -> Pin {
        self.change(|counts| keys.iter().for_each(|key| *counts.entry(*key).or_default() += 1));
        Pin { pins: Arc::clone(self), keys }
    }

    /// Changes when a pin is gone: what it held may be garbage now.
    pub(crate) fn releases(&self) -> watch::Receiver<u64> {
        self.released.subscribe()
    }

    pub(crate) fn holds(&self, key: &SegmentKey) -> bool {
        self.change(|counts| counts.contains_key(key))
    }

    fn change<T>(&self, change: impl FnOnce(&mut HashMap<SegmentKey, usize>) -> T) -> T {
        change(&mut self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.pins.change(|counts| {
            for key in &self.keys {
                if let Some(count) = counts.get_mut(key) {
                    *count -= 1;
                    if *count == 0 {
                        counts.remove(key);
                    }
                }
            }
        });
        self.pins.released.send_modify(|count| *count += 1);
    }
}

impl Inner {
    /// Deletes the segments that nobody needs and gives how many. A change of the catalogue stops
    /// it, because it may have brought a need; it then looks again.
    ///
    /// # Errors
    /// `Unavailable` and `Corrupt` when a manifest cannot be read, and then nothing is deleted;
    /// those of the store.
    pub(crate) async fn collect_garbage(&self) -> Result<usize> {
        let mut removed = 0;
        for _ in 0..ATTEMPTS {
            let state = self.catalog.state();
            let segments = &self.builder.segments;
            // What is stored is looked at before what is needed: whatever is stored afterwards is
            // not a candidate.
            let stored = segments.keys();
            if stored.is_empty() && self.lock().failures.is_empty() {
                break;
            }
            let mut needed = HashSet::new();
            for collection in state.all_collections() {
                let pointers = [&collection.manifest, &collection.loaded_manifest];
                for pointer in pointers.into_iter().flatten() {
                    needed.extend(self.needs(collection, pointer).await?.keys());
                }
            }
            self.forget_dropped(&state, &needed);
            let dead: Vec<SegmentKey> =
                stored.into_iter().filter(|key| !needed.contains(key)).collect();
            let version = state.version();
            let is_unsure = || self.catalog.state().version() != version;
            removed += segments.remove(&dead, |key| is_unsure() || self.pins.holds(key)).await?;
            if !is_unsure() {
                break;
            }
        }
        if removed > 0 {
            tracing::info!(removed, "scalar indexes of files that nobody needs were deleted");
        }
        Ok(removed)
    }
}
