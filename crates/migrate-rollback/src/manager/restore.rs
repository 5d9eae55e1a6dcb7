//! Putting a point back: refuse what is damaged, restore, compare.

use std::path::Path;

use migrate_config::atomic::{self, FileError, Root};
use migrate_core::{
    Fingerprint, OnDifference, RestoreOrder, RestoreReport, RowsOfOthers, StepError,
};
use migrate_schema::db::{Database, DbError};
use migrate_schema::history::{self, Record};

use super::{RollbackManager, TargetDatabase};
use crate::backup::files::{self, Copies};
use crate::checksum;
use crate::inventory::{BareCopy, Form, Stored};
use crate::others::Own;
use crate::point::{FileCopy, RollbackPoint, Snapshot};
use crate::restore::proof::{Expected, Proof};
use crate::signing::points;

impl RollbackManager {
    /// Looks whether a backup can be restored: its file, its checksums, that it can be read.
    /// Needs no database.
    ///
    /// # Errors
    /// What is wrong with it. Nothing was changed.
    pub async fn check_stored(
        root: &Root,
        stored: &Stored,
        copies: Copies,
    ) -> Result<(), StepError> {
        match stored {
            Stored::Point(point) => check_point(root, point, copies).await.map(drop),
            Stored::Bare(bare) => check_bare(root, bare).await,
        }
    }

    /// Makes the database what a backup holds, compared before the commit where something is
    /// recorded of it. On an error it is as it was. What differs and was accepted.
    pub(crate) async fn replace_database(
        &self,
        stored: &Stored,
        on_difference: OnDifference,
    ) -> Result<Vec<String>, StepError> {
        let root = self.open_root()?;
        self.same_backend(stored.file(), stored.backend())?;
        if let Stored::Point(point) = stored {
            points::check(&root, point, self.signatures)?;
        }
        Self::check_stored(&root, stored, self.copies).await?;
        let (form, expected) = match stored {
            Stored::Point(point) => {
                let snapshot = &point.data_snapshot;
                (form_of(snapshot), Some(read_expected(&root, snapshot)?))
            }
            Stored::Bare(bare) => (bare.form, None),
        };
        let mut proof = Proof {
            expected,
            on_difference,
            ..Proof::default()
        };
        self.restore_database(&root, stored.file(), form, &mut proof)
            .await?;
        Ok(proof.differences)
    }

    /// What follows: puts files back, those of the point and those that only later points hold.
    /// A line for the summary.
    pub(crate) async fn complete(
        &self,
        stored: &Stored,
        later: &[FileCopy],
    ) -> Result<FilesBack, StepError> {
        let root = self.open_root()?;
        match stored {
            Stored::Point(point) => {
                self.history_as_then(point).await?;
                let files = [&point.files[..], later].concat();
                self.put_files_back(&root, &point.data_snapshot.file, &files)
            }
            Stored::Bare(bare) => {
                let back = files::put_back(&root, later, self.copies)?;
                let put = match back.changed {
                    0 => String::new(),
                    changed => format!("; {changed} files put back"),
                };
                Ok(FilesBack {
                    message: format!(
                        "database restored from {} (nothing is recorded to compare it with){put}",
                        bare.file
                    ),
                    without_copy: back.without_copy,
                })
            }
        }
    }

    /// Whether a point is whole and of this database. Nothing is changed.
    pub(super) async fn can_put_back(&self, point: &RollbackPoint) -> Result<(), StepError> {
        self.check_target(&point.data_snapshot).await?;
        let root = self.open_root()?;
        points::check(&root, point, self.signatures)?;
        check_point(&root, point, self.copies).await.map(drop)
    }

    pub(super) async fn put_back(
        &self,
        point: &RollbackPoint,
        order: &RestoreOrder,
    ) -> Result<RestoreReport, StepError> {
        let root = self.open_root()?;
        let snapshot = &point.data_snapshot;
        self.check_target(snapshot).await?;
        let note = points::check(&root, point, self.signatures)?;
        let expected = check_point(&root, point, self.copies).await?;
        let ordered = |error: std::io::Error| StepError::failed(error.to_string());
        migrate_failpoint::hit!("restore.database").map_err(ordered)?;
        let mut proof = Proof {
            expected: Some(expected),
            own: self.own_writes(&order.others).await?,
            on_difference: order.on_difference,
            ..Proof::default()
        };
        self.restore_database(&root, &snapshot.file, form_of(snapshot), &mut proof)
            .await?;
        if let Some(run) = &point.run {
            self.rewind_history(|line| line.run.as_deref() != Some(run.as_str()))
                .await?;
        }
        migrate_failpoint::hit!("restore.files").map_err(ordered)?;
        let done = self.put_files_back(&root, &snapshot.file, &point.files)?;
        let mut differences = proof.differences;
        let without_copy = done.without_copy.iter();
        differences.extend(without_copy.map(|file| format!("file {file}: {STAYS}")));
        Ok(RestoreReport {
            message: match note {
                Some(note) => format!("{}; {note}", done.message),
                None => done.message,
            },
            differences,
            kept: proof.kept.into_iter().map(|change| change.loss).collect(),
        })
    }

