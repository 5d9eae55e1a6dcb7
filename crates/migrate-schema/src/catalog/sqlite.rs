//! The catalog of SQLite.

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::piece::{Part, Piece};
use super::{Column, UniqueKey};
use crate::db::{Backend, DbError};
use crate::own::SQLITE_PREFIX;
use crate::quote::{TableName, ident, literal};
use crate::script::token::significant;

/// A row of `sqlite_master` with a text.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct MasterRow {
    /// `table`, `index`, `view` or `trigger`.
    pub(crate) kind: String,
    /// The object.
    pub(crate) name: String,
    /// The table it belongs to.
    pub(crate) table: String,
    /// Its text, as SQLite keeps it.
    pub(crate) sql: String,
}

impl MasterRow {
    /// The name by which catalogs list it.
    pub(crate) fn object(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }

    /// Its text, the same however the table's name is quoted (a rename quotes it).
    pub(crate) fn definition(&self) -> String {
        if self.kind != "table" {
            return self.sql.clone();
        }
        let tokens = significant(Backend::Sqlite, &self.sql);
        let at = usize::from(
            tokens
                .get(1)
                .is_some_and(|token| token.is_word(&self.sql, "virtual")),
        ) + 2;
        match tokens.get(at) {
            Some(name) => format!(
                "{} {}{}",
                &self.sql[..tokens[at - 1].end],
                ident(&self.name),
                &self.sql[name.end..]
            ),
            None => self.sql.clone(),
        }
    }
}

/// The user's objects that have a text, in the order they were created.
pub(crate) async fn master(connection: &mut SqliteConnection) -> Result<Vec<MasterRow>, DbError> {
    let rows: Vec<(String, String, String, String)> = sqlx::query_as(
        "select type, name, tbl_name, sql from sqlite_master \
         where sql is not null and name not like 'sqlite\\_%' escape '\\' \
           and substr(name, 1, length(?1)) <> ?1 and substr(tbl_name, 1, length(?1)) <> ?1 \
         order by rowid",
    )
    .bind(SQLITE_PREFIX)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(kind, name, table, sql)| MasterRow {
            kind,
            name,
            table,
            sql,
        })
        .collect())
}

pub(super) async fn pieces(connection: &mut SqliteConnection) -> Result<Vec<Piece>, DbError> {
    let shadows: Vec<String> =
        sqlx::query_scalar("select name from pragma_table_list where type = 'shadow'")
            .fetch_all(&mut *connection)
            .await?;
    let rows = master(connection).await?;
    let mut pieces: Vec<Piece> = rows
        .iter()
        .map(|row| Piece {
            name: row.object(),
            block: row.object(),
            parent: (row.name != row.table).then(|| format!("table {}", row.table)),
            // A virtual table makes the tables of its content itself.
            part: if row.kind == "table" && shadows.contains(&row.name) {
                Part::Fact
            } else {
                Part::Head
            },
            text: row.definition(),
            address: None,
        })
        .collect();
    for pragma in ["user_version", "application_id"] {
        let value: i64 = sqlx::query_scalar(AssertSqlSafe(format!("pragma {pragma}")))
            .fetch_one(&mut *connection)
            .await?;
        pieces.push(Piece {
            name: pragma.to_owned(),
            block: pragma.to_owned(),
            parent: None,
            part: Part::Fact,
            text: value.to_string(),
            address: None,
        });
    }
    pieces.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(pieces)
}

fn schema(table: &TableName) -> &str {
    table.schema().unwrap_or("main")
}

/// A column, how it is hidden (0 not, 2 and 3 generated), and its place in the primary key.
struct Described {
    column: Column,
    key: i64,
}

