//! Marks on PostgreSQL, which hashes and compares on the server.

use sqlx::{AssertSqlSafe, PgConnection};

use super::{Changes, Marked, Marks, STEP, run_sql};
use crate::db::{Backend, DbError, Postgres, pin};
use crate::fingerprint::postgres::{SETTINGS, rows_of};
use crate::own;
use crate::quote::{TableName, ident};

/// The last tables, from `last` on, are read when all DDL is done.
pub(super) async fn keep(
    pg: &Postgres,
    run: &str,
    mut marks: Marks,
    last: usize,
) -> Result<(), DbError> {
    let mut tables = Vec::with_capacity(marks.of.len());
    for marked in &marks.of {
        tables.push(match marked.table.parse::<TableName>() {
            Ok(table) => Some(pg.resolve(&table).await?),
            Err(_) => None,
        });
    }
    let mut tx = pg.begin().await?;
    settle(&mut tx).await?;
    let own = own::name(Backend::Postgres, &marks.table);
    run_sql(&mut tx, format!("drop table if exists {own}")).await?;
    let create = format!(
        "create table {own} (object integer not null, key bigint not null, content bigint not null)"
    );
    run_sql(&mut tx, create).await?;
    // A publication of all tables would have a key for every row that is taken out again.
    run_sql(&mut tx, format!("alter table {own} replica identity full")).await?;
    keep_rows(&mut tx, &own, &marks, &tables, 0..last).await?;
    // A way back looks each row up, and no statistics tell the planner how many marks there are.
    run_sql(&mut tx, format!("create index on {own} (key, object)")).await?;
    keep_rows(&mut tx, &own, &marks, &tables, last..marks.of.len()).await?;
    run_sql(&mut tx, format!("analyze {own}")).await?;
    let transaction: String = sqlx::query_scalar("select pg_current_xact_id()::text")
        .fetch_one(&mut *tx)
        .await?;
    marks.transaction = transaction.parse().ok();
    let payload = serde_json::to_string(&marks).expect("names are texts");
    own::postgres::set_marker(&mut tx, run, STEP, &payload).await?;
    migrate_failpoint::hit!("marks.commit").map_err(sqlx::Error::Io)?;
    tx.commit().await?;
    migrate_failpoint::hit!("marks.committed").map_err(sqlx::Error::Io)?;
    Ok(())
}

async fn keep_rows(
    tx: &mut PgConnection,
    own: &str,
    marks: &Marks,
    tables: &[Option<TableName>],
    which: std::ops::Range<usize>,
) -> Result<(), DbError> {
    for number in which {
        let Some(table) = &tables[number] else {
            continue;
        };
        let from = rows_of(tx, table).await?;
        let hashes = hashes(&marks.of[number]);
        let sql = format!("insert into {own} select {number}, {hashes} from {from} t");
        run_sql(tx, sql).await?;
    }
    Ok(())
}

/// The hash of a row's key and of the row, of the relation `t`. A table without a key has rows
/// that are their own key.
pub(super) fn hashes(marked: &Marked) -> String {
    let content = hash(&marked.columns);
    if marked.key.is_empty() {
        format!("{content}, {content}")
    } else {
        format!("{}, {content}", key_hash(marked))
    }
}

/// The hash of a row's key; of the row where a part of the key is NULL, for NULLs are not equal.
fn key_hash(marked: &Marked) -> String {
    let nulls = marked
        .key
        .iter()
        .map(|name| format!("t.{} is null", ident(name)));
    let nulls = nulls.collect::<Vec<_>>().join(" or ");
    format!(
        "case when {nulls} then {} else {} end",
        hash(&marked.columns),
        hash(&marked.key)
    )
}

/// As text, because not every type has a hash, and an enum's is made of the catalog's numbers.
pub(super) fn hash(columns: &[String]) -> String {
    let columns: Vec<String> = columns
        .iter()
        .map(|name| format!("t.{}", ident(name)))
        .collect();
    format!(
        "pg_catalog.hashtextextended(row({})::text, 0)",
        columns.join(", ")
    )
}

