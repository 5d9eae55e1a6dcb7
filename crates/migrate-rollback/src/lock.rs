//! Keeps two runs apart: a lock on the deployment, a lock on the database, and the fence.
//!
//! Three things, because each alone has a hole. The file lock in the state directory keeps
//! two runs on one deployment apart. The database lock keeps two deployments apart that
//! share a database. The fencing epoch in the database catches a run whose lock was lost
//! with its session while it did not look.
//!
//! Crash behaviour: every lock is held by the process, not by what stands in a file. A
//! killed process has let go of all of them; nothing has to be deleted by hand.

mod alone;
mod state_file;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use migrate_core::{Journal, MigrationError, Phase, RunGuard, RunId, RunState, StepError};
use migrate_schema::db::{Database, DatabaseUrl, DbError, DbErrorKind, openers};
use migrate_schema::lock::DatabaseLock;
use migrate_schema::own;
use tokio::sync::Mutex;
use tokio::time::Instant;

pub use alone::DatabaseGuard;
pub use migrate_schema::lock::{Holder, HolderState};

use crate::state_dir;
pub(crate) use state_file::StateLock;

/// How long [`DeploymentGuard`] waits for another run by itself.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(3);

/// The locks of one run on one deployment and its database.
///
/// Taken by [`RunGuard::acquire`], let go by [`RunGuard::release`], by dropping the guard,
/// and by the end of the process.
pub struct DeploymentGuard {
    root: PathBuf,
    database: Database,
    journal: Arc<dyn Journal>,
    deadline: Duration,
    held: Mutex<Option<Held>>,
}

struct Held {
    run: RunId,
    // The order of the fields is the order of letting go: the database first.
    database: DatabaseLock,
    state: StateLock,
}

impl std::fmt::Debug for DeploymentGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeploymentGuard")
            .field("root", &self.root)
            .field("database", &self.database)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl DeploymentGuard {
    /// A guard of the deployment at `root`; takes nothing yet. The journal tells
    /// [`RunGuard::disarm`] whether another run still needs our objects.
    pub fn new(root: impl Into<PathBuf>, database: Database, journal: Arc<dyn Journal>) -> Self {
        Self {
            root: root.into(),
            database,
            journal,
            deadline: DEFAULT_DEADLINE,
            held: Mutex::new(None),
        }
    }

    /// A guard of a deployment whose own lock is held already: it takes the database's.
    pub(crate) async fn holding(
        root: impl Into<PathBuf>,
        database: Database,
        journal: Arc<dyn Journal>,
        state: StateLock,
        run: &RunId,
    ) -> Result<Self, MigrationError> {
        let guard = Self::new(root, database, journal);
        let me = Holder::this(run);
        let until = Instant::now() + guard.deadline;
        let database = DatabaseLock::acquire(&guard.database, &me, until).await?;
        *guard.held.lock().await = Some(Held {
            run: run.clone(),
            database,
            state,
        });
        Ok(guard)
    }

    /// Waits up to `deadline` for another run to end before it refuses.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Who took the deployment's lock last and did not let go, and whether it still holds
    /// it. Read-only: takes nothing, makes no file.
    pub fn holder(root: &Path) -> Option<(Holder, HolderState)> {
        state_file::holder(&state_dir::path(root))
    }

    /// An error with the processes that are in the way, where it is about a locked file.
    fn named(&self, error: DbError, what: &str) -> StepError {
        let locked = error.kind == DbErrorKind::Lock;
        let error = error.into_step_error(what);
        let url = self.database.url().filter(|_| locked);
        match url.and_then(DatabaseUrl::sqlite_path) {
            Some(file) => openers(&file)
                .into_iter()
                .fold(error, StepError::cause)
                .hint("stop these programs, then try again"),
            None => error,
        }
    }

    /// Runs of this deployment that are neither this one nor rolled back.
    async fn others_need_our_objects(&self, this: &RunId) -> Result<bool, StepError> {
        let logs = self.journal.runs().await.map_err(|error| {
            StepError::caused("can't tell whether another run needs our objects", &error)
        })?;
        let gone = |log: &migrate_core::RunLog| {
            RunState::replay(log).is_ok_and(|state| state.phase == Phase::RolledBack)
        };
        let (mine, others): (Vec<_>, Vec<_>) = logs
            .into_iter()
            .partition(|log| &log.header.run == this || gone(log));
        if !others.is_empty() {
            return Ok(true);
        }
        // A database that several deployments share holds markers of runs that are in
        // another deployment's journal.
        let known: Vec<&str> = mine.iter().map(|log| log.header.run.as_str()).collect();
        self.has_foreign_markers(this, &known).await
    }

    async fn has_foreign_markers(&self, this: &RunId, known: &[&str]) -> Result<bool, StepError> {
        let names: Vec<String> = known
            .iter()
            .chain([&this.as_str()])
            .map(|run| migrate_schema::quote::literal(run))
            .collect();
        let backend = self.database.backend();
        let names = names.join(", ");
        let sql = format!(
            "SELECT (SELECT count(*) FROM {} WHERE run NOT IN ({names})) \
             + (SELECT count(*) FROM {} WHERE run NOT IN ({names}))",
            own::name(backend, "markers"),
            own::name(backend, "runs"),
        );
        let found = self
            .database
            .query_ours(&sql)
            .await
            .map_err(|error| error.into_step_error("can't look for other runs' markers"))?;
        Ok(found != serde_json::json!(0))
    }

    async fn forget_markers(&self, run: &RunId) -> Result<(), StepError> {
        for table in ["markers", "seals", "log", "runs"] {
            let sql = format!(
                "DELETE FROM {} WHERE run = {}",
                own::name(self.database.backend(), table),
                migrate_schema::quote::literal(run.as_str())
            );
            self.database
                .execute_ours(&sql)
                .await
                .map_err(|error| error.into_step_error("can't remove what the run kept"))?;
        }
        Ok(())
    }
}

