//! Service control, command and cleanup steps.
//!
//! Everything that starts or ends a process of the user's is here, behind one runner.
//!
//! Reading order: [`command`] (the one runner: process groups, deadlines, bounded and
//! redacted output), [`service`] (systemd, docker compose, own commands behind
//! [`Services`], which is the engine's [`ServiceControl`](migrate_core::ServiceControl)),
//! [`kinds`] (the step kinds `Command`, `Cleanup` and `ServiceRestart`).
//!
//! Invariants:
//! - A command that timed out or was cancelled has no process of its group left when
//!   the runner returns, or the error says which are.
//! - What a command prints is kept in bounded memory and redacted before anybody sees it.
//! - A state that can't be told (a status command that fails oddly) is an error, never a guess.
//! - Only services that ran are stopped, and only those are started again.

pub mod command;
pub mod kinds;
pub mod service;

pub use command::{
    Call, CommandEnd, CommandError, CommandOutput, CommandRunner, Leftovers, Secrets, redact,
};
pub use kinds::{CleanupKind, CommandKind, PlanCommands, ServiceRestartKind};
pub use service::{
    HealthConfig, ManagerKind, Rights, ServiceConfig, Services, SystemdScope, Tools, WriterProbe,
    Writers,
};
