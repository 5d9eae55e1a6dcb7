//! One service, checked: from its configuration to something that can be stopped.

use std::path::PathBuf;
use std::time::Duration;

use migrate_core::{CommandLine, Finding, StepError};
use tokio::time::{Instant, sleep};

use super::compose::Compose;
use super::config::{ManagerKind, ServiceConfig, SystemdScope};
use super::health::Health;
use super::manager::{Asker, Manager, State};
use super::own_commands::OwnCommands;
use super::systemd::Systemd;
use crate::command::problem;

/// The pause between two looks at a state.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether a service has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// The configuration names it.
    Needed,
    /// One of the guide's defaults.
    IfThere,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) manager: Manager,
    pub(super) presence: Presence,
    pub(super) health: Option<Health>,
    stop_timeout: Duration,
    start_timeout: Duration,
}

impl Entry {
    /// What the guide stops where nobody configured anything.
    pub(super) fn defaults() -> Vec<Self> {
        let unit = Systemd {
            unit: "etlrs.service".to_owned(),
            scope: SystemdScope::System,
        };
        let project = Compose {
            file: None,
            only: Vec::new(),
        };
        [
            ("etlrs.service", Manager::Systemd(unit)),
            ("compose", Manager::Compose(project)),
        ]
        .into_iter()
        .map(|(name, manager)| Self {
            name: name.to_owned(),
            manager,
            presence: Presence::IfThere,
            health: None,
            stop_timeout: Duration::from_mins(1),
            start_timeout: Duration::from_mins(1),
        })
        .collect()
    }

    /// Checks a configuration; everything that is wrong with it, with pointers below `/services/NAME`.
    pub(super) fn parse(name: &str, config: &ServiceConfig) -> Result<Self, Vec<Finding>> {
        let mut findings = Vec::new();
        let mut say = |field: &str, message: String| {
            let pointer = format!("/services/{name}/{field}");
            let message = format!("service {name}: {message}");
            findings.push(Finding::error("config.service", message).at(pointer));
        };
        for field in config.foreign_fields() {
            say(field, format!("{field} belongs to another manager"));
        }
        let health = config.health.as_ref().and_then(|health| {
            Health::parse(health)
                .map_err(|message| say("health", message))
                .ok()
        });
        let manager = match config.manager {
            ManagerKind::Systemd => systemd(name, config, &mut say),
            ManagerKind::Compose => compose(config, &mut say),
            ManagerKind::Command => own_commands(name, config, &mut say),
        };
        match manager {
            Some(manager) if findings.is_empty() => Ok(Self {
                name: name.to_owned(),
                manager,
                presence: Presence::Needed,
                health,
                stop_timeout: config.stop_timeout,
                start_timeout: config.start_timeout,
            }),
            _ => Err(findings),
        }
    }

    pub(super) async fn state(&self, ask: &Asker<'_>) -> Result<State, StepError> {
        self.manager.state(ask).await.map_err(|mut error| {
            error.message = format!("service {}: {}", self.name, error.message);
            error
        })
    }

    /// Whether it runs, where that must be known.
    async fn surely_runs(&self, ask: &Asker<'_>) -> Result<bool, StepError> {
        match self.state(ask).await? {
            State::Running(_) => Ok(true),
            State::Stopped | State::Absent(_) => Ok(false),
            State::Unreachable(why) => Err(self.unreachable(&why)),
        }
    }

    /// The error of a service whose manager can't be asked.
    pub(super) fn unreachable(&self, why: &str) -> StepError {
        let message = format!("whether service {} runs can't be told", self.name);
        StepError::failed(message).cause(why)
    }

