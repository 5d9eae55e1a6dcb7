//! The journal in a SQLite file: `<root>/.etlrs-migrate/journal.db`.
//!
//! Crash behaviour: every entry is one transaction in rollback-journal mode with
//! `synchronous=EXTRA`, so an entry that `append` reported is on disk, and one that was
//! torn by a crash is not there at all. Each entry carries its sequence number and a
//! checksum, the head of a run too, and the file's structure is checked whenever it is read;
//! a gap or a changed byte is reported and never skipped.

mod copy;
mod entry;
mod mirrored;
mod store;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use migrate_core::journal::FORMAT;
use migrate_core::{Journal, JournalError, Record, RunHeader, RunId, RunLog};
use sqlx::{Row, SqliteConnection};
use tokio::sync::Mutex;

use crate::state_dir;

pub use mirrored::MirroredJournal;

/// The file's name in the state directory.
pub const JOURNAL_FILE: &str = "journal.db";

/// A journal of ours in a file.
///
/// One connection, used by one call at a time. Dropping a call's future half-way leaves
/// either the whole entry or none of it.
#[derive(Debug)]
pub struct SqliteJournal {
    path: PathBuf,
    connection: Mutex<SqliteConnection>,
    // Holds the copy that a reader looks at when the file itself needs a writer to recover it.
    _copy: Option<tempfile::TempDir>,
}

impl SqliteJournal {
    /// Opens the deployment's journal for writing; makes it, and the state directory, if
    /// there is none. What a crash left half-written is rolled back here.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`] if it can't be made or opened,
    /// [`JournalError::Unreadable`] if the file is no journal of ours, damaged, or newer.
    pub async fn create(root: &Path) -> Result<Self, JournalError> {
        let dir = state_dir::ensure(root).map_err(|error| {
            JournalError::Unavailable(format!("{}: {error}", state_dir::path(root).display()))
        })?;
        let path = dir.join(JOURNAL_FILE);
        let mut connection = store::open_for_writing(&path).await?;
        store::ensure_schema(&mut connection, &path).await?;
        Ok(Self {
            path,
            connection: Mutex::new(connection),
            _copy: None,
        })
    }

    /// Opens the deployment's journal to read it; `None` if there is none. Writes nothing
    /// in the deployment: no file is made, and a half-written entry of a crashed run is
    /// left for the next writer (it is not shown).
    ///
    /// # Errors
    /// As [`create`](Self::create). Appending through it is [`JournalError::Unavailable`].
    pub async fn open_existing(root: &Path) -> Result<Option<Self>, JournalError> {
        let path = state_dir::path(root).join(JOURNAL_FILE);
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => {
                let why = format!("{}: {error}", path.display());
                return Err(JournalError::Unavailable(why));
            }
        }
        let (connection, copy) = store::open_for_reading(&path).await?;
        Ok(Some(Self {
            path,
            connection: Mutex::new(connection),
            _copy: copy,
        }))
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All runs' logs, oldest first; the same as [`Journal::runs`].
    ///
    /// # Errors
    /// [`JournalError::Unreadable`] naming the run and entry that make no sense.
    pub async fn runs(&self) -> Result<Vec<RunLog>, JournalError> {
        let mut connection = self.connection.lock().await;
        if !store::check_format(&mut connection, &self.path).await? {
            return Ok(Vec::new());
        }
        let rows = sqlx::query("SELECT run, format, header, digest FROM runs ORDER BY number")
            .fetch_all(&mut *connection)
            .await
            .map_err(|error| store::failed(&self.path, &error))?;
        let mut logs = Vec::with_capacity(rows.len());
        for row in rows {
            let header = self.head(&row)?;
            let records = self.records(&mut connection, header.run.as_str()).await?;
            logs.push(RunLog { header, records });
        }
        Ok(logs)
    }

    /// One run's log; nothing if it is not in the file.
    pub(crate) async fn log(&self, run: &RunId) -> Result<Option<RunLog>, JournalError> {
        let mut connection = self.connection.lock().await;
        let row = sqlx::query("SELECT run, format, header, digest FROM runs WHERE run = ?")
            .bind(run.as_str())
            .fetch_optional(&mut *connection)
            .await
            .map_err(|error| store::failed(&self.path, &error))?;
        let Some(row) = row else {
            return Ok(None);
        };
        let header = self.head(&row)?;
        let records = self.records(&mut connection, run.as_str()).await?;
        Ok(Some(RunLog { header, records }))
    }

