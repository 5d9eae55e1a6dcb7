//! `CREATE INDEX CONCURRENTLY` and its kin, end to end.
//!
//! They wait for transactions of others instead of locking them out, so that no lock timeout
//! holds for them, but a time budget of their own. One that fails leaves an invalid index
//! behind, which costs every write and helps no read: it is dropped.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};

use super::super::Run;
use super::super::attempts::Attempts;
use super::super::event::Event;
use super::super::failure::Failed;
use super::session::{Session, limit_alone};
use super::watch::Watch;
use crate::db::{DbError, DbErrorKind, Postgres, ScriptNames};
use crate::quote::{TableName, ident};
use crate::script::Alone;

/// How an index stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IndexState {
    Missing,
    Valid,
    Invalid,
}

/// Runs a statement that stands alone, again after a deadlock, and sees to what it leaves.
pub(super) async fn run(
    pg: &Postgres,
    (connection, names): (&mut PgConnection, &mut ScriptNames),
    session: &Session,
    alone: &Alone,
    sql: &str,
    run: &Run<'_>,
) -> Result<(), DbError> {
    let mut attempts = Attempts::new(run.options.give_up_after, &**run.observer);
    let leftovers = Leftovers::of(alone);
    loop {
        leftovers.clear(connection, names, run).await?;
        limit_alone(connection, Duration::ZERO, run.options.concurrently_budget).await?;
        let watch = Watch::start(pg, session.pid, None, run.observer);
        let statement = finalized(connection, names, alone).await?;
        names.give(connection).await?;
        let done = sqlx::raw_sql(AssertSqlSafe(statement.as_deref().unwrap_or(sql)))
            .execute(&mut *connection)
            .await;
        if super::units::alive(connection).await {
            names.take(connection).await?;
        }
        let blockers = watch.blockers();
        drop(watch);
        let Err(error) = done else {
            return leftovers.must_be_valid(connection, names).await;
        };
        let mut error = DbError::from(error);
        if let (DbErrorKind::Cancelled, Some(blockers)) = (error.kind, blockers) {
            error.detail = Some(format!("it waited for {blockers}"));
            error.hint.get_or_insert_with(|| {
                "end the transactions that it waits for, or give it more time with --concurrently-budget"
                    .to_owned()
            });
        }
        if !super::units::alive(connection).await {
            return Err(error);
        }
        if let Err(left) = leftovers.clear(connection, names, run).await {
            // The next run drops it first.
            let told = format!("what it left could not be dropped: {}", left.message);
            error.detail = Some(match error.detail.take() {
                Some(detail) => format!("{detail}; {told}"),
                None => told,
            });
            return Err(error);
        }
        if error.kind != DbErrorKind::Lock {
            return Err(error);
        }
        let kept = error.clone();
        if attempts
            .again_after(Failed::of(error, "it met another session's locks"))
            .await
            .is_err()
        {
            return Err(kept);
        }
    }
}

/// A detach that was interrupted can only be finished, not begun again.
async fn finalized(
    connection: &mut PgConnection,
    names: &mut ScriptNames,
    alone: &Alone,
) -> Result<Option<String>, DbError> {
    let Alone::Detach { table, partition } = alone else {
        return Ok(None);
    };
    let pending = detach_pending(connection, names, table, partition).await?;
    Ok((pending == Some(true)).then(|| {
        format!(
            "alter table {} detach partition {} finalize",
            table.sql(),
            partition.sql()
        )
    }))
}

/// Whether a partition's detach is half done; none if it is no partition of the table.
pub(super) async fn detach_pending(
    connection: &mut PgConnection,
    names: &mut ScriptNames,
    table: &TableName,
    partition: &TableName,
) -> Result<Option<bool>, DbError> {
    let parent = names.number_of(connection, table).await?;
    let child = names.number_of(connection, partition).await?;
    Ok(sqlx::query_scalar(
        "select inhdetachpending from pg_inherits where inhparent = $1 and inhrelid = $2",
    )
    .bind(parent)
    .bind(child)
    .fetch_optional(connection)
    .await?)
}

/// How the index of a table stands.
pub(super) async fn index_state(
    connection: &mut PgConnection,
    names: &mut ScriptNames,
    name: &str,
    table: &TableName,
) -> Result<IndexState, DbError> {
    let table = names.number_of(connection, table).await?;
    let valid: Option<bool> = sqlx::query_scalar(
        "select i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid \
         where c.relname = $1 and i.indrelid = $2",
    )
    .bind(name)
    .bind(table)
    .fetch_optional(connection)
    .await?;
    Ok(match valid {
        None => IndexState::Missing,
        Some(true) => IndexState::Valid,
        Some(false) => IndexState::Invalid,
    })
}

/// What a statement can leave behind when it fails.
enum Leftovers<'a> {
    Nothing,
    Index { name: &'a str, table: &'a TableName },
    Rebuilt,
}

impl<'a> Leftovers<'a> {
    fn of(alone: &'a Alone) -> Self {
        match alone {
            Alone::CreateIndex {
                name: Some(name),
                table,
            } => Self::Index { name, table },
            Alone::Reindex => Self::Rebuilt,
            _ => Self::Nothing,
        }
    }

    /// Drops invalid indexes that this statement, now or in an earlier run, left.
    async fn clear(
        &self,
        connection: &mut PgConnection,
        names: &mut ScriptNames,
        run: &Run<'_>,
    ) -> Result<(), DbError> {
        let found: Vec<String> = match self {
            Self::Nothing => return Ok(()),
            Self::Index { name, table } => {
                if index_state(connection, names, name, table).await? != IndexState::Invalid {
                    return Ok(());
                }
                let table = names.number_of(connection, table).await?;
                sqlx::query_scalar(
                    "select i.indexrelid::regclass::text from pg_index i \
                     join pg_class c on c.oid = i.indexrelid \
                     where c.relname = $1 and i.indrelid = $2",
                )
                .bind(name)
                .bind(table)
                .fetch_all(&mut *connection)
                .await?
            }
            // Those of a rebuild that runs right now in another session are left alone.
            Self::Rebuilt => {
                sqlx::query_scalar(
                    "select i.indexrelid::regclass::text from pg_index i \
                     join pg_class c on c.oid = i.indexrelid \
                     where not i.indisvalid and c.relname ~ '_cc(new|old)[0-9]*$' \
                       and i.indrelid not in (select relid from pg_stat_progress_create_index)",
                )
                .fetch_all(&mut *connection)
                .await?
            }
        };
        limit_alone(connection, Duration::ZERO, run.options.concurrently_budget).await?;
        for index in found {
            run.observer
                .event(&Event::Note(format!("dropping the invalid index {index}")));
            sqlx::raw_sql(AssertSqlSafe(format!(
                "drop index concurrently if exists {index}"
            )))
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }

    /// `IF NOT EXISTS` and a statement that ended well both say nothing about the index.
    async fn must_be_valid(
        &self,
        connection: &mut PgConnection,
        names: &mut ScriptNames,
    ) -> Result<(), DbError> {
        let Self::Index { name, table } = self else {
            return Ok(());
        };
        if index_state(connection, names, name, table).await? == IndexState::Invalid {
            return Err(DbError::new(
                DbErrorKind::Other,
                format!("index {} was built, but is not valid", ident(name)),
            )
            .hint("run it again: the invalid index is dropped first"));
        }
        Ok(())
    }
}
