//! Migration directories as the tools that people come from lay them out.
//!
//! Reading order: [`MigrationSet`] (what a directory holds), `source` (the only file that reads
//! a disk), `detect` (which layout it is), then one file for each layout.
//!
//! A set is pure data: nothing of it is bound to a database, and nothing has been split or run.

mod dbmate;
mod detect;
mod diesel;
mod flyway;
mod golang_migrate;
mod goose;
mod markers;
mod migration;
mod ours;
mod placeholders;
mod plain;
mod refinery;
mod scratch;
mod section;
mod source;
mod sqlx_cli;
mod strangers;
#[cfg(test)]
mod tests;
mod version;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use migrate_core::Finding;

pub use detect::Choice;
pub use migration::{Migration, Transactions};
pub use placeholders::Placeholders;
pub use scratch::SharedStatement;
pub use section::Section;
pub use source::{SourceFile, read_directory};
pub use version::Version;

use crate::db::Backend;

/// How a directory's files are named and marked, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layout {
    /// `NNN_name.sql`, `.down.sql`, `.verify.sql`, `.{postgres,sqlite}.sql`.
    Ours,
    /// sqlx-cli.
    Sqlx,
    /// diesel.
    Diesel,
    /// golang-migrate.
    GolangMigrate,
    /// goose.
    Goose,
    /// dbmate.
    Dbmate,
    /// Flyway.
    Flyway,
    /// refinery.
    Refinery,
}

impl Layout {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Self; 8] = [
        Self::Ours,
        Self::Sqlx,
        Self::Diesel,
        Self::GolangMigrate,
        Self::Goose,
        Self::Dbmate,
        Self::Flyway,
        Self::Refinery,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Sqlx => "sqlx",
            Self::Diesel => "diesel",
            Self::GolangMigrate => "golang-migrate",
            Self::Goose => "goose",
            Self::Dbmate => "dbmate",
            Self::Flyway => "flyway",
            Self::Refinery => "refinery",
        }
    }

    /// Whether its own tool runs migrations of SQLite with foreign keys enforced. Those that
    /// leave SQLite's default alone do not, so that a dropped table takes no rows of others.
    pub(crate) fn enforces_foreign_keys(self) -> bool {
        match self {
            Self::Ours | Self::Sqlx | Self::Refinery => true,
            Self::Diesel | Self::GolangMigrate | Self::Goose | Self::Dbmate | Self::Flyway => false,
        }
    }

    /// How a file of this layout says that it must not run in a transaction.
    pub fn no_transaction_mark(self) -> &'static str {
        match self {
            Self::Ours | Self::Sqlx => "make `-- no-transaction` the file's first line",
            Self::Diesel => "put `run_in_transaction = false` into metadata.toml beside it",
            Self::Goose => "add the line `-- +goose NO TRANSACTION`",
            Self::Dbmate => "write `-- migrate:up transaction:false`",
            Self::GolangMigrate | Self::Flyway => "put it into a file of its own",
            Self::Refinery => "refinery has no mark for it: use another layout",
        }
    }

    fn read(self, files: &[SourceFile], backend: Backend) -> Reading {
        match self {
            Self::Ours => ours::read(files, backend),
            Self::Sqlx => sqlx_cli::read(files),
            Self::Diesel => diesel::read(files),
            Self::GolangMigrate => golang_migrate::read(files, backend),
            Self::Goose => goose::read(files),
            Self::Dbmate => dbmate::read(files),
            Self::Flyway => flyway::read(files, backend),
            Self::Refinery => refinery::read(files),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|layout| layout.name() == text)
            .ok_or_else(|| {
                let names: Vec<&str> = Self::ALL.iter().map(|layout| layout.name()).collect();
                format!(
                    "{text:?} is no layout; there are auto, {}",
                    names.join(", ")
                )
            })
    }
}

/// The migrations of a directory, in the order in which they run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationSet {
    /// How the directory is laid out.
    pub layout: Layout,
    /// The database that it was read for.
    pub backend: Backend,
    /// Versioned ones by version, then the repeatable ones by name.
    pub migrations: Vec<Migration>,
    /// What stands in the directory and is no migration of this layout.
    pub warnings: Vec<Finding>,
}

