//! The objects that we keep in the user's database: schema `etlrs_migrate` on PostgreSQL,
//! tables named `_etlrs_…` on SQLite. They are outside fingerprints and restores.

mod guard;

use crate::db::{Backend, Database, DbError, Fence};
use crate::history::{HISTORY, STATEMENTS};
use crate::quote::{TableName, ident, literal};

pub use guard::must_be_ours;
#[cfg(feature = "postgres")]
pub(crate) use guard::must_hold_no_foreign_code;

/// The schema that holds our objects on PostgreSQL.
pub const SCHEMA: &str = "etlrs_migrate";

/// What the names of our tables begin with on SQLite.
pub const SQLITE_PREFIX: &str = "_etlrs_";

/// The table of rows that a copy could not move, which stays until the user drops them.
pub const REJECTS: &str = "rejects";

/// The state of those among them that the user dropped.
pub const UNSEEN: &str = "dropped";

/// One of our tables as SQL, quoted and qualified.
pub fn name(backend: Backend, table: &str) -> String {
    match backend {
        Backend::Postgres => format!("{SCHEMA}.{}", ident(table)),
        Backend::Sqlite => ident(&format!("{SQLITE_PREFIX}{table}")),
    }
}

/// One of our tables as a name.
pub(crate) fn table(backend: Backend, table: &str) -> TableName {
    match backend {
        Backend::Postgres => TableName::new(Some(SCHEMA), table),
        Backend::Sqlite => TableName::new(None, &format!("{SQLITE_PREFIX}{table}")),
    }
}

/// Creates the fence and the markers where they are missing.
pub async fn ensure(db: &Database) -> Result<(), DbError> {
    must_be_ours(db).await?;
    let (backend, now, moment) = match db.backend() {
        Backend::Postgres => (Backend::Postgres, "now()", "timestamptz"),
        Backend::Sqlite => (Backend::Sqlite, "current_timestamp", "text"),
    };
    let tables = [
        format!(
            "create table if not exists {} (id integer primary key check (id = 1), \
             epoch bigint not null, run text not null)",
            name(backend, "fence")
        ),
        format!(
            "create table if not exists {} (run text not null, step text not null, \
             at {moment} not null default {now}, payload text not null, primary key (run, step))",
            name(backend, "markers")
        ),
        format!(
            "create table if not exists {} (run text primary key, at {moment} not null default {now}, \
             header text not null)",
            name(backend, "runs")
        ),
        format!(
            "create table if not exists {} (run text not null, seq bigint not null, \
             at text not null, record text not null, primary key (run, seq))",
            name(backend, "log")
        ),
        format!(
            "create table if not exists {} (run text not null, seq bigint not null, \
             link text not null, signer text not null, signature text not null, primary key (run, seq))",
            name(backend, "seals")
        ),
    ];
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => {
            let mut tx = pg.begin().await?;
            // `IF NOT EXISTS` would need the right to create even where the schema is there.
            let there: bool = sqlx::query_scalar("select to_regnamespace($1) is not null")
                .bind(SCHEMA)
                .fetch_one(&mut *tx)
                .await?;
            if !there {
                sqlx::raw_sql("create schema etlrs_migrate")
                    .execute(&mut *tx)
                    .await
                    .map_err(|error| may_not_create(error.into()))?;
            }
            for table in tables {
                sqlx::raw_sql(sqlx::AssertSqlSafe(table))
                    .execute(&mut *tx)
                    .await?;
            }
            Ok(tx.commit().await?)
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => {
            let mut tx = lite.begin().await?;
            for table in tables {
                sqlx::query(sqlx::AssertSqlSafe(table))
                    .execute(&mut *tx)
                    .await?;
            }
            Ok(tx.commit().await?)
        }
    }
}

#[cfg(feature = "postgres")]
fn may_not_create(error: DbError) -> DbError {
    if error.code.as_deref() == Some("42501") {
        return error.hint(
            "the tool keeps its markers in a schema of its own: \
             GRANT CREATE ON DATABASE … TO the user of the URL, or create schema etlrs_migrate for it",
        );
    }
    error
}

