//! Batched, parallel, resumable copies and transforms of table rows.
//!
//! A copy follows a unique key of its source in ranges. Each range is read, transformed and
//! written in one transaction together with its row in the ledger, and with the images of the
//! rows that it overwrites, so that it can go on after any interruption and be taken back.
//!
//! All ranges are planned before anything is copied, and stand in a ledger in the target's
//! database, a row each. Workers claim them there, so that any number of processes can take part.
//! What was written is compared with what the transform gives, computed a second time.
//!
//! Reading order: [`transform`] (what turns a row into a row), [`script`](self) headers (below),
//! `keyset` and `planner` (which rows make a range), `ledger` and `claim` (who does which),
//! `controller` (how large batches are), `statement` (all SQL), `range` (one batch), `cells`,
//! `wire`, `copy_format`, `work`, `stream` and `through` (rows that pass through this process), `worker`,
//! `quarantine` and `rejects` (rows that can't be moved), `verify`, `foresee` (bad rows found before), `copy` (all of it), `secondary` (indexes aside meanwhile), `undo` and
//! `taken_back`, `reverse` and `carry` (rows of others come back with it), then [`kind`] and
//! [`migrator`] (the two ways in).
//!
//! A transformation script is one SELECT over the relation `batch`, which holds the rows of one
//! batch with the source's columns. What it gives goes into the target by column name. A comment
//! before it says what happens to rows of the target that have a produced key:
//! `-- on-conflict: update a, b; set c = CURRENT_TIMESTAMP`, `-- on-conflict: fail`; without
//! one, all produced columns but the key are updated. Rows that are right already are not written.
//!
//! Invariants:
//! - No batch skips rows by counting them: it begins above the last key of the one before.
//! - Of every batch, rows read = inserted + updated + unchanged + kept aside, or it is not committed.
//! - A batch, its images and its range's row in the ledger commit together or not at all.
//! - A row's content never reaches an error; its key does.
//! - Nothing is left to be done outside a transaction that checks the run's fence.
#![cfg_attr(
    not(all(feature = "postgres", feature = "sqlite")),
    allow(
        unreachable_patterns,
        irrefutable_let_patterns,
        dead_code,
        unused_variables,
        reason = "the database handle may be built with more databases than this crate, and what \
                  only the other one needs is not told apart"
    )
)]

mod access;
mod at_once;
mod bad_rows;
mod buffers;
mod calendar;
mod carry;
mod cells;
mod claim;
mod compare;
mod controller;
mod copy;
mod copy_format;
mod failure;
mod foresee;
mod given_twice;
mod hex;
mod inspect;
mod join;
pub mod keyset;
pub mod kind;
mod late;
mod layout;
pub mod ledger;
mod lite_format;
pub mod migrator;
mod moment;
mod passing;
pub mod pipelines;
mod planner;
mod progress;
mod quarantine;
mod range;
mod referring;
mod rejects;
mod reverse;
mod script;
mod secondary;
mod sequences;
mod settings;
mod spec;
mod standalone;
mod statement;
mod step;
#[cfg(feature = "postgres")]
mod stream;
mod taken_back;
mod through;
pub mod transform;
mod triggers;
mod undo;
mod verify;
mod wire;
mod work;
mod worker;

pub use bad_rows::BadRows;
pub use join::{CopyStatus, copies};
pub use kind::{DataMigrationKind, NamedUrls};
pub use ledger::Counts;
pub use migrator::{DataMigrator, DataMigratorBuilder};
pub use pipelines::{TransformConfig, transform_config};
pub use rejects::{Reject, drop_rejects, rejects};
pub use standalone::Comparison;
pub use transform::{Cell, OnConflict, Repeatable, RowTransform, SourceRow, TransformRegistry};
pub use verify::Verify;
