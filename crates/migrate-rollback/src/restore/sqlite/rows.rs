//! Copying the rows of one table, rowids included.

use migrate_schema::quote::ident;
use sqlx::{Row, SqliteConnection};

use super::{POINT, run};

/// Copies all rows of an ordinary table from the copy. The table is new and empty.
pub(super) async fn copy(
    connection: &mut SqliteConnection,
    table: &str,
) -> Result<(), sqlx::Error> {
    let columns = columns(connection, table).await?;
    let names: Vec<String> = columns
        .iter()
        .filter(|column| !column.generated)
        .map(|column| ident(&column.name))
        .collect();
    let mut list = names.clone();
    if let Some(rowid) = rowid_name(connection, table, &columns).await? {
        list.insert(0, rowid.to_owned());
    }
    if list.is_empty() {
        return Ok(());
    }
    let list = list.join(", ");
    let name = ident(table);
    run(
        connection,
        format!("INSERT INTO main.{name} ({list}) SELECT {list} FROM {POINT}.{name}"),
    )
    .await
}

struct Column {
    name: String,
    generated: bool,
}

async fn columns(
    connection: &mut SqliteConnection,
    table: &str,
) -> Result<Vec<Column>, sqlx::Error> {
    // 0 is an ordinary column, 1 hidden in a virtual table, 2 and 3 generated.
    let rows = sqlx::query("SELECT name, hidden FROM pragma_table_xinfo(?, ?) ORDER BY cid")
        .bind(table)
        .bind(POINT)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Column {
                name: row.try_get("name")?,
                generated: row.try_get::<i64, _>("hidden")? != 0,
            })
        })
        .collect()
}

/// The name by which the rowid can be reached: none for WITHOUT ROWID tables, and none if
/// columns of the table hide all three. An INTEGER PRIMARY KEY is the rowid; naming both
/// gives the same value twice.
async fn rowid_name(
    connection: &mut SqliteConnection,
    table: &str,
    columns: &[Column],
) -> Result<Option<&'static str>, sqlx::Error> {
    let without: bool = sqlx::query_scalar(
        "SELECT wr FROM pragma_table_list WHERE schema = ? AND name = ? COLLATE NOCASE",
    )
    .bind(POINT)
    .bind(table)
    .fetch_one(connection)
    .await?;
    let hidden = |name: &str| {
        columns
            .iter()
            .any(|column| column.name.eq_ignore_ascii_case(name))
    };
    Ok(["rowid", "_rowid_", "oid"]
        .into_iter()
        .find(|name| !without && !hidden(name)))
}
