//! The journal in a SQLite file: `<root>/.etlrs-migrate/journal.db`.
//!
//! Crash behaviour: every entry is one transaction in rollback-journal mode with
//! `synchronous=EXTRA`, so an entry that `append` reported is on disk, and one that was
//! torn by a crash is not there at all. Each entry carries its sequence number and a
//! checksum, the head of a run too, and the file's structure is checked whenever it is read;
//! a gap or a changed byte is reported and never skipped. The entries of a run are a chain of
//! hashes, each signed by the deployment's key (`chain`).

mod chain;
mod copy;
mod entry;
mod mirrored;
mod read;
mod store;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use migrate_core::journal::FORMAT;
use migrate_core::{Journal, JournalError, Record, RunHeader, RunId, RunLog};
use sqlx::SqliteConnection;
use tokio::sync::Mutex;

use crate::signing::{StateKey, Trust};
use crate::state_dir;

pub use copy::Copied;
pub use mirrored::MirroredJournal;
pub use read::AuditedRun;

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
    key: OnceLock<StateKey>,
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
            key: OnceLock::new(),
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
            key: OnceLock::new(),
        }))
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The deployment's root.
    pub(crate) fn root(&self) -> &Path {
        let state = self.path.parent().unwrap_or(Path::new("."));
        state.parent().unwrap_or(Path::new("."))
    }

    /// All runs' logs, oldest first; the same as [`Journal::runs`].
    ///
    /// # Errors
    /// [`JournalError::Unreadable`] naming the run and entry that make no sense.
    pub async fn runs(&self) -> Result<Vec<RunLog>, JournalError> {
        let all = self.stored().await?;
        all.iter().map(read::Stored::log).collect()
    }

    /// All runs with what their chains of hashes prove: for an audit, which looks at every run
    /// whatever is wrong with another.
    ///
    /// # Errors
    /// The file can't be opened or is no journal.
    pub async fn audited(&self, trust: &Trust) -> Result<Vec<AuditedRun>, JournalError> {
        let all = self.stored().await?;
        Ok(all.iter().map(|stored| stored.audited(trust)).collect())
    }

    /// The texts of one run's log; nothing if it is not in the file.
    pub(crate) async fn texts(&self, run: &RunId) -> Result<Option<chain::Texts>, JournalError> {
        let mut connection = self.connection.lock().await;
        let all = read::stored(&mut connection, &self.path, Some(run)).await?;
        Ok(all.into_iter().next().map(read::Stored::into_texts))
    }

    /// All runs as they stand in the file, oldest first.
    async fn stored(&self) -> Result<Vec<read::Stored>, JournalError> {
        let mut connection = self.connection.lock().await;
        if !store::check_format(&mut connection, &self.path).await? {
            return Ok(Vec::new());
        }
        read::stored(&mut connection, &self.path, None).await
    }

    /// Takes a whole log in, in one transaction.
    pub(crate) async fn import(&self, texts: &chain::Texts) -> Result<(), JournalError> {
        let fail = |error: sqlx::Error| store::failed(&self.path, &error);
        let run = &texts.run;
        let head = entry::StoredHead::of(run.clone(), texts.format(), texts.header.clone());
        let mut connection = self.connection.lock().await;
        let mut transaction = sqlx::Connection::begin(&mut *connection)
            .await
            .map_err(fail)?;
        head.insert(&mut transaction).await.map_err(fail)?;
        for (seq, (at, record)) in (1..).zip(&texts.entries) {
            let stored = entry::Stored::of(run, seq, at.clone(), record.clone());
            stored.insert(run, &mut transaction).await.map_err(fail)?;
        }
        for seal in &texts.seals {
            seal.insert(run, &mut transaction).await.map_err(fail)?;
        }
        transaction.commit().await.map_err(fail)
    }

    /// The key that entries are signed with; made by the first run.
    fn key(&self) -> Result<&StateKey, JournalError> {
        if let Some(key) = self.key.get() {
            return Ok(key);
        }
        let key = StateKey::ensure(self.root())
            .map_err(|error| JournalError::Unavailable(error.to_string()))?;
        Ok(self.key.get_or_init(|| key))
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
        let fail = |error: sqlx::Error| store::failed(&self.path, &error);
        let link = chain::Link::of_head(&head.run, &head.header);
        let seal = chain::Seal::new(0, &link, self.key()?.signing());
        let mut connection = self.connection.lock().await;
        let mut transaction = sqlx::Connection::begin(&mut *connection)
            .await
            .map_err(fail)?;
        head.insert(&mut transaction)
            .await
            .map_err(|error| match error.as_database_error() {
                Some(why) if why.is_unique_violation() => JournalError::taken(&header.run),
                _ => fail(error),
            })?;
        let sealed = seal.insert(&head.run, &mut transaction).await;
        sealed.map_err(fail)?;
        transaction.commit().await.map_err(fail)?;
        drop(connection);
        migrate_failpoint::hit!("journal.open.after").map_err(mirrored::injected)
    }

    async fn append(
        &self,
        run: &RunId,
        at: DateTime<Utc>,
        record: &Record,
    ) -> Result<(), JournalError> {
        migrate_failpoint::hit!("journal.append.before").map_err(mirrored::injected)?;
        let fail = |error: sqlx::Error| store::failed(&self.path, &error);
        let mut connection = self.connection.lock().await;
        let mut transaction = sqlx::Connection::begin(&mut *connection)
            .await
            .map_err(fail)?;
        let next: Option<i64> = sqlx::query_scalar(
            "SELECT (SELECT coalesce(max(seq), 0) + 1 FROM entries WHERE run = r.run) \
             FROM runs r WHERE r.run = ?",
        )
        .bind(run.as_str())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(fail)?;
        let seq =
            next.ok_or_else(|| JournalError::Unavailable(format!("no run {run} is open in it")))?;
        let stored = entry::Stored::write(run.as_str(), seq, at, record)?;
        // The primary key (run, seq) refuses a second writer that read the same number.
        let inserted = stored.insert(run.as_str(), &mut transaction).await;
        inserted.map_err(fail)?;
        // A run of an older build has no chain, and gets none: nothing vouches for its beginning.
        let before: Option<String> =
            sqlx::query_scalar("SELECT link FROM seals WHERE run = ? AND seq = ?")
                .bind(run.as_str())
                .bind(seq - 1)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(fail)?;
        if let Some(before) = before {
            let link = chain::Link(before).then(seq, &stored.at, &stored.record);
            let seal = chain::Seal::new(seq, &link, self.key()?.signing());
            let sealed = seal.insert(run.as_str(), &mut transaction).await;
            sealed.map_err(fail)?;
        }
        transaction.commit().await.map_err(fail)
    }

    async fn runs(&self) -> Result<Vec<RunLog>, JournalError> {
        Self::runs(self).await
    }

    async fn head(&self, run: &RunId) -> Result<Option<String>, JournalError> {
        let mut connection = self.connection.lock().await;
        if !read::has_seals(&mut connection, &self.path).await? {
            return Ok(None);
        }
        sqlx::query_scalar("SELECT link FROM seals WHERE run = ? ORDER BY seq DESC LIMIT 1")
            .bind(run.as_str())
            .fetch_optional(&mut *connection)
            .await
            .map_err(|error| store::failed(&self.path, &error))
    }
}