    /// Takes a whole log in, in one transaction.
    pub(crate) async fn import(&self, log: &RunLog) -> Result<(), JournalError> {
        let fail = |error: sqlx::Error| store::failed(&self.path, &error);
        let head = entry::StoredHead::write(&log.header)?;
        let run = log.header.run.as_str();
        let mut connection = self.connection.lock().await;
        let mut transaction = sqlx::Connection::begin(&mut *connection)
            .await
            .map_err(fail)?;
        head.insert(&mut transaction).await.map_err(fail)?;
        for (seq, (at, record)) in (1..).zip(&log.records) {
            let stored = entry::Stored::write(run, seq, *at, record)?;
            stored.insert(run, &mut transaction).await.map_err(fail)?;
        }
        transaction.commit().await.map_err(fail)
    }

    fn head(&self, row: &sqlx::sqlite::SqliteRow) -> Result<RunHeader, JournalError> {
        let stored = entry::StoredHead {
            run: column(row, "run", &self.path)?,
            format: column(row, "format", &self.path)?,
            header: column(row, "header", &self.path)?,
            digest: column(row, "digest", &self.path)?,
        };
        stored.read()
    }

    async fn records(
        &self,
        connection: &mut SqliteConnection,
        run: &str,
    ) -> Result<Vec<(DateTime<Utc>, Record)>, JournalError> {
        let rows =
            sqlx::query("SELECT seq, at, record, digest FROM entries WHERE run = ? ORDER BY seq")
                .bind(run)
                .fetch_all(connection)
                .await
                .map_err(|error| store::failed(&self.path, &error))?;
        let mut records = Vec::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            let stored = entry::Stored {
                seq: column(row, "seq", &self.path)?,
                at: column(row, "at", &self.path)?,
                record: column(row, "record", &self.path)?,
                digest: column(row, "digest", &self.path)?,
            };
            records.push(stored.read(run, index)?);
        }
        Ok(records)
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn open(&self, header: &RunHeader) -> Result<(), JournalError> {
        if header.format > FORMAT {
            return Err(entry::newer(header.run.as_str(), header.format.into()));
        }
        let head = entry::StoredHead::write(header)?;
        migrate_failpoint::hit!("journal.open.before").map_err(mirrored::injected)?;
        let mut connection = self.connection.lock().await;
        head.insert(&mut connection)
            .await
            .map_err(|error| match error.as_database_error() {
                Some(why) if why.is_unique_violation() => JournalError::taken(&header.run),
                _ => store::failed(&self.path, &error),
            })?;
        migrate_failpoint::hit!("journal.open.after").map_err(mirrored::injected)
    }

    async fn append(
        &self,
        run: &RunId,
        at: DateTime<Utc>,
        record: &Record,
    ) -> Result<(), JournalError> {
        migrate_failpoint::hit!("journal.append.before").map_err(mirrored::injected)?;
        let mut connection = self.connection.lock().await;
        let next: Option<i64> = sqlx::query_scalar(
            "SELECT (SELECT coalesce(max(seq), 0) + 1 FROM entries WHERE run = r.run) \
             FROM runs r WHERE r.run = ?",
        )
        .bind(run.as_str())
        .fetch_optional(&mut *connection)
        .await
        .map_err(|error| store::failed(&self.path, &error))?;
        let seq =
            next.ok_or_else(|| JournalError::Unavailable(format!("no run {run} is open in it")))?;
        let stored = entry::Stored::write(run.as_str(), seq, at, record)?;
        // The primary key (run, seq) refuses a second writer that read the same number.
        stored
            .insert(run.as_str(), &mut connection)
            .await
            .map_err(|error| store::failed(&self.path, &error))?;
        Ok(())
    }

    async fn runs(&self) -> Result<Vec<RunLog>, JournalError> {
        Self::runs(self).await
    }
}

fn column<'r, T>(
    row: &'r sqlx::sqlite::SqliteRow,
    name: &str,
    path: &Path,
) -> Result<T, JournalError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(name)
        .map_err(|error| JournalError::Unreadable(format!("{}: {error}", path.display())))
}
