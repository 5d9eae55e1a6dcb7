//! Rollback points, backups, restore, journal store and run lock.

pub mod backup;
pub mod checksum;
pub mod history;
pub mod journal;
pub mod lock;
pub mod manager;
#[cfg(feature = "postgres")]
mod pg;
pub mod point;
mod restore;
pub mod state_dir;

pub use history::RollbackHistory;
pub use journal::SqliteJournal;
pub use lock::DeploymentGuard;
pub use manager::{RollbackManager, TargetDatabase};
pub use point::{FileCopy, RollbackPoint, Snapshot};
