//! Running what the database does not have.

use clap::Args;
use migrate_schema::apply::{OutOfOrder, Target as Upto};
use migrate_schema::db::CreateMode;

use super::how::HowArgs;
use super::source::{self, SourceArgs, Target};
use super::work;
use crate::args::Global;
use crate::exit;
use crate::failure::Failure;
use crate::report::Output;

/// What `schema apply` runs.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// The last version to run; all without it.
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// Run migrations whose version is below one that is there, and record that.
    #[arg(long)]
    allow_out_of_order: bool,
    /// Make the SQLite file if it is not there.
    #[arg(long)]
    create: bool,
    #[command(flatten)]
    how: HowArgs,
}

/// `schema apply`.
pub(crate) async fn run(global: &Global, args: &ApplyArgs, output: &Output) -> Result<u8, Failure> {
    let create = if args.create {
        CreateMode::Create
    } else {
        CreateMode::MustExist
    };
    let target = Target::open(global, create).await?;
    let set = args.source.read(&target.root, &target.db).await?;
    let out_of_order = if args.allow_out_of_order {
        OutOfOrder::Allow
    } else {
        OutOfOrder::Refuse
    };
    let options = args.how.options(&args.source, out_of_order);
    let engine = work::engine(&target, options, output);
    let upto = args.to.as_deref().map_or(Upto::Latest, |text| {
        Upto::Version(source::version(&set, text))
    });
    output.warnings(&set.warnings);
    work::refuse_foreign(&engine).await?;
    // Looked at first without the lock: mostly there is nothing to do.
    let state = engine
        .state()
        .await
        .map_err(|error| work::failure(error, None))?;
    let pending = engine
        .pending(&set, &state, &upto)
        .await
        .map_err(|error| work::failure(error, None))?;
    let done = if pending.is_empty() {
        migrate_schema::apply::Done::default()
    } else {
        output.note(&format!(
            "database {} {}, layout {}, {} pending",
            target.db.backend(),
            target.url,
            set.layout,
            pending.len()
        ));
        work::locked(global, output, &target.db, engine.apply(&set, &upto)).await?
    };
    output.schema_done("applied", set.layout, &done);
    Ok(exit::DONE)
}
