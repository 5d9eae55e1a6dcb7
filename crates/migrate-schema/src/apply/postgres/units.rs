//! A migration that is not one transaction: unit by unit, each with its row in the journal.
//!
//! What a transaction covers is written together with its row, so that it is never in doubt.
//! What can't be covered has its row before it (begun) and after it (done); one that was begun
//! and is not done is decided by looking at the catalog.

use std::time::Instant;

use migrate_core::StepError;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::super::attempts::Attempts;
use super::super::event::{Event, one_line};
use super::super::failure::Failed;
use super::super::item::Item;
use super::super::script::{How, Unit};
use super::super::{Run, begun, edited_since, millis_since};
use super::doubt::{self, Effect};
use super::session::{self, Session};
use super::together::explain;
use super::watch::Watch;
use super::{concurrently, doubt::wait_for};
use crate::db::{DbErrorKind, Postgres, ScriptNames};
use crate::history::{Started, postgres as history};
use crate::script::Alone;

/// Runs what is left of a migration. What was done stays when a later unit fails.
pub(in super::super) async fn by_units(
    pg: &Postgres,
    item: &Item,
    run: &Run<'_>,
) -> Result<(), Failed> {
    let began = Instant::now();
    run.running(item, 0);
    let (mut connection, session) = run.sessions.open(pg).await?;
    let mut names = pg.script_names().await?;
    let total = item.script.units().len();
    for (number, unit) in item.script.units().iter().enumerate() {
        let text = item.script.text_of(unit);
        let mut row = begun(item, number, &text, Some(session.name.clone()));
        let before = run.started(&row);
        if let Some(before) = before {
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
        let work = Work {
            pg,
            item,
            run,
            session: &session,
            unit,
        };
        match &unit.how {
            How::Covered => work.covered(&mut connection, &mut names, &mut row).await?,
            How::Session => work.set(&mut connection, &mut names).await?,
            How::Alone(alone) => {
                work.alone((&mut connection, &mut names), alone, before, &mut row)
                    .await?;
            }
        }
    }
    finish(pg, item, run, &mut connection, began).await?;
    if !item.script.lingers() && item.script.isolation.is_none() {
        run.sessions.keep((connection, session));
    }
    Ok(())
}

/// The line in the log replaces the journal's rows.
async fn finish(
    pg: &Postgres,
    item: &Item,
    run: &Run<'_>,
    connection: &mut PgConnection,
    began: Instant,
) -> Result<(), Failed> {
    session::reset(connection, run.options).await?;
    if let Some(verify) = &item.verify {
        session::verify(pg, connection, verify)
            .await
            .map_err(|(number, error)| {
                let place = verify.place_of(number, &error);
                let mut failed = Failed::of(error, "the migration was run, but not verified");
                failed.error = failed.error.in_file(place);
                failed
            })?;
    }
    let mut entry = item.entry.clone();
    entry.millis = millis_since(began);
    let mut tx = pg.begin().await?;
    history::append(&mut tx, &[entry]).await?;
    history::clear_statements(&mut tx, &item.entry.key).await?;
    migrate_failpoint::hit!("history.commit").map_err(sqlx::Error::Io)?;
    tx.commit().await?;
    Ok(migrate_failpoint::hit!("history.committed").map_err(sqlx::Error::Io)?)
}

/// One unit, and what it takes to run it.
struct Work<'w> {
    pg: &'w Postgres,
    item: &'w Item,
    run: &'w Run<'w>,
    session: &'w Session,
    unit: &'w Unit,
}

