//! Rollback points, backups, restore, journal store and run lock.

pub mod checksum;
pub mod journal;
pub mod lock;
pub mod state_dir;

pub use journal::SqliteJournal;
pub use lock::DeploymentGuard;
