//! A batch as one transaction with its lines in the log.

use std::time::Instant;

use migrate_core::StepError;
use sqlx::PgConnection;

use super::super::failure::Failed;
use super::super::item::Item;
use super::super::options::Options;
use super::super::script::Script;
use super::super::{Run, millis_since};
use super::session::{self, Session};
use super::watch::Watch;
use crate::db::{DbError, DbErrorKind, Postgres};
use crate::history::{Entry, postgres as history};

/// One attempt. On an error nothing of it stays.
pub(in super::super) async fn together(
    pg: &Postgres,
    items: &[Item],
    run: &Run<'_>,
) -> Result<(), Failed> {
    let (mut connection, session) = run.sessions.open(pg).await?;
    transaction(pg, (&mut connection, &session), items, run).await?;
    if items.iter().any(|item| item.script.isolation.is_some()) {
        // Its session goes with it.
        return Ok(());
    }
    if !items.iter().any(|item| item.script.lingers()) {
        run.sessions.keep((connection, session));
    }
    Ok(())
}

async fn transaction(
    pg: &Postgres,
    (connection, session): (&mut PgConnection, &Session),
    items: &[Item],
    run: &Run<'_>,
) -> Result<(), Failed> {
    let isolation = items.iter().find_map(|item| item.script.isolation);
    let mut tx = session::begin(pg, connection, isolation).await?;
    session::limit(&mut tx, run.options).await?;
    let watch = Watch::start(pg, session.pid, run.options.queue_budget, run.observer);
    let mut entries: Vec<Entry> = Vec::with_capacity(items.len());
    for (number, item) in items.iter().enumerate() {
        run.running(item, number);
        let began = Instant::now();
        one(pg, &mut tx, item, run.options)
            .await
            .map_err(|(script, statement, error)| {
                explain(&watch, script, statement, error, number)
            })?;
        let mut entry = item.entry.clone();
        entry.millis = millis_since(began);
        entries.push(entry);
    }
    history::append(&mut tx, &entries)
        .await
        .map_err(|error| Failed::of(error, "the history can't be written"))?;
    for item in items.iter().filter(|item| run.was_begun(item)) {
        history::clear_statements(&mut tx, &item.entry.key).await?;
    }
    drop(watch);
    migrate_failpoint::hit!("apply.commit").map_err(sqlx::Error::Io)?;
    if let Err(error) = tx.commit().await {
        let error = DbError::from(error);
        // An error that the server itself gives means that it took everything back.
        let says_nothing = error.kind == DbErrorKind::Unreachable || error.code.is_none();
        let mut failed = Failed::of(error, "the migrations can't be committed");
        failed.in_doubt =
            says_nothing.then(|| items.iter().map(|item| item.label.clone()).collect());
        return Err(failed);
    }
    Ok(migrate_failpoint::hit!("apply.committed").map_err(sqlx::Error::Io)?)
}

/// A failed statement of a script.
pub(super) type Broken<'i> = (&'i Script, usize, DbError);

/// Runs a migration and its verify script.
pub(super) async fn one<'i>(
    pg: &Postgres,
    tx: &mut PgConnection,
    item: &'i Item,
    options: &Options,
) -> Result<(), Broken<'i>> {
    let script = &item.script;
    session::run(pg, tx, script)
        .await
        .map_err(|(number, error)| (script, number, error))?;
    if script.sets_session {
        session::reset(tx, options)
            .await
            .map_err(|error| (script, 0, error))?;
    }
    if let Some(verify) = &item.verify {
        session::verify(pg, tx, verify)
            .await
            .map_err(|(number, error)| (verify, number, error))?;
    }
    Ok(())
}

/// A statement's error with its place, and with who stood in the way.
pub(super) fn explain(
    watch: &Watch,
    script: &Script,
    statement: usize,
    error: DbError,
    item: usize,
) -> Failed {
    let gave_way = watch.gave_way() && error.kind == DbErrorKind::Cancelled;
    let blockers = match error.kind {
        DbErrorKind::Lock => watch.blockers(),
        _ => None,
    };
    let mut failed = self::failed(script, statement, error);
    failed.item = item;
    failed.gave_way = gave_way;
    if gave_way {
        let place = failed.error.place.take();
        failed.error = StepError::failed("gave way: others waited for its locks too long").hint(
            "run it when there is less traffic, one by one with --each, or let them wait longer with --queue-budget",
        );
        failed.error.place = place;
    }
    if let Some(blockers) = blockers {
        failed.error = failed.error.cause(format!("blocked by {blockers}"));
    }
    failed
}

/// A statement's error with its place.
pub(super) fn failed(script: &Script, statement: usize, error: DbError) -> Failed {
    let place = script.place_of(statement, &error);
    let count = script.statements().len();
    let mut failed = Failed::of(
        error,
        format!("statement {} of {count} failed", statement + 1),
    );
    failed.error = failed.error.in_file(place);
    failed
}
