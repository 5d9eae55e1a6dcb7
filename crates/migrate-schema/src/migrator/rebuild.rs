//! A table of SQLite in a new shape, as SQLite's manual says (`lang_altertable.html`, section
//! 7), with everything that hangs on it.

use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::catalog::sqlite::{MasterRow, columns, is_without_rowid, master, rowid_alias};
use crate::db::{DbError, DbErrorKind};
use crate::quote::{TableName, ident};

/// The table's name while its rows are moved.
const ASIDE: &str = "_etlrs_aside";

/// What a table shall become.
#[derive(Debug, Clone, Copy)]
pub(super) enum NewShape<'a> {
    /// What it is, after this `ALTER TABLE`, which SQLite runs on an empty table only.
    Altered(&'a str),
    /// What this `CREATE TABLE` says.
    Text(&'a str),
}

/// Rebuilds a table inside a transaction, with foreign keys off and `legacy_alter_table` on
/// (so that a rename leaves views, triggers and other tables' references alone).
///
/// Rows keep their rowid, `AUTOINCREMENT` its counter, `ANALYZE` its figures; indexes and
/// triggers are made again from their own text. The new table's text is SQLite's own.
pub(super) async fn rebuild(
    tx: &mut SqliteConnection,
    table: &str,
    shape: NewShape<'_>,
) -> Result<(), DbError> {
    let all = master(tx).await?;
    let Some(old) = all
        .iter()
        .find(|row| row.kind == "table" && row.name.eq_ignore_ascii_case(table))
    else {
        return Err(DbError::new(
            DbErrorKind::Other,
            format!("no such table: {table}"),
        ));
    };
    let attached: Vec<&MasterRow> = all
        .iter()
        .filter(|row| {
            matches!(row.kind.as_str(), "index" | "trigger")
                && row.table.eq_ignore_ascii_case(&old.name)
        })
        .collect();
    let counter = sequence(tx, &old.name).await?;
    let figures = statistics(tx, &old.name).await?;
    for row in &attached {
        run(tx, &format!("drop {} {}", row.kind, ident(&row.name))).await?;
    }
    run(
        tx,
        &format!("alter table {} rename to {ASIDE}", ident(&old.name)),
    )
    .await?;
    match shape {
        NewShape::Altered(statement) => {
            run(tx, &old.sql).await?;
            run(tx, statement).await?;
        }
        NewShape::Text(text) => run(tx, text).await?,
    }
    move_rows(tx, &TableName::new(None, &old.name)).await?;
    run(tx, &format!("drop table {ASIDE}")).await?;
    set_sequence(tx, &old.name, counter).await?;
    for row in attached {
        run(tx, &row.sql).await?;
    }
    set_statistics(tx, &old.name, figures).await
}

async fn run(tx: &mut SqliteConnection, sql: &str) -> Result<(), DbError> {
    sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .execute(tx)
        .await?;
    Ok(())
}

/// Copies the columns that both have; the others get their defaults.
async fn move_rows(tx: &mut SqliteConnection, new: &TableName) -> Result<(), DbError> {
    let aside = TableName::new(None, ASIDE);
    let old_columns = columns(tx, &aside).await?;
    let new_columns = columns(tx, new).await?;
    let mut names: Vec<String> = new_columns
        .iter()
        .filter(|column| !column.generated)
        .filter(|column| {
            old_columns
                .iter()
                .any(|old| !old.generated && old.name.eq_ignore_ascii_case(&column.name))
        })
        .map(|column| ident(&column.name))
        .collect();
    let has_rowid = !is_without_rowid(tx, &aside).await?
        && !is_without_rowid(tx, new).await?
        && rowid_alias(tx, new).await?.is_none();
    if has_rowid {
        let taken = |name: &str| {
            old_columns
                .iter()
                .chain(&new_columns)
                .any(|column| column.name.eq_ignore_ascii_case(name))
        };
        let free = ["rowid", "_rowid_", "oid"]
            .into_iter()
            .find(|name| !taken(name));
        names.extend(free.map(str::to_owned));
    }
    let list = names.join(", ");
    run(
        tx,
        &format!(
            "insert or abort into {} ({list}) select {list} from {ASIDE}",
            new.sql()
        ),
    )
    .await
}

async fn has_table(tx: &mut SqliteConnection, name: &str) -> Result<bool, DbError> {
    let found: Option<i64> = sqlx::query_scalar("select 1 from sqlite_master where name = ?1")
        .bind(name)
        .fetch_optional(tx)
        .await?;
    Ok(found.is_some())
}

/// The highest rowid that `AUTOINCREMENT` gave.
async fn sequence(tx: &mut SqliteConnection, table: &str) -> Result<Option<i64>, DbError> {
    if !has_table(tx, "sqlite_sequence").await? {
        return Ok(None);
    }
    Ok(
        sqlx::query_scalar("select seq from sqlite_sequence where name = ?1")
            .bind(table)
            .fetch_optional(tx)
            .await?
            .flatten(),
    )
}

async fn set_sequence(
    tx: &mut SqliteConnection,
    table: &str,
    counter: Option<i64>,
) -> Result<(), DbError> {
    let Some(counter) = counter else {
        return Ok(());
    };
    let done = sqlx::query("update sqlite_sequence set seq = ?2 where name = ?1")
        .bind(table)
        .bind(counter)
        .execute(&mut *tx)
        .await?;
    if done.rows_affected() == 0 {
        sqlx::query("insert into sqlite_sequence (name, seq) values (?1, ?2)")
            .bind(table)
            .bind(counter)
            .execute(tx)
            .await?;
    }
    Ok(())
}

type Figures = Vec<(Option<String>, Option<String>)>;

/// What `ANALYZE` found, which dropping the table and its indexes forgets.
async fn statistics(tx: &mut SqliteConnection, table: &str) -> Result<Figures, DbError> {
    if !has_table(tx, "sqlite_stat1").await? {
        return Ok(Vec::new());
    }
    Ok(
        sqlx::query_as("select idx, stat from sqlite_stat1 where tbl = ?1")
            .bind(table)
            .fetch_all(tx)
            .await?,
    )
}

async fn set_statistics(
    tx: &mut SqliteConnection,
    table: &str,
    figures: Figures,
) -> Result<(), DbError> {
    if figures.is_empty() {
        return Ok(());
    }
    // Dropping an index forgot its figures only; those of the table are still there.
    sqlx::query("delete from sqlite_stat1 where tbl = ?1")
        .bind(table)
        .execute(&mut *tx)
        .await?;
    for (index, figure) in figures {
        sqlx::query("insert into sqlite_stat1 (tbl, idx, stat) values (?1, ?2, ?3)")
            .bind(table)
            .bind(index)
            .bind(figure)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}