/// Whether the database holds objects of ours.
pub async fn exists(db: &Database) -> Result<bool, DbError> {
    Ok(!tables(db).await?.is_empty())
}

/// The names of our tables, without schema or prefix.
///
/// # Errors
/// The database's, and where one of them is not ours ([`must_be_ours`]).
pub async fn tables(db: &Database) -> Result<Vec<String>, DbError> {
    must_be_ours(db).await?;
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => Ok(sqlx::query_scalar(
            "select c.relname::text from pg_class c \
             where c.relnamespace = to_regnamespace($1) and c.relkind in ('r', 'p') order by 1",
        )
        .bind(SCHEMA)
        .fetch_all(&mut *pg.acquire().await?)
        .await?),
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => {
            let mut connection = lite.acquire().await?;
            Ok(sqlx::query_scalar(
                "select substr(name, length(?1) + 1) from sqlite_master \
                 where type = 'table' and substr(name, 1, length(?1)) = ?1 order by 1",
            )
            .bind(SQLITE_PREFIX)
            .fetch_all(&mut *connection)
            .await?)
        }
    }
}

/// Drops all our objects but a history of the schema that holds something, and rows in quarantine, in one transaction that checks the fence; the handle has no fence
/// afterwards. An object of the user's that depends on ours is an error, not a loss.
pub async fn drop_all(db: &Database) -> Result<(), DbError> {
    let all = tables(db).await?;
    let mut kept = Vec::new();
    if !crate::history::read(db).await?.is_settled() {
        kept.extend([HISTORY, STATEMENTS]);
    }
    if all.iter().any(|table| table == REJECTS) && holds_rejects(db).await? {
        kept.push(REJECTS);
    }
    let drops: Vec<String> = all
        .iter()
        .filter(|table| !kept.contains(&table.as_str()))
        .map(|table| format!("drop table {}", name(db.backend(), table)))
        .collect();
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => {
            if !drops.is_empty() {
                let mut tx = pg.begin().await?;
                for sql in drops {
                    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
                        .execute(&mut *tx)
                        .await?;
                }
                tx.commit().await?;
            }
            if kept.is_empty() {
                sqlx::raw_sql("drop schema if exists etlrs_migrate")
                    .execute(&mut *pg.acquire().await?)
                    .await?;
            }
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => {
            if !drops.is_empty() {
                let mut tx = lite.begin().await?;
                for sql in drops {
                    sqlx::query(sqlx::AssertSqlSafe(sql))
                        .execute(&mut *tx)
                        .await?;
                }
                tx.commit().await?;
            }
        }
    }
    db.set_fence(None);
    Ok(())
}

async fn holds_rejects(db: &Database) -> Result<bool, DbError> {
    let query = format!(
        "select count(*) > 0 from {} where state <> '{UNSEEN}'",
        name(db.backend(), REJECTS)
    );
    Ok(match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => {
            sqlx::query_scalar(sqlx::AssertSqlSafe(query))
                .persistent(false)
                .fetch_one(&mut *pg.acquire().await?)
                .await?
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => {
            let mut connection = lite.acquire().await?;
            sqlx::query_scalar(sqlx::AssertSqlSafe(query))
                .persistent(false)
                .fetch_one(&mut *connection)
                .await?
        }
    })
}

/// Raises the epoch for a run and returns what its transactions must check
/// ([`Database::set_fence`]). Transactions of the holder before it end first; it waits for
/// them by polling, with a deadline.
pub async fn raise_fence(db: &Database, run: &str) -> Result<Fence, DbError> {
    let sql = format!(
        "insert into {fence} (id, epoch, run) values (1, 1, {run}) \
         on conflict (id) do update set epoch = {fence}.epoch + 1, run = excluded.run \
         returning epoch",
        fence = name(db.backend(), "fence"),
        run = literal(run),
    );
    let epoch = match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => raise_postgres(pg, sql).await?,
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => {
            let connection = lite.acquire().await?;
            let begin = sqlx::SqlSafeStr::into_sql_str("BEGIN IMMEDIATE");
            let mut tx = sqlx::Transaction::begin(connection, Some(begin)).await?;
            let epoch: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .fetch_one(&mut *tx)
                .await?;
            tx.commit().await?;
            epoch
        }
    };
    Ok(Fence {
        run: run.to_owned(),
        epoch,
    })
}

