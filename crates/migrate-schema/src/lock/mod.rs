//! The lock that keeps two runs on one database apart, by the means that each database has.
//!
//! Crash behaviour: the lock is held by the process, not by what stands in a file or row. A
//! killed process has let go of it; nothing has to be deleted by hand.

mod database;
mod directory;
mod holder;
#[cfg(feature = "postgres")]
mod session;

use std::time::Duration;

pub use database::DatabaseLock;
pub use holder::{BEAT, Holder, HolderState};

/// How often a lock that another run holds is tried again.
pub const POLL: Duration = Duration::from_millis(100);
