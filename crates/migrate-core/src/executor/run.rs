//! One run in flight: its state, its steps, and the only place that writes its log.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{CheckOutcome, MigrationExecutor, MigrationResult, RollbackInfo, RunEnd, StepResult};
use crate::cancel::{Cancel, CancelCause, TIME_OVER};
use crate::error::{MigrationError, StepError};
use crate::event::Event;
use crate::finding::Finding;
use crate::journal::{JournalError, Record, RunHeader};
use crate::plan::MigrationStep;
use crate::ports::OwnWrites;
use crate::status::{Phase, RunState, StepState, StepStatus, UndoData};
use crate::step::{ScopeObject, Step, StepContext, Undoable};

pub(super) struct Run {
    pub(super) header: RunHeader,
    pub(super) state: RunState,
    pub(super) steps: Vec<Box<dyn Step>>,
    pub(super) rollback_steps: Vec<Box<dyn Step>>,
    pub(super) checks: Vec<CheckOutcome>,
    pub(super) findings: Vec<Finding>,
    pub(super) began: Instant,
    /// The time that appends to the journal took.
    pub(super) appending: Duration,
}

impl Run {
    pub(super) fn spec(&self, index: usize) -> &MigrationStep {
        &self.header.plan.steps[index]
    }

    pub(super) fn step_state(&self, index: usize) -> &StepState {
        &self.state.steps[index]
    }

    /// Whether a step's own undo can take it back.
    pub(super) fn undo_of(&self, index: usize) -> Undoable {
        match self.steps[index].describe().undo {
            Undoable::NotNeeded => Undoable::NotNeeded,
            _ if !self.spec(index).can_rollback => Undoable::No,
            undo => undo,
        }
    }

    /// The steps that did or may have done something, first to last.
    pub(super) fn touched(&self) -> Vec<usize> {
        let touched = |status| {
            !matches!(
                status,
                StepStatus::Pending | StepStatus::Skipped | StepStatus::Undone
            )
        };
        (0..self.steps.len())
            .filter(|index| touched(self.step_state(*index).status))
            .collect()
    }

    /// The steps that did something which no rollback point holds and that their undo takes back.
    pub(super) fn outside(&self) -> Vec<usize> {
        let undoable = |index: &usize| {
            self.is_outside(*index)
                && self.undo_of(*index) == Undoable::Yes
                && self.step_state(*index).status != StepStatus::UndoFailed
        };
        self.touched().into_iter().filter(undoable).collect()
    }

    pub(super) fn is_outside(&self, index: usize) -> bool {
        let scope = self.steps[index].describe().scope;
        scope
            .iter()
            .any(|object| matches!(object, ScopeObject::Outside(_)))
    }

    /// What was done outside and a restore leaves as it is, a line each.
    pub(super) fn left_outside(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let state = self.step_state(index);
            let why = match (state.status, self.undo_of(index)) {
                (StepStatus::Pending | StepStatus::Skipped, _) => continue,
                (StepStatus::UndoFailed, _) => "its undo failed",
                (_, Undoable::No) => "it has no undo",
                _ => continue,
            };
            if state.receipt.is_none() {
                continue;
            }
            for object in step.describe().scope {
                if let ScopeObject::Outside(what) = object {
                    let id = &state.id;
                    lines.push(format!("not undone, step {id}: {what}; {why}"));
                }
            }
        }
        lines
    }

    /// The tables that were there at the commit point and not before the run: a way back by
    /// receipts drops them.
    pub(super) fn made_tables(&self) -> Arc<[String]> {
        let Some(after) = &self.state.after else {
            return Arc::default();
        };
        let tables = after.0.keys().filter_map(|name| name.strip_prefix("rows "));
        let before = &self.header.before.0;
        // Without the catalog in it, a fingerprint knows only the tables that steps name.
        let whole = before.keys().any(|name| name.starts_with("catalog "));
        tables
            .filter(|table| whole && !before.contains_key(&format!("rows {table}")))
            .map(str::to_owned)
            .collect()
    }

    /// What the run wrote itself; none where a step can have written anything and leaves no
    /// note, so that others' changes can't be told from its own.
    pub(super) fn own_writes(&self) -> Option<OwnWrites> {
        if self.state.undo_data == UndoData::Gone {
            return None;
        }
        let mut own = OwnWrites {
            run: self.header.run.to_string(),
            ..OwnWrites::default()
        };
        for (index, step) in self.steps.iter().enumerate() {
            let state = self.step_state(index);
            if state.receipt.is_none() {
                continue;
            }
            let notes = step.notes_its_writes();
            if notes && !matches!(state.status, StepStatus::Started | StepStatus::Failed) {
                own.noted.push(state.id.clone());
            }
            for object in step.describe().scope {
                match object {
                    ScopeObject::Catalog if !notes => return None,
                    ScopeObject::Table(table) => own.tables.push(table),
                    _ => {}
                }
            }
        }
        let by_plan = self.state.rollback_steps.is_empty();
        by_plan.then_some(own)
    }

    /// Whether everything that was done can be undone by receipts.
    pub(super) fn reversible(&self) -> bool {
        self.state.undo_data == UndoData::Kept
            && self
                .touched()
                .into_iter()
                .all(|index| self.undo_of(index) != Undoable::No)
    }
}

