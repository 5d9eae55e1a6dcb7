//! What stands in others' way on PostgreSQL.

use super::super::deed::{
    Action, Column, ConstraintKind, Deed, DefaultKind, Generated, Key, ReindexOf, Rows,
};
use super::super::lock::{LockMode, TableLock, Work};
use super::super::rule::Level;
use super::super::scene::{Found, Scene};
use super::loss::{plain, table_named};
use crate::db::Backend;
use crate::quote::TableName;
use crate::script::token::significant;

pub(super) fn look(scene: &Scene<'_>, found: &mut Vec<Found>) {
    for lock in scene.locks {
        found.extend(slow_lock(scene, lock));
    }
    found.extend(lock_held(scene));
    found.extend(short_but_avoidable(scene));
}

/// A lock that others notice, held for work that takes as long as the table is big.
fn slow_lock(scene: &Scene<'_>, lock: &TableLock) -> Option<Found> {
    let blocked = lock.mode.blocks()?;
    let level = scene.weight(&lock.table).level()?;
    let (rule, what) = match lock.work {
        Work::Rewrites => ("table-rewrite", "writes the whole table again"),
        Work::Scans => ("scan-under-lock", "reads the whole table"),
        Work::BuildsIndex => ("index-under-lock", "builds an index"),
        Work::Instant | Work::WritesRows => return None,
    };
    let message = format!(
        "{} on {} blocks {blocked} while it {what}{}",
        lock.mode,
        lock.table,
        scene.weight(&lock.table).words()
    );
    let found = Found::new(rule, level, message);
    Some(match alternative(scene) {
        Some(sql) => found.instead(sql),
        None => found,
    })
}

/// An earlier statement's lock that is held while this one takes long.
fn lock_held(scene: &Scene<'_>) -> Option<Found> {
    let transaction = scene.statement().transaction?;
    let slow = slow_table(scene)?;
    let level = scene.weight(&slow).level()?;
    let takes_all_itself = |table: &TableName| {
        scene
            .locks
            .iter()
            .any(|lock| lock.table == *table && lock.mode == LockMode::AccessExclusive)
    };
    let held = scene
        .held
        .iter()
        .filter(|held| held.transaction == transaction && !takes_all_itself(&held.table))
        .max_by_key(|held| held.mode)?;
    let blocked = held.mode.blocks()?;
    let message = format!(
        "{} on {} has been held since {} and blocks {blocked} while this statement works through {slow}{}",
        held.mode,
        held.table,
        held.since,
        scene.weight(&slow).words()
    );
    Some(
        Found::new("lock-held", level, message)
            .instead("-- put the two statements into migrations of their own, and run them with `schema apply --each`"),
    )
}

/// The table that was there before and that a statement works through.
fn slow_table(scene: &Scene<'_>) -> Option<TableName> {
    let old = |table: &&TableName| !scene.is_fresh(table);
    let by_lock = scene
        .locks
        .iter()
        .filter(|lock| lock.work >= Work::Scans)
        .map(|lock| &lock.table)
        .find(old);
    let by_rows = match &scene.statement().deed {
        Deed::Update {
            table,
            rows: Rows::All,
        }
        | Deed::Delete {
            table,
            rows: Rows::All,
        }
        | Deed::Insert {
            from: Some(table), ..
        } => Some(table).filter(old),
        _ => None,
    };
    by_lock.or(by_rows).cloned()
}

/// Strong locks of a moment for which there is a way without.
fn short_but_avoidable(scene: &Scene<'_>) -> Option<Found> {
    match &scene.statement().deed {
        Deed::DropIndex {
            indexes,
            concurrently: false,
        } => {
            let index = indexes.first()?;
            let table = scene.schema.table_of_index(index);
            if table.as_ref().is_some_and(|table| scene.is_fresh(table)) {
                return None;
            }
            let on = table.map_or_else(String::new, |table| format!(" on {table}"));
            Some(
                Found::new(
                    "drop-index-lock",
                    Level::Note,
                    format!("dropping {index} takes ACCESS EXCLUSIVE{on}"),
                )
                .instead(format!("DROP INDEX CONCURRENTLY {index};")),
            )
        }
        Deed::AlterTable { table, actions } => actions.iter().find_map(|action| match action {
            Action::Detach {
                partition,
                concurrently: false,
            } if !scene.is_fresh(table) => Some(
                Found::new(
                    "detach-lock",
                    Level::Note,
                    format!("detaching {partition} takes ACCESS EXCLUSIVE on {table}"),
                )
                .instead(format!(
                    "ALTER TABLE {table} DETACH PARTITION {partition} CONCURRENTLY;"
                )),
            ),
            _ => None,
        }),
        _ => None,
    }
}

