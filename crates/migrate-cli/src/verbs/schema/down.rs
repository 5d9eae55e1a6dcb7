//! Taking migrations back.

use clap::Args;
use migrate_schema::apply::{Done, Down, OutOfOrder, PlannedTransaction, SchemaEngine};
use migrate_schema::db::CreateMode;
use migrate_schema::layout::MigrationSet;

use super::how::HowArgs;
use super::source::{self, SourceArgs, Target};
use super::work;
use crate::args::Global;
use crate::exit;
use crate::failure::Failure;
use crate::report::Output;

/// What `schema down` takes back.
#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// How many versions.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with_all = ["to", "all"])]
    steps: usize,
    /// The version that stays; those above it are taken back.
    #[arg(long, value_name = "VERSION", conflicts_with = "all")]
    to: Option<String>,
    /// All of them.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    how: HowArgs,
}

/// What `schema redo` runs again.
#[derive(Debug, Args)]
pub(crate) struct RedoArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    how: HowArgs,
}

/// `schema down`.
pub(crate) async fn run(global: &Global, args: &DownArgs, output: &Output) -> Result<u8, Failure> {
    let (target, set, engine) = open(global, &args.source, &args.how, output).await?;
    let how = match &args.to {
        Some(text) => Down::To(source::version(&set, text)),
        None if args.all => Down::All,
        None => Down::Steps(args.steps),
    };
    let planned = engine
        .preview_down(&set, &how)
        .await
        .map_err(|error| work::failure(error, None))?;
    let done = if planned.is_empty() {
        Done::default()
    } else {
        agree(global, output, &target, &planned)?;
        work::locked(global, output, &target.db, engine.down(&set, &how)).await?
    };
    output.schema_done("taken back", set.layout, &done);
    Ok(exit::DONE)
}

/// `schema redo`.
pub(crate) async fn redo(global: &Global, args: &RedoArgs, output: &Output) -> Result<u8, Failure> {
    let (target, set, engine) = open(global, &args.source, &args.how, output).await?;
    let planned = engine
        .preview_down(&set, &Down::Steps(1))
        .await
        .map_err(|error| work::failure(error, None))?;
    let done = if planned.is_empty() {
        Done::default()
    } else {
        agree(global, output, &target, &planned)?;
        work::locked(global, output, &target.db, engine.redo(&set)).await?
    };
    // Each is there twice: taken back, and run.
    output.schema_redone(set.layout, &done);
    Ok(exit::DONE)
}

async fn open(
    global: &Global,
    source: &SourceArgs,
    how: &HowArgs,
    output: &Output,
) -> Result<(Target, MigrationSet, SchemaEngine), Failure> {
    let target = Target::open(global, CreateMode::MustExist).await?;
    let set = source.read(&target.root, &target.db).await?;
    let engine = work::engine(&target, how.options(source, OutOfOrder::Refuse), output);
    Ok((target, set, engine))
}

/// A down drops what was there, rows included.
fn agree(
    global: &Global,
    output: &Output,
    target: &Target,
    planned: &[PlannedTransaction],
) -> Result<(), Failure> {
    if global.yes {
        return Ok(());
    }
    let labels: Vec<&str> = planned
        .iter()
        .flat_map(|one| one.migrations.iter().map(|one| one.label.as_str()))
        .collect();
    let question = format!("{} on {} can lose rows", labels.join(", "), target.url);
    if output.confirm(&question)? {
        Ok(())
    } else {
        Err(Failure::refused("refused; nothing was changed"))
    }
}
