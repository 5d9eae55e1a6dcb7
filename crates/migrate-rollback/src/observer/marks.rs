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
    let tables = catalog::user_tables(database).await?;
    let wanted: Vec<TableName> = tables
        .into_iter()
        .filter(|table| is_carried(scope, table) || is_small(after, table))
        .collect();
    marks::keep(database, run.as_str(), &wanted).await
}

fn is_carried(scope: &[ScopeObject], table: &TableName) -> bool {
    scope
        .iter()
        .any(|object| matches!(object, ScopeObject::Rows(name) if is(name, table)))
}

fn is(name: &str, table: &TableName) -> bool {
    let default = table.schema().is_none_or(|schema| schema == "public");
    name == table.to_string() || (default && name == table.table())
}

/// Whether a table is in the fingerprint, and has so few rows that all can be marked.
fn is_small(after: &Fingerprint, table: &TableName) -> bool {
    after.0.iter().any(|(name, sum)| {
        let named = name
            .strip_prefix("rows ")
            .is_some_and(|name| is(name, table));
        named && rows_in(Some(sum)).is_some_and(|rows| rows <= MOST_ROWS)
    })
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