impl Work<'_> {
    /// In a transaction with its row, again and again while locks are taken.
    async fn covered(
        &self,
        connection: &mut PgConnection,
        names: &mut ScriptNames,
        row: &mut Started,
    ) -> Result<(), Failed> {
        row.done = true;
        let mut attempts = Attempts::new(self.run.options.give_up_after, &**self.run.observer);
        loop {
            match self.covered_once(connection, names, row).await {
                Ok(()) => return Ok(()),
                Err(failed) => attempts.again_after(failed).await?,
            }
        }
    }

    async fn covered_once(
        &self,
        connection: &mut PgConnection,
        names: &mut ScriptNames,
        row: &Started,
    ) -> Result<(), Failed> {
        let options = self.run.options;
        migrate_failpoint::hit!("unit.begin").map_err(sqlx::Error::Io)?;
        let isolation = self.item.script.isolation;
        let mut tx = session::begin(self.pg, connection, isolation).await?;
        session::limit(&mut tx, options).await?;
        let watch = Watch::start(
            self.pg,
            self.session.pid,
            options.queue_budget,
            self.run.observer,
        );
        let mut left = names.clone();
        left.give(&mut tx).await?;
        for number in self.unit.statements.clone() {
            sqlx::raw_sql(AssertSqlSafe(self.item.script.statement(number)))
                .execute(&mut *tx)
                .await
                .map_err(|error| explain(&watch, &self.item.script, number, error.into(), 0))?;
            migrate_failpoint::hit!("unit.ran").map_err(sqlx::Error::Io)?;
        }
        left.take(&mut tx).await?;
        history::set_statement(&mut tx, row).await?;
        drop(watch);
        tx.commit()
            .await
            .map_err(|error| Failed::of(error.into(), "the statement can't be committed"))?;
        *names = left;
        Ok(migrate_failpoint::hit!("unit.committed").map_err(sqlx::Error::Io)?)
    }

    /// For the session: runs in every session anew, so that it needs no row.
    async fn set(
        &self,
        connection: &mut PgConnection,
        names: &mut ScriptNames,
    ) -> Result<(), Failed> {
        migrate_failpoint::hit!("session.set").map_err(sqlx::Error::Io)?;
        let number = self.unit.statements.start;
        names.give(connection).await?;
        sqlx::raw_sql(AssertSqlSafe(self.item.script.statement(number)))
            .execute(&mut *connection)
            .await
            .map_err(|error| self.at(number, error.into()))?;
        Ok(names.take(connection).await?)
    }

    /// Outside of any transaction: the row before, then the statement, then the row after.
    async fn alone(
        &self,
        (connection, names): (&mut PgConnection, &mut ScriptNames),
        alone: &Alone,
        before: Option<&Started>,
        row: &mut Started,
    ) -> Result<(), Failed> {
        let number = self.unit.statements.start;
        let sql = self.item.script.statement(number);
        if let Some(before) = before {
            wait_for(connection, before, self.run).await?;
            match doubt::effect(connection, names, alone).await? {
                Effect::There => {
                    self.run.observer.event(&Event::Note(
                        "it was interrupted, but took effect".to_owned(),
                    ));
                    row.done = true;
                    return Ok(self.write(row).await?);
                }
                Effect::NotThere => {}
                Effect::Untold => return Err(self.undecided(number)),
            }
        }
        migrate_failpoint::hit!("alone.begin").map_err(sqlx::Error::Io)?;
        // The fence is looked at where the row is written, right before the statement.
        self.write(row).await?;
        migrate_failpoint::hit!("alone.begun").map_err(sqlx::Error::Io)?;
        concurrently::run(
            self.pg,
            (connection, names),
            self.session,
            alone,
            sql,
            self.run,
        )
        .await
        .map_err(|error| self.at(number, error))?;
        migrate_failpoint::hit!("alone.effect").map_err(sqlx::Error::Io)?;
        row.done = true;
        self.write(row).await?;
        Ok(migrate_failpoint::hit!("alone.done").map_err(sqlx::Error::Io)?)
    }

    async fn write(&self, row: &Started) -> Result<(), crate::db::DbError> {
        let mut tx = self.pg.begin().await?;
        history::set_statement(&mut tx, row).await?;
        Ok(tx.commit().await?)
    }

    fn at(&self, number: usize, error: crate::db::DbError) -> Failed {
        let script = &self.item.script;
        let place = script.place_of(number, &error);
        let what = format!(
            "statement {} of {} failed",
            number + 1,
            script.statements().len()
        );
        let mut failed = Failed::of(error, what);
        failed.error = failed.error.in_file(place);
        failed
    }

    /// Only a person can tell.
    fn undecided(&self, number: usize) -> Failed {
        let script = &self.item.script;
        let none = crate::db::DbError::new(DbErrorKind::Other, "");
        let error = StepError::failed(
            "this statement was begun by a run that was interrupted, and nothing tells whether it took effect",
        )
        .in_file(script.place_of(number, &none))
        .hint(format!(
            "look at the database, then say `schema repair --statement done` or `--statement again` for {}",
            self.item.entry.key
        ));
        Failed::new(DbErrorKind::Other, error)
    }
}

/// Makes sure that a connection is still usable.
pub(super) async fn alive(connection: &mut PgConnection) -> bool {
    connection.ping().await.is_ok()
}
