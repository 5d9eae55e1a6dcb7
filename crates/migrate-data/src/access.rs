//! One way to run SQL of ours on both databases. Values come back as text.

use migrate_schema::db::{Database, DbError, DbErrorKind};
use migrate_schema::own;
#[cfg(feature = "sqlite")]
use sqlx::Connection as _;
use sqlx::{AssertSqlSafe, Column as _, Row as _};

/// A row of a result, each value as the database writes it.
pub(crate) type TextRow = Vec<Option<String>>;

/// An open transaction that has checked the fence. Dropped without a commit it is rolled back.
pub(crate) enum Tx {
    #[cfg(feature = "postgres")]
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
}

impl Tx {
    pub(crate) async fn begin(db: &Database) -> Result<Self, DbError> {
        Ok(match db {
            #[cfg(feature = "postgres")]
            Database::Postgres(db) => Self::Postgres(begin_postgres(db).await?),
            #[cfg(feature = "sqlite")]
            Database::Sqlite(db) => Self::Sqlite(db.begin().await?),
            #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
            _ => return Err(db.unsupported()),
        })
    }

    /// Begins a transaction that writes nothing but what is its session's own, and holds no lock
    /// that writers would wait for.
    pub(crate) async fn look(db: &Database) -> Result<Self, DbError> {
        Ok(match db {
            #[cfg(feature = "postgres")]
            Database::Postgres(db) => Self::Postgres(begin_postgres(db).await?),
            #[cfg(feature = "sqlite")]
            Database::Sqlite(db) => {
                let begin = sqlx::SqlSafeStr::into_sql_str("BEGIN");
                Self::Sqlite(sqlx::Transaction::begin(db.acquire().await?, Some(begin)).await?)
            }
            #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
            _ => return Err(db.unsupported()),
        })
    }

    /// Runs a statement; returns how many rows it wrote.
    pub(crate) async fn execute(&mut self, sql: &str) -> Result<u64, DbError> {
        Ok(match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(tx) => sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut **tx)
                .await?
                .rows_affected(),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(tx) => sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut **tx)
                .await?
                .rows_affected(),
        })
    }

    /// Runs a query.
    pub(crate) async fn rows(&mut self, sql: &str) -> Result<Vec<TextRow>, DbError> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(tx) => {
                let rows = sqlx::raw_sql(AssertSqlSafe(sql))
                    .fetch_all(&mut **tx)
                    .await?;
                rows.iter().map(postgres_row).collect()
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite(tx) => {
                let rows = sqlx::raw_sql(AssertSqlSafe(sql))
                    .fetch_all(&mut **tx)
                    .await?;
                rows.iter().map(sqlite_row).collect()
            }
        }
    }

    /// Runs a query whose first value is a count.
    pub(crate) async fn count(&mut self, sql: &str) -> Result<u64, DbError> {
        first_number(&self.rows(sql).await?)
    }

    /// Writes a step's marker.
    pub(crate) async fn set_marker(
        &mut self,
        run: &str,
        step: &str,
        payload: &str,
    ) -> Result<(), DbError> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(tx) => own::postgres::set_marker(tx, run, step, payload).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(tx) => own::sqlite::set_marker(tx, run, step, payload).await,
        }
    }

    /// Removes a step's marker.
    pub(crate) async fn clear_marker(&mut self, run: &str, step: &str) -> Result<bool, DbError> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(tx) => own::postgres::clear_marker(tx, run, step).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(tx) => own::sqlite::clear_marker(tx, run, step).await,
        }
    }

    pub(crate) async fn commit(self) -> Result<(), DbError> {
        migrate_failpoint::hit!("data.commit")?;
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(tx) => tx.commit().await?,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(tx) => tx.commit().await?,
        }
        migrate_failpoint::hit!("data.committed")?;
        Ok(())
    }

    pub(crate) async fn rollback(self) -> Result<(), DbError> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(tx) => tx.rollback().await?,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(tx) => tx.rollback().await?,
        }
        Ok(())
    }
}

