//! A copy of a SQLite database: `VACUUM INTO`, made durable and checked.

use std::fs::File;
use std::path::Path;

use migrate_core::{Cancel, StepError};
use migrate_schema::db::{ConnectOptions as ConnectTo, Database, DatabaseUrl, DbError, Sqlite};
use migrate_schema::quote;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tempfile::TempPath;

use super::directory;
use crate::canonical::State;

/// Copies the database into a temporary file below `dir`. One read transaction: writers
/// that go on meanwhile are either in it or not. Checked by `PRAGMA integrity_check`.
pub(crate) async fn copy(
    handle: &Database,
    database: &Sqlite,
    dir: &Path,
    cancel: &Cancel,
) -> Result<TempPath, StepError> {
    let path = directory::temporary(dir, "etlrs_backup")
        .map_err(|error| StepError::caused(format!("can't write in {}", dir.display()), &error))?
        .into_temp_path();
    let target = path
        .to_str()
        .ok_or_else(|| StepError::failed(format!("{} is not a name in UTF-8", path.display())))?;
    let sql = format!("VACUUM main INTO {}", quote::literal(target));
    let vacuum = async {
        let mut connection = database
            .acquire()
            .await
            .map_err(|error| error.into_step_error("can't copy the database"))?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut *connection)
            .await
            .map_err(|error| DbError::from(error).into_step_error("can't copy the database"))
    };
    handle.cancellable(cancel, vacuum).await?;
    let synced = File::open(&path).and_then(|file| file.sync_all());
    synced.map_err(|error| StepError::caused("can't make the copy durable", &error))?;
    check(&path).await?;
    Ok(path)
}

/// The state of a copy that has no name yet.
pub(crate) async fn state(path: &Path) -> Result<State, StepError> {
    let failed = |error: DbError| error.into_step_error("the copy of the database can't be read");
    let url = DatabaseUrl::sqlite(path);
    let copy = Database::connect(&url, &ConnectTo::default())
        .await
        .map_err(failed)?;
    let found = crate::canonical::state(&copy).await.map_err(failed);
    copy.close().await;
    found
}

/// Whether a copy is a sound database. Rows that break a CHECK constraint are the user's
/// and are copied as they are.
pub(crate) async fn check(path: &Path) -> Result<(), StepError> {
    let failed = |error: sqlx::Error| {
        DbError::from(error).into_step_error("the copy of the database can't be read")
    };
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .pragma("ignore_check_constraints", "ON")
        .connect()
        .await
        .map_err(failed)?;
    let said: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check(5)")
        .fetch_all(&mut connection)
        .await
        .map_err(failed)?;
    connection.close().await.map_err(failed)?;
    if said == ["ok"] {
        return Ok(());
    }
    let mut error = StepError::failed("the copy of the database is damaged")
        .hint("run `PRAGMA integrity_check` on the database itself");
    error.causes = said;
    Err(error)
}
