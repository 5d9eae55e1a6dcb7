//! Marks on SQLite, whose rows are hashed here.

use std::collections::HashMap;

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, SqliteConnection};
use xxhash_rust::xxh3::xxh3_64;

use super::{Changes, Marked, Marks, STEP};
use crate::db::{Backend, DbError, Sqlite};
use crate::fingerprint::sqlite::row_text;
use crate::own;
use crate::quote::{TableName, ident};

/// How many marks one statement writes.
const PART: usize = 400;

/// A key's text and the hash of its row.
type Mark = (String, i64);

pub(super) async fn keep(lite: &Sqlite, run: &str, marks: &Marks) -> Result<(), DbError> {
    let mut tx = lite.begin().await?;
    let own = own::name(Backend::Sqlite, &marks.table);
    for sql in [
        format!("drop table if exists {own}"),
        format!(
            "create table {own} (object integer not null, key text not null, content integer not null)"
        ),
    ] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    }
    for (number, marked) in marks.of.iter().enumerate() {
        let Ok(table) = marked.table.parse::<TableName>() else {
            continue;
        };
        let mut found = Vec::new();
        each(&mut tx, marked, &table, |mark| found.push(mark)).await?;
        for part in found.chunks(PART) {
            let values = vec!["(?,?,?)"; part.len()].join(",");
            let sql = format!("insert into {own} values {values}");
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (key, content) in part {
                query = query
                    .bind(i64::try_from(number).unwrap_or(i64::MAX))
                    .bind(key)
                    .bind(content);
            }
            query.execute(&mut *tx).await?;
        }
    }
    let payload = serde_json::to_string(marks).expect("names are texts");
    own::sqlite::set_marker(&mut tx, run, STEP, &payload).await?;
    migrate_failpoint::hit!("marks.commit").map_err(sqlx::Error::Io)?;
    tx.commit().await?;
    migrate_failpoint::hit!("marks.committed").map_err(sqlx::Error::Io)?;
    Ok(())
}

/// A row's key as text; nothing where a part of it is NULL, for NULLs are not equal.
fn key_text(key: &[String]) -> String {
    let nulls = key.iter().map(|name| format!("{} is null", ident(name)));
    let nulls = nulls.collect::<Vec<_>>().join(" or ");
    format!("iif({nulls}, '', {})", row_text(key))
}

/// Calls for every row of a table.
async fn each(
    connection: &mut SqliteConnection,
    marked: &Marked,
    table: &TableName,
    mut take: impl FnMut(Mark),
) -> Result<(), DbError> {
    let content = row_text(&marked.columns);
    let key = if marked.key.is_empty() {
        "''".to_owned()
    } else {
        key_text(&marked.key)
    };
    let sql = format!("select {key}, {content} from {}", table.sql());
    let mut rows = sqlx::query_as::<_, (Vec<u8>, Vec<u8>)>(AssertSqlSafe(sql))
        .persistent(false)
        .fetch(connection);
    while let Some((key, content)) = rows.try_next().await? {
        let hash = xxh3_64(&content).cast_signed();
        let key = if key.is_empty() || marked.key.is_empty() {
            hash.to_string()
        } else {
            String::from_utf8_lossy(&key).into_owned()
        };
        take((key, hash));
    }
    Ok(())
}

/// What was kept of a table: by key, the content and how often it was there.
async fn kept(
    connection: &mut SqliteConnection,
    marks: &Marks,
    number: usize,
) -> Result<HashMap<String, (i64, u64)>, DbError> {
    let sql = format!(
        "select key, content from {} where object = {number}",
        own::name(Backend::Sqlite, &marks.table)
    );
    let mut rows = sqlx::query_as::<_, Mark>(AssertSqlSafe(sql))
        .persistent(false)
        .fetch(connection);
    let mut was = HashMap::new();
    while let Some((key, content)) = rows.try_next().await? {
        was.entry(key).or_insert((content, 0)).1 += 1;
    }
    Ok(was)
}

pub(super) async fn written(
    lite: &Sqlite,
    marks: &Marks,
    (number, marked): (usize, &Marked),
    table: &TableName,
) -> Result<super::Written, DbError> {
    let mut connection = lite.acquire().await?;
    let mut tx = sqlx::Connection::begin(&mut *connection).await?;
    let was = kept(&mut tx, marks, number).await?;
    let (mut inserted, mut updated) = (Vec::new(), Vec::new());
    each(&mut tx, marked, table, |(key, content)| {
        match was.get(&key) {
            None => inserted.push(key),
            Some((then, _)) if *then != content => updated.push(key),
            Some(_) => {}
        }
    })
    .await?;
    tx.rollback().await?;
    Ok(super::Written::Keys {
        key: row_text(&marked.key),
        inserted,
        updated,
    })
}

pub(super) async fn changes(
    lite: &Sqlite,
    marks: &Marks,
    (number, marked): (usize, &Marked),
    table: &TableName,
) -> Result<Changes, DbError> {
    let mut connection = lite.acquire().await?;
    let mut tx = sqlx::Connection::begin(&mut *connection).await?;
    let mut was = kept(&mut tx, marks, number).await?;
    let mut found = Changes::default();
    each(&mut tx, marked, table, |(key, content)| {
        match was.get_mut(&key) {
            Some((then, left)) if *left > 0 => {
                *left -= 1;
                found.updated += u64::from(*then != content);
            }
            _ => found.inserted += 1,
        }
    })
    .await?;
    found.deleted = was.values().map(|(_, left)| left).sum();
    tx.rollback().await?;
    Ok(found)
}

/// Runs statements in one transaction.
pub(super) async fn write(lite: &Sqlite, statements: Vec<String>) -> Result<(), DbError> {
    let mut tx = lite.begin().await?;
    for sql in statements {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    }
    Ok(tx.commit().await?)
}
