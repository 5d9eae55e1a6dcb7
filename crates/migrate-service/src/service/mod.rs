//! Services: what runs, stopping it for sure, starting what ran.

mod compose;
mod config;
mod health;
mod manager;
mod own_commands;
mod systemd;
mod writers;

mod control;
mod entry;

pub use config::{HealthConfig, ManagerKind, ServiceConfig, SystemdScope};
pub use control::Services;
pub use manager::{Rights, Tools};
pub use writers::{WriterProbe, Writers};

pub(crate) use control::Running;
pub(crate) use health::Health;
