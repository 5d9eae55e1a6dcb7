//! Putting a copy of a database back, whole or nothing.
//!
//! Crash behaviour: each database is restored in one transaction. Killed before its commit,
//! the database is as it was before the restore; after it, the restore is done. Restoring
//! twice gives the same. Objects of ours are left alone. What was restored is compared before the
//! commit ([`proof`]), so that a difference leaves the database as it was.

#[cfg(feature = "postgres")]
pub(crate) mod postgres;
pub(crate) mod proof;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
