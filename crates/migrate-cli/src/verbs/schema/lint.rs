//! What is dangerous in migrations.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use migrate_schema::apply::{Standing, standings};
use migrate_schema::db::{Backend, CreateMode};
use migrate_schema::layout::{Choice, MigrationSet, read_directory};
use migrate_schema::lint::{Chosen, Guess, Known, Level, Levels, Report, guess_backend, lint};

use super::source::{LayoutArg, SourceArgs, Target, pair};
use super::{how, work};
use crate::args::Global;
use crate::deployment::Deployment;
use crate::exit;
use crate::failure::Failure;
use crate::report::{LintShown, Output};

/// What `schema lint` looks at.
#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// The directory of migrations.
    #[arg(long, value_name = "DIR", required_unless_present = "rules")]
    source: Option<PathBuf>,
    /// How they are laid out: ours, sqlx, diesel, golang-migrate, goose, dbmate, flyway, refinery.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    layout: LayoutArg,
    /// What `${NAME}` stands for in them (before the environment); may be given more than once.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    values: Vec<(String, String)>,
    /// Only these files; the others are read for what they made. With a database and no files:
    /// the migrations that it does not have.
    #[arg(value_name = "FILES")]
    files: Vec<PathBuf>,
    /// All migrations, also those that the database of --database-url has.
    #[arg(long, conflicts_with = "files")]
    all: bool,
    /// The database they are for, where none is named.
    #[arg(long = "for", value_name = "DATABASE", value_enum)]
    backend: Option<BackendArg>,
    /// What counts as failed: errors (the default), warnings, notes; or a rule that becomes an error.
    #[arg(long, value_name = "LEVEL|RULE")]
    deny: Vec<String>,
    /// A rule whose findings are warnings, also one that is off.
    #[arg(long, value_name = "RULE")]
    warn: Vec<String>,
    /// A rule to switch off.
    #[arg(long, value_name = "RULE")]
    allow: Vec<String>,
    /// Also the locks that each statement takes (PostgreSQL).
    #[arg(long)]
    locks: bool,
    /// List the rules.
    #[arg(long)]
    rules: bool,
}

/// A database by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BackendArg {
    Postgres,
    Sqlite,
}

/// `schema lint`.
pub(crate) async fn run(global: &Global, args: &LintArgs, output: &Output) -> Result<u8, Failure> {
    if args.rules {
        output.lint_rules();
        return Ok(exit::DONE);
    }
    let (levels, threshold) = levels(args)?;
    let source = SourceArgs {
        ignored_histories: Vec::new(),
        source: args.source.clone().unwrap_or_default(),
        layout: args.layout,
        values: args.values.clone(),
    };
    let named = global.database_url.is_some() || global.environment.is_some();
    let (set, report) = if named {
        on_database(global, args, &source, &levels, output).await?
    } else {
        by_files(global, args, &source, &levels)?
    };
    output.warnings(&set.warnings);
    let failed = report
        .findings
        .iter()
        .filter(|found| found.level >= threshold)
        .count();
    output.lint(&LintShown {
        set: &set,
        report: &report,
        locks: args.locks,
        failed,
    });
    Ok(if failed == 0 {
        exit::DONE
    } else {
        exit::DIFFERENT
    })
}

fn levels(args: &LintArgs) -> Result<(Levels, Level), Failure> {
    let mut levels = Levels::default();
    let mut threshold = Level::Error;
    let mut set = |name: &str, level| levels.set(name, level).map_err(Failure::usage);
    for name in &args.warn {
        set(name, Some(Level::Warning))?;
    }
    for name in &args.deny {
        match name.as_str() {
            "errors" => {}
            "warnings" => threshold = threshold.min(Level::Warning),
            "notes" => threshold = Level::Note,
            rule => set(rule, Some(Level::Error))?,
        }
    }
    for name in &args.allow {
        set(name, None)?;
    }
    Ok((levels, threshold))
}

