//! The live schema against what the migrations give, or against a dump.

use std::path::PathBuf;

use clap::Args;
use migrate_schema::apply::{Options, OutOfOrder, Standing, Target as Upto, standings};
use migrate_schema::catalog::Catalog;
use migrate_schema::db::{CreateMode, Database};
use migrate_schema::history::State;
use migrate_schema::layout::{Migration, MigrationSet};
use migrate_schema::snapshot::{CatalogDiff, Snapshot};
use migrate_schema::takeover;

use super::scratch::{self, Scratch, ScratchArgs};
use super::source::{LayoutArg, SourceArgs, Target};
use super::{dump, how, work};
use crate::args::Global;
use crate::exit;
use crate::failure::Failure;
use crate::report::{DriftReport, Output};

/// What `schema drift` compares with.
#[derive(Debug, Args)]
pub(crate) struct DriftArgs {
    /// The directory of migrations: those that are applied are run on a scratch database.
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "snapshot",
        conflicts_with = "snapshot"
    )]
    source: Option<PathBuf>,
    /// A file that `schema dump` wrote.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scratch_url", "skip_shared", "prelude"])]
    snapshot: Option<PathBuf>,
    /// How migrations are laid out: ours, sqlx, diesel, golang-migrate, goose, dbmate, flyway, refinery.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    layout: LayoutArg,
    /// What `${NAME}` stands for in them (before the environment); may be given more than once.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = super::source::pair)]
    values: Vec<(String, String)>,
    #[command(flatten)]
    place: ScratchArgs,
}

/// `schema drift`.
pub(crate) async fn run(global: &Global, args: &DriftArgs, output: &Output) -> Result<u8, Failure> {
    let target = Target::open(global, CreateMode::MustExist).await?;
    let report = match (&args.snapshot, &args.source) {
        (Some(file), _) => with_snapshot(&target, file).await?,
        (None, Some(dir)) => {
            let source = SourceArgs {
                source: dir.clone(),
                layout: args.layout,
                values: args.values.clone(),
                ignored_histories: Vec::new(),
            };
            with_migrations(&target, &source, args, output).await?
        }
        (None, None) => return Err(Failure::usage("name --source or --snapshot")),
    };
    output.drift(&report);
    Ok(if report.diff.is_empty() {
        exit::DONE
    } else {
        exit::DIFFERENT
    })
}

async fn with_snapshot(target: &Target, file: &std::path::Path) -> Result<DriftReport, Failure> {
    let named = |why: String| Failure::unchanged(format!("the snapshot {}: {why}", file.display()));
    let text = migrate_config::atomic::read_regular_text(file)
        .map_err(|error| named(error.to_string()))?;
    let stored = Snapshot::parse(&text).map_err(|error| named(error.to_string()))?;
    if stored.backend != target.db.backend() {
        return Err(named(format!(
            "it is of {}, and the database is on {}",
            stored.backend,
            target.db.backend()
        )));
    }
    let live = dump::read(target).await?.to_string();
    // Read back as well: a text that looks like a mark is the same on both sides.
    let live = Snapshot::parse(&live).map_err(|error| named(error.to_string()))?;
    Ok(DriftReport {
        expected: format!("the snapshot {}", file.display()),
        applied: None,
        pending: Vec::new(),
        warnings: Vec::new(),
        diff: CatalogDiff::of(&stored, &live),
    })
}

async fn with_migrations(
    target: &Target,
    source: &SourceArgs,
    args: &DriftArgs,
    output: &Output,
) -> Result<DriftReport, Failure> {
    let set = source.read(&target.root, &target.db).await?;
    output.warnings(&set.warnings);
    let options = Options {
        out_of_order: OutOfOrder::Allow,
        ..how::options(source)
    };
    let state = work::engine(target, options.clone(), output)
        .state()
        .await
        .map_err(|error| work::failure(error, None))?;
    let applied = applied(target, &set, &state).await?;
    let there = |one: &Migration| applied.contains(&one.key());
    let pending = set.migrations.iter().filter(|one| !there(one));
    let mut report = DriftReport {
        expected: format!("{} applied migrations", applied.len()),
        applied: Some(applied.len()),
        pending: pending.map(Migration::label).collect(),
        warnings: warnings(&set, &state),
        diff: CatalogDiff::default(),
    };
    let mut applied_set = set.clone();
    applied_set.migrations.retain(there);
    let applied_set = args.place.confined(applied_set, output)?;
    let live = read(&target.db).await?;
    let expected = given_by(target, &applied_set, options, args, output).await?;
    report.diff = CatalogDiff::between(&expected, &live, target.db.backend());
    Ok(report)
}

/// The catalog that migrations give in an empty database.
async fn given_by(
    target: &Target,
    set: &MigrationSet,
    options: Options,
    args: &DriftArgs,
    output: &Output,
) -> Result<Catalog, Failure> {
    let server = match args.place.url()? {
        None => target.db.clone(),
        Some(url) => {
            if url.backend() != target.db.backend() {
                return Err(Failure::usage(format!(
                    "--scratch-url {url} is not of {}, as the database is",
                    target.db.backend()
                )));
            }
            scratch::server(&url).await?
        }
    };
    let scratch = Scratch::make(&server, &args.place, output).await?;
    output.note(&format!(
        "running {} applied migrations on a scratch database",
        set.migrations.len()
    ));
    scratch
        .with(async |scratch| {
            let db = scratch.db();
            let engine = migrate_schema::apply::SchemaEngine::new(db.clone(), options);
            engine.apply(set, &Upto::Latest).await.map_err(|error| {
                let error = error.into_step_error();
                Failure::unchanged(format!(
                    "the applied migrations do not run on the scratch database, so there is nothing to compare with: {error}"
                ))
            })?;
            read(&db).await
        })
        .await
}

async fn read(db: &Database) -> Result<Catalog, Failure> {
    Catalog::read(db)
        .await
        .map_err(|error| Failure::from(error.into_step_error("the catalog can't be read")))
}

/// What the live database has, by our history, else by that of another tool.
async fn applied(
    target: &Target,
    set: &MigrationSet,
    state: &State,
) -> Result<Vec<String>, Failure> {
    if !state.is_empty() {
        return Ok(state.applied().keys().cloned().collect());
    }
    let found = takeover::find(&target.db)
        .await
        .map_err(|error| Failure::from(error.into_step_error("can't look for other histories")))?;
    match found {
        None => Ok(Vec::new()),
        Some(found) => takeover::applied_keys(set, &found).map_err(|findings| {
            Failure::findings(
                format!("{} does not fit the files", found.table()),
                findings,
            )
        }),
    }
}

/// Why the comparison can say less than it seems.
fn warnings(set: &MigrationSet, state: &State) -> Vec<String> {
    let edited = standings(set, state)
        .into_iter()
        .filter(|(_, standing)| *standing == Standing::Edited)
        .map(|(one, _)| {
            format!(
                "{} was edited since it was applied; compared with what it says now",
                one.up.file()
            )
        });
    let half_done = state.half_done().into_iter().map(|key| {
        format!("{key} stopped between two of its statements; what it did so far shows as drift")
    });
    let gone = migrate_schema::apply::missing(set, state)
        .into_iter()
        .map(|(key, _)| {
            format!("{key} was applied and has no file any more; what it made shows as drift")
        });
    edited.chain(half_done).chain(gone).collect()
}
