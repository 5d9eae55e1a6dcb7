//! The way forward, one phase at a time.

use std::sync::OnceLock;

use tokio::time::Instant;

use super::MigrationExecutor;
use super::bounded::{Ended, bounded, too_late};
use super::run::{Run, Stop, millis};
use super::start::wants_point;
use crate::cancel::CancelCause;
use crate::error::{StepError, StepErrorKind};
use crate::event::Event;
use crate::journal::{JournalError, Record};
use crate::ports::{OnDifference, OtherWriters};
use crate::status::{Phase, StepStatus, Strategy};
use crate::step::{Outcome, Probe, Readiness, Receipt, StepContext};

impl MigrationExecutor {
    /// Does the one thing that the phase asks for.
    pub(super) async fn one_forward(&self, run: &mut Run) -> Result<(), Stop> {
        match run.state.phase {
            Phase::Opened | Phase::StoppingServices => self.stop_services(run).await,
            Phase::ServicesDown | Phase::MakingPoint => self.make_point(run).await,
            Phase::Executing => self.execute(run).await,
            Phase::Failed => Ok(self.turn_back(run).await?),
            Phase::Validated => self.commit(run).await,
            Phase::Committing => self.start_services(run).await,
            Phase::Serving => self.finish(run).await,
            phase => unreachable!("phase {phase:?} is at rest or on the way back"),
        }
    }

    pub(super) async fn stop_services(&self, run: &mut Run) -> Result<(), Stop> {
        self.phase("services-stop");
        let stopped = async {
            let running = match &run.state.running {
                Some(running) => running.clone(),
                None if run.header.plan.downtime_required => self.services.running().await?,
                None => serde_json::Value::Null,
            };
            Ok(running)
        };
        let running = match stopped.await {
            Ok(running) => running,
            Err(error) => return Ok(self.fail(run, error).await?),
        };
        let record = Record::ServicesStopping {
            running: running.clone(),
        };
        self.record(run, record).await?;
        // Also where no service ran: somebody else may write.
        if run.header.plan.downtime_required {
            match self.services.stop(&running).await {
                Ok(messages) => self.tell_services(messages),
                Err(error) => return Ok(self.fail(run, error).await?),
            }
        }
        Ok(self.record(run, Record::ServicesStopped).await?)
    }

    pub(super) fn tell_services(&self, messages: Vec<String>) {
        for message in messages {
            self.reporter.event(&Event::Service { message });
        }
    }

    /// Notes a failure outside any step. On the way back it leaves the run stuck instead.
    pub(super) async fn fail(&self, run: &mut Run, error: StepError) -> Result<(), JournalError> {
        let record = match run.state.phase {
            Phase::RollingBack(_) => Record::RestoreFailed { error },
            _ => Record::ValidationFailed {
                error: self.blamed(error),
            },
        };
        self.record(run, record).await
    }

    /// What fails on the way forward after the deadline fails because of it: queries and
    /// commands were asked to end.
    fn blamed(&self, error: StepError) -> StepError {
        if self.deadline_passed() {
            too_late(error)
        } else {
            error
        }
    }

    pub(super) fn deadline_passed(&self) -> bool {
        self.cancel.cause() == Some(CancelCause::Deadline)
    }

    /// What services wrote until they were down is none of the run's doing.
    async fn look_at_rest(&self, run: &mut Run) -> Result<(), Stop> {
        let stopped = run.state.running.as_ref().is_some_and(|one| !one.is_null());
        if !stopped || run.state.before.is_some() || run.state.phase != Phase::ServicesDown {
            return Ok(());
        }
        match self.observer.fingerprint(&run.header.scope).await {
            Ok(before) => Ok(self.record(run, Record::AtRest { before }).await?),
            Err(error) => Ok(self.fail(run, error).await?),
        }
    }

    async fn make_point(&self, run: &mut Run) -> Result<(), Stop> {
        self.look_at_rest(run).await?;
        if run.state.phase == Phase::Failed {
            return Ok(());
        }
        if !wants_point(self.options.backup) || run.header.flags.iter().any(|f| f == "--no-backup")
        {
            return Ok(self.record(run, Record::PointSkipped).await?);
        }
        self.phase("rollback-point");
        self.record(run, Record::PointStarted).await?;
        let header = &run.header;
        let (from, scope) = (&header.plan.from_version, &header.scope);
        let others = if header.plan.downtime_required {
            OtherWriters::Refused
        } else {
            OtherWriters::Expected
        };
        let made = self
            .points
            .create(&header.run, from, scope, others, &self.cancel)
            .await;
        match made {
            Ok(point) => {
                let message = self.points.describe(&point);
                self.record(run, Record::PointCreated { point }).await?;
                self.reporter.event(&Event::RollbackPoint { message });
                Ok(())
            }
            Err(error) if error.kind == StepErrorKind::Interrupted && !self.deadline_passed() => {
                self.signalled(error)
            }
            Err(error) => Ok(self.fail(run, error).await?),
        }
    }

