//! What each exit code means: the documented contract with scripts.

use migrate_core::MigrationError;

/// Done, nothing to do, or already at `--to`.
pub const DONE: u8 = 0;
/// Failed before any change.
pub const UNCHANGED: u8 = 1;
/// Wrong usage.
pub const USAGE: u8 = 2;
/// Failed, rolled back: the declared scope is as before.
pub const ROLLED_BACK: u8 = 3;
/// Failed, not rolled back: stuck; the next command is printed.
pub const STUCK: u8 = 4;
/// Another run holds the lock.
pub const LOCKED: u8 = 5;
/// An interrupted run must be resumed or rolled back first.
pub const OPEN_RUN: u8 = 6;
/// Refused: needs consent.
pub const REFUSED: u8 = 7;
/// A check found a difference.
pub const DIFFERENT: u8 = 8;

/// The table of exit codes, for `--help`.
pub const HELP: &str = "\
Exit codes:
  0    done, nothing to do, or already at --to
  1    failed before any change
  2    wrong usage
  3    failed, rolled back: the declared scope is as before
  4    failed, NOT rolled back: stuck; the next command is printed where there is one
  5    another run holds the lock
  6    an interrupted run must be resumed or rolled back first
  7    refused: needs consent (data would be lost, or commands would run)
  8    a check found a difference (validate, rehearse, apply of a plan file that is stale
       or unsigned, audit verify, schema lint, drift, verify)
  129, 130, 143
       stopped by SIGHUP, SIGINT, SIGTERM, left at a clean, resumable boundary
  142  a rollback's time was over (--deadline), left at a clean, resumable boundary

Examples:
  etlrs-migrate demo                                   see it work, in ./etlrs-demo
  etlrs-migrate --from 1.5.0 --to 2.0.0 --dry-run      what would happen; writes nothing
  etlrs-migrate --from 1.5.0 --to 2.0.0                upgrade the deployment in this directory
  etlrs-migrate status                                 where it stands, and the next command
  etlrs-migrate --rollback --to 1.5.0                  go back";

/// The exit code of an error of the engine.
pub fn of(error: &MigrationError) -> u8 {
    match error {
        MigrationError::Version(_) => USAGE,
        MigrationError::RolledBack { .. } => ROLLED_BACK,
        MigrationError::Stuck { .. } => STUCK,
        MigrationError::Locked(_) => LOCKED,
        MigrationError::OpenRun(_) | MigrationError::InDoubt(_) | MigrationError::Unproven(_) => {
            OPEN_RUN
        }
        MigrationError::WouldLose(_) => REFUSED,
        MigrationError::Interrupted { signal } => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        _ => UNCHANGED,
    }
}
