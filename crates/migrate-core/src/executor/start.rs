//! How a run begins, and how an interrupted one is taken up.

use std::time::Duration;

use tokio::time::Instant;

use super::run::Run;
use super::{Backup, MigrationExecutor, MigrationResult, RunEnd};
use crate::error::{MigrationError, StepError};
use crate::event::Event;
use crate::finding::{Finding, Severity};
use crate::journal::{FORMAT, Record, RunHeader, RunId, RunLog, UnknownRun};
use crate::plan::MigrationPlan;
use crate::ports::DeploymentVersion;
use crate::status::{Phase, RunState};
use crate::step::{ScopeObject, Step};
use crate::version::Version;

impl MigrationExecutor {
    /// Takes the deployment from the current version to the target by `plan`.
    ///
    /// Everything is checked before anything changes. On a failure it is taken back. On a
    /// signal (see [`with_cancel`](Self::with_cancel)) the run stops at a boundary and can be
    /// [resumed](Self::resume). A crash at any moment leaves a log from which that works too.
    ///
    /// # Errors
    /// [`MigrationError`]; its variants tell what state the deployment is in.
    pub async fn execute_migration(
        &self,
        plan: &MigrationPlan,
    ) -> Result<MigrationResult, MigrationError> {
        self.check_versions(plan)?;
        let (steps, rollback_steps) = self.build(plan)?;
        if self.dry_run {
            return self.dry_run(plan, steps).await;
        }
        let run = RunId::fresh(self.clock.now());
        self.guard.acquire(&run).await?;
        let result = self.begin(run, plan, steps, rollback_steps).await;
        self.guard.release().await;
        result
    }

    /// Goes on with an interrupted run, forward or back, wherever its log ends.
    ///
    /// # Errors
    /// As [`execute_migration`](Self::execute_migration).
    pub async fn resume(&self, log: &RunLog) -> Result<MigrationResult, MigrationError> {
        self.guard.acquire(&log.header.run).await?;
        let result = self.resume_locked(log).await;
        self.guard.release().await;
        result
    }

    async fn resume_locked(&self, seen: &RunLog) -> Result<MigrationResult, MigrationError> {
        let log = self.as_it_is_now(seen).await?;
        let ended = log.records.len() > seen.records.len()
            && RunState::replay(&log).is_ok_and(|state| state.phase.is_final());
        if ended {
            let reason = format!("run {} has ended meanwhile", log.header.run);
            return Ok(MigrationResult::of(RunEnd::AlreadyThere(reason)));
        }
        let run = self.reopen(&log, "resume").await?;
        self.drive(run).await
    }

    pub(super) async fn reopen(
        &self,
        log: &RunLog,
        direction: &str,
    ) -> Result<Run, MigrationError> {
        let (steps, rollback_steps) = self.build(&log.header.plan)?;
        let state = RunState::replay(log).map_err(|error| {
            MigrationError::Journal(crate::JournalError::Unreadable(error.to_string()))
        })?;
        let mut run = Run {
            header: log.header.clone(),
            state,
            steps,
            rollback_steps,
            checks: Vec::new(),
            findings: Vec::new(),
            began: Instant::now(),
            appending: Duration::ZERO,
        };
        if run.state.phase != Phase::RolledBack {
            let record = Record::Resumed {
                host: self.options.identity.host.clone(),
                pid: self.options.identity.pid,
                user: self.options.identity.user.clone(),
                tool_version: self.options.identity.tool_version.clone(),
                flags: self.options.flags.clone(),
            };
            self.record(&mut run, record).await?;
        }
        self.announce(&run, direction);
        Ok(run)
    }

    fn check_versions(&self, plan: &MigrationPlan) -> Result<(), MigrationError> {
        let current: Version = self.current_version.parse()?;
        let target: Version = self.target_version.parse()?;
        if plan.from_version == current && plan.to_version == target {
            return Ok(());
        }
        Err(MigrationError::Plan(vec![Finding::error(
            "plan.other-versions",
            format!(
                "the plan leads from {} to {}, asked for was {current} to {target}",
                plan.from_version, plan.to_version
            ),
        )]))
    }

