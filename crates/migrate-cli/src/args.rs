//! The command line as it is written.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::deadline::DeadlineArgs;
use crate::environment::Chosen;
use crate::exit;
use crate::skip_check::{self, SkipCheckParser};
use crate::verbs::apply::ApplyArgs;
use crate::verbs::backup::BackupArgs;
use crate::verbs::history::HistoryArgs;
use crate::verbs::plan::PlanArgs;
use crate::verbs::resume::ResumeArgs;

/// Carries an ETLRS deployment (config files, database schema, table data, services) from one
/// released version to another, or back.
#[derive(Debug, Parser)]
#[command(name = "etlrs-migrate", version, after_help = exit::HELP, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
}

/// What every verb understands, before or after its name.
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every verb")]
pub(crate) struct Global {
    /// The deployment's directory.
    #[arg(
        short = 'C',
        long,
        global = true,
        value_name = "DIR",
        default_value = "."
    )]
    pub(crate) root: PathBuf,
    /// The database; else `$DATABASE_URL`, else the config file's own.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) database_url: Option<String>,
    /// Plans and scripts that go before the embedded ones; default: `migrations` in the deployment.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) migrations: Option<PathBuf>,
    /// The environment `[env.NAME]` of etlrs-migrate.toml to work on; see docs/environments.md.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) env: Option<String>,
    /// Stands for typing the environment's name, where it asks for that.
    #[arg(long, global = true, value_name = "NAME", requires = "env")]
    pub(crate) confirm: Option<String>,
    /// How to write results and events.
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    /// Agree to everything that the plan shows, steps without undo included (not to losing data,
    /// except what downs of `schema down` and `schema redo` drop).
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,
    /// Agree to run the commands that a plan holds.
    #[arg(long, global = true)]
    pub(crate) allow_commands: bool,
    /// Skip a check by its name; may be given more than once.
    #[arg(long, global = true, value_name = "NAME", value_parser = SkipCheckParser,
        hide_possible_values = true, long_help = skip_check::help())]
    pub(crate) skip_check: Vec<String>,
    /// Only errors and the result.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// More about what happens; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// `$DATABASE_URL` is not looked at.
    #[arg(skip)]
    pub(crate) config_url_only: bool,
    /// What `--env` chose.
    #[arg(skip)]
    pub(crate) environment: Option<Chosen>,
}

/// How results and events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// One JSON document, or a JSON object a line for events.
    Json,
}

/// The guide's flags: a migration or rollback without a verb.
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RunArgs {
    /// The version that the deployment is at.
    #[arg(long, value_name = "VERSION")]
    pub(crate) from: Option<String>,
    /// The version to go to.
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: Option<String>,
    /// Look and show what would happen; write nothing anywhere.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Make no rollback point: only undo by receipts is left.
    #[arg(long)]
    pub(crate) no_backup: bool,
    /// Go back to the version --to.
    #[arg(long)]
    pub(crate) rollback: bool,
    /// How to go back.
    #[arg(long, value_enum, default_value_t, requires = "rollback")]
    pub(crate) strategy: StrategyArg,
    /// Agree that what was written since the upgrade is lost.
    #[arg(long, requires = "rollback")]
    pub(crate) accept_data_loss: bool,
    /// Keep a restore that is not what the rollback point was made of, and record what differs.
    #[arg(long, requires = "rollback")]
    pub(crate) accept_difference: bool,
    #[command(flatten)]
    pub(crate) time: DeadlineArgs,
    /// Take up what the database knows of runs that this deployment's journal lost.
    #[arg(long, requires = "rollback")]
    pub(crate) adopt: bool,
    /// Vouch for a run that nothing proves; see `resume --help`.
    #[arg(long, value_name = "RUN", requires = "adopt")]
    pub(crate) adopt_unverified: Vec<String>,
}

/// How to go back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum StrategyArg {
    /// `reverse` when every step can be undone, else `restore`.
    #[default]
    Auto,
    /// Undo each step, last first.
    Reverse,
    /// Restore the rollback point, all layers together.
    Restore,
}

/// One verb, one job.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show the plan that leads from a version to another, resolved.
    Plan(PlanArgs),
    /// Do exactly what a plan file says, or refuse and name what changed since (exit 8).
    Apply(ApplyArgs),
    /// Play a migration and its way back on a copy, measure and compare them.
    Rehearse(crate::verbs::rehearse::RehearseArgs),
    /// Show the plans that exist, and where they lead.
    Paths(crate::verbs::paths::PathsArgs),
    /// Go on with an interrupted run, forward or back.
    Resume(ResumeArgs),
    /// Where the deployment stands, and the next command.
    Status,
    /// The runs of this deployment, and what became of them.
    History(HistoryArgs),
    /// Whether the journal is what was written; keys that plans are signed with.
    #[command(subcommand)]
    Audit(crate::verbs::audit::AuditVerb),
    /// Make the checks of the plan that leads to a version, now.
    Validate(ValidateArgs),
    /// Look at everything that a run would look at first: database, rights, room, services, lock.
    HealthCheck,
    /// Make a backup of database and config now, or look at those that there are.
    Backup(BackupArgs),
    /// Bring a backup back: stop services, keep what is there, restore, start services.
    Restore(crate::verbs::recover::RestoreArgs),
    /// Bring the newest backup of a version back, whatever is there: half migrated, empty, gone.
    EmergencyRollback(crate::verbs::recover::EmergencyArgs),
    /// Make an ETLRS 1.5.0 deployment and take it to 2.0.0.
    Demo(DemoArgs),
    /// The environments of etlrs-migrate.toml.
    #[command(subcommand)]
    Env(crate::verbs::env::EnvVerb),
    /// The JSON Schema of what people write, for editors.
    SchemaFor(crate::verbs::schema_for::SchemaForArgs),
    /// Completions for a shell.
    Completions(crate::verbs::completions::CompletionsArgs),
    /// Work on config files alone.
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Work on the database's schema alone, with migrations as any tool lays them out.
    #[command(subcommand)]
    Schema(crate::verbs::schema::SchemaVerb),
    /// Copy a table's rows into another, compare them, or look at copies: no plan, no services.
    #[command(subcommand)]
    Data(crate::verbs::data::DataVerb),
    /// Help a running migration to move rows, from this process, on this or any other host.
    Work(crate::verbs::data::WorkArgs),
}

/// Which version's checks.
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// The version whose checks are made; default: the one that the last run led to.
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: Option<String>,
}

/// What the demo makes.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where the deployment is made: an empty directory, or one that a demo made.
    #[arg(long, value_name = "DIR", default_value = "etlrs-demo")]
    pub(crate) dir: PathBuf,
    /// How many pipelines it has.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) rows: u64,
    /// Only make the 1.5.0 deployment; do not migrate it.
    #[arg(long)]
    pub(crate) no_migrate: bool,
}

/// What can be done with config files.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Migrate a 1.x config file to the shape of 2.0.
    Migrate {
        /// The 1.x file.
        input: PathBuf,
        /// Where the 2.0 file is written; may be the same.
        output: PathBuf,
    },
}