    /// Stops it if it runs, and waits until it is seen not to run. `false`: it didn't run.
    pub(super) async fn stop(&self, ask: &Asker<'_>, parts: &[String]) -> Result<bool, StepError> {
        if !self.surely_runs(ask).await? {
            return Ok(false);
        }
        let until = Instant::now() + self.stop_timeout;
        let what = format!("service {} was not stopped", self.name);
        self.manager
            .stop(ask, parts, self.stop_timeout)
            .await
            .map_err(|error| error.into_step_error(what))?;
        while self.surely_runs(ask).await? {
            if Instant::now() >= until {
                let human = migrate_core::duration::human(self.stop_timeout);
                let by_hand = ask.runner.shown(&self.manager.stop_line(ask.tools));
                let message = format!("service {} still runs after {human}", self.name);
                return Err(StepError::failed(message)
                    .cause(format!(
                        "`{by_hand}` ended well, and its status says that it runs"
                    ))
                    .hint("stop it by hand, or give it a longer stop_timeout"));
            }
            sleep(PAUSE).await;
        }
        Ok(true)
    }

    /// Starts what ran of it, and waits until it is seen to run and to be well.
    /// `false`: it ran already.
    pub(super) async fn start(&self, ask: &Asker<'_>, parts: &[String]) -> Result<bool, StepError> {
        let runs = |state: &State| match state {
            State::Running(now) => parts.iter().all(|part| now.contains(part)),
            State::Stopped | State::Absent(_) | State::Unreachable(_) => false,
        };
        let already = runs(&self.state(ask).await?);
        if !already {
            let until = Instant::now() + self.start_timeout;
            let what = format!("service {} was not started", self.name);
            self.manager
                .start(ask, parts, self.start_timeout)
                .await
                .map_err(|error| error.into_step_error(what))?;
            while !runs(&self.state(ask).await?) {
                if Instant::now() >= until {
                    let human = migrate_core::duration::human(self.start_timeout);
                    let message = format!("service {} does not run after {human}", self.name);
                    return Err(StepError::failed(message).hint("read the service's log"));
                }
                sleep(PAUSE).await;
            }
        }
        if let Some(health) = &self.health {
            health
                .wait(&format!("service {}", self.name), ask.runner, ask.cancel)
                .await?;
        }
        Ok(!already)
    }
}

fn systemd(
    name: &str,
    config: &ServiceConfig,
    say: &mut impl FnMut(&str, String),
) -> Option<Manager> {
    let given = config.unit.as_deref().unwrap_or(name);
    let unit = Systemd::unit_name(given);
    if unit.is_none() {
        say("unit", format!("{given:?} is no name of a unit"));
    }
    unit.map(|unit| {
        Manager::Systemd(Systemd {
            unit,
            scope: config.scope,
        })
    })
}

fn compose(config: &ServiceConfig, say: &mut impl FnMut(&str, String)) -> Option<Manager> {
    let odd = |name: &String| name.is_empty() || name.starts_with('-');
    if let Some(name) = config
        .services
        .iter()
        .chain(&config.file)
        .find(|name| odd(name))
    {
        say(
            "services",
            format!("{name:?} is no name of a compose service or file"),
        );
        return None;
    }
    Some(Manager::Compose(Compose {
        file: config.file.clone(),
        only: config.services.clone(),
    }))
}

fn own_commands(
    name: &str,
    config: &ServiceConfig,
    say: &mut impl FnMut(&str, String),
) -> Option<Manager> {
    let mut read = |field: &str, line: &Option<CommandLine>| match line {
        None => {
            say(
                field,
                format!("a service of manager \"command\" needs {field}"),
            );
            None
        }
        Some(line) => match problem(line) {
            None => Some(line.clone()),
            Some((message, hint)) => {
                say(field, format!("{message}; {hint}"));
                None
            }
        },
    };
    let start = read("start", &config.start);
    let stop = read("stop", &config.stop);
    let status = read("status", &config.status);
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().map(plain).collect();
    let log = match &config.log {
        Some(log) => PathBuf::from(log),
        None => PathBuf::from(format!(".etlrs-migrate/service-{name}.log")),
    };
    Some(Manager::Command(OwnCommands {
        start: start?,
        stop: stop?,
        status: status?,
        log,
    }))
}
