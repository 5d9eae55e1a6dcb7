//! The journal: an intent log, not a debug log. What it says decides what a resume does.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::StepError;
use crate::plan::{MigrationPlan, StepId};
use crate::ports::{Fingerprint, Loss, OnDifference, Script};
use crate::status::Strategy;
use crate::step::{Outcome, Receipt, ScopeObject, UndoReport};

/// The format that this crate writes. A journal of a newer one is refused.
pub const FORMAT: u32 = 1;

/// A run's name: `[0-9a-z]`, at most 24, unique within a database and a state directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// Makes one from the moment it begins and a number that tells runs of one second apart.
    pub fn new(now: DateTime<Utc>, salt: u16) -> Self {
        Self(format!("{}{salt:04x}", now.format("%Y%m%d%H%M%S")))
    }

    /// Makes one that no other run has: the moment, a number that is random for each process, and
    /// how many this process made before.
    pub fn fresh(now: DateTime<Utc>) -> Self {
        static MADE: OnceLock<AtomicU32> = OnceLock::new();
        let made = MADE.get_or_init(|| {
            let random = RandomState::new().hash_one(std::process::id());
            AtomicU32::new(u32::try_from(random >> 32).unwrap_or_default())
        });
        let number = made.fetch_add(1, Ordering::Relaxed);
        Self(format!("{}{number:08x}", now.format("%Y%m%d%H%M%S")))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands at the head of a run's log and never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// The run.
    pub run: RunId,
    /// The plan as it was resolved.
    pub plan: MigrationPlan,
    /// SHA-256 of every text that decides what the run does, by name: the plan, each script.
    pub inputs: BTreeMap<String, String>,
    /// The scripts as they were read, by the name asked for: a resume or rollback uses these.
    #[serde(default)]
    pub scripts: BTreeMap<String, Script>,
    /// The version of the tool.
    pub tool_version: String,
    /// The host it began on.
    pub host: String,
    /// The process it began in.
    pub pid: u32,
    /// The operating-system user.
    pub user: String,
    /// Which database: its host and name with the system's own identifier, or file identity. No secret.
    pub database: String,
    /// When.
    pub started_at: DateTime<Utc>,
    /// Flags, skipped checks and consents, as they were given.
    pub flags: Vec<String>,
    /// The declared scope of the run.
    pub scope: Vec<ScopeObject>,
    /// The fingerprint of the scope before anything changed.
    pub before: Fingerprint,
}

