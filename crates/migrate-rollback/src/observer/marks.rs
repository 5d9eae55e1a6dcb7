//! What others did to rows, counted by the marks that were kept when a run ended.

use std::time::Duration;

use migrate_core::{Counted, Fingerprint, Loss, RowChanges, RunId, ScopeObject, StepError};
use migrate_schema::catalog;
use migrate_schema::db::{Database, DbError, DbErrorKind};
use migrate_schema::marks::{self, Changes, MOST_ROWS, Marks};
use migrate_schema::quote::TableName;

use super::losses::{count as rows_in, rows_text};

/// How often marks are tried again, a second apart, where the database went away: without them
/// nothing that others write could be carried back.
const TRIES: u32 = 5;

/// Marks the rows of the tables in a scope: all of a table whose rows a step can carry back,
/// and of others where there are not too many.
pub(super) async fn keep(
    database: &Database,
    run: &RunId,
    scope: &[ScopeObject],
    after: &Fingerprint,
) -> Result<(), StepError> {
    let mut tries = 1;
    loop {
        match keep_once(database, run, scope, after).await {
            Err(error) if error.kind == DbErrorKind::Unreachable && tries < TRIES => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                tries += 1;
            }
            kept => {
                return kept.map_err(|error| error.into_step_error("can't keep marks of the rows"));
            }
        }
    }
}

async fn keep_once(
    database: &Database,
    run: &RunId,
    scope: &[ScopeObject],
    after: &Fingerprint,
) -> Result<(), DbError> {
    let mut carried = Vec::new();
    for object in scope {
        if let ScopeObject::Rows(name) = object
            && let Ok(name) = name.parse()
        {
            carried.push(database.resolve(&name).await?);
        }
    }
    let small = small(database, after).await?;
    let mut wanted = catalog::user_tables(database).await?;
    wanted.retain(|table| carried.contains(table) || small.contains(table));
    marks::keep(database, run.as_str(), &wanted).await
}

/// The tables of a fingerprint that have so few rows that all can be marked.
async fn small(database: &Database, after: &Fingerprint) -> Result<Vec<TableName>, DbError> {
    let mut small = Vec::new();
    for (name, sum) in &after.0 {
        if let Some(name) = name.strip_prefix("rows ")
            && rows_in(Some(sum)).is_some_and(|rows| rows <= MOST_ROWS)
            && let Ok(name) = name.parse()
        {
            small.push(database.resolve(&name).await?);
        }
    }
    Ok(small)
}

/// Puts exact counts where there are marks, and what else is known where there are none.
pub(super) async fn count(
    database: &Database,
    run: &RunId,
    losses: &mut [Loss],
) -> Result<(), StepError> {
    let failed = |error: DbError| error.into_step_error("can't count what others changed");
    let marks = marks::of_run(database, run.as_str())
        .await
        .map_err(failed)?;
    let Some(marks) = marks else {
        return Ok(());
    };
    for loss in losses {
        let table = loss.object.strip_prefix("table ");
        let (Some(table), Some(changes)) = (table.map(str::parse::<TableName>), loss.changes)
        else {
            continue;
        };
        let Ok(table) = table else { continue };
        let table = database.resolve(&table).await.map_err(failed)?;
        let counted = of_table(database, &marks, &table, changes).await;
        if let Some((changes, detail)) = counted.map_err(failed)? {
            loss.rows = Some(changes.inserted + changes.updated + changes.deleted);
            loss.rows = loss.rows.max(changes.written);
            loss.changes = Some(changes);
            loss.detail = detail;
        }
    }
    Ok(())
}

async fn of_table(
    database: &Database,
    marks: &Marks,
    table: &TableName,
    at_least: RowChanges,
) -> Result<Option<(RowChanges, String)>, DbError> {
    if let Some(found) = marks::changes(database, marks, table).await? {
        return Ok(Some(exactly(found)));
    }
    let written = marks::written_since(database, marks, table).await?;
    Ok(written.map(|written| {
        let changes = RowChanges {
            written: Some(written),
            ..at_least
        };
        let detail = format!(
            "{} inserted or updated since the upgrade, at least {} inserted and {} deleted \
             (the table is too large for exact counts)",
            rows_text(written),
            changes.inserted,
            changes.deleted
        );
        (changes, detail)
    }))
}

fn exactly(found: Changes) -> (RowChanges, String) {
    let parts: Vec<String> = [
        (found.inserted, "inserted"),
        (found.updated, "updated"),
        (found.deleted, "deleted"),
    ]
    .into_iter()
    .filter(|(rows, _)| *rows > 0)
    .map(|(rows, what)| format!("{} {what}", rows_text(rows)))
    .collect();
    let changes = RowChanges {
        inserted: found.inserted,
        updated: found.updated,
        deleted: found.deleted,
        counted: Counted::Exact,
        written: None,
    };
    let detail = if parts.is_empty() {
        "its columns changed since the upgrade, and no value in those that it had".to_owned()
    } else {
        format!("{} since the upgrade", parts.join(", "))
    };
    (changes, detail)
}
