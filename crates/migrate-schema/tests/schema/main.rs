//! The crate against real databases: SQLite files, and a throwaway PostgreSQL.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends at the first error it does not expect"
)]

mod applied_scripts;
mod catalog;
mod db;
mod lint;
mod lint_locks;
mod lint_sqlite;
mod names;
mod oracle;
mod place;
mod rebuild;
mod refusals;
mod replicas;
mod sessions;
mod shipped;
mod since_18;
mod snapshot;
mod undo;
mod validation;
