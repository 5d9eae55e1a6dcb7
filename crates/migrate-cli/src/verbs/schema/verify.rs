//! Whether each down restores what was there before its up.

use clap::Args;
use migrate_schema::apply::{Grouping, Options, SchemaEngine};
use migrate_schema::db::CreateMode;

use super::scratch::{self, Scratch, ScratchArgs};
use super::source::{self, SourceArgs, Target};
use super::{how, work};
use crate::args::Global;
use crate::exit;
use crate::failure::Failure;
use crate::report::Output;

/// What `schema verify` tries.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Try them on a scratch database, which is made and removed.
    #[arg(long, required = true)]
    scratch: bool,
    /// The last version to try; all without it.
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    #[command(flatten)]
    place: ScratchArgs,
}

/// `schema verify`.
pub(crate) async fn run(
    global: &Global,
    args: &VerifyArgs,
    output: &Output,
) -> Result<u8, Failure> {
    let (root, server) = match args.place.url()? {
        None => {
            let target = Target::open(global, CreateMode::MustExist).await?;
            (target.root, target.db)
        }
        Some(url) => (global.root.clone(), scratch::server(&url).await?),
    };
    let set = args.source.read(&root, &server).await?;
    output.warnings(&set.warnings);
    let options = Options {
        grouping: Grouping::Together,
        ..how::options(&args.source)
    };
    let upto = args.to.as_deref().map(|text| source::version(&set, text));
    if let Some(missing) = upto.as_ref().filter(|version| set.find(version).is_none()) {
        return Err(Failure::unchanged(format!(
            "there is no migration {missing}"
        )));
    }
    let set = args.place.confined(set, output)?;
    let scratch = Scratch::make(&server, &args.place, output).await?;
    let trials = scratch
        .with(async |scratch| {
            let engine = SchemaEngine::new(scratch.db(), options);
            engine
                .try_all(&set, upto.as_ref(), scratch)
                .await
                .map_err(|error| work::failure(error, None))
        })
        .await?;
    output.trials(set.layout, &trials);
    let fault = trials.done.iter().any(|one| one.verdict.is_fault());
    Ok(if fault || trials.stopped.is_some() {
        exit::DIFFERENT
    } else {
        exit::DONE
    })
}
