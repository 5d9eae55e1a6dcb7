//! Making rollback points of all layers, and going back to them.

mod create;
mod facts;
mod remove;
mod restore;
mod verify;

pub(crate) use restore::{STAYS, read_expected};

use std::num::NonZeroU32;
use std::path::PathBuf;

use async_trait::async_trait;
use chrono::Utc;
use migrate_config::atomic::{FileError, Root};
use migrate_core::{
    Cancel, Finding, OtherWriters, RestoreOrder, RestoreReport, RollbackPoints, RunId, ScopeObject,
    StepError, Version,
};
use migrate_schema::db::Database;
use serde_json::Value;

use crate::backup::files::{CONFIG_FILE, Copies};
use crate::backup::{directory, space};
use crate::history::RollbackHistory;
use crate::inventory::{Inventory, Stored};
use crate::point::{Purpose, RollbackPoint};
use crate::signing::points::{self, Signatures};

/// Whether a point may be restored into a database that it was not made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetDatabase {
    /// Only into the very database: the usual case.
    #[default]
    Same,
    /// Into whatever the manager is connected to, after the old one was lost. Everything in
    /// it is replaced.
    Any,
}

/// Makes and restores rollback points of one deployment: its database and its files.
///
/// Crash behaviour: a point is named in the history only when it is complete and verified.
/// A restore killed half-way has restored the database whole or not at all, and each file
/// whole or not at all; restoring again completes it.
///
/// Whoever calls it holds the deployment's lock
/// ([`DeploymentGuard`](crate::DeploymentGuard)), and no other writer is left.
#[derive(Debug, Clone)]
pub struct RollbackManager {
    root: PathBuf,
    database: Database,
    target: TargetDatabase,
    programs: Option<Vec<PathBuf>>,
    jobs: Option<NonZeroU32>,
    signatures: Signatures,
    copies: Copies,
}

impl RollbackManager {
    /// A manager for the deployment at `root` and its database. Touches nothing yet.
    pub fn new(root: impl Into<PathBuf>, database: Database) -> Self {
        Self {
            root: root.into(),
            database,
            target: TargetDatabase::default(),
            programs: None,
            jobs: None,
            signatures: Signatures::default(),
            copies: Copies::default(),
        }
    }

    /// Copies PostgreSQL with so many workers, into the directory format, instead of one file.
    #[must_use]
    pub fn with_jobs(mut self, jobs: Option<NonZeroU32>) -> Self {
        self.jobs = jobs;
        self
    }

    /// Says which database a point may be restored into.
    #[must_use]
    pub fn restoring_into(mut self, target: TargetDatabase) -> Self {
        self.target = target;
        self
    }

    /// Says whether a point that this deployment did not sign may be restored.
    #[must_use]
    pub fn with_signatures(mut self, signatures: Signatures) -> Self {
        self.signatures = signatures;
        self
    }

    /// Says what a missing copy of a file leads to.
    #[must_use]
    pub fn with_copies(mut self, copies: Copies) -> Self {
        self.copies = copies;
        self
    }

    /// Looks for PostgreSQL's programs in these directories only, instead of each
    /// installed release's own and those of `PATH`.
    #[must_use]
    pub fn with_postgres_programs(mut self, dirs: Vec<PathBuf>) -> Self {
        self.programs = Some(dirs);
        self
    }

    /// Makes a verified point of the database and `config/config.toml`.
    ///
    /// # Errors
    /// Nothing was kept: what failed, and what to do.
    pub async fn create_rollback_point(
        &self,
        version: &Version,
    ) -> Result<RollbackPoint, StepError> {
        self.create_copy(version, Purpose::GoBack, &Cancel::new())
            .await
    }

    /// Makes a verified copy of the database and of every file that any run of this deployment
    /// touched, while others may write: it is of one moment.
    ///
    /// # Errors
    /// Nothing was kept: what failed, and what to do.
    pub async fn create_copy(
        &self,
        version: &Version,
        purpose: Purpose,
        cancel: &Cancel,
    ) -> Result<RollbackPoint, StepError> {
        let wanted = create::Wanted {
            version,
            paths: &self.known_files()?,
            run: None,
            others: OtherWriters::Expected,
            purpose,
            jobs: self.jobs,
        };
        self.make(wanted, cancel).await
    }

    /// Goes back to the newest point of a version. Returns a line for the summary.
    ///
    /// # Errors
    /// There is no such point, it is damaged, or a layer could not be restored.
    pub async fn rollback_to(&self, version: &Version) -> Result<String, StepError> {
        let history = self.history()?;
        let point = history.newest(version).ok_or_else(|| {
            let known: Vec<String> = history.0.keys().map(ToString::to_string).collect();
            let known = if known.is_empty() {
                "there is none at all".to_owned()
            } else {
                format!("there are points of {}", known.join(", "))
            };
            StepError::failed(format!("no rollback point of version {version}; {known}"))
                .hint("make one with `etlrs-migrate backup` while the deployment is at a version")
        })?;
        self.restore_point(point).await
    }

    /// Restores one point, such as one of [`history`](Self::history). Idempotent.
    /// Returns a line for the summary.
    ///
    /// # Errors
    /// As [`rollback_to`](Self::rollback_to). A damaged point is refused before anything changes.
    pub async fn restore_point(&self, point: &RollbackPoint) -> Result<String, StepError> {
        let report = self.put_back(point, &RestoreOrder::default()).await?;
        Ok(report.message)
    }

