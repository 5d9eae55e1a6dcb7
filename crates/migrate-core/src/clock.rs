//! The one source of wall-clock time.

use chrono::{DateTime, Utc};

/// Tells the time. Handed to the engine by its embedder, so that this crate reads no clock.
pub trait Clock: Send + Sync {
    /// The present moment, in UTC.
    fn now(&self) -> DateTime<Utc>;
}
