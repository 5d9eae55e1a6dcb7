//! What every row was when an upgrade ended, so that what others wrote since can be counted.
//!
//! For each table a hash of every row's key and a hash of the row are kept in a table of our
//! own, `marks_RUN`; the marker [`STEP`] of the run, written in the same transaction, says which
//! tables and columns. Rows of a table without a key are told apart by their content: a row that
//! was changed then counts as one that went and one that came.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use serde::{Deserialize, Serialize};

use crate::catalog;
use crate::db::{Database, DbError};
use crate::own;
use crate::quote::TableName;

/// The marker under which a run's marks are described. No step can be called like that.
pub const STEP: &str = "marks of rows";

/// Up to how many rows of a table marks are kept where nothing depends on them.
pub const MOST_ROWS: u64 = 250_000;

/// What is kept of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Our own table, without schema or prefix.
    pub table: String,
    /// The transaction that wrote them; PostgreSQL only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<u64>,
    /// The tables, in the order of the numbers that our table holds.
    pub of: Vec<Marked>,
}

/// A table whose rows are marked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marked {
    /// Its name, as the catalog lists it.
    pub table: String,
    /// The columns that tell its rows apart; none where it has no key.
    pub key: Vec<String>,
    /// The columns that it had.
    pub columns: Vec<String>,
}

/// What others did to the rows of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Rows that are new.
    pub inserted: u64,
    /// Rows that are another content under the same key.
    pub updated: u64,
    /// Rows that are gone.
    pub deleted: u64,
}

impl Changes {
    /// Whether nothing was done.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl Marks {
    /// A table's number and what is known of it.
    pub fn find(&self, table: &TableName) -> Option<(usize, &Marked)> {
        let full = table.to_string();
        let named = |marked: &Marked| marked.table == full;
        let short = |marked: &Marked| {
            let parsed = marked.table.parse::<TableName>();
            parsed.is_ok_and(|known| {
                known.table() == table.table()
                    && table.schema().is_none()
                    && known.schema().is_none_or(|schema| schema == "public")
            })
        };
        let at = self.of.iter().position(named);
        let at = at.or_else(|| self.of.iter().position(short))?;
        Some((at, &self.of[at]))
    }
}

/// Marks every row of these tables. Whole or nothing; a second call replaces the first. A trigger
/// of the user's that logs DDL runs at our own: the tables that triggers write are read last.
///
/// # Errors
/// The database's; nothing is kept then.
pub async fn keep(db: &Database, run: &str, tables: &[TableName]) -> Result<(), DbError> {
    own::ensure(db).await?;
    let written = catalog::written_by_triggers(db, catalog::Triggers::All).await?;
    let (last, first): (Vec<_>, Vec<_>) = tables.iter().partition(|table| written.contains(table));
    #[cfg(feature = "postgres")]
    let before_last = first.len();
    let mut marks = Marks {
        table: format!("marks_{run}"),
        transaction: None,
        of: Vec::new(),
    };
    for table in first.into_iter().chain(last) {
        let columns = catalog::table_columns(db, table).await?;
        let keys = catalog::unique_keys(db, table).await?;
        marks.of.push(Marked {
            table: table.to_string(),
            key: match keys.into_iter().next() {
                Some(key) => key.columns,
                None => catalog::key_with_nulls(db, table)
                    .await?
                    .unwrap_or_default(),
            },
            columns: columns.into_iter().map(|column| column.name).collect(),
        });
    }
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => postgres::keep(pg, run, marks, before_last).await,
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => sqlite::keep(lite, run, &marks).await,
    }
}

/// What a run kept. Read-only.
///
/// # Errors
/// The database's.
pub async fn of_run(db: &Database, run: &str) -> Result<Option<Marks>, DbError> {
    let Some(payload) = own::marker(db, run, STEP).await? else {
        return Ok(None);
    };
    let marks: Option<Marks> = serde_json::from_str(&payload).ok();
    let there = own::tables(db).await?;
    Ok(marks.filter(|marks| there.contains(&marks.table)))
}

/// What happened since to a marked table; none where that can't be told any more, because a
/// column that was marked is gone. Read-only.
///
/// # Errors
/// The database's.
pub async fn changes(
    db: &Database,
    marks: &Marks,
    table: &TableName,
) -> Result<Option<Changes>, DbError> {
    let Some((number, marked)) = marks.find(table) else {
        return Ok(None);
    };
    let now = catalog::table_columns(db, table).await?;
    let there = |name: &String| now.iter().any(|column| &column.name == name);
    if !marked.columns.iter().all(there) {
        return Ok(None);
    }
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => postgres::changes(pg, marks, (number, marked), table).await,
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => sqlite::changes(lite, marks, (number, marked), table).await,
    }
    .map(Some)
}

