//! Proving a backup: restored into a scratch database, compared, thrown away.

use migrate_config::atomic::Root;
use migrate_core::StepError;
use migrate_schema::db::{ConnectOptions, Database, DatabaseUrl};

use super::restore::{check_bare, check_point};
use super::{RollbackManager, TargetDatabase};
#[cfg(feature = "sqlite")]
use crate::backup::directory;
use crate::backup::files::Copies;
use crate::inventory::{Form, Stored};
use crate::restore::proof::Proof;
use crate::signing::points;

impl RollbackManager {
    /// Restores a backup into a scratch database, or a scratch file, and compares it with the
    /// fingerprint that was recorded. The deployment's own database is not touched. Returns a
    /// line for people.
    ///
    /// # Errors
    /// The backup is damaged, does not restore, restores to something else, or there can be
    /// no scratch database.
    pub async fn verify_stored(&self, stored: &Stored) -> Result<String, StepError> {
        let root = self.open_root()?;
        let mut note = None;
        match stored {
            Stored::Point(point) => {
                note = points::check(&root, point, self.signatures)?;
                drop(check_point(&root, point, Copies::All).await?);
            }
            Stored::Bare(bare) => check_bare(&root, bare).await?,
        }
        let said = self.restores(&root, stored).await?;
        Ok(match note {
            Some(note) => format!("{said}; {note}"),
            None => said,
        })
    }

    async fn restores(&self, root: &Root, stored: &Stored) -> Result<String, StepError> {
        let sqlite = stored.backend() == Form::Sqlite.backend();
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) if sqlite => {
                let dir = directory::ensure(root.path())?;
                directory::remove_leftovers(&dir, "etlrs_scratch");
                let scratch = directory::temporary_dir(&dir, "etlrs_scratch")
                    .map_err(|error| StepError::caused("can't make a scratch file", &error))?;
                let database =
                    open(&DatabaseUrl::sqlite(scratch.path().join("scratch.db"))).await?;
                let said = self.put_into_scratch(root, stored, &database).await;
                database.close().await;
                said
            }
            #[cfg(feature = "postgres")]
            Database::Postgres(database) if !sqlite => {
                let scratch =
                    crate::pg::scratch::Scratch::create(database, self.database.url()).await?;
                let said = match open(scratch.url()).await {
                    Ok(database) => {
                        let said = self.put_into_scratch(root, stored, &database).await;
                        database.close().await;
                        said
                    }
                    Err(error) => Err(error),
                };
                scratch.drop(database).await?;
                said
            }
            _ => Err(StepError::failed(format!(
                "{} is a copy of another sort of database than {}",
                stored.file(),
                self.database.backend()
            ))),
        }
    }

    async fn put_into_scratch(
        &self,
        root: &Root,
        stored: &Stored,
        scratch: &Database,
    ) -> Result<String, StepError> {
        let mut there = Self::new(root.path(), scratch.clone()).restoring_into(TargetDatabase::Any);
        there.programs.clone_from(&self.programs);
        match stored {
            Stored::Point(point) => {
                let expected = check_point(root, point, Copies::All).await?;
                let compared = expected.fingerprint.0.len();
                there
                    .restore_snapshot(root, &point.data_snapshot, expected)
                    .await?;
                Ok(format!(
                    "{} restores, and is what the database was: {compared} objects and tables compared",
                    stored.file()
                ))
            }
            Stored::Bare(bare) => {
                let mut proof = Proof::default();
                there
                    .restore_database(root, &bare.file, bare.form, &mut proof)
                    .await?;
                Ok(format!(
                    "{} restores; nothing is recorded to compare it with",
                    bare.file
                ))
            }
        }
    }
}

async fn open(url: &DatabaseUrl) -> Result<Database, StepError> {
    let options = ConnectOptions {
        create: migrate_schema::db::CreateMode::Create,
        max_connections: 2,
        ..ConnectOptions::default()
    };
    Database::connect(url, &options)
        .await
        .map_err(|error| error.into_step_error("can't open the scratch database"))
}
