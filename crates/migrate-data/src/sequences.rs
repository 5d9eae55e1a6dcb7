//! The sequences of a target's columns: a copy may take values from them, and its undo sets them
//! back where nobody else needs what was taken.

use migrate_schema::db::{Backend, Database, DbError};
use migrate_schema::quote::{ident, literal};
use serde::{Deserialize, Serialize};

use crate::access::{self, Tx};
use crate::layout::Layout;
use crate::triggers::plain_name;

/// A sequence as it was before the copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sequence {
    /// As SQL; on SQLite the table whose rowids it gives.
    name: String,
    /// The column that takes its values.
    column: String,
    /// Its last value; none on SQLite where it had given none.
    last: Option<String>,
    /// Whether that was given already, as PostgreSQL says it.
    called: String,
}

/// The sequences of the target's own, as they are. Read-only.
pub(crate) async fn of_target(db: &Database, layout: &Layout) -> Result<Vec<Sequence>, DbError> {
    match db.backend() {
        Backend::Postgres => of_postgres(db, layout).await,
        Backend::Sqlite => of_sqlite(db, layout).await,
    }
}

async fn of_postgres(db: &Database, layout: &Layout) -> Result<Vec<Sequence>, DbError> {
    let query = format!(
        "SELECT pg_catalog.format('%I.%I', n.nspname, s.relname), a.attname::text FROM pg_depend AS d \
         JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S' \
         JOIN pg_namespace AS n ON n.oid = s.relnamespace \
         JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid \
         WHERE d.classid = 'pg_catalog.pg_class'::regclass::oid \
         AND d.refclassid = 'pg_catalog.pg_class'::regclass::oid \
         AND d.refobjid = pg_catalog.to_regclass({})::oid AND d.deptype IN ('a', 'i') ORDER BY 1",
        literal(&layout.target_sql())
    );
    let mut all = Vec::new();
    for row in access::rows(db, &query).await? {
        let [Some(name), Some(column)] = row.as_slice() else {
            continue;
        };
        let state = format!("SELECT last_value::text, is_called::text FROM {name}");
        let found = match access::rows(db, &state).await {
            Ok(mut rows) => rows.pop().unwrap_or_default(),
            // A role that may not read it can't set it back either.
            Err(error) if error.code.as_deref() == Some("42501") => continue,
            Err(error) => return Err(error),
        };
        let mut values = found.into_iter();
        all.push(Sequence {
            name: name.clone(),
            column: column.clone(),
            last: values.next().flatten(),
            called: values.next().flatten().unwrap_or_default(),
        });
    }
    Ok(all)
}

async fn of_sqlite(db: &Database, layout: &Layout) -> Result<Vec<Sequence>, DbError> {
    let table = plain_name(&layout.target);
    let gives = format!(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND lower(name) = lower({}) AND lower(sql) LIKE '%autoincrement%'",
        literal(&table)
    );
    if access::rows(db, &gives).await?.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Sequence {
        last: given(db, &table).await?,
        name: table,
        column: "rowid".to_owned(),
        called: String::new(),
    }])
}

/// The last value that SQLite gave to a table with `AUTOINCREMENT`.
async fn given(db: &Database, table: &str) -> Result<Option<String>, DbError> {
    let query = format!(
        "SELECT seq FROM sqlite_sequence WHERE lower(name) = lower({})",
        literal(table)
    );
    let row = access::rows(db, &query).await?.pop();
    Ok(row.and_then(|mut row| row.pop().flatten()))
}

/// Sets the sequences back to what they were. What stays is returned, a line each. Idempotent.
pub(crate) async fn set_back(db: &Database, layout: &Layout) -> Result<Vec<String>, DbError> {
    let mut left = Vec::new();
    for now in of_target(db, layout).await? {
        let was = layout.sequences.iter().find(|one| one.name == now.name);
        let Some(was) = was.filter(|was| **was != now) else {
            continue;
        };
        if !free(db, layout, was).await? || !set(db, was).await? {
            left.push(format!(
                "the sequence of {}.{} stays at {} (before it was at {})",
                layout.target,
                was.column,
                now.last.as_deref().unwrap_or("its start"),
                was.last.as_deref().unwrap_or("its start")
            ));
        }
    }
    Ok(left)
}

/// Whether no row has a value that the sequence would give again.
async fn free(db: &Database, layout: &Layout, was: &Sequence) -> Result<bool, DbError> {
    let last = was.last.as_deref().unwrap_or("0");
    let column = match db.backend() {
        Backend::Postgres => ident(&was.column),
        Backend::Sqlite => was.column.clone(),
    };
    let query = format!(
        "SELECT count(*) FROM {} WHERE {column} > {last}",
        layout.target_sql()
    );
    Ok(access::count(db, &query).await? == 0)
}

/// Says whether that could be done.
async fn set(db: &Database, was: &Sequence) -> Result<bool, DbError> {
    let sql = match (db.backend(), &was.last) {
        (Backend::Postgres, Some(last)) => format!(
            "SELECT pg_catalog.setval({}::regclass, {last}, {})",
            literal(&was.name),
            was.called
        ),
        (Backend::Postgres, None) => return Ok(false),
        (Backend::Sqlite, Some(last)) => format!(
            "UPDATE sqlite_sequence SET seq = {last} WHERE lower(name) = lower({})",
            literal(&was.name)
        ),
        (Backend::Sqlite, None) => format!(
            "DELETE FROM sqlite_sequence WHERE lower(name) = lower({})",
            literal(&was.name)
        ),
    };
    let mut tx = Tx::begin(db).await?;
    match tx.execute(&sql).await {
        Ok(_) => tx.commit().await.map(|()| true),
        Err(error) if error.code.as_deref() == Some("42501") => {
            drop(tx.rollback().await);
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
