//! What is kept of a rehearsal, and whether a fresh one of a plan is there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use migrate_config::Root;
use migrate_config::atomic::{self, NewFile};
use migrate_core::{Fingerprint, ScopeObject, StepId, Version};
use migrate_rollback::state_dir;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::plan_file::Contract;
use crate::wire::Wired;

const FORMAT: u32 = 1;

/// Where certificates lie, below the state directory.
const DIRECTORY: &str = "rehearsals";

/// A rehearsal that came to its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Certificate {
    pub(crate) format: u32,
    /// The hash of the plan file that was rehearsed.
    pub(crate) plan_hash: String,
    pub(crate) from: Version,
    pub(crate) to: Version,
    pub(crate) tool_version: String,
    pub(crate) database: String,
    pub(crate) made_at: DateTime<Utc>,
    /// Everything was after the way back as it was before.
    pub(crate) proven: bool,
    #[serde(flatten)]
    pub(crate) played: Played,
}

/// What was played and measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Played {
    pub(crate) before: Fingerprint,
    pub(crate) after: Fingerprint,
    pub(crate) forward: Measured,
    pub(crate) back: Measured,
    /// With `--full`: from the rollback point.
    pub(crate) restore: Option<Measured>,
    pub(crate) steps: Vec<StepFigures>,
    pub(crate) irreversible: Vec<Irreversible>,
    /// What was not as before, a line each.
    pub(crate) differences: Vec<String>,
}

/// One way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) duration_ms: u64,
    /// PostgreSQL: what was written to the log, by the whole server in that time.
    pub(crate) wal_bytes: Option<u64>,
    /// By how much the database grew.
    pub(crate) space_bytes: u64,
}

/// One step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StepFigures {
    pub(crate) step: StepId,
    pub(crate) duration_ms: u64,
    pub(crate) rows: Option<u64>,
    pub(crate) rows_per_second: Option<u64>,
}

/// A step that only the rollback point covers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Irreversible {
    pub(crate) step: StepId,
    pub(crate) title: String,
    /// What a restore would set back with it: what others wrote there since would be lost.
    pub(crate) scope: Vec<ScopeObject>,
}

impl Certificate {
    pub(super) fn new(wired: &Wired, contract: &Contract, played: Played) -> Self {
        Self {
            format: FORMAT,
            plan_hash: contract.hash(),
            from: contract.from.clone(),
            to: contract.to.clone(),
            tool_version: contract.tool_version.clone(),
            database: wired.identity.database.clone(),
            made_at: migrate_core::Clock::now(&crate::clock::SystemClock),
            proven: played.differences.is_empty(),
            played,
        }
    }

    /// Writes it into the deployment's state directory.
    pub(super) fn keep(&self, root: &Path) -> Result<PathBuf, Failure> {
        let name = format!(
            "{DIRECTORY}/{}_{}.json",
            self.made_at.format("%Y%m%d_%H%M%S"),
            &self.plan_hash[..12]
        );
        let failed = |error: &dyn std::fmt::Display| {
            Failure::unchanged(format!("the certificate can't be written: {error}"))
        };
        let state = state_dir::ensure(root).map_err(|error| failed(&error))?;
        let text = serde_json::to_vec_pretty(self).map_err(|error| failed(&error))?;
        let dir = Root::open(&state).map_err(|error| failed(&error))?;
        atomic::write_atomic_as(&dir, Path::new(&name), &text, NewFile::Private)
            .map_err(|error| failed(&error))?;
        Ok(state.join(name))
    }
}

/// The newest certificate of a plan that proved its way back.
pub(crate) fn newest(root: &Path, plan_hash: &str) -> Option<Certificate> {
    let dir = state_dir::path(root).join(DIRECTORY);
    std::fs::read_dir(dir)
        .ok()?
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path()).ok())
        .filter_map(|bytes| serde_json::from_slice::<Certificate>(&bytes).ok())
        .filter(|one| one.format <= FORMAT && one.proven && one.plan_hash == plan_hash)
        .max_by_key(|one| one.made_at)
}

/// Refuses a plan that was not rehearsed within `age`.
pub(crate) fn require(root: &Path, plan_hash: &str, age: Duration) -> Result<(), Failure> {
    let now = migrate_core::Clock::now(&crate::clock::SystemClock);
    let why = match newest(root, plan_hash) {
        Some(one) if (now - one.made_at).to_std().is_ok_and(|old| old <= age) => return Ok(()),
        Some(one) => format!(
            "its last rehearsal is of {}",
            one.made_at.format("%Y-%m-%d %H:%M:%S UTC")
        ),
        None => "this very plan was never rehearsed with success".to_owned(),
    };
    Err(Failure::refused(format!(
        "refused: this environment wants a rehearsal not older than {}, and {why}",
        migrate_core::duration::human(age)
    ))
    .hint("run `etlrs-migrate rehearse --from A --to B --into URL|DIR`, then apply"))
}
