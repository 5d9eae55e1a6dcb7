//! Rows of the source on their way through this process, and into the stage.

#[cfg(feature = "postgres")]
use futures_util::TryStreamExt as _;
use migrate_schema::db::{Backend, Database, DbError, DbErrorKind};
use migrate_schema::quote::ident;
use sqlx::AssertSqlSafe;
#[cfg(feature = "sqlite")]
use sqlx::{Row as _, TypeInfo as _, ValueRef as _};

use crate::access::Tx;
use crate::buffers::Buffers;
#[cfg(feature = "postgres")]
use crate::buffers::add;
#[cfg(feature = "sqlite")]
use crate::lite_format;
#[cfg(feature = "sqlite")]
use crate::statement::STAGE;
use crate::statement::Statements;
use crate::transform::Cell;
use crate::wire::Wire;

/// A column of the source with its type's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceColumn {
    pub(crate) name: String,
    pub(crate) type_name: String,
}

/// Rows that pass through this process.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Passing {
    /// Each value by itself.
    Cells(Vec<Vec<Cell>>),
    /// As PostgreSQL sends and takes them, unopened.
    Copy(Vec<u8>),
    /// As SQLite gives them, unopened.
    Packed(Vec<u8>),
}

/// How columns cross from a database.
pub(crate) fn selected(backend: Backend, alias: &str, column: &str, wire: Wire) -> String {
    let name = format!("{alias}.{}", ident(column));
    match (backend, wire) {
        (Backend::Sqlite, _) => name,
        (Backend::Postgres, Wire::Moment) => format!("({name} AT TIME ZONE 'UTC')::text"),
        (Backend::Postgres, wire) => format!("CAST({name} AS {})", wire.type_name()),
    }
}

