//! What starts and stops a service: a closed set.

use std::time::Duration;

use migrate_core::{Cancel, CommandLine, Finding, StepError};

use super::compose::Compose;
use super::own_commands::OwnCommands;
use super::systemd::Systemd;
use crate::command::{Call, CommandError, CommandOutput, CommandRunner, Leftovers};

/// How long a question to a manager may take.
const LOOK: Duration = Duration::from_secs(30);

/// The programs that managers use, and whether we may use them directly.
#[derive(Debug, Clone)]
pub struct Tools {
    /// `systemctl`.
    pub systemctl: String,
    /// `sudo`.
    pub sudo: String,
    /// `docker`.
    pub docker: String,
    /// `docker-compose`, version 1.
    pub docker_compose: String,
    /// Whether system units need `sudo`; told from the effective user without this.
    pub rights: Rights,
}

/// Who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// root: commands run as they are.
    Root,
    /// Anybody else: system units go through `sudo -n`.
    User,
}

impl Default for Tools {
    fn default() -> Self {
        Self {
            systemctl: "systemctl".to_owned(),
            sudo: "sudo".to_owned(),
            docker: "docker".to_owned(),
            docker_compose: "docker-compose".to_owned(),
            rights: if nix::unistd::geteuid().is_root() {
                Rights::Root
            } else {
                Rights::User
            },
        }
    }
}

impl Tools {
    pub(super) fn is_root(&self) -> bool {
        self.rights == Rights::Root
    }
}

/// Where a service stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// It runs, with these parts of it where it has parts.
    Running(Vec<String>),
    /// It doesn't.
    Stopped,
    /// Its manager says that there is none, for the reason given.
    Absent(String),
    /// Its manager can't be asked, for the reason given: whether it runs is not known.
    Unreachable(String),
}

/// Runs a manager's commands.
pub(super) struct Asker<'a> {
    pub(super) runner: &'a CommandRunner,
    pub(super) tools: &'a Tools,
    pub(super) cancel: &'a Cancel,
}

impl Asker<'_> {
    /// Asks something: any exit status is an answer.
    pub(super) async fn look(&self, line: &CommandLine) -> Result<CommandOutput, CommandError> {
        self.runner.run(Call::new(line, LOOK, self.cancel)).await
    }

    /// Asks something that must succeed; what it prints.
    pub(super) async fn quietly(&self, line: &CommandLine) -> Result<String, CommandError> {
        Ok(self.look(line).await?.success()?.stdout)
    }

    /// Does something.
    pub(super) async fn run(
        &self,
        line: &CommandLine,
        patience: Duration,
    ) -> Result<CommandOutput, CommandError> {
        self.run_leaving(line, patience, Leftovers::End).await
    }

    pub(super) async fn run_leaving(
        &self,
        line: &CommandLine,
        patience: Duration,
        leftovers: Leftovers,
    ) -> Result<CommandOutput, CommandError> {
        let call = Call::new(line, patience, self.cancel).leftovers(leftovers);
        self.runner.run(call).await?.success()
    }
}

/// A manager with what it manages.
#[derive(Debug, Clone)]
pub(super) enum Manager {
    Systemd(Systemd),
    Compose(Compose),
    Command(OwnCommands),
}

impl Manager {
    pub(super) async fn state(&self, ask: &Asker<'_>) -> Result<State, StepError> {
        match self {
            Self::Systemd(unit) => unit.state(ask).await,
            Self::Compose(project) => project.state(ask).await,
            Self::Command(own) => own.state(ask).await,
        }
    }

    /// What speaks against stopping and starting it, if it runs.
    pub(super) async fn findings(&self, ask: &Asker<'_>) -> Result<Vec<Finding>, StepError> {
        match self {
            Self::Systemd(unit) => unit.findings(ask).await,
            Self::Compose(project) => project.findings(ask).await,
            Self::Command(own) => Ok(own.findings(ask)),
        }
    }

    pub(super) async fn stop(
        &self,
        ask: &Asker<'_>,
        parts: &[String],
        patience: Duration,
    ) -> Result<(), CommandError> {
        match self {
            Self::Systemd(unit) => unit.verb(ask, "stop", patience).await,
            Self::Compose(project) => project.stop(ask, parts, patience).await,
            Self::Command(own) => own.stop(ask, patience).await,
        }
    }

    pub(super) async fn start(
        &self,
        ask: &Asker<'_>,
        parts: &[String],
        patience: Duration,
    ) -> Result<(), CommandError> {
        match self {
            Self::Systemd(unit) => unit.verb(ask, "start", patience).await,
            Self::Compose(project) => project.start(ask, parts, patience).await,
            Self::Command(own) => own.start(ask, patience).await,
        }
    }

    /// The command that a person would use.
    pub(super) fn stop_line(&self, tools: &Tools) -> CommandLine {
        match self {
            Self::Systemd(unit) => unit.stop_line(tools),
            Self::Compose(project) => project.stop_line(tools),
            Self::Command(own) => own.stop.clone(),
        }
    }
}

pub(super) fn argv(words: Vec<String>) -> CommandLine {
    CommandLine::Argv(words)
}
