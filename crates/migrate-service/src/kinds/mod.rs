//! The step kinds of this crate.

mod cleanup;
mod command_step;
mod fields;
mod removal;
mod restart;

pub use cleanup::CleanupKind;
pub use command_step::CommandKind;
pub use restart::ServiceRestartKind;

/// Whether the commands that a plan's author wrote may run.
///
/// Asking for consent is the embedder's; the steps refuse to run without it all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanCommands {
    /// The user agreed.
    Allowed,
    /// The user agreed, but this is a dry run: nothing is executed, checks included; they are shown.
    Shown,
    /// Nobody agreed: nothing of the plan's author is executed, its checks included.
    Refused,
}

impl PlanCommands {
    fn agreed(self, shown: &str) -> Result<(), migrate_core::StepError> {
        match self {
            Self::Allowed => Ok(()),
            Self::Shown => Err(migrate_core::StepError::failed(format!(
                "`{shown}` was not run: a dry run executes nothing"
            ))),
            Self::Refused => Err(migrate_core::StepError::failed(format!(
                "`{shown}` was not run: commands of plans are not allowed"
            ))
            .hint("read the command in the plan, then pass --allow-commands")),
        }
    }
}
