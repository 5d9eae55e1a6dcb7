//! The real clock.

use chrono::{DateTime, Utc};
use migrate_core::Clock;

/// The operating system's clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}
