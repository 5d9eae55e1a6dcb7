//! Restoring SQLite: one exclusive transaction that reads the attached copy.
//!
//! The file itself is never replaced: other processes may have it open, and a rename under
//! them would leave them writing into a file without a name. Tables, indexes, views and
//! triggers are made by their own text; virtual tables come back as their shadow tables
//! with a row in the schema, so that no module has to rebuild its index.

mod rebuild;
mod rows;
mod schema;
mod verify;

use std::path::Path;
use std::time::Duration;

use migrate_core::StepError;
use migrate_schema::db::{Backend, Database, DbError, DbErrorKind, Fence, Sqlite};
use migrate_schema::{fingerprint, own, quote};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::proof::Proof;
use crate::canonical::State;

/// The name under which the copy is attached.
const POINT: &str = "etlrs_point";

/// What a new database has.
const DEFAULT_ENCODING: &str = "UTF-8";

/// How long other processes may keep the database locked before the restore gives up.
const BUSY: Duration = Duration::from_secs(30);

/// Makes the database what the copy is, except for our own objects, if that is what the proof
/// asks for.
pub(crate) async fn restore(
    database: &Sqlite,
    fence: Option<Fence>,
    copy: &Path,
    proof: &mut Proof,
) -> Result<(), StepError> {
    let options = database.pool().connect_options();
    let fail = |error: sqlx::Error| explain(DbError::from(error));
    let mut connection = connect(&options).await.map_err(fail)?;
    let done = replace(&mut connection, fence, copy, proof).await;
    // Waits until the file is let go of; closing can't take a commit back.
    let _ = connection.close().await;
    done
}

/// Gives a database that holds nothing yet the text encoding of a copy: it can't be changed later,
/// and no copy of another one can be read into it.
pub(crate) async fn take_encoding(database: &Database, copy: &Path) -> Result<(), StepError> {
    let Database::Sqlite(database) = database else {
        return Ok(());
    };
    let fail = |error: sqlx::Error| explain(DbError::from(error));
    let options = database.pool().connect_options();
    let encoding: String = {
        let reading = SqliteConnectOptions::new().filename(copy).read_only(true);
        let mut connection = reading.connect().await.map_err(fail)?;
        let read = sqlx::query_scalar("PRAGMA encoding").fetch_one(&mut connection);
        let encoding = read.await.map_err(fail)?;
        let _ = connection.close().await;
        encoding
    };
    let mut connection = connect(&options).await.map_err(fail)?;
    let pages = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut connection);
    let pages: i64 = pages.await.map_err(fail)?;
    let _ = connection.close().await;
    if pages > 0 || encoding == DEFAULT_ENCODING {
        return Ok(());
    }
    // The first page says it. In a session that has not looked at the file yet.
    let options = options.as_ref().clone().busy_timeout(BUSY);
    let mut connection = options.connect().await.map_err(fail)?;
    let sql = format!(
        "PRAGMA encoding = {}; BEGIN; CREATE TABLE first (a); DROP TABLE first; COMMIT",
        quote::literal(&encoding)
    );
    let done = run(&mut connection, sql).await.map_err(fail);
    let _ = connection.close().await;
    done
}

async fn replace(
    connection: &mut SqliteConnection,
    fence: Option<Fence>,
    copy: &Path,
    proof: &mut Proof,
) -> Result<(), StepError> {
    let fail = |error: sqlx::Error| explain(DbError::from(error));
    attach(connection, copy).await.map_err(fail)?;
    let mut transaction = connection
        .begin_with("BEGIN EXCLUSIVE")
        .await
        .map_err(fail)?;
    let inside = async {
        check_fence(&mut transaction, fence).await?;
        let kept = if proof.looks_for_others() {
            proof.keep(&state(&mut transaction).await?)?
        } else {
            Vec::new()
        };
        rebuild::rebuild(&mut transaction, &kept)
            .await
            .map_err(fail)?;
        verify::verify(&mut transaction).await?;
        if proof.compares() {
            proof.judge(&state(&mut transaction).await?)?;
        }
        Ok(())
    };
    match inside.await {
        Ok(()) => {
            migrate_failpoint::hit!("restore.commit")
                .map_err(|error| StepError::failed(error.to_string()))?;
            transaction.commit().await.map_err(fail)
        }
        Err(error) => {
            // If this fails too, closing the connection rolls back.
            let _ = transaction.rollback().await;
            Err(error)
        }
    }
}

/// What the database is within the transaction.
async fn state(connection: &mut SqliteConnection) -> Result<State, StepError> {
    let (catalog, fingerprint) = fingerprint::sqlite_within(connection)
        .await
        .map_err(|error| error.into_step_error("can't compare what was restored"))?;
    Ok(State {
        catalog,
        fingerprint,
    })
}

/// A connection of its own: its settings must not reach the pool.
async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = options
        .clone()
        .create_if_missing(false)
        .foreign_keys(false)
        .busy_timeout(BUSY)
        .connect()
        .await?;
    // Rows are put back as they were, also those that a CHECK would refuse today.
    let settings = "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; \
                    PRAGMA recursive_triggers = OFF; PRAGMA legacy_alter_table = ON; \
                    PRAGMA writable_schema = ON";
    sqlx::raw_sql(settings).execute(&mut connection).await?;
    Ok(connection)
}

async fn attach(connection: &mut SqliteConnection, copy: &Path) -> Result<(), sqlx::Error> {
    let uri = read_only_uri(copy);
    let sql = format!("ATTACH DATABASE {} AS {POINT}", quote::literal(&uri));
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(connection)
        .await
        .map(drop)
}

/// `file:` with everything encoded that a URI would read as something else.
fn read_only_uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.to_string_lossy().bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' => uri.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            _ => {
                use std::fmt::Write;
                write!(uri, "%{byte:02X}").expect("writing to a String never fails");
            }
        }
    }
    uri + "?mode=ro"
}

async fn check_fence(
    connection: &mut SqliteConnection,
    fence: Option<Fence>,
) -> Result<(), StepError> {
    let Some(fence) = fence else { return Ok(()) };
    let sql = format!(
        "SELECT count(*) FROM {} WHERE id = 1 AND epoch = ? AND run = ?",
        own::name(Backend::Sqlite, "fence")
    );
    let found: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(fence.epoch)
        .bind(&fence.run)
        .fetch_one(connection)
        .await
        .map_err(|error| explain(DbError::from(error)))?;
    if found == 1 {
        return Ok(());
    }
    Err(StepError::failed(format!(
        "run {} no longer holds the database; nothing was restored",
        fence.run
    )))
}

fn explain(error: DbError) -> StepError {
    let locked = error.kind == DbErrorKind::Lock;
    let error = error.into_step_error("can't restore the database; it is as it was before");
    if locked {
        error.hint("another process works on the database: stop it, then restore again")
    } else {
        error
    }
}

async fn run(connection: &mut SqliteConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(connection)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod uri_tests {
    use super::*;

    #[test]
    fn a_path_is_no_part_of_the_uri_syntax() {
        let path = Path::new("/a b/c?mode=rwc#x%41ü.db");
        assert_eq!(
            read_only_uri(path),
            "file:/a%20b/c%3Fmode%3Drwc%23x%2541%C3%BC.db?mode=ro"
        );
    }
}
