//! A scratch database: empty, or with a copy of a deployment to rehearse on (a fresh backup,
//! restored into it).
//!
//! So a rehearsal proves by the way that a backup of this deployment restores. The
//! deployment's own database is only read.
//!
//! Crash behaviour: a scratch database says which process made it; the next one drops what a
//! dead process left. A scratch file lies below the copy's root and goes with it.

use std::path::Path;

use migrate_core::{Cancel, StepError, Version};
use migrate_schema::db::{ConnectOptions, CreateMode, Database, DatabaseUrl};

use crate::manager::{RollbackManager, TargetDatabase};
use crate::point::Purpose;

/// The file of a copy on SQLite, below its root.
#[cfg(feature = "sqlite")]
const FILE: &str = "rehearsal.db";

/// A copy of a database, and what has to be removed with it.
pub struct ScratchCopy {
    url: DatabaseUrl,
    #[cfg(feature = "postgres")]
    on_server: Option<(crate::pg::scratch::Scratch, Database)>,
}

impl std::fmt::Debug for ScratchCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScratchCopy")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl ScratchCopy {
    /// Copies `database` for the deployment whose files were copied to `root` already. On
    /// PostgreSQL the scratch database is made on the server of `server` (its own role must
    /// be allowed to), which may be the database's own.
    ///
    /// # Errors
    /// No backup could be made, it does not restore, or there can be no scratch database;
    /// nothing is left of it.
    pub async fn make(
        database: &Database,
        root: &Path,
        version: &Version,
        server: &Database,
        cancel: &Cancel,
    ) -> Result<Self, StepError> {
        let copy = Self::empty(root, server).await?;
        match copy.fill(database, root, version, cancel).await {
            Ok(()) => Ok(copy),
            Err(error) => {
                // What failed says more than a removal that fails too.
                let _ = copy.remove().await;
                Err(error)
            }
        }
    }

    /// An empty one: on PostgreSQL a database on the server of `server`, on SQLite a file
    /// below `root` that is made when it is first opened.
    ///
    /// # Errors
    /// The role may not create databases; the message says which right is missing.
    #[cfg_attr(
        not(feature = "sqlite"),
        expect(unused_variables, reason = "a server has a place of its own")
    )]
    pub async fn empty(root: &Path, server: &Database) -> Result<Self, StepError> {
        match server {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => Ok(Self {
                url: DatabaseUrl::sqlite(root.join(FILE)),
                #[cfg(feature = "postgres")]
                on_server: None,
            }),
            #[cfg(feature = "postgres")]
            Database::Postgres(pg) => {
                let scratch = crate::pg::scratch::Scratch::create(pg, server.url()).await?;
                Ok(Self {
                    url: scratch.url().clone(),
                    on_server: Some((scratch, server.clone())),
                })
            }
            #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
            _ => Err(server
                .unsupported()
                .into_step_error("can't make a scratch database")),
        }
    }

    async fn fill(
        &self,
        database: &Database,
        root: &Path,
        version: &Version,
        cancel: &Cancel,
    ) -> Result<(), StepError> {
        let made = RollbackManager::new(root, database.clone())
            .create_copy(version, Purpose::GoBack, cancel)
            .await?;
        let options = ConnectOptions {
            create: CreateMode::Create,
            ..ConnectOptions::default()
        };
        let scratch = Database::connect(&self.url, &options)
            .await
            .map_err(|error| error.into_step_error("can't open the scratch database"))?;
        let restored = RollbackManager::new(root, scratch.clone())
            .restoring_into(TargetDatabase::Any)
            .restore_point(&made)
            .await;
        scratch.close().await;
        restored.map(drop)
    }

    /// Where the copy is.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Drops the scratch database. A scratch file goes with the copy's root.
    ///
    /// # Errors
    /// It could not be dropped; its name is in the message.
    pub async fn remove(self) -> Result<(), StepError> {
        #[cfg(feature = "postgres")]
        if let Some((scratch, Database::Postgres(pg))) = self.on_server {
            return scratch.drop(&pg).await;
        }
        Ok(())
    }
}