    fn signalled(&self, error: StepError) -> Result<(), Stop> {
        match self.cancel.cause() {
            Some(CancelCause::Signal(signal)) => Err(Stop::Signal(signal)),
            _ => Err(Stop::Hung(error)),
        }
    }

    async fn execute(&self, run: &mut Run) -> Result<(), Stop> {
        let open = (0..run.steps.len()).find(|index| {
            let status = run.step_state(*index).status;
            matches!(status, StepStatus::Pending | StepStatus::Started)
                && !run.steps[*index].describe().deferred
        });
        if let Some(error) = self.came_back(run).await {
            return Ok(self.disturbed(run, error).await?);
        }
        if let Some(index) = open {
            if let Err(error) = self.settle_before(run, index).await {
                return Ok(self.fail(run, error).await?);
            }
            return self.one_step(run, index).await;
        }
        if let Some(error) = self.post_checks(run).await {
            return Ok(self.fail(run, error).await?);
        }
        match self.came_back(run).await {
            None => Ok(self.record(run, Record::Validated).await?),
            Some(error) => Ok(self.disturbed(run, error).await?),
        }
    }

    /// Somebody was at work beside the run: it fails, and the way back expects their rows.
    async fn disturbed(&self, run: &mut Run, error: StepError) -> Result<(), JournalError> {
        self.note_others(run, &error).await?;
        self.fail(run, error).await
    }

    async fn one_step(&self, run: &mut Run, index: usize) -> Result<(), Stop> {
        let spec = run.spec(index).clone();
        let cx = self.context(run, &spec, spec.timeout);
        let began = Instant::now();
        let total = run.steps.len();
        self.reporter.event(&Event::StepStarted {
            step: spec.id.clone(),
            index: index + 1,
            total,
            title: run.steps[index].describe().title,
            attempt: cx.attempt,
        });
        let call = self.attempt(run, index, &cx);
        let ended = call.await?;
        match ended {
            Ended::Well(Did::Skipped(reason)) => {
                let record = Record::StepSkipped {
                    step: spec.id.clone(),
                    reason: reason.clone(),
                };
                self.record(run, record).await?;
                self.finished(&spec.id, reason, Vec::new(), began, true);
                Ok(())
            }
            Ended::Well(Did::Disturbed(error)) => self.disturbed_in(run, index, error).await,
            Ended::Well(Did::Done(outcome)) => {
                if let Some(error) = self.step_check(&run.header.plan, &spec).await {
                    let error = self.blamed(error);
                    return Ok(self.step_failed(run, index, error).await?);
                }
                if let Err(error) = self.after_own_change(run, index).await {
                    return Ok(self.step_failed(run, index, error).await?);
                }
                let record = Record::StepCompleted {
                    step: spec.id.clone(),
                    outcome: outcome.clone(),
                    duration_ms: millis(began.elapsed()),
                };
                self.record(run, record).await?;
                self.finished(&spec.id, outcome.message, outcome.notes, began, false);
                Ok(())
            }
            Ended::Failed(error) => Ok(self.step_failed(run, index, error).await?),
            Ended::Interrupted(signal) => Err(Stop::Signal(signal)),
            Ended::Hung(error) => Err(Stop::Hung(error)),
        }
    }

    fn finished(
        &self,
        step: &crate::StepId,
        message: String,
        notes: Vec<String>,
        began: Instant,
        skipped: bool,
    ) {
        self.reporter.event(&Event::StepFinished {
            step: step.clone(),
            message,
            notes,
            duration_ms: millis(began.elapsed()),
            skipped,
        });
    }

    /// Check, intent, effect; or, after an interruption, look and go on.
    async fn attempt(
        &self,
        run: &mut Run,
        index: usize,
        cx: &StepContext,
    ) -> Result<Ended<Did>, Stop> {
        let receipt = match run.step_state(index).receipt.clone() {
            Some(receipt) => match self.look_again(run, index, cx, &receipt).await? {
                Some(ended) => return Ok(ended),
                None => receipt,
            },
            None => match self.intend(run, index, cx).await? {
                Ended::Well(Intent::Run(receipt)) => receipt,
                Ended::Well(Intent::Skip(reason)) => {
                    return Ok(Ended::Well(Did::Skipped(reason)));
                }
                Ended::Failed(error) => return Ok(Ended::Failed(error)),
                Ended::Interrupted(signal) => return Ok(Ended::Interrupted(signal)),
                Ended::Hung(error) => return Ok(Ended::Hung(error)),
            },
        };
        let (run, back) = (&*run, OnceLock::new());
        let asked = async {
            tokio::select! {
                cause = self.cancel.cancelled() => cause,
                error = self.somebody_back(run) => {
                    let _ = back.set(error);
                    CancelCause::Disturbed
                }
            }
        };
        let call = run.steps[index].run(cx, &receipt);
        let ended = bounded(cx.timeout, asked, &cx.cancel, call).await;
        Ok(match (ended, back.into_inner()) {
            // A step that was done by then is; who came back is found before the next one.
            (Ended::Well(outcome), _) => Ended::Well(Did::Done(outcome)),
            (Ended::Failed(_), Some(error)) => Ended::Well(Did::Disturbed(error)),
            (Ended::Failed(error), None) => Ended::Failed(error),
            (Ended::Interrupted(signal), _) => Ended::Interrupted(signal),
            (Ended::Hung(error), _) => Ended::Hung(error),
        })
    }

