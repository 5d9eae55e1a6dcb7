//! Bringing a backup back whatever is there: a database that is healthy, half migrated,
//! empty, gone or broken, with or without a journal.
//!
//! Crash behaviour: before anything is stopped, `.etlrs-migrate/recovery.json` says what is
//! wanted and what ran. The database is replaced whole or not at all; doing it all again
//! completes it, and what ran before the first try is started after the last one. The file
//! goes when everything is done.

mod compare;
mod files;
mod place;
mod record;
mod runs;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use migrate_config::atomic::{FileError, Root};
use migrate_core::{
    Cancel, Event, Journal, MemoryJournal, MigrationError, OnDifference, Reporter, RunGuard as _,
    RunId, ServiceControl, StepError, Version,
};
use migrate_schema::catalog::Catalog;
use migrate_schema::db::{Database, DatabaseUrl};
use migrate_schema::own;
use serde_json::Value;
use tokio::time::Instant;

pub use compare::{Difference, differences};
use place::Before;
pub use place::Place;
pub use record::Unfinished;

pub use crate::backup::files::Copies;
use crate::inventory::{Inventory, Stored};
use crate::lock::{DeploymentGuard, Holder, StateLock};
use crate::manager::STAYS;
use crate::manager::{RollbackManager, TargetDatabase};
use crate::point::{FileCopy, Purpose};
use crate::signing::points::Signatures;
use crate::state_dir;

/// How long another run may keep its lock.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Order {
    /// The backup to bring back.
    pub backup: Stored,
    /// The version to go back to, for the config file of a bare backup.
    pub version: Option<Version>,
    /// Whether what is there is kept first.
    pub safety: SafetyCopy,
    /// What a result that is not what the backup was made of leads to.
    pub on_difference: OnDifference,
    /// Whether the backup must be signed by this deployment.
    pub signatures: Signatures,
    /// What a missing copy of a file leads to.
    pub copies: Copies,
    /// The command line that asks for it, for whoever finds it unfinished.
    pub command: String,
}

/// Whether what is there is copied before it is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SafetyCopy {
    /// It is; if that fails, nothing is changed.
    Make,
    /// The user does without.
    Skip,
}

/// What was done.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// A line about the restore.
    pub message: String,
    /// The safety copy's name.
    pub safety: Option<String>,
    /// Where a broken file was put aside.
    pub aside: Option<PathBuf>,
    /// What was done to services, a line each.
    pub services: Vec<String>,
    /// The runs that count as rolled back now.
    pub runs: Vec<String>,
    /// The runs whose result is there again, a line each.
    pub standing: Vec<String>,
    /// What is worth knowing.
    pub warnings: Vec<String>,
}

/// Brings backups back into one deployment.
pub struct Recovery {
    root: PathBuf,
    url: DatabaseUrl,
    services: Arc<dyn ServiceControl>,
    reporter: Arc<dyn Reporter>,
    jobs: Option<NonZeroU32>,
}

impl std::fmt::Debug for Recovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recovery")
            .field("root", &self.root)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// A failure, with what it left.
enum Broke {
    /// The database and the files are as they were.
    Before(MigrationError),
    /// They are not.
    After(StepError),
}

fn before(error: StepError) -> Broke {
    Broke::Before(MigrationError::Unchanged(error))
}

impl Recovery {
    /// Touches nothing yet.
    pub fn new(
        root: impl Into<PathBuf>,
        url: DatabaseUrl,
        services: Arc<dyn ServiceControl>,
        reporter: Arc<dyn Reporter>,
        jobs: Option<NonZeroU32>,
    ) -> Self {
        Self {
            root: root.into(),
            url,
            services,
            reporter,
            jobs,
        }
    }

