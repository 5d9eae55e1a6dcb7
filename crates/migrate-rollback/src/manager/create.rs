//! Making a point: look, copy, look again, name it.

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use crate::canonical::{self, State};
use migrate_config::atomic::{self, FileError, NewFile, Root};
use migrate_core::{Cancel, Fingerprint, OtherWriters, RunId, StepError, Version};
use migrate_schema::db::Database;
use tempfile::{NamedTempFile, TempDir, TempPath};

use super::{RollbackManager, facts, now};
use crate::backup::directory::{self, BACKUPS};
use crate::backup::files::{self, CONFIG_FILE};
use crate::backup::space;
use crate::checksum;
use crate::history::RollbackHistory;
use crate::point::{Purpose, RollbackPoint, Snapshot};
use crate::signing::{StateKey, points};

/// What is asked for.
pub(super) struct Wanted<'a> {
    pub(super) version: &'a Version,
    /// The files beside the database.
    pub(super) paths: &'a [String],
    /// The run that needs it.
    pub(super) run: Option<&'a RunId>,
    /// Whether others may write while it is made.
    pub(super) others: OtherWriters,
    pub(super) purpose: Purpose,
    /// PostgreSQL: the directory format, with so many workers.
    pub(super) jobs: Option<NonZeroU32>,
}

impl RollbackManager {
    /// Makes the point and names it in the history. On any error, and when asked to stop,
    /// nothing of it is left but copies of files, which a later point uses again.
    pub(super) async fn make(
        &self,
        wanted: Wanted<'_>,
        cancel: &Cancel,
    ) -> Result<RollbackPoint, StepError> {
        let root = self.open_root()?;
        let dir = directory::ensure(root.path())?;
        directory::remove_leftovers(&dir, "etlrs_backup");
        self.refuse_without_space(&dir).await?;

        let (copy, state) = match wanted.others {
            OtherWriters::Refused => self.copy_at_rest(&root, &dir, wanted.jobs, cancel).await?,
            OtherWriters::Expected => self.copy_live(&root, &dir, wanted.jobs, cancel).await?,
        };
        migrate_failpoint::hit!("backup.copied").map_err(ordered)?;
        let files = files::copy_all(&root, &label(&wanted), wanted.paths)?;
        let (id, snapshot) = self.keep(&root, &dir, wanted.purpose, copy, &state).await?;
        let config = files.iter().find(|file| file.path == CONFIG_FILE);
        let mut point = RollbackPoint {
            id,
            version: wanted.version.clone(),
            timestamp: now(),
            config_backup: config.and_then(|file| file.copy.clone()),
            schema_version: facts::schema_version(&self.database)
                .await
                .map_err(|error| error.into_step_error("can't read the schema's version"))?,
            data_snapshot: snapshot,
            files,
            schema_history: Some(self.standing_migrations().await?),
            run: wanted.run.map(ToString::to_string),
            purpose: wanted.purpose,
            seal: None,
        };
        points::seal(&mut point, StateKey::ensure(root.path())?.signing());
        migrate_failpoint::hit!("backup.named").map_err(ordered)?;
        write_beside(&root, &point)?;
        RollbackHistory::add(&root, &point)?;
        migrate_failpoint::hit!("backup.made").map_err(ordered)?;
        Ok(point)
    }

    async fn standing_migrations(&self) -> Result<Vec<migrate_schema::history::Record>, StepError> {
        let log = migrate_schema::history::read(&self.database).await;
        log.map(|log| log.standing())
            .map_err(|error| error.into_step_error("can't read the history of migrations"))
    }

    async fn refuse_without_space(&self, dir: &Path) -> Result<(), StepError> {
        let bytes = space::database_bytes(&self.database)
            .await
            .map_err(|error| error.into_step_error("can't tell the size of the database"))?;
        match space::shortage(dir, bytes) {
            None => Ok(()),
            Some(finding) => {
                let error = StepError::failed(finding.message);
                Err(finding.hint.into_iter().fold(error, StepError::hint))
            }
        }
    }

