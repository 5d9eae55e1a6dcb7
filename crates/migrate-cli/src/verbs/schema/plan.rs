//! The exact SQL that would run.

use clap::Args;
use migrate_schema::apply::{OutOfOrder, Target as Upto};
use migrate_schema::db::CreateMode;
use serde_json::json;

use super::how::HowArgs;
use super::source::{self, SourceArgs, Target};
use super::work;
use crate::args::Global;
use crate::exit;
use crate::failure::Failure;
use crate::report::Output;

/// What `schema plan` looks at.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// The last version to run; all without it.
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// Also those whose version is below one that is there.
    #[arg(long)]
    allow_out_of_order: bool,
    #[command(flatten)]
    how: HowArgs,
}

/// `schema plan`.
pub(crate) async fn run(global: &Global, args: &PlanArgs, output: &Output) -> Result<u8, Failure> {
    let target = Target::open(global, CreateMode::MustExist).await?;
    let set = args.source.read(&target.root, &target.db).await?;
    let out_of_order = if args.allow_out_of_order {
        OutOfOrder::Allow
    } else {
        OutOfOrder::Refuse
    };
    let engine = work::engine(
        &target,
        args.how.options(&args.source, out_of_order),
        output,
    );
    let upto = args.to.as_deref().map_or(Upto::Latest, |text| {
        Upto::Version(source::version(&set, text))
    });
    work::refuse_foreign(&engine).await?;
    let planned = engine
        .preview(&set, &upto)
        .await
        .map_err(|error| work::failure(error, None))?;
    let warnings = work::gravest(&engine, &target, &set, &upto, &args.source).await?;
    output.warnings(&warnings);
    let transactions: Vec<_> = planned
        .iter()
        .map(|one| {
            let migrations: Vec<_> = one
                .migrations
                .iter()
                .map(|one| {
                    json!({
                        "migration": one.label,
                        "file": one.file,
                        "done": one.done,
                        "statements": one.statements,
                    })
                })
                .collect();
            json!({ "transaction": one.whole, "migrations": migrations })
        })
        .collect();
    output.schema_plan(&json!({
        "format": 1,
        "layout": set.layout.name(),
        "transactions": transactions,
        "warnings": warnings,
    }));
    Ok(exit::DONE)
}
