//! The exact SQL that would run. Read-only.

use super::engine::{Down, SchemaEngine};
use super::failure::ApplyError;
use super::item::{Batch, Item, batches};
use super::options::Target;
use super::script::How;
use crate::history::{Started, State, text_hash};
use crate::layout::MigrationSet;

/// What would run in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTransaction {
    /// Whether it is one transaction; else its statements run by themselves.
    pub whole: bool,
    /// The migrations in it.
    pub migrations: Vec<PlannedMigration>,
}

/// What would run of a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedMigration {
    /// Its version and name.
    pub label: String,
    /// Its file.
    pub file: String,
    /// How many of its statements an interrupted run has done: they are not run again.
    pub done: usize,
    /// The statements that would run.
    pub statements: Vec<String>,
}

impl SchemaEngine {
    /// What [`SchemaEngine::apply`] would run.
    pub async fn preview(
        &self,
        set: &MigrationSet,
        target: &Target,
    ) -> Result<Vec<PlannedTransaction>, ApplyError> {
        let state = self.state().await?;
        let found = self.pending(set, &state, target).await?;
        Ok(self.planned(self.items(set, &found)?, &state))
    }

    /// What [`SchemaEngine::down`] would run.
    pub async fn preview_down(
        &self,
        set: &MigrationSet,
        how: &Down,
    ) -> Result<Vec<PlannedTransaction>, ApplyError> {
        let state = self.state().await?;
        Ok(self.planned(self.downs(set, &state, how).await?, &state))
    }

    fn planned(&self, items: Vec<Item>, state: &State) -> Vec<PlannedTransaction> {
        batches(items, self.options.grouping)
            .into_iter()
            .map(|batch| match batch {
                Batch::Together(items) => PlannedTransaction {
                    whole: true,
                    // All of it runs, whatever an earlier run did statement by statement.
                    migrations: items.iter().map(|item| planned(item, &[])).collect(),
                },
                Batch::ByUnits(item) => PlannedTransaction {
                    whole: false,
                    migrations: vec![planned(&item, &state.started)],
                },
            })
            .collect()
    }
}

fn planned(item: &Item, started: &[Started]) -> PlannedMigration {
    let script = &item.script;
    let is_done = |unit: usize| {
        started.iter().any(|row| {
            row.done
                && row.text_hash == text_hash(&script.text_of(&script.units()[unit]))
                && row.key == item.entry.key
                && row.direction == item.direction
                && usize::try_from(row.unit) == Ok(unit)
        })
    };
    let (mut done, mut statements) = (0, Vec::new());
    for (number, unit) in script.units().iter().enumerate() {
        // What sets something for the session runs in every session anew.
        if unit.how != How::Session && is_done(number) {
            done += unit.statements.len();
        } else {
            let texts = unit.statements.clone().map(|at| script.statement(at));
            statements.extend(texts.map(str::to_owned));
        }
    }
    PlannedMigration {
        label: item.label.clone(),
        file: script.section().file().to_owned(),
        done,
        statements,
    }
}
