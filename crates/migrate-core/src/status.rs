//! What a log means: where a run and its steps stand, and what comes next.

mod transition;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::StepError;
use crate::journal::RunLog;
use crate::plan::StepId;
use crate::ports::{Fingerprint, Loss, OnDifference};
use crate::step::{Outcome, Receipt};

/// How a run is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Each step's undo by its receipt, last first.
    Reverse,
    /// The plan's own `rollback_steps`.
    Steps,
    /// The rollback point, all layers together.
    Restore,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// Opened; nothing is changed.
    Opened,
    /// Services are being stopped.
    StoppingServices,
    /// They are down.
    ServicesDown,
    /// The rollback point is being made.
    MakingPoint,
    /// Steps run.
    Executing,
    /// A step or check failed; the way back has not begun.
    Failed,
    /// All checks passed.
    Validated,
    /// The commit point is passed; services are being started.
    Committing,
    /// Services run; checks and cleanup are left.
    Serving,
    /// Services run or should, but something is wrong. A human decides.
    Unhealthy,
    /// Done.
    Completed,
    /// On the way back.
    RollingBack(Strategy),
    /// Everything is back; services are being started.
    Reverted,
    /// Back, and done.
    RolledBack,
    /// The way back failed. A human is needed.
    Stuck,
}

impl Phase {
    /// Whether nothing is left to do.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::RolledBack)
    }
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepStatus {
    /// Nothing happened.
    Pending,
    /// Its intent is durable; whether its effect happened must be looked at.
    Started,
    /// Its effect is there.
    Completed,
    /// Its effect was there before the run.
    Skipped,
    /// It failed; parts of its effect may be there.
    Failed,
    /// Its undo has begun.
    Undoing,
    /// It is undone.
    Undone,
    /// Its undo failed.
    UndoFailed,
}

/// A record that can't follow the status it met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IllegalTransition {
    /// Where the run stood.
    pub phase: Phase,
    /// What came, in words.
    pub record: String,
}

impl fmt::Display for IllegalTransition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} can't follow phase {:?}", self.record, self.phase)
    }
}

impl std::error::Error for IllegalTransition {}

/// What an operator does next with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextAction {
    /// It is done.
    Nothing,
    /// Go on with it.
    Resume,
    /// Take it back, by the strategy given if one must be chosen.
    RollBack(Option<Strategy>),
    /// Mend what the failure names by hand, then roll back.
    Manual,
}

/// What is known of one step.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StepState {
    /// The step.
    pub id: StepId,
    /// Where it stands.
    pub status: StepStatus,
    /// What its undo needs, once it was started.
    pub receipt: Option<Receipt>,
    /// What it did.
    pub outcome: Option<Outcome>,
    /// How long it took.
    pub duration_ms: u64,
    /// How often it was begun.
    pub attempts: u32,
}

/// Whether the database still holds what undos need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UndoData {
    /// It does.
    Kept,
    /// It was replaced: only the rollback point leads back.
    Gone,
}

/// What a log adds up to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RunState {
    /// Where the run stands.
    pub phase: Phase,
    /// Its steps, in the plan's order.
    pub steps: Vec<StepState>,
    /// The plan's `rollback_steps` that were begun, by name.
    pub rollback_steps: BTreeMap<StepId, StepState>,
    /// The services that ran before, once they were asked for.
    pub running: Option<Value>,
    /// Services are known to be down for the way back.
    pub down: bool,
    /// The rollback point.
    pub point: Option<Value>,
    /// The fingerprint of the scope with services down, where some had to be stopped.
    pub before: Option<Fingerprint>,
    /// The fingerprint as the run left the scope.
    pub after: Option<Fingerprint>,
    /// What others wrote while the run was under way.
    pub came_in: Vec<String>,
    /// The last failure.
    pub failure: Option<StepError>,
    /// What others wrote and the way back left.
    pub left: Vec<String>,
    /// The signal that stopped it last, until it was resumed.
    pub interrupted: Option<i32>,
    /// A user asked for the way back.
    pub requested: bool,
    /// A restore loses nothing, or that was agreed to, since the way back began.
    pub cleared: bool,
    /// What a restore loses of others, with their consent.
    pub loses: Vec<Loss>,
    /// What a restore does that differs from its rollback point.
    pub on_difference: OnDifference,
    /// What differed from before when all steps were undone, a line each: nobody knows whose it is,
    /// so a restore takes it only with consent.
    pub differs: Vec<String>,
    /// What the undos of its steps need, where the database was replaced since.
    pub undo_data: UndoData,
    /// Where the run stood when its way back began.
    before_way_back: Option<Box<RunState>>,
}

impl RunState {
    /// The state of a run that was just opened.
    pub fn opened(steps: impl IntoIterator<Item = StepId>) -> Self {
        Self {
            phase: Phase::Opened,
            steps: steps.into_iter().map(pending).collect(),
            rollback_steps: BTreeMap::new(),
            running: None,
            down: false,
            point: None,
            before: None,
            after: None,
            came_in: Vec::new(),
            failure: None,
            left: Vec::new(),
            interrupted: None,
            requested: false,
            cleared: false,
            loses: Vec::new(),
            on_difference: OnDifference::RollBack,
            differs: Vec::new(),
            undo_data: UndoData::Kept,
            before_way_back: None,
        }
    }

    /// The state that a log adds up to.
    ///
    /// # Errors
    /// The first record that can't follow the one before.
    pub fn replay(log: &RunLog) -> Result<Self, IllegalTransition> {
        let ids = log.header.plan.steps.iter().map(|step| step.id.clone());
        let opened = Self::opened(ids);
        log.records
            .iter()
            .try_fold(opened, |state, (_, record)| state.next(record))
    }

    /// A step's state.
    pub fn step(&self, id: &StepId) -> Option<&StepState> {
        self.steps.iter().find(|step| &step.id == id)
    }

    /// What an operator does next.
    pub fn next_action(&self) -> NextAction {
        match self.phase {
            Phase::Completed | Phase::RolledBack => NextAction::Nothing,
            Phase::Unhealthy => NextAction::RollBack(None),
            // Services could not be stopped: nothing was taken back yet.
            Phase::Stuck if !self.down && self.after.is_some() => NextAction::RollBack(None),
            Phase::Stuck if self.point.is_some() => NextAction::RollBack(Some(Strategy::Restore)),
            Phase::Stuck => NextAction::Manual,
            _ => NextAction::Resume,
        }
    }
}

fn pending(id: StepId) -> StepState {
    StepState {
        id,
        status: StepStatus::Pending,
        receipt: None,
        outcome: None,
        duration_ms: 0,
        attempts: 0,
    }
}
