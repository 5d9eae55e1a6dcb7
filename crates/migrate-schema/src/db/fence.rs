//! The fence: what stops a process that lost its lock and does not know it yet.

use super::error::{DbError, DbErrorKind};

/// The epoch that a run raised when it took the database. A transaction that finds another
/// one in the database belongs to a run that was superseded, and is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The run.
    pub run: String,
    /// Its epoch.
    pub epoch: i64,
}

impl Fence {
    /// Compares with what stands in the database.
    pub(super) fn check(&self, found: Option<(i64, String)>) -> Result<(), DbError> {
        match found {
            Some((epoch, run)) if epoch == self.epoch && run == self.run => Ok(()),
            Some((epoch, run)) => Err(lost(format!(
                "run {} (epoch {}) was superseded by run {run} (epoch {epoch})",
                self.run, self.epoch
            ))),
            None => Err(lost(format!(
                "the fence of run {} (epoch {}) is gone from the database",
                self.run, self.epoch
            ))),
        }
    }
}

/// The refusal of a transaction whose run no longer holds the database.
pub(super) fn lost(message: String) -> DbError {
    DbError::new(DbErrorKind::FenceLost, message).hint(
        "another process took this database over; this one changed nothing further. \
         See `etlrs-migrate status`",
    )
}