#[async_trait]
impl RunGuard for DeploymentGuard {
    async fn acquire(&self, run: &RunId) -> Result<(), MigrationError> {
        let mut held = self.held.lock().await;
        if let Some(held) = held.as_mut() {
            held.run = run.clone();
            return Ok(());
        }
        let until = Instant::now() + self.deadline;
        let dir = state_dir::ensure(&self.root).map_err(|error| {
            let what = format!("can't make {}", state_dir::path(&self.root).display());
            MigrationError::Unchanged(StepError::caused(what, &error))
        })?;
        let me = Holder::this(run);
        let state = StateLock::acquire(&dir, &me, until).await?;
        let database = DatabaseLock::acquire(&self.database, &me, until).await?;
        *held = Some(Held {
            run: run.clone(),
            database,
            state,
        });
        Ok(())
    }

    async fn arm(&self, run: &RunId) -> Result<(), StepError> {
        let ordered = |error: std::io::Error| StepError::failed(error.to_string());
        migrate_failpoint::hit!("guard.arm").map_err(ordered)?;
        own::ensure(&self.database)
            .await
            .map_err(|error| self.named(error, "can't make our tables in the database"))?;
        let fence = own::raise_fence(&self.database, run.as_str())
            .await
            .map_err(|error| self.named(error, "can't raise the fence in the database"))?;
        self.database.set_fence(Some(fence));
        migrate_failpoint::hit!("guard.armed").map_err(ordered)
    }

    async fn disarm(&self) -> Result<(), StepError> {
        let run = self.held.lock().await.as_ref().map(|held| held.run.clone());
        let run = run.ok_or_else(|| {
            StepError::failed("our objects can only be removed while the run holds its lock")
        })?;
        migrate_failpoint::hit!("guard.disarm")
            .map_err(|error| StepError::failed(error.to_string()))?;
        let exists = own::exists(&self.database)
            .await
            .map_err(|error| error.into_step_error("can't look for our tables"))?;
        if exists {
            if self.others_need_our_objects(&run).await? {
                self.forget_markers(&run).await?;
            } else {
                self.database.set_fence(None);
                own::drop_all(&self.database)
                    .await
                    .map_err(|error| error.into_step_error("can't remove our tables"))?;
            }
        }
        self.database.set_fence(None);
        Ok(())
    }

    async fn release(&self) {
        if let Some(held) = self.held.lock().await.take() {
            held.database.release().await;
            drop(held.state);
        }
    }
}
