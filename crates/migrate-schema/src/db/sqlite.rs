//! The SQLite side of the handle.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection, Row, SqlSafeStr, SqliteConnection, SqlitePool,
    Transaction, TypeInfo, ValueRef,
};

use super::result_shape::shape;
use super::{Backend, ConnectOptions, CreateMode, DatabaseUrl, DbError, DbErrorKind, Shared};

/// How long SQLite itself waits for another writer before it says busy.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many instructions of SQLite's machine pass between two looks at the cancel flag.
const PROGRESS_OPS: i32 = 2_000;

/// How many `cancellable` calls want what runs to end. Connections watch it.
pub(super) type StopFlag = Arc<AtomicUsize>;

/// A SQLite database.
#[derive(Clone)]
pub struct Sqlite {
    pool: SqlitePool,
    stop: StopFlag,
    shared: Arc<Shared>,
}

impl Sqlite {
    pub(super) async fn connect(
        url: &DatabaseUrl,
        options: &ConnectOptions,
    ) -> Result<Self, DbError> {
        if let Some(path) = url.sqlite_path() {
            check_file(&path, options.create)?;
        }
        let this = Self::unconnected(url, options);
        this.prove().await.map_err(|error| explain(error, url))?;
        Ok(this)
    }

    pub(super) fn unconnected(url: &DatabaseUrl, options: &ConnectOptions) -> Self {
        let file = url.sqlite_path();
        let stop = StopFlag::default();
        let how = SqliteConnectOptions::new()
            .filename(file.as_deref().unwrap_or_else(|| ":memory:".as_ref()))
            .create_if_missing(options.create == CreateMode::Create || file.is_none())
            .busy_timeout(BUSY_TIMEOUT);
        let flag = stop.clone();
        let pool = SqlitePoolOptions::new()
            // Each connection to `:memory:` would be a database of its own.
            .max_connections(if file.is_some() {
                options.max_connections.max(1)
            } else {
                1
            })
            .max_lifetime(file.is_some().then_some(Duration::from_mins(30)))
            .idle_timeout(file.is_some().then_some(Duration::from_mins(10)))
            .after_connect(move |connection, _| {
                let flag = flag.clone();
                Box::pin(async move { watch(connection, &flag).await })
            })
            .after_release(|connection, _| Box::pin(async move { is_clean(connection).await }))
            .connect_lazy_with(how);
        Self {
            pool,
            stop,
            shared: Shared::new(Some(url.clone())),
        }
    }

    pub(super) fn from_pool(pool: SqlitePool) -> Self {
        Self {
            pool,
            stop: StopFlag::default(),
            shared: Shared::new(None),
        }
    }

    /// Reads the file's head, which opening alone does not.
    async fn prove(&self) -> Result<(), DbError> {
        let mut connection = self.pool.acquire().await?;
        sqlx::query("select count(*) from sqlite_master")
            .execute(&mut *connection)
            .await?;
        Ok(())
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn stop_flag(&self) -> &StopFlag {
        &self.stop
    }

    /// The pool. Transactions of a run are begun by [`Sqlite::begin`] instead; on an embedder's
    /// pool, connections for long statements come from [`Sqlite::acquire`].
    pub fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// A connection that is outside any transaction and that cancellation reaches.
    pub async fn acquire(&self) -> Result<PoolConnection<sqlx::Sqlite>, DbError> {
        loop {
            let mut connection = self.pool.acquire().await?;
            if !is_clean(&mut connection).await? {
                connection.close_on_drop();
                continue;
            }
            if self.shared.url.is_none() {
                watch(&mut connection, &self.stop).await?;
            }
            return Ok(connection);
        }
    }

    /// Begins a transaction that holds the write lock (`BEGIN IMMEDIATE`) and checks the fence in it.
    ///
    /// # Errors
    /// [`DbErrorKind::Lock`] if another writer keeps the lock for five seconds;
    /// [`DbErrorKind::FenceLost`] if another run has taken the database over.
    pub async fn begin(&self) -> Result<Transaction<'static, sqlx::Sqlite>, DbError> {
        let connection = self.acquire().await?;
        let mut tx = Transaction::begin(connection, Some("BEGIN IMMEDIATE".into_sql_str())).await?;
        self.settle(&mut tx).await?;
        Ok(tx)
    }

