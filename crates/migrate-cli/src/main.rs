//! The binary: hands over to the library and exits with its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(migrate_cli::main())
}
