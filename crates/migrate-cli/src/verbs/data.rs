//! Rows alone: copy a table into another, compare, look, and help a copy that runs elsewhere.

use std::path::Path;

use clap::{Args, Subcommand};
use migrate_core::{BatchSize, Cancel, CancelCause, Event, RunId, Severity, StepError};
use migrate_data::{BadRows, Counts, DataMigrator, DataMigratorBuilder, Verify};
use migrate_schema::db::{ConnectOptions, CreateMode, Database, DatabaseUrl};

use super::schema::source::Target;
use crate::args::Global;
use crate::environment;
use crate::exit;
use crate::failure::Failure;
use crate::plan_file::signed;
use crate::report::Output;

/// What can be done with rows.
#[derive(Debug, Subcommand)]
pub(crate) enum DataVerb {
    /// Copy rows in batches, several at once; whole or not at all.
    Migrate(MigrateArgs),
    /// Compare the target with what the transform gives for the source.
    Verify(CopyArgs),
    /// The copies of this database: ranges done, in flight and left.
    Status {
        /// Only those of a run.
        #[arg(long, value_name = "ID")]
        run: Option<String>,
    },
    /// Go on with a copy whose process is gone.
    Resume(TakeUpArgs),
    /// Take a copy back whose process is gone.
    Undo(TakeUpArgs),
    /// The rows in quarantine, each with the reason; JSON has the rows too.
    Rejects {
        /// Only those of a run.
        #[arg(long, value_name = "ID")]
        run: Option<String>,
        /// Drop them; the rows of the source stay as they are.
        #[arg(long)]
        drop: bool,
    },
}

/// From where to where, and what becomes of rows that can't be moved.
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    copy: CopyArgs,
    /// What becomes of rows that can't be moved: fail, "quarantine 100" or "quarantine 0.1%".
    #[arg(long, value_name = "POLICY", default_value = "fail")]
    bad_rows: BadRows,
}

/// From where to where, and how.
#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// The table that is read: TABLE or SCHEMA.TABLE.
    #[arg(long, value_name = "TABLE")]
    source: String,
    /// The table that is written.
    #[arg(long, value_name = "TABLE")]
    target: String,
    /// A file with one SELECT over `batch`, or rust:NAME; without it columns go by name.
    #[arg(long, value_name = "FILE.sql")]
    transform: Option<String>,
    #[command(flatten)]
    how: HowArgs,
}

/// A copy that was begun.
#[derive(Debug, Args)]
pub(crate) struct TakeUpArgs {
    /// The run, as `data status` shows it.
    #[arg(long, value_name = "ID")]
    run: String,
    #[command(flatten)]
    how: HowArgs,
}

/// How rows are moved.
#[derive(Debug, Args)]
pub(crate) struct HowArgs {
    /// The database of the source, if it is another one; `env:NAME` takes it from a variable.
    #[arg(long, value_name = "URL")]
    source_url: Option<String>,
    /// Batches at once.
    #[arg(long, value_name = "N", default_value_t = 2)]
    workers: usize,
    /// Rows of a batch, or `auto`: as many as take about half a second.
    #[arg(long, value_name = "N|auto", default_value = "auto")]
    batch_size: BatchSize,
    /// How much is compared afterwards: off, full, or "sample 1%".
    #[arg(long, value_name = "EXTENT", default_value = "full")]
    verify: Verify,
}

/// Which run to help.
#[derive(Debug, Args)]
pub(crate) struct WorkArgs {
    /// The run whose copies are under way, as `status` or `data status` shows it.
    #[arg(long, value_name = "ID")]
    run: String,
    /// The database of the source, if it is another one; `env:NAME` takes it from a variable.
    #[arg(long, value_name = "URL")]
    source_url: Option<String>,
    /// Batches at once.
    #[arg(long, value_name = "N", default_value_t = 2)]
    workers: usize,
}

/// Does what a `data` verb asks for.
pub(crate) async fn run(global: &Global, verb: &DataVerb, output: &Output) -> Result<u8, Failure> {
    match verb {
        DataVerb::Migrate(args) => copy(global, args, output).await,
        DataVerb::Verify(args) => compare(global, args, output).await,
        DataVerb::Status { run } => status(global, run.as_deref(), output).await,
        DataVerb::Resume(args) => resume(global, args, output).await,
        DataVerb::Undo(args) => undo(global, args, output).await,
        DataVerb::Rejects { run, drop: false } => rejects(global, run.as_deref(), output).await,
        DataVerb::Rejects { run, drop: true } => drop_rejects(global, run.as_deref(), output).await,
    }
}