    /// Begins the same on a connection that the caller holds (for pragmas round a transaction).
    pub(crate) async fn begin_on<'c>(
        &self,
        connection: &'c mut SqliteConnection,
    ) -> Result<Transaction<'c, sqlx::Sqlite>, DbError> {
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        self.settle(&mut tx).await?;
        Ok(tx)
    }

    /// Checks the fence, after making the connection see what others changed in the schema:
    /// an ALTER TABLE that is compiled with an outdated one fails instead of looking again.
    async fn settle(&self, connection: &mut SqliteConnection) -> Result<(), DbError> {
        sqlx::query("select 1 from sqlite_master limit 1")
            .execute(&mut *connection)
            .await?;
        let Some(fence) = self.shared.fence() else {
            return Ok(());
        };
        let there: Option<i64> = sqlx::query_scalar(
            "select 1 from sqlite_master where type = 'table' and name = '_etlrs_fence'",
        )
        .fetch_optional(&mut *connection)
        .await?;
        let found = match there {
            None => None,
            Some(_) => {
                sqlx::query_as("select epoch, run from _etlrs_fence where id = 1")
                    .fetch_optional(connection)
                    .await?
            }
        };
        fence.check(found)
    }

    pub(super) async fn identity(&self) -> Result<String, DbError> {
        let mut connection = self.acquire().await?;
        let file: Option<String> =
            sqlx::query_scalar("select file from pragma_database_list where name = 'main'")
                .fetch_one(&mut *connection)
                .await?;
        match file.filter(|file| !file.is_empty()) {
            None => Ok("a database in memory".to_owned()),
            Some(file) => file_identity(&file),
        }
    }

    pub(super) async fn server_version(&self) -> Result<String, DbError> {
        let mut connection = self.acquire().await?;
        Ok(sqlx::query_scalar("select sqlite_version()")
            .fetch_one(&mut *connection)
            .await?)
    }

    pub(super) async fn query_json(&self, sql: &str) -> Result<Value, DbError> {
        let query = crate::script::one_query(Backend::Sqlite, sql)?;
        let mut reader = Reader(Some(self.acquire().await?));
        let connection = reader.connection();
        sqlx::query("pragma query_only = on")
            .execute(&mut *connection)
            .await?;
        let rows = sqlx::query(AssertSqlSafe(query))
            .persistent(false)
            .fetch_all(&mut *connection)
            .await;
        sqlx::query("pragma query_only = off")
            .execute(&mut *connection)
            .await?;
        reader.done();
        let rows = rows?
            .iter()
            .map(|row| (0..row.len()).map(|at| json_value(row, at)).collect())
            .collect::<Result<Vec<Vec<Value>>, DbError>>()?;
        Ok(shape(rows))
    }

    pub(super) async fn execute(&self, sql: &str) -> Result<u64, DbError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }
}

/// A connection under `query_only`: one that is dropped before the pragma is back is closed.
struct Reader(Option<PoolConnection<sqlx::Sqlite>>);

impl Reader {
    fn connection(&mut self) -> &mut SqliteConnection {
        self.0.as_mut().expect("it is taken only by `done`")
    }

