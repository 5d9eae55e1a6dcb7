//! The PostgreSQL side of the handle.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection, PgConnection, PgPool, SqlSafeStr, Transaction,
};

use super::fence::lost;
use super::names::{PIN, note_users_path, pin};
use super::result_shape::{object_values, shape};
use super::{ConnectOptions, DatabaseUrl, DbError, DbErrorKind, Fence, Shared, tls};

/// The oldest server that is supported, as `server_version_num` says it.
const OLDEST: i32 = 150_000;

/// How long a transaction waits for somebody who is raising the fence.
const FENCE_WAIT: Duration = Duration::from_secs(2);

/// How long a caller waits for a free connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_mins(1);

/// The key of the advisory lock that holders of the fence share and its raiser takes alone.
/// The letters `etlrsfnc`.
pub(crate) const FENCE_KEY: i64 = 0x6574_6c72_7366_6e63;

/// A statement whose client was killed ends by itself, instead of going on with its locks.
const END_WITH_US: &str = "set client_connection_check_interval = '2s'";

/// Whose names a query is resolved by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// The system's: the query is ours.
    Ours,
    /// Those of the user's sessions: the query is the user's.
    Users,
}

/// A PostgreSQL database.
#[derive(Clone)]
pub struct Postgres {
    pool: PgPool,
    /// The search path that the database gives its user, as the first session had it.
    pub(super) users_path: Arc<OnceLock<String>>,
    /// Whether the schema of our objects was found to be ours.
    guarded: Arc<OnceLock<()>>,
    /// The `application_name` of every connection of this handle, and of no other.
    session: Arc<str>,
    /// How to open a connection beside the pool.
    beside: Arc<PgConnectOptions>,
    shared: Arc<Shared>,
}

/// Time limits of the role or the database are made for an application's short statements; a
/// step has its own, and its undo must not die of them. What the URL asks for stays.
fn unlimited(wanted: &str) -> String {
    let names = ["statement_timeout", "idle_in_transaction_session_timeout"];
    let ours = names.iter().filter(|name| !wanted.contains(**name));
    let settings: Vec<String> = ours.map(|name| format!("set {name} = 0")).collect();
    settings.join("; ")
}

impl Postgres {
    pub(super) async fn connect(
        url: &DatabaseUrl,
        options: &ConnectOptions,
    ) -> Result<Self, DbError> {
        let this = Self::unconnected(url, options)?;
        let limit = url.connect_timeout().unwrap_or(options.connect_timeout);
        let first = tokio::time::timeout(limit, Box::pin(first_connection(&this.beside)))
            .await
            .unwrap_or_else(|_| {
                Err(DbError::new(
                    DbErrorKind::Unreachable,
                    format!("no answer within {} s", limit.as_secs()),
                ))
            });
        first.map_err(|error| explain(error, url))?;
        Ok(this)
    }

