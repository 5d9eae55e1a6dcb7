//! The migrations and the database that a `schema` verb works on.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use migrate_schema::db::{Backend, ConnectOptions, CreateMode, Database, DatabaseUrl};
use migrate_schema::layout::{Choice, Layout, MigrationSet, Placeholders, Version};
use migrate_schema::takeover;

use crate::args::Global;
use crate::deployment::Deployment;
use crate::failure::Failure;

/// Where migrations are and how they are laid out.
#[derive(Debug, Clone, Args)]
pub(crate) struct SourceArgs {
    /// The directory of migrations.
    #[arg(long, value_name = "DIR")]
    pub(crate) source: PathBuf,
    /// How they are laid out: ours, sqlx, diesel, golang-migrate, goose, dbmate, flyway, refinery.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) layout: LayoutArg,
    /// What `${NAME}` stands for in them (before the environment); may be given more than once.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) values: Vec<(String, String)>,
    /// A table that looks like another tool's history and is another application's; may be given
    /// more than once.
    #[arg(long = "ignore-history", value_name = "TABLE")]
    pub(crate) ignored_histories: Vec<String>,
}

/// A layout by name, or by what the files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LayoutArg {
    Auto,
    Named(Layout),
}

impl FromStr for LayoutArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            name => name.parse().map(Self::Named),
        }
    }
}

pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A database that a `schema` verb was pointed at.
pub(crate) struct Target {
    pub(crate) root: PathBuf,
    pub(crate) url: DatabaseUrl,
    pub(crate) db: Database,
}

impl Target {
    /// Opens the database of `--database-url`, `$DATABASE_URL` or the deployment's config file.
    pub(crate) async fn open(global: &Global, create: CreateMode) -> Result<Self, Failure> {
        let deployment = Deployment::open(global)?;
        let (url, url_source) = deployment.url(global)?;
        let options = ConnectOptions {
            create,
            ..ConnectOptions::default()
        };
        let db = Database::connect(&url, &options).await.map_err(|error| {
            Failure::from(error.into_step_error(format!("the database {url} (from {url_source})")))
        })?;
        Ok(Self {
            root: deployment.root,
            url,
            db,
        })
    }
}

impl SourceArgs {
    /// Reads the migrations for a database.
    pub(crate) async fn read(&self, root: &Path, db: &Database) -> Result<MigrationSet, Failure> {
        let choice = match self.layout {
            LayoutArg::Auto => Choice::Auto {
                history: takeover::layout_of(db).await.map_err(|error| {
                    Failure::from(error.into_step_error("can't look for other tools' histories"))
                })?,
            },
            LayoutArg::Named(layout) => Choice::Named(layout),
        };
        self.read_as(root, choice, db.backend())
    }

    /// Reads them as a layout for a database that may not be there.
    pub(crate) fn read_as(
        &self,
        root: &Path,
        choice: Choice,
        backend: Backend,
    ) -> Result<MigrationSet, Failure> {
        let dir = root.join(&self.source);
        MigrationSet::read(&dir, choice, backend).map_err(|findings| {
            Failure::findings(
                format!("the migrations in {} can't be used", self.source.display()),
                findings,
            )
        })
    }

    /// What placeholders stand for: `--set` before the environment.
    pub(crate) fn placeholders(&self) -> Placeholders {
        Placeholders::new(std::env::vars().chain(self.values.iter().cloned()))
    }
}

/// The version of a set that a person means: `001` and `1` are the same where the layout says so.
pub(crate) fn version(set: &MigrationSet, text: &str) -> Version {
    match set.layout {
        Layout::Diesel => Version::literal(&text.replace('-', "")),
        Layout::Dbmate => Version::literal(text),
        _ => Version::numeric(text),
    }
}