    #[expect(
        clippy::type_complexity,
        reason = "two lists of steps, taken apart at once"
    )]
    pub(super) fn build(
        &self,
        plan: &MigrationPlan,
    ) -> Result<(Vec<Box<dyn Step>>, Vec<Box<dyn Step>>), MigrationError> {
        let steps = self.registry.build_all(plan, "steps", &plan.steps);
        let back = self
            .registry
            .build_all(plan, "rollback_steps", &plan.rollback_steps);
        match (steps, back) {
            (Ok(steps), Ok(back)) => Ok((steps, back)),
            (steps, back) => {
                let mut findings = steps.err().unwrap_or_default();
                findings.extend(back.err().unwrap_or_default());
                Err(MigrationError::Plan(findings))
            }
        }
    }

    async fn begin(
        &self,
        id: RunId,
        plan: &MigrationPlan,
        steps: Vec<Box<dyn Step>>,
        rollback_steps: Vec<Box<dyn Step>>,
    ) -> Result<MigrationResult, MigrationError> {
        self.refuse_open_run().await?;
        if let Some(reason) = self.already_there(plan).await? {
            return Ok(MigrationResult::of(RunEnd::AlreadyThere(reason)));
        }
        self.phase("checks");
        let mut findings = self.check_all(&id, plan, &steps).await?;
        let scope = scope_of(&steps);
        findings.retain(|finding| finding.severity == Severity::Warning);
        let header = RunHeader {
            format: FORMAT,
            run: id,
            plan: plan.clone(),
            inputs: self.options.inputs.clone(),
            scripts: self.options.scripts.clone(),
            tool_version: self.options.identity.tool_version.clone(),
            host: self.options.identity.host.clone(),
            pid: self.options.identity.pid,
            user: self.options.identity.user.clone(),
            database: self.options.identity.database.clone(),
            started_at: self.clock.now(),
            flags: self.options.flags.clone(),
            before: self
                .observer
                .fingerprint(&scope)
                .await
                .map_err(MigrationError::Unchanged)?,
            scope,
        };
        if self.deadline_passed() {
            let late = StepError::failed("the deadline passed before anything was changed");
            return Err(MigrationError::Unchanged(late));
        }
        self.journal.open(&header).await?;
        let ids = plan.steps.iter().map(|step| step.id.clone());
        let run = Run {
            state: RunState::opened(ids),
            header,
            steps,
            rollback_steps,
            checks: Vec::new(),
            findings,
            began: Instant::now(),
            appending: Duration::ZERO,
        };
        self.announce(&run, "migrate");
        self.drive(run).await
    }

    fn announce(&self, run: &Run, direction: &str) {
        self.reporter.event(&Event::RunStarted {
            run: run.header.run.clone(),
            from: run.header.plan.from_version.clone(),
            to: run.header.plan.to_version.clone(),
            direction: direction.to_owned(),
            steps: run.state.steps.iter().map(|step| step.id.clone()).collect(),
        });
    }

    async fn refuse_open_run(&self) -> Result<(), MigrationError> {
        for log in self.journal.runs().await? {
            let phase = RunState::replay(&log)
                .map_err(|error| crate::JournalError::Unreadable(error.to_string()))?
                .phase;
            if !phase.is_final() {
                return Err(MigrationError::OpenRun(format!(
                    "run {} from {} to {} began {} and is not finished (it stands at {})",
                    log.header.run,
                    log.header.plan.from_version,
                    log.header.plan.to_version,
                    log.header.started_at.format("%Y-%m-%d %H:%M:%S UTC"),
                    phase_name(phase),
                )));
            }
        }
        self.refuse_run_in_doubt().await
    }

    /// A run that only the database remembers: nobody may start over what it left.
    async fn refuse_run_in_doubt(&self) -> Result<(), MigrationError> {
        for UnknownRun { log, proof } in self.journal.unknown_here().await? {
            let state = RunState::replay(&log)
                .map_err(|error| crate::JournalError::Unreadable(error.to_string()))?;
            if !state.phase.is_final() {
                if !proof.holds() {
                    return Err(MigrationError::Unproven(format!(
                        "the database holds the log of an unfinished run {}, and nothing proves that \
                         this tool wrote it: {proof}",
                        log.header.run
                    )));
                }
                return Err(MigrationError::InDoubt(format!(
                    "the database says that run {} from {} to {}, begun {} by {}@{}, is not finished \
                     (it stands at {}), but this deployment's journal does not know it",
                    log.header.run,
                    log.header.plan.from_version,
                    log.header.plan.to_version,
                    log.header.started_at.format("%Y-%m-%d %H:%M:%S UTC"),
                    log.header.user,
                    log.header.host,
                    phase_name(state.phase),
                )));
            }
        }
        Ok(())
    }

    /// Compares the version that the deployment shows with the one it shall have.
    pub(super) async fn already_there(
        &self,
        plan: &MigrationPlan,
    ) -> Result<Option<String>, MigrationError> {
        let shown = self
            .observer
            .version()
            .await
            .map_err(MigrationError::Unchanged)?;
        let (from, to) = (&plan.from_version, &plan.to_version);
        match shown {
            DeploymentVersion::Exact(version, why) if &version == to => Ok(Some(why)),
            DeploymentVersion::Exact(version, why) if &version != from => {
                Err(wrong_version(from, &format!("at {version}"), vec![why]))
            }
            DeploymentVersion::Major(major, why) if major != from.major() => {
                if major == to.major() {
                    Ok(Some(why))
                } else {
                    Err(wrong_version(from, &format!("at {major}.x"), vec![why]))
                }
            }
            DeploymentVersion::Mixed(reasons) => Err(wrong_version(
                from,
                "between versions (parts of it differ)",
                reasons,
            )),
            _ => Ok(None),
        }
    }
}

fn wrong_version(from: &Version, shown: &str, reasons: Vec<String>) -> MigrationError {
    let mut error = StepError::failed(format!("--from says {from}, but the deployment is {shown}"));
    error.causes = reasons;
    MigrationError::Unchanged(error.hint("see `status`, and give the version it is really at"))
}

pub(super) fn scope_of(steps: &[Box<dyn Step>]) -> Vec<ScopeObject> {
    let mut scope: Vec<_> = steps
        .iter()
        .flat_map(|step| step.describe().scope)
        .collect();
    scope.sort();
    scope.dedup();
    scope
}

/// A phase's name as people and `status` read it.
pub fn phase_name(phase: Phase) -> String {
    serde_json::to_value(phase)
        .ok()
        .and_then(|value| match value {
            serde_json::Value::String(name) => Some(name),
            serde_json::Value::Object(map) => map.keys().next().cloned(),
            _ => None,
        })
        .unwrap_or_default()
        .replace('_', "-")
}

pub(super) fn wants_point(backup: Backup) -> bool {
    backup == Backup::Make
}
