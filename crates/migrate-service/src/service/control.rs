//! All services of a deployment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use migrate_core::{Cancel, Finding, ServiceControl, StepError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::ServiceConfig;
use super::entry::{Entry, Presence};
use super::manager::{Asker, Manager, State, Tools};
use super::writers::{WriterProbe, Writers, wait_for_none};
use crate::command::CommandRunner;

/// The services of a deployment, as the engine's [`ServiceControl`].
///
/// Without any configuration it is the guide's: unit `etlrs.service` if systemd knows it,
/// and docker compose if its file is in the root; otherwise nothing.
#[derive(Clone)]
pub struct Services {
    runner: CommandRunner,
    tools: Tools,
    entries: Vec<Entry>,
    writers: Option<Arc<dyn WriterProbe>>,
    writer_patience: Duration,
}

/// How long a session may be at work where nothing was stopped.
const SHORT_PATIENCE: Duration = Duration::from_secs(10);
/// The pause between two looks at the sessions.
const PAUSE: Duration = Duration::from_millis(200);

/// What ran, for the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) services: Vec<RunningService>,
}

/// One service that ran, with its parts where it has some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunningService {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<String>,
}

impl Running {
    pub(crate) fn read(value: &Value) -> Result<Self, StepError> {
        if value.is_null() {
            return Ok(Self::default());
        }
        Self::deserialize(value).map_err(|error| {
            StepError::caused("what the journal says of services can't be read", &error)
        })
    }

    pub(crate) fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("names serialize")
    }
}

impl Services {
    /// The configured services; the guide's defaults if there are none.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration, with pointers from `/services`.
    pub fn new(
        runner: CommandRunner,
        configured: &BTreeMap<String, ServiceConfig>,
    ) -> Result<Self, Vec<Finding>> {
        let mut entries = Vec::new();
        let mut findings = Vec::new();
        for (name, config) in configured {
            match Entry::parse(name, config) {
                Ok(entry) => entries.push(entry),
                Err(found) => findings.extend(found),
            }
        }
        if configured.is_empty() {
            entries = Entry::defaults();
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        Ok(Self {
            runner,
            tools: Tools::default(),
            entries,
            writers: None,
            writer_patience: Duration::from_secs(30),
        })
    }

    /// Proves after a stop that nobody else writes, within that time.
    #[must_use]
    pub fn with_writer_probe(mut self, probe: Arc<dyn WriterProbe>, patience: Duration) -> Self {
        self.writers = Some(probe);
        self.writer_patience = patience;
        self
    }

    /// Uses these programs instead of those that `PATH` has.
    #[must_use]
    pub fn with_tools(mut self, tools: Tools) -> Self {
        self.tools = tools;
        self
    }

    /// The names of the services that are looked at.
    pub fn names(&self) -> Vec<&str> {
        self.entries
            .iter()
            .map(|entry| entry.name.as_str())
            .collect()
    }

    pub(crate) fn runner(&self) -> &CommandRunner {
        &self.runner
    }

    /// What runs now of the services whose name fits.
    pub(crate) async fn running_of(
        &self,
        fits: impl Fn(&str) -> bool,
        cancel: &Cancel,
    ) -> Result<Running, StepError> {
        let ask = self.asker(cancel);
        let mut running = Running::default();
        for entry in self.entries.iter().filter(|entry| fits(&entry.name)) {
            match (entry.state(&ask).await?, entry.presence) {
                (State::Running(parts), _) => running.services.push(RunningService {
                    name: entry.name.clone(),
                    parts,
                }),
                (State::Unreachable(why), Presence::Needed) => return Err(entry.unreachable(&why)),
                (State::Stopped | State::Absent(_) | State::Unreachable(_), _) => {}
            }
        }
        Ok(running)
    }

    pub(crate) async fn stop_all(
        &self,
        running: &Running,
        cancel: &Cancel,
    ) -> Result<Vec<String>, StepError> {
        let ask = self.asker(cancel);
        let mut lines = Vec::new();
        for service in &running.services {
            let stopped = self
                .entry(&service.name)?
                .stop(&ask, &service.parts)
                .await?;
            lines.push(line(
                service,
                if stopped {
                    "stopped"
                } else {
                    "was stopped already"
                },
            ));
        }
        Ok(lines)
    }

    /// Tries every service, also when one does not start: a deployment that is half up is
    /// worse than one with a single service down. The errors are told together.
    pub(crate) async fn start_all(
        &self,
        running: &Running,
        cancel: &Cancel,
    ) -> Result<Vec<String>, StepError> {
        let ask = self.asker(cancel);
        let mut lines = Vec::new();
        let mut failed: Option<StepError> = None;
        for service in &running.services {
            let started = match self.entry(&service.name) {
                Ok(entry) => entry.start(&ask, &service.parts).await,
                Err(error) => Err(error),
            };
            match (started, &mut failed) {
                (Ok(true), _) => lines.push(line(service, "started")),
                (Ok(false), _) => lines.push(line(service, "runs already")),
                (Err(error), None) => failed = Some(error),
                (Err(error), Some(first)) => first.causes.push(format!("also: {error}")),
            }
        }
        failed.map_or(Ok(lines), Err)
    }

    /// How each service stands that is there: its name, whether it runs, and why it is not
    /// well where its health probe says so. One look, no waiting.
    ///
    /// # Errors
    /// A state that can't be told.
    pub async fn standing(&self) -> Result<Vec<(String, bool, Option<String>)>, StepError> {
        let cancel = Cancel::new();
        let ask = self.asker(&cancel);
        let mut all = Vec::new();
        for entry in &self.entries {
            match entry.state(&ask).await? {
                State::Running(_) => {
                    let why = match &entry.health {
                        Some(health) => health.look(ask.runner, ask.cancel).await.err(),
                        None => None,
                    };
                    all.push((entry.name.clone(), true, why));
                }
                State::Stopped => all.push((entry.name.clone(), false, None)),
                State::Absent(_) | State::Unreachable(_) => {}
            }
        }
        Ok(all)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name)
    }