async fn describe(
    connection: &mut SqliteConnection,
    table: &TableName,
) -> Result<Vec<Described>, DbError> {
    let rows: Vec<(String, String, i64, Option<String>, i64, i64)> = sqlx::query_as(
        "select name, type, \"notnull\", dflt_value, pk, hidden \
         from pragma_table_xinfo(?1, ?2) where hidden <> 1 order by cid",
    )
    .bind(table.table())
    .bind(schema(table))
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(
            |(name, type_name, not_null, default, key, hidden)| Described {
                column: Column {
                    name,
                    type_name,
                    not_null: not_null != 0,
                    default,
                    generated: hidden > 1,
                    identity_always: false,
                },
                key,
            },
        )
        .collect())
}

pub(crate) async fn columns(
    connection: &mut SqliteConnection,
    table: &TableName,
) -> Result<Vec<Column>, DbError> {
    let described = describe(connection, table).await?;
    Ok(described.into_iter().map(|found| found.column).collect())
}

/// The column that is another name of the rowid: `INTEGER PRIMARY KEY`, in that spelling.
pub(crate) async fn rowid_alias(
    connection: &mut SqliteConnection,
    table: &TableName,
) -> Result<Option<String>, DbError> {
    if is_without_rowid(connection, table).await? {
        return Ok(None);
    }
    let described = describe(connection, table).await?;
    let mut keys = described.iter().filter(|found| found.key > 0);
    let (first, second) = (keys.next(), keys.next());
    let Some(first) = first.filter(|_| second.is_none()) else {
        return Ok(None);
    };
    if !first.column.type_name.eq_ignore_ascii_case("integer") {
        return Ok(None);
    }
    // `INTEGER PRIMARY KEY DESC` is no alias; such a table has an index for its key.
    let has_index: Option<i64> =
        sqlx::query_scalar("select 1 from pragma_index_list(?1, ?2) where origin = 'pk'")
            .bind(table.table())
            .bind(schema(table))
            .fetch_optional(connection)
            .await?;
    Ok(has_index.is_none().then(|| first.column.name.clone()))
}

pub(crate) async fn is_without_rowid(
    connection: &mut SqliteConnection,
    table: &TableName,
) -> Result<bool, DbError> {
    let found: Option<i64> = sqlx::query_scalar(
        "select wr from pragma_table_list where schema = ?1 and name = ?2 collate nocase",
    )
    .bind(schema(table))
    .bind(table.table())
    .fetch_optional(connection)
    .await?;
    Ok(found == Some(1))
}

pub(super) async fn unique_keys(
    connection: &mut SqliteConnection,
    table: &TableName,
) -> Result<Vec<UniqueKey>, DbError> {
    let mut keys = Vec::new();
    if let Some(alias) = rowid_alias(connection, table).await? {
        keys.push(UniqueKey {
            name: table.table().to_owned(),
            columns: vec![alias],
            primary: true,
        });
    }
    let columns = columns(connection, table).await?;
    let clustered = is_without_rowid(connection, table).await?;
    let indexes: Vec<(String, String)> = sqlx::query_as(
        "select name, origin from pragma_index_list(?1, ?2) where \"unique\" = 1 and partial = 0",
    )
    .bind(table.table())
    .bind(schema(table))
    .fetch_all(&mut *connection)
    .await?;
    for (name, origin) in indexes {
        let primary = origin == "pk";
        let parts: Vec<(Option<String>, Option<String>)> = sqlx::query_as(
            "select name, coll from pragma_index_xinfo(?1, ?2) where key = 1 order by seqno",
        )
        .bind(&name)
        .bind(schema(table))
        .fetch_all(&mut *connection)
        .await?;
        let sorts_alike = same_order(connection, table, &name, &parts).await?;
        let names: Option<Vec<String>> = parts
            .into_iter()
            .map(|(part, _)| {
                part.filter(|part| {
                    (primary && clustered)
                        || columns
                            .iter()
                            .any(|column| column.not_null && column.name == *part)
                })
            })
            .collect();
        if let Some(columns) = names.filter(|_| sorts_alike) {
            keys.push(UniqueKey {
                name,
                columns,
                primary,
            });
        }
    }
    Ok(keys)
}

