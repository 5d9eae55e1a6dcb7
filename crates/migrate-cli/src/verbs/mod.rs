//! One verb, one file.

pub(crate) mod adopt;
pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod chain;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod data;
pub(crate) mod demo;
pub(crate) mod env;
pub(crate) mod health_check;
pub(crate) mod history;
pub(crate) mod migrate;
pub(crate) mod next;
pub(crate) mod paths;
pub(crate) mod plan;
pub(crate) mod recover;
pub(crate) mod rehearse;
pub(crate) mod resume;
pub(crate) mod rollback;
pub(crate) mod schema;
pub(crate) mod schema_for;
pub(crate) mod status;
pub(crate) mod validate;

use crate::args::{Cli, RunArgs, Verb};
use crate::failure::Failure;
use crate::report::Output;

/// Does what the command line asks for.
pub(crate) async fn run(cli: &Cli, output: &Output) -> Result<u8, Failure> {
    let global = &crate::environment::resolve(&cli.global)?;
    if let Some(verb) = &cli.verb {
        refuse_flags_of_a_run(&cli.run)?;
        return match verb {
            Verb::Plan(args) => plan::run(global, args, output).await,
            Verb::Paths(args) => paths::run(global, args, output),
            Verb::Apply(args) => apply::run(global, args, output).await,
            Verb::Rehearse(args) => Box::pin(rehearse::run(global, args, output)).await,
            Verb::Resume(args) => resume::run(global, args, output).await,
            Verb::Status => status::run(global, output).await,
            Verb::Audit(verb) => audit::run(global, verb, output).await,
            Verb::History(args) => history::run(global, args, output).await,
            Verb::Validate(args) => validate::run(global, args, output).await,
            Verb::Backup(args) => backup::run(global, args, output).await,
            Verb::Restore(args) => recover::restore(global, args, output).await,
            Verb::EmergencyRollback(args) => recover::emergency(global, args, output).await,
            Verb::HealthCheck => health_check::run(global, output).await,
            Verb::Demo(args) => demo::run(global, args, output).await,
            Verb::Env(verb) => env::run(global, verb, output).await,
            Verb::SchemaFor(args) => Ok(schema_for::run(args, output)),
            Verb::Completions(args) => Ok(completions::run(args, output)),
            Verb::Config(verb) => config::run(verb, output).await,
            Verb::Schema(verb) => schema::run(global, verb, output).await,
            Verb::Data(verb) => data::run(global, verb, output).await,
            Verb::Work(args) => data::work(global, args, output).await,
        };
    }
    if cli.run.rollback {
        rollback::run(global, &cli.run, output).await
    } else {
        migrate::run(global, &cli.run, output).await
    }
}

fn refuse_flags_of_a_run(run: &RunArgs) -> Result<(), Failure> {
    let given = [
        (run.from.is_some(), "--from"),
        (run.to.is_some(), "--to"),
        (run.dry_run, "--dry-run"),
        (run.no_backup, "--no-backup"),
        (run.rollback, "--rollback"),
        (run.time.deadline.is_some(), "--deadline"),
        (run.time.max_duration.is_some(), "--max-duration"),
    ];
    match given.iter().find(|(given, _)| *given) {
        None => Ok(()),
        Some((_, flag)) => Err(Failure::usage(format!(
            "{flag} before a verb belongs to a migration without a verb; put it after the verb, or leave the verb out"
        ))),
    }
}