/// A migrator for a command, and what can stop it.
struct Ready {
    builder: DataMigratorBuilder,
    cancel: Cancel,
}

async fn ready(
    global: &Global,
    source_url: Option<&str>,
    workers: usize,
    output: &Output,
) -> Result<Ready, Failure> {
    let target = Target::open(global, CreateMode::MustExist).await?;
    let cancel = Cancel::new();
    crate::signals::watch(&cancel)
        .map_err(|error| Failure::unchanged(format!("signals can't be watched: {error}")))?;
    let mut builder = DataMigrator::builder(target.db.clone())
        .max_parallel(workers)
        .cancel(cancel.clone())
        .reporter(output.reporter());
    if let Some(written) = source_url {
        builder = builder.source(open_source(&target.root, written).await?);
    }
    Ok(Ready { builder, cancel })
}

async fn open_source(root: &Path, written: &str) -> Result<Database, Failure> {
    let text = match written.strip_prefix("env:") {
        Some(name) => std::env::var(name)
            .map_err(|_| Failure::usage(format!("--source-url: there is no variable {name}")))?,
        None => written.to_owned(),
    };
    let url: DatabaseUrl = text
        .parse()
        .map_err(|error| Failure::usage(format!("--source-url: {error}")))?;
    let url = url.resolve(root);
    Database::connect(&url, &ConnectOptions::default())
        .await
        .map_err(|error| {
            error
                .into_step_error(format!("the source's database {url}"))
                .into()
        })
}

/// The script's text, `rust:NAME`, or what takes every column by its name.
fn transform(written: Option<&str>) -> Result<String, Failure> {
    match written {
        None => Ok("SELECT * FROM batch".to_owned()),
        Some(rust) if rust.starts_with("rust:") => Ok(rust.to_owned()),
        Some(file) => {
            let text = migrate_config::atomic::read_regular_text(file.as_ref())
                .map_err(|error| Failure::usage(format!("--transform {file}: {error}")))?;
            // A script without any white space would be taken for a script's name.
            Ok(format!("{text}\n"))
        }
    }
}

async fn copy(global: &Global, args: &MigrateArgs, output: &Output) -> Result<u8, Failure> {
    let MigrateArgs {
        copy: args,
        bad_rows,
    } = args;
    let script = transform(args.transform.as_deref())?;
    let how = &args.how;
    let ready = ready(global, how.source_url.as_deref(), how.workers, output).await?;
    let builder = ready
        .builder
        .batch(how.batch_size)
        .verify(how.verify)
        .bad_rows(*bad_rows);
    signed::refuse_direct(global, "a copy of rows alone")?;
    environment::confirm(global, output, &format!("writing {}", args.target))?;
    if !global.skip_check.iter().any(|name| name == "rows") {
        look_at_rows(&builder, args, &script, (global, output)).await?;
    }
    let run = RunId::fresh(chrono::Utc::now());
    let name = run.to_string();
    output.note(&format!(
        "run {run}; another process can help: etlrs-migrate work --run {run}"
    ));
    let migrator = builder.run(run).build();
    let moved = migrator.migrate(&args.source, &args.target, &script).await;
    output.done_with_progress();
    match moved {
        Ok(counts) => {
            tell(output, &counts, &name);
            Ok(exit::DONE)
        }
        Err(error) => Err(taken_back(error, &ready.cancel)),
    }
}

/// Finds before anything is changed what the copy would find in its midst.
async fn look_at_rows(
    builder: &DataMigratorBuilder,
    args: &CopyArgs,
    script: &str,
    (global, output): (&Global, &Output),
) -> Result<(), Failure> {
    let migrator = builder.clone().build();
    let mut found = migrator.foresee(&args.source, &args.target, script).await?;
    found.retain(|finding| !global.skip_check.contains(&finding.code));
    if found
        .iter()
        .any(|finding| finding.severity == Severity::Error)
    {
        let message = "rows can't be moved; nothing was changed";
        return Err(Failure::findings(message, found));
    }
    for finding in found {
        output.reporter().event(&Event::Finding { finding });
    }
    Ok(())
}

fn tell(output: &Output, counts: &Counts, run: &str) {
    output.say(&counts.to_string());
    if counts.quarantined > 0 {
        output.note(&format!(
            "{} rows could not be moved: etlrs-migrate data rejects --run {run}",
            counts.quarantined
        ));
    }
}

