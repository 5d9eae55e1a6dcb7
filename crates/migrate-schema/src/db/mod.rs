//! One handle for both databases.

#[cfg(feature = "postgres")]
mod activity;
mod cancel;
mod connect;
mod error;
mod fence;
#[cfg(feature = "postgres")]
mod names;
mod openers;
#[cfg(feature = "postgres")]
mod postgres;
mod result_shape;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "postgres")]
mod tls;
mod url;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use crate::quote::TableName;

#[cfg(feature = "postgres")]
pub use activity::shown_query;
pub use connect::{ConnectOptions, CreateMode};
pub use error::{DbError, DbErrorKind};
pub use fence::Fence;
#[cfg(feature = "postgres")]
pub(crate) use names::ScriptNames;
#[cfg(feature = "postgres")]
pub use names::{pin, split_path};
pub use openers::openers;
#[cfg(feature = "postgres")]
pub(crate) use postgres::FENCE_KEY;
#[cfg(feature = "postgres")]
pub use postgres::Postgres;
#[cfg(feature = "sqlite")]
pub use sqlite::{Sqlite, is_free};
pub use url::{DatabaseUrl, UrlError};

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// PostgreSQL 15 or later.
    Postgres,
    /// SQLite 3.
    Sqlite,
}

impl Backend {
    /// What stands before `.sql` in the name of a script for this database only.
    pub fn file_suffix(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "PostgreSQL",
            Self::Sqlite => "SQLite",
        })
    }
}

fn unsupported(backend: Backend) -> DbError {
    DbError::new(
        DbErrorKind::Other,
        format!("this program was built without support for {backend}"),
    )
}

/// A database that the tool works on. Clones share the pool, the fence and the cancellation.
#[derive(Clone)]
pub enum Database {
    /// PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(Postgres),
    /// SQLite.
    #[cfg(feature = "sqlite")]
    Sqlite(Sqlite),
}

/// Where a handle came from, and the fence that its transactions check.
#[derive(Debug)]
struct Shared {
    url: Option<DatabaseUrl>,
    fence: RwLock<Option<Fence>>,
    /// Who of those that share the handle may take its database's lock.
    turn: tokio::sync::Mutex<()>,
}

impl Shared {
    fn new(url: Option<DatabaseUrl>) -> Arc<Self> {
        Arc::new(Self {
            url,
            fence: RwLock::new(None),
            turn: tokio::sync::Mutex::new(()),
        })
    }

