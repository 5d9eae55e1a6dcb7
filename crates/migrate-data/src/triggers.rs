//! The target's own triggers, put to sleep while images are put back.

use migrate_schema::db::{Database, DbError};
use migrate_schema::quote::{TableName, ident, literal};

use crate::access::{self, Tx};
use crate::layout::Layout;

/// The statements that wake the triggers again, as they were.
#[derive(Debug, Default)]
pub(crate) struct Sleeping(Vec<String>);

/// Disables the target's user triggers within a transaction: exactly those that are enabled on
/// PostgreSQL. SQLite can't disable a trigger: there they are dropped, to be created verbatim.
pub(crate) async fn disable(tx: &mut Tx, layout: &Layout) -> Result<Sleeping, DbError> {
    match tx {
        #[cfg(feature = "postgres")]
        Tx::Postgres(_) => disable_postgres(tx, layout).await,
        #[cfg(feature = "sqlite")]
        Tx::Sqlite(_) => drop_sqlite(tx, layout).await,
    }
}

/// Makes the triggers what they were.
pub(crate) async fn enable(tx: &mut Tx, sleeping: Sleeping) -> Result<(), DbError> {
    for statement in sleeping.0 {
        tx.execute(&statement).await?;
    }
    Ok(())
}

#[cfg(feature = "postgres")]
async fn disable_postgres(tx: &mut Tx, layout: &Layout) -> Result<Sleeping, DbError> {
    let table = layout.target_sql();
    let query = format!(
        "SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = {}::regclass::oid AND NOT tgisinternal AND tgenabled <> 'D' ORDER BY tgname",
        literal(&table)
    );
    let enabled = tx.rows(&query).await?;
    let mut wake = Vec::new();
    for row in enabled {
        let [Some(name), Some(state)] = row.as_slice() else {
            continue;
        };
        let how = match state.as_str() {
            "R" => "ENABLE REPLICA TRIGGER",
            "A" => "ENABLE ALWAYS TRIGGER",
            _ => "ENABLE TRIGGER",
        };
        tx.execute(&format!(
            "ALTER TABLE {table} DISABLE TRIGGER {}",
            ident(name)
        ))
        .await?;
        wake.push(format!("ALTER TABLE {table} {how} {}", ident(name)));
    }
    if !wake.is_empty() {
        // A table with checks that wait for the commit can't be altered.
        tx.execute("SET CONSTRAINTS ALL IMMEDIATE").await?;
    }
    Ok(Sleeping(wake))
}

#[cfg(feature = "sqlite")]
async fn drop_sqlite(tx: &mut Tx, layout: &Layout) -> Result<Sleeping, DbError> {
    let name = plain_name(&layout.target);
    let query = format!(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower({}) ORDER BY rowid",
        literal(&name)
    );
    let mut create = Vec::new();
    for row in tx.rows(&query).await? {
        let [Some(name), Some(sql)] = row.as_slice() else {
            continue;
        };
        tx.execute(&format!("DROP TRIGGER {}", ident(name))).await?;
        create.push(sql.clone());
    }
    Ok(Sleeping(create))
}

pub(crate) fn plain_name(table: &str) -> String {
    table
        .parse::<TableName>()
        .map_or_else(|_| table.to_owned(), |table| table.table().to_owned())
}

/// The tables with a foreign key to the target, each with its columns (SQLite's own message names none).
pub(crate) async fn referring_tables(
    db: &Database,
    layout: &Layout,
) -> Result<Vec<String>, DbError> {
    let query = format!(
        "SELECT m.name || '(' || group_concat(f.\"from\", ', ') || ')' FROM sqlite_master AS m, pragma_foreign_key_list(m.name) AS f \
         WHERE m.type = 'table' AND lower(f.\"table\") = lower({}) GROUP BY m.name, f.id ORDER BY 1",
        literal(&plain_name(&layout.target))
    );
    Ok(access::rows(db, &query)
        .await?
        .into_iter()
        .filter_map(|mut row| row.pop().flatten())
        .collect())
}