/// What a query of so many columns gives, as it comes.
pub(crate) async fn read(
    db: &Database,
    query: &str,
    columns: usize,
    buffers: &Buffers,
) -> Result<Passing, DbError> {
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(_) => {
            let mut tx = Tx::look(db).await?;
            // The text of moments and bytes must not depend on the role's settings.
            tx.execute(
                "SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'postgres'; \
                 SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1",
            )
            .await?;
            let mut bytes = buffers.to_read();
            if let Tx::Postgres(connection) = &mut tx {
                let copy = format!("COPY ({query}) TO STDOUT (FORMAT binary)");
                let mut stream = connection.copy_out_raw(&copy).await?;
                while let Some(part) = stream.try_next().await? {
                    add(&mut bytes, &part);
                }
            }
            tx.rollback().await?;
            Ok(Passing::Copy(bytes))
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(db) => {
            let mut connection = db.acquire().await?;
            let sql = |sql: String| sqlx::raw_sql(AssertSqlSafe(sql));
            let encoding = sql("PRAGMA encoding".to_owned())
                .fetch_one(&mut *connection)
                .await?;
            if encoding.try_get::<&str, _>(0)? == "UTF-8" {
                let packed = sql(lite_format::packed(query, columns))
                    .fetch_one(&mut *connection)
                    .await;
                match packed.map_err(DbError::from) {
                    Ok(all) => {
                        let bytes: Option<Vec<u8>> = all.try_get(0)?;
                        let bytes = bytes.unwrap_or_default();
                        if lite_format::is_exact(&bytes) {
                            return Ok(Passing::Packed(bytes));
                        }
                    }
                    // Together they are too long for a value; by themselves they need not be.
                    Err(error) if is_too_big(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            // In another encoding the bytes of texts are others than those that arrive.
            let rows = sql(query.to_owned()).fetch_all(&mut *connection).await?;
            let cells = rows.iter().map(sqlite_cells);
            Ok(Passing::Cells(cells.collect::<Result<_, _>>()?))
        }
        #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
        _ => Err(db.unsupported()),
    }
}

#[cfg(feature = "sqlite")]
fn is_too_big(error: &DbError) -> bool {
    let code = error.code.as_deref();
    code.is_some_and(|code| code.starts_with("SQLITE_TOOBIG"))
}

#[cfg(feature = "sqlite")]
fn sqlite_cells(row: &sqlx::sqlite::SqliteRow) -> Result<Vec<Cell>, DbError> {
    let cell = |at: usize| -> Result<Cell, sqlx::Error> {
        let raw = row.try_get_raw(at)?;
        if raw.is_null() {
            return Ok(Cell::Null);
        }
        let kind = raw.type_info().name().to_owned();
        Ok(match kind.as_str() {
            "INTEGER" => Cell::Integer(row.try_get_unchecked(at)?),
            "REAL" => Cell::Real(row.try_get_unchecked(at)?),
            "BLOB" => Cell::Bytes(row.try_get_unchecked(at)?),
            _ => Cell::Text(row.try_get_unchecked(at)?),
        })
    };
    Ok((0..row.len())
        .map(cell)
        .collect::<Result<_, sqlx::Error>>()?)
}

/// Puts rows into the stage, which it creates where it is not there.
pub(crate) async fn stage(tx: &mut Tx, sql: Statements<'_>, rows: &Passing) -> Result<(), DbError> {
    match (tx, rows) {
        #[cfg(feature = "postgres")]
        (Tx::Postgres(tx), Passing::Copy(bytes)) => stage_postgres(tx, sql, bytes).await,
        #[cfg(feature = "sqlite")]
        (Tx::Sqlite(tx), Passing::Cells(rows)) => stage_sqlite(tx, sql, rows).await,
        _ => Err(DbError::new(
            DbErrorKind::Other,
            "rows came in a form that the target does not take",
        )),
    }
}

/// A session keeps its stage, emptied by each commit: making one for every batch would leave
/// dead rows in the server's catalog.
#[cfg(feature = "postgres")]
async fn stage_postgres(
    tx: &mut sqlx::PgConnection,
    sql: Statements<'_>,
    bytes: &[u8],
) -> Result<(), DbError> {
    sqlx::raw_sql(AssertSqlSafe(sql.create_copied()))
        .execute(&mut *tx)
        .await?;
    let copy = format!("COPY {} FROM STDIN (FORMAT binary)", sql.copied());
    send(tx, &copy, bytes).await?;
    Ok(())
}

/// Sends a whole COPY; returns how many rows were written.
#[cfg(feature = "postgres")]
async fn send(tx: &mut sqlx::PgConnection, copy: &str, bytes: &[u8]) -> Result<u64, DbError> {
    /// What is sent at once.
    const PART: usize = 64 << 10;

    let mut sink = tx.copy_in_raw(copy).await?;
    for part in bytes.chunks(PART) {
        sink.send(part).await?;
    }
    Ok(sink.finish().await?)
}

/// Copies rows into where the statement says; returns how many were written.
pub(crate) async fn copy_in(tx: &mut Tx, copy: &str, rows: &Passing) -> Result<u64, DbError> {
    match (tx, rows) {
        #[cfg(feature = "postgres")]
        (Tx::Postgres(tx), Passing::Copy(bytes)) => send(tx, copy, bytes).await,
        _ => Err(DbError::new(
            DbErrorKind::Other,
            "rows came in a form that the target does not take",
        )),
    }
}

#[cfg(feature = "sqlite")]
async fn stage_sqlite(
    tx: &mut sqlx::SqliteConnection,
    sql: Statements<'_>,
    rows: &[Vec<Cell>],
) -> Result<(), DbError> {
    /// SQLite takes 32,766 values at most.
    const VALUES: usize = 30_000;

    let outputs = &sql.layout.outputs;
    let names = outputs
        .iter()
        .map(|name| ident(name))
        .collect::<Vec<_>>()
        .join(", ");
    let create = format!("CREATE TEMP TABLE IF NOT EXISTS {} ({names})", ident(STAGE));
    sqlx::raw_sql(AssertSqlSafe(create))
        .execute(&mut *tx)
        .await?;
    let places = format!("({})", vec!["?"; outputs.len()].join(", "));
    for part in rows.chunks((VALUES / outputs.len().max(1)).clamp(1, 500)) {
        let insert = format!(
            "INSERT INTO {} VALUES {}",
            sql.stage(),
            vec![places.as_str(); part.len()].join(", ")
        );
        let mut query = sqlx::query(AssertSqlSafe(insert));
        for cell in part.iter().flatten() {
            query = match cell {
                Cell::Null => query.bind(None::<i64>),
                Cell::Bool(value) => query.bind(i64::from(*value)),
                Cell::Integer(value) => query.bind(*value),
                Cell::Real(value) => query.bind(*value),
                Cell::Text(value) | Cell::Timestamp(value) => query.bind(value.as_str()),
                Cell::Bytes(value) => query.bind(value.as_slice()),
            };
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}
