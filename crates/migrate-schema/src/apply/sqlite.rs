//! Batches on SQLite.
//!
//! The `foreign_keys` pragma has no effect inside a transaction: where a batch rebuilds tables
//! it is switched off before, the keys are checked before the commit, and it is switched back.
//! The journal mode stays as it is. A writer that holds the file is waited for.

use std::time::Instant;

use futures_util::StreamExt as _;
use migrate_core::StepError;
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::attempts::Attempts;
use super::event::{Event, one_line};
use super::failure::Failed;
use super::item::{Item, foreign_keys};
use super::orphans::Orphans;
use super::script::{ForeignKeys, How, Script, Unit};
use super::trial::{Early, Round};
use super::{Run, begun, edited_since, millis_since, not_verified};
use crate::catalog::Catalog;
use crate::db::{DbError, Sqlite};
use crate::history::{Entry, Started, sqlite as history};

/// One attempt at a batch as one transaction. On an error nothing of it stays.
pub(super) async fn together(lite: &Sqlite, items: &[Item], run: &Run<'_>) -> Result<(), Failed> {
    let mut connection = Settings::keep(lite).await?;
    let result = transaction(lite, &mut connection.held, items, run).await;
    connection.give_back().await?;
    result
}

async fn transaction(
    lite: &Sqlite,
    connection: &mut SqliteConnection,
    items: &[Item],
    run: &Run<'_>,
) -> Result<(), Failed> {
    let keys = foreign_keys(items);
    if keys.are_off() {
        pragma(connection, "foreign_keys = 0").await?;
    }
    let mut tx = lite.begin_on(connection).await?;
    let before = if keys == ForeignKeys::CheckedAtEnd {
        Some(Orphans::read(&mut tx).await?)
    } else {
        None
    };
    let mut entries: Vec<Entry> = Vec::with_capacity(items.len());
    for (number, item) in items.iter().enumerate() {
        run.running(item, number);
        let began = Instant::now();
        one(&mut tx, item)
            .await
            .map_err(|(script, statement, error)| explain(script, statement, error, number))?;
        let mut entry = item.entry.clone();
        entry.millis = millis_since(began);
        entries.push(entry);
    }
    if let Some(before) = before {
        before.refuse_new(&mut tx).await?;
    }
    history::append(&mut tx, &entries)
        .await
        .map_err(|error| Failed::of(error, "the history can't be written"))?;
    for item in items.iter().filter(|item| run.was_begun(item)) {
        history::clear_statements(&mut tx, &item.entry.key).await?;
    }
    migrate_failpoint::hit!("apply.commit").map_err(sqlx::Error::Io)?;
    tx.commit()
        .await
        .map_err(|error| Failed::of(error.into(), "the migrations can't be committed"))?;
    Ok(migrate_failpoint::hit!("apply.committed").map_err(sqlx::Error::Io)?)
}

/// A way down and up again in one transaction that is rolled back.
pub(super) async fn round(lite: &Sqlite, down: &Item, up: &Item) -> Result<Round, Early> {
    let mut connection = Settings::keep(lite).await.map_err(Early::Other)?;
    let result = round_on(lite, &mut connection.held, down, up).await;
    connection.give_back().await.map_err(Early::Other)?;
    result
}

async fn round_on(
    lite: &Sqlite,
    connection: &mut SqliteConnection,
    down: &Item,
    up: &Item,
) -> Result<Round, Early> {
    let other = |error: DbError| Early::Other(error.into());
    let both = [down.clone(), up.clone()];
    if foreign_keys(&both).are_off() {
        pragma(connection, "foreign_keys = 0")
            .await
            .map_err(Early::Other)?;
    }
    let mut tx = lite.begin_on(connection).await.map_err(other)?;
    let failed = |(script, statement, error): Broken<'_>| explain(script, statement, error, 0);
    one(&mut tx, down)
        .await
        .map_err(|broken| Early::Down(failed(broken)))?;
    let without = Catalog::read_sqlite(&mut tx).await.map_err(other)?;
    if let Err(broken) = one(&mut tx, up).await {
        let failed = failed(broken);
        let down = without;
        return Err(Early::Up { down, failed });
    }
    let with = Catalog::read_sqlite(&mut tx).await.map_err(other)?;
    tx.rollback().await.map_err(|error| other(error.into()))?;
    Ok(Round {
        down: without,
        up: with,
    })
}

type Broken<'i> = (&'i Script, usize, DbError);

