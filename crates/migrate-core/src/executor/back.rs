//! The way back, one thing at a time.

use std::time::Duration;

use tokio::sync::Notify;

use super::MigrationExecutor;
use super::bounded::{Ended, bounded};
use super::run::{Run, Stop};
use crate::error::{StepError, StepErrorKind};
use crate::event::Event;
use crate::journal::Record;
use crate::ports::{Fingerprint, Loss, RestoreOrder, RowsOfOthers};
use crate::status::{Phase, RunState, StepStatus, Strategy};
use crate::step::{StepContext, Undoable};

/// An undo gets four times its step's timeout, and never less than this.
const LEAST_UNDO_TIME: Duration = Duration::from_mins(10);

impl MigrationExecutor {
    /// Does the next thing on the way back.
    pub(super) async fn one_back(&self, run: &mut Run, strategy: Strategy) -> Result<(), Stop> {
        if !run.state.down {
            return self.stop_services(run).await;
        }
        if !matches!(strategy, Strategy::Restore)
            && Self::nothing_is_back(run)
            && let Err(error) = self.keep_what_is_lost(run).await
        {
            return Ok(self.record(run, Record::RestoreFailed { error }).await?);
        }
        match strategy {
            Strategy::Reverse => match run.touched().last() {
                Some(index) => self.undo(run, *index).await,
                None => self.compare(run, strategy).await,
            },
            Strategy::Steps => self.one_rollback_step(run).await,
            Strategy::Restore => {
                if !run.state.requested && !run.state.loses.is_empty() {
                    let error = self.with_copy(run, others_wrote(&run.state.loses)).await;
                    return Ok(self.record(run, Record::RestoreFailed { error }).await?);
                }
                // No rollback point holds what commands did elsewhere.
                match run.outside().last() {
                    Some(index) => self.undo(run, *index).await,
                    None => self.restore(run).await,
                }
            }
        }
    }

    /// Whether a way back step by step has yet to begin.
    fn nothing_is_back(run: &Run) -> bool {
        let begun = |status| matches!(status, StepStatus::Undoing | StepStatus::Undone);
        run.state.rollback_steps.is_empty()
            && !run.state.steps.iter().any(|step| begun(step.status))
    }

    async fn undo(&self, run: &mut Run, index: usize) -> Result<(), Stop> {
        let spec = run.spec(index).clone();
        let step = spec.id.clone();
        let timeout = spec.timeout.saturating_mul(4).max(LEAST_UNDO_TIME);
        let cx = StepContext {
            drops: run.made_tables(),
            ..self.context(run, &spec, timeout)
        };
        let begun = |status| matches!(status, StepStatus::Undoing | StepStatus::Undone);
        if !run.state.steps.iter().any(|step| begun(step.status)) {
            self.phase("undo");
        }
        self.record(run, Record::UndoStarted { step: step.clone() })
            .await?;
        let receipt = run.step_state(index).receipt.clone();
        let mut back = Vec::new();
        let ended = match (run.undo_of(index), receipt) {
            (Undoable::No, _) => Ended::Failed(
                StepError::failed("it can't be undone, and there is no rollback point")
                    .hint("restore a backup of your own"),
            ),
            (_, None) => Ended::Failed(StepError::failed("its receipt is missing")),
            (_, Some(receipt)) => {
                let call = run.steps[index].undo(&cx, &receipt);
                let over = Notify::new();
                let undone = async {
                    let signal = self.cancel.signalled();
                    let ended = bounded(timeout, signal, &cx.cancel, call).await;
                    over.notify_one();
                    ended
                };
                let (ended, others) = tokio::join!(undone, self.keep_down(run, &over));
                back = others;
                ended
            }
        };
        match ended {
            Ended::Well(mut report) => {
                report.left.extend(back);
                self.reporter.event(&Event::StepUndone {
                    step: step.clone(),
                    message: report.message.clone(),
                    left: report.left.clone(),
                });
                Ok(self.record(run, Record::Undone { step, report }).await?)
            }
            Ended::Failed(error) => {
                let error = StepError {
                    message: format!("undo of step {step}: {}", error.message),
                    ..error
                };
                let error = no_verdict(error)?;
                if run.state.phase == Phase::RollingBack(Strategy::Restore) {
                    self.warn(format!(
                        "{error}; the rollback point is restored all the same"
                    ));
                }
                Ok(self.record(run, Record::UndoFailed { step, error }).await?)
            }
            Ended::Interrupted(signal) => Err(Stop::Signal(signal)),
            Ended::Hung(error) => Err(Stop::Hung(error)),
        }
    }

