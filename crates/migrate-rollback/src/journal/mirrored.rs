//! The journal with a copy of every run's log in the run's own database.
//!
//! The file is the journal. The copy is for the day when the file is lost with its container
//! or disk: then the database still says that a run is in doubt, and how far it came.
//!
//! Crash behaviour: an entry is durable in the file first. An entry that comes before an
//! effect must reach the copy too, or the effect does not happen; one that only tells what
//! happened is copied with the next. So a copy may lack outcomes, which are found again by
//! looking, but no intent. Every write of the copy checks the fence: a run that lost its lock
//! ends here. The copy has the file's chain of signatures, by which a forged one is known.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use migrate_core::{Journal, JournalError, Record, RunHeader, RunId, RunLog, UnknownRun};
use migrate_schema::db::{Database, DbErrorKind};

use super::{Copied, SqliteJournal, copy};
use crate::signing::Trust;

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

    /// All runs whose logs the database has, judged by whom the deployment trusts. Read-only;
    /// empty where there is nothing of ours.
    ///
    /// # Errors
    /// The database can't be asked, or what stands there makes no sense.
    pub async fn in_database(
        database: &Database,
        trust: &Trust,
    ) -> Result<Vec<Copied>, JournalError> {
        copy::read(database, trust).await
    }

    /// The runs that only the database knows.
    ///
    /// # Errors
    /// As [`in_database`](Self::in_database); or the deployment's key can't be read.
    pub async fn unknown(&self) -> Result<Vec<Copied>, JournalError> {
        let trust = Trust::load(self.file.root())
            .map_err(|error| JournalError::Unavailable(error.to_string()))?;
        let known = Journal::runs(&self.file).await?;
        let mut copies = copy::read(&self.database, &trust).await?;
        let here = |copy: &Copied| {
            let run = &copy.run.log.header.run;
            known.iter().any(|own| &own.header.run == run)
        };
        copies.retain(|copy| !here(copy));
        Ok(copies)
    }

    /// Takes up a run that only the database knows, whole or not at all. What its chain does not
    /// prove is taken up without a chain: the caller vouches for it.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub async fn take_up(&self, copy: &Copied) -> Result<(), JournalError> {
        let mut texts = copy.texts.clone();
        if !copy.run.proof.holds() {
            texts.seals.clear();
        }
        self.file.import(&texts).await
    }

    async fn follow(&self, run: &RunId, record: &Record) -> Result<(), JournalError> {
        // Without a fence nothing of this run is in the database, and nothing may be.
        if self.database.fence().is_none() {
            return Ok(());
        }
        let Some(log) = self.file.texts(run).await? else {
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

    async fn head(&self, run: &RunId) -> Result<Option<String>, JournalError> {
        self.file.head(run).await
    }

    async fn unknown_here(&self) -> Result<Vec<UnknownRun>, JournalError> {
        let unknown = self.unknown().await?.into_iter();
        Ok(unknown.map(|copy| copy.run).collect())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is the end of an error")]
pub(super) fn injected(error: std::io::Error) -> JournalError {
    JournalError::Unavailable(error.to_string())
}