    fn done(&mut self) {
        self.0 = None;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

/// Lets a connection's statements end when the flag is raised.
async fn watch(connection: &mut SqliteConnection, stop: &StopFlag) -> Result<(), sqlx::Error> {
    let flag = stop.clone();
    let mut handle = connection.lock_handle().await?;
    handle.set_progress_handler(PROGRESS_OPS, move || flag.load(Ordering::Relaxed) == 0);
    Ok(())
}

/// Whether a connection may be used again. SQLite itself rolls a transaction back on some
/// errors (interrupt, disk full), sqlx then still counts it as open, and statements meant for
/// a next transaction would run outside of one.
async fn is_clean(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

fn check_file(path: &std::path::Path, create: CreateMode) -> Result<(), DbError> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(DbError::new(
            DbErrorKind::NotADatabase,
            format!("{shown} is a folder, not a SQLite database"),
        )
        .hint("name the database's file in the URL")),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match create {
            CreateMode::Create => Ok(()),
            CreateMode::MustExist => Err(DbError::new(
                DbErrorKind::Missing,
                format!("there is no file {shown}"),
            )
            .hint("check the path in the database URL; a relative one is taken from the deployment's root")),
        },
        Err(error) => Err(DbError::new(
            DbErrorKind::Unreachable,
            format!("{shown} can't be looked at: {error}"),
        )
        .hint("check the rights on the file and its folders")),
    }
}

/// Says for the first connection what failed and what to do.
fn explain(mut error: DbError, url: &DatabaseUrl) -> DbError {
    let hint = match error.kind {
        DbErrorKind::NotADatabase => "name a SQLite database in the URL",
        DbErrorKind::Missing => "check the path, and the rights on the file and its folder",
        DbErrorKind::Lock => "another program holds the database; end it or try again",
        _ => "check the file with `sqlite3 FILE 'pragma integrity_check'`",
    };
    error.message = format!("can't use {url}: {}", error.message);
    error.hint.get_or_insert_with(|| hint.to_owned());
    error
}

/// Whether nobody else is in a transaction on the file: an exclusive one was to be had.
/// Nothing is written.
///
/// # Errors
/// The file can't be opened or read.
pub async fn is_free(database: &Sqlite) -> Result<bool, DbError> {
    let options = database.pool.connect_options();
    let mut connection = (*options)
        .clone()
        .busy_timeout(Duration::from_millis(500))
        .connect()
        .await?;
    let taken = sqlx::raw_sql("BEGIN EXCLUSIVE; ROLLBACK")
        .execute(&mut connection)
        .await
        .map_err(DbError::from);
    connection.close().await?;
    match taken {
        Ok(_) => Ok(true),
        Err(error) if error.kind == DbErrorKind::Lock => Ok(false),
        Err(error) => Err(error),
    }
}

fn file_identity(file: &str) -> Result<String, DbError> {
    use std::os::unix::fs::MetadataExt;

    let unreadable = |error: std::io::Error| {
        DbError::new(
            DbErrorKind::Unreachable,
            format!("{file} can't be looked at: {error}"),
        )
    };
    let path = std::fs::canonicalize(file).map_err(unreadable)?;
    let found = std::fs::metadata(&path).map_err(unreadable)?;
    Ok(format!(
        "{} (device {}, inode {})",
        path.display(),
        found.dev(),
        found.ino()
    ))
}

/// A value by its storage class, whatever the column's declared type says.
fn json_value(row: &SqliteRow, at: usize) -> Result<Value, DbError> {
    let raw = row.try_get_raw(at)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let class = raw.type_info().name().to_owned();
    Ok(match class.as_str() {
        "INTEGER" => Value::from(row.try_get_unchecked::<i64, _>(at)?),
        "REAL" => {
            let number = row.try_get_unchecked::<f64, _>(at)?;
            serde_json::Number::from_f64(number)
                .map_or_else(|| Value::from(number.to_string()), Value::Number)
        }
        "TEXT" => {
            let bytes = row.try_get_unchecked::<Vec<u8>, _>(at)?;
            Value::from(String::from_utf8_lossy(&bytes).into_owned())
        }
        _ => {
            let bytes = row.try_get_unchecked::<Vec<u8>, _>(at)?;
            let mut text = "\\x".to_owned();
            for byte in bytes {
                let _ = write!(text, "{byte:02x}");
            }
            Value::from(text)
        }
    })
}