    /// A step that was started before: what does the real state say?
    async fn look_again(
        &self,
        run: &mut Run,
        index: usize,
        cx: &StepContext,
        receipt: &Receipt,
    ) -> Result<Option<Ended<Did>>, Stop> {
        match run.steps[index].probe(cx, receipt).await {
            Ok(Probe::Applied(outcome)) => Ok(Some(Ended::Well(Did::Done(outcome)))),
            Ok(Probe::NotApplied | Probe::Partial) => {
                let step = cx.step.clone();
                self.record(run, Record::StepResumed { step }).await?;
                Ok(None)
            }
            Err(error) => Ok(Some(Ended::Hung(error))),
        }
    }

    async fn intend(
        &self,
        run: &mut Run,
        index: usize,
        cx: &StepContext,
    ) -> Result<Ended<Intent>, Stop> {
        let step = &run.steps[index];
        let look = async {
            match step.check(cx).await? {
                Readiness::Ready => step.prepare(cx).await.map(Intent::Run),
                Readiness::AlreadyDone(reason) => Ok(Intent::Skip(reason)),
                Readiness::After(what) => {
                    Err(StepError::failed(format!("it still waits for {what}")))
                }
                Readiness::Blocked(findings) => Err(findings
                    .iter()
                    .fold(StepError::failed("it can't run"), |error, finding| {
                        error.cause(finding.to_string())
                    })),
            }
        };
        let ended = bounded(cx.timeout, self.cancel.cancelled(), &cx.cancel, look).await;
        if let Ended::Well(Intent::Run(receipt)) = &ended {
            let record = Record::StepStarted {
                step: cx.step.clone(),
                receipt: receipt.clone(),
            };
            self.record(run, record).await?;
        }
        Ok(ended)
    }

    pub(super) async fn step_failed(
        &self,
        run: &mut Run,
        index: usize,
        error: StepError,
    ) -> Result<(), JournalError> {
        let step = run.spec(index).id.clone();
        self.reporter.event(&Event::StepFailed {
            step: step.clone(),
            error: error.clone(),
        });
        let error = StepError {
            message: format!("step {step}: {}", error.message),
            ..error
        };
        let record = if run.state.phase == Phase::Serving {
            Record::DeferredFailed { step, error }
        } else {
            Record::StepFailed { step, error }
        };
        self.record(run, record).await
    }

    /// After a failure: by receipts if all can be undone, else by the rollback point.
    async fn turn_back(&self, run: &mut Run) -> Result<(), JournalError> {
        let strategy = if run.reversible() || run.state.point.is_none() {
            Strategy::Reverse
        } else {
            Strategy::Restore
        };
        let loses = match strategy {
            Strategy::Reverse => self.others_in_made_tables(run).await,
            Strategy::Restore => self.others_in_own_objects(run).await,
            Strategy::Steps => Vec::new(),
        };
        let record = Record::RollbackStarted {
            strategy,
            requested: false,
            cleared: false,
            loses,
            on_difference: OnDifference::RollBack,
        };
        self.record(run, record).await
    }

    async fn start_services(&self, run: &mut Run) -> Result<(), Stop> {
        self.close_the_gap(run).await?;
        self.phase("services-start");
        let running = run.state.running.clone().unwrap_or_default();
        if !running.is_null() {
            match self.services.start(&running).await {
                Ok(messages) => self.tell_services(messages),
                Err(error) => {
                    return Ok(self
                        .record(run, Record::CommittedUnhealthy { error })
                        .await?);
                }
            }
        }
        self.record(run, Record::ServicesStarted).await?;
        if running.is_null() {
            return Ok(());
        }
        match self.post_checks(run).await {
            None => Ok(()),
            Some(error) => Ok(self
                .record(run, Record::CommittedUnhealthy { error })
                .await?),
        }
    }

    async fn finish(&self, run: &mut Run) -> Result<(), Stop> {
        if let Some(index) = Self::deferred(run) {
            self.phase("cleanup");
            return self.one_step(run, index).await;
        }
        Ok(self.record(run, Record::Completed).await?)
    }
}

/// What a step did when it ended well.
enum Did {
    Done(Outcome),
    Skipped(String),
    /// It was ended, at a boundary, because somebody came back.
    Disturbed(StepError),
}

enum Intent {
    Run(Receipt),
    Skip(String),
}