    /// What a way back takes from others is copied first, also when they agreed to lose it.
    async fn keep_what_is_lost(&self, run: &Run) -> Result<(), StepError> {
        let unwanted = self
            .options
            .skip_checks
            .iter()
            .any(|one| one == "safety-copy");
        if run.state.loses.is_empty() || unwanted {
            return Ok(());
        }
        self.phase("safety-copy");
        let back_to = &run.header.plan.from_version;
        match self.points.safety_copy(back_to, &self.cancel).await {
            Ok(message) => {
                self.reporter.event(&Event::RollbackPoint { message });
                Ok(())
            }
            Err(error) => Err(StepError {
                message: format!("the safety copy of what would be lost: {}", error.message),
                ..error
            }),
        }
    }

    async fn restore(&self, run: &mut Run) -> Result<(), Stop> {
        if let Err(error) = self.keep_what_is_lost(run).await {
            return Ok(self.record(run, Record::RestoreFailed { error }).await?);
        }
        self.phase("restore");
        self.record(run, Record::RestoreStarted).await?;
        let Some(point) = run.state.point.clone() else {
            let error = StepError::failed("there is no rollback point to restore");
            return Ok(self.record(run, Record::RestoreFailed { error }).await?);
        };
        let agreed = run.state.requested && !run.state.loses.is_empty();
        let order = RestoreOrder {
            others: match run.own_writes() {
                Some(own) if !agreed => RowsOfOthers::Keep(own),
                _ => RowsOfOthers::Replace,
            },
            on_difference: run.state.on_difference,
        };
        match self.points.restore(&point, &order).await {
            Ok(report) => {
                for loss in &report.kept {
                    self.warn(format!("kept as it is: {loss}"));
                }
                let record = Record::Restored {
                    message: report.message,
                    differences: report.differences,
                    kept: report.kept,
                };
                self.record(run, record).await?;
                self.compare(run, Strategy::Restore).await
            }
            Err(error) => {
                let mut error = no_verdict(error)?;
                if error.kind == StepErrorKind::OthersWrote {
                    error = self.with_copy(run, error).await;
                }
                Ok(self.record(run, Record::RestoreFailed { error }).await?)
            }
        }
    }

    /// What others wrote is copied as soon as it is in the way of a restore, whatever a user
    /// decides then.
    async fn with_copy(&self, run: &Run, error: StepError) -> StepError {
        if self
            .options
            .skip_checks
            .iter()
            .any(|one| one == "safety-copy")
        {
            return error;
        }
        self.phase("safety-copy");
        let back_to = &run.header.plan.from_version;
        match self.points.safety_copy(back_to, &self.cancel).await {
            Ok(message) => error.cause(message),
            Err(failed) => error.cause(format!("no safety copy could be made: {failed}")),
        }
    }

    async fn one_rollback_step(&self, run: &mut Run) -> Result<(), Stop> {
        let done = |state: &RunState, id| {
            state
                .rollback_steps
                .get(id)
                .is_some_and(|step| step.status == StepStatus::Completed)
        };
        let specs = run.header.plan.rollback_steps.clone();
        let next = specs.iter().position(|spec| !done(&run.state, &spec.id));
        let Some(index) = next else {
            return self.compare(run, Strategy::Steps).await;
        };
        let spec = &specs[index];
        let step = spec.id.clone();
        let cx = self.context(run, spec, spec.timeout);
        self.reporter.event(&Event::StepStarted {
            step: step.clone(),
            index: index + 1,
            total: specs.len(),
            title: run.rollback_steps[index].describe().title,
            attempt: cx.attempt,
        });
        let known = run.state.rollback_steps.get(&step);
        let receipt = match known.and_then(|state| state.receipt.clone()) {
            Some(receipt) => Ok(receipt),
            None => run.rollback_steps[index].prepare(&cx).await,
        };
        let receipt = match receipt {
            Ok(receipt) => receipt,
            Err(error) => {
                return Ok(self
                    .record(run, Record::RollbackStepFailed { step, error })
                    .await?);
            }
        };
        let record = Record::RollbackStepStarted {
            step: step.clone(),
            receipt: receipt.clone(),
        };
        self.record(run, record).await?;
        let call = run.rollback_steps[index].run(&cx, &receipt);
        match bounded(spec.timeout, self.cancel.signalled(), &cx.cancel, call).await {
            Ended::Well(outcome) => {
                let record = Record::RollbackStepCompleted { step, outcome };
                Ok(self.record(run, record).await?)
            }
            Ended::Failed(error) => Ok(self
                .record(run, Record::RollbackStepFailed { step, error })
                .await?),
            Ended::Interrupted(signal) => Err(Stop::Signal(signal)),
            Ended::Hung(error) => Err(Stop::Hung(error)),
        }
    }

