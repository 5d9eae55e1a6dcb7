//! What SQLite can't do, and what goes wrong when a table is rebuilt.

use super::super::deed::{Action, Column, Deed, DefaultKind, Generated, key};
use super::super::rule::Level;
use super::super::scene::{Found, Read, Scene, Weight};
use crate::quote::TableName;

pub(super) fn look(scene: &Scene<'_>, found: &mut Vec<Found>) {
    match &scene.statement().deed {
        Deed::AlterTable { table, actions } => {
            for action in actions {
                limits(scene, table, action, found);
                if let Action::RenameTo(_) = action {
                    found.extend(renamed_first(scene, table));
                }
            }
        }
        Deed::Pragma { name, .. }
            if name == "foreign_keys" && scene.statement().own_transaction =>
        {
            found.push(
                Found::new(
                    "sqlite-foreign-keys-pragma",
                    Level::Error,
                    "PRAGMA foreign_keys has no effect inside a transaction, and this script has begun one",
                )
                .instead("PRAGMA foreign_keys = OFF; -- before BEGIN\nBEGIN;"),
            );
        }
        Deed::DropTable(tables) => {
            for table in tables {
                found.extend(loses_attached(scene, table));
                found.extend(cascades(scene, table));
            }
        }
        Deed::Insert {
            table,
            star_from: Some(from),
            names_columns: false,
            ..
        } if scene.is_fresh(table) => found.push(
            Found::new(
                "sqlite-copy-by-position",
                Level::Warning,
                format!("the columns of {from} go into those of {table} by their order, whatever their names"),
            )
            .instead(format!(
                "INSERT INTO {table} (column, …) SELECT column, … FROM {from};"
            )),
        ),
        _ => {}
    }
}

const REBUILD: &str = "PRAGMA foreign_keys = OFF;\n\
     CREATE TABLE new_t (…); -- as it shall be\n\
     INSERT INTO new_t (column, …) SELECT column, … FROM t;\n\
     DROP TABLE t;\n\
     ALTER TABLE new_t RENAME TO t; -- then make its indexes and triggers again";

fn limits(scene: &Scene<'_>, table: &TableName, action: &Action, found: &mut Vec<Found>) {
    let never = |what: &str| {
        Found::new(
            "sqlite-alter-limit",
            Level::Error,
            format!("SQLite can't {what}; the table has to be built again"),
        )
        .instead(REBUILD)
    };
    match action {
        Action::AddColumn { column, .. } => {
            if column.key.is_some() {
                found.push(never("add a PRIMARY KEY or UNIQUE column"));
            } else if let Some(what) = needs_empty(column) {
                found.extend(only_if_empty(scene, table, what));
            }
        }
        Action::AlterType { .. } => found.push(never("change a column's type")),
        Action::SetNotNull(_) | Action::DropNotNull(_) => {
            found.push(never("add or drop a column's NOT NULL"));
        }
        Action::Default => found.push(never("change a column's default")),
        Action::AddConstraint(_) | Action::DropConstraint => {
            found.push(never("add or drop a constraint"));
        }
        Action::DropColumn(column) if scene.schema.is_in_key(table, column) => {
            found.push(never("drop a PRIMARY KEY or UNIQUE column"));
        }
        _ => {}
    }
}

/// What SQLite adds only to a table without rows.
fn needs_empty(column: &Column) -> Option<&'static str> {
    let null = matches!(column.default, DefaultKind::None | DefaultKind::Null);
    if column.generated == Some(Generated::Stored) {
        Some("a STORED column")
    } else if column.generated.is_some() {
        None
    } else if column.not_null && null {
        Some("a NOT NULL column without a default")
    } else if matches!(
        column.default,
        DefaultKind::Stable | DefaultKind::Volatile(_)
    ) {
        Some("a column whose default is no constant")
    } else if column.references.is_some() && !null {
        Some("a REFERENCES column with a default")
    } else {
        None
    }
}