/// Which rows of a table others inserted or updated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// As conditions on the relation `t`; PostgreSQL, under the settings that marks are made
    /// with (UTC, ISO dates, `postgres` intervals, hex bytes, shortest exact floats).
    Conditions {
        /// Rows that are new.
        inserted: String,
        /// Rows that were changed.
        updated: String,
    },
    /// By the texts of their keys; SQLite.
    Keys {
        /// The text of the key of the relation `t`, as an expression.
        key: String,
        /// Rows that are new.
        inserted: Vec<String>,
        /// Rows that were changed.
        updated: Vec<String>,
    },
}

/// Tells the rows of a marked table with a key that others wrote. Read-only.
///
/// # Errors
/// The database's, and where the table is not marked or has no key.
pub async fn written(db: &Database, marks: &Marks, table: &TableName) -> Result<Written, DbError> {
    let found = marks
        .find(table)
        .filter(|(_, marked)| !marked.key.is_empty());
    let Some(at) = found else {
        let message = format!("the rows of {table} were not marked by a key");
        return Err(DbError::new(crate::db::DbErrorKind::Missing, message));
    };
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(_) => Ok(postgres::written(marks, at)),
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => sqlite::written(lite, marks, at, table).await,
    }
}

/// How many rows of any table were inserted or updated since, told by the transactions that
/// wrote them; none on SQLite, which keeps no such thing. Read-only.
///
/// # Errors
/// The database's.
pub async fn written_since(
    db: &Database,
    marks: &Marks,
    table: &TableName,
) -> Result<Option<u64>, DbError> {
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => postgres::written_since(pg, marks, table).await,
        #[cfg(feature = "sqlite")]
        Database::Sqlite(_) => {
            let _ = (marks, table);
            Ok(None)
        }
    }
}

/// Rows of a table that were there when it was marked, and are none of the run's doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disowned {
    /// A condition on the relation `t`: rows that others inserted.
    pub inserted: String,
    /// A condition on the relation `t`: rows that others changed.
    pub updated: String,
    /// Rows that others deleted, as rows `t` of another table with the same key that meet a condition.
    pub gone: Option<(TableName, String)>,
}

/// Makes a run's marks as if others had written these rows after it. Nothing where the table is not
/// marked.
///
/// # Errors
/// The database's.
pub async fn disown(
    db: &Database,
    run: &str,
    table: &TableName,
    rows: &Disowned,
) -> Result<(), DbError> {
    let Some(marks) = of_run(db, run).await? else {
        return Ok(());
    };
    let Some((number, marked)) = marks.find(table).filter(|(_, one)| !one.key.is_empty()) else {
        return Ok(());
    };
    let own = own::name(db.backend(), &marks.table);
    let table = db.resolve(table).await?;
    let key = match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(_) => postgres::hash(&marked.key),
        #[cfg(feature = "sqlite")]
        Database::Sqlite(_) => crate::fingerprint::sqlite::row_text(&marked.key),
    };
    let keys =
        |condition: &str| format!("select {key} from {} as t where {condition}", table.sql());
    let mut statements = vec![
        format!(
            "delete from {own} where object = {number} and key in ({})",
            keys(&rows.inserted)
        ),
        format!(
            "update {own} set content = ~content where object = {number} and key in ({})",
            keys(&rows.updated)
        ),
    ];
    if let Some((other, condition)) = &rows.gone
        && has_columns(db, other, &marked.key).await?
    {
        statements.push(format!(
            "insert into {own} (object, key, content) select {number}, {key}, 0 from {} as t where {condition}",
            db.resolve(other).await?.sql()
        ));
    }
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => postgres::write(pg, statements).await,
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => sqlite::write(lite, statements).await,
    }
}

async fn has_columns(db: &Database, table: &TableName, names: &[String]) -> Result<bool, DbError> {
    let columns = catalog::table_columns(db, table).await?;
    let there = |name: &String| columns.iter().any(|column| &column.name == name);
    Ok(names.iter().all(there))
}

/// Drops what a run kept. Idempotent.
///
/// # Errors
/// The database's.
pub async fn forget(db: &Database, run: &str) -> Result<(), DbError> {
    if !own::tables(db)
        .await?
        .iter()
        .any(|table| table == "markers")
    {
        return Ok(());
    }
    let table = own::name(db.backend(), &format!("marks_{run}"));
    let drop = format!("drop table if exists {table}");
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => {
            let mut tx = pg.begin().await?;
            run_sql(&mut tx, drop).await?;
            own::postgres::clear_marker(&mut tx, run, STEP).await?;
            Ok(tx.commit().await?)
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => {
            let mut tx = lite.begin().await?;
            sqlx::raw_sql(sqlx::AssertSqlSafe(drop))
                .execute(&mut *tx)
                .await?;
            own::sqlite::clear_marker(&mut tx, run, STEP).await?;
            Ok(tx.commit().await?)
        }
    }
}

#[cfg(feature = "postgres")]
async fn run_sql(tx: &mut sqlx::PgConnection, sql: String) -> Result<(), DbError> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(tx).await?;
    Ok(())
}
