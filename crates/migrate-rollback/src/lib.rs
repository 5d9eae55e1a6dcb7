//! Rollback points, backups, restore, journal store, run lock, and looking at a deployment.
//!
//! Reading order: [`journal`] (what is durable), [`lock`] (who may run), [`point`] and
//! [`history`] (what a rollback point is), [`inventory`] (everything that can be restored),
//! [`manager`] (making, restoring, verifying),
//! [`recovery`] (bringing one back whatever is there), [`canonical`] (what is compared afterwards), [`observer`] (version, fingerprint, losses),
//! [`preflight`] (rights, room, old transactions).
//!
//! Invariants:
//! - A rollback point is named only after it is durable and verified.
//! - A restore changes a database in one transaction or not at all, and never our objects.
//! - No lock outlives its process; nothing has to be deleted by hand.
//! - A password is never in an argument, an error, the journal or the history.
#![cfg_attr(
    not(all(feature = "postgres", feature = "sqlite")),
    allow(
        unreachable_patterns,
        irrefutable_let_patterns,
        reason = "the database handle may be built with more databases than this crate"
    )
)]

pub mod backup;
pub mod canonical;
pub mod checksum;
pub mod history;
pub mod inventory;
pub mod journal;
pub mod lock;
pub mod manager;
pub mod observer;
mod others;
#[cfg(feature = "postgres")]
mod pg;
pub mod point;
pub mod preflight;
pub mod recovery;
mod restore;
pub mod retention;
pub mod scratch_copy;
pub mod state_dir;

pub use history::RollbackHistory;
pub use inventory::{Inventory, Stored};
pub use journal::{MirroredJournal, SqliteJournal};
pub use lock::{DatabaseGuard, DeploymentGuard};
pub use manager::{RollbackManager, TargetDatabase};
pub use observer::DeploymentObserver;
pub use point::{FileCopy, Purpose, RollbackPoint, Snapshot};
pub use recovery::Recovery;
pub use retention::Retention;
pub use scratch_copy::ScratchCopy;
