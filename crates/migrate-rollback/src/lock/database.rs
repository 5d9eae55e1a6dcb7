//! The lock on the database, by the means that each database has.

use migrate_core::MigrationError;
use migrate_schema::db::Database;
use tokio::time::Instant;

use super::Holder;
#[cfg(feature = "sqlite")]
use super::directory::DirectoryLock;
#[cfg(feature = "postgres")]
use super::session::SessionLock;

/// The held lock; let go when dropped.
pub(super) enum DatabaseLock {
    #[cfg(feature = "postgres")]
    Session(Box<SessionLock>),
    #[cfg(feature = "sqlite")]
    Directory { _lock: Option<DirectoryLock> },
}

impl DatabaseLock {
    #[cfg_attr(
        not(feature = "postgres"),
        expect(
            unused_variables,
            reason = "a directory's lock has no place for a name"
        )
    )]
    pub(super) async fn acquire(
        database: &Database,
        me: &Holder,
        until: Instant,
    ) -> Result<Self, MigrationError> {
        match database {
            #[cfg(feature = "postgres")]
            Database::Postgres(db) => {
                let options = db.pool().connect_options();
                let lock = SessionLock::acquire(&options, me, until).await?;
                Ok(Self::Session(Box::new(lock)))
            }
            #[cfg(feature = "sqlite")]
            Database::Sqlite(db) => {
                let options = db.pool().connect_options();
                let lock = DirectoryLock::acquire(options.get_filename(), until).await?;
                Ok(Self::Directory { _lock: lock })
            }
            #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
            _ => Err(MigrationError::Unchanged(
                database
                    .unsupported()
                    .into_step_error("can't lock the database"),
            )),
        }
    }

    /// Lets go and waits until the database knows.
    pub(super) async fn release(self) {
        match self {
            #[cfg(feature = "postgres")]
            Self::Session(lock) => lock.release().await,
            #[cfg(feature = "sqlite")]
            Self::Directory { .. } => {}
        }
    }
}
