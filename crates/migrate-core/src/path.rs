//! Ways between versions.