    async fn state(&self, cancel: &Cancel) -> Result<State, StepError> {
        let look = async {
            canonical::state(&self.database)
                .await
                .map_err(|error| error.into_step_error("can't take the database's fingerprint"))
        };
        self.database.cancellable(cancel, look).await
    }

    /// Before a run changes anything: whoever still writes is found out.
    async fn copy_at_rest(
        &self,
        root: &Root,
        dir: &Path,
        jobs: Option<NonZeroU32>,
        cancel: &Cancel,
    ) -> Result<(Copy, State), StepError> {
        let before = self.state(cancel).await?;
        let copy = self.copy_database(root, dir, jobs, None, cancel).await?;
        let after = self.state(cancel).await?;
        refuse_writers(&before.fingerprint, &after.fingerprint)?;
        Ok((copy, after))
    }

    /// While others may write: the fingerprint is of the very moment that was copied.
    async fn copy_live(
        &self,
        root: &Root,
        dir: &Path,
        jobs: Option<NonZeroU32>,
        cancel: &Cancel,
    ) -> Result<(Copy, State), StepError> {
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => {
                let copy = self.copy_database(root, dir, jobs, None, cancel).await?;
                let state = crate::backup::sqlite::state(&copy.path()).await?;
                Ok((copy, state))
            }
            #[cfg(feature = "postgres")]
            Database::Postgres(database) => {
                let moment = crate::backup::postgres::Moment::hold(database)
                    .await
                    .map_err(|error| error.into_step_error("can't hold a moment to copy"))?;
                let copy = self
                    .copy_database(root, dir, jobs, Some(&moment), cancel)
                    .await?;
                let look = async {
                    canonical::state_at(&self.database, Some(moment.id()))
                        .await
                        .map_err(|error| {
                            error.into_step_error("can't take the database's fingerprint")
                        })
                };
                let state = self.database.cancellable(cancel, look).await?;
                Ok((copy, state))
            }
            #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
            _ => Err(super::unsupported(&self.database)),
        }
    }

    #[cfg_attr(
        not(feature = "postgres"),
        expect(unused_variables, reason = "for PostgreSQL's programs")
    )]
    async fn copy_database(
        &self,
        root: &Root,
        dir: &Path,
        jobs: Option<NonZeroU32>,
        moment: Moment<'_>,
        cancel: &Cancel,
    ) -> Result<Copy, StepError> {
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(database) => {
                crate::backup::sqlite::copy(&self.database, database, dir, cancel)
                    .await
                    .map(Copy::Path)
            }
            #[cfg(feature = "postgres")]
            Database::Postgres(db) => {
                use crate::backup::postgres::{copy, copy_parallel};
                let programs = self.find_programs(db).await?;
                let state = crate::state_dir::ensure(root.path())
                    .map_err(|error| StepError::caused("can't make the state directory", &error))?;
                let target = crate::pg::target::Target::new(db, self.database.url(), &state)?;
                match jobs {
                    Some(jobs) => copy_parallel(db, &programs, &target, dir, moment, jobs, cancel)
                        .await
                        .map(Copy::Dir),
                    None => copy(db, &programs, &target, dir, moment, cancel)
                        .await
                        .map(Copy::File),
                }
            }
            #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
            _ => Err(super::unsupported(&self.database)),
        }
    }

    /// Gives the verified copy its name, with its fingerprint beside it.
    async fn keep(
        &self,
        root: &Root,
        dir: &Path,
        purpose: Purpose,
        copy: Copy,
        state: &State,
    ) -> Result<(String, Snapshot), StepError> {
        let database = self
            .database
            .identity()
            .await
            .map_err(|error| error.into_step_error("can't tell which database it is"))?;
        let (kind, backend) = match copy {
            Copy::Path(_) => ("db", "sqlite"),
            Copy::File(_) => ("dump", "postgres"),
            Copy::Dir(_) => ("dir", "postgres"),
        };
        let path = copy.path();
        let sha256 = tokio::task::spawn_blocking(move || checksum::of_copy(&path))
            .await
            .map_err(|error| StepError::caused("can't read the backup", &error))?
            .map_err(|error| StepError::caused("can't read the backup", &error))?;
        let id = directory::free_id(dir, now());
        let target = dir.join(directory::file_name(purpose, &id, kind));
        let failed = |error: std::io::Error| {
            StepError::caused(format!("can't write {}", target.display()), &error)
        };
        copy.keep(&target).map_err(failed)?;
        let bytes = checksum::bytes_of_copy(&target).map_err(failed)?;
        let name = |kind: &str| format!("{BACKUPS}/{}", directory::file_name(purpose, &id, kind));
        let definitions = name("definitions.json");
        write_json(root, &definitions, state.catalog.objects())?;
        let beside = name("fingerprint.json");
        let text = write_json(root, &beside, &state.fingerprint)?;
        let snapshot = Snapshot {
            file: name(kind),
            backend: backend.to_owned(),
            database,
            sha256,
            bytes,
            fingerprint: beside,
            fingerprint_sha256: atomic::sha256(&text),
            definitions: Some(definitions),
        };
        Ok((id, snapshot))
    }
}