/// Statements of a copy hold SQL of the user's, and let triggers and defaults of the user's run:
/// they need the user's names. What is ours in them is qualified or a built-in of just these types.
#[cfg(feature = "postgres")]
async fn begin_postgres(
    db: &migrate_schema::db::Postgres,
) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, DbError> {
    let mut tx = db.begin().await?;
    db.as_the_user_after_ours(&mut tx).await?;
    Ok(tx)
}

/// Runs a query outside a transaction.
pub(crate) async fn rows(db: &Database, sql: &str) -> Result<Vec<TextRow>, DbError> {
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(db) => {
            let mut connection = db.acquire().await?;
            db.as_the_user_after_ours(&mut connection).await?;
            let rows = sqlx::raw_sql(AssertSqlSafe(sql))
                .fetch_all(&mut *connection)
                .await?;
            rows.iter().map(postgres_row).collect()
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(db) => {
            let mut connection = db.acquire().await?;
            let rows = sqlx::raw_sql(AssertSqlSafe(sql))
                .fetch_all(&mut *connection)
                .await?;
            rows.iter().map(sqlite_row).collect()
        }
        #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
        _ => Err(db.unsupported()),
    }
}

/// Runs a query outside a transaction whose first value is a count.
pub(crate) async fn count(db: &Database, sql: &str) -> Result<u64, DbError> {
    first_number(&rows(db, sql).await?)
}

fn first_number(rows: &[TextRow]) -> Result<u64, DbError> {
    let first = rows
        .first()
        .and_then(|row| row.first())
        .and_then(Option::as_deref);
    // No row, and no value in it, count as nothing; anything else must be a number.
    let Some(text) = first else {
        return Ok(0);
    };
    text.parse()
        .map_err(|_| DbError::new(DbErrorKind::Other, format!("{text:?} is no count")))
}

/// The names of a query's columns. The query yields no row: one of NULLs stands in for it.
///
/// Statements that are prepared are kept by their text, and would still have the columns that a
/// table had before it was altered.
pub(crate) async fn columns_of(db: &Database, query: &str) -> Result<Vec<String>, DbError> {
    let sql = AssertSqlSafe(format!(
        "SELECT made.* FROM (SELECT 1 AS one) AS one LEFT JOIN (\n{query}\n) AS made ON 1 = 0"
    ));
    Ok(match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(db) => {
            let mut connection = db.acquire().await?;
            db.as_the_user_after_ours(&mut connection).await?;
            names(&sqlx::raw_sql(sql).fetch_one(&mut *connection).await?)
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(db) => {
            let mut connection = db.acquire().await?;
            let mut tx = connection.begin().await?;
            // SQLite looks whether another connection changed the schema only when it reads.
            sqlx::raw_sql("SELECT count(*) FROM sqlite_master")
                .fetch_one(&mut *tx)
                .await?;
            let row = sqlx::raw_sql(sql).fetch_one(&mut *tx).await?;
            tx.rollback().await?;
            names(&row)
        }
        #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
        _ => return Err(db.unsupported()),
    })
}

fn names<R: sqlx::Row>(row: &R) -> Vec<String> {
    row.columns()
        .iter()
        .map(|column| column.name().to_owned())
        .collect()
}

/// Lets the database look at a statement as if it were to be run.
pub(crate) async fn try_plan(db: &Database, statement: &str) -> Result<(), DbError> {
    rows(db, &format!("EXPLAIN {statement}")).await.map(drop)
}

#[cfg(feature = "postgres")]
fn postgres_row(row: &sqlx::postgres::PgRow) -> Result<TextRow, DbError> {
    let values = (0..row.len()).map(|at| row.try_get_unchecked::<Option<String>, _>(at));
    Ok(values.collect::<Result<_, sqlx::Error>>()?)
}

#[cfg(feature = "sqlite")]
fn sqlite_row(row: &sqlx::sqlite::SqliteRow) -> Result<TextRow, DbError> {
    let values = (0..row.len()).map(|at| row.try_get_unchecked::<Option<String>, _>(at));
    Ok(values.collect::<Result<_, sqlx::Error>>()?)
}
