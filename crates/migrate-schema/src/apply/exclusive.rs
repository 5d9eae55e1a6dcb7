//! The engine's own lock: whoever calls it, one process at a time changes a schema.

use std::future::Future;

use migrate_core::{MigrationError, RunId, StepError};
use tokio::time::Instant;

use super::engine::SchemaEngine;
use super::failure::ApplyError;
use crate::db::Database;
use crate::lock::{DatabaseLock, Holder};
use crate::own;

/// Takes the fence off the handle again, also when the work is dropped.
struct Fenced<'d>(&'d Database);

impl Drop for Fenced<'_> {
    fn drop(&mut self) {
        self.0.set_fence(None);
    }
}

impl SchemaEngine {
    /// Does something while no other process changes the schema. A caller that holds the
    /// database's lock has put its fence on the handle: its lock is this one, and is not
    /// taken twice. Waits up to [`Options::give_up_after`](super::Options) for another.
    ///
    /// # Errors
    /// The lock's holder, when it did not let go in time; nothing was changed.
    pub(super) async fn exclusively<T>(
        &self,
        work: impl Future<Output = Result<T, ApplyError>>,
    ) -> Result<T, ApplyError> {
        // Two engines on clones of one handle share its fence.
        let _turn = self.db.turn().await;
        if self.db.fence().is_some() {
            return work.await;
        }
        let until = Instant::now() + self.options.give_up_after;
        let run = RunId::fresh(chrono::Utc::now());
        let lock = DatabaseLock::acquire(&self.db, &Holder::this(&run), until)
            .await
            .map_err(|error| ApplyError::unchanged(refusal(error)))?;
        own::ensure(&self.db)
            .await
            .map_err(ApplyError::db("our own tables can't be made"))?;
        let fence = own::raise_fence(&self.db, run.as_str())
            .await
            .map_err(ApplyError::db("the fence in the database can't be raised"))?;
        let fenced = Fenced(&self.db);
        self.db.set_fence(Some(fence));
        let outcome = work.await;
        drop(fenced);
        lock.release().await;
        outcome
    }
}

fn refusal(error: MigrationError) -> StepError {
    match error {
        MigrationError::Unchanged(error) => error,
        MigrationError::Locked(holder) => {
            StepError::failed(format!("another run holds the lock: {holder}"))
                .hint("wait for it to end, then try again")
        }
        other => StepError::failed(other.to_string()),
    }
}
