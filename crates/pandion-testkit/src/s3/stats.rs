//! Counts of the requests that reached the server, by operation.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// The operations that are told apart by counters and faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum S3Op {
    /// A page of a listing of a bucket.
    List,
    /// A read of an object, whole or of a range.
    Get,
    /// A look at the metadata of an object.
    Head,
    /// A write of an object; also a copy and each request of a multipart upload.
    Put,
    /// A delete of one or more objects.
    Delete,
    /// Anything else: requests about buckets.
    Other,
    /// A request for a session of a role.
    Sts,
    /// A request for instance metadata or container credentials.
    Metadata,
}

/// What the server was asked since the start or the last reset. Every attempt counts, also one
/// that is refused or made to fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3Stats {
    /// Pages of listings.
    pub list: u64,
    /// Reads of objects.
    pub get: u64,
    /// Of the reads, those with `If-Match`: pinned to one version of the object.
    pub get_pinned: u64,
    /// Looks at metadata.
    pub head: u64,
    /// Writes.
    pub put: u64,
    /// Deletes.
    pub delete: u64,
    /// Other requests.
    pub other: u64,
    /// Requests to the token service.
    #[serde(default)]
    pub sts: u64,
    /// Requests for instance metadata and container credentials.
    #[serde(default)]
    pub metadata: u64,
    /// Answers with a status of 400 or more.
    pub failed: u64,
    /// Bytes of object bodies in answers to reads.
    pub bytes_read: u64,
    /// Bytes of object bodies that were written.
    pub bytes_written: u64,
    /// Faults that fired, latency included.
    pub faults: u64,
}

impl S3Stats {
    /// Requests to the store, of every kind.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.list + self.get + self.head + self.put + self.delete + self.other
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    list: AtomicU64,
    get: AtomicU64,
    get_pinned: AtomicU64,
    head: AtomicU64,
    put: AtomicU64,
    delete: AtomicU64,
    other: AtomicU64,
    sts: AtomicU64,
    metadata: AtomicU64,
    failed: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    faults: AtomicU64,
    /// Requests under way, and the most there ever were.
    in_flight: AtomicU64,
    in_flight_max: AtomicU64,
}

/// A request under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight<'a>(&'a Counters);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counters {
    /// Counts a request as being under way as long as the answer lives.
    pub(crate) fn begin(&self) -> InFlight<'_> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.in_flight_max.fetch_max(before + 1, Ordering::Relaxed);
        InFlight(self)
    }

    pub(crate) fn in_flight_max(&self) -> u64 {
        self.in_flight_max.load(Ordering::Relaxed)
    }

    pub(crate) fn count_request(&self, op: S3Op, pinned: bool) {
        let counter = match op {
            S3Op::List => &self.list,
            S3Op::Get => &self.get,
            S3Op::Head => &self.head,
            S3Op::Put => &self.put,
            S3Op::Delete => &self.delete,
            S3Op::Other => &self.other,
            S3Op::Sts => &self.sts,
            S3Op::Metadata => &self.metadata,
        };
        add(counter, 1);
        if pinned && op == S3Op::Get {
            add(&self.get_pinned, 1);
        }
    }

    pub(crate) fn count_failure(&self) {
        add(&self.failed, 1);
    }

    pub(crate) fn count_faults(&self, fired: u64) {
        add(&self.faults, fired);
    }

    pub(crate) fn count_read(&self, bytes: u64) {
        add(&self.bytes_read, bytes);
    }

    pub(crate) fn count_written(&self, bytes: u64) {
        add(&self.bytes_written, bytes);
    }

    pub(crate) fn snapshot(&self) -> S3Stats {
        self.each(|counter| counter.load(Ordering::Relaxed))
    }

    /// What was counted until now; counting starts anew.
    pub(crate) fn reset(&self) -> S3Stats {
        self.in_flight_max.store(self.in_flight.load(Ordering::Relaxed), Ordering::Relaxed);
        self.each(|counter| counter.swap(0, Ordering::Relaxed))
    }

    fn each(&self, take: impl Fn(&AtomicU64) -> u64) -> S3Stats {
        S3Stats {
            list: take(&self.list),
            get: take(&self.get),
            get_pinned: take(&self.get_pinned),
            head: take(&self.head),
            put: take(&self.put),
            delete: take(&self.delete),
            other: take(&self.other),
            sts: take(&self.sts),
            metadata: take(&self.metadata),
            failed: take(&self.failed),
            bytes_read: take(&self.bytes_read),
            bytes_written: take(&self.bytes_written),
            faults: take(&self.faults),
        }
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}
