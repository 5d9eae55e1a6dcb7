//! The harness that the tests of every crate share, and the scenarios of the real binary.
//!
//! Reading order: [`postgres`] starts a throwaway PostgreSQL for the process; [`binary`]
//! runs the built tool; [`deployment`] makes the 1.5.0 deployment of the guide with hostile
//! rows; [`copies`] copies a table; [`expected`] computes what 2.0.0 must look like; [`snapshot`] compares everything;
//! [`sweep`] kills and starves the tool wherever that can be done; [`others`] works on the
//! deployment in the middle of its runs.
//!
//! *Invariant*: nothing here depends on the crates under test, so that each of them can
//! use it and what it computes is computed independently of them.

pub mod binary;
pub mod copies;
pub mod deployment;
pub mod expected;
pub mod hostile;
pub mod others;
pub mod postgres;
pub mod snapshot;
pub mod sqlite;
pub mod sweep;
