//! What happens while migrations run, for those who watch.

use std::fmt;
use std::time::Duration;

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A migration is run.
    Running {
        /// Which.
        label: String,
        /// Its number in this run, from 1.
        number: usize,
        /// How many there are.
        total: usize,
    },
    /// A statement of a migration that is not one transaction is run.
    Statement {
        /// Its text, on one line and shortened.
        text: String,
        /// Its number, from 1.
        number: usize,
        /// How many there are.
        total: usize,
    },
    /// A transaction was committed.
    Committed {
        /// How many migrations it brought.
        migrations: usize,
    },
    /// Something is waited for.
    Waiting {
        /// For whom.
        blockers: String,
    },
    /// It is tried again.
    Again {
        /// Why.
        why: String,
        /// How long until then.
        pause: Duration,
    },
    /// Something else that is worth knowing.
    Note(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running {
                label,
                number,
                total,
            } => write!(f, "[{number}/{total}] {label}"),
            Self::Statement {
                text,
                number,
                total,
            } => write!(f, "  statement {number} of {total}: {text}"),
            Self::Committed { migrations } => write!(f, "committed {migrations}"),
            Self::Waiting { blockers } => write!(f, "  waiting: {blockers}"),
            Self::Again { why, pause } => {
                write!(f, "  {why}; trying again in {:.1} s", pause.as_secs_f32())
            }
            Self::Note(text) => write!(f, "  {text}"),
        }
    }
}

/// Watches migrations run. Called from the task that runs them: must not block.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn event(&self, event: &Event);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn event(&self, _event: &Event) {}
}

/// A text on one line, shortened for people.
pub(super) fn one_line(text: &str) -> String {
    const SHOWN: usize = 100;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}
