//! Whether a statement that was begun took effect: what the catalog says.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::{Instant, sleep};

use super::super::Run;
use super::super::event::Event;
use super::super::failure::Failed;
use super::concurrently::{self, IndexState};
use crate::db::{DbError, DbErrorKind, ScriptNames};
use crate::history::Started;
use crate::script::Alone;

/// What the catalog says about a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It took effect.
    There,
    /// It did not, or only half: it can run again.
    NotThere,
    /// Nothing tells.
    Untold,
}

pub(super) async fn effect(
    connection: &mut PgConnection,
    names: &mut ScriptNames,
    alone: &Alone,
) -> Result<Effect, DbError> {
    let there = match alone {
        Alone::CreateIndex {
            name: Some(name),
            table,
        } => concurrently::index_state(connection, names, name, table).await? == IndexState::Valid,
        Alone::DropIndex(index) => names.number_of(connection, index).await?.is_none(),
        Alone::Detach { table, partition } => {
            concurrently::detach_pending(connection, names, table, partition)
                .await?
                .is_none()
        }
        Alone::CreateDatabase(name) => {
            sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
                .bind(name)
                .fetch_one(connection)
                .await?
        }
        Alone::DropDatabase(name) => {
            sqlx::query_scalar("select not exists (select from pg_database where datname = $1)")
                .bind(name)
                .fetch_one(connection)
                .await?
        }
        Alone::Reindex | Alone::Repeatable => false,
        Alone::CreateIndex { name: None, .. } | Alone::Unknown => return Ok(Effect::Untold),
    };
    Ok(if there {
        Effect::There
    } else {
        Effect::NotThere
    })
}

/// The client of a statement can be gone while the server still runs it: waits until it ended.
pub(super) async fn wait_for(
    connection: &mut PgConnection,
    before: &Started,
    run: &Run<'_>,
) -> Result<(), Failed> {
    const TELL_EVERY: Duration = Duration::from_secs(5);

    let Some((pid, start)) = before
        .session
        .as_deref()
        .and_then(|session| session.split_once('@'))
    else {
        return Ok(());
    };
    let deadline = Instant::now() + run.options.concurrently_budget;
    let mut told: Option<Instant> = None;
    loop {
        let query: Option<String> = sqlx::query_scalar(AssertSqlSafe(format!(
            "select {} from pg_stat_activity a \
             where a.pid::text = $1 and a.backend_start::text = $2 and a.state <> 'idle'",
            crate::db::shown_query(80)
        )))
        .bind(pid)
        .bind(start)
        .fetch_optional(&mut *connection)
        .await?;
        let Some(query) = query else {
            return Ok(());
        };
        if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            told = Some(Instant::now());
            run.observer.event(&Event::Waiting {
                blockers: format!("session {pid} of the interrupted run still runs {query}"),
            });
        }
        if Instant::now() >= deadline {
            let error = DbError::new(
                DbErrorKind::Other,
                format!("session {pid} of the interrupted run did not end"),
            )
            .hint(format!("end it with SELECT pg_terminate_backend({pid})"));
            return Err(Failed::of(
                error,
                "an earlier run is not over in the server",
            ));
        }
        sleep(Duration::from_millis(200)).await;
    }
}
