//! `ServiceRestart`: restarts the services that run, and sees that they are well.

use std::sync::Arc;

use async_trait::async_trait;
use migrate_core::{
    CommandLine, Description, Finding, MigrationStep, Outcome, Preview, Probe, Readiness, Receipt,
    ScopeObject, Step, StepContext, StepError, StepKind, StepSite, UndoReport, Undoable,
};
use serde_json::Value;

use super::PlanCommands;
use super::fields::Fields;
use crate::command::{Call, Leftovers, missing_program};
use crate::service::{Health, HealthConfig, Running, Services};

/// The kind `ServiceRestart`.
///
/// Fields: `service`, the one to restart (all that run without it); `command`, which is
/// then the way to restart; `health`, as in `[services.NAME]`. Services that don't run
/// are left alone: during a run with downtime they are all stopped, and the engine starts
/// them when everything is checked.
#[derive(Clone)]
pub struct ServiceRestartKind {
    services: Arc<Services>,
    allowed: PlanCommands,
}

impl ServiceRestartKind {
    /// The kind, with the services and whether the plan's own restart commands may run.
    pub fn new(services: Arc<Services>, allowed: PlanCommands) -> Self {
        Self { services, allowed }
    }
}

impl StepKind for ServiceRestartKind {
    fn name(&self) -> &'static str {
        "ServiceRestart"
    }

    fn extra_fields(&self) -> &[&str] {
        &["service", "health"]
    }

    fn build(
        &self,
        spec: &MigrationStep,
        _site: &StepSite<'_>,
    ) -> Result<Box<dyn Step>, Vec<Finding>> {
        let mut fields = Fields::of(spec);
        let command = fields.command();
        let service: Option<String> = fields.extra("service", "the name of a configured service");
        if let Some(name) = service.as_ref().filter(|name| !self.services.has(name)) {
            fields.say(
                Finding::error(
                    "plan.unknown-service",
                    format!("no service is called {name:?}"),
                )
                .at("/service")
                .hint(format!(
                    "known services: {}",
                    self.services.names().join(", ")
                )),
            );
        }
        let form = "a table with command, tcp or http, and deadline";
        let health = fields
            .extra::<HealthConfig>("health", form)
            .and_then(|config| {
                Health::parse(&config)
                    .map_err(|m| fields.say(Finding::error("plan.bad-health", m).at("/health")))
                    .ok()
                    .map(|health| (health, config.command.is_some()))
            });
        fields.done()?;
        let runs_commands =
            command.is_some() || health.as_ref().is_some_and(|(_, by_command)| *by_command);
        Ok(Box::new(RestartStep {
            services: Arc::clone(&self.services),
            allowed: self.allowed,
            command,
            service,
            health: health.map(|(health, _)| health),
            runs_commands,
            title: spec.description.clone(),
        }))
    }
}

struct RestartStep {
    services: Arc<Services>,
    allowed: PlanCommands,
    command: Option<CommandLine>,
    service: Option<String>,
    health: Option<Health>,
    runs_commands: bool,
    title: String,
}

/// What `prepare` saw, in the receipt: a restart that was killed between stop and start
/// must still know what ran.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Seen {
    running: Value,
    /// A service is there, running or not.
    present: bool,
}

impl Seen {
    fn read(receipt: &Receipt) -> Result<Self, StepError> {
        serde_json::from_value(receipt.0.clone())
            .map_err(|error| StepError::caused("the receipt can't be read", &error))
    }
}

impl RestartStep {
    fn fits(&self) -> impl Fn(&str) -> bool {
        |name| self.service.as_deref().is_none_or(|wanted| wanted == name)
    }

    fn whom(&self) -> String {
        match &self.service {
            Some(name) => format!("service {name}"),
            None => "the services that run".to_owned(),
        }
    }

    fn actions(&self) -> Vec<String> {
        match &self.command {
            Some(line) => vec![self.services.runner().shown(line)],
            None => vec![format!("restart {}", self.whom())],
        }
    }

