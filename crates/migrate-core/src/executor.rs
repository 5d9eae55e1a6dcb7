//! The engine: one loop drives a run forward and back, live and after a crash.
//!
//! The loop looks only at [`RunState`](crate::RunState), does the one thing that its phase
//! asks for, and records what came of it. A resume replays the log and enters the same loop.

mod absent;
mod back;
mod bounded;
mod checks;
mod forward;
mod preview;
mod rollback;
mod run;
mod settle;
mod start;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cancel::Cancel;
use crate::clock::Clock;
use crate::event::{Reporter, Silent};
use crate::journal::{Journal, MemoryJournal, RunId};
use crate::plan::StepId;
use crate::ports::{CheckRunner, Observer, RollbackPoints, RunGuard, ServiceControl};
use crate::registry::StepRegistry;
use crate::step::{Description, Preview};

pub use rollback::{Consent, RollbackPreview, RollbackRequest, StrategyChoice};
pub use start::phase_name;

/// Whether a rollback point is made before the first step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Backup {
    /// It is made and verified, or the run does not start.
    #[default]
    Make,
    /// The user wants none: only undo by receipts is left.
    Skip,
}

/// Who runs this, for the journal and for others who find the lock taken.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The version of the tool.
    pub tool_version: String,
    /// The host.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// The operating-system user.
    pub user: String,
    /// The database, without secrets; empty where there is none.
    pub database: String,
}

/// What a caller may choose for a run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Whether a rollback point is made.
    pub backup: Backup,
    /// Checks that are skipped, by a finding's code or the last part of it (`disk`).
    pub skip_checks: Vec<String>,
    /// Flags and consents as they were given, for the journal.
    pub flags: Vec<String>,
    /// Hashes of what decides the run, by name; see [`RunHeader::inputs`](crate::RunHeader).
    pub inputs: std::collections::BTreeMap<String, String>,
    /// The scripts that were read, for the journal.
    pub scripts: std::collections::BTreeMap<String, crate::Script>,
    /// Who runs this.
    pub identity: Identity,
}

/// Drives migrations and their rollbacks.
///
/// Without ports it has no services, no rollback points, no lock and a journal in memory:
/// enough for steps that need none of them. A tool gives it real ones. The clock can't be
/// left out: without one ([`NoClock`]) there is nothing to run.
#[derive(Clone)]
pub struct MigrationExecutor<C = Arc<dyn Clock>> {
    current_version: String,
    target_version: String,
    dry_run: bool,
    registry: StepRegistry,
    journal: Arc<dyn Journal>,
    clock: C,
    reporter: Arc<dyn Reporter>,
    guard: Arc<dyn RunGuard>,
    services: Arc<dyn ServiceControl>,
    points: Arc<dyn RollbackPoints>,
    observer: Arc<dyn Observer>,
    checks: Arc<dyn CheckRunner>,
    cancel: Cancel,
    options: RunOptions,
}

/// Stands for the clock of an executor that has none yet.
#[derive(Debug, Clone, Copy)]
pub struct NoClock;

impl MigrationExecutor<NoClock> {
    /// An executor from `current` to `target`; with `dry_run` it looks and writes nothing.
    /// The versions are parsed, and wrong ones refused, when a run begins.
    pub fn new(current: &str, target: &str, dry_run: bool) -> Self {
        Self {
            current_version: current.to_owned(),
            target_version: target.to_owned(),
            dry_run,
            registry: StepRegistry::new(),
            journal: Arc::new(MemoryJournal::default()),
            clock: NoClock,
            reporter: Arc::new(Silent),
            guard: Arc::new(absent::Nothing),
            services: Arc::new(absent::Nothing),
            points: Arc::new(absent::Nothing),
            observer: Arc::new(absent::Nothing),
            checks: Arc::new(absent::Nothing),
            cancel: Cancel::new(),
            options: RunOptions::default(),
        }
    }

    /// Takes the time from this clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> MigrationExecutor {
        MigrationExecutor {
            current_version: self.current_version,
            target_version: self.target_version,
            dry_run: self.dry_run,
            registry: self.registry,
            journal: self.journal,
            clock,
            reporter: self.reporter,
            guard: self.guard,
            services: self.services,
            points: self.points,
            observer: self.observer,
            checks: self.checks,
            cancel: self.cancel,
            options: self.options,
        }
    }
}

