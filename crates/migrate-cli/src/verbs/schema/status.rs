//! Which migrations there are, and which of them the database has.

use clap::Args;
use migrate_schema::apply::{missing, standings, stranded};
use migrate_schema::db::CreateMode;
use migrate_schema::takeover;
use serde_json::json;

use super::source::{SourceArgs, Target};
use super::{how, work};
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
    let target = Target::open(global, CreateMode::MustExist).await?;
    let set = args.source.read(&target.root, &target.db).await?;
    let engine = work::engine(&target, how::options(&args.source), output);
    let state = engine
        .state()
        .await
        .map_err(|error| work::failure(error, None))?;
    let foreign = if state.is_empty() {
        takeover::find(&target.db).await.map_err(|error| {
            Failure::from(error.into_step_error("can't look for other tools' histories"))
        })?
    } else {
        None
    };
    let rows: Vec<_> = standings(&set, &state)
        .into_iter()
        .map(|(one, standing)| {
            let applied = state.applied().get(&one.key()).map(|one| &one.record);
            json!({
                "version": one.version,
                "name": one.name,
                "file": one.up.file(),
                "state": standing.name(),
                "down": one.down.is_some(),
                "at": applied.map(|record| &record.at),
                "by": applied.map(|record| &record.by),
                "millis": applied.map(|record| record.millis),
                "out_of_order": applied.is_some_and(|record| record.out_of_order),
            })
        })
        .chain(missing(&set, &state).into_iter().map(
            |(key, file)| json!({ "version": key, "name": "", "file": file, "state": "missing" }),
        ))
        .chain(
            stranded(&set, &state).into_iter().map(
                |key| json!({ "version": key, "name": "", "file": null, "state": "half done" }),
            ),
        )
        .collect();
    output.warnings(&set.warnings);
    output.schema(&json!({
        "format": 1,
        "layout": set.layout.name(),
        "migrations": rows,
        "other_history": foreign.map(|found| json!({
            "tool": found.layout().name(), "table": found.table(), "applied": found.len(),
        })),
    }));
    Ok(exit::DONE)
}
