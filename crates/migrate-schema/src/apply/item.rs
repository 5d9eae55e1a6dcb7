//! A migration to run, ready.

use migrate_core::Finding;

use super::options::{Grouping, Options};
use super::script::{Company, ForeignKeys, Script};
use crate::history::{Action, Direction, Entry};
use crate::layout::{Migration, MigrationSet, Section, Transactions};

/// A migration to run in one direction.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) label: String,
    pub(crate) direction: Direction,
    pub(crate) script: Script,
    pub(crate) verify: Option<Script>,
    /// The line for the log.
    pub(crate) entry: Entry,
}

impl Item {
    /// What brings a migration.
    pub(crate) fn up(
        set: &MigrationSet,
        migration: &Migration,
        options: &Options,
    ) -> Result<Self, Vec<Finding>> {
        let filled = |section: &Section| options.placeholders.fill(set.layout, migration, section);
        let script = Script::prepare(
            &filled(&migration.up)?,
            migration.transactions,
            set.backend,
            set.layout,
        )?;
        let verify = match &migration.verify {
            None => None,
            Some(section) => Some(Script::prepare(
                &filled(section)?,
                Transactions::One,
                set.backend,
                set.layout,
            )?),
        };
        Ok(Self {
            label: migration.label(),
            direction: Direction::Up,
            script,
            verify,
            entry: Self::entry(set, migration, Action::Up, options),
        })
    }

    /// What takes a migration back, by the text given.
    pub(crate) fn down(
        set: &MigrationSet,
        migration: &Migration,
        down: &Section,
        options: &Options,
    ) -> Result<Self, Vec<Finding>> {
        let section = options.placeholders.fill(set.layout, migration, down)?;
        Ok(Self {
            label: format!("down {}", migration.label()),
            direction: Direction::Down,
            script: Script::prepare(
                &section,
                migration.down_transactions,
                set.backend,
                set.layout,
            )?,
            verify: None,
            entry: Self::entry(set, migration, Action::Down, options),
        })
    }

    fn entry(
        set: &MigrationSet,
        migration: &Migration,
        action: Action,
        options: &Options,
    ) -> Entry {
        Entry {
            run: options.run.clone(),
            ..Entry::of(action, migration, set.layout, &options.by)
        }
    }
}

/// What runs in one go.
#[derive(Debug, Clone)]
pub(crate) enum Batch {
    /// All in one transaction, with their lines in the log.
    Together(Vec<Item>),
    /// One, unit by unit, with a journal.
    ByUnits(Box<Item>),
}

/// Puts items into batches, in order.
pub(crate) fn batches(items: Vec<Item>, grouping: Grouping) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut open = false;
    for item in items {
        if !item.script.whole {
            batches.push(Batch::ByUnits(Box::new(item)));
            open = false;
            continue;
        }
        let ends = item.script.company != Company::Any || grouping == Grouping::Each;
        match batches.last_mut() {
            Some(Batch::Together(last)) if open && fits(last, &item) => last.push(item),
            _ => batches.push(Batch::Together(vec![item])),
        }
        open = !ends;
    }
    batches
}

/// Foreign keys are switched outside of transactions only: all of one must ask for the same.
fn fits(batch: &[Item], item: &Item) -> bool {
    if item.script.company == Company::Nothing {
        return false;
    }
    match (foreign_keys(batch), item.script.foreign_keys) {
        (ForeignKeys::Either, _) | (_, ForeignKeys::Either) => true,
        (mine, theirs) => mine == theirs,
    }
}

/// What a batch asks of foreign keys.
pub(crate) fn foreign_keys(batch: &[Item]) -> ForeignKeys {
    batch
        .iter()
        .map(|item| item.script.foreign_keys)
        .find(|keys| *keys != ForeignKeys::Either)
        .unwrap_or(ForeignKeys::Either)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Backend;
    use crate::layout::{Choice, Layout, SourceFile};

    fn shape(backend: Backend, grouping: Grouping, texts: &[&str]) -> Vec<String> {
        let files: Vec<SourceFile> = texts
            .iter()
            .enumerate()
            .map(|(number, text)| SourceFile::new(&format!("{number}_x.sql"), text))
            .collect();
        let set = MigrationSet::of_files(&files, Choice::Named(Layout::Sqlx), backend).unwrap();
        let items = set
            .migrations
            .iter()
            .map(|one| Item::up(&set, one, &Options::default()).unwrap())
            .collect();
        batches(items, grouping)
            .iter()
            .map(|batch| match batch {
                Batch::Together(items) => items.len().to_string(),
                Batch::ByUnits(item) => format!("units {}", item.script.units().len()),
            })
            .collect()
    }

    #[test]
    fn as_many_as_can_be_are_in_one_transaction() {
        let postgres = Backend::Postgres;
        let alone = "-- no-transaction\nselect 1; select 2";
        let enumeration = "alter type m add value 'x'";
        let together = Grouping::Together;
        assert_eq!(shape(postgres, together, &["a", "b", "c"]), ["3"]);
        assert_eq!(shape(postgres, Grouping::Each, &["a", "b"]), ["1", "1"]);
        assert_eq!(
            shape(postgres, together, &["a", "b", alone, "c"]),
            ["2", "units 2", "1"]
        );
        assert_eq!(
            shape(postgres, together, &["a", enumeration, "b", "c"]),
            ["2", "2"]
        );
        let read_only = "set transaction read only; select 1";
        assert_eq!(
            shape(postgres, together, &["a", read_only, "b", "c"]),
            ["1", "1", "2"]
        );
    }

    #[test]
    fn sqlite_switches_its_foreign_keys_between_transactions() {
        let rebuild = "pragma foreign_keys=off; drop table t";
        let rows = "delete from t";
        let sqlite = Backend::Sqlite;
        let both = Grouping::Together;
        assert_eq!(
            shape(
                sqlite,
                both,
                &["create table t (a)", rebuild, "create table u (a)"]
            ),
            ["3"]
        );
        assert_eq!(
            shape(sqlite, both, &["create table t (a)", rows, rebuild, rows]),
            ["2", "1", "1"]
        );
    }
}
