//! Taking a script back on SQLite: every object that it touched gets its old text again.

use migrate_core::{StepContext, StepError};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::applied::{Applied, Changed};
use super::attempt::Failed;
use super::rebuild::{NewShape, rebuild};
use super::sqlite::{ForeignKeys, Held, Violations, execute, refuse_foreign_changes};
use super::versions::sqlite as versions;
use super::{failed_at, not_as_before, undone};
use crate::catalog::Catalog;
use crate::db::{DbErrorKind, Sqlite};
use crate::history::sqlite as history;
use crate::own::sqlite as own;
use crate::quote::ident;
use crate::script::SqlScript;
use crate::wrote::{self, Way};

/// One attempt. Returns what of others went with a table that is gone.
pub(super) async fn revert(
    lite: &Sqlite,
    cx: &StepContext,
    down: Option<&SqlScript>,
    applied: &Applied,
) -> Result<Vec<String>, Failed> {
    let mut held = Held::open(lite, ForeignKeys::CheckedAtEnd).await?;
    let outcome = in_transaction(lite, &mut held, cx, down, applied).await;
    held.give_back().await?;
    outcome
}

async fn in_transaction(
    lite: &Sqlite,
    held: &mut Held,
    cx: &StepContext,
    down: Option<&SqlScript>,
    applied: &Applied,
) -> Result<Vec<String>, Failed> {
    let mut tx = lite.begin_on(held.connection()).await?;
    if !own::clear_marker(&mut tx, cx.run.as_str(), cx.step.as_str()).await? {
        return Ok(Vec::new());
    }
    let sums = wrote::sqlite::sums(&mut tx).await?;
    let now = Catalog::read_sqlite(&mut tx).await?;
    refuse_foreign_changes(applied, &now)?;
    let violations = Violations::read(&mut tx, ForeignKeys::CheckedAtEnd).await?;
    match down {
        Some(down) => run_down(&mut tx, down).await?,
        None => restore_texts(&mut tx, applied).await?,
    }
    violations
        .refuse_new(&mut tx, ForeignKeys::CheckedAtEnd)
        .await?;
    let end = Catalog::read_sqlite(&mut tx).await?;
    let (wrong, gone) = applied.review_undo(&now, &end);
    if !wrong.is_empty() {
        return Err(not_as_before(&wrong));
    }
    if applied.wrote_version {
        versions::remove(&mut tx, applied.version, applied.made_versions).await?;
    }
    if let Some(line) = undone(cx, applied) {
        history::append(&mut tx, &[line]).await?;
    }
    wrote::sqlite::keep(&mut tx, cx, &sums, Way::Undone).await?;
    migrate_failpoint::hit!("schema.undo")
        .map_err(|error| Failed::at("the undo can't be committed")(error.into()))?;
    tx.commit()
        .await
        .map_err(|error| Failed::at("the undo can't be committed")(error.into()))?;
    migrate_failpoint::hit!("schema.undone")
        .map_err(|error| Failed::at("the undo is committed, but")(error.into()))?;
    Ok(gone)
}

async fn run_down(tx: &mut SqliteConnection, down: &SqlScript) -> Result<(), Failed> {
    for (number, (statement, effect)) in down.effects().enumerate() {
        execute(tx, statement, &effect)
            .await
            .map_err(|error| failed_at(down, number, statement, error))?;
    }
    Ok(())
}

/// Gives every object that the script touched its old text again.
async fn restore_texts(tx: &mut SqliteConnection, applied: &Applied) -> Result<(), Failed> {
    for (kind, name) in removed(applied, &["trigger", "view", "index"]) {
        run(tx, &format!("drop {kind} {}", ident(name))).await?;
    }
    for changed in &applied.changed {
        restore_table(tx, applied, changed).await?;
    }
    for (_, name) in created_tables(applied) {
        run(tx, &format!("drop table {}", ident(name))).await?;
    }
    for row in applied.texts.iter().filter(|row| row.kind != "table") {
        run(tx, &row.sql).await?;
    }
    restore_pragmas(tx, applied).await
}

async fn run(tx: &mut SqliteConnection, sql: &str) -> Result<(), Failed> {
    sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .execute(tx)
        .await
        .map_err(|error| Failed::at(&format!("the undo failed at {sql:?}"))(error.into()))?;
    Ok(())
}

/// What the script left there, of these kinds and in their order.
fn removed<'a>(applied: &'a Applied, kinds: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    kinds
        .iter()
        .flat_map(|kind| {
            applied
                .changed
                .iter()
                .filter(|changed| changed.after.is_some())
                .filter_map(|changed| named(changed, kind))
        })
        .collect()
}

fn named<'a>(changed: &'a Changed, kind: &'a str) -> Option<(&'a str, &'a str)> {
    let (found, name) = changed.name.split_once(' ')?;
    (found == kind).then_some((kind, name))
}

fn created_tables(applied: &Applied) -> impl Iterator<Item = (&str, &str)> {
    applied
        .changed
        .iter()
        .filter(|changed| changed.before.is_none() && changed.after.is_some())
        .filter_map(|changed| named(changed, "table"))
}

/// Gives a table that was there its old text again.
async fn restore_table(
    tx: &mut SqliteConnection,
    applied: &Applied,
    changed: &Changed,
) -> Result<(), Failed> {
    let Some((_, name)) = named(changed, "table") else {
        return Ok(());
    };
    let Some(row) = applied
        .texts
        .iter()
        .find(|row| row.kind == "table" && row.name == name)
    else {
        return Ok(());
    };
    if changed.after.is_none() {
        return Err(Failed {
            kind: DbErrorKind::Other,
            error: StepError::failed(format!(
                "the script dropped table {name}, whose rows are in the rollback point only"
            ))
            .hint("restore the rollback point"),
        });
    }
    rebuild(tx, name, NewShape::Text(&row.sql))
        .await
        .map_err(Failed::at(&format!("table {name} can't be brought back")))
}

async fn restore_pragmas(tx: &mut SqliteConnection, applied: &Applied) -> Result<(), Failed> {
    for pragma in ["user_version", "application_id"] {
        let before = applied
            .changed(pragma)
            .and_then(|changed| changed.before.as_deref())
            .and_then(|value| value.parse::<i64>().ok());
        if let Some(value) = before {
            run(tx, &format!("pragma {pragma} = {value}")).await?;
        }
    }
    Ok(())
}
