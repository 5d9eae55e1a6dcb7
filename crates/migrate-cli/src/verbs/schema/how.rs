//! How migrations are run: the flags.

use std::time::Duration;

use clap::Args;
use migrate_schema::apply::{Grouping, Missing, Options, OutOfOrder};

use super::source::SourceArgs;

/// How migrations are run.
#[derive(Debug, Clone, Args)]
pub(crate) struct HowArgs {
    /// One transaction for each migration, instead of one for all that can be in it.
    #[arg(long)]
    pub(crate) each: bool,
    /// How long a statement waits for a lock before it lets others pass and tries again.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = migrate_core::duration::parse)]
    pub(crate) lock_timeout: Duration,
    /// How long a statement may run; no limit without it.
    #[arg(long, value_name = "TIME", value_parser = migrate_core::duration::parse)]
    pub(crate) statement_timeout: Option<Duration>,
    /// How long others may wait for our locks before the transaction is taken back and tried
    /// again later; 0s lets them wait.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = migrate_core::duration::parse)]
    pub(crate) queue_budget: Duration,
    /// How long one CREATE INDEX CONCURRENTLY (or its kin) may take.
    #[arg(long, value_name = "TIME", default_value = "4h", value_parser = migrate_core::duration::parse)]
    pub(crate) concurrently_budget: Duration,
    /// How long it is tried altogether while locks are taken.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = migrate_core::duration::parse)]
    pub(crate) give_up_after: Duration,
    /// Leave migrations alone that were applied and have no file any more.
    #[arg(long)]
    pub(crate) ignore_missing: bool,
}

impl HowArgs {
    /// As options of the engine.
    pub(crate) fn options(&self, source: &SourceArgs, out_of_order: OutOfOrder) -> Options {
        Options {
            lock_timeout: self.lock_timeout,
            statement_timeout: self.statement_timeout,
            queue_budget: (!self.queue_budget.is_zero()).then_some(self.queue_budget),
            concurrently_budget: self.concurrently_budget,
            give_up_after: self.give_up_after,
            grouping: if self.each {
                Grouping::Each
            } else {
                Grouping::Together
            },
            out_of_order,
            missing: if self.ignore_missing {
                Missing::Ignore
            } else {
                Missing::Refuse
            },
            ..options(source)
        }
    }
}

/// Options where nothing is run.
pub(crate) fn options(source: &SourceArgs) -> Options {
    Options {
        placeholders: source.placeholders(),
        ignored_histories: source.ignored_histories.clone(),
        by: crate::wire::user_at_host(),
        ..Options::default()
    }
}