pub(super) fn written(marks: &Marks, (number, marked): (usize, &Marked)) -> super::Written {
    let own = own::name(Backend::Postgres, &marks.table);
    let known = format!(
        "EXISTS (SELECT 1 FROM {own} AS m WHERE m.object = {number} AND m.key = {}",
        hash(&marked.key)
    );
    super::Written::Conditions {
        inserted: format!("NOT {known})"),
        updated: format!("{known} AND m.content <> {})", hash(&marked.columns)),
    }
}

pub(super) async fn changes(
    pg: &Postgres,
    marks: &Marks,
    (number, marked): (usize, &Marked),
    table: &TableName,
) -> Result<Changes, DbError> {
    let table = pg.resolve(table).await?;
    let mut tx = reading(pg).await?;
    let from = rows_of(&mut tx, &table).await?;
    let own = own::name(Backend::Postgres, &marks.table);
    let sql = if marked.key.is_empty() {
        let content = hash(&marked.columns);
        format!(
            "with was as (select content, count(*) as n from {own} where object = {number} group by 1), \
             now as (select {content} as content, count(*) as n from {from} t group by 1) \
             select coalesce(sum(greatest(coalesce(now.n, 0) - coalesce(was.n, 0), 0)), 0)::bigint, 0::bigint, \
             coalesce(sum(greatest(coalesce(was.n, 0) - coalesce(now.n, 0), 0)), 0)::bigint \
             from now full join was on now.content = was.content"
        )
    } else {
        format!(
            "with was as (select key, content from {own} where object = {number}), \
             now as (select {key} as key, {content} as content from {from} t) \
             select count(*) filter (where was.key is null), \
             count(*) filter (where now.content <> was.content), \
             count(*) filter (where now.key is null) \
             from now full join was on now.key = was.key",
            key = key_hash(marked),
            content = hash(&marked.columns),
        )
    };
    let (inserted, updated, deleted): (i64, i64, i64) = sqlx::query_as(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_one(&mut *tx)
        .await?;
    tx.rollback().await?;
    Ok(Changes {
        inserted: inserted.unsigned_abs(),
        updated: updated.unsigned_abs(),
        deleted: deleted.unsigned_abs(),
    })
}

/// Ages are compared, because a row knows only the lower half of its transaction's number. A
/// mark that is two thousand million transactions old says nothing.
pub(super) async fn written_since(
    pg: &Postgres,
    marks: &Marks,
    table: &TableName,
) -> Result<Option<u64>, DbError> {
    let Some(transaction) = marks.transaction else {
        return Ok(None);
    };
    let table = pg.resolve(table).await?;
    let mut tx = reading(pg).await?;
    let now: String = sqlx::query_scalar("select pg_snapshot_xmax(pg_current_snapshot())::text")
        .fetch_one(&mut *tx)
        .await?;
    let age = now.parse::<u64>().unwrap_or(0).checked_sub(transaction);
    if age.is_none_or(|age| age >= 2_000_000_000) {
        return Ok(None);
    }
    let from = rows_of(&mut tx, &table).await?;
    let sql = format!(
        "select count(*) from {from} t where age(t.xmin) < age('{}'::xid)",
        transaction % (1 << 32)
    );
    let rows: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_one(&mut *tx)
        .await?;
    tx.rollback().await?;
    Ok(Some(rows.unsigned_abs()))
}

async fn reading(pg: &Postgres) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, DbError> {
    let mut tx = pg.begin_snapshot().await?;
    settle(&mut tx).await?;
    Ok(tx)
}

/// Under these settings a row has one text; `migrate-data` compares rows under the same.
async fn settle(tx: &mut PgConnection) -> Result<(), DbError> {
    sqlx::query(SETTINGS).execute(&mut *tx).await?;
    run_sql(tx, "set local intervalstyle = 'postgres'".to_owned()).await
}

/// Runs statements in one transaction under the settings of marks.
pub(super) async fn write(pg: &Postgres, statements: Vec<String>) -> Result<(), DbError> {
    let mut tx = pg.begin().await?;
    settle(&mut tx).await?;
    // Their conditions name tables of the plan as the user does.
    pg.as_the_user_after_ours(&mut tx).await?;
    for sql in statements {
        run_sql(&mut tx, sql).await?;
    }
    pin(&mut tx).await?;
    Ok(tx.commit().await?)
}
