//! Running the migrations of a directory.
//!
//! Reading order: [`SchemaEngine`] (what a caller does), `pending` (what is left to do, pure),
//! `script`, `reading` and `item` (a migration made ready, pure), then `postgres` and `sqlite` (the two
//! ways to run each: a batch as one transaction, or one migration unit by unit).
//!
//! Invariants:
//! - A migration that is one transaction is committed together with its line in the log.
//! - A statement that no transaction covers has its row in the journal before it runs.
//! - Nothing runs while a file of the set can't be read, split or put in order.

mod attempts;
mod commit_in_doubt;
mod engine;
mod event;
mod exclusive;
mod failure;
mod item;
mod options;
#[cfg(feature = "sqlite")]
mod orphans;
mod pending;
#[cfg(feature = "postgres")]
mod postgres;
mod preview;
mod reading;
mod repair;
pub(crate) mod script;
#[cfg(feature = "sqlite")]
mod sqlite;
mod trial;

use std::sync::Arc;
use std::time::Instant;

use migrate_core::StepError;

pub use engine::{Done, Down, SchemaEngine};
pub use event::{Event, Observer, Unobserved};
pub use failure::{ApplyError, Broken};
pub use options::{Grouping, Missing, Options, OutOfOrder, Target};
pub use pending::{Standing, latest, missing, standings, stranded};
pub use preview::{PlannedMigration, PlannedTransaction};
pub use repair::{Decision, Repair};
pub use trial::{FreshDatabase, Trial, Trials, Verdict};

use crate::db::{DbError, DbErrorKind};
use crate::history::{Started, text_hash};
use failure::Failed;
use item::Item;
use script::Unit;

/// What the runners of a batch share.
pub(crate) struct Run<'r> {
    pub(crate) options: &'r Options,
    pub(crate) observer: &'r Arc<dyn Observer>,
    /// What earlier runs began.
    pub(crate) started: &'r [Started],
    /// How many migrations ran before this batch.
    pub(crate) before: usize,
    /// How many there are altogether.
    pub(crate) total: usize,
    /// What its batches run in.
    #[cfg(feature = "postgres")]
    pub(crate) sessions: &'r postgres::Sessions,
}

impl Run<'_> {
    fn running(&self, item: &Item, number: usize) {
        self.observer.event(&Event::Running {
            label: item.label.clone(),
            number: self.before + number + 1,
            total: self.total,
        });
    }

    /// Whether an earlier run began something of a migration and did not end it.
    fn was_begun(&self, item: &Item) -> bool {
        self.started.iter().any(|one| one.key == item.entry.key)
    }

    /// What an earlier run wrote about the same unit.
    fn started(&self, row: &Started) -> Option<&Started> {
        self.started.iter().find(|one| {
            one.key == row.key && one.direction == row.direction && one.unit == row.unit
        })
    }
}

fn millis_since(began: Instant) -> i64 {
    i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// The journal's row of a unit that is about to run.
fn begun(item: &Item, number: usize, text: &str, session: Option<String>) -> Started {
    Started {
        key: item.entry.key.clone(),
        direction: item.direction,
        unit: i64::try_from(number).unwrap_or(i64::MAX),
        text_hash: text_hash(text),
        done: false,
        session,
    }
}

/// A migration whose first statements ran can't be another one now.
fn edited_since(item: &Item, unit: &Unit) -> Failed {
    let none = DbError::new(DbErrorKind::Other, "");
    let error = StepError::failed(format!(
        "{} was edited after an interrupted run had begun this statement",
        item.label
    ))
    .in_file(item.script.place_of(unit.statements.start, &none))
    .hint("undo the edit and run it again; then write a new migration for what is to change");
    Failed::new(DbErrorKind::Other, error)
}

fn not_verified() -> DbError {
    DbError::new(
        DbErrorKind::Other,
        "the verify query found a row that is false, null or zero",
    )
}
