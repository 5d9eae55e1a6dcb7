//! Database handle, SQL scripts, catalog, fingerprints and schema steps for PostgreSQL and SQLite.
//!
//! Reading order: [`db`] (one handle for both databases, with cancellation and fencing),
//! [`quote`] (names and values in SQL), [`own`] (the objects that we keep in the user's
//! database), [`script`] (statements with their places),
//! [`layout`] (migration directories of all the tools),
//! `lint` (what is dangerous in them; a feature),
//! [`history`] (what was done to a schema), [`apply`] (running a directory's migrations),
//! [`lock`] (one process at a time), [`takeover`] (from other tools' histories), [`catalog`], [`snapshot`] and [`fingerprint`]
//! (what is in a database), [`marks`] (what each row was when an upgrade ended), [`wrote`] (which
//! tables a step changed), [`migrator`]
//! (running a script and taking it back), [`kind`] and [`validation`] (the step kinds).
//!
//! Invariants:
//! - Every transaction of a run is begun by [`db::Postgres::begin`] or [`db::Sqlite::begin`],
//!   which check the run's fence inside the transaction.
//! - A script, its version and its step's marker are one transaction; an undo compares the
//!   catalog with the one before, and commits only if it is the same.
//! - A password of a URL is in [`db::DatabaseUrl`] and nowhere else; it is not shown by
//!   `Debug`, `Display` or any error.
//! - The user's journal mode and other lasting settings are never changed.

#[cfg(not(any(feature = "postgres", feature = "sqlite")))]
compile_error!("migrate-schema needs at least one of the features `postgres` and `sqlite`");

pub mod apply;
pub mod catalog;
pub mod db;
pub mod fingerprint;
pub mod foreign_code;
pub mod history;
pub mod kind;
pub mod layout;
#[cfg(feature = "lint")]
pub mod lint;
pub mod lock;
pub mod marks;
pub mod migrator;
pub mod own;
#[cfg(feature = "postgres")]
pub mod path_trust;
pub mod quote;
pub mod script;
pub mod snapshot;
pub mod takeover;
pub mod validation;
pub mod wrote;
