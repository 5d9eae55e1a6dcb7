//! Which migrations there are.

use clap::Args;
use migrate_schema::db::ConnectOptions;
use serde_json::json;

use super::source::{SourceArgs, Target};
use crate::args::Global;
use crate::exit;
use crate::failure::Failure;
use crate::report::Output;

/// What `schema status` looks at.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

/// `schema status`.
pub(crate) async fn run(
    global: &Global,
    args: &StatusArgs,
    output: &Output,
) -> Result<u8, Failure> {
    let target = Target::open(global, &ConnectOptions::default()).await?;
    let set = args.source.read(&target.root, &target.db)?;
    let rows: Vec<_> = set
        .migrations
        .iter()
        .map(|one| json!({ "version": one.version, "name": one.name, "file": one.up.file() }))
        .collect();
    output.schema(&json!({ "format": 1, "layout": set.layout.name(), "migrations": rows }));
    Ok(exit::DONE)
}
