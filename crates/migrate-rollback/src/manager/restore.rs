//! Putting a point back: refuse what is damaged, restore, compare.

use std::path::Path;

use crate::canonical;
use migrate_config::atomic::{self, FileError, Root};
use migrate_core::{Fingerprint, StepError};
use migrate_schema::db::Database;

use super::{RollbackManager, TargetDatabase};
use crate::backup::files;
use crate::checksum;
use crate::point::{RollbackPoint, Snapshot};

/// How many differences are named.
const SHOWN: usize = 10;

impl RollbackManager {
    pub(super) async fn put_back(&self, point: &RollbackPoint) -> Result<String, StepError> {
        let root = self.open_root()?;
        let snapshot = &point.data_snapshot;
        self.check_target(snapshot).await?;
        check_snapshot(&root, snapshot).await?;
        files::check_copies(&root, &point.files)?;
        let wanted = read_fingerprint(&root, snapshot)?;

        self.restore_database(&root, snapshot).await?;
        self.compare(&wanted).await?;
        let changed = files::put_back(&root, &point.files)?;
        Ok(format!(
            "database restored from {} and compared, {changed} of {} files put back",
            snapshot.file,
            point.files.len()
        ))
    }

    async fn check_target(&self, snapshot: &Snapshot) -> Result<(), StepError> {
        let backend = self.database.backend();
        if snapshot.backend != backend.file_suffix() {
            return Err(StepError::failed(format!(
                "{} is a copy of another sort of database than {backend}",
                snapshot.file
            )));
        }
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

    async fn restore_database(&self, root: &Root, snapshot: &Snapshot) -> Result<(), StepError> {
        let copy = root
            .resolve(Path::new(&snapshot.file))
            .map_err(FileError::into_step_error)?;
        let fence = self.database.fence();
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(database) => {
                crate::restore::sqlite::restore(database, fence, &copy).await
            }
            #[cfg(feature = "postgres")]
            Database::Postgres(database) => {
                let programs = self.find_programs(database).await?;
                let state = crate::state_dir::ensure(root.path())
                    .map_err(|error| StepError::caused("can't make the state directory", &error))?;
                let url = self.database.url();
                let target = crate::pg::target::Target::new(database, url, &state)?;
                let restore = crate::restore::postgres::restore;
                restore(database, fence, &programs, &target, &copy, &state).await
            }
        }
    }

    async fn compare(&self, wanted: &Fingerprint) -> Result<(), StepError> {
        let found = canonical::database(&self.database)
            .await
            .map_err(|error| error.into_step_error("can't compare what was restored"))?;
        let differences = wanted.differences(&found);
        if differences.is_empty() {
            return Ok(());
        }
        let mut error = StepError::failed(
            "the database was restored, but is not what it was when the point was made",
        )
        .hint("see who else writes to it; the backup is untouched and can be restored again");
        error.causes = differences.into_iter().take(SHOWN).collect();
        Err(error)
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
    let sha256 = tokio::task::spawn_blocking(move || checksum::of_file(&path))
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
