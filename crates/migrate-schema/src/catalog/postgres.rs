//! The catalog of PostgreSQL.

use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgConnection};

use super::piece::{Edge, Part, Piece};
use super::{Column, UniqueKey};
use crate::db::{DbError, Postgres};
use crate::quote::TableName;

/// A table up to this size is counted instead of estimated, in bytes.
const COUNTED: i64 = 64 << 20;

/// The settings under which definitions are read, so that an object has one text whatever the
/// database, its role or the environment sets: constants in them are printed as values are.
pub(crate) const READ_UNDER: [(&str, &str); 10] = [
    ("search_path", ""),
    // Compiling so long a query takes seconds, running it a fraction of one.
    ("jit", "off"),
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("quote_all_identifiers", "off"),
    ("standard_conforming_strings", "on"),
    ("xmlbinary", "base64"),
];

type Row = (
    String,
    String,
    Option<String>,
    i32,
    String,
    String,
    i64,
    i64,
);

/// A row of `postgres.sql` as JSON.
#[derive(serde::Deserialize)]
pub(crate) struct PrintedRow {
    name: String,
    block: String,
    parent: Option<String>,
    part: String,
    text: String,
    class: i64,
    oid: i64,
}

impl PrintedRow {
    pub(super) fn piece(self) -> Piece {
        Piece {
            name: self.name,
            block: self.block,
            parent: self.parent,
            part: Part::named(&self.part),
            text: self.text,
            address: (self.oid != 0).then_some((self.class, self.oid)),
        }
    }
}

pub(super) async fn pieces(connection: &mut PgConnection) -> Result<Vec<Piece>, DbError> {
    let before: Vec<(String, String)> =
        sqlx::query_as("select name, current_setting(name) from unnest($1::text[]) s(name)")
            .bind(READ_UNDER.map(|(name, _)| name).as_slice())
            .fetch_all(&mut *connection)
            .await?;
    set(connection, READ_UNDER).await?;
    let mut rows: Vec<Row> = sqlx::query_as(include_str!("postgres.sql"))
        .fetch_all(&mut *connection)
        .await?;
    let rare: Vec<Row> = sqlx::query_as(include_str!("postgres_rare.sql"))
        .fetch_all(&mut *connection)
        .await?;
    rows.extend(rare);
    let before = before.iter().map(|(name, value)| (&**name, &**value));
    set(connection, before).await?;
    Ok(rows
        .into_iter()
        .map(|(name, block, parent, _, part, text, class, oid)| Piece {
            name,
            block,
            parent,
            part: Part::named(&part),
            text,
            address: (oid != 0).then_some((class, oid)),
        })
        .collect())
}

/// What needs what, for the order in which objects can be made.
pub(crate) async fn edges(connection: &mut PgConnection) -> Result<Vec<Edge>, DbError> {
    let rows: Vec<(i64, i64, i64, i64, bool, bool)> =
        sqlx::query_as(include_str!("postgres_edges.sql"))
            .fetch_all(connection)
            .await?;
    Ok(rows
        .into_iter()
        .map(|(class, oid, to_class, to_oid, soft, stands_for)| Edge {
            from: (class, oid),
            to: (to_class, to_oid),
            soft,
            stands_for,
        })
        .collect())
}

