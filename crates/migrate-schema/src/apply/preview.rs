//! The exact SQL that would run. Read-only.

use super::engine::{Down, SchemaEngine};
use super::failure::ApplyError;
use super::item::{Batch, Item, batches};
use super::options::Target;
use crate::layout::MigrationSet;

/// What would run in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTransaction {
    /// Whether it is one transaction; else its statements run by themselves.
    pub whole: bool,
    /// The migrations in it: label, file, statements.
    pub migrations: Vec<(String, String, Vec<String>)>,
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
        Ok(self.planned(self.items(set, &found)?))
    }

    /// What [`SchemaEngine::down`] would run.
    pub async fn preview_down(
        &self,
        set: &MigrationSet,
        how: &Down,
    ) -> Result<Vec<PlannedTransaction>, ApplyError> {
        let state = self.state().await?;
        Ok(self.planned(self.downs(set, &state, how).await?))
    }

    fn planned(&self, items: Vec<Item>) -> Vec<PlannedTransaction> {
        batches(items, self.options.grouping)
            .into_iter()
            .map(|batch| match batch {
                Batch::Together(items) => PlannedTransaction {
                    whole: true,
                    migrations: items.iter().map(planned).collect(),
                },
                Batch::ByUnits(item) => PlannedTransaction {
                    whole: false,
                    migrations: vec![planned(&item)],
                },
            })
            .collect()
    }
}

fn planned(item: &Item) -> (String, String, Vec<String>) {
    (
        item.label.clone(),
        item.script.section().file().to_owned(),
        item.script.statements().map(str::to_owned).collect(),
    )
}
