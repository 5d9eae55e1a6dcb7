//! Which record may follow which state: the only place that decides it.

use super::{
    IllegalTransition, Phase, RunState, StepState, StepStatus, Strategy, UndoData, pending,
};
use crate::error::StepError;
use crate::journal::Record;
use crate::plan::StepId;
use crate::ports::{Loss, OnDifference};
use crate::step::Outcome;

impl RunState {
    /// The state after `record`. Pure; used live and when a log is read back.
    ///
    /// # Errors
    /// The record can't follow this state.
    pub fn next(mut self, record: &Record) -> Result<Self, IllegalTransition> {
        use Phase as P;
        let before = self.phase;
        let illegal = || IllegalTransition {
            phase: before,
            record: name_of(record),
        };
        let phase = match (self.phase, record) {
            (phase, Record::Resumed { .. }) if phase != P::RolledBack => {
                self.interrupted = None;
                phase
            }
            (phase, Record::BroughtBack { message }) if self.before_way_back.is_some() => {
                return Ok(self.brought_back(phase, message));
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
            // A second time where others wrote until the first was written.
            (P::Validated | P::Committing, Record::Committing { after, came_in }) => {
                self.after = Some(after.clone());
                self.came_in.clone_from(came_in);
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
                    on_difference,
                },
            ) if may_roll_back(phase, *strategy, *requested) => {
                if self.before_way_back.is_none() {
                    self.before_way_back = Some(Box::new(self.clone()));
                }
                if *strategy == Strategy::Restore {
                    self.try_undos_again();
                }
                if *requested && !self.requested {
                    // What an automatic way back met was looked for again.
                    self.loses.clear();
                }
                self.requested |= *requested;
                self.cleared |= *cleared;
                self.loses.extend(loses.iter().cloned());
                if *on_difference == OnDifference::Accept {
                    self.on_difference = *on_difference;
                }
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
            (
                P::RollingBack(Strategy::Reverse | Strategy::Restore),
                Record::UndoStarted { step },
            ) => {
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
            (
                P::RollingBack(Strategy::Reverse | Strategy::Restore),
                Record::Undone { step, report },
            ) => {
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
            // The rollback point brings back all else.
            (P::RollingBack(Strategy::Restore), Record::UndoFailed { step, .. }) => {
                let state = self.step_mut(step, &[StepStatus::Undoing], &illegal)?;
                state.status = StepStatus::UndoFailed;
                self.phase
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
                let state = self.rollback_steps.get_mut(step).ok_or_else(illegal)?;
                state.status = StepStatus::Completed;
                state.outcome = Some(outcome.clone());
                self.phase
            }
            (P::RollingBack(Strategy::Restore), Record::RestoreStarted) => self.phase,
            (
                P::RollingBack(Strategy::Restore),
                Record::Restored {
                    differences, kept, ..
                },
            ) => {
                let of_others = |one: &Loss| format!("kept: {one}");
                self.left.extend(kept.iter().map(of_others));
                let accepted = |one: &String| format!("accepted: {one}");
                self.left.extend(differences.iter().map(accepted));
                let kept = [
                    StepStatus::Pending,
                    StepStatus::Skipped,
                    StepStatus::UndoFailed,
                ];
                for step in &mut self.steps {
                    if !kept.contains(&step.status) {
                        step.status = StepStatus::Undone;
                    }
                }
                self.phase
            }
            (P::RollingBack(_), Record::Reverted { left }) => {
                self.left.clone_from(left);
                P::Reverted
            }
            (P::RollingBack(_), Record::RevertedDifferent { error }) => {
                self.differs.clone_from(&error.causes);
                self.failure = Some(error.clone());
                P::Stuck
            }
            (P::RollingBack(Strategy::Steps), Record::RollbackStepFailed { error, .. })
            | (P::RollingBack(_) | P::Reverted, Record::RestoreFailed { error }) => {
                self.failure = Some(error.clone());
                P::Stuck
            }
            (P::Reverted, Record::RolledBack) => P::RolledBack,
            _ => return Err(illegal()),
        };
        self.phase = phase;
        Ok(self)
    }

    /// What the run had left stands again; what undos need of it is gone with the database that
    /// was replaced in between.
    fn brought_back(self, now: Phase, message: &str) -> Self {
        let mut left = match self.before_way_back {
            Some(state) => *state,
            None => return Self { phase: now, ..self },
        };
        left.undo_data = UndoData::Gone;
        if left.phase != Phase::Completed {
            left.failure = Some(StepError::failed(format!(
                "{message} as it was in the middle of this run"
            )));
            left.phase = Phase::Stuck;
        }
        left
    }

    /// A restore tries once more what an earlier way back could not undo.
    fn try_undos_again(&mut self) {
        for step in &mut self.steps {
            if step.status == StepStatus::UndoFailed {
                step.status = StepStatus::Failed;
            }
        }
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
        illegal: &impl Fn() -> IllegalTransition,
    ) -> Result<&mut StepState, IllegalTransition> {
        self.steps
            .iter_mut()
            .find(|step| &step.id == id && may.contains(&step.status))
            .ok_or_else(illegal)
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

fn name_of(record: &Record) -> String {
    let text = format!("{record:?}");
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(text.len());
    text[..end].to_owned()
}
