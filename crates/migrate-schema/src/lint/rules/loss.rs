//! What deletes rows or values.

use super::super::batch::Rebuild;
use super::super::deed::{Action, Deed, Rows, TypeChange};
use super::super::rule::Level;
use super::super::scene::{Found, Scene, Weight};
use crate::quote::{TableName, ident};

pub(super) fn look(scene: &Scene<'_>, found: &mut Vec<Found>) {
    match &scene.statement().deed {
        Deed::DropTable(tables) => {
            for table in tables {
                if !scene.holds_nothing(table) {
                    found.extend(dropped(scene, table));
                }
            }
        }
        Deed::AlterTable { table, actions } if !scene.holds_nothing(table) => {
            for action in actions {
                found.extend(altered(scene, table, action));
            }
        }
        Deed::Truncate(tables) => {
            for table in tables.iter().filter(|table| !scene.holds_nothing(table)) {
                found.push(Found::new(
                    "truncate",
                    level_of_loss(scene, table),
                    format!("all rows of {table} are deleted{}", words(scene, table)),
                ));
            }
        }
        Deed::Delete {
            table,
            rows: Rows::All,
        }
        | Deed::Update {
            table,
            rows: Rows::All,
        } if !scene.holds_nothing(table) => found.push(whole_table(scene, table)),
        Deed::DropSchema { cascade: true } => found.push(Found::new(
            "drop-schema",
            Level::Error,
            "a schema is dropped with all that is in it",
        )),
        Deed::DropDatabase => found.push(Found::new(
            "drop-schema",
            Level::Error,
            "a database is dropped with all that is in it",
        )),
        Deed::DropCascade(what) => found.push(Found::new(
            "drop-cascade",
            Level::Warning,
            format!(
                "dropping this {what} with CASCADE drops the columns that use it, with their values"
            ),
        )),
        _ => {}
    }
}

/// What is known to be empty can't lose anything.
fn level_of_loss(scene: &Scene<'_>, table: &TableName) -> Level {
    match scene.weight(table) {
        Weight::Small(size) if size.rows == Some(0) => Level::Note,
        _ => Level::Error,
    }
}

fn words(scene: &Scene<'_>, table: &TableName) -> String {
    scene.weight(table).words()
}

fn dropped(scene: &Scene<'_>, table: &TableName) -> Option<Found> {
    if let Some(rebuild) = scene.rebuild(table) {
        let message = format!(
            "{table} is dropped after an earlier migration copied its rows to {}: what is written in between is lost",
            rebuild.copy
        );
        if let Some(left_out) = left_out(scene, table, rebuild) {
            return Some(left_out);
        }
        let at_once = scene.is_at_once_with(rebuild.copied);
        return (!at_once).then(|| Found::new("drop-table", Level::Note, message));
    }
    let later = format!("{}_unused", table.table());
    let found = Found::new(
        "drop-table",
        level_of_loss(scene, table),
        format!("{table} is dropped with its rows{}", words(scene, table)),
    );
    Some(found.instead(format!(
        "ALTER TABLE {table} RENAME TO {};\n-- and, when nothing has missed it for a while:\nDROP TABLE {};",
        plain(&later),
        table_named(table, &later)
    )))
}

/// Columns that a rebuild neither has nor reads: their values are gone with the old table.
fn left_out(scene: &Scene<'_>, table: &TableName, rebuild: Rebuild<'_>) -> Option<Found> {
    let kept = scene.schema.columns_of(rebuild.copy);
    if kept.is_empty() {
        return None;
    }
    let copying = scene.batch[rebuild.copied].text.to_lowercase();
    let read = |column: &str| {
        copying
            .split(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
            .any(|word| word == column)
    };
    let gone: Vec<&str> = scene
        .schema
        .columns_of(table)
        .into_iter()
        .filter(|column| !kept.contains(column) && !read(column))
        .collect();
    (!gone.is_empty()).then(|| {
        Found::new(
            "drop-column",
            level_of_loss(scene, table),
            format!(
                "{table} is built again without {}: the values are dropped{}",
                gone.join(", "),
                words(scene, table)
            ),
        )
    })
}

fn altered(scene: &Scene<'_>, table: &TableName, action: &Action) -> Option<Found> {
    match action {
        Action::DropColumn(column) => Some(
            Found::new(
                "drop-column",
                level_of_loss(scene, table),
                format!(
                    "{table}.{column} is dropped with its values{}",
                    words(scene, table)
                ),
            )
            .instead("-- stop using the column in a release of its own, keep a copy of its values, and drop it in a later one"),
        ),
        Action::AlterType { column, to, .. } => {
            let old = scene.schema.column_type(table, column);
            (old.changed_to(to) == TypeChange::Narrows).then(|| {
                Found::new(
                    "narrowing-type",
                    level_of_loss(scene, table),
                    format!(
                        "{table}.{column} goes from {old} to {to}: values that do not fit make it fail, or lose something{}",
                        words(scene, table)
                    ),
                )
            })
        }
        _ => None,
    }
}

fn whole_table(scene: &Scene<'_>, table: &TableName) -> Found {
    let deletes = matches!(scene.statement().deed, Deed::Delete { .. });
    let level = scene.weight(table).level().unwrap_or(Level::Note);
    let message = if deletes {
        format!("DELETE without WHERE deletes all rows of {table}")
    } else {
        format!("UPDATE without WHERE writes every row of {table} in one statement")
    };
    let found = Found::new(
        "whole-table-write",
        level,
        format!("{message}{}", words(scene, table)),
    );
    if deletes {
        found
    } else {
        found.instead("-- in batches, each in a transaction of its own: add `WHERE key BETWEEN :from AND :to`, or use a data step")
    }
}

pub(super) fn plain(name: &str) -> String {
    let simple = name
        .chars()
        .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
    if simple { name.to_owned() } else { ident(name) }
}

/// A name in the same schema as a table.
pub(super) fn table_named(table: &TableName, name: &str) -> String {
    match table.schema() {
        Some(schema) => format!("{}.{}", plain(schema), plain(name)),
        None => plain(name),
    }
}
