//! Reading runs back as they were written, and judging them.

use std::path::Path;

use migrate_core::{JournalError, Proof, RunId, RunLog};
use sqlx::{Row, SqliteConnection};

use super::chain::{Seal, Texts};
use super::entry;
use super::store::failed;
use crate::signing::Trust;

/// A run as it stands in the file.
pub(super) struct Stored {
    head: entry::StoredHead,
    entries: Vec<entry::Stored>,
    seals: Vec<Seal>,
}

/// What an audit finds of a run.
#[derive(Debug, Clone)]
pub struct AuditedRun {
    /// The run's name.
    pub run: String,
    /// How many records it has.
    pub records: usize,
    /// The hashes of its chain: of its head, and after each record. The last one names the log.
    pub links: Vec<String>,
    /// What its chain proves; nothing at all where a record was changed without it.
    pub proof: Result<Proof, JournalError>,
}

impl Stored {
    /// The log, if every part is what was written.
    pub(super) fn log(&self) -> Result<RunLog, JournalError> {
        let header = self.head.read()?;
        let run = header.run.as_str();
        let mut records = Vec::with_capacity(self.entries.len());
        for (index, stored) in self.entries.iter().enumerate() {
            records.push(stored.read(run, index)?);
        }
        if let Some(seq) = self.texts().first_changed() {
            let what = if seq == 0 {
                format!("the head of run {run}")
            } else {
                format!("run {run}: entry {seq}")
            };
            let why = format!("{what} is not what its signature was made of");
            return Err(JournalError::Unreadable(why));
        }
        Ok(RunLog { header, records })
    }

    pub(super) fn audited(&self, trust: &Trust) -> AuditedRun {
        AuditedRun {
            run: self.head.run.clone(),
            records: self.entries.len(),
            links: self.seals.iter().map(|seal| seal.link.clone()).collect(),
            proof: self.log().map(|_| self.texts().proof(trust)),
        }
    }

    fn texts(&self) -> Texts {
        let entries = self.entries.iter();
        Texts {
            run: self.head.run.clone(),
            header: self.head.header.clone(),
            entries: entries
                .map(|stored| (stored.at.clone(), stored.record.clone()))
                .collect(),
            seals: self.seals.clone(),
        }
    }

    pub(super) fn into_texts(self) -> Texts {
        Texts {
            run: self.head.run,
            header: self.head.header,
            entries: self
                .entries
                .into_iter()
                .map(|stored| (stored.at, stored.record))
                .collect(),
            seals: self.seals,
        }
    }
}

/// One run, or all, oldest first.
pub(super) async fn stored(
    connection: &mut SqliteConnection,
    path: &Path,
    run: Option<&RunId>,
) -> Result<Vec<Stored>, JournalError> {
    let chained = has_seals(connection, path).await?;
    let rows = sqlx::query(
        "SELECT run, format, header, digest FROM runs WHERE ?1 IS NULL OR run = ?1 ORDER BY number",
    )
    .bind(run.map(RunId::as_str))
    .fetch_all(&mut *connection)
    .await
    .map_err(|error| failed(path, &error))?;
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let head = entry::StoredHead {
            run: column(&row, "run", path)?,
            format: column(&row, "format", path)?,
            header: column(&row, "header", path)?,
            digest: column(&row, "digest", path)?,
        };
        let entries = entries(connection, path, &head.run).await?;
        let seals = if chained {
            seals(connection, path, &head.run).await?
        } else {
            Vec::new()
        };
        all.push(Stored {
            head,
            entries,
            seals,
        });
    }
    Ok(all)
}

/// Whether the journal was opened by a build that knows chains.
pub(super) async fn has_seals(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<bool, JournalError> {
    sqlx::query_scalar("SELECT count(*) > 0 FROM sqlite_master WHERE name = 'seals'")
        .fetch_one(connection)
        .await
        .map_err(|error| failed(path, &error))
}

async fn entries(
    connection: &mut SqliteConnection,
    path: &Path,
    run: &str,
) -> Result<Vec<entry::Stored>, JournalError> {
    let rows =
        sqlx::query("SELECT seq, at, record, digest FROM entries WHERE run = ? ORDER BY seq")
            .bind(run)
            .fetch_all(connection)
            .await
            .map_err(|error| failed(path, &error))?;
    let entry = |row| {
        Ok(entry::Stored {
            seq: column(row, "seq", path)?,
            at: column(row, "at", path)?,
            record: column(row, "record", path)?,
            digest: column(row, "digest", path)?,
        })
    };
    rows.iter().map(entry).collect()
}

async fn seals(
    connection: &mut SqliteConnection,
    path: &Path,
    run: &str,
) -> Result<Vec<Seal>, JournalError> {
    let rows =
        sqlx::query("SELECT seq, link, signer, signature FROM seals WHERE run = ? ORDER BY seq")
            .bind(run)
            .fetch_all(connection)
            .await
            .map_err(|error| failed(path, &error))?;
    let seal = |row| {
        Ok(Seal {
            seq: column(row, "seq", path)?,
            link: column(row, "link", path)?,
            signer: column(row, "signer", path)?,
            signature: column(row, "signature", path)?,
        })
    };
    rows.iter().map(seal).collect()
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