#[cfg(feature = "postgres")]
async fn raise_postgres(pg: &crate::db::Postgres, sql: String) -> Result<i64, DbError> {
    use std::time::Duration;

    use crate::db::DbErrorKind;

    /// How long to wait for the transactions of the holder before.
    const RAISE_WAIT: Duration = Duration::from_secs(30);

    let deadline = tokio::time::Instant::now() + RAISE_WAIT;
    loop {
        let mut tx = sqlx::Transaction::begin(pg.acquire().await?, None).await?;
        let alone: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
            .bind(crate::db::FENCE_KEY)
            .fetch_one(&mut *tx)
            .await?;
        if alone {
            let epoch: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .fetch_one(&mut *tx)
                .await?;
            tx.commit().await?;
            return Ok(epoch);
        }
        tx.rollback().await?;
        if tokio::time::Instant::now() >= deadline {
            return Err(DbError::new(
                DbErrorKind::Lock,
                "a transaction of an earlier run is still open in the database",
            )
            .hint("end the other etlrs-migrate, or its sessions (see pg_stat_activity)"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The payload of a step's marker, if its transaction was committed. Read-only.
pub async fn marker(db: &Database, run: &str, step: &str) -> Result<Option<String>, DbError> {
    if !tables(db).await?.iter().any(|table| table == "markers") {
        return Ok(None);
    }
    let sql = format!(
        "select payload from {} where run = {} and step = {}",
        name(db.backend(), "markers"),
        literal(run),
        literal(step)
    );
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .persistent(false)
            .fetch_optional(&mut *pg.acquire().await?)
            .await?),
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => {
            let mut connection = lite.acquire().await?;
            Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .persistent(false)
                .fetch_optional(&mut *connection)
                .await?)
        }
    }
}

/// Markers within an open transaction on PostgreSQL.
#[cfg(feature = "postgres")]
pub mod postgres {
    use sqlx::PgConnection;

    use crate::db::DbError;

    /// Writes (or overwrites) a step's marker.
    pub async fn set_marker(
        tx: &mut PgConnection,
        run: &str,
        step: &str,
        payload: &str,
    ) -> Result<(), DbError> {
        sqlx::query(
            "insert into etlrs_migrate.markers (run, step, payload) values ($1, $2, $3) \
             on conflict (run, step) do update set payload = excluded.payload, at = now()",
        )
        .bind(run)
        .bind(step)
        .bind(payload)
        .execute(tx)
        .await?;
        Ok(())
    }

    /// Removes a step's marker; returns whether it was there.
    pub async fn clear_marker(
        tx: &mut PgConnection,
        run: &str,
        step: &str,
    ) -> Result<bool, DbError> {
        let done = sqlx::query("delete from etlrs_migrate.markers where run = $1 and step = $2")
            .bind(run)
            .bind(step)
            .execute(tx)
            .await?;
        Ok(done.rows_affected() > 0)
    }
}

/// Markers within an open transaction on SQLite.
#[cfg(feature = "sqlite")]
pub mod sqlite {
    use sqlx::SqliteConnection;

    use crate::db::DbError;

    /// Writes (or overwrites) a step's marker.
    pub async fn set_marker(
        tx: &mut SqliteConnection,
        run: &str,
        step: &str,
        payload: &str,
    ) -> Result<(), DbError> {
        sqlx::query(
            "insert into _etlrs_markers (run, step, payload) values (?1, ?2, ?3) \
             on conflict (run, step) do update set payload = excluded.payload, at = current_timestamp",
        )
        .bind(run)
        .bind(step)
        .bind(payload)
        .execute(tx)
        .await?;
        Ok(())
    }

    /// Removes a step's marker; returns whether it was there.
    pub async fn clear_marker(
        tx: &mut SqliteConnection,
        run: &str,
        step: &str,
    ) -> Result<bool, DbError> {
        let done = sqlx::query("delete from _etlrs_markers where run = ?1 and step = ?2")
            .bind(run)
            .bind(step)
            .execute(tx)
            .await?;
        Ok(done.rows_affected() > 0)
    }
}