/// What is said, and with which code, of a copy that failed.
fn taken_back(error: StepError, cancel: &Cancel) -> Failure {
    let has = |what: &str| error.causes.iter().any(|cause| cause.starts_with(what));
    let code = match cancel.cause() {
        Some(CancelCause::Signal(signal)) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        _ if has("NOT taken back") => exit::STUCK,
        _ if has("taken back") => exit::ROLLED_BACK,
        _ => exit::UNCHANGED,
    };
    Failure {
        code,
        ..Failure::from(error)
    }
}

async fn compare(global: &Global, args: &CopyArgs, output: &Output) -> Result<u8, Failure> {
    let script = transform(args.transform.as_deref())?;
    let how = &args.how;
    let ready = ready(global, how.source_url.as_deref(), how.workers, output).await?;
    let migrator = ready
        .builder
        .batch(how.batch_size)
        .verify(how.verify)
        .build();
    let found = migrator.compare(&args.source, &args.target, &script).await;
    output.done_with_progress();
    let found = found?;
    output.comparison(&found);
    Ok(if found.differing == 0 && found.found.is_empty() {
        exit::DONE
    } else {
        exit::DIFFERENT
    })
}

async fn status(global: &Global, run: Option<&str>, output: &Output) -> Result<u8, Failure> {
    let target = Target::open(global, CreateMode::MustExist).await?;
    let found = migrate_data::copies(&target.db, run)
        .await
        .map_err(|error| error.into_step_error("can't look at the copies of this database"))?;
    let aside = migrate_data::rejects(&target.db, run)
        .await
        .map_err(|error| error.into_step_error("can't look at the rows in quarantine"))?;
    output.copies(&found, &aside);
    Ok(exit::DONE)
}

async fn rejects(global: &Global, run: Option<&str>, output: &Output) -> Result<u8, Failure> {
    let target = Target::open(global, CreateMode::MustExist).await?;
    let found = migrate_data::rejects(&target.db, run)
        .await
        .map_err(|error| error.into_step_error("can't look at the rows in quarantine"))?;
    output.rejects(&found);
    Ok(exit::DONE)
}

async fn drop_rejects(global: &Global, run: Option<&str>, output: &Output) -> Result<u8, Failure> {
    let target = Target::open(global, CreateMode::MustExist).await?;
    environment::confirm(global, output, "dropping rows in quarantine")?;
    let dropped = migrate_data::drop_rejects(&target.db, run)
        .await
        .map_err(|error| error.into_step_error("can't drop the rows in quarantine"))?;
    output.say(&format!("{dropped} rows in quarantine dropped"));
    Ok(exit::DONE)
}

async fn resume(global: &Global, args: &TakeUpArgs, output: &Output) -> Result<u8, Failure> {
    let how = &args.how;
    let ready = ready(global, how.source_url.as_deref(), how.workers, output).await?;
    environment::confirm(global, output, "going on with a copy")?;
    let moved = ready.builder.build().resume(&args.run).await;
    output.done_with_progress();
    let moved = moved.map_err(|error| stopped(error, &ready.cancel))?;
    tell(output, &moved, &args.run);
    Ok(exit::DONE)
}

async fn undo(global: &Global, args: &TakeUpArgs, output: &Output) -> Result<u8, Failure> {
    let how = &args.how;
    let ready = ready(global, how.source_url.as_deref(), how.workers, output).await?;
    environment::confirm(global, output, "taking a copy back")?;
    let message = ready.builder.build().undo(&args.run).await;
    output.done_with_progress();
    output.say(&message.map_err(|error| stopped(error, &ready.cancel))?);
    Ok(exit::DONE)
}

/// `work --run ID`.
pub(crate) async fn work(global: &Global, args: &WorkArgs, output: &Output) -> Result<u8, Failure> {
    let ready = ready(global, args.source_url.as_deref(), args.workers, output).await?;
    let moved = ready.builder.build().join(&args.run).await;
    output.done_with_progress();
    let moved = moved.map_err(|error| stopped(error, &ready.cancel))?;
    output.say(&format!(
        "nothing is left to do for run {}; {} rows are moved, by whomever",
        args.run,
        moved.moved()
    ));
    Ok(exit::DONE)
}

fn stopped(error: StepError, cancel: &Cancel) -> Failure {
    let code = match cancel.cause() {
        Some(CancelCause::Signal(signal)) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        _ => exit::STUCK,
    };
    Failure {
        code,
        ..Failure::from(error)
    }
}