    /// "Rolled back" means equal to the fingerprint before, except what others wrote, which is listed.
    async fn compare(&self, run: &mut Run, strategy: Strategy) -> Result<(), Stop> {
        self.phase("verify");
        let untouched = nothing_was_begun(run);
        let now = match self.observer.fingerprint(&run.header.scope).await {
            Ok(now) => now,
            Err(error) if untouched => {
                let left = vec![format!(
                    "nothing was changed; it can't be compared: {error}"
                )];
                return Ok(self.record(run, Record::Reverted { left }).await?);
            }
            Err(error) => {
                return Ok(self.record(run, Record::RestoreFailed { error }).await?);
            }
        };
        let before = run.state.before.as_ref().unwrap_or(&run.header.before);
        let (by_triggers, mut differences) = match self.split_differences(before, &now).await {
            Ok(split) => split,
            Err(error) => {
                return Ok(self.record(run, Record::RestoreFailed { error }).await?);
            }
        };
        // Where nobody had written when a user asked for the way back, what differs is nobody else's.
        let nobody = run.state.requested
            && run.state.after.is_some()
            && run.state.cleared
            && run.state.loses.is_empty();
        let others_wrote = !nobody && (run.state.after.is_some() || !run.state.left.is_empty());
        let explained = match strategy {
            Strategy::Reverse => others_wrote || untouched,
            Strategy::Steps => true,
            // The database was compared with the point before the restore committed: what
            // differs since, or from before the point, is the work of others, or was accepted.
            Strategy::Restore => !differences
                .iter()
                .any(|one| one.starts_with("file ") && !was_accepted(run, one)),
        };
        let mut left = run.state.left.clone();
        if strategy == Strategy::Restore {
            let outside = run.left_outside();
            if !run.state.requested {
                for line in &outside {
                    self.warn(line.clone());
                }
            }
            left.extend(outside);
            if explained {
                differences.clear();
            }
        }
        let beside = match strategy {
            Strategy::Reverse if !differences.is_empty() && !explained => self.beside(run).await,
            _ => Vec::new(),
        };
        let explained = explained
            || differences
                .iter()
                .all(|one| beside.iter().any(|loss| is_about(one, loss)));
        if !differences.is_empty() && !explained {
            let mut error =
                StepError::failed("what is there now differs from what was there before");
            error.causes = differences;
            return Ok(self
                .record(run, Record::RevertedDifferent { error })
                .await?);
        }
        left.extend(beside.iter().map(|loss| format!("of others: {loss}")));
        if !beside.is_empty() {
            differences.clear();
        }
        left.extend(
            differences
                .into_iter()
                .map(|one| format!("differs from before: {one}")),
        );
        left.extend(by_triggers.into_iter().map(|one| {
            format!("differs from before, because statements of this run fired triggers of the database: {one}")
        }));
        Ok(self.record(run, Record::Reverted { left }).await?)
    }

    /// What others wrote beside the run, where that can be told.
    async fn beside(&self, run: &Run) -> Vec<Loss> {
        let (Some(point), Some(own)) = (&run.state.point, run.own_writes()) else {
            return Vec::new();
        };
        let found = self.observer.beside(&own, point, None).await;
        found.unwrap_or_default()
    }

