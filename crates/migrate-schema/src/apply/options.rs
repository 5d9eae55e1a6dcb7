//! How migrations are run.

use std::time::Duration;

use crate::layout::{Placeholders, Version};

/// How migrations are run. The defaults suit a database that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long a statement waits for a lock before it gives way to those behind it.
    pub lock_timeout: Duration,
    /// How long a statement may run; no limit by default.
    pub statement_timeout: Option<Duration>,
    /// How long others may wait for a lock of ours before the transaction is taken back and
    /// tried again later; `None` lets them wait.
    pub queue_budget: Option<Duration>,
    /// How long one `… CONCURRENTLY` may take, waiting included.
    pub concurrently_budget: Duration,
    /// How long it is tried altogether while locks are taken.
    pub give_up_after: Duration,
    /// How pending migrations are put into transactions.
    pub grouping: Grouping,
    /// What happens when one is pending below a version that is there.
    pub out_of_order: OutOfOrder,
    /// What happens when one was applied whose file is gone.
    pub missing: Missing,
    /// What `${name}` stands for.
    pub placeholders: Placeholders,
    /// Tables that look like another tool's history and are not of this application, by name.
    pub ignored_histories: Vec<String>,
    /// Who runs them, for the log.
    pub by: String,
    /// The run that they belong to, if any.
    pub run: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_millis(500),
            statement_timeout: None,
            queue_budget: Some(Duration::from_secs(2)),
            concurrently_budget: Duration::from_hours(4),
            give_up_after: Duration::from_mins(5),
            grouping: Grouping::Together,
            out_of_order: OutOfOrder::Refuse,
            missing: Missing::Refuse,
            placeholders: Placeholders::default(),
            ignored_histories: Vec::new(),
            by: "etlrs-migrate".to_owned(),
            run: None,
        }
    }
}

/// How pending migrations are put into transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// As many as can be in one.
    Together,
    /// Each in one of its own.
    Each,
}

/// What happens when a migration is pending below a version that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutOfOrder {
    /// Nothing is run.
    Refuse,
    /// It is run, and the log says so.
    Allow,
}

/// What happens when a migration was applied whose file is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Nothing is run.
    Refuse,
    /// It is left as it is.
    Ignore,
}

/// Up to where migrations are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// All of them, and the repeatable ones.
    Latest,
    /// Up to this version, itself included.
    Version(Version),
}
