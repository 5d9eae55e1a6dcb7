//! What stands in a `sqlite_master`, sorted by how it is put back.

use migrate_schema::own::SQLITE_PREFIX;
use sqlx::{Row, SqliteConnection};

/// One row of `sqlite_master` that is the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) table: String,
    /// None for indexes that a constraint makes.
    pub(super) sql: Option<String>,
    pub(super) is_virtual: bool,
}

impl Object {
    pub(super) fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }

    /// Made by SQLite itself when it needs it.
    pub(super) fn is_internal(&self) -> bool {
        self.name
            .get(..7)
            .is_some_and(|start| start.eq_ignore_ascii_case("sqlite_"))
    }
}

/// The user's objects of an attached schema, in the order of their making.
pub(super) async fn objects(
    connection: &mut SqliteConnection,
    schema: &str,
) -> Result<Vec<Object>, sqlx::Error> {
    let sql = format!(
        "SELECT type, name, tbl_name, sql, rootpage IS NULL OR rootpage = 0 AS rootless \
         FROM {schema}.sqlite_master ORDER BY rowid"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .fetch_all(connection)
        .await?;
    let mut objects = Vec::with_capacity(rows.len());
    for row in rows {
        let kind: String = row.try_get("type")?;
        let rootless: bool = row.try_get("rootless")?;
        let object = Object {
            is_virtual: kind == "table" && rootless,
            kind,
            name: row.try_get("name")?,
            table: row.try_get("tbl_name")?,
            sql: row.try_get("sql")?,
        };
        if !is_ours(&object.name) && !is_ours(&object.table) {
            objects.push(object);
        }
    }
    Ok(objects)
}

fn is_ours(name: &str) -> bool {
    name.get(..SQLITE_PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(SQLITE_PREFIX))
}
