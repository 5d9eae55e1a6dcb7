//! How a head and an entry are written as text, and what is refused when read back.

use chrono::{DateTime, SecondsFormat, Utc};
use migrate_core::journal::FORMAT;
use migrate_core::{JournalError, Record, RunHeader};
use sha2::{Digest, Sha256};

/// An entry as it stands in its table.
pub(super) struct Stored {
    pub(super) seq: i64,
    pub(super) at: String,
    pub(super) record: String,
    pub(super) digest: String,
}

impl Stored {
    pub(super) fn write(
        run: &str,
        seq: i64,
        at: DateTime<Utc>,
        record: &Record,
    ) -> Result<Self, JournalError> {
        let at = at.to_rfc3339_opts(SecondsFormat::Nanos, true);
        let record = serde_json::to_string(record)
            .map_err(|error| JournalError::Unavailable(format!("an entry: {error}")))?;
        Ok(Self::of(run, seq, at, record))
    }

    /// An entry of texts that were written already.
    pub(super) fn of(run: &str, seq: i64, at: String, record: String) -> Self {
        let digest = digest(run, seq, &at, &record);
        Self {
            seq,
            at,
            record,
            digest,
        }
    }

    /// Puts it into its table.
    pub(super) async fn insert(
        &self,
        run: &str,
        connection: &mut sqlx::SqliteConnection,
    ) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO entries (run, seq, at, record, digest) VALUES (?, ?, ?, ?, ?)")
            .bind(run)
            .bind(self.seq)
            .bind(&self.at)
            .bind(&self.record)
            .bind(&self.digest)
            .execute(connection)
            .await?;
        Ok(())
    }

    /// The entry, if it is the one that must stand at `index` (from 0) and is unchanged.
    pub(super) fn read(
        &self,
        run: &str,
        index: usize,
    ) -> Result<(DateTime<Utc>, Record), JournalError> {
        let seq = self.seq;
        let expected = i64::try_from(index).map_or(i64::MAX, |index| index + 1);
        if seq != expected {
            return Err(JournalError::Unreadable(format!(
                "run {run}: entry {expected} is missing (the next one is {seq})"
            )));
        }
        if digest(run, seq, &self.at, &self.record) != self.digest {
            return Err(JournalError::Unreadable(format!(
                "run {run}: entry {seq} was changed after it was written"
            )));
        }
        let broken = |error: String| {
            JournalError::Unreadable(format!("run {run}: entry {seq} makes no sense: {error}"))
        };
        let at = DateTime::parse_from_rfc3339(&self.at)
            .map_err(|error| broken(error.to_string()))?
            .with_timezone(&Utc);
        let record =
            serde_json::from_str(&self.record).map_err(|error| broken(error.to_string()))?;
        Ok((at, record))
    }
}

/// The head of a run as it stands in its table.
pub(super) struct StoredHead {
    pub(super) run: String,
    pub(super) format: i64,
    pub(super) header: String,
    pub(super) digest: String,
}

impl StoredHead {
    pub(super) fn write(header: &RunHeader) -> Result<Self, JournalError> {
        let text = serde_json::to_string(header)
            .map_err(|error| JournalError::Unavailable(format!("the head of a run: {error}")))?;
        let run = header.run.as_str().to_owned();
        Ok(Self::of(run, i64::from(header.format), text))
    }

    /// A head of a text that was written already.
    pub(super) fn of(run: String, format: i64, header: String) -> Self {
        Self {
            digest: hashed(&[&run, &format.to_string(), &header]),
            run,
            format,
            header,
        }
    }

    /// Puts it into its table.
    pub(super) async fn insert(
        &self,
        connection: &mut sqlx::SqliteConnection,
    ) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO runs (run, format, header, digest) VALUES (?, ?, ?, ?)")
            .bind(&self.run)
            .bind(self.format)
            .bind(&self.header)
            .bind(&self.digest)
            .execute(connection)
            .await?;
        Ok(())
    }

    /// The head; its format is looked at before anything else of it.
    pub(super) fn read(&self) -> Result<RunHeader, JournalError> {
        let run = &self.run;
        if self.format > i64::from(FORMAT) {
            return Err(newer(run, self.format));
        }
        if hashed(&[run, &self.format.to_string(), &self.header]) != self.digest {
            return Err(JournalError::Unreadable(format!(
                "the head of run {run} was changed after it was written"
            )));
        }
        serde_json::from_str(&self.header).map_err(|error| {
            JournalError::Unreadable(format!("the head of run {run} makes no sense: {error}"))
        })
    }
}

pub(super) fn newer(run: &str, format: i64) -> JournalError {
    JournalError::Unreadable(format!(
        "run {run} was written in format {format}, and this version reads formats up to {FORMAT}; \
         use the newer etlrs-migrate that wrote it"
    ))
}

fn digest(run: &str, seq: i64, at: &str, record: &str) -> String {
    hashed(&[run, &seq.to_string(), at, record])
}

fn hashed(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    crate::checksum::hex(&hash.finalize())
}
