//! A rollback that a user asks for.

use serde::Serialize;
use tokio::time::Instant;

use super::run::Run;
use super::{MigrationExecutor, MigrationResult, RunEnd};
use crate::error::{MigrationError, StepError};
use crate::journal::{Record, RunLog};
use crate::ports::Loss;
use crate::status::{Phase, RunState, Strategy};

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
        let result = self.roll_back_locked(log, request).await;
        self.guard.release().await;
        result
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
        let cleared = agreed || self.restore_losses(&run).await?.is_empty();
        let findings = self.services.check().await.unwrap_or_default();
        let mut run = self.reopen(log, "rollback").await?;
        run.findings = findings;
        let record = Record::RollbackStarted {
            strategy,
            requested: true,
            cleared,
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
            Strategy::Restore => run
                .state
                .point
                .iter()
                .map(|point| format!("restore {}", self.points.describe(point)))
                .collect(),
        };
        Ok(RollbackPreview {
            strategy,
            actions,
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
        })
    }

    async fn choose(
        &self,
        run: &Run,
        choice: StrategyChoice,
    ) -> Result<(Strategy, Vec<Loss>), MigrationError> {
        let has_steps = !run.header.plan.rollback_steps.is_empty();
        let strategy = match choice {
            StrategyChoice::Auto if has_steps && run.state.phase == Phase::Completed => {
                return Ok((Strategy::Steps, self.dropped(run).await?));
            }
            StrategyChoice::Auto if run.reversible() => {
                let dropped = self.dropped(run).await?;
                if dropped.is_empty() || run.state.point.is_none() {
                    return Ok((Strategy::Reverse, dropped));
                }
                Strategy::Restore
            }
            StrategyChoice::Auto | StrategyChoice::Restore => Strategy::Restore,
            StrategyChoice::Reverse if run.reversible() => {
                return Ok((Strategy::Reverse, self.dropped(run).await?));
            }
            StrategyChoice::Reverse => return Err(no_reverse(run)),
        };
        if run.state.point.is_none() {
            return Err(MigrationError::Unchanged(
                StepError::failed(format!("run {} has no rollback point", run.header.run))
                    .hint("it was run with --no-backup; roll back with --strategy reverse, or restore a backup of your own"),
            ));
        }
        Ok((strategy, self.restore_losses(run).await?))
    }

    /// What a restore would lose of others. Once a way back began, what differs is its own
    /// work, and services are down: then what was counted at its beginning holds.
    async fn restore_losses(&self, run: &Run) -> Result<Vec<Loss>, MigrationError> {
        match &run.state.after {
            Some(after) if !run.state.cleared => self
                .observer
                .losses(after, &run.header.scope)
                .await
                .map_err(MigrationError::Unchanged),
            _ => Ok(Vec::new()),
        }
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

fn no_reverse(run: &Run) -> MigrationError {
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
