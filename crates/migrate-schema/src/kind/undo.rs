//! Whether a script can be taken back without a script for that.

use std::collections::HashSet;

use crate::db::Backend;
use crate::quote::TableName;
use crate::script::{Effect, SqlScript};

/// Whether SQLite can take a script back by its catalog alone: nothing in it destroys or
/// changes rows that were there. The reason if not.
pub(super) fn by_catalog(script: &SqlScript) -> Result<(), String> {
    if script.backend() == Backend::Postgres {
        return Err("there is no down script".to_owned());
    }
    let mut made: HashSet<String> = HashSet::new();
    let mut added: HashSet<(String, String)> = HashSet::new();
    for (statement, effect) in script.effects() {
        let small = |table: &TableName| table.table().to_lowercase();
        let keeps_rows = match effect {
            Effect::CreateTable(table) => {
                made.extend(table.as_ref().map(small));
                true
            }
            Effect::AddColumn { table, column, .. } => {
                added.insert((small(&table), column.to_lowercase()));
                true
            }
            Effect::Update { table, columns } => {
                made.contains(&small(&table))
                    || columns
                        .iter()
                        .all(|column| added.contains(&(small(&table), column.to_lowercase())))
            }
            Effect::Insert(table) => made.contains(&small(&table)),
            Effect::Pragma { .. }
            | Effect::Savepoint
            | Effect::CreateTableIfMissing
            | Effect::CreateOther
            | Effect::DropOther
            | Effect::Harmless => true,
            _ => false,
        };
        if !keeps_rows {
            let place = script.place(statement.start);
            return Err(format!(
                "{place} changes or drops rows that are there; only the rollback point has them"
            ));
        }
    }
    Ok(())
}