/// Why the loop ends.
pub(super) enum Stop {
    /// The phase is final or needs a human.
    AtRest,
    /// A signal asked for it.
    Signal(i32),
    /// The journal can't be written: nothing further may be done.
    Journal(JournalError),
    /// A step did not end when asked to.
    Hung(StepError),
}

impl From<JournalError> for Stop {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl MigrationExecutor {
    /// Makes a record durable, then lets it count.
    pub(super) async fn record(&self, run: &mut Run, record: Record) -> Result<(), JournalError> {
        let state = run
            .state
            .clone()
            .next(&record)
            .map_err(|error| JournalError::Unreadable(error.to_string()))?;
        let began = Instant::now();
        let appended = self
            .journal
            .append(&run.header.run, self.clock.now(), &record)
            .await;
        run.appending += began.elapsed();
        appended?;
        run.state = state;
        Ok(())
    }

    pub(super) fn phase(&self, name: &str) {
        self.reporter.event(&Event::Phase {
            phase: name.to_owned(),
        });
    }

    pub(super) fn warn(&self, message: String) {
        self.reporter.event(&Event::Warning {
            step: None,
            message,
        });
    }

    pub(super) fn context(
        &self,
        run: &Run,
        spec: &MigrationStep,
        timeout: Duration,
    ) -> StepContext {
        let attempts = run.state.step(&spec.id).map_or(0, |step| step.attempts);
        StepContext {
            run: run.header.run.clone(),
            step: spec.id.clone(),
            attempt: attempts.max(1),
            timeout,
            cancel: Cancel::new(),
            reporter: self.reporter.clone(),
            drops: [].into(),
        }
    }

    /// Drives a run until it is at rest, then says how it ended.
    pub(super) async fn drive(&self, mut run: Run) -> Result<MigrationResult, MigrationError> {
        let stop = match self.until_rest(&mut run).await {
            Stop::Journal(error) => self.after_all(&mut run, error).await,
            stop => stop,
        };
        let end = match (&stop, run.state.phase) {
            (Stop::Signal(_), _) => "interrupted",
            (Stop::AtRest, Phase::Completed) => "completed",
            (Stop::AtRest, Phase::RolledBack) => "rolled-back",
            _ => "stuck",
        };
        self.reporter.event(&Event::RunFinished {
            run: run.header.run.clone(),
            status: end.to_owned(),
            duration_ms: millis(run.began.elapsed()),
            journal_ms: millis(run.appending),
        });
        let failure = || {
            let unknown = StepError::failed("the run is not at rest");
            run.state.failure.clone().unwrap_or(unknown)
        };
        match stop {
            Stop::Signal(signal) => Err(MigrationError::Interrupted { signal }),
            Stop::Journal(error) => Err(MigrationError::Stuck {
                error: StepError::caused(
                    "the journal can't be written; nothing further was done",
                    &error,
                ),
            }),
            Stop::Hung(error) => Err(MigrationError::Stuck { error }),
            Stop::AtRest => match run.state.phase {
                Phase::Completed => Ok(self.result(run, RunEnd::Completed)),
                Phase::RolledBack if run.state.requested => {
                    Ok(self.result(run, RunEnd::RolledBack))
                }
                Phase::RolledBack => Err(MigrationError::RolledBack { error: failure() }),
                _ => Err(MigrationError::Stuck { error: failure() }),
            },
        }
    }