    fn fence(&self) -> Option<Fence> {
        self.fence
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_fence(&self, fence: Option<Fence>) {
        *self.fence.write().unwrap_or_else(PoisonError::into_inner) = fence;
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("backend", &self.backend())
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

impl Database {
    /// A handle that connects when it is first used: for what only describes. A wrong host or a
    /// missing file shows then.
    ///
    /// # Errors
    /// The URL can't be used at all.
    pub fn unconnected(url: &DatabaseUrl, options: &ConnectOptions) -> Result<Self, DbError> {
        match url.backend() {
            #[cfg(feature = "postgres")]
            Backend::Postgres => Postgres::unconnected(url, options).map(Self::Postgres),
            #[cfg(feature = "sqlite")]
            Backend::Sqlite => Ok(Self::Sqlite(Sqlite::unconnected(url, options))),
            #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
            other => Err(unsupported(other)),
        }
    }

    /// Connects, and proves by a first query that it is a database of a version that is supported.
    ///
    /// # Errors
    /// One clear error each for: no server, wrong password, no such database, no such file,
    /// not a database, too old.
    pub async fn connect(url: &DatabaseUrl, options: &ConnectOptions) -> Result<Self, DbError> {
        match url.backend() {
            #[cfg(feature = "postgres")]
            Backend::Postgres => Postgres::connect(url, options).await.map(Self::Postgres),
            #[cfg(feature = "sqlite")]
            Backend::Sqlite => Sqlite::connect(url, options).await.map(Self::Sqlite),
            #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
            other => Err(unsupported(other)),
        }
    }

    /// Takes an embedder's pool. A second pool with the same options is opened lazily, so that
    /// the sessions of this handle can be told apart from others and ended on cancellation;
    /// the pool given is neither used nor closed. Must be called inside a tokio runtime.
    #[cfg(feature = "postgres")]
    #[expect(clippy::needless_pass_by_value, reason = "a pool is a handle")]
    pub fn from_pg_pool(pool: sqlx::PgPool) -> Self {
        Self::Postgres(Postgres::from_pool(&pool))
    }

    /// Takes an embedder's pool and works through it. Connections that this handle uses get a
    /// progress handler (for cancellation), which replaces one that the embedder may have set.
    #[cfg(feature = "sqlite")]
    pub fn from_sqlite_pool(pool: sqlx::SqlitePool) -> Self {
        Self::Sqlite(Sqlite::from_pool(pool))
    }

    /// Which database it is.
    pub fn backend(&self) -> Backend {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Backend::Postgres,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Backend::Sqlite,
        }
    }

    /// What a crate says of this database that was built without it, when this one was built
    /// with it: features add up over a whole program.
    pub fn unsupported(&self) -> DbError {
        unsupported(self.backend())
    }

    fn shared(&self) -> &Shared {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(db) => db.shared(),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(db) => db.shared(),
        }
    }

    /// The URL it was opened with; none for an embedder's pool.
    pub fn url(&self) -> Option<&DatabaseUrl> {
        self.shared().url.as_ref()
    }

    /// A name of the very database that survives a restart and a restore, without secrets:
    /// host, database and system identifier; or path, device and inode.
    pub async fn identity(&self) -> Result<String, DbError> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(db) => db.identity().await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(db) => db.identity().await,
        }
    }

    /// The database's own version, such as `15.6` or `3.51.3`.
    pub async fn server_version(&self) -> Result<String, DbError> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(db) => db.server_version().await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(db) => db.server_version().await,
        }
    }

    /// Runs one read-only query: a scalar for one row of one column, an array for one row of
    /// more, an array of arrays for several rows, an empty array for none. Columns keep their
    /// order and may share a name. A query that would write is an error and writes nothing.
    ///
    /// On PostgreSQL names mean what they mean to the user: it is for queries that the user wrote.
    pub async fn query_json(&self, sql: &str) -> Result<Value, DbError> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(db) => db.query_json(sql, postgres::Names::Users).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(db) => db.query_json(sql).await,
        }
    }

    /// The same for a query of ours: on PostgreSQL names mean the system's, and tables of the user
    /// need their schema ([`Postgres::resolve`]).
    ///
    /// # Errors
    /// The database's.
    pub async fn query_ours(&self, sql: &str) -> Result<Value, DbError> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(db) => db.query_json(sql, postgres::Names::Ours).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(db) => db.query_json(sql).await,
        }
    }

    /// A table's name as the catalog has it, and as a query of ours must say it: on PostgreSQL with
    /// the schema in which the user finds it, on SQLite in the letters that it was made with. As it
    /// is where there is no such table.
    ///
    /// # Errors
    /// The database's.
    pub async fn resolve(&self, table: &TableName) -> Result<TableName, DbError> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(db) => db.resolve(table).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => {
                let main = |schema: &str| schema.eq_ignore_ascii_case("main");
                if !table.schema().is_none_or(main) {
                    return Ok(table.clone());
                }
                let find = format!(
                    "select max(name) from sqlite_master where type in ('table', 'view') \
                     and name = {} collate nocase",
                    crate::quote::literal(table.table())
                );
                let found = self.query_ours(&find).await?;
                Ok(TableName::new(
                    None,
                    found.as_str().unwrap_or(table.table()),
                ))
            }
        }
    }

    /// Runs one statement of the user's in a transaction of its own that checks the fence. Returns the
    /// rows affected.
    pub async fn execute(&self, sql: &str) -> Result<u64, DbError> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(db) => db.execute(sql, postgres::Names::Users).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(db) => db.execute(sql).await,
        }
    }

    /// The same for a statement of ours, as [`Self::query_ours`].
    ///
    /// # Errors
    /// The database's.
    pub async fn execute_ours(&self, sql: &str) -> Result<u64, DbError> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(db) => db.execute(sql, postgres::Names::Ours).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(db) => db.execute(sql).await,
        }
    }

    /// Waits until nobody else who shares this handle takes its database's lock.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.shared().turn.lock().await
    }

    /// Sets what every transaction begun from now on checks; shared by all clones.
    pub fn set_fence(&self, fence: Option<Fence>) {
        self.shared().set_fence(fence);
    }

    /// What transactions check now.
    pub fn fence(&self) -> Option<Fence> {
        self.shared().fence()
    }

    /// Closes the pool, waiting for connections that are in use.
    pub async fn close(&self) {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(db) => db.pool().close().await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(db) => db.pool().close().await,
        }
    }
}
