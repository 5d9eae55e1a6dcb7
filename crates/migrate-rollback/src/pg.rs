//! PostgreSQL's own programs: finding them, telling them the server, running them.

pub(crate) mod archive;
pub(crate) mod child;
pub(crate) mod programs;
pub(crate) mod scratch;
pub(crate) mod target;