impl<C> MigrationExecutor<C> {
    /// Uses these step kinds.
    #[must_use]
    pub fn with_registry(mut self, registry: StepRegistry) -> Self {
        self.registry = registry;
        self
    }

    /// Keeps runs in this journal.
    #[must_use]
    pub fn with_journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.journal = journal;
        self
    }

    /// Sends events here.
    #[must_use]
    pub fn with_reporter(mut self, reporter: Arc<dyn Reporter>) -> Self {
        self.reporter = reporter;
        self
    }

    /// Keeps other runs away by this lock.
    #[must_use]
    pub fn with_guard(mut self, guard: Arc<dyn RunGuard>) -> Self {
        self.guard = guard;
        self
    }

    /// Stops and starts services through this.
    #[must_use]
    pub fn with_services(mut self, services: Arc<dyn ServiceControl>) -> Self {
        self.services = services;
        self
    }

    /// Makes and restores rollback points through this.
    #[must_use]
    pub fn with_points(mut self, points: Arc<dyn RollbackPoints>) -> Self {
        self.points = points;
        self
    }

    /// Looks at the deployment through this.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Runs validation checks through this.
    #[must_use]
    pub fn with_checks(mut self, checks: Arc<dyn CheckRunner>) -> Self {
        self.checks = checks;
        self
    }

    /// Stops at the next boundary when this is asked for.
    #[must_use]
    pub fn with_cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// Uses these options.
    #[must_use]
    pub fn with_options(mut self, options: RunOptions) -> Self {
        self.options = options;
        self
    }
}

/// How a run ended that ended as asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunEnd {
    /// Nothing to do: the deployment is there already, for the reason given.
    AlreadyThere(String),
    /// A dry run: nothing was written.
    DryRun,
    /// The deployment is at the target.
    Completed,
    /// A rollback that was asked for is done.
    RolledBack,
}

/// What a run did.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct MigrationResult {
    /// The run, unless nothing was written.
    pub run: Option<RunId>,
    /// How it ended.
    pub end: RunEnd,
    /// The steps, in order, with what each did.
    pub completed_steps: Vec<StepResult>,
    /// How long this process worked on it.
    pub total_duration: Duration,
    /// How to go back.
    pub rollback_info: Option<RollbackInfo>,
    /// The validation checks that were made.
    pub checks: Vec<CheckOutcome>,
    /// What others wrote and a rollback left, a line each.
    pub left: Vec<String>,
    /// What others wrote while the run was under way, a line each.
    pub came_in: Vec<String>,
    /// A dry run's view of each step.
    pub previews: Vec<StepPreview>,
    /// Findings that did not stop the run.
    pub findings: Vec<crate::Finding>,
}

impl MigrationResult {
    fn of(end: RunEnd) -> Self {
        Self {
            run: None,
            end,
            completed_steps: Vec::new(),
            total_duration: Duration::ZERO,
            rollback_info: None,
            checks: Vec::new(),
            left: Vec::new(),
            came_in: Vec::new(),
            previews: Vec::new(),
            findings: Vec::new(),
        }
    }
}

/// What one step did.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct StepResult {
    /// The step.
    pub step_id: StepId,
    /// Whether its effect is there (or, after a rollback, gone).
    pub success: bool,
    /// How long it took.
    pub duration: Duration,
    /// One line about it.
    pub message: String,
    /// More lines.
    pub notes: Vec<String>,
    /// Figures for machines.
    pub figures: serde_json::Map<String, Value>,
}

/// How to go back.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RollbackInfo {
    /// The version it goes back to.
    pub version: crate::Version,
    /// The rollback point, in words, unless there is none.
    pub point: Option<String>,
    /// Whether every step can be undone by its receipt.
    pub reversible: bool,
}

/// What one validation check found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CheckOutcome {
    /// Its name.
    pub name: String,
    /// Whether it found what it expected.
    pub passed: bool,
    /// Whether a failure stops the run.
    pub critical: bool,
    /// What it expected.
    pub expected: Value,
    /// What it found, or why it could not look.
    pub found: Value,
}

/// A dry run's view of one step.
#[derive(Debug, Clone, Serialize)]
pub struct StepPreview {
    /// The step.
    pub step: StepId,
    /// What it is about.
    pub description: Description,
    /// What it would do, unless an earlier step must run before that shows.
    pub preview: Preview,
    /// Why it would be skipped, if it would.
    pub already_done: Option<String>,
}
