//! The one runner of processes.

mod error;
mod group;
mod leftovers;
mod line;
mod output;
mod redact;
mod runner;
mod watchman;

pub use error::{CommandEnd, CommandError};
pub use leftovers::Leftovers;
pub use line::show;
pub use redact::{Secrets, holds_url_password, redact};
pub use runner::{Call, CommandOutput, CommandRunner};
pub use watchman::Watchman;

pub(crate) use group::Group;
pub(crate) use line::{missing_program, problem};