    /// What differs: rows that the user's triggers write, and everything else. A log of DDL or an
    /// audit table grows with every statement, also with those that undo.
    async fn split_differences(
        &self,
        before: &Fingerprint,
        now: &Fingerprint,
    ) -> Result<(Vec<String>, Vec<String>), StepError> {
        let all = before.differences(now);
        if all.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let written = self.observer.written_by_triggers().await?;
        let by_trigger = |line: &String| {
            let name = line.rsplit_once(": ").map(|(name, _)| name);
            name.is_some_and(|name| {
                written.iter().any(|one| one == name)
                    && before.0.contains_key(name)
                    && now.0.contains_key(name)
            })
        };
        Ok(all.into_iter().partition(by_trigger))
    }

    pub(super) async fn finish_rollback(&self, run: &mut Run) -> Result<(), Stop> {
        for index in 0..run.steps.len() {
            let Some(receipt) = run.step_state(index).receipt.clone() else {
                continue;
            };
            let spec = run.spec(index).clone();
            let cx = self.context(run, &spec, LEAST_UNDO_TIME);
            if let Err(error) = run.steps[index].forget(&cx, &receipt).await {
                self.warn(format!(
                    "step {}: its storage was not removed: {error}",
                    spec.id
                ));
            }
        }
        self.end_watches(run).await;
        if let Err(error) = self.observer.unmark(&run.header.run).await {
            self.warn(format!("the marks of rows were not removed: {error}"));
        }
        self.phase("services-start");
        let running = run.state.running.clone().unwrap_or_default();
        if !running.is_null() {
            match self.services.start(&running).await {
                Ok(messages) => self.tell_services(messages),
                Err(error) => {
                    return Ok(self.record(run, Record::RestoreFailed { error }).await?);
                }
            }
        }
        if self.nobody_else_needs_our_objects(run).await
            && let Err(error) = self.guard.disarm().await
        {
            self.warn(format!("our own tables were not removed: {error}"));
        }
        Ok(self.record(run, Record::RolledBack).await?)
    }

    /// Other runs that can still be rolled back keep their pre-images in our schema.
    async fn nobody_else_needs_our_objects(&self, run: &Run) -> bool {
        let Ok(logs) = self.journal.runs().await else {
            return false;
        };
        logs.iter()
            .filter(|log| log.header.run != run.header.run)
            .all(|log| {
                RunState::replay(log).is_ok_and(|state| state.phase == crate::Phase::RolledBack)
            })
    }
}

/// A restore that nobody asked for takes nothing of others.
fn others_wrote(losses: &[Loss]) -> StepError {
    let mut error = StepError::failed(
        "others wrote to what the upgrade writes while it ran, and restoring the rollback point would lose it; \
         nothing was restored",
    );
    error.kind = StepErrorKind::OthersWrote;
    error.causes = losses.iter().map(ToString::to_string).collect();
    error
}

/// Whether a restore reported of an object that it stays as it is.
fn was_accepted(run: &Run, difference: &str) -> bool {
    let name = difference.split(": ").next().unwrap_or_default();
    let accepted = format!("accepted: {name}: ");
    run.state.left.iter().any(|one| one.starts_with(&accepted))
}

/// Whether a difference is in the rows of a table that others wrote to.
fn is_about(difference: &str, loss: &Loss) -> bool {
    let rows = difference.strip_prefix("rows ");
    let table = rows
        .and_then(|rest| rest.split_once(": "))
        .map(|(name, _)| name);
    table.is_some() && table == loss.object.strip_prefix("table ")
}

/// Whether no step of the run ever did anything: what differs is the work of others.
fn nothing_was_begun(run: &Run) -> bool {
    let idle = |status| matches!(status, StepStatus::Pending | StepStatus::Skipped);
    run.state.rollback_steps.is_empty() && run.state.steps.iter().all(|step| idle(step.status))
}

/// A server that does not answer says nothing about the undo: the run stays open, and a resume
/// tries again.
fn no_verdict(error: StepError) -> Result<StepError, Stop> {
    if error.kind == StepErrorKind::Unreachable {
        Err(Stop::Hung(error))
    } else {
        Ok(error)
    }
}