    /// An append that failed may have become durable all the same. Where that was the last
    /// entry, nothing is left to do: that is looked at, not guessed.
    async fn after_all(&self, run: &mut Run, error: JournalError) -> Stop {
        let logs = self.journal.runs().await.unwrap_or_default();
        let log = logs.iter().find(|log| log.header.run == run.header.run);
        match log.and_then(|log| RunState::replay(log).ok()) {
            Some(state) if state.phase.is_final() => {
                run.state = state;
                self.warn(format!("the run's last entry is written, but: {error}"));
                Stop::AtRest
            }
            _ => Stop::Journal(error),
        }
    }

    async fn until_rest(&self, run: &mut Run) -> Stop {
        if at_rest(run.state.phase) {
            return Stop::AtRest;
        }
        if let Err(error) = self.guard.arm(&run.header.run).await {
            if run.state.phase != Phase::Opened {
                return Stop::Hung(error);
            }
            if let Err(error) = self.record(run, Record::ValidationFailed { error }).await {
                return Stop::Journal(error);
            }
        }
        loop {
            if at_rest(run.state.phase) {
                return Stop::AtRest;
            }
            if let Some(CancelCause::Signal(signal)) = self.cancel.cause()
                && !(signal == TIME_OVER && run.state.phase == Phase::Reverted)
            {
                return self.interrupted(run, signal).await;
            }
            if self.deadline_passed() && before_commit(run.state.phase) {
                let error = StepError::failed("it was not done by then");
                if let Err(error) = self.fail(run, error).await {
                    return Stop::Journal(error);
                }
                continue;
            }
            let done = match run.state.phase {
                Phase::RollingBack(strategy) => self.one_back(run, strategy).await,
                Phase::Reverted => self.finish_rollback(run).await,
                _ => self.one_forward(run).await,
            };
            match done {
                Ok(()) => {}
                Err(Stop::Signal(signal)) => return self.interrupted(run, signal).await,
                Err(stop) => return stop,
            }
        }
    }

    async fn interrupted(&self, run: &mut Run, signal: i32) -> Stop {
        match self.record(run, Record::Interrupted { signal }).await {
            Ok(()) => Stop::Signal(signal),
            Err(error) => Stop::Journal(error),
        }
    }

    fn result(&self, run: Run, end: RunEnd) -> MigrationResult {
        let reversible = run.reversible();
        let point = run.state.point.as_ref();
        let rollback_info = (end == RunEnd::Completed).then(|| RollbackInfo {
            version: run.header.plan.from_version.clone(),
            point: point.map(|point| self.points.describe(point)),
            reversible,
        });
        MigrationResult {
            run: Some(run.header.run),
            completed_steps: run.state.steps.iter().map(step_result).collect(),
            total_duration: run.began.elapsed(),
            rollback_info,
            checks: run.checks,
            left: run.state.left,
            came_in: run.state.came_in,
            previews: Vec::new(),
            findings: run.findings,
            end,
        }
    }
}

/// Where a deadline still turns a run back.
fn before_commit(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Opened
            | Phase::StoppingServices
            | Phase::ServicesDown
            | Phase::MakingPoint
            | Phase::Executing
            | Phase::Validated
    )
}

fn at_rest(phase: Phase) -> bool {
    phase.is_final() || matches!(phase, Phase::Stuck | Phase::Unhealthy)
}

fn step_result(step: &StepState) -> StepResult {
    let outcome = step.outcome.clone().unwrap_or_default();
    StepResult {
        step_id: step.id.clone(),
        success: matches!(
            step.status,
            StepStatus::Completed | StepStatus::Skipped | StepStatus::Undone
        ),
        duration: Duration::from_millis(step.duration_ms),
        message: outcome.message,
        notes: outcome.notes,
        figures: outcome.figures,
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
