//! The lock on a database alone, for work that belongs to no deployment.

use std::time::Duration;

use migrate_core::{MigrationError, RunId, StepError};
use migrate_schema::db::Database;
use migrate_schema::lock::{DatabaseLock, Holder};
use migrate_schema::own;
use tokio::time::Instant;

/// Keeps every other run on a database away, those of deployments too. Let go by
/// [`DatabaseGuard::release`], by dropping it, and by the end of the process.
pub struct DatabaseGuard {
    lock: DatabaseLock,
    database: Database,
}

impl std::fmt::Debug for DatabaseGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseGuard")
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl DatabaseGuard {
    /// Takes the lock, waiting up to `deadline` for another run, and raises the fence.
    ///
    /// # Errors
    /// [`MigrationError::Locked`] naming the holder.
    pub async fn acquire(
        database: &Database,
        run: &RunId,
        deadline: Duration,
    ) -> Result<Self, MigrationError> {
        let me = Holder::this(run);
        let lock = DatabaseLock::acquire(database, &me, Instant::now() + deadline).await?;
        let guard = Self {
            lock,
            database: database.clone(),
        };
        guard.arm(run).await.map_err(MigrationError::Unchanged)?;
        Ok(guard)
    }

    async fn arm(&self, run: &RunId) -> Result<(), StepError> {
        own::ensure(&self.database)
            .await
            .map_err(|error| error.into_step_error("can't make our tables in the database"))?;
        let fence = own::raise_fence(&self.database, run.as_str())
            .await
            .map_err(|error| error.into_step_error("can't raise the fence in the database"))?;
        self.database.set_fence(Some(fence));
        Ok(())
    }

    /// Lets go and waits until the database knows.
    pub async fn release(self) {
        self.database.set_fence(None);
        self.lock.release().await;
    }
}
