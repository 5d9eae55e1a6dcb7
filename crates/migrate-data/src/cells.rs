//! Rows of the source as cells, and cells into the stage.

use migrate_schema::db::{Backend, Database, DbError};
use migrate_schema::quote::ident;
use sqlx::AssertSqlSafe;
#[cfg(feature = "sqlite")]
use sqlx::{Row as _, TypeInfo as _, ValueRef as _};

#[cfg(feature = "postgres")]
use crate::access::TextRow;
use crate::access::Tx;
use crate::keyset::KeyRange;
use crate::layout::Layout;
use crate::statement::{STAGE, Statements};
use crate::transform::Cell;

/// A column of the source with its type's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceColumn {
    pub(crate) name: String,
    pub(crate) type_name: String,
}

/// The rows of a range, in the key's order.
pub(crate) async fn read(
    db: &Database,
    layout: &Layout,
    columns: &[SourceColumn],
    range: &KeyRange,
) -> Result<Vec<Vec<Cell>>, DbError> {
    let keys = layout.keys(db.backend());
    let selected = columns.iter().map(|column| selected(db.backend(), column));
    // Qualified: alone, a name would mean the column of the result, which may be text.
    let order = layout.key.iter().map(|name| format!("src.{}", ident(name)));
    let query = format!(
        "SELECT {} FROM {} AS src WHERE {} ORDER BY {}",
        selected.collect::<Vec<_>>().join(", "),
        layout.source_sql(),
        keys.within(range),
        order.collect::<Vec<_>>().join(", ")
    );
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(_) => {
            let mut tx = Tx::begin(db).await?;
            // The text of moments and bytes must not depend on the role's settings.
            tx.execute("SET LOCAL DateStyle = 'ISO'; SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1").await?;
            let rows = tx.rows(&query).await?;
            tx.rollback().await?;
            let cells = |row: &TextRow| {
                columns
                    .iter()
                    .zip(row)
                    .map(|(c, v)| from_text(&c.type_name, v.as_deref()))
                    .collect()
            };
            Ok(rows.iter().map(cells).collect())
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(db) => {
            let mut connection = db.acquire().await?;
            let rows = sqlx::raw_sql(AssertSqlSafe(query))
                .fetch_all(&mut *connection)
                .await?;
            rows.iter().map(sqlite_cells).collect()
        }
    }
}

fn selected(backend: Backend, column: &SourceColumn) -> String {
    let name = ident(&column.name);
    match (backend, column.type_name.as_str()) {
        (Backend::Postgres, kind)
            if kind.starts_with("timestamp") && kind.ends_with("with time zone") =>
        {
            format!("({name} AT TIME ZONE 'UTC')::text")
        }
        (Backend::Postgres, _) => format!("{name}::text"),
        (Backend::Sqlite, _) => name,
    }
}

#[cfg(feature = "postgres")]
fn from_text(type_name: &str, value: Option<&str>) -> Cell {
    let Some(text) = value else { return Cell::Null };
    let known = match type_name {
        "smallint" | "integer" | "bigint" => text.parse().ok().map(Cell::Integer),
        "boolean" => Some(Cell::Bool(text == "true" || text == "t")),
        "real" | "double precision" => text.parse().ok().map(Cell::Real),
        "bytea" => text.strip_prefix("\\x").and_then(bytes_of).map(Cell::Bytes),
        kind if kind.starts_with("timestamp") && kind.ends_with("with time zone") => {
            Some(Cell::Timestamp(text.to_owned()))
        }
        _ => None,
    };
    known.unwrap_or_else(|| Cell::Text(text.to_owned()))
}

#[cfg(feature = "postgres")]
fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
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

/// Puts rows into the stage, which it creates.
pub(crate) async fn stage(
    tx: &mut Tx,
    sql: Statements<'_>,
    rows: &[Vec<Cell>],
) -> Result<(), DbError> {
    match tx {
        #[cfg(feature = "postgres")]
        Tx::Postgres(tx) => stage_postgres(tx, sql, rows).await,
        #[cfg(feature = "sqlite")]
        Tx::Sqlite(tx) => stage_sqlite(tx, sql, rows).await,
    }
}

#[cfg(feature = "postgres")]
async fn stage_postgres(
    tx: &mut sqlx::PgConnection,
    sql: Statements<'_>,
    rows: &[Vec<Cell>],
) -> Result<(), DbError> {
    let outputs = &sql.layout.outputs;
    let place = |at: usize| format!("${}::text[]", at + 1);
    let value = |at: usize, name: &String| {
        format!("v{at}::{} AS {}", sql.layout.type_of(name), ident(name))
    };
    let create = format!(
        "CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA",
        ident(STAGE),
        outputs
            .iter()
            .map(|name| ident(name))
            .collect::<Vec<_>>()
            .join(", "),
        sql.layout.target_sql()
    );
    sqlx::raw_sql(AssertSqlSafe(create))
        .execute(&mut *tx)
        .await?;
    let fill = format!(
        "INSERT INTO {} SELECT {} FROM unnest({}) AS made({})",
        sql.stage(),
        outputs
            .iter()
            .enumerate()
            .map(|(at, name)| value(at, name))
            .collect::<Vec<_>>()
            .join(", "),
        (0..outputs.len()).map(place).collect::<Vec<_>>().join(", "),
        (0..outputs.len())
            .map(|at| format!("v{at}"))
            .collect::<Vec<_>>()
            .join(", "),
    );
    let mut query = sqlx::query(AssertSqlSafe(fill)).persistent(false);
    for (at, name) in outputs.iter().enumerate() {
        let with_zone = sql.layout.type_of(name).ends_with("with time zone");
        let column: Vec<Option<String>> = rows
            .iter()
            .map(|row| to_text(&row[at], with_zone))
            .collect();
        query = query.bind(column);
    }
    query.execute(tx).await?;
    Ok(())
}

#[cfg(feature = "postgres")]
fn to_text(cell: &Cell, with_zone: bool) -> Option<String> {
    Some(match cell {
        Cell::Null => return None,
        Cell::Bool(value) => value.to_string(),
        Cell::Integer(value) => value.to_string(),
        Cell::Real(value) => value.to_string(),
        Cell::Bytes(bytes) => format!("\\x{}", crate::hex::hex(bytes)),
        Cell::Timestamp(value) if with_zone && !value.contains("infinity") => {
            match value.strip_suffix(" BC") {
                Some(before) => format!("{before}+00 BC"),
                None => format!("{value}+00"),
            }
        }
        Cell::Text(value) | Cell::Timestamp(value) => value.clone(),
    })
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
    let create = format!("CREATE TEMP TABLE {} ({names})", ident(STAGE));
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