    /// What the run wrote itself; none where everything is replaced.
    async fn own_writes(&self, others: &RowsOfOthers) -> Result<Option<Own>, StepError> {
        match others {
            RowsOfOthers::Replace => Ok(None),
            RowsOfOthers::Keep(own) => Own::read(&self.database, own)
                .await
                .map_err(|error| error.into_step_error("can't read what the run wrote")),
        }
    }

    /// The history of migrations is not in a copy: it must say again what it said then.
    async fn rewind_history(&self, kept: impl Fn(&Record) -> bool) -> Result<(), StepError> {
        let done = history::rewind(&self.database, RESTORED, kept).await;
        done.map(drop).map_err(history_stays)
    }

    async fn history_as_then(&self, point: &RollbackPoint) -> Result<(), StepError> {
        if let Some(standing) = &point.schema_history {
            let done = history::set_back(&self.database, RESTORED, standing).await;
            return done.map(drop).map_err(history_stays);
        }
        let made = point.timestamp.format("%Y-%m-%dT%H:%M:%S").to_string();
        self.rewind_history(|line| line.at.get(..19).is_none_or(|at| at <= made.as_str()))
            .await
    }

    fn put_files_back(
        &self,
        root: &Root,
        snapshot: &str,
        files: &[FileCopy],
    ) -> Result<FilesBack, StepError> {
        let back = files::put_back(root, files, self.copies)?;
        Ok(FilesBack {
            message: format!(
                "database restored from {snapshot} and compared, {} of {} files put back",
                back.changed,
                files.len()
            ),
            without_copy: back.without_copy,
        })
    }

    /// The database alone, compared before it commits.
    pub(super) async fn restore_snapshot(
        &self,
        root: &Root,
        snapshot: &Snapshot,
        expected: Expected,
    ) -> Result<(), StepError> {
        let mut proof = Proof {
            expected: Some(expected),
            ..Proof::default()
        };
        self.restore_database(root, &snapshot.file, form_of(snapshot), &mut proof)
            .await
    }

    fn same_backend(&self, file: &str, backend: &str) -> Result<(), StepError> {
        let here = self.database.backend();
        if backend == here.file_suffix() {
            return Ok(());
        }
        Err(StepError::failed(format!(
            "{file} is a copy of another sort of database than {here}"
        )))
    }

    async fn check_target(&self, snapshot: &Snapshot) -> Result<(), StepError> {
        self.same_backend(&snapshot.file, &snapshot.backend)?;
        if self.target == TargetDatabase::Any {
            return Ok(());
        }
        let identity = self
            .database
            .identity()
            .await
            .map_err(|error| error.into_step_error("can't tell which database it is"))?;
        if identity == snapshot.database {
            return Ok(());
        }
        Err(StepError::failed(format!(
            "{} is a copy of {}, and this is {identity}: restoring would replace everything in it",
            snapshot.file, snapshot.database
        ))
        .hint("give the URL of the database that the point was made of"))
    }

    #[cfg_attr(
        not(feature = "postgres"),
        expect(unused_variables, reason = "SQLite has one form")
    )]
    pub(super) async fn restore_database(
        &self,
        root: &Root,
        file: &str,
        form: Form,
        proof: &mut Proof,
    ) -> Result<(), StepError> {
        let copy = root
            .resolve(Path::new(file))
            .map_err(FileError::into_step_error)?;
        let fence = self.database.fence();
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(database) => {
                crate::restore::sqlite::take_encoding(&self.database, &copy).await?;
                crate::restore::sqlite::restore(database, fence, &copy, proof).await
            }
            #[cfg(feature = "postgres")]
            Database::Postgres(database) => {
                use crate::restore::postgres::{Source, restore};
                let programs = self.find_programs(database).await?;
                let state = crate::state_dir::ensure(root.path())
                    .map_err(|error| StepError::caused("can't make the state directory", &error))?;
                let url = self.database.url();
                let target = crate::pg::target::Target::new(database, url, &state)?;
                let source = match form {
                    Form::Sql => Source::Plain(&copy),
                    Form::Archive | Form::Sqlite => Source::Archive(&copy),
                };
                restore(database, fence, (&programs, &target), source, &state, proof).await
            }
            #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
            _ => Err(super::unsupported(&self.database)),
        }
    }
}