    /// Stops services, keeps what is there, restores, starts services.
    ///
    /// # Errors
    /// [`MigrationError::Locked`]; [`MigrationError::Unchanged`]: database and files are as
    /// they were and what ran runs again; [`MigrationError::Stuck`]: they are not, and the
    /// same command completes it.
    pub async fn run(
        &self,
        place: Place,
        order: &Order,
        cancel: &Cancel,
    ) -> Result<Recovered, MigrationError> {
        let unchanged = MigrationError::Unchanged;
        let root =
            Root::open(&self.root).map_err(|error| unchanged(FileError::into_step_error(error)))?;
        let dir = state_dir::ensure(&self.root).map_err(|error| {
            unchanged(StepError::caused("can't make the state directory", &error))
        })?;
        let run = RunId::fresh(Utc::now());
        let lock = StateLock::acquire(&dir, &Holder::this(&run), Instant::now() + PATIENCE).await?;

        let running = self.services.running().await.map_err(unchanged)?;
        let first_try = Unfinished::read(&root).map_err(unchanged)?.is_none();
        let stopped = runs::stopped_services(&root).await;
        let ran = [vec![running.clone()], stopped].concat();
        let mut record = Unfinished::begin(&root, order, ran).map_err(unchanged)?;
        let mut done = Recovered::default();
        let worked = async {
            let lines = self.services.stop(&running).await.map_err(before)?;
            self.tell(&lines, &mut done);
            self.replace(
                &root,
                place,
                order,
                (&run, lock),
                &mut record,
                &mut done,
                cancel,
            )
            .await
        };
        match worked.await {
            Ok(()) => {}
            Err(Broke::Before(error)) if first_try => {
                return Err(self.put_services_back(&root, &running, error).await);
            }
            Err(Broke::Before(error)) => return Err(error),
            Err(Broke::After(error)) => return Err(MigrationError::Stuck { error }),
        }
        for running in &record.running {
            let lines = self.services.start(running).await.map_err(|error| {
                let message = format!("everything is restored, but {}", error.message);
                MigrationError::Stuck {
                    error: StepError { message, ..error },
                }
            })?;
            self.tell(&lines, &mut done);
        }
        Unfinished::remove(&root).map_err(|error| MigrationError::Stuck { error })?;
        Ok(done)
    }

    fn tell(&self, lines: &[String], done: &mut Recovered) {
        for message in lines {
            let message = message.clone();
            self.reporter.event(&Event::Service { message });
        }
        done.services.extend_from_slice(lines);
    }

    fn phase(&self, phase: &str) {
        let phase = phase.to_owned();
        self.reporter.event(&Event::Phase { phase });
    }

    async fn put_services_back(
        &self,
        root: &Root,
        running: &Value,
        error: MigrationError,
    ) -> MigrationError {
        if !running.is_null()
            && let Err(other) = self.services.start(running).await
        {
            return match error {
                MigrationError::Unchanged(error) => MigrationError::Unchanged(
                    error.cause(format!("and services were not started again: {other}")),
                ),
                error => error,
            };
        }
        // What is left of it would only say that nothing is left to do.
        let _ = Unfinished::remove(root);
        error
    }

    #[expect(clippy::too_many_arguments, reason = "one call, with what it fills in")]
    async fn replace(
        &self,
        root: &Root,
        place: Place,
        order: &Order,
        (run, lock): (&RunId, StateLock),
        record: &mut Unfinished,
        done: &mut Recovered,
        cancel: &Cancel,
    ) -> Result<(), Broke> {
        if matches!(place, Place::Missing(_)) {
            record.made = true;
            record.write(root).map_err(before)?;
        }
        let mut made = place.make(&self.url).await.map_err(before)?;
        if record.made {
            made.before = Before::Nothing;
        }
        done.aside = made.before.aside().map(Path::to_owned);
        let database = made.database;
        let result = self
            .replace_in(root, &database, order, (run, lock), record, done, cancel)
            .await;
        let is_empty = matches!(result, Err(Broke::Before(_))) && has_nothing(&database).await;
        database.close().await;
        match result {
            Err(Broke::Before(error)) if is_empty => Err(Broke::Before(
                as_it_was(error, &made.before, &self.url).await,
            )),
            result => result,
        }
    }

