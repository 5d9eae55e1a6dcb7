//! Looking at services while a step runs: one that comes back by itself is not found too late.

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::MigrationExecutor;
use super::run::{Run, Stop};
use crate::error::StepError;
use crate::journal::Record;
use crate::status::Phase;

/// The least time between two looks.
const PAUSE: Duration = Duration::from_secs(2);

/// A look may take a twentieth of the time, whatever it costs.
const SHARE: u32 = 20;

impl MigrationExecutor {
    /// Whether services have to be down.
    pub(super) fn must_be_down(&self, run: &Run) -> bool {
        let skipped = |name: &String| name == "services-down";
        run.header.plan.downtime_required && !self.options.skip_checks.iter().any(skipped)
    }

    /// Waits until a service runs that has to be down, for ever where none has to. Safe to drop.
    pub(super) async fn somebody_back(&self, run: &Run) -> StepError {
        if run.state.phase != Phase::Executing || !self.must_be_down(run) {
            std::future::pending::<()>().await;
        }
        let mut pause = PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            let began = Instant::now();
            if let Some(error) = self.services.came_back().await {
                return error;
            }
            pause = PAUSE.max(began.elapsed().saturating_mul(SHARE));
        }
    }

    /// Keeps services down while a step is taken back, until `over`: an undo is not ended for one
    /// that comes back, it is stopped again. Gives who it was.
    pub(super) async fn keep_down(&self, run: &Run, over: &Notify) -> Vec<String> {
        let mut back = Vec::new();
        if !self.must_be_down(run) {
            return back;
        }
        loop {
            tokio::select! {
                () = over.notified() => return back,
                () = tokio::time::sleep(PAUSE) => {}
            }
            if let Some(error) = self.services.came_back().await {
                let error = self.stop_again(error).await;
                let who = format!("{}: {}", error.message, error.causes.join("; "));
                self.warn(format!("on the way back, {who}"));
                back.push(who);
            }
        }
    }

    /// The step in flight was ended because somebody came back: they are stopped again, and the
    /// run goes back.
    pub(super) async fn disturbed_in(
        &self,
        run: &mut Run,
        index: usize,
        error: StepError,
    ) -> Result<(), Stop> {
        let error = self.stop_again(error).await;
        self.note_others(run, &error).await?;
        Ok(self.step_failed(run, index, error).await?)
    }

    /// Stops whoever came back, so that the way back has the deployment for itself too.
    pub(super) async fn stop_again(&self, error: StepError) -> StepError {
        let running = self.services.running().await.unwrap_or_default();
        match self.services.stop(&running).await {
            Ok(messages) => {
                self.tell_services(messages);
                error
            }
            Err(again) => error.cause(format!("it could not be stopped again: {again}")),
        }
    }

    /// Somebody was at work beside the run: the way back expects their rows.
    pub(super) async fn note_others(
        &self,
        run: &mut Run,
        error: &StepError,
    ) -> Result<(), crate::journal::JournalError> {
        let who = format!("{}: {}", error.message, error.causes.join("; "));
        self.record(run, Record::OthersWrote { who }).await
    }
}
