//! The journal with a copy of every run's log in the run's own database.
//!
//! The file is the journal. The copy is for the day when the file is lost with its container
//! or disk: then the database still says that a run is in doubt, and how far it came.
//!
//! Crash behaviour: an entry is durable in the file first. An entry that comes before an
//! effect must reach the copy too, or the effect does not happen; one that only tells what
//! happened is copied with the next. So a copy may lack outcomes, which are found again by
//! looking, but no intent. Every write of the copy checks the fence: a run that lost its lock
//! ends here.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use migrate_core::{Journal, JournalError, Record, RunHeader, RunId, RunLog};
use migrate_schema::db::{Database, DbErrorKind};
use migrate_schema::own;

use super::{SqliteJournal, copy};

/// A journal in a file, with a copy in the database that the runs are on.
///
/// The copy begins when the run is armed (its fence stands in the database) and is gone
/// with our other objects.
#[derive(Debug)]
pub struct MirroredJournal {
    file: SqliteJournal,
    database: Database,
}

impl MirroredJournal {
    /// Keeps a copy of what goes into `file` in `database`.
    pub fn new(file: SqliteJournal, database: Database) -> Self {
        Self { file, database }
    }

    /// All runs whose logs the database has. Read-only; empty where there is nothing of ours.
    ///
    /// # Errors
    /// The database can't be asked, or what stands there makes no sense.
    pub async fn in_database(database: &Database) -> Result<Vec<RunLog>, JournalError> {
        copy::read(database).await
    }

    /// Takes up the runs that only the database knows, whole or not at all. Returns them.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub async fn adopt(&self) -> Result<Vec<RunLog>, JournalError> {
        let unknown = self.unknown_here().await?;
        for log in &unknown {
            self.file.import(log).await?;
        }
        Ok(unknown)
    }

    async fn follow(&self, run: &RunId, record: &Record) -> Result<(), JournalError> {
        // Without a fence nothing of this run is in the database, and nothing may be.
        if self.database.fence().is_none() {
            return Ok(());
        }
        let Some(log) = self.file.log(run).await? else {
            return Ok(());
        };
        // A database that is down must not hold up what needs no copy: undoing files, stopping.
        let patience = if comes_before_an_effect(record) {
            PATIENCE
        } else {
            PATIENCE / 10
        };
        let written = tokio::time::timeout(patience, copy::catch_up(&self.database, &log));
        let written = written.await.unwrap_or_else(|_| Err(copy::Failed::late()));
        match written {
            Err(copy::Failed::Ahead(why)) => Err(JournalError::Unreadable(why)),
            Err(copy::Failed::Database(error))
                if error.kind == DbErrorKind::FenceLost || comes_before_an_effect(record) =>
            {
                let why = format!("its copy in the database: {error}");
                Err(JournalError::Unavailable(why))
            }
            Ok(()) | Err(copy::Failed::Database(_)) => Ok(()),
        }
    }
}

/// How long the database may take to write an entry that must be there.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Whether something is done after this entry that a copy without it would hide.
fn comes_before_an_effect(record: &Record) -> bool {
    matches!(
        record,
        Record::ServicesStopping { .. }
            | Record::PointCreated { .. }
            | Record::StepStarted { .. }
            | Record::Committing { .. }
            | Record::RollbackStarted { .. }
            | Record::RollbackStepStarted { .. }
            | Record::Reverted { .. }
    )
}

#[async_trait]
impl Journal for MirroredJournal {
    async fn open(&self, header: &RunHeader) -> Result<(), JournalError> {
        self.file.open(header).await
    }

    async fn append(
        &self,
        run: &RunId,
        at: DateTime<Utc>,
        record: &Record,
    ) -> Result<(), JournalError> {
        self.file.append(run, at, record).await?;
        migrate_failpoint::hit!("journal.copy").map_err(injected)?;
        self.follow(run, record).await?;
        migrate_failpoint::hit!("journal.append.after").map_err(injected)
    }

    async fn runs(&self) -> Result<Vec<RunLog>, JournalError> {
        Journal::runs(&self.file).await
    }

    async fn unknown_here(&self) -> Result<Vec<RunLog>, JournalError> {
        let known = Journal::runs(&self.file).await?;
        let mut logs = copy::read(&self.database).await?;
        logs.retain(|log| known.iter().all(|own| own.header.run != log.header.run));
        Ok(logs)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is the end of an error")]
pub(super) fn injected(error: std::io::Error) -> JournalError {
    JournalError::Unavailable(error.to_string())
}

/// Whether our tables hold a copy at all.
pub(super) async fn is_there(database: &Database) -> Result<bool, migrate_schema::db::DbError> {
    let tables = own::tables(database).await?;
    Ok(["runs", "log"]
        .iter()
        .all(|name| tables.iter().any(|table| table == name)))
}