    pub(super) fn unconnected(
        url: &DatabaseUrl,
        options: &ConnectOptions,
    ) -> Result<Self, DbError> {
        let base = tls::options(url)?;
        let session = unique_session(&options.application_name);
        let named = base.application_name(&session);
        let wanted = named.get_options().unwrap_or_default().to_owned();
        let users_path = Arc::new(OnceLock::new());
        let path = users_path.clone();
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections.max(1))
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(move |connection, _| {
                let unlimited = unlimited(&wanted);
                let path = path.clone();
                Box::pin(async move {
                    note_users_path(&mut *connection, &path).await?;
                    pin(&mut *connection).await?;
                    sqlx::raw_sql(sqlx::AssertSqlSafe(unlimited))
                        .execute(&mut *connection)
                        .await?;
                    // Servers on systems that can't tell a closed connection refuse it.
                    drop(sqlx::raw_sql(END_WITH_US).execute(connection).await);
                    Ok(())
                })
            })
            .connect_lazy_with(named.clone());
        Ok(Self {
            pool,
            users_path,
            guarded: Arc::default(),
            session: session.into(),
            beside: Arc::new(named),
            shared: Shared::new(Some(url.clone())),
        })
    }

    pub(super) fn from_pool(pool: &PgPool) -> Self {
        let base = (*pool.connect_options()).clone();
        let name = base.get_application_name().unwrap_or("etlrs-migrate");
        let session = unique_session(name);
        let named = base.application_name(&session);
        Self {
            pool: pool.options().clone().connect_lazy_with(named.clone()),
            users_path: Arc::default(),
            guarded: Arc::default(),
            session: session.into(),
            beside: Arc::new(named),
            shared: Shared::new(None),
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The pool. What runs on a connection of it resolves names as the last user left them: SQL of
    /// ours runs on [`Postgres::acquire`] and in the transactions begun here instead.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(crate) fn is_guarded(&self) -> bool {
        self.guarded.get().is_some()
    }

    pub(crate) fn set_guarded(&self) {
        self.guarded.get_or_init(|| ());
    }

    /// Takes a connection of the pool, in which names mean the system's
    /// (`search_path = pg_catalog, pg_temp`) and a policy that would hide rows is an error
    /// (`row_security = off`), whatever was set in it before.
    ///
    /// # Errors
    /// The server can't be reached, or refuses the session.
    pub async fn acquire(&self) -> Result<PoolConnection<sqlx::Postgres>, DbError> {
        // In a box, because everything that asks the database holds this future.
        Box::pin(async {
            let mut connection = self.pool.acquire().await?;
            note_users_path(&mut connection, &self.users_path).await?;
            pin(&mut connection).await?;
            Ok(connection)
        })
        .await
    }

    /// The `application_name` of every connection of this handle, and of no other.
    pub fn session_name(&self) -> &str {
        &self.session
    }

    /// Opens a connection that is not of the pool and that cancellation leaves alone
    /// (for a lock held by a session, or for looking at the other sessions).
    pub async fn connect_beside(&self) -> Result<PgConnection, DbError> {
        let options = (*self.beside).clone();
        let name = format!("{}+", self.session);
        let unlimited = unlimited(options.get_options().unwrap_or_default());
        let mut connection = options.application_name(&name).connect().await?;
        pin(&mut connection).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(unlimited))
            .execute(&mut connection)
            .await?;
        Ok(connection)
    }

    /// Makes a connection of the pool as it was when it was opened, as far as that can be done: what a
    /// script set, made or locked for its session goes, but for settings of its own naming, libraries
    /// and what extensions keep. `false` where it can't be: an embedder's pool may set what is
    /// not known here.
    pub(crate) async fn renew(&self, connection: &mut PgConnection) -> Result<bool, DbError> {
        const CLEAN: &str = "reset session authorization; reset role; reset all; close all; unlisten *; \
             select pg_catalog.pg_advisory_unlock_all(); discard temp; discard sequences";

        if self.shared.url.is_none() {
            return Ok(false);
        }
        let unlimited = unlimited(self.beside.get_options().unwrap_or_default());
        let renewed = format!("{CLEAN}; {PIN}; {unlimited}");
        sqlx::raw_sql(AssertSqlSafe(renewed))
            .execute(&mut *connection)
            .await?;
        drop(sqlx::raw_sql(END_WITH_US).execute(&mut *connection).await);
        // What a script prepared has no other statement that would take it away; sqlx's own stay.
        let prepared: bool =
            sqlx::query_scalar("select exists (select from pg_prepared_statements where from_sql)")
                .fetch_one(connection)
                .await?;
        Ok(!prepared)
    }

    /// Begins a read-only transaction whose every query sees the same state of the database.
    pub async fn begin_snapshot(&self) -> Result<Transaction<'static, sqlx::Postgres>, DbError> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let begin = begin.into_sql_str();
        Ok(Transaction::begin(self.acquire().await?, Some(begin)).await?)
    }

    /// Begins a transaction (read committed) and checks the fence in it.
    ///
    /// # Errors
    /// [`DbErrorKind::FenceLost`] if another run has taken the database over.
    pub async fn begin(&self) -> Result<Transaction<'static, sqlx::Postgres>, DbError> {
        self.begin_on(self.acquire().await?).await
    }

    /// Begins the same on a connection of the pool.
    pub(crate) async fn begin_on(
        &self,
        connection: PoolConnection<sqlx::Postgres>,
    ) -> Result<Transaction<'static, sqlx::Postgres>, DbError> {
        // Read committed, whatever the server's default: the fence's row must be read with a
        // snapshot that is younger than the shared lock.
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED".into_sql_str();
        let mut tx = Transaction::begin(connection, Some(begin)).await?;
        if let Some(fence) = self.shared.fence() {
            check_fence(&mut tx, &fence).await?;
        }
        Ok(tx)
    }

    /// Begins a transaction of another isolation on a connection that goes with its work: the
    /// lock that keeps the fence as it is stays with the session, because the snapshot, which is
    /// the transaction's, must be younger than the lock.
    pub(crate) async fn begin_isolated<'c>(
        &self,
        connection: &'c mut PgConnection,
        begin: &'static str,
    ) -> Result<Transaction<'c, sqlx::Postgres>, DbError> {
        if self.shared.fence().is_some() {
            sqlx::query("select pg_catalog.pg_advisory_lock_shared($1)")
                .bind(FENCE_KEY)
                .execute(&mut *connection)
                .await?;
        }
        let mut tx = connection.begin_with(begin.into_sql_str()).await?;
        if let Some(fence) = self.shared.fence() {
            check_fence(&mut tx, &fence).await?;
        }
        Ok(tx)
    }

    /// Begins the same on a connection that the caller keeps.
    pub(crate) async fn begin_within<'c>(
        &self,
        connection: &'c mut PgConnection,
    ) -> Result<Transaction<'c, sqlx::Postgres>, DbError> {
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED".into_sql_str();
        let mut tx = connection.begin_with(begin).await?;
        if let Some(fence) = self.shared.fence() {
            check_fence(&mut tx, &fence).await?;
        }
        Ok(tx)
    }

    pub(super) async fn identity(&self) -> Result<String, DbError> {
        let name: String = sqlx::query_scalar("select current_database()::text")
            .fetch_one(&mut *self.acquire().await?)
            .await?;
        let options = &self.beside;
        let host = match options.get_socket() {
            Some(path) => path.display().to_string(),
            None => options.get_host().to_owned(),
        };
        let place = format!("{host}:{}/{name}", options.get_port());
        let system: Result<i64, sqlx::Error> =
            sqlx::query_scalar("select system_identifier from pg_control_system()")
                .fetch_one(&mut *self.acquire().await?)
                .await;
        match system {
            // The cluster tells itself apart; its host name can change (a failover, a socket).
            Ok(system) => Ok(format!("{place} (system {})", system.cast_unsigned())),
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => {
                Ok(place)
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn server_version(&self) -> Result<String, DbError> {
        Ok(
            sqlx::query_scalar("select current_setting('server_version')")
                .fetch_one(&mut *self.acquire().await?)
                .await?,
        )
    }

    pub(super) async fn query_json(&self, sql: &str, names: Names) -> Result<Value, DbError> {
        // `row(q.*)`, because a plain `q` would be a column of that name.
        const OPEN: &str = "select pg_catalog.row_to_json(row(q.*))::pg_catalog.text from (";
        let query = crate::script::one_query(crate::db::Backend::Postgres, sql)?;
        let wrapped = format!("{OPEN}{query}\n) q");
        let begin = "BEGIN READ ONLY".into_sql_str();
        let mut tx = Transaction::begin(self.acquire().await?, Some(begin)).await?;
        if names == Names::Users {
            self.as_the_user_after_ours(&mut tx).await?;
        }
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(wrapped))
            .persistent(false)
            .fetch_all(&mut *tx)
            .await
            .map_err(|error| shifted(error.into(), OPEN.len()))?;
        tx.rollback().await?;
        let rows = rows
            .iter()
            .map(|row| object_values(row))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| {
                DbError::new(
                    DbErrorKind::Other,
                    format!("the result is not JSON: {error}"),
                )
            })?;
        Ok(shape(rows))
    }

    pub(super) async fn execute(&self, sql: &str, names: Names) -> Result<u64, DbError> {
        let mut tx = self.begin().await?;
        if names == Names::Users {
            self.as_the_user(&mut tx).await?;
        }
        let done = sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }
}

