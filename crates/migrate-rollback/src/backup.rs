//! Copying every layer: the database, the config files, and what proves a restore later.
//!
//! Crash behaviour: a copy is written under a temporary name, made durable, verified, and
//! only then given its name. What a killed process left is removed by the next one.

pub(crate) mod directory;
pub(crate) mod files;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
pub(crate) mod space;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

pub use directory::BACKUPS;
pub use space::human as human_bytes;