fn form_of(snapshot: &Snapshot) -> Form {
    if snapshot.backend == Form::Sqlite.backend() {
        Form::Sqlite
    } else {
        Form::Archive
    }
}

/// What becomes of a file whose copy is gone or damaged, where that was agreed to.
pub(crate) const STAYS: &str = "stays as it is, for its copy is gone or damaged";

/// What is noted in the history of migrations.
const RESTORED: &str = "the database was restored";

fn history_stays(error: DbError) -> StepError {
    error.into_step_error("the history of migrations can't be set back")
}

/// The files after a restore.
#[derive(Debug)]
pub(crate) struct FilesBack {
    /// A line for the summary.
    pub(crate) message: String,
    /// Files whose copies are gone or damaged, and which stay as they are.
    pub(crate) without_copy: Vec<String>,
}

/// Refuses a damaged point; what it was made of.
pub(super) async fn check_point(
    root: &Root,
    point: &RollbackPoint,
    copies: Copies,
) -> Result<Expected, StepError> {
    let snapshot = &point.data_snapshot;
    check_snapshot(root, snapshot).await?;
    files::check_copies(root, &point.files, copies)?;
    read_expected(root, snapshot)
}

/// Refuses a file that is empty or, where that shows, cut off.
pub(super) async fn check_bare(root: &Root, bare: &BareCopy) -> Result<(), StepError> {
    let path = root
        .resolve(Path::new(&bare.file))
        .map_err(FileError::into_step_error)?;
    let bytes = checksum::bytes_of_copy(&path)
        .map_err(|error| StepError::caused(format!("can't read {}", bare.file), &error))?;
    if bytes == 0 {
        return Err(StepError::failed(format!("{} is empty", bare.file))
            .hint("nothing was restored; look for another backup: `etlrs-migrate backup list`"));
    }
    match bare.form {
        #[cfg(feature = "postgres")]
        Form::Sql => {
            let look = move || crate::restore::postgres::plain::look(&path).map(drop);
            tokio::task::spawn_blocking(look)
                .await
                .map_err(|error| StepError::caused("can't read the backup", &error))?
        }
        #[cfg(feature = "sqlite")]
        Form::Sqlite => crate::backup::sqlite::check(&path).await,
        _ => Ok(()),
    }
}

async fn check_snapshot(root: &Root, snapshot: &Snapshot) -> Result<(), StepError> {
    let path = root
        .resolve(Path::new(&snapshot.file))
        .map_err(FileError::into_step_error)?;
    let failed = |error: &(dyn std::error::Error + 'static)| {
        StepError::caused(format!("can't read the backup {}", snapshot.file), error)
            .hint("nothing was restored")
    };
    let sha256 = tokio::task::spawn_blocking(move || checksum::of_copy(&path))
        .await
        .map_err(|error| failed(&error))?
        .map_err(|error| failed(&error))?;
    if sha256 == snapshot.sha256 {
        return Ok(());
    }
    Err(StepError::failed(format!(
        "the backup {} is damaged: its checksum is not the one that was recorded",
        snapshot.file
    ))
    .hint("nothing was restored; look for another copy of the file, or another point"))
}

/// What a point was made of. Its definitions only explain differences: without them these are
/// told by name.
pub(crate) fn read_expected(root: &Root, snapshot: &Snapshot) -> Result<Expected, StepError> {
    let definitions = snapshot.definitions.as_deref().and_then(|file| {
        let bytes = atomic::read(root, Path::new(file)).ok()?;
        serde_json::from_slice(&bytes).ok()
    });
    Ok(Expected {
        fingerprint: read_fingerprint(root, snapshot)?,
        definitions,
    })
}

fn read_fingerprint(root: &Root, snapshot: &Snapshot) -> Result<Fingerprint, StepError> {
    let path = Path::new(&snapshot.fingerprint);
    let bytes = atomic::read(root, path).map_err(FileError::into_step_error)?;
    if atomic::sha256(&bytes) != snapshot.fingerprint_sha256 {
        return Err(StepError::failed(format!(
            "{} was changed since it was written",
            snapshot.fingerprint
        ))
        .hint("nothing was restored"));
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| StepError::caused(format!("{} makes no sense", path.display()), &error))
}
