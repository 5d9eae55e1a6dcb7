//! The tables that hold the log.

use crate::catalog::table_columns;
use crate::db::{Backend, Database, DbError};
use crate::own;

/// The log's table, without schema or prefix.
pub const HISTORY: &str = "schema_history";

/// The statements' table, without schema or prefix.
pub const STATEMENTS: &str = "schema_statements";

/// How often a key had a line before this one: with the key it is unique, so that of two
/// processes that record the same change one fails, with its whole transaction. Lines of
/// earlier releases have none.
const TURN: &str = "turn";

fn definitions(backend: Backend) -> [String; 2] {
    let (id, flag, now) = match backend {
        Backend::Postgres => (
            "bigint generated always as identity primary key",
            "boolean",
            "timestamptz not null default clock_timestamp()",
        ),
        Backend::Sqlite => (
            "integer primary key",
            "integer",
            "text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
        ),
    };
    [
        format!(
            "create table if not exists {} (seq {id}, action text not null, key text not null, \
             version text, name text not null, layout text not null, file text not null, \
             checksum text not null, up_text text, down_text text, \
             out_of_order {flag} not null, millis bigint not null, applied_by text not null, \
             applied_at {now}, run text, note text, turn bigint)",
            own::name(backend, HISTORY)
        ),
        format!(
            "create table if not exists {} (key text not null, direction text not null, \
             unit bigint not null, text_hash text not null, done {flag} not null, session text, \
             started_at {now}, primary key (key, direction, unit))",
            own::name(backend, STATEMENTS)
        ),
    ]
}

/// Makes the tables where they are missing.
pub(crate) async fn ensure(db: &Database) -> Result<(), DbError> {
    let there = own::tables(db).await?;
    let complete = [HISTORY, STATEMENTS]
        .iter()
        .all(|name| there.iter().any(|table| table == name));
    let history = own::table(db.backend(), HISTORY);
    let columns = table_columns(db, &history).await?;
    let has_turn = columns.iter().any(|one| one.name == TURN);
    if complete && has_turn {
        return Ok(());
    }
    own::ensure(db).await?;
    let mut definitions: Vec<String> = definitions(db.backend()).into();
    if !columns.is_empty() && !has_turn {
        definitions.push(format!(
            "alter table {} add column {TURN} bigint",
            history.sql()
        ));
    }
    definitions.push(format!(
        "create unique index if not exists {} on {} (key, {TURN})",
        match db.backend() {
            Backend::Postgres => "schema_history_turn".to_owned(),
            Backend::Sqlite => format!("{}schema_history_turn", own::SQLITE_PREFIX),
        },
        history.sql()
    ));
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => {
            let mut tx = pg.begin().await?;
            for table in definitions {
                sqlx::raw_sql(sqlx::AssertSqlSafe(table))
                    .execute(&mut *tx)
                    .await?;
            }
            migrate_failpoint::hit!("history.make").map_err(sqlx::Error::Io)?;
            Ok(tx.commit().await?)
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => {
            let mut tx = lite.begin().await?;
            for table in definitions {
                sqlx::query(sqlx::AssertSqlSafe(table))
                    .execute(&mut *tx)
                    .await?;
            }
            migrate_failpoint::hit!("history.make").map_err(sqlx::Error::Io)?;
            Ok(tx.commit().await?)
        }
    }
}
