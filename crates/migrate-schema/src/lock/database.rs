//! The lock on the database, by the means that each database has.

use crate::db::Database;
use migrate_core::MigrationError;
use tokio::time::Instant;

use super::Holder;
#[cfg(feature = "sqlite")]
use super::directory::DirectoryLock;
#[cfg(feature = "postgres")]
use super::session::SessionLock;

/// The held lock; let go when dropped.
pub struct DatabaseLock(Held);

enum Held {
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
    /// Takes the lock, waiting for another run until a moment.
    ///
    /// # Errors
    /// [`MigrationError::Locked`] naming the holder.
    pub async fn acquire(
        database: &Database,
        me: &Holder,
        until: Instant,
    ) -> Result<Self, MigrationError> {
        match database {
            #[cfg(feature = "postgres")]
            Database::Postgres(db) => {
                let options = db.pool().connect_options();
                let lock = SessionLock::acquire(&options, me, until).await?;
                Ok(Self(Held::Session(Box::new(lock))))
            }
            #[cfg(feature = "sqlite")]
            Database::Sqlite(db) => {
                let options = db.pool().connect_options();
                let lock = DirectoryLock::acquire(options.get_filename(), until).await?;
                Ok(Self(Held::Directory { _lock: lock }))
            }
        }
    }

    /// Lets go and waits until the database knows.
    pub async fn release(self) {
        match self.0 {
            #[cfg(feature = "postgres")]
            Held::Session(lock) => lock.release().await,
            #[cfg(feature = "sqlite")]
            Held::Directory { .. } => {}
        }
    }
}