/// For the rest of the transaction.
async fn set<'a>(
    connection: &mut PgConnection,
    settings: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), DbError> {
    let (names, values): (Vec<&str>, Vec<&str>) = settings.into_iter().unzip();
    sqlx::query(
        "select set_config(name, value, true) from unnest($1::text[], $2::text[]) s(name, value)",
    )
    .bind(names)
    .bind(values)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn columns(pg: &Postgres, table: &TableName) -> Result<Vec<Column>, DbError> {
    let table = pg.resolve(table).await?;
    let rows: Vec<(String, String, bool, Option<String>, bool, bool)> = sqlx::query_as(
        "select a.attname::text, format_type(a.atttypid, a.atttypmod), \
                a.attnotnull and not exists (select from pg_constraint n where n.conrelid = a.attrelid \
                    and n.contype = 'n' and n.conkey[1] = a.attnum and not n.convalidated), \
                case when a.attgenerated = '' then pg_get_expr(d.adbin, d.adrelid) end, \
                a.attgenerated <> '', a.attidentity = 'a' \
         from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum \
         where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped \
         order by a.attnum",
    )
    .bind(table.sql())
    .fetch_all(&mut *pg.acquire().await?)
    .await?;
    Ok(rows
        .into_iter()
        .map(
            |(name, type_name, not_null, default, generated, identity_always)| Column {
                name,
                type_name,
                not_null,
                default,
                generated,
                identity_always,
            },
        )
        .collect())
}

pub(super) async fn unique_keys(
    pg: &Postgres,
    table: &TableName,
) -> Result<Vec<UniqueKey>, DbError> {
    let table = pg.resolve(table).await?;
    let rows: Vec<(String, Vec<String>, bool)> = sqlx::query_as(
        "select c.relname::text, k.columns, i.indisprimary \
         from pg_index i join pg_class c on c.oid = i.indexrelid \
         join pg_am m on m.oid = c.relam and m.amname = 'btree' \
         cross join lateral ( \
             select array_agg(a.attname::text order by p.at) as columns, \
                    bool_and(a.attnotnull and o.collation = a.attcollation and not exists ( \
                        select from pg_constraint n where n.conrelid = a.attrelid and n.contype = 'n' \
                        and n.conkey[1] = a.attnum and not n.convalidated)) as fits \
             from generate_series(0, i.indnkeyatts - 1) p(at) \
             join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[p.at] \
             cross join lateral (select i.indcollation[p.at] as collation) o \
         ) k \
         where i.indrelid = to_regclass($1) and i.indisunique and i.indisvalid and i.indisready \
           and i.indimmediate and i.indpred is null and i.indexprs is null and k.fits",
    )
    .bind(table.sql())
    .fetch_all(&mut *pg.acquire().await?)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(name, columns, primary)| UniqueKey {
            name,
            columns,
            primary,
        })
        .collect())
}

pub(super) async fn key_with_nulls(
    pg: &Postgres,
    table: &TableName,
) -> Result<Option<Vec<String>>, DbError> {
    let table = pg.resolve(table).await?;
    let columns: Option<Vec<String>> = sqlx::query_scalar(
        "select k.columns from pg_index i join pg_class c on c.oid = i.indexrelid \
         cross join lateral ( \
             select array_agg(a.attname::text order by p.at) as columns \
             from generate_series(0, i.indnkeyatts - 1) p(at) \
             join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[p.at] \
         ) k \
         where i.indrelid = to_regclass($1) and i.indisunique and i.indisvalid and i.indisready \
           and i.indpred is null and i.indexprs is null order by c.relname limit 1",
    )
    .bind(table.sql())
    .fetch_optional(&mut *pg.acquire().await?)
    .await?;
    Ok(columns)
}

pub(super) async fn row_estimate(pg: &Postgres, table: &TableName) -> Result<u64, DbError> {
    let table = &pg.resolve(table).await?;
    let bytes = table_bytes(pg, table).await?;
    if i64::try_from(bytes).is_ok_and(|bytes| bytes <= COUNTED) {
        let sql = format!("select count(*) from {}", table.sql());
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .persistent(false)
            .fetch_one(&mut *pg.acquire().await?)
            .await?;
        return Ok(count.unsigned_abs());
    }
    // The planner scales what ANALYZE counted by the table's size now.
    let sql = format!("explain (format json) select from {}", table.sql());
    let plan: Json<serde_json::Value> = sqlx::query_scalar(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_one(&mut *pg.acquire().await?)
        .await?;
    let rows = plan
        .pointer("/0/Plan/Plan Rows")
        .and_then(serde_json::Value::as_u64);
    Ok(rows.unwrap_or_default())
}

pub(super) async fn table_bytes(pg: &Postgres, table: &TableName) -> Result<u64, DbError> {
    let table = pg.resolve(table).await?;
    let bytes: Option<i64> = sqlx::query_scalar(
        "select sum(pg_total_relation_size(t.relid))::bigint \
         from (select relid from pg_partition_tree(to_regclass($1)) \
               union select to_regclass($1)) t where t.relid is not null",
    )
    .bind(table.sql())
    .fetch_one(&mut *pg.acquire().await?)
    .await?;
    Ok(bytes.unwrap_or_default().unsigned_abs())
}

pub(crate) async fn user_tables(connection: &mut PgConnection) -> Result<Vec<TableName>, DbError> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select n.nspname::text, c.relname::text \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence <> 't' \
           and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'etlrs_migrate') \
           and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass \
                           and d.objid = c.oid and d.deptype = 'e') \
         order by 1, 2",
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(schema, table)| TableName::new(Some(&schema), &table))
        .collect())
}