    /// The same in a database that is there.
    #[expect(clippy::too_many_arguments, reason = "one call, with what it fills in")]
    async fn replace_in(
        &self,
        root: &Root,
        database: &Database,
        order: &Order,
        (run, lock): (&RunId, StateLock),
        record: &mut Unfinished,
        done: &mut Recovered,
        cancel: &Cancel,
    ) -> Result<(), Broke> {
        #[cfg(feature = "sqlite")]
        crate::restore::sqlite::take_encoding(database, &root.path().join(order.backup.file()))
            .await
            .map_err(before)?;
        let journal = self.journal(root, database, done).await.map_err(before)?;
        let guard =
            DeploymentGuard::holding(&self.root, database.clone(), journal.clone(), lock, run)
                .await
                .map_err(Broke::Before)?;
        let result = async {
            let manager = RollbackManager::new(&self.root, database.clone())
                .restoring_into(TargetDatabase::Any)
                .with_jobs(self.jobs)
                .with_signatures(order.signatures)
                .with_copies(order.copies);
            let later = files::of_later_points(root, &journal, order).await;
            let later = later.map_err(before)?;
            done.warnings.extend(later.not_put_back);
            let later = later.files;
            self.keep_what_is_there(root, &manager, database, order, record, cancel)
                .await
                .map_err(before)?;
            done.safety.clone_from(&record.safety);
            let differences = self.swap(&guard, run, &manager, database, order).await?;
            let accepted = differences.iter().map(|one| format!("accepted: {one}"));
            done.warnings.extend(accepted);
            self.finish(root, (&manager, &later), database, &journal, order, done)
                .await
                .map_err(Broke::After)?;
            if let Err(error) = remove_ours(&guard, database, &journal).await {
                done.warnings
                    .push(format!("our own tables were not removed: {error}"));
            }
            Ok(())
        };
        let result = result.await;
        guard.release().await;
        result
    }

    /// Replaces the database, with every other run fenced off. What differs and was accepted.
    async fn swap(
        &self,
        guard: &DeploymentGuard,
        run: &RunId,
        manager: &RollbackManager,
        database: &Database,
        order: &Order,
    ) -> Result<Vec<String>, Broke> {
        let had_ours = own::exists(database)
            .await
            .map_err(|error| before(error.into_step_error("can't look for our own tables")))?;
        guard.arm(run).await.map_err(before)?;
        self.phase("restore");
        let replaced = manager
            .replace_database(&order.backup, order.on_difference)
            .await;
        if replaced.is_err() && !had_ours {
            // It made room for the fence only.
            let _ = own::drop_all(database).await;
        }
        replaced.map_err(before)
    }

    /// The journal; one that can't be read is put aside, for then nothing depends on it.
    async fn journal(
        &self,
        root: &Root,
        database: &Database,
        done: &mut Recovered,
    ) -> Result<Arc<dyn Journal>, StepError> {
        match runs::open(root, database).await? {
            runs::Found::Journal(journal) => Ok(journal),
            runs::Found::None => Ok(Arc::new(MemoryJournal::default())),
            runs::Found::Unreadable { why, aside } => {
                done.warnings.push(format!(
                    "the journal could not be read ({why}); it was put aside as {aside}"
                ));
                Ok(Arc::new(MemoryJournal::default()))
            }
        }
    }

