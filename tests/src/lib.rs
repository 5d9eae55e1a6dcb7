//! The harness that the tests of every crate share, and the scenarios of the real binary.
//!
//! Reading order: [`postgres`] starts a throwaway PostgreSQL for the process.
//!
//! *Invariant*: nothing here depends on the crates under test, so that each of them can
//! use it and what it computes is computed independently of them.

pub mod postgres;