/// SQL that does the same with weaker locks.
fn alternative(scene: &Scene<'_>) -> Option<String> {
    let text = scene.statement().text;
    match &scene.statement().deed {
        Deed::CreateIndex { .. } => concurrent(text, "index"),
        Deed::Reindex { what, .. } => concurrent(
            text,
            match what {
                ReindexOf::Table(_) => "table",
                _ => "index",
            },
        ),
        Deed::Refresh { view, .. } => Some(format!(
            "REFRESH MATERIALIZED VIEW CONCURRENTLY {view}; -- it needs a unique index"
        )),
        Deed::Cluster(_) | Deed::Vacuum { .. } => {
            Some("-- pg_repack does the same with a lock of a moment".to_owned())
        }
        Deed::AlterTable {
            table: altered,
            actions,
        } => actions.iter().find_map(|action| instead(altered, action)),
        _ => None,
    }
}

/// A statement with CONCURRENTLY after a word of it.
fn concurrent(text: &str, word: &str) -> Option<String> {
    let tokens = significant(Backend::Postgres, text);
    // `REINDEX INDEX i` has the word in its verb too, but not as a token of its own.
    let at = tokens.iter().find(|token| token.is_word(text, word))?.end;
    Some(format!("{} CONCURRENTLY{};", &text[..at], &text[at..]))
}

fn instead(table: &TableName, action: &Action) -> Option<String> {
    match action {
        Action::SetNotNull(column) => {
            let check = plain(&format!("{}_{column}_not_null", table.table()));
            let column = plain(column);
            Some(format!(
                "ALTER TABLE {table} ADD CONSTRAINT {check} CHECK ({column} IS NOT NULL) NOT VALID;\n\
                 -- in a later migration, in a transaction of its own:\n\
                 ALTER TABLE {table} VALIDATE CONSTRAINT {check};\n\
                 ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL;\n\
                 ALTER TABLE {table} DROP CONSTRAINT {check};"
            ))
        }
        Action::AddConstraint(constraint) => {
            let suffix = match constraint.kind {
                ConstraintKind::ForeignKey(_) => "fkey",
                ConstraintKind::PrimaryKey { .. } => "pkey",
                ConstraintKind::Unique { .. } => "key",
                _ => "check",
            };
            let name = constraint
                .name
                .clone()
                .unwrap_or_else(|| format!("{}_{suffix}", table.table()));
            let name = plain(&name);
            match &constraint.kind {
                ConstraintKind::Check | ConstraintKind::ForeignKey(_) => Some(format!(
                    "ALTER TABLE {table} ADD CONSTRAINT {name} {} NOT VALID;\n\
                     -- in a later migration, in a transaction of its own:\n\
                     ALTER TABLE {table} VALIDATE CONSTRAINT {name};",
                    constraint.text
                )),
                ConstraintKind::Unique { .. } | ConstraintKind::PrimaryKey { .. } => {
                    let columns = constraint.text.get(constraint.text.find('(')?..)?;
                    let what = if suffix == "pkey" {
                        "PRIMARY KEY"
                    } else {
                        "UNIQUE"
                    };
                    Some(format!(
                        "CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} {columns}; -- outside a transaction\n\
                         ALTER TABLE {table} ADD CONSTRAINT {name} {what} USING INDEX {name};"
                    ))
                }
                _ => None,
            }
        }
        Action::AddColumn { column, .. } => added(table, column),
        Action::AlterType { column, to, .. } => {
            let new = plain(&format!("{column}_new"));
            let column = plain(column);
            Some(format!(
                "ALTER TABLE {table} ADD COLUMN {new} {to};\n\
                 -- write both columns by a trigger, fill {new} in batches, then in one short transaction:\n\
                 ALTER TABLE {table} RENAME COLUMN {column} TO {column}_old;\n\
                 ALTER TABLE {table} RENAME COLUMN {new} TO {column};"
            ))
        }
        Action::Attach(partition) => Some(format!(
            "ALTER TABLE {} ADD CONSTRAINT within_bounds CHECK (…) NOT VALID; -- the partition's bounds\n\
             ALTER TABLE {} VALIDATE CONSTRAINT within_bounds; -- ATTACH does not read it again then",
            table_named(partition, partition.table()),
            table_named(partition, partition.table())
        )),
        _ => None,
    }
}

fn added(table: &TableName, column: &Column) -> Option<String> {
    let name = plain(&column.name);
    let data_type = &column.data_type;
    if let DefaultKind::Volatile(default) = &column.default {
        return Some(format!(
            "ALTER TABLE {table} ADD COLUMN {name} {data_type};\n\
             ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT {default};\n\
             -- then fill the rows that are there in batches"
        ));
    }
    if column.generated == Some(Generated::Stored) {
        return Some(format!(
            "ALTER TABLE {table} ADD COLUMN {name} {data_type}; -- filled by a trigger, and in batches for the rows that are there"
        ));
    }
    (column.key == Some(Key::Unique)).then(|| {
        let index = plain(&format!("{}_{}_key", table.table(), column.name));
        format!(
            "ALTER TABLE {table} ADD COLUMN {name} {data_type};\n\
             CREATE UNIQUE INDEX CONCURRENTLY {index} ON {table} ({name}); -- outside a transaction\n\
             ALTER TABLE {table} ADD CONSTRAINT {index} UNIQUE USING INDEX {index};"
        )
    })
}