/// One entry of a run's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Record {
    /// Services are about to be stopped; `running` is what ran.
    ServicesStopping {
        /// What `ServiceControl::start` will need.
        running: Value,
    },
    /// They are down, and no other writer is left.
    ServicesStopped,
    /// A rollback point is about to be made.
    PointStarted,
    /// It is there and verified.
    PointCreated {
        /// What `RollbackPoints::restore` needs.
        point: Value,
    },
    /// What the scope is now that nobody else writes: what ran has written since the head of
    /// the log was.
    AtRest {
        /// The fingerprint of the scope before the first step.
        before: Fingerprint,
    },
    /// Somebody was at work while everything had to be down: what differs in the end may be
    /// theirs.
    OthersWrote {
        /// Who.
        who: String,
    },
    /// There is none, by the user's wish.
    PointSkipped,
    /// A step is about to run.
    StepStarted {
        /// The step.
        step: StepId,
        /// What its undo needs.
        receipt: Receipt,
    },
    /// A step that was started is about to be run again after an interruption.
    StepResumed {
        /// The step.
        step: StepId,
    },
    /// A step's effect was there already.
    StepSkipped {
        /// The step.
        step: StepId,
        /// Why.
        reason: String,
    },
    /// A step has done its effect.
    StepCompleted {
        /// The step.
        step: StepId,
        /// What it did.
        outcome: Outcome,
        /// How long it took in the process that finished it.
        duration_ms: u64,
    },
    /// A step, its check, its preparation or its validation failed.
    StepFailed {
        /// The step.
        step: StepId,
        /// Why.
        error: StepError,
    },
    /// All steps are done and the critical checks passed.
    Validated,
    /// A critical check failed after the last step.
    ValidationFailed {
        /// Which, and what it found.
        error: StepError,
    },
    /// The commit point: services are about to be started. From here nothing is restored by itself.
    Committing {
        /// The fingerprint of the scope as the run leaves it.
        after: Fingerprint,
        /// What others wrote while the run was under way, a line each.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        came_in: Vec<String>,
    },
    /// Services run again.
    ServicesStarted,
    /// Services did not start, or a check failed after they did.
    CommittedUnhealthy {
        /// Why.
        error: StepError,
    },
    /// A deferred step failed; a warning.
    DeferredFailed {
        /// The step.
        step: StepId,
        /// Why.
        error: StepError,
    },
    /// The run is done.
    Completed,
    /// A restore outside of the run brought back what there was before its way back, or another
    /// restore, took that away.
    BroughtBack {
        /// By what.
        message: String,
    },
    /// The way back begins: by itself after a failure, or because a user asked.
    RollbackStarted {
        /// How.
        strategy: Strategy,
        /// A user asked for it.
        requested: bool,
        /// What a restore would lose was counted: nothing, or its loss was agreed to. So a
        /// restore that follows (again) need not ask.
        #[serde(default)]
        cleared: bool,
        /// What a restore would lose of others, as it was counted and agreed to.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        loses: Vec<Loss>,
        /// What a restore does that does not come to what the rollback point was made of.
        #[serde(default, skip_serializing_if = "OnDifference::is_default")]
        on_difference: OnDifference,
    },
    /// A step is about to be undone.
    UndoStarted {
        /// The step.
        step: StepId,
    },
    /// It is undone.
    Undone {
        /// The step.
        step: StepId,
        /// What was done and left.
        report: UndoReport,
    },
    /// Its undo failed. A human is needed.
    UndoFailed {
        /// The step.
        step: StepId,
        /// Why.
        error: StepError,
    },
    /// One of the plan's own `rollback_steps` is about to run.
    RollbackStepStarted {
        /// The step.
        step: StepId,
        /// Its receipt.
        receipt: Receipt,
    },
    /// It is done.
    RollbackStepCompleted {
        /// The step.
        step: StepId,
        /// What it did.
        outcome: Outcome,
    },
    /// It failed. A human is needed.
    RollbackStepFailed {
        /// The step.
        step: StepId,
        /// Why.
        error: StepError,
    },
    /// The rollback point is about to be restored.
    RestoreStarted,
    /// It is restored.
    Restored {
        /// A line about it.
        message: String,
        /// What differs from the rollback point and was accepted.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        differences: Vec<String>,
        /// What others wrote and was kept.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kept: Vec<Loss>,
    },
    /// It could not be restored. A human is needed.
    RestoreFailed {
        /// Why.
        error: StepError,
    },
    /// Everything is back; compared with the fingerprint before.
    Reverted {
        /// What others wrote and was left, or what differs, a line each.
        left: Vec<String>,
    },
    /// Everything is back, but differs from before without an explanation. A human is needed.
    RevertedDifferent {
        /// What differs.
        error: StepError,
    },
    /// Services run again as before the run, and our objects are gone: the rollback is done.
    RolledBack,
    /// A signal stopped the run at a boundary.
    Interrupted {
        /// Its number.
        signal: i32,
    },
    /// Another process took the run up.
    Resumed {
        /// Its host.
        host: String,
        /// Its number there.
        pid: u32,
        /// Its operating-system user.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        user: String,
        /// The version of the tool.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        tool_version: String,
        /// What was asked for: the verb, its flags, skipped checks and consents.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        flags: Vec<String>,
    },
}

