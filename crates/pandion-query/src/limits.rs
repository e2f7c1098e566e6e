//! How much one request may ask of the machine.
//!
//! Both limits are checked while an answer is put together, so that a request that asks for too
//! much ends with an error and not with the process.

/// Bytes of values that one answer may have, unless the options say otherwise.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Bytes that the groups and sorted rows of one request may take, unless the options say otherwise.
pub const QUERY_MEMORY_BYTES_MAX: usize = 1 << 30;

/// The limits of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Bytes of values that one answer may have.
    pub answer_bytes_max: usize,
    /// Bytes that the groups of an aggregation, or the rows that are sorted, may take. What is being
    /// read does not count: that is bounded by the row groups read at a time.
    pub memory_bytes_max: usize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self { answer_bytes_max: ANSWER_BYTES_MAX, memory_bytes_max: QUERY_MEMORY_BYTES_MAX }
    }
}