/// What the names of files' copies say. What a safety copy holds is of no certain version, and
/// must not be taken for the config of the one that was gone back to.
fn label(wanted: &Wanted<'_>) -> String {
    match wanted.purpose {
        Purpose::GoBack => wanted.version.to_string(),
        Purpose::Safety => format!("before_{}", wanted.version),
    }
}

/// A moment that PostgreSQL keeps readable.
#[cfg(feature = "postgres")]
type Moment<'a> = Option<&'a crate::backup::postgres::Moment>;
/// Nothing: SQLite's copy is of one moment by itself.
#[cfg(not(feature = "postgres"))]
type Moment<'a> = Option<&'a ()>;

/// The point beside its copy, so that it is known even when the history is lost.
fn write_beside(root: &Root, point: &RollbackPoint) -> Result<(), StepError> {
    let name = directory::file_name(point.purpose, &point.id, "point.json");
    write_json(root, &format!("{BACKUPS}/{name}"), point).map(drop)
}

/// Writes a value as a file of its own; its bytes.
fn write_json(
    root: &Root,
    path: &str,
    value: &impl serde::Serialize,
) -> Result<Vec<u8>, StepError> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|error| StepError::caused(format!("can't write {path}"), &error))?;
    text.push(b'\n');
    atomic::write_atomic_as(root, Path::new(path), &text, NewFile::Private)
        .map_err(FileError::into_step_error)?;
    Ok(text)
}

#[expect(clippy::needless_pass_by_value, reason = "it is the end of an error")]
fn ordered(error: std::io::Error) -> StepError {
    StepError::failed(error.to_string())
}

/// A verified copy without a name; gone when dropped.
enum Copy {
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "for SQLite only"))]
    Path(TempPath),
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "for PostgreSQL only")
    )]
    File(NamedTempFile),
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "for PostgreSQL only")
    )]
    Dir(TempDir),
}

impl Copy {
    fn path(&self) -> PathBuf {
        match self {
            Self::Path(path) => path.to_path_buf(),
            Self::File(file) => file.path().to_owned(),
            Self::Dir(dir) => dir.path().to_owned(),
        }
    }

    fn keep(self, target: &Path) -> std::io::Result<()> {
        match self {
            Self::File(file) => directory::keep(file, target),
            Self::Dir(dir) => directory::keep_dir(dir, target),
            Self::Path(path) => {
                let file = fs::File::open(&path)?;
                directory::keep(NamedTempFile::from_parts(file, path), target)
            }
        }
    }
}

/// A copy can only be compared with what was there if nothing moved meanwhile.
fn refuse_writers(before: &Fingerprint, after: &Fingerprint) -> Result<(), StepError> {
    let changed = before.differences(after);
    if changed.is_empty() {
        return Ok(());
    }
    let mut error = StepError::failed("somebody wrote to the database while it was copied")
        .hint("stop every program that writes to it, then try again; a plan that may run beside others says \
               `downtime_required: false`");
    error.causes = changed.into_iter().take(5).collect();
    Err(error)
}
