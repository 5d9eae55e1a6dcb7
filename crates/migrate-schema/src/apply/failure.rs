//! Why migrations did not run, and what of them stayed.

use std::fmt;

use migrate_core::{Finding, StepError};

use crate::db::{DbError, DbErrorKind};

/// Why migrations did not run to the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyError {
    /// Something stood in the way before anything ran.
    Refused(Vec<Finding>),
    /// A migration failed.
    Failed(Box<Broken>),
}

/// How far a run came that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// What failed.
    pub error: StepError,
    /// The migrations that were committed before, by label.
    pub committed: Vec<String>,
    /// The migration that stopped between two of its statements; the next run goes on there.
    pub half_done: Option<String>,
    /// The migrations whose commit met an error after which nothing could be looked up: all of
    /// them are there, or none.
    pub in_doubt: Vec<String>,
    /// Whether anything of the migrations had begun.
    pub began: bool,
}

impl ApplyError {
    /// A failure before anything ran.
    pub(crate) fn unchanged(error: StepError) -> Self {
        Self::Failed(Box::new(Broken {
            error,
            committed: Vec::new(),
            half_done: None,
            in_doubt: Vec::new(),
            began: false,
        }))
    }

    pub(crate) fn db(what: &str) -> impl Fn(DbError) -> Self + '_ {
        move |error| Self::unchanged(error.into_step_error(what))
    }

    /// The failure as a step's.
    pub fn into_step_error(self) -> StepError {
        match self {
            Self::Refused(findings) => {
                let mut error = StepError::failed("the migrations can't be run");
                error.causes = findings.iter().map(ToString::to_string).collect();
                error
            }
            Self::Failed(broken) => broken.error,
        }
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(findings) => {
                let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            Self::Failed(broken) => broken.error.fmt(f),
        }
    }
}

impl std::error::Error for ApplyError {}

/// Why an attempt at a batch failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) kind: DbErrorKind,
    pub(super) code: Option<String>,
    pub(super) error: StepError,
    /// The migration of the batch that failed, from 0.
    pub(super) item: usize,
    /// Whether it gave way to others who waited for its locks.
    pub(super) gave_way: bool,
    /// The migrations whose commit met an error that does not say what became of it.
    pub(super) in_doubt: Option<Vec<String>>,
}

impl Failed {
    pub(super) fn new(kind: DbErrorKind, error: StepError) -> Self {
        Self {
            kind,
            code: None,
            error,
            item: 0,
            gave_way: false,
            in_doubt: None,
        }
    }

    pub(super) fn of(error: DbError, what: impl Into<String>) -> Self {
        Self {
            kind: error.kind,
            code: error.code.clone(),
            error: error.into_step_error(what),
            item: 0,
            gave_way: false,
            in_doubt: None,
        }
    }

    /// Whether another attempt makes sense.
    pub(super) fn may_pass(&self) -> bool {
        self.kind == DbErrorKind::Lock || self.gave_way
    }

    /// Whether it can be the doing of the migrations before it in the same transaction: a new
    /// enum value is used, triggers are pending, there are too many locks for one transaction.
    pub(super) fn may_be_the_batch(&self) -> bool {
        matches!(
            self.code.as_deref(),
            Some("55P04" | "55006" | "53200" | "25001" | "0A000")
        ) && self.item > 0
    }
}

impl From<DbError> for Failed {
    fn from(error: DbError) -> Self {
        Self::of(error, "the transaction of the migrations failed")
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        DbError::from(error).into()
    }
}
