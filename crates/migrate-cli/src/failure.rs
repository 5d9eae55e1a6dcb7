//! Why a command did not end well, with its exit code.

use std::fmt;

use migrate_config::Located;
use migrate_core::{Finding, Loss, MigrationError, Severity, StepError};

use crate::exit;

/// An end that is not zero: what to say and how to exit.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The process's exit code.
    pub(crate) code: u8,
    /// One line about what failed.
    pub(crate) message: String,
    /// More, each with its place.
    pub(crate) findings: Vec<Finding>,
    /// What others wrote and would be lost, for machines; people read it in the findings.
    pub(crate) losses: Vec<Loss>,
    /// What to do.
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn unchanged(message: impl Into<String>) -> Self {
        Self {
            code: exit::UNCHANGED,
            message: message.into(),
            findings: Vec::new(),
            losses: Vec::new(),
            hint: None,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            code: exit::USAGE,
            ..Self::unchanged(message)
        }
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self {
            code: exit::REFUSED,
            ..Self::unchanged(message)
        }
    }

    pub(crate) fn findings(message: impl Into<String>, findings: Vec<Finding>) -> Self {
        Self {
            findings,
            ..Self::unchanged(message)
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Gives findings of an engine's error their places in the plan's file.
    pub(crate) fn of(error: MigrationError, plan: Option<&Located>) -> Self {
        let code = exit::of(&error);
        let failure = |message: String, findings| Self {
            code,
            message,
            findings,
            losses: Vec::new(),
            hint: None,
        };
        match error {
            MigrationError::Plan(findings) => {
                let findings = match plan {
                    Some(located) => located.locate(findings),
                    None => findings,
                };
                failure("the plan has errors; nothing was changed".into(), findings)
            }
            MigrationError::Checks(findings) => {
                failure("checks failed; nothing was changed".into(), findings)
            }
            MigrationError::WouldLose(losses) => {
                let findings = losses
                    .iter()
                    .map(|loss| Finding::error("rollback.loss", loss.to_string()))
                    .collect();
                let message = "refused: this rollback would lose what was written since the upgrade";
                let refused = failure(message.into(), findings);
                Self { losses, ..refused }.hint("agree with --accept-data-loss")
            }
            MigrationError::InDoubt(message) => failure(message, Vec::new()).hint(
                "if its state directory (.etlrs-migrate) was lost: `resume --adopt` goes on with it, \
                 `--rollback --to V --adopt` takes it back; else work where it is",
            ),
            MigrationError::Unproven(message) => failure(message, Vec::new())
                .hint("`audit verify` shows it in full, and what to do about it"),
            MigrationError::OpenRun(message) => failure(message, Vec::new())
                .hint("`status` shows where it stands and the next command"),
            MigrationError::Interrupted {
                signal: migrate_core::TIME_OVER,
            } => failure(
                "the time for going back is over; stopped at a boundary that can be resumed"
                    .to_owned(),
                Vec::new(),
            ),
            MigrationError::Interrupted { signal } => failure(
                format!(
                    "interrupted by signal {signal}; stopped at a boundary that can be resumed"
                ),
                Vec::new(),
            ),
            other => failure(other.to_string(), Vec::new()),
        }
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        Self::unchanged(error.to_string())
    }
}

impl From<MigrationError> for Failure {
    fn from(error: MigrationError) -> Self {
        Self::of(error, None)
    }
}

impl From<migrate_core::JournalError> for Failure {
    fn from(error: migrate_core::JournalError) -> Self {
        Self::unchanged(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        // What stands in the way first; a warning is none of the reasons.
        let is_warning = |finding: &&Finding| finding.severity == Severity::Warning;
        for finding in self.findings.iter().filter(|one| !is_warning(one)) {
            let text = finding.to_string().replace('\n', "\n  ");
            write!(f, "\n  - {text}")?;
        }
        for finding in self.findings.iter().filter(is_warning) {
            let text = finding.to_string().replace('\n', "\n  ");
            write!(f, "\n  (warning) {text}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}
