//! The SQLite file under the journal: opening it without side effects, its schema, its errors.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use migrate_core::JournalError;
use migrate_core::journal::FORMAT;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use crate::state_dir;

/// "ETLJ": tells our file from any other SQLite file.
const APPLICATION_ID: i64 = 0x4554_4c4a;

/// `SQLITE_READONLY_ROLLBACK`: a crashed writer's journal must be rolled back, which a reader may not.
const READONLY_ROLLBACK: &str = "776";

/// No SQLite file is smaller, once it has a table.
const SMALLEST_PAGE: u64 = 512;

const BUSY: Duration = Duration::from_secs(30);

/// The chain of hashes, beside what older builds know of.
pub(super) const SEALS: &str = "CREATE TABLE IF NOT EXISTS seals (
        run TEXT NOT NULL REFERENCES runs (run),
        seq INTEGER NOT NULL,
        link TEXT NOT NULL,
        signer TEXT NOT NULL,
        signature TEXT NOT NULL,
        PRIMARY KEY (run, seq)
    ) STRICT, WITHOUT ROWID";

const SCHEMA: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS runs (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        run TEXT NOT NULL UNIQUE,
        format INTEGER NOT NULL,
        header TEXT NOT NULL,
        digest TEXT NOT NULL
    ) STRICT",
    "CREATE TABLE IF NOT EXISTS entries (
        run TEXT NOT NULL REFERENCES runs (run),
        seq INTEGER NOT NULL,
        at TEXT NOT NULL,
        record TEXT NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (run, seq)
    ) STRICT, WITHOUT ROWID",
    SEALS,
];

pub(super) async fn open_for_writing(path: &Path) -> Result<SqliteConnection, JournalError> {
    refuse_special(path)?;
    // Made here for its mode. Never opened if it exists: closing a second descriptor
    // would drop the locks that SQLite holds on the file in this process.
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Ok(file) => drop(file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => whole(path)?,
        Err(error) => {
            let why = format!("{}: {error}", path.display());
            return Err(JournalError::Unavailable(why));
        }
    }
    options(path)
        .journal_mode(SqliteJournalMode::Delete)
        .synchronous(SqliteSynchronous::Extra)
        .foreign_keys(true)
        .connect()
        .await
        .map_err(|error| failed(path, &error))
}

/// A connection that writes nothing beside the file. After a crash in the middle of an
/// entry only a writer may open the file; then a private copy is recovered and read.
pub(super) async fn open_for_reading(
    path: &Path,
) -> Result<(SqliteConnection, Option<tempfile::TempDir>), JournalError> {
    refuse_special(path)?;
    whole(path)?;
    match read_only(path).await {
        Ok(connection) => return Ok((connection, None)),
        Err(error) if code(&error).as_deref() != Some(READONLY_ROLLBACK) => {
            return Err(failed(path, &error));
        }
        Err(_) => {}
    }
    let copy = copy_of(path).map_err(|error| {
        JournalError::Unavailable(format!("{}: can't be copied: {error}", path.display()))
    })?;
    let connection = options(&copy.path().join(super::JOURNAL_FILE))
        .connect()
        .await
        .map_err(|error| failed(path, &error))?;
    Ok((connection, Some(copy)))
}

/// SQLite would follow a link, and wait for a FIFO.
fn refuse_special(path: &Path) -> Result<(), JournalError> {
    for suffix in ["", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        state_dir::refuse_special(name.as_ref())
            .map_err(|error| JournalError::Unavailable(error.to_string()))?;
    }
    Ok(())
}

/// Refuses a file that is shorter than its first page can be: to SQLite it has no tables. One
/// without a byte is what a crash leaves of a file that was about to be made.
fn whole(path: &Path) -> Result<(), JournalError> {
    let size = fs::metadata(path)
        .map_err(|error| JournalError::Unavailable(format!("{}: {error}", path.display())))?
        .len();
    if (1..SMALLEST_PAGE).contains(&size) {
        let why = format!("{} is cut off after {size} bytes", path.display());
        return Err(JournalError::Unreadable(why));
    }
    Ok(())
}

async fn read_only(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = options(path).read_only(true).connect().await?;
    sqlx::query("PRAGMA user_version")
        .fetch_one(&mut connection)
        .await?;
    Ok(connection)
}

fn copy_of(path: &Path) -> io::Result<tempfile::TempDir> {
    let dir = tempfile::tempdir()?;
    for suffix in ["-journal", ""] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::read(&name) {
            Ok(bytes) => {
                let target = format!("{}{suffix}", super::JOURNAL_FILE);
                fs::write(dir.path().join(target), bytes)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !suffix.is_empty() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(dir)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY)
        .disable_statement_logging()
}

pub(super) async fn ensure_schema(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<(), JournalError> {
    if check_format(connection, path).await? {
        // A journal of an older build has no chain yet.
        return sqlx::query(SEALS)
            .execute(connection)
            .await
            .map(drop)
            .map_err(|error| failed(path, &error));
    }
    let fail = |error: sqlx::Error| failed(path, &error);
    let mut transaction = connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(fail)?;
    for statement in SCHEMA {
        sqlx::query(statement)
            .execute(&mut *transaction)
            .await
            .map_err(fail)?;
    }
    let marks = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(marks))
        .execute(&mut *transaction)
        .await
        .map_err(fail)?;
    transaction.commit().await.map_err(fail)
}

/// Whether the file holds a journal that we read; `false` for one that was just made.
pub(super) async fn check_format(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<bool, JournalError> {
    let fail = |error: sqlx::Error| failed(path, &error);
    let application: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut *connection)
        .await
        .map_err(fail)?;
    let format: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *connection)
        .await
        .map_err(fail)?;
    let objects: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master")
        .fetch_one(&mut *connection)
        .await
        .map_err(fail)?;
    if application == 0 && format == 0 && objects == 0 {
        return Ok(false);
    }
    if application != APPLICATION_ID {
        return Err(JournalError::Unreadable(format!(
            "{} is a database, but not a journal of etlrs-migrate",
            path.display()
        )));
    }
    if format > i64::from(FORMAT) {
        return Err(JournalError::Unreadable(format!(
            "{} was written in format {format}, and this version reads formats up to {FORMAT}; \
             use the newer etlrs-migrate that wrote it",
            path.display()
        )));
    }
    let found: String = sqlx::query_scalar("PRAGMA integrity_check(1)")
        .fetch_one(&mut *connection)
        .await
        .map_err(fail)?;
    if found != "ok" {
        return Err(JournalError::Unreadable(format!(
            "{} is damaged: {found}",
            path.display()
        )));
    }
    // An entry whose run was damaged would be missing from the end of a log, unnoticed.
    let stray: Option<i64> = sqlx::query_scalar(
        "SELECT seq FROM entries WHERE run NOT IN (SELECT run FROM runs) LIMIT 1",
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(fail)?;
    if stray.is_some() {
        return Err(JournalError::Unreadable(format!(
            "{} is damaged: an entry belongs to no run",
            path.display()
        )));
    }
    Ok(true)
}

/// Tells damage (the file must be looked at) from refusal (it can't be used now).
pub(super) fn failed(path: &Path, error: &sqlx::Error) -> JournalError {
    let text = match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    };
    let why = format!("{}: {text}", path.display());
    let damaged = code(error)
        .and_then(|code| code.parse::<u32>().ok())
        .is_some_and(|code| matches!(code & 0xff, 1 | 11 | 26));
    if damaged {
        JournalError::Unreadable(why)
    } else {
        JournalError::Unavailable(why)
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Database(error) => error.code().map(std::borrow::Cow::into_owned),
        _ => None,
    }
}
