//! The tables `runs`, `log` and `seals` among our objects: a run's log beside what it changed.
//!
//! Whoever may write to the database may write here: what is read back is believed only as far as
//! its chain of signatures goes.

use chrono::{DateTime, Utc};
use migrate_core::journal::FORMAT;
use migrate_core::{JournalError, RunHeader, RunLog, UnknownRun};
use migrate_schema::db::{Database, DbError, DbErrorKind};
use migrate_schema::own;
use migrate_schema::quote::literal;

use super::chain::{Seal, Texts};
use crate::signing::Trust;

/// Why a copy could not follow.
#[derive(Debug)]
pub(super) enum Failed {
    /// The database refused.
    Database(DbError),
    /// The copy has more than the file: the file is an older one.
    Ahead(String),
}

impl Failed {
    /// The database did not answer in time.
    pub(super) fn late() -> Self {
        let what = "the database does not answer";
        Self::Database(DbError::new(DbErrorKind::Unreachable, what))
    }
}

impl From<DbError> for Failed {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

/// Writes what the copy lacks of a log, word for word as it stands in the file, in one transaction
/// that checks the fence.
pub(super) async fn catch_up(database: &Database, log: &Texts) -> Result<(), Failed> {
    let run = literal(&log.run);
    let backend = database.backend();
    let (runs, entries) = (own::name(backend, "runs"), own::name(backend, "log"));
    let seals = own::name(backend, "seals");
    let count = format!("select count(*) from {entries} where run = {run}");
    let head = format!(
        "insert into {runs} (run, header) values ({run}, {}) on conflict (run) do nothing",
        literal(&log.header)
    );
    macro_rules! within {
        ($tx:expr) => {{
            let mut tx = $tx;
            let have: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count))
                .persistent(false)
                .fetch_one(&mut *tx)
                .await?;
            let have = usize::try_from(have).unwrap_or(0);
            if have > log.entries.len() {
                return Err(Failed::Ahead(ahead(log, have)));
            }
            sqlx::raw_sql(sqlx::AssertSqlSafe(head))
                .execute(&mut *tx)
                .await?;
            for sql in missing(log, have, (&entries, &seals)) {
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
        }};
    }
    match database {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => within!(pg.begin().await?),
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => within!(lite.begin().await?),
        #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
        _ => return Err(database.unsupported().into()),
    }
    Ok(())
}

/// The statements that add the entries after the first `have`, and the seals from there on.
fn missing(log: &Texts, have: usize, (entries, seals): (&str, &str)) -> Vec<String> {
    let run = literal(&log.run);
    let rows = log.entries.iter().enumerate().skip(have);
    let mut all: Vec<String> = rows
        .map(|(index, (at, record))| {
            format!(
                "insert into {entries} (run, seq, at, record) values ({run}, {}, {}, {})",
                index + 1,
                literal(at),
                literal(record)
            )
        })
        .collect();
    // The head's comes with the first entry.
    let from = if have == 0 { 0 } else { have + 1 };
    all.extend(log.seals.iter().skip(from).map(|seal| {
        format!(
            "insert into {seals} (run, seq, link, signer, signature) values ({run}, {}, {}, {}, {}) \
             on conflict (run, seq) do nothing",
            seal.seq,
            literal(&seal.link),
            literal(&seal.signer),
            literal(&seal.signature)
        )
    }));
    all
}

fn ahead(log: &Texts, have: usize) -> String {
    format!(
        "run {}: the database has {have} entries of it and the journal only {}: \
         this journal is an older copy; bring the newer one back",
        log.run,
        log.entries.len()
    )
}

/// A run as the database has it.
#[derive(Debug, Clone)]
pub struct Copied {
    /// Its log, and who wrote it.
    pub run: UnknownRun,
    /// The hashes of its chain, as those of an [`AuditedRun`](super::AuditedRun).
    pub links: Vec<String>,
    pub(super) texts: Texts,
}

/// The logs that the database has, oldest first, judged by whom the deployment trusts.
pub(super) async fn read(database: &Database, trust: &Trust) -> Result<Vec<Copied>, JournalError> {
    let failed = |error: DbError| JournalError::Unavailable(format!("the database: {error}"));
    let tables = own::tables(database).await.map_err(failed)?;
    let there = |name: &str| tables.iter().any(|table| table == name);
    if !there("runs") || !there("log") {
        return Ok(Vec::new());
    }
    let backend = database.backend();
    let heads = format!(
        "select run, header from {} order by at, run",
        own::name(backend, "runs")
    );
    let mut all = Vec::new();
    for (run, header) in pairs(database, heads).await.map_err(failed)? {
        let of_run = |columns: &str, table: &str| {
            format!(
                "select {columns} from {} where run = {} order by seq",
                own::name(backend, table),
                literal(&run)
            )
        };
        let entries = pairs(database, of_run("at, record", "log")).await;
        let seals = if there("seals") {
            seals(
                database,
                of_run(
                    "cast(seq as text) as number, link, signer, signature",
                    "seals",
                ),
            )
            .await
        } else {
            Ok(Vec::new())
        };
        let texts = Texts {
            entries: entries.map_err(failed)?,
            seals: seals.map_err(failed)?,
            run,
            header,
        };
        all.push(Copied {
            run: UnknownRun {
                log: log_of(&texts)?,
                proof: texts.proof(trust),
            },
            links: texts.seals.iter().map(|seal| seal.link.clone()).collect(),
            texts,
        });
    }
    Ok(all)
}

async fn seals(database: &Database, sql: String) -> Result<Vec<Seal>, DbError> {
    let rows: Vec<(String, String, String, String)> = match database {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .persistent(false)
                .fetch_all(&mut *pg.acquire().await?)
                .await?
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => {
            let mut connection = lite.acquire().await?;
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .persistent(false)
                .fetch_all(&mut *connection)
                .await?
        }
        #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
        _ => return Err(database.unsupported()),
    };
    let seal = |(seq, link, signer, signature): (String, String, String, String)| Seal {
        seq: seq.parse().unwrap_or(-1),
        link,
        signer,
        signature,
    };
    Ok(rows.into_iter().map(seal).collect())
}

async fn pairs(database: &Database, sql: String) -> Result<Vec<(String, String)>, DbError> {
    match database {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .persistent(false)
            .fetch_all(&mut *pg.acquire().await?)
            .await?),
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => {
            let mut connection = lite.acquire().await?;
            Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .persistent(false)
                .fetch_all(&mut *connection)
                .await?)
        }
        #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
        _ => Err(database.unsupported()),
    }
}

fn log_of(texts: &Texts) -> Result<RunLog, JournalError> {
    let run = &texts.run;
    let broken = |error: &dyn std::fmt::Display| {
        JournalError::Unreadable(format!("run {run} in the database makes no sense: {error}"))
    };
    let format = texts.format();
    if format > i64::from(FORMAT) {
        return Err(super::entry::newer(run, format));
    }
    let header: RunHeader = serde_json::from_str(&texts.header).map_err(|error| broken(&error))?;
    if header.run.as_str() != run {
        return Err(broken(&format!("its head is of run {}", header.run)));
    }
    let records = texts
        .entries
        .iter()
        .map(|(at, record)| {
            let at = DateTime::parse_from_rfc3339(at)
                .map_err(|error| broken(&error))?
                .with_timezone(&Utc);
            let record = serde_json::from_str(record).map_err(|error| broken(&error))?;
            Ok((at, record))
        })
        .collect::<Result<Vec<_>, JournalError>>()?;
    Ok(RunLog { header, records })
}
