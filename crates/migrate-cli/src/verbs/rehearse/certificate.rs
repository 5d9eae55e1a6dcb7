//! What is kept of a rehearsal, and whether a fresh one of a plan is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use migrate_config::Root;
use migrate_config::atomic::{self, NewFile};
use migrate_core::{Fingerprint, Rehearsal, ScopeObject, StepId, Version};
use migrate_rollback::signing::{PublicKey, SigningKey};
use migrate_rollback::state_dir;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::plan_file::{Contract, Hop, signed};
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
    /// The hashes of each plan of the way and of its scripts, by name.
    #[serde(default)]
    pub(crate) inputs: Vec<Inputs>,
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

/// Hashes of what decides a run, by name.
pub(crate) type Inputs = BTreeMap<String, String>;

/// Up to when a rehearsal says how long the real run takes.
const FRESH: Duration = Duration::from_hours(7 * 24);

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
    /// PostgreSQL: what was written to the log while it ran, by the whole server.
    #[serde(default)]
    pub(crate) wal_bytes: Option<u64>,
    /// By how much the database grew.
    #[serde(default)]
    pub(crate) space_bytes: Option<u64>,
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
            inputs: contract.hops.iter().map(inputs_of).collect(),
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
    /// With a key it goes into a signed envelope.
    pub(super) fn keep(&self, root: &Path, key: Option<&SigningKey>) -> Result<PathBuf, Failure> {
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
        let bytes = signed::bytes_of(signed::CERTIFICATE, text, key)?;
        atomic::write_atomic_as(&dir, Path::new(&name), &bytes, NewFile::Private)
            .map_err(|error| failed(&error))?;
        Ok(state.join(name))
    }
}

/// The hashes of a plan and its scripts, as runs record them.
fn inputs_of(hop: &Hop) -> Inputs {
    let script = |(name, script): (&String, &migrate_core::Script)| {
        (format!("script {name}"), crate::plans::sha256(&script.text))
    };
    let mut inputs: Inputs = hop.scripts.iter().map(script).collect();
    inputs.insert("plan".to_owned(), hop.sha256.clone());
    inputs
}

/// All that proved their way back; only those that one of some keys signed, where there are any.
fn proven(root: &Path, keys: Option<&[PublicKey]>) -> Vec<Certificate> {
    let dir = state_dir::path(root).join(DIRECTORY);
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| migrate_config::atomic::read_regular(&entry.path()).ok())
        .filter_map(signed::Document::open)
        .filter(|document| {
            keys.is_none_or(|keys| document.signer(signed::CERTIFICATE, keys).is_some())
        })
        .filter_map(|document| serde_json::from_slice::<Certificate>(&document.bytes).ok())
        .filter(|one| one.format <= FORMAT && one.proven)
        .collect()
}

/// The newest certificate of a plan that proved its way back.
pub(crate) fn newest(root: &Path, plan_hash: &str) -> Option<Certificate> {
    newest_of(root, plan_hash, None)
}

fn newest_of(root: &Path, plan_hash: &str, keys: Option<&[PublicKey]>) -> Option<Certificate> {
    let mut all = proven(root, keys);
    all.retain(|one| one.plan_hash == plan_hash);
    all.into_iter().max_by_key(|one| one.made_at)
}

/// What the newest fresh rehearsal of these very plans and scripts measured.
pub(crate) fn measured(root: &Path, inputs: &[Inputs]) -> Option<Rehearsal> {
    let now = migrate_core::Clock::now(&crate::clock::SystemClock);
    let mut all = proven(root, None);
    all.retain(|one| {
        let age = (now - one.made_at).to_std();
        one.inputs == inputs && age.is_ok_and(|age| age <= FRESH)
    });
    let newest = all.into_iter().max_by_key(|one| one.made_at)?;
    Some(newest.rehearsal())
}

impl Certificate {
    /// Its figures as an estimate takes them.
    pub(crate) fn rehearsal(&self) -> Rehearsal {
        let millis = Duration::from_millis;
        let steps = self.played.steps.iter();
        Rehearsal {
            made_at: self.made_at,
            forward: millis(self.played.forward.duration_ms),
            back: millis(self.played.back.duration_ms),
            steps: steps
                .map(|step| (step.step.clone(), millis(step.duration_ms), step.rows))
                .collect(),
        }
    }
}

/// Refuses a plan that was not rehearsed within `age`,
/// and signed by one of some keys where there are any.
pub(crate) fn require(
    root: &Path,
    plan_hash: &str,
    age: Duration,
    keys: Option<&[PublicKey]>,
) -> Result<(), Failure> {
    let now = migrate_core::Clock::now(&crate::clock::SystemClock);
    let signed = if keys.is_some() {
        " whose certificate one of its keys signed (--sign KEY)"
    } else {
        ""
    };
    let why = match newest_of(root, plan_hash, keys) {
        Some(one) if (now - one.made_at).to_std().is_ok_and(|old| old <= age) => return Ok(()),
        Some(one) => format!(
            "its last rehearsal is of {}",
            one.made_at.format("%Y-%m-%d %H:%M:%S UTC")
        ),
        None if keys.is_some() => "this very plan has none".to_owned(),
        None => "this very plan was never rehearsed with success".to_owned(),
    };
    Err(Failure::refused(format!(
        "refused: this environment wants a rehearsal not older than {}{signed}, and {why}",
        migrate_core::duration::human(age)
    ))
    .hint("run `etlrs-migrate rehearse --from A --to B --into URL|DIR`, then apply"))
}
