//! `schema …`: the database's schema alone, without a deployment. One verb, one file.

mod source;
mod status;

use clap::Subcommand;

use crate::args::Global;
use crate::failure::Failure;
use crate::report::Output;

/// What can be done with a schema.
#[derive(Debug, Subcommand)]
pub(crate) enum SchemaVerb {
    /// Which migrations there are, and which of them the database has.
    Status(status::StatusArgs),
}

/// Does what a `schema` verb asks for.
pub(crate) async fn run(
    global: &Global,
    verb: &SchemaVerb,
    output: &Output,
) -> Result<u8, Failure> {
    match verb {
        SchemaVerb::Status(args) => status::run(global, args, output).await,
    }
}
