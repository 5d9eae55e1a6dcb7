//! A rollback that a user asks for.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::checks::as_finding;
use super::run::Run;
use super::{MigrationExecutor, MigrationResult, RunEnd};
use crate::error::{MigrationError, StepError};
use crate::finding::Finding;
use crate::journal::{Record, RunLog};
use crate::ports::{Loss, OnDifference};
use crate::status::{Phase, RunState, Strategy, UndoData};
use crate::step::StepContext;

/// How a user wants to go back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StrategyChoice {
    /// The plan's `rollback_steps` if it has some and the run was completed; else by receipts
    /// if every step can be undone and nothing of others would be dropped; else the rollback point.
    #[default]
    Auto,
    /// By receipts.
    Reverse,
    /// By the rollback point.
    Restore,
}

/// What a user asks for and agrees to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RollbackRequest {
    /// How.
    pub strategy: StrategyChoice,
    /// Whether what others wrote since may be lost.
    pub accept_data_loss: Consent,
    /// What a restore does that does not come to what the rollback point was made of.
    pub on_difference: OnDifference,
}

/// Whether a user agreed to something dangerous.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consent {
    /// Not asked or not given.
    #[default]
    Missing,
    /// Given.
    Given,
}

/// What a rollback would do.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RollbackPreview {
    /// How it would go back.
    pub strategy: Strategy,
    /// What it would do, a line each, in order.
    pub actions: Vec<String>,
    /// What others wrote since the run ended, whether it would be lost or not.
    pub changed: Vec<Loss>,
    /// What others wrote and would be lost.
    pub losses: Vec<Loss>,
}

impl MigrationExecutor {
    /// Takes a run back: completed, interrupted, or stuck.
    ///
    /// # Errors
    /// [`MigrationError::WouldLose`] before anything changed; else as
    /// [`execute_migration`](Self::execute_migration).
    pub async fn rollback(
        &self,
        log: &RunLog,
        request: RollbackRequest,
    ) -> Result<MigrationResult, MigrationError> {
        self.guard.acquire(&log.header.run).await?;
        let result = match self.as_it_is_now(log).await {
            Ok(log) => self.roll_back_locked(&log, request).await,
            Err(error) => Err(error),
        };
        self.guard.release().await;
        result
    }

    /// A run's log, read when the lock is held: it may have gone on while that was waited for.
    pub(super) async fn as_it_is_now(&self, log: &RunLog) -> Result<RunLog, MigrationError> {
        let logs = self.journal.runs().await.map_err(MigrationError::Journal)?;
        let now = logs
            .into_iter()
            .find(|one| one.header.run == log.header.run);
        Ok(now.unwrap_or_else(|| log.clone()))
    }

    async fn roll_back_locked(
        &self,
        log: &RunLog,
        request: RollbackRequest,
    ) -> Result<MigrationResult, MigrationError> {
        let run = self.looked_at(log)?;
        if run.state.phase == Phase::RolledBack {
            let reason = format!("run {} is rolled back", log.header.run);
            return Ok(MigrationResult::of(RunEnd::AlreadyThere(reason)));
        }
        let (strategy, losses) = self.choose(&run, request.strategy).await?;
        if !losses.is_empty() && request.accept_data_loss == Consent::Missing {
            return Err(MigrationError::WouldLose(losses));
        }
        let agreed = request.accept_data_loss == Consent::Given;
        let at_stake = self.restore_losses(&run).await?;
        let cleared = agreed || at_stake.is_empty();
        let findings = self.services.check().await.unwrap_or_default();
        let mut run = self.reopen(log, "rollback").await?;
        run.findings = findings;
        let record = Record::RollbackStarted {
            strategy,
            requested: true,
            cleared,
            loses: if agreed { at_stake } else { Vec::new() },
            on_difference: request.on_difference,
        };
        self.record(&mut run, record).await?;
        self.drive(run).await
    }

