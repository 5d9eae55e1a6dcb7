//! What a rollback point is made of, as it is kept in the history and the journal.

use chrono::{DateTime, Utc};
use migrate_core::{StepError, Version};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::signing::Envelope;

/// A verified copy of every layer of a deployment at one moment. Holds names and
/// checksums, no data and no secrets; all paths are relative to the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackPoint {
    /// Its name, `YYYYMMDD_HHMMSS` in UTC, unique within the deployment.
    pub id: String,
    /// The version that the deployment was at.
    pub version: Version,
    /// When it was made.
    pub timestamp: DateTime<Utc>,
    /// The copy of `config/config.toml`, if there was one.
    pub config_backup: Option<String>,
    /// What `schema_versions` said, 0 without such a table.
    pub schema_version: i64,
    /// The copy of the database.
    pub data_snapshot: Snapshot,
    /// Every file of the scope, with its copy.
    pub files: Vec<FileCopy>,
    /// Which migrations and scripts were applied. Points of older builds have none: there the
    /// lines' own times tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_history: Option<Vec<migrate_schema::history::Record>>,
    /// The run that made it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// What it was made for.
    #[serde(default, skip_serializing_if = "Purpose::is_to_go_back")]
    pub purpose: Purpose,
    /// All of the above, signed; nothing if an older build made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Envelope>,
}

/// What a point was made for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To go back to its version.
    #[default]
    GoBack,
    /// To keep what a restore replaces, in whatever state that is. Never chosen by version:
    /// its version is the one that was gone back to.
    Safety,
}

impl Purpose {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    fn is_to_go_back(&self) -> bool {
        *self == Self::GoBack
    }

    /// How the names of its files begin.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::GoBack => "etlrs_backup_",
            Self::Safety => "etlrs_safety_",
        }
    }
}

/// A copy of a database in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The file: an archive of `pg_dump` (a file, or a directory of a parallel one), or a SQLite
    /// database.
    pub file: String,
    /// `postgres` or `sqlite`.
    pub backend: String,
    /// Which database it is a copy of, by [`Database::identity`](migrate_schema::db::Database::identity).
    pub database: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// The file with the fingerprint that the database had.
    pub fingerprint: String,
    /// SHA-256 of that file.
    pub fingerprint_sha256: String,
    /// The file with the definitions that the fingerprint stands for. Points of older builds
    /// have none: what differs from them is named without its SQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definitions: Option<String>,
}

/// A file of the scope as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCopy {
    /// The file.
    pub path: String,
    /// Its copy; `None` if there was no such file.
    pub copy: Option<String>,
    /// SHA-256 of its bytes.
    pub sha256: Option<String>,
}

impl RollbackPoint {
    /// Reads one back from a journal's value.
    ///
    /// # Errors
    /// The value is of another shape.
    pub fn from_value(value: &Value) -> Result<Self, StepError> {
        serde_json::from_value(value.clone())
            .map_err(|error| StepError::caused("the rollback point makes no sense", &error))
    }

    /// The value that the journal keeps.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("a point has only text keys and plain values")
    }
}