/// A position inside a wrapped query, as one inside the query.
fn shifted(mut error: DbError, by: usize) -> DbError {
    error.position = error
        .position
        .and_then(|at| at.checked_sub(by))
        .filter(|at| *at > 0);
    error
}

/// `base/0123456789abcdef`: an application name that no other handle has. PostgreSQL keeps 63 bytes.
fn unique_session(base: &str) -> String {
    let mut end = base.len().min(44);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let salt = RandomState::new().hash_one(std::process::id());
    format!("{}/{salt:016x}", &base[..end])
}

/// Connects once outside a pool, which would hide why it fails, and checks the version.
async fn first_connection(options: &PgConnectOptions) -> Result<(), DbError> {
    let mut connection = options.connect().await?;
    pin(&mut connection).await?;
    let version: String = sqlx::query_scalar("select current_setting('server_version_num')")
        .fetch_one(&mut connection)
        .await?;
    let name: String = sqlx::query_scalar("select current_setting('server_version')")
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    if version.parse::<i32>().is_ok_and(|number| number >= OLDEST) {
        return Ok(());
    }
    Err(
        DbError::new(DbErrorKind::Other, format!("PostgreSQL {name} is too old"))
            .hint("PostgreSQL 15 or later is needed"),
    )
}

/// Says for the first connection what failed and what to do.
fn explain(mut error: DbError, url: &DatabaseUrl) -> DbError {
    let (what, hint) = match error.kind {
        DbErrorKind::Unreachable => (
            "can't reach",
            "is the server running, and are host and port right? `@`, `:`, `/`, `#` and `%` in a password are written percent-encoded",
        ),
        DbErrorKind::Auth => (
            "was refused by",
            "check user and password in the URL, and the server's pg_hba.conf",
        ),
        DbErrorKind::Missing => ("no database at", "check the database's name in the URL"),
        _ => ("can't use", "check the URL"),
    };
    error.message = format!("{what} {url}: {}", error.message);
    error.hint.get_or_insert_with(|| hint.to_owned());
    error
}

/// Takes the fence's lock together with other holders and compares the epoch.
async fn check_fence(connection: &mut PgConnection, fence: &Fence) -> Result<(), DbError> {
    let deadline = tokio::time::Instant::now() + FENCE_WAIT;
    loop {
        let got: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock_shared($1)")
            .bind(FENCE_KEY)
            .fetch_one(&mut *connection)
            .await?;
        if got {
            break;
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(lost(format!(
                "another process is taking over from run {}",
                fence.run
            )));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let found = sqlx::query_as::<_, (i64, String)>(
        "select epoch, run from etlrs_migrate.fence where id = 1",
    )
    .fetch_optional(connection)
    .await;
    match found {
        Ok(found) => fence.check(found),
        Err(sqlx::Error::Database(error))
            if matches!(error.code().as_deref(), Some("42P01" | "3F000")) =>
        {
            fence.check(None)
        }
        Err(error) => Err(error.into()),
    }
}
