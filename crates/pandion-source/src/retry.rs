//! How often a store's client repeats a request that failed.

use std::time::Duration;

use object_store::{BackoffConfig, RetryConfig};

/// How often a request is repeated after 429, 5xx, a lost connection or a timeout, with growing
/// random pauses.
const RETRIES_MAX: usize = 5;
/// No repetition begins later than this after the first attempt. The last attempt has the
/// client's own limits: ten seconds without a byte, a minute in all.
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// The rules of repetition that all sources have.
#[must_use]
pub fn source_retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(4),
            base: 2.0,
        },
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_TIMEOUT,
    }
}
