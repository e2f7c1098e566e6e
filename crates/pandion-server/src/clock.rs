//! The only place of this crate that reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
#[must_use]
pub(crate) fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Milvus's hybrid timestamp: milliseconds since 1970 in the upper 46 bits, a counter below.
#[must_use]
pub(crate) fn hybrid_timestamp() -> u64 {
    hybrid(unix_ms())
}

/// A time in milliseconds since 1970 as a hybrid timestamp.
#[must_use]
pub(crate) fn hybrid(unix_ms: i64) -> u64 {
    u64::try_from(unix_ms).unwrap_or(0) << 18
}