/// A run's log as it was read back.
#[derive(Debug, Clone, PartialEq)]
pub struct RunLog {
    /// Its head.
    pub header: RunHeader,
    /// Its entries with their moments, oldest first.
    pub records: Vec<(DateTime<Utc>, Record)>,
}

/// A run that only the deployment's database knows.
#[derive(Debug, Clone, PartialEq)]
pub struct UnknownRun {
    /// Its log, as it stands there.
    pub log: RunLog,
    /// Who wrote it.
    pub proof: Proof,
}

/// Whether a log was written by this deployment, or by whoever may write to its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// It was: every record is chained and signed by a key that is trusted here.
    Signed {
        /// The hash that names the whole log.
        head: String,
    },
    /// Nothing tells: it has no chain of hashes, as logs of older builds have none.
    Unchained,
    /// It is not what was signed, or somebody else signed it.
    Wrong {
        /// The first record that is wrong, from 1; 0 is the head of the log.
        record: usize,
        /// What is wrong with it.
        why: String,
    },
}

impl Proof {
    /// Whether the log may be believed.
    pub fn holds(&self) -> bool {
        matches!(self, Self::Signed { .. })
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed { .. } => f.write_str("it is signed by this deployment"),
            Self::Unchained => f.write_str("its head is not signed, and no record is"),
            Self::Wrong { why, .. } => f.write_str(why),
        }
    }
}

/// Why the journal can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalError {
    /// It could not be read or written: nothing may be done.
    Unavailable(String),
    /// What stands in it makes no sense, or was written by a newer tool.
    Unreadable(String),
}

impl JournalError {
    /// A run whose name another has.
    pub fn taken(run: &RunId) -> Self {
        Self::Unavailable(format!("it holds a run {run} already"))
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(why) => write!(f, "the journal can't be used: {why}"),
            Self::Unreadable(why) => write!(f, "the journal can't be read: {why}"),
        }
    }
}

impl std::error::Error for JournalError {}

/// Keeps runs' logs.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Begins a run's log. Durable when it returns.
    ///
    /// # Errors
    /// Also when there is a log of a run of that name: two runs never share one.
    async fn open(&self, header: &RunHeader) -> Result<(), JournalError>;

    /// Appends an entry. Durable when it returns; on an error the caller does nothing further.
    async fn append(
        &self,
        run: &RunId,
        at: DateTime<Utc>,
        record: &Record,
    ) -> Result<(), JournalError>;

    /// All runs' logs, oldest first.
    async fn runs(&self) -> Result<Vec<RunLog>, JournalError>;

    /// The hash that names a run's whole log; nothing where logs are not chained.
    async fn head(&self, _run: &RunId) -> Result<Option<String>, JournalError> {
        Ok(None)
    }

    /// Runs that the deployment's database knows and this journal does not: another
    /// journal's, or what is left of one that was lost. None where nothing is kept there.
    async fn unknown_here(&self) -> Result<Vec<UnknownRun>, JournalError> {
        Ok(Vec::new())
    }
}

/// A journal in memory: for tests and for embedders that need no recovery.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    runs: Mutex<Vec<RunLog>>,
}

impl MemoryJournal {
    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<RunLog>> {
        self.runs
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn open(&self, header: &RunHeader) -> Result<(), JournalError> {
        let mut runs = self.locked();
        if runs.iter().any(|log| log.header.run == header.run) {
            return Err(JournalError::taken(&header.run));
        }
        runs.push(RunLog {
            header: header.clone(),
            records: Vec::new(),
        });
        Ok(())
    }

    async fn append(
        &self,
        run: &RunId,
        at: DateTime<Utc>,
        record: &Record,
    ) -> Result<(), JournalError> {
        self.locked()
            .iter_mut()
            .find(|log| &log.header.run == run)
            .ok_or_else(|| JournalError::Unavailable(format!("no run {run} is open")))?
            .records
            .push((at, record.clone()));
        Ok(())
    }

    async fn runs(&self) -> Result<Vec<RunLog>, JournalError> {
        Ok(self.locked().clone())
    }
}