/// Without a database: each migration is taken for a run of its own.
fn by_files(
    global: &Global,
    args: &LintArgs,
    source: &SourceArgs,
    levels: &Levels,
) -> Result<(MigrationSet, Report), Failure> {
    let backend = match args.backend {
        Some(BackendArg::Postgres) => Backend::Postgres,
        Some(BackendArg::Sqlite) => Backend::Sqlite,
        None => usual_backend(global).map_or_else(|| by_content(global, source), Ok)?,
    };
    let choice = match source.layout {
        LayoutArg::Auto => Choice::Auto { history: None },
        LayoutArg::Named(layout) => Choice::Named(layout),
    };
    let set = source.read_as(&global.root, choice, backend)?;
    let chosen = chosen_files(&set, args)?;
    let known = Known::nothing(backend);
    let report = lint(&set, &chosen, &known, levels, &source.placeholders());
    Ok((set, report))
}

/// What the deployment's URL names, if there is one; nothing is connected to.
fn usual_backend(global: &Global) -> Option<Backend> {
    Deployment::open(global)
        .and_then(|deployment| deployment.url(global))
        .map(|(url, _)| url.backend())
        .ok()
}

/// What the files themselves say.
fn by_content(global: &Global, source: &SourceArgs) -> Result<Backend, Failure> {
    let files = read_directory(&global.root.join(&source.source))
        .map_err(|finding| Failure::findings("the migrations can't be read", vec![finding]))?;
    match guess_backend(&files) {
        Guess::For(backend) => Ok(backend),
        Guess::Nothing => Ok(Backend::Postgres),
        Guess::Both => Err(Failure::usage(
            "the migrations use syntax of PostgreSQL and of SQLite: the database can't be guessed",
        )
        .hint("add --for postgres or --for sqlite")),
    }
}

/// With a database: what it does not have, as one batch, with the sizes of its tables.
async fn on_database(
    global: &Global,
    args: &LintArgs,
    source: &SourceArgs,
    levels: &Levels,
    output: &Output,
) -> Result<(MigrationSet, Report), Failure> {
    let target = Target::open(global, CreateMode::MustExist).await?;
    let set = source.read(&target.root, &target.db).await?;
    let known = Known::read(&target.db)
        .await
        .map_err(|error| Failure::from(error.into_step_error("the schema can't be read")))?;
    let chosen = if args.all || !args.files.is_empty() {
        chosen_files(&set, args)?
    } else {
        let engine = work::engine(&target, how::options(source), output);
        work::refuse_foreign(&engine).await?;
        let state = engine
            .state()
            .await
            .map_err(|error| work::failure(error, None))?;
        let pending = standings(&set, &state)
            .into_iter()
            .filter(|(_, standing)| {
                matches!(
                    standing,
                    Standing::Pending | Standing::OutOfOrder | Standing::HalfDone
                )
            })
            .map(|(one, _)| one.key());
        Chosen::Pending(pending.collect())
    };
    let report = lint(&set, &chosen, &known, levels, &source.placeholders());
    Ok((set, report))
}

/// The migrations of the files that were named: by their path in the set or below the
/// working directory, or the folder that they are in.
fn chosen_files(set: &MigrationSet, args: &LintArgs) -> Result<Chosen, Failure> {
    if args.files.is_empty() {
        return Ok(Chosen::All);
    }
    let mut chosen = BTreeSet::new();
    for path in &args.files {
        let before = chosen.len();
        let files = set.migrations.iter().flat_map(|one| {
            let down = one.down.as_ref().map(|down| (down.file(), one));
            std::iter::once((one.up.file(), one)).chain(down)
        });
        for (file, one) in files {
            if names(path, Path::new(file)) {
                chosen.insert(one.up.file().to_owned());
            }
        }
        let known = chosen.len() > before || chosen.iter().any(|file| names(path, Path::new(file)));
        if !known {
            return Err(Failure::usage(format!(
                "{} is no file of this set of migrations",
                path.display()
            ))
            .hint("name it as it is below --source"));
        }
    }
    Ok(Chosen::Files(chosen))
}

fn names(given: &Path, file: &Path) -> bool {
    given.ends_with(file)
        || file
            .parent()
            .is_some_and(|folder| !folder.as_os_str().is_empty() && given.ends_with(folder))
}
