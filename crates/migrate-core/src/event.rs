//! What happens, as data: for terminals, log files and machines alike.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::StepError;
use crate::finding::Finding;
use crate::journal::RunId;
use crate::plan::StepId;
use crate::version::Version;

/// One thing that happened. Serializes as one JSON object with its name in `event`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A run begins or goes on.
    RunStarted {
        /// The run.
        run: RunId,
        /// The version it leaves.
        from: Version,
        /// The version it goes to.
        to: Version,
        /// `migrate`, `resume` or `rollback`.
        direction: String,
        /// The steps' ids, in order.
        steps: Vec<StepId>,
    },
    /// The run enters a phase: `checks`, `services-stop`, `rollback-point`, `steps`, `validation`,
    /// `services-start`, `cleanup`, `undo`, `restore`, `verify`.
    Phase {
        /// Its name.
        phase: String,
    },
    /// A check has something to say.
    Finding {
        /// What.
        finding: Finding,
    },
    /// A rollback point was made.
    RollbackPoint {
        /// A line about it.
        message: String,
    },
    /// A service was stopped or started.
    Service {
        /// What happened.
        message: String,
    },
    /// A step begins (again).
    StepStarted {
        /// The step.
        step: StepId,
        /// Its place, from 1.
        index: usize,
        /// How many there are.
        total: usize,
        /// One line about it.
        title: String,
        /// 1 for the first try.
        attempt: u32,
    },
    /// A step has come further.
    StepProgress {
        /// The step.
        step: StepId,
        /// How much is done, in `unit`.
        done: u64,
        /// How much there is, where it is known.
        total: Option<u64>,
        /// `rows`, `statements`, `bytes`.
        unit: String,
    },
    /// A step ended well or had nothing to do.
    StepFinished {
        /// The step.
        step: StepId,
        /// One line about what it did.
        message: String,
        /// More lines.
        notes: Vec<String>,
        /// How long it took, in milliseconds.
        duration_ms: u64,
        /// Its effect was there before.
        skipped: bool,
    },
    /// A step failed.
    StepFailed {
        /// The step.
        step: StepId,
        /// Why.
        error: StepError,
    },
    /// A step was undone.
    StepUndone {
        /// The step.
        step: StepId,
        /// One line about it.
        message: String,
        /// What others wrote since and was left.
        left: Vec<String>,
    },
    /// A validation check was made.
    CheckResult {
        /// Its name.
        name: String,
        /// `pre`, `step` or `post`.
        phase: String,
        /// Whether it found what it expected.
        passed: bool,
        /// Whether a failure stops the run.
        critical: bool,
        /// What it expected.
        expected: Value,
        /// What it found.
        found: Value,
    },
    /// Something deserves attention and stops nothing.
    Warning {
        /// The step it comes from, if one.
        step: Option<StepId>,
        /// What.
        message: String,
    },
    /// The run ended.
    RunFinished {
        /// The run.
        run: RunId,
        /// `completed`, `rolled-back`, `stuck`, `interrupted`, `unchanged`.
        status: String,
        /// How long this process worked on it, in milliseconds.
        duration_ms: u64,
        /// How much of that it waited until entries of the journal were durable.
        journal_ms: u64,
    },
}

/// Takes events. Called from any thread; returns fast; never fails a run.
pub trait Reporter: Send + Sync {
    /// Takes one event.
    fn event(&self, event: &Event);
}

/// A reporter that keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn event(&self, _event: &Event) {}
}