    async fn restart(&self, cx: &StepContext, running: &Running) -> Result<Vec<String>, StepError> {
        let Some(line) = &self.command else {
            self.services.stop_all(running, &cx.cancel).await?;
            return self.services.start_all(running, &cx.cancel).await;
        };
        let runner = self.services.runner();
        let log = format!(".etlrs-migrate/step-{}.log", cx.step).into();
        let call = Call::new(line, cx.timeout, &cx.cancel).leftovers(Leftovers::Keep { log });
        let ran = runner
            .run(call)
            .await
            .and_then(crate::CommandOutput::success);
        ran.map_err(|error| error.into_step_error(format!("restarting {}", self.whom())))?;
        // The configured health probes speak for a restart by command as well.
        self.services.start_all(running, &cx.cancel).await?;
        Ok(vec![format!("ran `{}`", runner.shown(line))])
    }
}

#[async_trait]
impl Step for RestartStep {
    fn describe(&self) -> Description {
        let names: Vec<String> = match &self.service {
            Some(name) => vec![name.clone()],
            None => self.services.names().into_iter().map(Into::into).collect(),
        };
        Description {
            title: if self.title.is_empty() {
                format!("restart {}", self.whom())
            } else {
                self.title.clone()
            },
            scope: names.into_iter().map(ScopeObject::Service).collect(),
            undo: Undoable::NotNeeded,
            deferred: false,
            runs_commands: self.runs_commands,
            actions: self.actions(),
            inputs: Vec::new(),
        }
    }

    async fn preview(&self, cx: &StepContext) -> Result<Preview, StepError> {
        let running = self.services.running_of(self.fits(), &cx.cancel).await?;
        let names: Vec<String> = running
            .services
            .into_iter()
            .map(|service| service.name)
            .collect();
        let note = match names.as_slice() {
            [] => "no service of it runs now".to_owned(),
            names => format!("runs now: {}", names.join(", ")),
        };
        Ok(Preview {
            actions: self.actions(),
            notes: vec![note],
            ..Preview::default()
        })
    }

    async fn check(&self, _cx: &StepContext) -> Result<Readiness, StepError> {
        let root = self.services.runner().root();
        Ok(
            match self
                .command
                .as_ref()
                .and_then(|line| missing_program(line, root))
            {
                None => Readiness::Ready,
                Some(program) => Readiness::Blocked(vec![Finding::error(
                    "command.not-found",
                    format!("there is no program {program}"),
                )]),
            },
        )
    }

    async fn prepare(&self, cx: &StepContext) -> Result<Receipt, StepError> {
        let running = self.services.running_of(self.fits(), &cx.cancel).await?;
        let present = !running.services.is_empty()
            || self.services.any_present(self.fits(), &cx.cancel).await?;
        let seen = Seen {
            running: running.to_value(),
            present,
        };
        Ok(Receipt(
            serde_json::to_value(seen).expect("names serialize"),
        ))
    }

    async fn run(&self, cx: &StepContext, receipt: &Receipt) -> Result<Outcome, StepError> {
        let seen = Seen::read(receipt)?;
        let running = Running::read(&seen.running)?;
        // A command could start what the engine stopped: another writer in the middle of the run.
        let stopped_on_purpose = running.services.is_empty() && seen.present;
        if stopped_on_purpose || (running.services.is_empty() && self.command.is_none()) {
            return Ok(Outcome::line(
                "no service runs now; those that ran are started at the end",
            ));
        }
        if self.runs_commands {
            self.allowed.agreed(&self.actions().join("; "))?;
        }
        let lines = self.restart(cx, &running).await?;
        if let Some(health) = &self.health {
            health
                .wait(&self.whom(), self.services.runner(), &cx.cancel)
                .await?;
        }
        let message = match running.services.len() {
            0 => "restarted by command".to_owned(),
            1 => "restarted 1 service".to_owned(),
            count => format!("restarted {count} services"),
        };
        Ok(Outcome {
            notes: lines,
            ..Outcome::line(message)
        })
    }

    /// A restart needs no undo, but one that was killed between stop and start has left
    /// a service down.
    async fn undo(&self, cx: &StepContext, receipt: &Receipt) -> Result<UndoReport, StepError> {
        let running = Running::read(&Seen::read(receipt)?.running)?;
        let lines = self.services.start_all(&running, &cx.cancel).await?;
        Ok(UndoReport::line(match lines.as_slice() {
            [] => "no service ran before it".to_owned(),
            lines => lines.join("; "),
        }))
    }

    async fn probe(&self, _cx: &StepContext, _receipt: &Receipt) -> Result<Probe, StepError> {
        // Whether a running service is the old process or a new one can't be told for
        // every manager, and restarting once more is harmless.
        Ok(Probe::Partial)
    }
}
