//! Where each tool keeps its history, and how it is read.

use serde_json::Value;

use super::{ForeignHistory, Line};
use crate::db::{Backend, Database, DbError, DbErrorKind};
use crate::layout::Layout;
use crate::quote::{TableName, literal};

/// The tables by name; two tools share one name and differ in a column.
pub(crate) const NAMES: [&str; 6] = [
    "_sqlx_migrations",
    "__diesel_schema_migrations",
    "schema_migrations",
    "goose_db_version",
    "flyway_schema_history",
    "refinery_schema_history",
];

/// Where a history is looked for on PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    /// In the search path: others may be of other applications.
    SearchPath,
    /// In all others.
    OtherSchemas,
}

/// Those that are in the database, with the tool that each is of and their names as SQL.
pub(super) async fn there(db: &Database, within: Within) -> Result<Vec<(Layout, String)>, DbError> {
    let elsewhere = within == Within::OtherSchemas;
    let names: Vec<String> = NAMES.iter().map(|name| format!("('{name}')")).collect();
    let names = names.join(", ");
    let found = in_the_users_path(db).await?;
    let sql = match db.backend() {
        Backend::Postgres => format!(
            "select coalesce(json_agg(json_build_array(c.relname, exists (select from pg_attribute a \
                 where a.attrelid = c.oid and a.attname = 'dirty'), c.oid::regclass::text))::text, '[]') \
             from pg_class c where c.relkind in ('r', 'p') and c.relname = any (array[{names}]) \
               and (c.oid <> all (array[{found}]::regclass[]::oid[])) = {elsewhere}"
        ),
        Backend::Sqlite => format!(
            "select json_group_array(json_array(column1, exists (select 1 \
                 from pragma_table_info(column1) where name = 'dirty'), column1)) \
             from (values {names}) where column1 in (select name from sqlite_master)"
        ),
    };
    let found = rows(db, &sql).await?;
    let mut found: Vec<(usize, Layout, String)> = found
        .iter()
        .filter_map(|row| {
            let place = NAMES.iter().position(|name| row[0] == *name)?;
            let dirty = row[1] == true || row[1] == 1;
            Some((
                place,
                layout(NAMES[place], dirty)?,
                row[2].as_str()?.to_owned(),
            ))
        })
        .collect();
    found.sort();
    Ok(found
        .into_iter()
        .map(|(_, layout, table)| (layout, table))
        .collect())
}

/// The tables that the user's search path finds, as SQL texts of their names.
async fn in_the_users_path(db: &Database) -> Result<String, DbError> {
    let mut found = Vec::new();
    for name in NAMES {
        let table = db.resolve(&TableName::new(None, name)).await?;
        if table.schema().is_some() {
            found.push(literal(&table.sql()));
        }
    }
    Ok(found.join(", "))
}

fn layout(name: &str, dirty: bool) -> Option<Layout> {
    Some(match name {
        "_sqlx_migrations" => Layout::Sqlx,
        "__diesel_schema_migrations" => Layout::Diesel,
        "schema_migrations" if dirty => Layout::GolangMigrate,
        "schema_migrations" => Layout::Dbmate,
        "goose_db_version" => Layout::Goose,
        "flyway_schema_history" => Layout::Flyway,
        "refinery_schema_history" => Layout::Refinery,
        _ => return None,
    })
}

/// Reads one of them.
pub(super) async fn read(
    db: &Database,
    layout: Layout,
    table: String,
) -> Result<ForeignHistory, DbError> {
    let (columns, order) = columns(db.backend(), layout);
    let sql = match db.backend() {
        Backend::Postgres => format!(
            "select coalesce(json_agg(json_build_array({columns}) order by {order})::text, '[]') \
             from {table}"
        ),
        Backend::Sqlite => format!(
            "select json_group_array(json_array({columns})) \
             from (select * from {table} order by {order})"
        ),
    };
    let lines = follow(layout, &rows(db, &sql).await?);
    Ok(ForeignHistory {
        layout,
        table,
        lines,
        upto: layout == Layout::GolangMigrate,
    })
}

/// Version, name, whether it ended well, checksum, kind; and what they are ordered by.
fn columns(backend: Backend, layout: Layout) -> (&'static str, &'static str) {
    match (layout, backend) {
        (Layout::Sqlx, Backend::Postgres) => (
            "version, description, success, encode(checksum, 'hex'), ''",
            "version",
        ),
        (Layout::Sqlx, Backend::Sqlite) => (
            "version, description, success, lower(hex(checksum)), ''",
            "version",
        ),
        (Layout::GolangMigrate, _) => ("version, '', not dirty, null, ''", "version"),
        (Layout::Goose, _) => ("version_id, '', is_applied, null, 'goose'", "id"),
        (Layout::Flyway, _) => (
            "version, description, success, checksum, type",
            "installed_rank",
        ),
        (Layout::Refinery, _) => ("version, name, true, null, ''", "version"),
        _ => ("version, '', true, null, ''", "version"),
    }
}

/// What the lines come to, in order: goose and Flyway also write down what was taken back.
fn follow(layout: Layout, rows: &[Value]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows {
        let text = |value: &Value| match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let line = Line {
            version: text(&row[0]),
            name: text(&row[1]).unwrap_or_default(),
            success: row[2] == true || row[2] == 1,
            checksum: text(&row[3]),
        };
        let kind = text(&row[4]).unwrap_or_default();
        let same = |other: &Line| {
            other.version == line.version && (line.version.is_some() || other.name == line.name)
        };
        match (layout, kind.as_str()) {
            (Layout::Goose, _) => {
                lines.retain(|other| !same(other));
                if line.success && line.version.as_deref() != Some("0") {
                    lines.push(line);
                }
            }
            (Layout::Flyway, "UNDO_SQL" | "DELETE") => lines.retain(|other| !same(other)),
            (Layout::Flyway, "SCHEMA") => {}
            (Layout::Flyway, _) => {
                lines.retain(|other| !same(other));
                lines.push(line);
            }
            _ => lines.push(line),
        }
    }
    lines
}

async fn rows(db: &Database, sql: &str) -> Result<Vec<Value>, DbError> {
    let unreadable = |why: String| {
        DbError::new(
            DbErrorKind::Other,
            format!("a history can't be understood: {why}"),
        )
    };
    let found = db.query_ours(sql).await?;
    let text = found
        .as_str()
        .ok_or_else(|| unreadable(found.to_string()))?;
    serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn versions(layout: Layout, rows: &[Value]) -> Vec<String> {
        follow(layout, rows)
            .into_iter()
            .map(|line| line.version.unwrap_or(line.name))
            .collect()
    }

    #[test]
    fn goose_and_flyway_write_down_what_was_taken_back() {
        assert_eq!(
            versions(
                Layout::Goose,
                &[
                    json!([0, "", true, null, "goose"]),
                    json!([1, "", true, null, "goose"]),
                    json!([2, "", true, null, "goose"]),
                    json!([2, "", false, null, "goose"]),
                ]
            ),
            ["1"]
        );
        assert_eq!(
            versions(
                Layout::Flyway,
                &[
                    json!(["1", "a", true, 7, "SQL"]),
                    json!(["2", "b", true, 8, "SQL"]),
                    json!(["2", "b", true, null, "UNDO_SQL"]),
                    json!([null, "view", true, 9, "SQL"]),
                    json!([null, "view", true, 10, "SQL"]),
                ]
            ),
            ["1", "view"]
        );
    }
}