pub(super) async fn key_with_nulls(
    connection: &mut SqliteConnection,
    table: &TableName,
) -> Result<Option<Vec<String>>, DbError> {
    let indexes: Vec<String> = sqlx::query_scalar(
        "select name from pragma_index_list(?1, ?2) where \"unique\" = 1 and partial = 0 \
         order by origin = 'pk' desc, name",
    )
    .bind(table.table())
    .bind(schema(table))
    .fetch_all(&mut *connection)
    .await?;
    for index in indexes {
        let parts: Vec<Option<String>> = sqlx::query_scalar(
            "select name from pragma_index_xinfo(?1, ?2) where key = 1 order by seqno",
        )
        .bind(&index)
        .bind(schema(table))
        .fetch_all(&mut *connection)
        .await?;
        // An index on an expression names no column there.
        if let Some(columns) = parts.into_iter().collect() {
            return Ok(Some(columns));
        }
    }
    Ok(None)
}

/// Whether `ORDER BY` of the columns sorts as the index does. An index can name a collation of
/// its own; rows that it tells apart could then be equal for `ORDER BY`, and be skipped.
async fn same_order(
    connection: &mut SqliteConnection,
    table: &TableName,
    index: &str,
    parts: &[(Option<String>, Option<String>)],
) -> Result<bool, DbError> {
    let texts: Vec<(String, Option<String>)> = sqlx::query_as(AssertSqlSafe(format!(
        "select type, sql from {}.sqlite_master \
         where (type = 'table' and name = ?1 collate nocase) or (type = 'index' and name = ?2)",
        ident(schema(table))
    )))
    .bind(table.table())
    .bind(index)
    .fetch_all(connection)
    .await?;
    let collates = |kind: &str| {
        texts.iter().any(|(found, sql)| {
            found == kind
                && sql.as_deref().is_some_and(|sql| {
                    significant(Backend::Sqlite, sql)
                        .iter()
                        .any(|token| token.is_word(sql, "collate"))
                })
        })
    };
    let binary = parts
        .iter()
        .all(|(_, collation)| collation.as_deref().is_none_or(|name| name == "BINARY"));
    Ok(!collates("index") && (binary || collates("table")))
}

pub(super) async fn row_count(
    connection: &mut SqliteConnection,
    table: &TableName,
) -> Result<u64, DbError> {
    let sql = format!("select count(*) from {}", table.sql());
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_one(connection)
        .await?;
    Ok(count.unsigned_abs())
}

pub(super) async fn table_bytes(
    connection: &mut SqliteConnection,
    table: &TableName,
) -> Result<u64, DbError> {
    let objects: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "select name from {}.sqlite_master where tbl_name = ?1 collate nocase \
         and type in ('table', 'index')",
        ident(schema(table))
    )))
    .bind(table.table())
    .fetch_all(&mut *connection)
    .await?;
    let mut total = 0;
    for object in objects {
        let sql = format!(
            "select sum(pgsize) from dbstat({}, 1) where name = {}",
            literal(schema(table)),
            literal(&object)
        );
        let bytes: Option<i64> = sqlx::query_scalar(AssertSqlSafe(sql))
            .persistent(false)
            .fetch_one(&mut *connection)
            .await?;
        total += bytes.unwrap_or_default().unsigned_abs();
    }
    Ok(total)
}

pub(crate) async fn user_tables(
    connection: &mut SqliteConnection,
) -> Result<Vec<TableName>, DbError> {
    let names: Vec<String> = sqlx::query_scalar(
        "select name from pragma_table_list where schema = 'main' and type in ('table', 'shadow') \
         and name not like 'sqlite\\_%' escape '\\' and substr(name, 1, length(?1)) <> ?1 order by 1",
    )
    .bind(SQLITE_PREFIX)
    .fetch_all(connection)
    .await?;
    Ok(names
        .iter()
        .map(|name| TableName::new(None, name))
        .collect())
}
