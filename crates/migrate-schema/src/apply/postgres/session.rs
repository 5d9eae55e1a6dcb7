//! The session that migrations run in: a connection that is closed afterwards, because a
//! script may set anything in it.

use std::sync::{Mutex, PoisonError};

use futures_util::StreamExt as _;
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, PgConnection, Transaction};

use super::super::options::Options;
use super::super::script::{Isolation, Script};
use crate::db::{DbError, Postgres, pin};

/// A session's own facts.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) pid: i32,
    /// Tells it apart from a later one with the same number.
    pub(super) name: String,
}

/// The session that the batches of a run share: a new one has to read the catalog anew, which
/// takes longer than most migrations.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<Option<Open>>);

/// An open session.
type Open = (PoolConnection<sqlx::Postgres>, Session);

impl Sessions {
    /// The session of the batch before, as if it were new, or a new one.
    pub(super) async fn open(&self, pg: &Postgres) -> Result<Open, DbError> {
        let kept = self.kept().take();
        if let Some((mut connection, session)) = kept
            && let Ok(true) = pg.renew(&mut connection).await
        {
            return Ok((connection, session));
        }
        open(pg).await
    }

    /// Keeps the session of a batch that was committed.
    pub(super) fn keep(&self, open: Open) {
        *self.kept() = Some(open);
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a session of its own.
pub(super) async fn open(pg: &Postgres) -> Result<Open, DbError> {
    let mut connection = pg.acquire().await?;
    connection.close_on_drop();
    let (pid, start): (i32, String) = sqlx::query_as(
        "select pid, backend_start::text from pg_stat_activity where pid = pg_backend_pid()",
    )
    .fetch_one(&mut *connection)
    .await?;
    let name = format!("{pid}@{start}");
    Ok((connection, Session { pid, name }))
}

/// The limits of a transaction's statements, until its end.
pub(super) async fn limit(tx: &mut PgConnection, options: &Options) -> Result<(), DbError> {
    sqlx::query(
        "select set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true)",
    )
    .bind(millis(options.lock_timeout))
    .bind(
        options
            .statement_timeout
            .map_or_else(|| "0".to_owned(), millis),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Begins a transaction with the isolation that a script asks for.
pub(super) async fn begin<'c>(
    pg: &Postgres,
    connection: &'c mut PgConnection,
    isolation: Option<Isolation>,
) -> Result<Transaction<'c, sqlx::Postgres>, DbError> {
    match isolation {
        None => pg.begin_within(connection).await,
        Some(isolation) => pg.begin_isolated(connection, isolation.begin()).await,
    }
}

/// The limits of a statement that stands alone.
pub(super) async fn limit_alone(
    connection: &mut PgConnection,
    lock_timeout: std::time::Duration,
    statement_timeout: std::time::Duration,
) -> Result<(), DbError> {
    sqlx::query(
        "select set_config('lock_timeout', $1, false), set_config('statement_timeout', $2, false)",
    )
    .bind(millis(lock_timeout))
    .bind(millis(statement_timeout))
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes back what a script set for the session, so that neither the next one nor our own
/// statements see it.
pub(super) async fn reset(tx: &mut PgConnection, options: &Options) -> Result<(), DbError> {
    sqlx::raw_sql("reset session authorization; reset role; reset all")
        .execute(&mut *tx)
        .await?;
    pin(tx).await?;
    limit(tx, options).await
}

fn millis(time: std::time::Duration) -> String {
    format!("{}ms", time.as_millis())
}

/// Runs a whole script in one exchange with the server, with the names of the user's sessions.
///
/// # Errors
/// The number of the statement that failed, and why, with a position inside that statement.
pub(super) async fn run(
    pg: &Postgres,
    tx: &mut PgConnection,
    script: &Script,
) -> Result<(), (usize, DbError)> {
    if script.statements().len() == 0 {
        return Ok(());
    }
    let of_us = |error: DbError| (0, error);
    let names = pg.script_names().await.map_err(of_us)?;
    names.give(tx).await.map_err(of_us)?;
    statements(tx, script).await?;
    pin(tx).await.map_err(|error| of_us(error.into()))
}

async fn statements(tx: &mut PgConnection, script: &Script) -> Result<(), (usize, DbError)> {
    let text = script.joined();
    let mut done = 0;
    let mut results = sqlx::raw_sql(AssertSqlSafe(text)).execute_many(tx);
    while let Some(result) = results.next().await {
        let ran = migrate_failpoint::hit!("apply.ran").map_err(sqlx::Error::Io);
        match result.and(ran) {
            Ok(()) => done += 1,
            Err(error) => {
                let mut error = DbError::from(error);
                let located = error.position.and_then(|position| script.located(position));
                let number = match located {
                    Some((number, inside)) => {
                        error.position = Some(inside);
                        number
                    }
                    None => done.min(script.statements().len() - 1),
                };
                return Err((number, error));
            }
        }
    }
    Ok(())
}

/// Runs the queries of a verify script; every row's first value must be neither false nor
/// null nor zero.
pub(super) async fn verify(
    pg: &Postgres,
    tx: &mut PgConnection,
    script: &Script,
) -> Result<(), (usize, DbError)> {
    let of_us = |error: DbError| (0, error);
    pg.as_the_user(tx).await.map_err(of_us)?;
    queries(tx, script).await?;
    pin(tx).await.map_err(|error| of_us(error.into()))
}

async fn queries(tx: &mut PgConnection, script: &Script) -> Result<(), (usize, DbError)> {
    for (number, query) in script.statements().enumerate() {
        const OPEN: &str =
            "select pg_catalog.row_to_json(row(q.*)) operator(pg_catalog.->>) 'f1' from (";
        let rows: Result<Vec<Option<String>>, sqlx::Error> =
            sqlx::query_scalar(AssertSqlSafe(format!("{OPEN}{query}\n) q")))
                .persistent(false)
                .fetch_all(&mut *tx)
                .await;
        let rows = rows.map_err(|error| {
            let mut error = DbError::from(error);
            error.position = error.position.and_then(|at| at.checked_sub(OPEN.len()));
            (number, error)
        })?;
        if rows
            .iter()
            .any(|value| matches!(value.as_deref(), None | Some("false" | "0")))
        {
            return Err((number, super::super::not_verified()));
        }
    }
    Ok(())
}