async fn one<'i>(tx: &mut SqliteConnection, item: &'i Item) -> Result<(), Broken<'i>> {
    execute(tx, &item.script)
        .await
        .map_err(|(number, error)| (&item.script, number, error))?;
    match &item.verify {
        None => Ok(()),
        Some(verify) => run_verify(tx, verify)
            .await
            .map_err(|(number, error)| (verify, number, error)),
    }
}

/// Runs a whole script in one exchange with the worker that holds the connection.
async fn execute(tx: &mut SqliteConnection, script: &Script) -> Result<(), (usize, DbError)> {
    if script.statements().len() == 0 {
        return Ok(());
    }
    let text = script.joined();
    let mut done = 0;
    let mut results = sqlx::raw_sql(AssertSqlSafe(text)).execute_many(tx);
    while let Some(result) = results.next().await {
        let ran = migrate_failpoint::hit!("apply.ran").map_err(sqlx::Error::Io);
        result.and(ran).map_err(|error| {
            (
                done.min(script.statements().len() - 1),
                DbError::from(error),
            )
        })?;
        done += 1;
    }
    Ok(())
}

async fn run_verify(tx: &mut SqliteConnection, script: &Script) -> Result<(), (usize, DbError)> {
    for (number, query) in script.statements().enumerate() {
        let rows = sqlx::query(AssertSqlSafe(query))
            .persistent(false)
            .fetch_all(&mut *tx)
            .await
            .map_err(|error| (number, error.into()))?;
        let fails = rows.iter().any(|row| {
            use sqlx::{Row as _, ValueRef as _};
            row.try_get_raw(0).is_ok_and(|value| value.is_null())
                || row
                    .try_get_unchecked::<i64, _>(0)
                    .is_ok_and(|value| value == 0)
        });
        if fails {
            return Err((number, not_verified()));
        }
    }
    Ok(())
}

fn explain(script: &Script, statement: usize, error: DbError, item: usize) -> Failed {
    let place = script.place_of(statement, &error);
    let what = format!(
        "statement {} of {} failed",
        statement + 1,
        script.statements().len()
    );
    let mut failed = Failed::of(error, what);
    failed.item = item;
    failed.error = failed.error.in_file(place);
    failed
}

/// Runs what is left of a migration that is not one transaction, unit by unit. What was done
/// stays when a later unit fails.
pub(super) async fn by_units(lite: &Sqlite, item: &Item, run: &Run<'_>) -> Result<(), Failed> {
    let mut connection = Settings::keep(lite).await?;
    let result = units(lite, &mut connection.held, item, run).await;
    connection.give_back().await?;
    result
}

async fn units(
    lite: &Sqlite,
    connection: &mut SqliteConnection,
    item: &Item,
    run: &Run<'_>,
) -> Result<(), Failed> {
    let began = Instant::now();
    run.running(item, 0);
    if item.script.foreign_keys.are_off() {
        pragma(connection, "foreign_keys = 0").await?;
    }
    let total = item.script.units().len();
    for (number, unit) in item.script.units().iter().enumerate() {
        let text = item.script.text_of(unit);
        let mut row = begun(item, number, &text, None);
        if let Some(before) = run.started(&row) {
            if before.text_hash != row.text_hash {
                return Err(edited_since(item, unit));
            }
            if before.done && unit.how != How::Session {
                continue;
            }
        }
        run.observer.event(&Event::Statement {
            text: one_line(&text),
            number: number + 1,
            total,
        });
        match &unit.how {
            How::Covered => covered(lite, connection, item, unit, &mut row, run).await?,
            How::Session => {
                migrate_failpoint::hit!("session.set").map_err(sqlx::Error::Io)?;
                statement(connection, item, unit.statements.start).await?;
            }
            // Each of them does the same when it runs again: nothing is in doubt.
            How::Alone(_) => {
                migrate_failpoint::hit!("alone.begin").map_err(sqlx::Error::Io)?;
                write(lite, connection, &row).await?;
                migrate_failpoint::hit!("alone.begun").map_err(sqlx::Error::Io)?;
                statement(connection, item, unit.statements.start).await?;
                migrate_failpoint::hit!("alone.effect").map_err(sqlx::Error::Io)?;
                row.done = true;
                write(lite, connection, &row).await?;
                migrate_failpoint::hit!("alone.done").map_err(sqlx::Error::Io)?;
            }
        }
    }
    finish(lite, connection, item, began).await
}

