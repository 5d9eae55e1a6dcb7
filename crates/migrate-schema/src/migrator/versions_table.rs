//! What the guide's table `schema_versions` is in this database, and whose.

use serde_json::Value;

use super::versions::TABLE;
use crate::catalog::{table_columns, unique_keys};
use crate::db::{Database, DbError};
use crate::quote::TableName;

/// A table `schema_versions`, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum VersionsTable {
    /// There is none.
    Missing,
    /// It has the guide's form, and these versions.
    Guide(Vec<i64>),
    /// It is somebody else's, for this reason.
    Foreign(String),
}

impl VersionsTable {
    /// Reads it. Read-only.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn read(db: &Database) -> Result<Self, DbError> {
        let table = TableName::new(None, TABLE);
        let columns = table_columns(db, &table).await?;
        if columns.is_empty() {
            return Ok(Self::Missing);
        }
        match db {
            #[cfg(feature = "postgres")]
            Database::Postgres(pg) => {
                let table = pg.resolve(&table).await?;
                let mut connection = pg.acquire().await?;
                crate::own::must_hold_no_foreign_code(&mut connection, &table).await?;
            }
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => {}
        }
        let column = |name: &str| columns.iter().find(|one| one.name == name);
        let (Some(version), Some(_)) = (column("version"), column("applied_at")) else {
            let names: Vec<&str> = columns.iter().map(|one| one.name.as_str()).collect();
            return Ok(Self::Foreign(format!(
                "its columns are {}",
                names.join(", ")
            )));
        };
        if !version.type_name.to_lowercase().contains("int") {
            return Ok(Self::Foreign(format!(
                "its column version is {}",
                version.type_name
            )));
        }
        let needed = columns.iter().find(|one| {
            !matches!(one.name.as_str(), "version" | "applied_at")
                && one.not_null
                && one.default.is_none()
                && !one.generated
        });
        if let Some(needed) = needed {
            return Ok(Self::Foreign(format!(
                "its column {} must be given",
                needed.name
            )));
        }
        let keys = unique_keys(db, &table).await?;
        if keys.iter().any(|key| key.columns != ["version"]) {
            return Ok(Self::Foreign("it has other keys".to_owned()));
        }
        let found = db
            .query_json(&format!(
                "select version from {TABLE} where version is not null order by 1"
            ))
            .await?;
        Ok(Self::Guide(numbers(&found)))
    }

    /// The highest version that it says; none for another's table.
    pub(crate) fn highest(&self) -> Option<i64> {
        match self {
            Self::Guide(versions) => Some(versions.last().copied().unwrap_or(0)),
            Self::Missing => Some(0),
            Self::Foreign(_) => None,
        }
    }

    pub(super) fn has(&self, version: i64) -> bool {
        matches!(self, Self::Guide(versions) if versions.contains(&version))
    }
}

/// The rows of a query with one column: no row, one value, or a list of values.
fn numbers(found: &Value) -> Vec<i64> {
    match found {
        Value::Array(rows) => rows
            .iter()
            .filter_map(|row| row.as_i64().or_else(|| row.get(0).and_then(Value::as_i64)))
            .collect(),
        one => one.as_i64().into_iter().collect(),
    }
}