impl MigrationSet {
    /// Reads a directory. `shown` is how its files are named in messages.
    ///
    /// # Errors
    /// Everything that stands in the way, each with its place: no directory, no layout that
    /// fits, several that read it differently, versions that are there twice.
    pub fn read(dir: &Path, choice: Choice, backend: Backend) -> Result<Self, Vec<Finding>> {
        let files = read_directory(dir).map_err(|finding| vec![finding])?;
        Self::of_files(&files, choice, backend)
    }

    /// The same for files that were read already.
    pub fn of_files(
        files: &[SourceFile],
        choice: Choice,
        backend: Backend,
    ) -> Result<Self, Vec<Finding>> {
        let programs: Vec<Finding> = files
            .iter()
            .filter(|file| plain::is_program(file.name()))
            .map(program)
            .collect();
        if !programs.is_empty() {
            return Err(some_of(programs));
        }
        let (layout, reading) = detect::choose(files, choice, backend)?;
        if !reading.passed_by.is_empty() {
            return Err(some_of(reading.passed_by));
        }
        let mut migrations = reading.migrations;
        if migrations.is_empty() && !reading.ignored.is_empty() {
            let mut findings = vec![nothing_read(layout, reading.ignored.len())];
            findings.extend(some_of(reading.ignored));
            return Err(findings);
        }
        migrations.sort_by(|a, b| (a.order(), a.up.file()).cmp(&(b.order(), b.up.file())));
        let twice = detect::twice(&migrations);
        if !twice.is_empty() {
            return Err(twice);
        }
        Ok(Self {
            layout,
            backend,
            migrations,
            warnings: reading.ignored,
        })
    }

    /// The versioned ones, in order.
    pub fn versioned(&self) -> impl DoubleEndedIterator<Item = &Migration> {
        self.migrations.iter().filter(|one| one.version.is_some())
    }

    /// The repeatable ones, in order.
    pub fn repeatable(&self) -> impl Iterator<Item = &Migration> {
        self.migrations.iter().filter(|one| one.version.is_none())
    }

    /// The one of a version.
    pub fn find(&self, version: &Version) -> Option<&Migration> {
        let at = self
            .migrations
            .binary_search_by(|one| one.order().0.cmp(&(false, Some(version))))
            .ok()?;
        self.migrations.get(at)
    }
}

/// How many files are named of those that are alike.
const NAMED: usize = 10;

fn some_of(mut findings: Vec<Finding>) -> Vec<Finding> {
    let more = findings.len().saturating_sub(NAMED);
    findings.truncate(NAMED);
    if more > 0 {
        findings.push(Finding::error("layout.more", format!("and {more} more")));
    }
    findings
}

fn program(file: &SourceFile) -> Finding {
    Finding::error(
        "layout.program",
        "it is a migration written as a program, which only its own tool runs",
    )
    .in_file(section::whole(file).place(0))
    .hint("write it as SQL, or run it by its tool and move it out of the directory")
}

fn nothing_read(layout: Layout, files: usize) -> Finding {
    Finding::error(
        "layout.nothing-read",
        format!("{layout} reads none of the {files} files of the directory"),
    )
    .hint("choose another --layout; `--layout auto` finds one by the files")
}

/// What one layout makes of a directory.
#[derive(Debug, Default)]
struct Reading {
    migrations: Vec<Migration>,
    /// Files that the layout's own tool would not look at: warnings.
    ignored: Vec<Finding>,
    /// Those among them that look like migrations: errors, once the layout is chosen.
    passed_by: Vec<Finding>,
    /// What it can't read: errors.
    errors: Vec<Finding>,
}

impl Reading {
    /// Leaves a file out: an error where it looks like a migration.
    fn ignore(&mut self, file: &SourceFile, why: &str) {
        if plain::looks_like_a_migration(file) {
            self.passed_by.push(
                Finding::error("layout.passed-by", format!("it would not run: {why}"))
                    .in_file(section::whole(file).place(0))
                    .hint("name it as this layout does, move it elsewhere, or choose another --layout"),
            );
            return;
        }
        self.ignored.push(
            Finding::warning("layout.ignored", why)
                .in_file(section::whole(file).place(0))
                .hint("move it elsewhere, or name it as this layout does"),
        );
    }

    fn error(&mut self, file: &SourceFile, byte: usize, what: impl Into<String>) {
        self.errors
            .push(Finding::error("layout.file", what).in_file(section::whole(file).place(byte)));
    }
}
