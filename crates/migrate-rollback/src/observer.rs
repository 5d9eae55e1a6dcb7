//! Looking at a deployment: its version, its fingerprint, what a rollback would lose.
//!
//! Read-only: nothing here writes anywhere.

mod losses;
mod marks;
mod scope;
mod version;

pub(crate) use losses::{count as row_count, rows_text};

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use migrate_config::atomic::{FileError, Root};
use migrate_core::{
    DeploymentVersion, Finding, Fingerprint, Journal, Loss, Observer, OwnWrites, Record, RunId,
    ScopeObject, StepError,
};
use migrate_schema::catalog::Triggers;
use migrate_schema::db::{Database, DbError};
use serde_json::Value;

use crate::canonical;
use crate::manager::read_expected;
use crate::others::Own;
use crate::point::RollbackPoint;

/// Looks at the deployment at a root, its database, and the journal if there is one.
pub struct DeploymentObserver {
    root: PathBuf,
    database: Database,
    journal: Option<Arc<dyn Journal>>,
}

impl std::fmt::Debug for DeploymentObserver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeploymentObserver")
            .field("root", &self.root)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl DeploymentObserver {
    /// An observer of a deployment. Without a journal the version is told by shape alone.
    pub fn new(
        root: impl Into<PathBuf>,
        database: Database,
        journal: Option<Arc<dyn Journal>>,
    ) -> Self {
        Self {
            root: root.into(),
            database,
            journal,
        }
    }

    /// The version by what config and schema look like, whatever the journal says.
    ///
    /// # Errors
    /// The config file or the database can't be read.
    pub async fn version_by_shape(&self) -> Result<DeploymentVersion, StepError> {
        version::by_shape(&self.open_root()?, &self.database).await
    }

    fn open_root(&self) -> Result<Root, StepError> {
        Root::open(&self.root).map_err(FileError::into_step_error)
    }

    async fn logs(&self) -> Result<Vec<migrate_core::RunLog>, StepError> {
        match &self.journal {
            None => Ok(Vec::new()),
            Some(journal) => journal
                .runs()
                .await
                .map_err(|error| StepError::caused("can't look at earlier runs", &error)),
        }
    }

    /// How the run that began with `before` left its scope, if it came that far.
    async fn after_of(&self, before: &Fingerprint) -> Result<Option<Fingerprint>, StepError> {
        let logs = self.logs().await?;
        let log = logs.iter().rev().find(|log| &log.header.before == before);
        Ok(log.and_then(|log| {
            log.records
                .iter()
                .rev()
                .find_map(|(_, record)| match record {
                    Record::Committing { after, .. } => Some(after.clone()),
                    _ => None,
                })
        }))
    }
}

#[async_trait]
impl Observer for DeploymentObserver {
    async fn version(&self) -> Result<DeploymentVersion, StepError> {
        if let Some(version) = version::by_journal(&self.logs().await?) {
            return Ok(version);
        }
        self.version_by_shape().await
    }

    async fn preflight(&self, scope: &[ScopeObject]) -> Result<Vec<Finding>, StepError> {
        crate::preflight::of(&self.root, &self.database, scope).await
    }

    async fn fingerprint(&self, scope: &[ScopeObject]) -> Result<Fingerprint, StepError> {
        scope::fingerprint(&self.open_root()?, &self.database, scope).await
    }

    async fn mark(
        &self,
        run: &RunId,
        scope: &[ScopeObject],
        after: &Fingerprint,
    ) -> Result<(), StepError> {
        marks::keep(&self.database, run, scope, after).await
    }

    async fn written_by_triggers(&self) -> Result<Vec<String>, StepError> {
        let tables = migrate_schema::catalog::written_by_triggers(&self.database, Triggers::All)
            .await
            .map_err(|error| error.into_step_error("can't look at the triggers"))?;
        let names = tables.into_iter().flat_map(|table| {
            let short = format!("rows {}", table.table());
            [format!("rows {table}"), short]
        });
        Ok(names.collect())
    }

    async fn unmark(&self, run: &RunId) -> Result<(), StepError> {
        migrate_schema::marks::forget(&self.database, run.as_str())
            .await
            .map_err(|error| error.into_step_error("can't remove the marks of rows"))
    }

    async fn losses(
        &self,
        run: &RunId,
        then: &Fingerprint,
        scope: &[ScopeObject],
    ) -> Result<Vec<Loss>, StepError> {
        let now = self.fingerprint(scope).await?;
        let mut found = losses::between(then, &now);
        marks::count(&self.database, run, &mut found).await?;
        Ok(found)
    }

    async fn beside(
        &self,
        own: &OwnWrites,
        point: &Value,
        then: Option<&Fingerprint>,
    ) -> Result<Vec<Loss>, StepError> {
        // A point that can't be read is refused where it is needed; nothing can be told by it.
        let point = RollbackPoint::from_value(point)
            .and_then(|point| read_expected(&self.open_root()?, &point.data_snapshot));
        let Ok(point) = point else {
            return Ok(Vec::new());
        };
        let failed =
            |error: DbError| error.into_step_error("can't compare with the rollback point");
        let Some(own) = Own::read(&self.database, own).await.map_err(failed)? else {
            return Ok(Vec::new());
        };
        let now = match then {
            Some(then) => then.clone(),
            None => canonical::database(&self.database).await.map_err(failed)?,
        };
        let mut changes = own.changes(&point.fingerprint, &now);
        if !changes.is_empty() {
            // What triggers of the database wrote is nobody's alone. A restore keeps it where the run
            // did not touch the table, so that it is no loss either.
            let written = self.written_by_triggers().await?;
            changes.retain(|change| {
                !change.keepable || !written.contains(&format!("rows {}", change.table))
            });
        }
        Ok(changes.into_iter().map(|change| change.loss).collect())
    }

    async fn losses_of_reverse(&self, before: &Fingerprint) -> Result<Vec<Loss>, StepError> {
        let after = self.after_of(before).await?;
        losses::of_new_tables(&self.database, before, after.as_ref()).await
    }
}
