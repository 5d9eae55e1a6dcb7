//! `[services.NAME]` of `etlrs-migrate.toml`.

use std::time::Duration;

use migrate_core::CommandLine;
use serde::{Deserialize, Serialize};

/// One configured service.
///
/// ```toml
/// [services.web]
/// manager = "systemd"
/// unit = "etlrs.service"
/// health = { http = "http://127.0.0.1:9090/health", deadline = "60s" }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// What starts and stops it.
    pub manager: ManagerKind,
    /// systemd: the unit; `NAME.service` without this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// systemd: whose manager the unit belongs to.
    #[serde(default)]
    pub scope: SystemdScope,
    /// compose: the file, relative to the root; the one that compose finds without this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// compose: the services that are stopped; all but databases without this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// command: starts it in the background and returns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<CommandLine>,
    /// command: stops it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<CommandLine>,
    /// command: exits with 0 while it runs, with 1, 2 or 3 when it doesn't (as init scripts do).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<CommandLine>,
    /// command: the file below the root that takes the output of `start`;
    /// `.etlrs-migrate/service-NAME.log` without this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// When it counts as well after a start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthConfig>,
    /// How long it may take to stop.
    #[serde(default = "a_minute", with = "migrate_core::duration")]
    pub stop_timeout: Duration,
    /// How long it may take to start.
    #[serde(default = "a_minute", with = "migrate_core::duration")]
    pub start_timeout: Duration,
}

/// What starts and stops a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ManagerKind {
    /// `systemctl`.
    Systemd,
    /// `docker compose` or `docker-compose`.
    Compose,
    /// The configuration's own `start`, `stop` and `status`.
    Command,
}

/// Whose systemd a unit belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemdScope {
    /// The system's; root, or `sudo -n`, is needed.
    #[default]
    System,
    /// The user's own.
    User,
}

/// How to see that a service is well; exactly one of `command`, `tcp` and `http`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthConfig {
    /// Exits with 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandLine>,
    /// `HOST:PORT` takes a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// `http://HOST[:PORT]/PATH` answers with 2xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// How long it may take until it is well.
    #[serde(default = "a_minute", with = "migrate_core::duration")]
    pub deadline: Duration,
    /// The pause between two looks.
    #[serde(default = "half_a_second", with = "migrate_core::duration")]
    pub interval: Duration,
}

fn a_minute() -> Duration {
    Duration::from_mins(1)
}

fn half_a_second() -> Duration {
    Duration::from_millis(500)
}

impl ServiceConfig {
    /// A service of that manager, with everything else as it is without configuration.
    pub fn new(manager: ManagerKind) -> Self {
        Self {
            manager,
            unit: None,
            scope: SystemdScope::System,
            file: None,
            services: Vec::new(),
            start: None,
            stop: None,
            status: None,
            log: None,
            health: None,
            stop_timeout: a_minute(),
            start_timeout: a_minute(),
        }
    }

    /// The fields that are given and that another manager would take.
    pub(super) fn foreign_fields(&self) -> Vec<&'static str> {
        let of = |kind, name, given| (kind, name, given);
        [
            of(ManagerKind::Systemd, "unit", self.unit.is_some()),
            of(
                ManagerKind::Systemd,
                "scope",
                self.scope != SystemdScope::System,
            ),
            of(ManagerKind::Compose, "file", self.file.is_some()),
            of(ManagerKind::Compose, "services", !self.services.is_empty()),
            of(ManagerKind::Command, "start", self.start.is_some()),
            of(ManagerKind::Command, "stop", self.stop.is_some()),
            of(ManagerKind::Command, "status", self.status.is_some()),
            of(ManagerKind::Command, "log", self.log.is_some()),
        ]
        .into_iter()
        .filter(|(kind, _, given)| *given && *kind != self.manager)
        .map(|(_, name, _)| name)
        .collect()
    }
}