    async fn keep_what_is_there(
        &self,
        root: &Root,
        manager: &RollbackManager,
        database: &Database,
        order: &Order,
        record: &mut Unfinished,
        cancel: &Cancel,
    ) -> Result<(), StepError> {
        if order.safety == SafetyCopy::Skip || has_nothing(database).await {
            return Ok(());
        }
        if let Some(id) = &record.safety
            && Inventory::read(root)?.find(id).is_some()
        {
            return Ok(());
        }
        self.phase("safety-copy");
        let version = order
            .version
            .clone()
            .or_else(|| order.backup.version().cloned());
        let version = version.unwrap_or_else(|| "0.0.0".parse().expect("it is a version"));
        let point = manager
            .create_copy(&version, Purpose::Safety, cancel)
            .await
            .map_err(|error| {
                let message = format!("what is there now can't be copied first: {}", error.message);
                let hint = match &error.hint {
                    Some(hint) => {
                        format!("{hint}; or do without the copy: --skip-check safety-copy")
                    }
                    None => "mend it, or do without the copy: --skip-check safety-copy".to_owned(),
                };
                StepError { message, ..error }.hint(hint)
            })?;
        let message = format!("what was there is kept: {}", point.data_snapshot.file);
        self.reporter.event(&Event::RollbackPoint { message });
        record.safety = Some(point.id);
        record.write(root)
    }

    /// What follows the database's own commit.
    async fn finish(
        &self,
        root: &Root,
        (manager, later): (&RollbackManager, &[FileCopy]),
        database: &Database,
        journal: &Arc<dyn Journal>,
        order: &Order,
        done: &mut Recovered,
    ) -> Result<(), StepError> {
        if matches!(order.backup, Stored::Bare(_)) {
            // A plain copy of everything may have replaced our own tables.
            database.set_fence(None);
        }
        self.phase("verify");
        let back = manager.complete(&order.backup, later).await?;
        done.message = back.message;
        let without_copy = back.without_copy.iter();
        let stays = without_copy.map(|file| format!("{file} {STAYS}"));
        done.warnings.extend(stays);
        if let (Stored::Bare(_), Some(version)) = (&order.backup, &order.version) {
            done.message.push_str("; ");
            done.message
                .push_str(&files::put_config_back(root, version)?);
        }
        match runs::follow(journal, &order.backup).await {
            Ok(followed) => {
                done.runs = followed.rolled_back;
                done.standing = followed.standing;
                done.warnings.extend(followed.outside);
            }
            Err(error) => done
                .warnings
                .push(format!("the journal does not know of it: {error}")),
        }
        Ok(())
    }
}

/// An error that changed nothing, after the empty database made for it is gone too.
async fn as_it_was(error: MigrationError, was: &Before, url: &DatabaseUrl) -> MigrationError {
    match (was.come_back(url).await, error) {
        (Err(other), MigrationError::Unchanged(error)) => MigrationError::Unchanged(
            error.cause(format!("and the empty database made for it stays: {other}")),
        ),
        (_, error) => error,
    }
}

/// What other runs keep of ours is of a database that is gone, unless the journal has runs
/// whose effects are in the backup too.
async fn remove_ours(
    guard: &DeploymentGuard,
    database: &Database,
    journal: &Arc<dyn Journal>,
) -> Result<(), StepError> {
    let runs = journal
        .runs()
        .await
        .map_err(|error| StepError::caused("can't look at earlier runs", &error))?;
    if runs.iter().all(runs::is_rolled_back) {
        own::drop_all(database)
            .await
            .map_err(|error| error.into_step_error("can't remove our tables"))?;
        database.set_fence(None);
        return Ok(());
    }
    guard.disarm().await
}

/// Whether there is nothing of the user's to keep: no table, no view, no function, no type. A
/// database that can't be looked at has something.
async fn has_nothing(database: &Database) -> bool {
    let catalog = Catalog::read(database).await;
    catalog.is_ok_and(|catalog| {
        let mut objects = catalog.objects().iter();
        objects.all(|(name, text)| is_in_every_database(name, text))
    })
}

/// What a database begins with; schema `public` may have been made again, with other privileges.
fn is_in_every_database(name: &str, text: &str) -> bool {
    match name {
        "user_version" | "application_id" => text == "0",
        _ => [
            "extension plpgsql",
            "schema public",
            "privileges on schema public",
        ]
        .contains(&name),
    }
}