    /// What a rollback would do. Read-only.
    ///
    /// # Errors
    /// Why there is no way back.
    pub async fn preview_rollback(
        &self,
        log: &RunLog,
        choice: StrategyChoice,
    ) -> Result<RollbackPreview, MigrationError> {
        let run = self.looked_at(log)?;
        let (strategy, losses) = self.choose(&run, choice).await?;
        let actions = match strategy {
            Strategy::Reverse => run
                .touched()
                .into_iter()
                .rev()
                .map(|index| {
                    format!(
                        "undo step {}: {}",
                        run.spec(index).id,
                        run.steps[index].describe().title
                    )
                })
                .collect(),
            Strategy::Steps => run
                .header
                .plan
                .rollback_steps
                .iter()
                .zip(&run.rollback_steps)
                .map(|(spec, step)| format!("run step {}: {}", spec.id, step.describe().title))
                .collect(),
            Strategy::Restore => {
                let outside = run.outside().into_iter().rev().map(|index| {
                    let title = run.steps[index].describe().title;
                    format!("undo step {}: {title}", run.spec(index).id)
                });
                let point = run.state.point.iter();
                let restore = point.map(|point| format!("restore {}", self.points.describe(point)));
                outside.chain(restore).collect()
            }
        };
        let changed = match strategy {
            Strategy::Restore => losses.clone(),
            Strategy::Reverse | Strategy::Steps => self.restore_losses(&run).await?,
        };
        Ok(RollbackPreview {
            strategy,
            actions,
            changed,
            losses,
        })
    }

    fn looked_at(&self, log: &RunLog) -> Result<Run, MigrationError> {
        let (steps, rollback_steps) = self.build(&log.header.plan)?;
        let state = RunState::replay(log).map_err(|error| {
            MigrationError::Journal(crate::JournalError::Unreadable(error.to_string()))
        })?;
        Ok(Run {
            header: log.header.clone(),
            state,
            steps,
            rollback_steps,
            checks: Vec::new(),
            findings: Vec::new(),
            began: Instant::now(),
            appending: Duration::ZERO,
        })
    }

    async fn choose(
        &self,
        run: &Run,
        choice: StrategyChoice,
    ) -> Result<(Strategy, Vec<Loss>), MigrationError> {
        let has_steps = !run.header.plan.rollback_steps.is_empty();
        match choice {
            StrategyChoice::Auto if run.state.undo_data == UndoData::Gone => {
                self.restorable(run).await
            }
            StrategyChoice::Auto if has_steps && run.state.phase == Phase::Completed => {
                Ok((Strategy::Steps, self.dropped(run).await?))
            }
            StrategyChoice::Auto if run.reversible() => {
                match self.reverse_losses(run).await {
                    // Others may have done what only a restore gets past.
                    Err(MigrationError::Checks(_)) if run.state.point.is_some() => {
                        self.restorable(run).await
                    }
                    losses => Ok((Strategy::Reverse, losses?)),
                }
            }
            StrategyChoice::Reverse if run.reversible() => {
                Ok((Strategy::Reverse, self.reverse_losses(run).await?))
            }
            StrategyChoice::Reverse => Err(no_reverse(run)),
            StrategyChoice::Auto | StrategyChoice::Restore => self.restorable(run).await,
        }
    }

    async fn restorable(&self, run: &Run) -> Result<(Strategy, Vec<Loss>), MigrationError> {
        let Some(point) = &run.state.point else {
            return Err(no_point(run));
        };
        if let Err(error) = self.points.check_restore(point).await {
            let other = "every step can be undone by itself: roll back with --strategy reverse";
            let reversible = run.reversible() && self.reverse_losses(run).await.is_ok();
            let error = match error.hint.clone() {
                _ if !reversible => error,
                Some(hint) => error.hint(format!("{hint}; {other}")),
                None => error.hint(other),
            };
            return Err(MigrationError::Unchanged(error));
        }
        Ok((Strategy::Restore, self.restore_losses(run).await?))
    }

    /// What undoing step by step would lose of others, once every step says that it can.
    async fn reverse_losses(&self, run: &Run) -> Result<Vec<Loss>, MigrationError> {
        let mut losses = self.dropped(run).await?;
        let (mut blocked, mut in_the_way) = (Vec::new(), Vec::new());
        for index in run.touched().into_iter().rev() {
            let Some(receipt) = run.step_state(index).receipt.clone() else {
                continue;
            };
            let spec = run.spec(index);
            let cx = StepContext {
                drops: run.made_tables(),
                ..self.looking(&run.header.run, spec)
            };
            match run.steps[index].check_undo(&cx, &receipt).await {
                Ok(found) => {
                    blocked.extend(found.blocked);
                    losses.extend(found.losses);
                    in_the_way.extend(found.in_the_way);
                }
                Err(error) => blocked.push(as_finding(&format!("step {}", spec.id), &error)),
            }
        }
        for one in self.of_others(run, in_the_way).await? {
            let finding = Finding::error("rollback.in-the-way", one.to_string());
            blocked.push(finding.hint("remove them, or roll back with --strategy restore"));
        }
        if !blocked.is_empty() {
            return Err(MigrationError::Checks(blocked));
        }
        self.of_others(run, losses).await
    }

