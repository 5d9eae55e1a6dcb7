//! `etlrs-migrate` with the places of `migrate-failpoint` switched on: for the crash sweep.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(migrate_cli::main())
}
