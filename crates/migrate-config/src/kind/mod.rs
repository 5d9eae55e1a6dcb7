//! The step kind `ConfigUpdate`: changes one configuration file below the root.

mod backup;
mod operations;
mod series;
mod step;
mod variables;

use std::sync::Arc;

use migrate_core::own_files::{OWN_FILES_HINT, OwnFiles, Touch, none_are_own};
use migrate_core::{Finding, MigrationStep, Step, StepKind, StepSite};

use crate::atomic::Root;
use crate::migration::{ConfigMigration, ConfigMigrations};
use crate::written::Environment;

use operations::Operations;
use step::ConfigStep;

/// The file that a step changes if it names none.
pub const DEFAULT_FILE: &str = "config/config.toml";

/// The kind `ConfigUpdate`.
///
/// A step names a `file` (default [`DEFAULT_FILE`]) and what is done to it, in this order
/// whatever the order in the plan: `migration` (a [`ConfigMigration`] by name), `rename`
/// (an object of old path to new), `remove` (a list of paths), `config_changes` (an object of
/// path to value), `dependencies` (an object of crate to version, for a `Cargo.toml`). With
/// `optional` a file that is not there, or does not name the dependency, is no error. The file
/// is backed up to `backups/` first.
pub struct ConfigUpdateKind {
    root: Arc<Root>,
    migrations: ConfigMigrations,
    environment: Environment,
    own_files: OwnFiles,
}

impl ConfigUpdateKind {
    /// The kind for the files below a root, with our own migrations.
    pub fn new(root: Arc<Root>) -> Self {
        Self {
            root,
            migrations: ConfigMigrations::default(),
            environment: Arc::new(|_| None),
            own_files: none_are_own(),
        }
    }

    /// Takes the values of `{"from_env": "NAME"}` from here, when a step runs; without this no
    /// variable is set. They are written into the file and kept nowhere else.
    #[must_use]
    pub fn with_environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Refuses steps on files that are the tool's own; without this, every file may be changed.
    #[must_use]
    pub fn sparing(mut self, own_files: OwnFiles) -> Self {
        self.own_files = own_files;
        self
    }

    /// Adds a named migration.
    #[must_use]
    pub fn with_migration(mut self, migration: impl ConfigMigration + 'static) -> Self {
        self.migrations = self.migrations.with(migration);
        self
    }
}

impl StepKind for ConfigUpdateKind {
    fn name(&self) -> &'static str {
        "ConfigUpdate"
    }

    fn extra_fields(&self) -> &[&str] {
        &[
            "file",
            "rename",
            "remove",
            "migration",
            "dependencies",
            "optional",
        ]
    }

    fn build(
        &self,
        spec: &MigrationStep,
        site: &StepSite<'_>,
    ) -> Result<Box<dyn Step>, Vec<Finding>> {
        let operations = Operations::read(spec, &self.migrations, &self.environment)?;
        if let Some(why) = (self.own_files)(operations.file.as_ref(), Touch::Write) {
            let finding = Finding::error("plan.own-file", why).at("/file");
            return Err(vec![finding.hint(OWN_FILES_HINT)]);
        }
        let forward = site.plan.steps.get(site.index) == Some(spec);
        let (list, version, name) = if forward {
            (
                &site.plan.steps,
                &site.plan.from_version,
                "ConfigUpdate steps",
            )
        } else {
            let name = "ConfigUpdate rollback_steps";
            (&site.plan.rollback_steps, &site.plan.to_version, name)
        };
        let read = || {
            series::of_list(list, self.name(), |step| {
                Operations::read(step, &self.migrations, &self.environment)
            })
        };
        let all = match site.shared {
            Some(shared) => shared.get_or_make(name, read),
            None => Arc::new(read()),
        };
        let series = all.get(&operations.file).cloned().unwrap_or_default();
        Ok(Box::new(ConfigStep {
            root: Arc::clone(&self.root),
            operations,
            earlier: series.before(site.index),
            last: series.ends_at(site.index),
            series,
            version: version.to_string(),
            can_rollback: spec.can_rollback,
            own_files: self.own_files.clone(),
        }))
    }
}