    /// Whether a service that the configuration or the guide names is there at all, running or not.
    pub(crate) async fn any_present(
        &self,
        fits: impl Fn(&str) -> bool,
        cancel: &Cancel,
    ) -> Result<bool, StepError> {
        let ask = self.asker(cancel);
        for entry in self.entries.iter().filter(|entry| fits(&entry.name)) {
            if matches!(entry.state(&ask).await?, State::Running(_) | State::Stopped) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn entry(&self, name: &str) -> Result<&Entry, StepError> {
        self.entries
            .iter()
            .find(|entry| entry.name == name)
            .ok_or_else(|| {
                StepError::failed(format!("service {name} is not configured any more")).hint(
                    format!("put [services.{name}] back into etlrs-migrate.toml"),
                )
            })
    }

    fn asker<'a>(&'a self, cancel: &'a Cancel) -> Asker<'a> {
        Asker {
            runner: &self.runner,
            tools: &self.tools,
            cancel,
        }
    }

    async fn check_one(&self, entry: &Entry, ask: &Asker<'_>) -> Result<Vec<Finding>, StepError> {
        if let Manager::Command(own) = &entry.manager {
            let findings = own.findings(ask);
            if !findings.is_empty() {
                return Ok(findings);
            }
        }
        let state = match entry.state(ask).await {
            Ok(state) => state,
            Err(error) => {
                return Ok(vec![Finding::error(
                    "service.unknown-state",
                    error.to_string(),
                )]);
            }
        };
        match (state, entry.presence, &entry.manager) {
            (State::Running(_), _, _) => entry.manager.findings(ask).await,
            (State::Absent(why) | State::Unreachable(why), Presence::Needed, _) => {
                let message = format!("service {} is not there: {why}", entry.name);
                Ok(vec![
                    Finding::error("service.missing", message)
                        .hint("correct or remove it in etlrs-migrate.toml"),
                ])
            }
            // Its file is in the root, so somebody may well run it.
            (State::Unreachable(why), Presence::IfThere, Manager::Compose(_)) => {
                let message = format!("services of docker compose are not looked at: {why}");
                Ok(vec![Finding::warning("service.no-client", message)])
            }
            (State::Stopped, _, _)
            | (State::Absent(_) | State::Unreachable(_), Presence::IfThere, _) => Ok(Vec::new()),
        }
    }
}

fn line(service: &RunningService, what: &str) -> String {
    match service.parts.as_slice() {
        [] => format!("{} {what}", service.name),
        parts => format!("{} ({}) {what}", service.name, parts.join(", ")),
    }
}

/// Those that run and have to be down, by name.
fn back(running: &Running) -> Option<StepError> {
    if running.services.is_empty() {
        return None;
    }
    let lines = running.services.iter().map(|one| line(one, "runs"));
    let error = StepError::failed(
        "a service runs that has to be down: it came back by itself, or somebody started it",
    );
    Some(lines
        .fold(error, StepError::cause)
        .hint("keep it down for the time of the run (`systemctl mask --runtime`, Restart=no, the orchestrator's pause), then try again"))
}

#[async_trait]
impl ServiceControl for Services {
    async fn check(&self) -> Result<Vec<Finding>, StepError> {
        let cancel = Cancel::new();
        let ask = self.asker(&cancel);
        let mut findings = Vec::new();
        for entry in &self.entries {
            findings.extend(self.check_one(entry, &ask).await?);
        }
        Ok(findings)
    }

    async fn running(&self) -> Result<Value, StepError> {
        let running = self.running_of(|_| true, &Cancel::new()).await?;
        Ok(if running.services.is_empty() {
            Value::Null
        } else {
            running.to_value()
        })
    }

    async fn stop(&self, running: &Value) -> Result<Vec<String>, StepError> {
        let running = Running::read(running)?;
        let lines = self.stop_all(&running, &Cancel::new()).await?;
        if let Some(writers) = &self.writers {
            // After a stop a session may take its time; where nothing was stopped, whoever is
            // at work now goes on.
            let (which, patience) = if running.services.is_empty() {
                (Writers::AtWork, SHORT_PATIENCE)
            } else {
                (Writers::Any, self.writer_patience)
            };
            wait_for_none(writers.as_ref(), which, patience, PAUSE).await?;
        }
        Ok(lines)
    }

    async fn came_back(&self) -> Option<StepError> {
        let running = self.running_of(|_| true, &Cancel::new()).await.ok()?;
        back(&running)
    }

    async fn still_down(&self) -> Result<(), StepError> {
        let running = self.running_of(|_| true, &Cancel::new()).await?;
        if let Some(error) = back(&running) {
            return Err(error);
        }
        match &self.writers {
            None => Ok(()),
            Some(writers) => {
                wait_for_none(writers.as_ref(), Writers::AtWork, SHORT_PATIENCE, PAUSE).await
            }
        }
    }

    async fn start(&self, running: &Value) -> Result<Vec<String>, StepError> {
        self.start_all(&Running::read(running)?, &Cancel::new())
            .await
    }
}