    /// All points that were made, by version.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn history(&self) -> Result<RollbackHistory, StepError> {
        RollbackHistory::read(&self.open_root()?)
    }

    /// `config/config.toml` and the files of all points that this deployment made: those that
    /// plans touched.
    fn known_files(&self) -> Result<Vec<String>, StepError> {
        let root = self.open_root()?;
        let mut files = vec![CONFIG_FILE.to_owned()];
        for stored in Inventory::read(&root)?.backups {
            let Stored::Point(point) = stored else {
                continue;
            };
            if points::unproven(&root, &point, self.signatures)?.is_some() {
                continue;
            }
            for file in point.files {
                if !files.contains(&file.path) {
                    files.push(file.path);
                }
            }
        }
        Ok(files)
    }

    fn open_root(&self) -> Result<Root, StepError> {
        Root::open(&self.root).map_err(FileError::into_step_error)
    }

    #[cfg(feature = "postgres")]
    async fn check_postgres(
        &self,
        database: &migrate_schema::db::Postgres,
    ) -> Result<Vec<Finding>, StepError> {
        let mut findings = Vec::new();
        match self.find_programs(database).await {
            Ok(_) => {}
            Err(PgProgramsError::Missing(finding)) => findings.push(finding),
            Err(PgProgramsError::Step(error)) => return Err(error),
        }
        let foreign = facts::foreign_objects(database)
            .await
            .map_err(|error| error.into_step_error("can't read the owners of the tables"))?;
        findings.extend(foreign);
        Ok(findings)
    }

    #[cfg(feature = "postgres")]
    async fn find_programs(
        &self,
        database: &migrate_schema::db::Postgres,
    ) -> Result<crate::pg::programs::Programs, PgProgramsError> {
        let major = facts::server_major(database)
            .await
            .map_err(|error| error.into_step_error("can't tell the server's version"))
            .map_err(PgProgramsError::Step)?;
        let dirs = self.programs.clone().unwrap_or_else(|| {
            crate::pg::programs::usual_dirs(std::env::var_os("PATH").as_deref())
        });
        crate::pg::programs::find(&dirs, major)
            .await
            .map_err(PgProgramsError::Missing)
    }
}

#[cfg(feature = "postgres")]
enum PgProgramsError {
    Missing(Finding),
    Step(StepError),
}

#[cfg(feature = "postgres")]
impl From<PgProgramsError> for StepError {
    fn from(error: PgProgramsError) -> Self {
        match error {
            PgProgramsError::Step(error) => error,
            PgProgramsError::Missing(finding) => {
                let error = Self::failed(finding.message);
                finding.hint.into_iter().fold(error, Self::hint)
            }
        }
    }
}

#[async_trait]
impl RollbackPoints for RollbackManager {
    async fn check(&self) -> Result<Vec<Finding>, StepError> {
        let mut findings = Vec::new();
        let bytes = space::database_bytes(&self.database)
            .await
            .map_err(|error| error.into_step_error("can't tell the size of the database"))?;
        let dir = self.root.join(directory::BACKUPS);
        findings.extend(space::shortage(&dir, bytes));
        match &self.database {
            #[cfg(feature = "postgres")]
            Database::Postgres(database) => {
                findings.extend(self.check_postgres(database).await?);
            }
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => {}
            #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
            _ => return Err(unsupported(&self.database)),
        }
        Ok(findings)
    }

    async fn create(
        &self,
        run: &RunId,
        from: &Version,
        scope: &[ScopeObject],
        others: OtherWriters,
        cancel: &Cancel,
    ) -> Result<Value, StepError> {
        let mut files = vec![CONFIG_FILE.to_owned()];
        for object in scope {
            if let ScopeObject::File(path) = object
                && !files.contains(path)
            {
                files.push(path.clone());
            }
        }
        let wanted = create::Wanted {
            version: from,
            paths: &files,
            run: Some(run),
            others,
            purpose: Purpose::GoBack,
            jobs: self.jobs,
        };
        Ok(self.make(wanted, cancel).await?.to_value())
    }

    async fn check_restore(&self, point: &Value) -> Result<(), StepError> {
        let point = RollbackPoint::from_value(point)?;
        self.can_put_back(&point).await
    }

    async fn safety_copy(&self, back_to: &Version, cancel: &Cancel) -> Result<String, StepError> {
        let copy = self.create_copy(back_to, Purpose::Safety, cancel).await?;
        Ok(format!(
            "what is lost is kept in {}",
            self.describe(&copy.to_value())
        ))
    }

    async fn restore(
        &self,
        point: &Value,
        order: &RestoreOrder,
    ) -> Result<RestoreReport, StepError> {
        let point = RollbackPoint::from_value(point)?;
        self.put_back(&point, order).await
    }

    fn describe(&self, point: &Value) -> String {
        match RollbackPoint::from_value(point) {
            Ok(point) => format!(
                "{} ({}, made {})",
                point.data_snapshot.file,
                space::human(point.data_snapshot.bytes),
                point.timestamp.format("%Y-%m-%d %H:%M:%S UTC")
            ),
            Err(error) => error.to_string(),
        }
    }
}

fn now() -> chrono::DateTime<Utc> {
    Utc::now()
}

/// A database that this crate was built without, and the database handle with.
#[cfg(not(all(feature = "postgres", feature = "sqlite")))]
fn unsupported(database: &Database) -> StepError {
    database
        .unsupported()
        .into_step_error("can't make or restore a rollback point")
}
