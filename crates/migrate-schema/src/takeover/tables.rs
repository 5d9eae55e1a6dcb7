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

/// Those of the usual names in the search path, with the tool that each is of and their names as SQL.
pub(super) async fn there(db: &Database) -> Result<Vec<(Layout, String)>, DbError> {
    let names: Vec<String> = NAMES.iter().map(|name| format!("('{name}')")).collect();
    let names = names.join(", ");
    let found = in_the_users_path(db).await?;
    let sql = match db.backend() {
        Backend::Postgres => format!(
            "select coalesce(json_agg(json_build_array(c.relname, exists (select from pg_attribute a \
                 where a.attrelid = c.oid and a.attname = 'dirty'), c.oid::regclass::text))::text, '[]') \
             from pg_class c where c.relkind in ('r', 'p') and c.oid = any (array[{found}]::regclass[]::oid[])"
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

/// All tables that look like a history, by their columns: tool, layout, name as SQL.
pub(super) async fn shaped(
    db: &Database,
) -> Result<Vec<(&'static str, Option<Layout>, String)>, DbError> {
    let visible = in_the_users_path(db).await?;
    let sql = match db.backend() {
        Backend::Postgres => format!(
            "select coalesce(json_agg(json_build_array(t.relname, t.name, t.columns) \
                 order by t.visible desc, t.name)::text, '[]') \
             from (select c.relname, c.oid::regclass::text as name, c.oid = any (array[{visible}]::regclass[]::oid[]) as visible, \
                       json_agg(a.attname) as columns \
                   from pg_class c join pg_namespace n on n.oid = c.relnamespace \
                   join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped \
                   where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' \
                     and n.nspname not in ('information_schema', 'etlrs_migrate') \
                   group by c.oid, c.relname having count(*) <= 20) t"
        ),
        Backend::Sqlite => {
            "select json_group_array(json_array(m.name, m.name, \
                 (select json_group_array(c.name) from pragma_table_info(m.name) c))) \
             from (select name from sqlite_master where type = 'table' \
                   and name not like '~_etlrs~_%' escape '~' and name not like 'sqlite~_%' escape '~' \
                   order by name) m"
                .to_owned()
        }
    };
    let found = rows(db, &sql).await?;
    Ok(found
        .iter()
        .filter_map(|row| {
            let columns = match &row[2] {
                // SQLite nests JSON as a text in some versions.
                Value::String(text) => serde_json::from_str(text).ok()?,
                other => other.clone(),
            };
            let columns: Vec<String> = serde_json::from_value(columns).ok()?;
            let name = row[0].as_str()?;
            let (tool, layout) = super::shapes::of(name, &columns.into_iter().collect())?;
            let table = match db.backend() {
                Backend::Postgres => row[1].as_str()?.to_owned(),
                Backend::Sqlite => crate::quote::ident(name),
            };
            Some((tool, layout, table))
        })
        .collect())
}

/// Whether a table holds anything.
pub(super) async fn has_rows(db: &Database, table: &str) -> Result<bool, DbError> {
    let found = db
        .query_json(&format!(
            "select count(*) from (select 1 from {table} limit 1) t"
        ))
        .await?;
    Ok(found != 0)
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
