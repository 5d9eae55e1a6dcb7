//! Completions for shells.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit;
use crate::report::Output;

/// Which shell.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell whose completions are printed.
    #[arg(value_enum)]
    shell: Shell,
}

/// `completions SHELL`.
pub(crate) fn run(args: &CompletionsArgs, output: &Output) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut Cli::command(),
        "etlrs-migrate",
        &mut script,
    );
    output.text(&String::from_utf8_lossy(&script));
    exit::DONE
}
