//! How a command can end other than well.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use migrate_core::{CancelCause, StepError};
use nix::sys::signal::Signal;

/// How a command's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandEnd {
    /// It exited with this status; 0 is success.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

impl From<ExitStatus> for CommandEnd {
    fn from(status: ExitStatus) -> Self {
        match status.code() {
            Some(code) => Self::Code(code),
            None => Self::Signal(status.signal().unwrap_or(0)),
        }
    }
}

impl fmt::Display for CommandEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "ended by {signal}"),
                Err(_) => write!(f, "ended by signal {number}"),
            },
        }
    }
}

/// Why a command did not do what it was for. All texts are redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// It never ran: no such program, no right to run it, a command line that is refused.
    NotStarted {
        /// The command.
        command: String,
        /// Why.
        reason: String,
    },
    /// It ended with a status other than 0, or by a signal.
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        end: CommandEnd,
        /// The last lines that it printed.
        lines: Vec<String>,
    },
    /// It ran longer than it may; its whole process group was ended.
    TimedOut {
        /// The command.
        command: String,
        /// How long it was given.
        after: Duration,
        /// The last lines that it printed.
        lines: Vec<String>,
    },
    /// The end was asked for; its whole process group was ended.
    Cancelled {
        /// The command.
        command: String,
        /// Why.
        cause: CancelCause,
        /// The last lines that it printed.
        lines: Vec<String>,
    },
    /// It should have been ended, and processes of its group are still there.
    NotEnded {
        /// The command.
        command: String,
        /// The processes, where the system tells them.
        pids: Vec<i32>,
    },
}

impl CommandError {
    /// As a step's error: `interrupted` where the end was asked for, `failed` otherwise,
    /// with the last lines among the causes.
    pub fn into_step_error(self, what: impl Into<String>) -> StepError {
        let what = what.into();
        let mut error = match &self {
            Self::Cancelled { .. } => StepError::interrupted(what),
            _ => StepError::failed(what),
        };
        error = error.cause(self.message());
        if let Some(lines) = self.lines() {
            error = error.cause(lines);
        }
        match &self {
            Self::NotEnded { .. } => error.hint("end these processes by hand, then go on"),
            Self::TimedOut { .. } => {
                error.hint("give it more time, or find out what it was waiting for")
            }
            _ => error,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::NotStarted { command, reason } => format!("`{command}` was not run: {reason}"),
            Self::Failed { command, end, .. } => format!("`{command}` failed: {end}"),
            Self::TimedOut { command, after, .. } => format!(
                "`{command}` ran longer than {} and was ended with all its processes",
                migrate_core::duration::human(*after)
            ),
            Self::Cancelled { command, cause, .. } => {
                let why = match cause {
                    CancelCause::Timeout => "its time was over",
                    CancelCause::Deadline => "the deadline passed",
                    _ => "the run was asked to stop",
                };
                format!("`{command}` was ended with all its processes because {why}")
            }
            Self::NotEnded { command, pids } => format!(
                "`{command}` was told to end, and processes of it are still there{}",
                listed(pids)
            ),
        }
    }

    fn lines(&self) -> Option<String> {
        match self {
            Self::Failed { lines, .. }
            | Self::TimedOut { lines, .. }
            | Self::Cancelled { lines, .. } => (!lines.is_empty())
                .then(|| format!("it printed last:\n    | {}", lines.join("\n    | "))),
            Self::NotStarted { .. } | Self::NotEnded { .. } => None,
        }
    }
}

fn listed(pids: &[i32]) -> String {
    if pids.is_empty() {
        return String::new();
    }
    let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
    format!(": {}", pids.join(", "))
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())?;
        match self.lines() {
            Some(lines) => write!(f, ": {lines}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CommandError {}