    /// Leaves out what nobody else can have written.
    async fn of_others(&self, run: &Run, losses: Vec<Loss>) -> Result<Vec<Loss>, MigrationError> {
        let after = match &run.state.after {
            Some(after) if !losses.is_empty() && !run.state.cleared => after,
            _ => return Ok(Vec::new()),
        };
        let now = self
            .observer
            .fingerprint(&run.header.scope)
            .await
            .map_err(MigrationError::Unchanged)?;
        let untouched = |loss: &Loss| {
            loss.object.strip_prefix("table ").is_some_and(|table| {
                let rows = format!("rows {table}");
                after.0.contains_key(&rows) && after.0.get(&rows) == now.0.get(&rows)
            })
        };
        Ok(losses.into_iter().filter(|loss| !untouched(loss)).collect())
    }

    /// What a restore would lose of others. Once a way back began, what differs is its own
    /// work, and services are down: then what was counted at its beginning holds.
    async fn restore_losses(&self, run: &Run) -> Result<Vec<Loss>, MigrationError> {
        if run.state.phase == Phase::Stuck && !run.state.differs.is_empty() {
            return Ok(run
                .state
                .differs
                .iter()
                .map(|line| of_nobody(line))
                .collect());
        }
        if run.state.cleared {
            return Ok(Vec::new());
        }
        let after = run.state.after.as_ref();
        let mut losses = match after {
            Some(after) => self
                .observer
                .losses(&run.header.run, after, &run.header.scope)
                .await
                .map_err(MigrationError::Unchanged)?,
            None => Vec::new(),
        };
        let mut more = Vec::new();
        if after.is_none() {
            more.extend(self.others_in_own_objects(run).await);
        }
        if let (Some(point), Some(own)) = (&run.state.point, run.own_writes()) {
            let beside = self.observer.beside(&own, point, after).await;
            more.extend(beside.map_err(MigrationError::Unchanged)?);
        }
        for loss in more {
            if !losses.iter().any(|known| known.object == loss.object) {
                losses.push(loss);
            }
        }
        Ok(losses)
    }

    /// Rows of others in what a reverse drops. Before the commit point there are no others.
    async fn dropped(&self, run: &Run) -> Result<Vec<Loss>, MigrationError> {
        if run.state.after.is_none() {
            return Ok(Vec::new());
        }
        self.observer
            .losses_of_reverse(&run.header.before)
            .await
            .map_err(MigrationError::Unchanged)
    }
}

/// A difference that a way back step by step was left with.
fn of_nobody(difference: &str) -> Loss {
    let (name, _) = difference.split_once(": ").unwrap_or((difference, ""));
    let object = match name.split_once(' ') {
        Some(("rows", table)) => format!("table {table}"),
        Some(("catalog", object)) => object.to_owned(),
        _ => name.to_owned(),
    };
    let detail =
        "is not as before the upgrade though all steps are undone: others may have changed it";
    Loss::new(object, None, detail)
}

fn no_point(run: &Run) -> MigrationError {
    let error = StepError::failed(format!("run {} has no rollback point", run.header.run));
    let skipped = run.header.flags.iter().any(|flag| flag == "--no-backup");
    MigrationError::Unchanged(error.hint(if skipped {
        "it was run with --no-backup; roll back with --strategy reverse, or restore a backup of your own"
    } else {
        "it was stopped before that was made, and nothing of it needs one: roll back without --strategy"
    }))
}

fn no_reverse(run: &Run) -> MigrationError {
    if run.state.undo_data == UndoData::Gone {
        let what = format!(
            "what undos of run {} need was in the database that a restore replaced",
            run.header.run
        );
        let error = StepError::failed(what).hint("roll back with --strategy restore");
        return MigrationError::Unchanged(error);
    }
    let blocked: Vec<_> = run
        .touched()
        .into_iter()
        .filter(|index| run.undo_of(*index) == crate::Undoable::No)
        .map(|index| run.spec(index).id.to_string())
        .collect();
    MigrationError::Unchanged(
        StepError::failed(format!(
            "these steps can't be undone: {}",
            blocked.join(", ")
        ))
        .hint("roll back with --strategy restore"),
    )
}