async fn covered(
    lite: &Sqlite,
    connection: &mut SqliteConnection,
    item: &Item,
    unit: &Unit,
    row: &mut Started,
    run: &Run<'_>,
) -> Result<(), Failed> {
    row.done = true;
    let mut attempts = Attempts::new(run.options.give_up_after, &**run.observer);
    loop {
        match covered_once(lite, connection, item, unit, row).await {
            Ok(()) => return Ok(()),
            Err(failed) => attempts.again_after(failed).await?,
        }
    }
}

async fn covered_once(
    lite: &Sqlite,
    connection: &mut SqliteConnection,
    item: &Item,
    unit: &Unit,
    row: &Started,
) -> Result<(), Failed> {
    migrate_failpoint::hit!("unit.begin").map_err(sqlx::Error::Io)?;
    let mut tx = lite.begin_on(connection).await?;
    for number in unit.statements.clone() {
        statement(&mut tx, item, number).await?;
        migrate_failpoint::hit!("unit.ran").map_err(sqlx::Error::Io)?;
    }
    history::set_statement(&mut tx, row).await?;
    tx.commit()
        .await
        .map_err(|error| Failed::of(error.into(), "the statement can't be committed"))?;
    Ok(migrate_failpoint::hit!("unit.committed").map_err(sqlx::Error::Io)?)
}

async fn statement(
    connection: &mut SqliteConnection,
    item: &Item,
    number: usize,
) -> Result<(), Failed> {
    sqlx::raw_sql(AssertSqlSafe(item.script.statement(number)))
        .execute(connection)
        .await
        .map(drop)
        .map_err(|error| explain(&item.script, number, error.into(), 0))
}

async fn write(
    lite: &Sqlite,
    connection: &mut SqliteConnection,
    row: &Started,
) -> Result<(), Failed> {
    let mut tx = lite.begin_on(connection).await?;
    history::set_statement(&mut tx, row).await?;
    Ok(tx.commit().await?)
}

/// The line in the log replaces the journal's rows.
async fn finish(
    lite: &Sqlite,
    connection: &mut SqliteConnection,
    item: &Item,
    began: Instant,
) -> Result<(), Failed> {
    let mut tx = lite.begin_on(connection).await?;
    if let Some(verify) = &item.verify {
        run_verify(&mut tx, verify)
            .await
            .map_err(|(number, error)| explain(verify, number, error, 0))?;
    }
    let mut entry = item.entry.clone();
    entry.millis = millis_since(began);
    history::append(&mut tx, &[entry]).await?;
    history::clear_statements(&mut tx, &item.entry.key).await?;
    migrate_failpoint::hit!("history.commit").map_err(sqlx::Error::Io)?;
    tx.commit().await?;
    Ok(migrate_failpoint::hit!("history.committed").map_err(sqlx::Error::Io)?)
}

/// A connection whose settings are given back as they were.
struct Settings {
    held: PoolConnection<sqlx::Sqlite>,
    foreign_keys: i64,
    in_file: bool,
}

impl Settings {
    async fn keep(lite: &Sqlite) -> Result<Self, Failed> {
        let mut held = lite.acquire().await?;
        let foreign_keys: i64 = sqlx::query_scalar("pragma foreign_keys")
            .fetch_one(&mut *held)
            .await?;
        let file: Option<String> =
            sqlx::query_scalar("select file from pragma_database_list where name = 'main'")
                .fetch_one(&mut *held)
                .await?;
        let in_file = file.is_some_and(|file| !file.is_empty());
        if in_file {
            // A script may set anything for its connection. (A database in memory goes with it.)
            held.close_on_drop();
        }
        Ok(Self {
            held,
            foreign_keys,
            in_file,
        })
    }

    async fn give_back(mut self) -> Result<(), Failed> {
        if self.in_file {
            return Ok(self.held.close().await?);
        }
        pragma(
            &mut self.held,
            &format!("foreign_keys = {}", self.foreign_keys),
        )
        .await
    }
}

async fn pragma(connection: &mut SqliteConnection, what: &str) -> Result<(), Failed> {
    sqlx::query(AssertSqlSafe(format!("pragma {what}")))
        .persistent(false)
        .execute(connection)
        .await
        .map(drop)
        .map_err(|error| {
            Failed::new(
                crate::db::DbErrorKind::Other,
                StepError::failed(format!("PRAGMA {what} failed")).cause(error.to_string()),
            )
        })
}
