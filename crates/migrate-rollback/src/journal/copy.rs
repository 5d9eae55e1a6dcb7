//! The tables `runs` and `log` among our objects: a run's log beside what it changed.

use chrono::{DateTime, SecondsFormat, Utc};
use migrate_core::journal::FORMAT;
use migrate_core::{JournalError, Record, RunHeader, RunLog};
use migrate_schema::db::{Database, DbError, DbErrorKind};
use migrate_schema::own;
use migrate_schema::quote::literal;

use super::mirrored::is_there;

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

/// Writes what the copy lacks of a log, in one transaction that checks the fence.
pub(super) async fn catch_up(database: &Database, log: &RunLog) -> Result<(), Failed> {
    let run = literal(log.header.run.as_str());
    let backend = database.backend();
    let (runs, entries) = (own::name(backend, "runs"), own::name(backend, "log"));
    let count = format!("select count(*) from {entries} where run = {run}");
    let header = serde_json::to_string(&log.header).unwrap_or_default();
    let head = format!(
        "insert into {runs} (run, header) values ({run}, {}) on conflict (run) do nothing",
        literal(&header)
    );
    macro_rules! within {
        ($tx:expr) => {{
            let mut tx = $tx;
            let have: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count))
                .persistent(false)
                .fetch_one(&mut *tx)
                .await?;
            let have = usize::try_from(have).unwrap_or(0);
            if have > log.records.len() {
                return Err(Failed::Ahead(ahead(log, have)));
            }
            sqlx::raw_sql(sqlx::AssertSqlSafe(head))
                .execute(&mut *tx)
                .await?;
            for (index, entry) in log.records.iter().enumerate().skip(have) {
                sqlx::raw_sql(sqlx::AssertSqlSafe(insert(&entries, &run, index, entry)))
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

fn insert(table: &str, run: &str, index: usize, entry: &(DateTime<Utc>, Record)) -> String {
    let at = entry.0.to_rfc3339_opts(SecondsFormat::Nanos, true);
    let text = serde_json::to_string(&entry.1).unwrap_or_default();
    format!(
        "insert into {table} (run, seq, at, record) values ({run}, {}, {}, {})",
        index + 1,
        literal(&at),
        literal(&text)
    )
}

fn ahead(log: &RunLog, have: usize) -> String {
    format!(
        "run {}: the database has {have} entries of it and the journal only {}: \
         this journal is an older copy; bring the newer one back",
        log.header.run,
        log.records.len()
    )
}

/// The logs that the database has, oldest first.
pub(super) async fn read(database: &Database) -> Result<Vec<RunLog>, JournalError> {
    let failed = |error: DbError| JournalError::Unavailable(format!("the database: {error}"));
    if !is_there(database).await.map_err(failed)? {
        return Ok(Vec::new());
    }
    let backend = database.backend();
    let heads = format!(
        "select run, header from {} order by at, run",
        own::name(backend, "runs")
    );
    let mut logs = Vec::new();
    for (run, header) in pairs(database, heads).await.map_err(failed)? {
        let entries = format!(
            "select at, record from {} where run = {} order by seq",
            own::name(backend, "log"),
            literal(&run)
        );
        let entries = pairs(database, entries).await.map_err(failed)?;
        logs.push(log_of(&run, &header, &entries)?);
    }
    Ok(logs)
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

fn log_of(run: &str, header: &str, entries: &[(String, String)]) -> Result<RunLog, JournalError> {
    let broken = |error: &dyn std::fmt::Display| {
        JournalError::Unreadable(format!("run {run} in the database makes no sense: {error}"))
    };
    let format = serde_json::from_str::<serde_json::Value>(header)
        .map_err(|error| broken(&error))?["format"]
        .as_i64()
        .unwrap_or(0);
    if format > i64::from(FORMAT) {
        return Err(super::entry::newer(run, format));
    }
    let header: RunHeader = serde_json::from_str(header).map_err(|error| broken(&error))?;
    let records = entries
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
