//! Counters of what a query or a refresh asked of the lake.

use std::ops::Add;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Counters that the parts of one query or one refresh share and add to.
#[derive(Debug, Default)]
pub struct IoStats {
    list_requests: AtomicU64,
    read_requests: AtomicU64,
    bytes_read: AtomicU64,
    rows_decoded: AtomicU64,
    cache_hits: AtomicU64,
    cache_misses: AtomicU64,
}

/// The values of [`IoStats`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoCounts {
    /// Pages of listings asked for.
    pub list_requests: u64,
    /// Reads of objects, each one request at the store.
    pub read_requests: u64,
    /// Bytes of objects received.
    pub bytes_read: u64,
    /// Rows decoded from files, summed over columns groups read together.
    pub rows_decoded: u64,
    /// Blocks found in a cache of ours.
    pub cache_hits: u64,
    /// Blocks looked for in a cache of ours and not found.
    pub cache_misses: u64,
}

impl IoStats {
    /// One more page of a listing.
    pub fn count_list(&self) {
        self.list_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// One more read of `bytes` bytes.
    pub fn count_read(&self, bytes: u64) {
        self.read_requests.fetch_add(1, Ordering::Relaxed);
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// `rows` more rows decoded.
    pub fn count_rows_decoded(&self, rows: u64) {
        self.rows_decoded.fetch_add(rows, Ordering::Relaxed);
    }

    /// One more look into a cache.
    pub fn count_cache(&self, hit: bool) {
        let counter = if hit { &self.cache_hits } else { &self.cache_misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The values now.
    #[must_use]
    pub fn counts(&self) -> IoCounts {
        IoCounts {
            list_requests: self.list_requests.load(Ordering::Relaxed),
            read_requests: self.read_requests.load(Ordering::Relaxed),
            bytes_read: self.bytes_read.load(Ordering::Relaxed),
            rows_decoded: self.rows_decoded.load(Ordering::Relaxed),
            cache_hits: self.cache_hits.load(Ordering::Relaxed),
            cache_misses: self.cache_misses.load(Ordering::Relaxed),
        }
    }
}

impl Add for IoCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            list_requests: self.list_requests + other.list_requests,
            read_requests: self.read_requests + other.read_requests,
            bytes_read: self.bytes_read + other.bytes_read,
            rows_decoded: self.rows_decoded + other.rows_decoded,
            cache_hits: self.cache_hits + other.cache_hits,
            cache_misses: self.cache_misses + other.cache_misses,
        }
    }
}
