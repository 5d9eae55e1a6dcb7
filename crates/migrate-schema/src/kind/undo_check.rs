//! What an undo of a script would meet: objects that others changed, values in columns that go.

use migrate_core::{Finding, Loss, UndoCheck};

use super::spec::Spec;
use crate::catalog::{Catalog, table_columns};
use crate::db::{Backend, Database, DbError};
use crate::migrator::Applied;
use crate::quote::{TableName, ident};
use crate::script::Effect;

pub(super) async fn look(
    db: &Database,
    spec: &Spec,
    applied: &Applied,
) -> Result<UndoCheck, DbError> {
    let mut found = UndoCheck::default();
    let now = Catalog::read(db).await?;
    let foreign = applied.changed_since(&now);
    if !foreign.is_empty() {
        found.blocked.push(
            Finding::error(
                "schema.changed-since",
                format!(
                    "changed by others since the upgrade: {}",
                    foreign.join(", ")
                ),
            )
            .hint("take those changes back first, or roll back with --strategy restore"),
        );
    }
    for (table, column) in added(spec, applied) {
        let rows = filled(db, &table, &column).await?;
        if rows > 0 {
            let some = if rows == 1 {
                "1 row".to_owned()
            } else {
                format!("{rows} rows")
            };
            found.losses.push(Loss::new(
                format!("table {table}"),
                Some(rows),
                format!("column {column} goes, with values other than its default in {some}"),
            ));
        }
    }
    Ok(found)
}

/// Columns that the script added to tables that were there.
fn added(spec: &Spec, applied: &Applied) -> Vec<(TableName, String)> {
    if spec.script.backend() == Backend::Postgres {
        return applied.added_columns();
    }
    let made: Vec<TableName> = spec
        .script
        .effects()
        .filter_map(|(_, effect)| match effect {
            Effect::CreateTable(table) => table,
            _ => None,
        })
        .collect();
    spec.script
        .effects()
        .filter_map(|(_, effect)| match effect {
            Effect::AddColumn { table, column, .. } if !made.contains(&table) => {
                Some((table, column))
            }
            _ => None,
        })
        .collect()
}

/// Rows that hold something else than a constant default. A default that is computed says
/// nothing about who wrote it.
async fn filled(db: &Database, table: &TableName, column: &str) -> Result<u64, DbError> {
    let columns = table_columns(db, table).await?;
    let Some(found) = columns.iter().find(|c| c.name.eq_ignore_ascii_case(column)) else {
        return Ok(0);
    };
    let default = found.default.as_deref().unwrap_or("NULL");
    let computed = default.contains('(') || default.to_uppercase().starts_with("CURRENT_");
    if computed {
        return Ok(0);
    }
    let table = db.resolve(table).await?.sql();
    let name = ident(&found.name);
    // As text on PostgreSQL: a type of the user's may have no comparison of the system's.
    let differs = match db.backend() {
        Backend::Postgres => format!("{name}::text IS DISTINCT FROM ({default})::text"),
        Backend::Sqlite => format!("{name} IS DISTINCT FROM {default}"),
    };
    let sql = format!("SELECT count(*) FROM {table} WHERE {differs}");
    Ok(db.query_ours(&sql).await?.as_u64().unwrap_or(0))
}
