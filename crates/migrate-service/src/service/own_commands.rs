//! Services by the configuration's own commands.

use std::path::PathBuf;
use std::time::Duration;

use migrate_core::{CommandLine, Finding, StepError};

use super::manager::{Asker, State};
use crate::command::{CommandEnd, CommandError, Leftovers, missing_program};

/// A service's own commands.
#[derive(Debug, Clone)]
pub(super) struct OwnCommands {
    pub(super) start: CommandLine,
    pub(super) stop: CommandLine,
    pub(super) status: CommandLine,
    pub(super) log: PathBuf,
}

impl OwnCommands {
    /// 0 is running; 1, 2 and 3 are the ways in which an init script says "not running".
    pub(super) async fn state(&self, ask: &Asker<'_>) -> Result<State, StepError> {
        let output = ask.look(&self.status).await;
        let output = output.map_err(|error| error.into_step_error("asking for its status"))?;
        match output.end {
            CommandEnd::Code(0) => Ok(State::Running(Vec::new())),
            CommandEnd::Code(1..=3) => Ok(State::Stopped),
            end => {
                let lines = output.last_lines().join("; ");
                let shown = ask.runner.shown(&self.status);
                let error =
                    StepError::failed(format!("whether it runs can't be told: `{shown}`: {end}"));
                let error = if lines.is_empty() {
                    error
                } else {
                    error.cause(lines)
                };
                Err(error.hint("status must exit with 0 while the service runs and with 1, 2 or 3 when it doesn't"))
            }
        }
    }

    pub(super) fn findings(&self, ask: &Asker<'_>) -> Vec<Finding> {
        [
            ("start", &self.start),
            ("stop", &self.stop),
            ("status", &self.status),
        ]
        .into_iter()
        .filter_map(|(name, line)| {
            let program = missing_program(line, ask.runner.root())?;
            let message = format!("there is no program {program}, which {name} needs");
            Some(Finding::error("service.no-program", message))
        })
        .collect()
    }

    pub(super) async fn stop(
        &self,
        ask: &Asker<'_>,
        patience: Duration,
    ) -> Result<(), CommandError> {
        ask.run(&self.stop, patience).await.map(drop)
    }

    pub(super) async fn start(
        &self,
        ask: &Asker<'_>,
        patience: Duration,
    ) -> Result<(), CommandError> {
        let stays = Leftovers::Keep {
            log: self.log.clone(),
        };
        ask.run_leaving(&self.start, patience, stays)
            .await
            .map(drop)
    }
}
