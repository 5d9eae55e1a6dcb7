//! The plan: what a user writes, in the guide's own shape.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::batch_size::BatchSize;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::version::Version;

/// The fields that every step has.
pub const STEP_FIELDS: &[&str] = &[
    "id",
    "description",
    "step_type",
    "command",
    "config_changes",
    "data_migration",
    "validation",
    "timeout",
    "can_rollback",
];

/// One way from a version to another. Immutable once a run began with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MigrationPlan {
    /// The version it starts at.
    pub from_version: Version,
    /// The version it ends at.
    pub to_version: Version,
    /// What sort of change it is, for people.
    pub migration_type: MigrationType,
    /// What is done, in order.
    pub steps: Vec<MigrationStep>,
    /// What a rollback of the *completed* run does instead of undoing by receipts, if not empty.
    #[serde(default)]
    pub rollback_steps: Vec<MigrationStep>,
    /// Queries with expected results.
    #[serde(default)]
    pub validation_checks: Vec<ValidationCheck>,
    /// How long its author expects it to take.
    #[serde(default, with = "crate::duration")]
    pub estimated_duration: Duration,
    /// Whether services are stopped round the run.
    #[serde(default = "yes")]
    pub downtime_required: bool,
    /// Why no new run may take this way any more. Runs that did can still be resumed and taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<String>,
    /// Whether no way may pass over `to_version`: see [`VersionGraph`](crate::VersionGraph).
    #[serde(default, skip_serializing_if = "is_false")]
    pub mandatory_stop: bool,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The sort of a migration. Only shown; the steps decide what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the guide's names say what they are")]
pub enum MigrationType {
    MinorUpgrade,
    MajorUpgrade,
    Patch,
    Hotfix,
    Rollback,
}

/// A step's name within its plan: letters, digits, `_`, `-` and `.`, at most 64.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StepId(String);

impl StepId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StepId {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            return Err(format!(
                "{name:?} is not a step id: use 1 to 64 of letters, digits, '_', '-' and '.'"
            ));
        }
        Ok(Self(name))
    }
}

impl std::str::FromStr for StepId {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        name.to_owned().try_into()
    }
}

impl From<StepId> for String {
    fn from(id: StepId) -> String {
        id.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MigrationStep {
    /// Its name within the plan.
    pub id: StepId,
    /// One line for people.
    #[serde(default)]
    pub description: String,
    /// Its kind.
    pub step_type: StepType,
    /// A command or, for schema steps, a script's name.
    #[serde(default)]
    pub command: Option<CommandLine>,
    /// Dotted path to value, for config steps.
    #[serde(default)]
    pub config_changes: Option<BTreeMap<String, Value>>,
    /// For data steps.
    #[serde(default)]
    pub data_migration: Option<DataMigration>,
    /// The name of a validation check, or SQL whose first value must be true, run after the step.
    #[serde(default)]
    pub validation: Option<String>,
    /// How long it may take; then it is cancelled and undone.
    #[serde(default = "default_timeout", with = "crate::duration")]
    pub timeout: Duration,
    /// `false` says that only the rollback point covers it.
    #[serde(default = "yes")]
    pub can_rollback: bool,
    /// The fields of its own kind.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

fn default_timeout() -> Duration {
    Duration::from_mins(5)
}

/// A command: a shell string or an argv.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CommandLine {
    /// Run by `sh -c`; for schema steps, a script's name.
    Text(String),
    /// Run as it is, without a shell.
    Argv(Vec<String>),
}

/// The kind of a step: the guide's six, or any name that is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[expect(missing_docs, reason = "the guide's names say what they are")]
pub enum StepType {
    ConfigUpdate,
    DataMigration,
    SchemaUpdate,
    ServiceRestart,
    Validation,
    Cleanup,
    /// A kind that somebody else registered.
    Other(String),
}

impl StepType {
    /// The name that the registry knows.
    pub fn name(&self) -> &str {
        match self {
            Self::ConfigUpdate => "ConfigUpdate",
            Self::DataMigration => "DataMigration",
            Self::SchemaUpdate => "SchemaUpdate",
            Self::ServiceRestart => "ServiceRestart",
            Self::Validation => "Validation",
            Self::Cleanup => "Cleanup",
            Self::Other(name) => name,
        }
    }
}

impl From<String> for StepType {
    fn from(name: String) -> Self {
        match name.as_str() {
            "ConfigUpdate" => Self::ConfigUpdate,
            "DataMigration" => Self::DataMigration,
            "SchemaUpdate" => Self::SchemaUpdate,
            "ServiceRestart" => Self::ServiceRestart,
            "Validation" => Self::Validation,
            "Cleanup" => Self::Cleanup,
            _ => Self::Other(name),
        }
    }
}

impl From<StepType> for String {
    fn from(kind: StepType) -> String {
        kind.name().to_owned()
    }
}

/// What a data step moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataMigration {
    /// The table that is read.
    pub source_table: String,
    /// The table that is written.
    pub target_table: String,
    /// A `.sql` script, or `rust:NAME` for a registered transform.
    pub transformation_script: String,
    /// Rows per transaction, at least 1; or `"auto"`.
    pub batch_size: BatchSize,
    /// How many batches are worked on at once, at least 1.
    pub parallel_workers: usize,
    /// How much is compared afterwards: `"off"`, `"sample 1%"`, `"full"` (the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<String>,
    /// Where the source table is, if it is in another database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_url: Option<String>,
    /// A `.sql` script that gives rows of the target in the form of the source, so that a
    /// rollback carries back what was written after the upgrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverse_script: Option<String>,
    /// What becomes of rows that can't be moved: `"fail"` (the default), `"quarantine 100"`,
    /// `"quarantine 0.1%"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad_rows: Option<String>,
}

/// A query with the result that it must give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationCheck {
    /// Its name within the plan.
    pub name: String,
    /// A read-only query.
    pub query: String,
    /// A number, string, bool, null; an array for a row; an array of arrays for rows.
    pub expected_result: Value,
    /// Whether a failure fails the run; otherwise it is a warning.
    #[serde(default = "yes")]
    pub critical: bool,
    /// When it is made.
    #[serde(default)]
    pub phase: CheckPhase,
}

/// When a validation check is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckPhase {
    /// Before anything changes.
    Pre,
    /// Only by the steps that name it.
    Step,
    /// After the last step.
    #[default]
    Post,
}
