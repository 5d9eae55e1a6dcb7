//! The migrations and the database that a `schema` verb works on.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use migrate_schema::db::{ConnectOptions, Database};
use migrate_schema::layout::{Choice, Layout, MigrationSet};

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

/// A database that a `schema` verb was pointed at.
pub(crate) struct Target {
    pub(crate) root: PathBuf,
    pub(crate) db: Database,
}

impl Target {
    /// Opens the database of `--database-url`, `$DATABASE_URL` or the deployment's config file.
    pub(crate) async fn open(global: &Global, options: &ConnectOptions) -> Result<Self, Failure> {
        let deployment = Deployment::open(global)?;
        let (url, url_source) = deployment.url(global)?;
        let db = Database::connect(&url, options).await.map_err(|error| {
            Failure::from(error.into_step_error(format!("the database {url} (from {url_source})")))
        })?;
        Ok(Self {
            root: deployment.root,
            db,
        })
    }
}

impl SourceArgs {
    /// Reads the migrations for a database.
    pub(crate) fn read(&self, root: &Path, db: &Database) -> Result<MigrationSet, Failure> {
        let choice = match self.layout {
            LayoutArg::Auto => Choice::Auto { history: None },
            LayoutArg::Named(layout) => Choice::Named(layout),
        };
        let dir = root.join(&self.source);
        MigrationSet::read(&dir, choice, db.backend()).map_err(|findings| {
            Failure::findings(
                format!("the migrations in {} can't be used", self.source.display()),
                findings,
            )
        })
    }
}
