//! `schema …`: the database's schema alone, without a deployment. One verb, one file.
//!
//! `source` says which migrations and which database, `how` how they are run, `work` takes the
//! lock and turns what failed into an exit code.

mod apply;
mod baseline;
mod down;
mod drift;
mod dump;
mod how;
mod lint;
mod plan;
mod repair;
mod scratch;
pub(crate) mod source;
mod status;
mod verify;
mod work;

use clap::Subcommand;

use crate::args::Global;
use crate::failure::Failure;
use crate::report::Output;

/// What can be done with a schema.
#[derive(Debug, Subcommand)]
pub(crate) enum SchemaVerb {
    /// Run the migrations that the database does not have.
    Apply(apply::ApplyArgs),
    /// Which migrations there are, and which of them the database has.
    Status(status::StatusArgs),
    /// The exact SQL that `apply` would run; writes nothing.
    Plan(plan::PlanArgs),
    /// What is dangerous in migrations: data loss, locks, what the database can't do.
    Lint(lint::LintArgs),
    /// Take migrations back, the latest first.
    Down(down::DownArgs),
    /// Take the latest migration back and run it again.
    Redo(down::RedoArgs),
    /// Record migrations as there without running them.
    Baseline(baseline::BaselineArgs),
    /// Mend the history by hand.
    Repair(repair::RepairArgs),
    /// Write the schema as sorted SQL, to review and to compare.
    Dump(dump::DumpArgs),
    /// How the live schema differs from what the migrations give, or from a dump.
    Drift(drift::DriftArgs),
    /// Whether each down restores what was there before its up, on a scratch database.
    Verify(verify::VerifyArgs),
}

/// Does what a `schema` verb asks for.
pub(crate) async fn run(
    global: &Global,
    verb: &SchemaVerb,
    output: &Output,
) -> Result<u8, Failure> {
    match verb {
        SchemaVerb::Apply(args) => apply::run(global, args, output).await,
        SchemaVerb::Status(args) => status::run(global, args, output).await,
        SchemaVerb::Plan(args) => plan::run(global, args, output).await,
        SchemaVerb::Lint(args) => lint::run(global, args, output).await,
        SchemaVerb::Down(args) => down::run(global, args, output).await,
        SchemaVerb::Redo(args) => down::redo(global, args, output).await,
        SchemaVerb::Baseline(args) => baseline::run(global, args, output).await,
        SchemaVerb::Repair(args) => repair::run(global, args, output).await,
        SchemaVerb::Dump(args) => dump::run(global, args, output).await,
        SchemaVerb::Drift(args) => drift::run(global, args, output).await,
        SchemaVerb::Verify(args) => Box::pin(verify::run(global, args, output)).await,
    }
}
