//! What time it is, as a seam: whatever decides by the time takes a [`Clock`], so that a test can
//! let hours pass at once. It measures no durations.

use std::fmt;
use std::time::SystemTime;

/// Tells the time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now. It may jump in either direction, as a computer's clock does when it is set.
    fn now(&self) -> SystemTime;
}

/// The clock of this computer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}