fn only_if_empty(scene: &Scene<'_>, table: &TableName, what: &str) -> Option<Found> {
    let level = match scene.weight(table) {
        // What the same batch made may have rows already.
        Weight::Fresh => return None,
        Weight::Small(size) if size.rows == Some(0) => Level::Note,
        Weight::Small(_) | Weight::Large(_) => Level::Error,
        Weight::Unknown => Level::Warning,
    };
    Some(
        Found::new(
            "sqlite-alter-limit",
            level,
            format!("SQLite adds {what} only while {table} has no rows"),
        )
        .instead(REBUILD),
    )
}

/// `ALTER TABLE t RENAME TO old` before a new `t` is made: references of other tables follow
/// the old one, which is dropped.
fn renamed_first(scene: &Scene<'_>, table: &TableName) -> Option<Found> {
    let made_again = scene.later().any(|later| {
        matches!(&later.deed, Deed::CreateTable { table: made, .. } if key(made) == key(table))
    });
    let legacy = scene.earlier().any(|earlier| {
        matches!(&earlier.deed, Deed::Pragma { name, value }
            if name == "legacy_alter_table" && matches!(value.as_str(), "on" | "1" | "true" | "yes"))
    });
    if !made_again || legacy || scene.is_fresh(table) {
        return None;
    }
    let referring = scene.schema.referring_to(table);
    let (level, who) = if referring.is_empty() {
        (Level::Warning, "other tables that refer to it".to_owned())
    } else {
        (Level::Error, referring.join(", "))
    };
    Some(
        Found::new(
            "sqlite-rebuild-order",
            level,
            format!("the references of {who} follow {table} to its new name, and break when that is dropped"),
        )
        .instead(REBUILD),
    )
}

/// With foreign keys on, SQLite deletes the rows of a table before it drops it, and with them
/// those that refer to them.
fn cascades(scene: &Scene<'_>, table: &TableName) -> Option<Found> {
    let off = |read: &Read<'_>| {
        matches!(&read.deed, Deed::Pragma { name, value }
            if name == "foreign_keys" && matches!(value.as_str(), "off" | "0" | "false" | "no"))
    };
    let enforced = scene.layout.enforces_foreign_keys() && !scene.all.iter().any(off);
    if !enforced || scene.rebuild(table).is_some() || scene.holds_nothing(table) {
        return None;
    }
    let going = scene.schema.going_with(table);
    (!going.is_empty()).then(|| {
        Found::new(
            "sqlite-drop-cascades",
            Level::Error,
            format!(
                "dropping {table} also deletes the rows of {} that refer to it (ON DELETE CASCADE)",
                going.join(", ")
            ),
        )
        .instead(format!("PRAGMA foreign_keys = OFF;\nDROP TABLE {table};"))
    })
}

/// A table that is rebuilt loses what was on it.
fn loses_attached(scene: &Scene<'_>, table: &TableName) -> Option<Found> {
    if scene.is_fresh(table) {
        return None;
    }
    let since = scene.rebuild(table)?.copied.min(scene.start);
    let lost: Vec<String> = scene
        .schema
        .attached(table)
        .into_iter()
        .filter(|(_, name)| {
            let rest = &scene.batch[since..];
            !rest.iter().any(|read| makes_or_drops(read, name))
        })
        .map(|(what, name)| format!("{what} {name}"))
        .collect();
    (!lost.is_empty()).then(|| {
        Found::new(
            "sqlite-rebuild-loses",
            Level::Warning,
            format!(
                "{table} is built again without what was on it: {}",
                lost.join(", ")
            ),
        )
    })
}

fn makes_or_drops(read: &Read<'_>, wanted: &str) -> bool {
    match &read.deed {
        Deed::CreateIndex {
            name: Some(name), ..
        }
        | Deed::CreateTrigger { name, .. } => name.eq_ignore_ascii_case(wanted),
        Deed::DropIndex { indexes, .. } => indexes
            .iter()
            .any(|index| index.table().eq_ignore_ascii_case(wanted)),
        _ => false,
    }
}
