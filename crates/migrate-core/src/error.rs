//! Errors on which a caller branches.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::finding::{Finding, Place};
use crate::journal::JournalError;
use crate::ports::Loss;
use crate::printable::one_line;
use crate::version::VersionError;

/// What sort of end a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepErrorKind {
    /// It failed; what it did is undone.
    Failed,
    /// It ended because it was asked to; it can be resumed.
    Interrupted,
    /// A restore would take rows of others with it; nothing was changed.
    OthersWrote,
    /// A restore does not come to what its rollback point was made of; nothing was changed.
    Differs,
    /// A server stopped answering. On the way back that is no verdict: it is tried again.
    Unreachable,
}

/// Why a step (its check, preparation, run or undo) did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// What sort of end.
    pub kind: StepErrorKind,
    /// What failed, on what, why: a lowercase fragment. Never holds a secret.
    pub message: String,
    /// The causes below it, outermost first; the database's own message and code among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// Where in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl StepError {
    /// A failure.
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            kind: StepErrorKind::Failed,
            message: message.into(),
            causes: Vec::new(),
            place: None,
            hint: None,
        }
    }

    /// The step ended because [`Cancel`](crate::Cancel) asked for it.
    pub fn interrupted(message: impl Into<String>) -> Self {
        Self {
            kind: StepErrorKind::Interrupted,
            ..Self::failed(message)
        }
    }

    /// A failure with an error as its cause, all its sources included.
    pub fn caused(message: impl Into<String>, cause: &(dyn std::error::Error + 'static)) -> Self {
        let mut causes = vec![cause.to_string()];
        let mut next = cause.source();
        while let Some(source) = next {
            causes.push(source.to_string());
            next = source.source();
        }
        causes.dedup();
        Self {
            causes,
            ..Self::failed(message)
        }
    }

    /// Adds a cause below the others.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds the place in a file.
    #[must_use]
    pub fn in_file(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Adds the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&one_line(&self.message))?;
        // A cause of several lines, as a diff, stands below; the others in the line.
        let (long, short): (Vec<_>, Vec<_>) =
            self.causes.iter().partition(|cause| cause.contains('\n'));
        for cause in short {
            write!(f, ": {cause}")?;
        }
        for cause in long {
            write!(f, "\n    {}", cause.replace('\n', "\n      "))?;
        }
        if let Some(text) = self.place.as_ref().and_then(|p| p.text.as_deref()) {
            write!(f, "\n    | {}", one_line(text))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n    hint: {}", hint.replace('\n', "\n          "))?;
        }
        Ok(())
    }
}

impl std::error::Error for StepError {}

/// Why a migration or rollback did not end as asked. Each variant has its own exit code.
#[derive(Debug)]
#[non_exhaustive]
pub enum MigrationError {
    /// A version does not parse. Nothing changed.
    Version(VersionError),
    /// The plan has errors. Nothing changed.
    Plan(Vec<Finding>),
    /// Checks found errors before anything was changed.
    Checks(Vec<Finding>),
    /// Another run holds the lock.
    Locked(String),
    /// An earlier run is open and must be resumed or rolled back first.
    OpenRun(String),
    /// The database remembers an open run that this journal does not know.
    InDoubt(String),
    /// A rollback would lose data, and nobody agreed to that.
    WouldLose(Vec<Loss>),
    /// Something failed and everything in scope is as it was before.
    RolledBack {
        /// What failed.
        error: StepError,
    },
    /// Something failed, and the deployment is neither old nor new.
    Stuck {
        /// What failed.
        error: StepError,
    },
    /// A signal stopped the run at a boundary from which it can be resumed.
    Interrupted {
        /// The signal's number.
        signal: i32,
    },
    /// Something outside the steps failed before anything was changed.
    Unchanged(StepError),
    /// The journal could not be written or read.
    Journal(JournalError),
}

impl fmt::Display for MigrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(error) => error.fmt(f),
            Self::Plan(findings) => list(f, "the plan has errors", findings),
            Self::Checks(findings) => list(f, "checks failed", findings),
            Self::Locked(holder) => write!(f, "another run holds the lock: {holder}"),
            Self::OpenRun(run) | Self::InDoubt(run) => f.write_str(run),
            Self::WouldLose(losses) => list(f, "refused: data would be lost", losses),
            Self::RolledBack { error } => write!(f, "failed and rolled back: {error}"),
            Self::Stuck { error } => write!(f, "failed and NOT rolled back: {error}"),
            Self::Interrupted { signal } => write!(f, "interrupted by signal {signal}"),
            Self::Unchanged(error) => error.fmt(f),
            Self::Journal(error) => error.fmt(f),
        }
    }
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, title: &str, items: &[T]) -> fmt::Result {
    f.write_str(title)?;
    for item in items {
        write!(f, "\n  - {item}")?;
    }
    Ok(())
}

impl std::error::Error for MigrationError {}

impl From<VersionError> for MigrationError {
    fn from(error: VersionError) -> Self {
        Self::Version(error)
    }
}

impl From<JournalError> for MigrationError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}
