//! What others wrote beside a run: whatever differs from its rollback point and is not its own.

use std::collections::BTreeSet;

use migrate_core::{Fingerprint, Loss, OwnWrites};
use migrate_schema::catalog::{Triggers, written_by_triggers};
use migrate_schema::db::{Database, DbError};
use migrate_schema::quote::TableName;
use migrate_schema::wrote::{self, Note};

use crate::observer::{row_count, rows_text};

/// What a run wrote itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Own {
    /// Tables that are its own with all their rows.
    tables: Vec<TableName>,
    /// What its steps noted, in order.
    notes: Vec<Note>,
}

/// A table that others wrote to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// Its name, as fingerprints hold it.
    pub(crate) table: String,
    /// Whether its rows can stay as they are: the run did not touch it, and it is defined as it
    /// was when the point was made.
    pub(crate) keepable: bool,
    /// What was written, as far as the numbers of rows tell.
    pub(crate) loss: Loss,
}

impl Own {
    /// Reads a run's notes. None where a step that was done has left none: an earlier build ran
    /// it, and its writes can't be told from others'.
    pub(crate) async fn read(
        database: &Database,
        own: &OwnWrites,
    ) -> Result<Option<Self>, DbError> {
        let notes = wrote::of_run(database, &own.run).await?;
        let is_there = |step: &str| notes.iter().any(|note| note.step.as_deref() == Some(step));
        if !own.noted.iter().all(|step| is_there(step.as_str())) {
            return Ok(None);
        }
        let mut tables = Vec::new();
        for name in &own.tables {
            if let Ok(name) = name.parse::<TableName>() {
                tables.push(database.resolve(&name).await?);
            }
        }
        // What triggers of its targets wrote is its own too.
        let of_targets = written_by_triggers(database, Triggers::On(&tables)).await?;
        // A log that a step's own statements wrote to by triggers goes with the step.
        let in_a_note = |table: &TableName| {
            let name = table.to_string();
            notes.iter().any(|note| note.tables.contains_key(&name))
        };
        let written = written_by_triggers(database, Triggers::All).await?;
        tables.extend(written.into_iter().filter(in_a_note));
        tables.extend(of_targets);
        Ok(Some(Self { tables, notes }))
    }

    /// The tables that others wrote to between the point and `now`.
    pub(crate) fn changes(&self, point: &Fingerprint, now: &Fingerprint) -> Vec<Change> {
        let names: BTreeSet<&str> = point
            .0
            .keys()
            .chain(now.0.keys())
            .filter_map(|name| name.strip_prefix("rows "))
            .collect();
        names
            .into_iter()
            .filter(|table| !self.declares(table))
            .filter_map(|table| self.change(table, point, now))
            .collect()
    }

    fn declares(&self, table: &str) -> bool {
        let Ok(full) = table.parse::<TableName>() else {
            return false;
        };
        let default = |name: &TableName| name.schema().is_none_or(|schema| schema == "public");
        self.tables.iter().any(|own| {
            *own == full || own.table() == full.table() && default(own) && default(&full)
        })
    }

    fn change(&self, table: &str, point: &Fingerprint, now: &Fingerprint) -> Option<Change> {
        let key = format!("rows {table}");
        let is = now.0.get(&key)?;
        let mut known = point.0.get(&key);
        let (mut touched, mut gaps) = (false, Vec::new());
        for (before, after) in self.notes.iter().filter_map(|note| note.tables.get(table)) {
            touched = true;
            if known != before.as_ref() {
                gaps.push((known, before.as_ref()));
            }
            known = after.as_ref();
        }
        if known != Some(is) {
            gaps.push((known, Some(is)));
        }
        if gaps.is_empty() {
            return None;
        }
        let was_there = point.0.contains_key(&key);
        Some(Change {
            table: table.to_owned(),
            keepable: !touched && was_there && same_definition(table, point, now),
            loss: loss(table, &gaps),
        })
    }
}

/// Whether a table and its columns are defined alike in both.
fn same_definition(table: &str, point: &Fingerprint, now: &Fingerprint) -> bool {
    let (itself, columns) = (
        format!("catalog table {table}"),
        format!("catalog column {table}."),
    );
    let of = |sums: &Fingerprint| -> Vec<(String, String)> {
        let about = |(name, _): &(&String, &String)| **name == itself || name.starts_with(&columns);
        let own = |(name, sum): (&String, &String)| (name.clone(), sum.clone());
        sums.0.iter().filter(about).map(own).collect()
    };
    of(point) == of(now)
}

/// Less than the numbers of rows say can't have been written; it may have been more.
fn loss(table: &str, gaps: &[(Option<&String>, Option<&String>)]) -> Loss {
    let (mut inserted, mut deleted, mut changed) = (0, 0, 0);
    for (from, to) in gaps {
        let (from, to) = (row_count(*from).unwrap_or(0), row_count(*to).unwrap_or(0));
        inserted += to.saturating_sub(from);
        deleted += from.saturating_sub(to);
        changed += u64::from(from == to);
    }
    let parts: Vec<String> = [
        (inserted, "inserted"),
        (deleted, "deleted"),
        (changed, "changed"),
    ]
    .into_iter()
    .filter(|(rows, _)| *rows > 0)
    .map(|(rows, what)| format!("at least {} {what}", rows_text(rows)))
    .collect();
    let detail = format!("{} by others while the upgrade ran", parts.join(", "));
    let rows = inserted + deleted + changed;
    Loss::new(format!("table {table}"), Some(rows), detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(pairs: &[(&str, &str)]) -> Fingerprint {
        let own = |(name, sum): &(&str, &str)| ((*name).to_owned(), (*sum).to_owned());
        Fingerprint(pairs.iter().map(own).collect())
    }

    fn note(number: u32, table: &str, before: &str, after: &str) -> Note {
        let sums = (Some(before.to_owned()), Some(after.to_owned()));
        Note {
            number,
            step: Some("s".to_owned()),
            tables: [(table.to_owned(), sums)].into(),
        }
    }

    #[test]
    fn what_follows_from_note_to_note_is_the_runs() {
        let own = Own {
            tables: vec!["copied".parse().unwrap()],
            notes: vec![
                note(0, "public.a", "1 x", "1 y"),
                note(1, "public.b", "5 p", "5 q"),
            ],
        };
        let point = sums(&[
            ("rows public.a", "1 x"),
            ("rows public.b", "3 o"),
            ("rows public.c", "1 c"),
            ("rows public.copied", "0 0"),
            ("rows public.gone", "4 g"),
            ("catalog table public.c", "t"),
        ]);
        let now = sums(&[
            ("rows public.a", "1 y"),
            ("rows public.b", "5 q"),
            ("rows public.c", "4 d"),
            ("rows public.copied", "9 9"),
            ("rows public.new", "2 n"),
            ("catalog table public.c", "t"),
        ]);
        let found: Vec<(String, bool, Option<u64>)> = own
            .changes(&point, &now)
            .into_iter()
            .map(|change| (change.table, change.keepable, change.loss.rows))
            .collect();
        let expect = |table: &str, keepable, rows| (table.to_owned(), keepable, Some(rows));
        assert_eq!(
            found,
            [
                expect("public.b", false, 2),
                expect("public.c", true, 3),
                expect("public.new", false, 2),
            ]
        );
    }
}
