//! What was done to a schema: a log of our own in the database, only added to.
//!
//! Reading order: [`Record`] (a line of the log), [`State`] (what the lines come to, pure),
//! `tables` (what they are kept in), then reading and writing for each database.
//!
//! The log lives in `etlrs_migrate.schema_history` (PostgreSQL) or `_etlrs_schema_history`
//! (SQLite), with the text of what ran. `schema_statements` beside it holds a row for each
//! statement of a migration that is not one transaction: intent before it, outcome after it.

#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod record;
mod rewind;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
mod state;
mod statement;
mod tables;

pub use record::{Action, Record};
pub(crate) use record::{Entry, ScriptEntry};
pub use rewind::{rewind, set_back};
pub(crate) use state::ScriptLine;
pub use state::{Applied, State};
pub(crate) use statement::{Direction, Started, text_hash};
pub(crate) use tables::ensure;
pub use tables::{HISTORY, STATEMENTS};

use crate::db::{Database, DbError};

/// Reads the log and what is half done. Read-only; a database without them has an empty state.
pub async fn read(db: &Database) -> Result<State, DbError> {
    crate::own::must_be_ours(db).await?;
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => {
            let mut connection = pg.acquire().await?;
            postgres::read(&mut connection).await
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => {
            let mut connection = lite.acquire().await?;
            sqlite::read(&mut connection).await
        }
    }
}

/// The text that was applied last for a key, up and down.
pub async fn texts(db: &Database, key: &str) -> Result<Option<(String, Option<String>)>, DbError> {
    crate::own::must_be_ours(db).await?;
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => {
            let mut connection = pg.acquire().await?;
            postgres::texts(&mut connection, key).await
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => {
            let mut connection = lite.acquire().await?;
            sqlite::texts(&mut connection, key).await
        }
    }
}

/// Adds lines to the log, in one transaction that checks the fence.
pub(crate) async fn append(db: &Database, entries: &[Entry]) -> Result<(), DbError> {
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => {
            let mut tx = pg.begin().await?;
            postgres::append(&mut tx, entries).await?;
            Ok(tx.commit().await?)
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => {
            let mut tx = lite.begin().await?;
            sqlite::append(&mut tx, entries).await?;
            Ok(tx.commit().await?)
        }
    }
}
