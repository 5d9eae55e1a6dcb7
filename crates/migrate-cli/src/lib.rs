//! Command line of etlrs-migrate: arguments, wiring, what people see, exit codes.
//!
//! Reading order: [`exit`] (the contract with scripts), `args` (what is written), `verbs`
//! (what each does), `wire` (what the engine's ports are made of), `report` (what is shown).
//!
//! Invariants:
//! - `wire` is the only file that names every concrete type.
//! - `report` is the only place that writes to a stream; a broken pipe never stops a run.
//! - Nothing is prompted without a terminal.

mod args;
mod clock;
mod deadline;
mod deployment;
mod environment;
pub mod exit;
mod failure;
mod files_only;
mod help;
mod plan_file;
mod plans;
mod report;
mod signals;
mod skip_check;
mod trusted;
mod verbs;
mod wire;

use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _};

use args::{Cli, Format};
use report::Output;

/// Runs the tool on the process's arguments and returns its exit code.
pub fn main() -> u8 {
    run(std::env::args_os())
}

fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let parsed = help::taught(Cli::command())
        .try_get_matches_from(args)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for; everything else is wrong usage.
            let asked = !error.use_stderr();
            let _ = error.print();
            return if asked { exit::DONE } else { exit::USAGE };
        }
    };
    let output = Output::new(&cli.global);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            output.failure(&failure::Failure::unchanged(format!("no runtime: {error}")));
            return exit::UNCHANGED;
        }
    };
    match runtime.block_on(verbs::run(&cli, &output)) {
        Ok(code) => code,
        Err(failure) => {
            output.failure(&failure);
            failure.code
        }
    }
}

/// Whether output is for machines.
fn is_json(format: Format) -> bool {
    format == Format::Json
}
