//! Recording migrations as there.

use clap::Args;
use migrate_schema::apply::Done;
use migrate_schema::db::CreateMode;

use super::source::{self, SourceArgs, Target};
use super::{how, work};
use crate::args::Global;
use crate::exit;
use crate::failure::Failure;
use crate::report::Output;

/// What `schema baseline` records.
#[derive(Debug, Args)]
pub(crate) struct BaselineArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// The last version that is there.
    #[arg(long, value_name = "VERSION", required_unless_present = "from_history")]
    to: Option<String>,
    /// What the history table of the tool that was used before says is there.
    #[arg(long, conflicts_with = "to")]
    from_history: bool,
}

/// `schema baseline`.
pub(crate) async fn run(
    global: &Global,
    args: &BaselineArgs,
    output: &Output,
) -> Result<u8, Failure> {
    let target = Target::open(global, CreateMode::MustExist).await?;
    let set = args.source.read(&target.root, &target.db).await?;
    let engine = work::engine(&target, how::options(&args.source), output);
    let recorded = match &args.to {
        Some(text) => {
            let version = source::version(&set, text);
            work::locked(global, output, &target.db, engine.baseline(&set, &version)).await?
        }
        None => work::locked(global, output, &target.db, engine.take_over(&set)).await?,
    };
    let done = Done {
        migrations: recorded,
        transactions: 0,
    };
    output.schema_done("recorded as there", set.layout, &done);
    Ok(exit::DONE)
}
