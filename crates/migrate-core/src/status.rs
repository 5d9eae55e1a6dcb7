//! What a log means: one pure function from status and record to status.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::StepError;
use crate::journal::{Record, RunLog};
use crate::plan::StepId;
use crate::ports::{Fingerprint, Loss};
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
            failure: None,
            left: Vec::new(),
            interrupted: None,
            requested: false,
            cleared: false,
            loses: Vec::new(),
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

    /// The state after `record`. Pure; used live and when a log is read back.
    ///
    /// # Errors
    /// The record can't follow this state.
    pub fn next(mut self, record: &Record) -> Result<Self, IllegalTransition> {
        use Phase as P;
        let illegal = IllegalTransition {
            phase: self.phase,
            record: name_of(record),
        };
        let phase = match (self.phase, record) {
            (phase, Record::Resumed { .. }) if phase != P::RolledBack => {
                self.interrupted = None;
                phase
            }
            (phase, Record::Interrupted { signal }) if !phase.is_final() => {
                self.interrupted = Some(*signal);
                phase
            }
            (P::Opened | P::StoppingServices, Record::ServicesStopping { running }) => {
                self.running = Some(running.clone());
                P::StoppingServices
            }
            (P::StoppingServices, Record::ServicesStopped) => P::ServicesDown,
            (P::ServicesDown, Record::AtRest { before }) => {
                self.before = Some(before.clone());
                P::ServicesDown
            }
            (P::Executing, Record::OthersWrote { who }) => {
                self.left.push(who.clone());
                P::Executing
            }
            (P::ServicesDown | P::MakingPoint, Record::PointStarted) => P::MakingPoint,
            (P::MakingPoint, Record::PointCreated { point }) => {
                self.point = Some(point.clone());
                P::Executing
            }
            (P::ServicesDown, Record::PointSkipped) => P::Executing,
            (P::Executing | P::Serving, Record::StepStarted { step, receipt })
                if self.none_in_flight() =>
            {
                let state = self.step_mut(step, &[StepStatus::Pending], &illegal)?;
                state.status = StepStatus::Started;
                state.receipt = Some(receipt.clone());
                state.attempts = 1;
                self.phase
            }
            (P::Executing | P::Serving, Record::StepResumed { step }) => {
                let state = self.step_mut(step, &[StepStatus::Started], &illegal)?;
                state.attempts += 1;
                self.phase
            }
            (P::Executing | P::Serving, Record::StepSkipped { step, reason }) => {
                let state = self.step_mut(step, &[StepStatus::Pending], &illegal)?;
                state.status = StepStatus::Skipped;
                state.outcome = Some(Outcome::line(reason.clone()));
                self.phase
            }
            (
                P::Executing | P::Serving,
                Record::StepCompleted {
                    step,
                    outcome,
                    duration_ms,
                },
            ) => {
                let state = self.step_mut(step, &[StepStatus::Started], &illegal)?;
                state.status = StepStatus::Completed;
                state.outcome = Some(outcome.clone());
                state.duration_ms = *duration_ms;
                self.phase
            }
            (P::Executing, Record::StepFailed { step, error }) => {
                let may = [
                    StepStatus::Pending,
                    StepStatus::Started,
                    StepStatus::Completed,
                    StepStatus::Skipped,
                ];
                let state = self.step_mut(step, &may, &illegal)?;
                if matches!(state.status, StepStatus::Started | StepStatus::Completed) {
                    state.status = StepStatus::Failed;
                }
                self.failure = Some(error.clone());
                P::Failed
            }
            (P::Serving, Record::DeferredFailed { step, error }) => {
                let may = [StepStatus::Pending, StepStatus::Started];
                let state = self.step_mut(step, &may, &illegal)?;
                state.status = StepStatus::Failed;
                state.outcome = Some(Outcome::line(format!("failed: {error}")));
                P::Serving
            }
            (P::Executing, Record::Validated) if self.none_in_flight() => P::Validated,
            (
                P::Opened
                | P::StoppingServices
                | P::ServicesDown
                | P::MakingPoint
                | P::Executing
                | P::Validated,
                Record::ValidationFailed { error },
            ) => {
                self.failure = Some(error.clone());
                P::Failed
            }
            (P::Validated, Record::Committing { after }) => {
                self.after = Some(after.clone());
                P::Committing
            }
            (P::Committing | P::Unhealthy, Record::ServicesStarted) => P::Serving,
            (P::Committing | P::Serving | P::Unhealthy, Record::CommittedUnhealthy { error }) => {
                self.failure = Some(error.clone());
                P::Unhealthy
            }
            (P::Serving, Record::Completed) => P::Completed,
            (
                phase,
                Record::RollbackStarted {
                    strategy,
                    requested,
                    cleared,
                    loses,
                },
            ) if may_roll_back(phase, *strategy, *requested) => {
                self.requested |= *requested;
                self.cleared |= *cleared;
                self.loses.extend(loses.iter().cloned());
                match phase {
                    P::Completed | P::Serving => {
                        self.down = false;
                        self.running = None;
                    }
                    // Some may not have started: those that ran before run after.
                    P::Committing | P::Unhealthy => self.down = false,
                    P::RollingBack(_) | P::Stuck => {}
                    // Before the commit point nothing has started services again.
                    _ => self.down = true,
                }
                P::RollingBack(*strategy)
            }
            (P::RollingBack(strategy), Record::ServicesStopping { running }) => {
                self.running = Some(running.clone());
                P::RollingBack(strategy)
            }
            (P::RollingBack(strategy), Record::ServicesStopped) => {
                self.down = true;
                P::RollingBack(strategy)
            }
            (P::RollingBack(Strategy::Reverse), Record::UndoStarted { step }) => {
                let may = [
                    StepStatus::Started,
                    StepStatus::Completed,
                    StepStatus::Failed,
                    StepStatus::Undoing,
                    StepStatus::UndoFailed,
                ];
                self.step_mut(step, &may, &illegal)?.status = StepStatus::Undoing;
                self.phase
            }
            (P::RollingBack(Strategy::Reverse), Record::Undone { step, report }) => {
                let state = self.step_mut(step, &[StepStatus::Undoing], &illegal)?;
                state.status = StepStatus::Undone;
                self.left.extend(report.left.iter().cloned());
                self.phase
            }
            (P::RollingBack(Strategy::Reverse), Record::UndoFailed { step, error }) => {
                let state = self.step_mut(step, &[StepStatus::Undoing], &illegal)?;
                state.status = StepStatus::UndoFailed;
                self.failure = Some(error.clone());
                P::Stuck
            }
            (P::RollingBack(Strategy::Steps), Record::RollbackStepStarted { step, receipt }) => {
                let state = self
                    .rollback_steps
                    .entry(step.clone())
                    .or_insert_with(|| pending(step.clone()));
                state.status = StepStatus::Started;
                state.receipt.get_or_insert_with(|| receipt.clone());
                state.attempts += 1;
                self.phase
            }
            (P::RollingBack(Strategy::Steps), Record::RollbackStepCompleted { step, outcome }) => {
                let state = self.rollback_steps.get_mut(step).ok_or(illegal)?;
                state.status = StepStatus::Completed;
                state.outcome = Some(outcome.clone());
                self.phase
            }
            (P::RollingBack(Strategy::Restore), Record::RestoreStarted) => self.phase,
            (P::RollingBack(Strategy::Restore), Record::Restored { .. }) => {
                for step in &mut self.steps {
                    if step.status != StepStatus::Pending && step.status != StepStatus::Skipped {
                        step.status = StepStatus::Undone;
                    }
                }
                self.phase
            }
            (P::RollingBack(_), Record::Reverted { left }) => {
                self.left.clone_from(left);
                P::Reverted
            }
            (P::RollingBack(Strategy::Steps), Record::RollbackStepFailed { error, .. })
            | (P::RollingBack(_), Record::RevertedDifferent { error })
            | (P::RollingBack(_) | P::Reverted, Record::RestoreFailed { error }) => {
                self.failure = Some(error.clone());
                P::Stuck
            }
            (P::Reverted, Record::RolledBack) => P::RolledBack,
            _ => return Err(illegal),
        };
        self.phase = phase;
        Ok(self)
    }

    fn none_in_flight(&self) -> bool {
        self.steps
            .iter()
            .all(|step| step.status != StepStatus::Started)
    }

    fn step_mut(
        &mut self,
        id: &StepId,
        may: &[StepStatus],
        illegal: &IllegalTransition,
    ) -> Result<&mut StepState, IllegalTransition> {
        self.steps
            .iter_mut()
            .find(|step| &step.id == id && may.contains(&step.status))
            .ok_or_else(|| illegal.clone())
    }
}

fn may_roll_back(phase: Phase, strategy: Strategy, requested: bool) -> bool {
    let by_itself = matches!(
        phase,
        Phase::Opened
            | Phase::StoppingServices
            | Phase::ServicesDown
            | Phase::MakingPoint
            | Phase::Executing
            | Phase::Failed
            | Phase::Validated
    );
    let when_asked = matches!(
        phase,
        Phase::Completed
            | Phase::Committing
            | Phase::Serving
            | Phase::Unhealthy
            | Phase::Stuck
            | Phase::RollingBack(_)
    );
    let steps_only_after_completion = strategy != Strategy::Steps
        || matches!(
            phase,
            Phase::Completed | Phase::Stuck | Phase::RollingBack(_)
        );
    steps_only_after_completion && (by_itself || (requested && when_asked))
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

fn name_of(record: &Record) -> String {
    let text = format!("{record:?}");
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(text.len());
    text[..end].to_owned()
}
