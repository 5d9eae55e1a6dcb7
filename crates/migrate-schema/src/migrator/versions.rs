//! The guide's table `schema_versions(version, applied_at)`.

use super::versions_table::VersionsTable;
use crate::db::{Database, DbError};

/// Its name.
pub(crate) const TABLE: &str = "schema_versions";

/// Its columns, as the guide has them.
const COLUMNS: &str = "version INTEGER PRIMARY KEY, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP";

/// The highest version; 0 if there is no table of the guide's form.
pub(crate) async fn current(db: &Database) -> Result<i64, DbError> {
    Ok(VersionsTable::read(db).await?.highest().unwrap_or(0))
}

/// Within an open transaction on PostgreSQL.
#[cfg(feature = "postgres")]
pub(super) mod postgres {
    use sqlx::{AssertSqlSafe, PgConnection};

    use super::{COLUMNS, TABLE};
    use crate::db::{DbError, DbErrorKind, Postgres, pin};
    use crate::quote::TableName;

    /// Where the table is, or is to be: in the schemas that the user's search path names.
    struct Place {
        table: String,
        exists: bool,
    }

    async fn place(pg: &Postgres, tx: &mut PgConnection) -> Result<Place, DbError> {
        pg.as_the_user(tx).await?;
        let (found, home): (Option<String>, Option<String>) = sqlx::query_as(
            "select (select n.nspname::pg_catalog.text from pg_catalog.pg_class c \
                     join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace \
                     where c.oid operator(pg_catalog.=) pg_catalog.to_regclass('schema_versions')), \
                    pg_catalog.current_schema()::pg_catalog.text",
        )
        .fetch_one(&mut *tx)
        .await?;
        pin(tx).await?;
        if let Some(schema) = &found {
            crate::own::must_hold_no_foreign_code(tx, &TableName::new(Some(schema), TABLE)).await?;
        }
        let exists = found.is_some();
        let schema = found.or(home).ok_or_else(|| {
            DbError::new(
                DbErrorKind::Missing,
                format!("no schema of the search path exists, to make {TABLE} in"),
            )
        })?;
        Ok(Place {
            table: TableName::new(Some(&schema), TABLE).sql(),
            exists,
        })
    }

    pub(in super::super) async fn exists(
        pg: &Postgres,
        tx: &mut PgConnection,
    ) -> Result<bool, DbError> {
        Ok(place(pg, tx).await?.exists)
    }

    /// Records a version, unless it is there. Whether it was not.
    pub(in super::super) async fn record(
        pg: &Postgres,
        tx: &mut PgConnection,
        version: i64,
    ) -> Result<bool, DbError> {
        let Place { table, exists } = place(pg, tx).await?;
        if !exists {
            let create = format!("CREATE TABLE {table} ({COLUMNS})");
            sqlx::raw_sql(AssertSqlSafe(create))
                .execute(&mut *tx)
                .await?;
        }
        let insert = format!(
            "insert into {table} (version, applied_at) select $1, current_timestamp \
             where not exists (select from {table} where version = $1)"
        );
        let done = sqlx::query(AssertSqlSafe(insert))
            .persistent(false)
            .bind(version)
            .execute(tx)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes a version, and the table if `made` by the same run and empty.
    pub(in super::super) async fn remove(
        pg: &Postgres,
        tx: &mut PgConnection,
        version: i64,
        made: bool,
    ) -> Result<(), DbError> {
        let Place { table, exists } = place(pg, tx).await?;
        if !exists {
            return Ok(());
        }
        let delete = format!("delete from {table} where version = $1");
        sqlx::query(AssertSqlSafe(delete))
            .persistent(false)
            .bind(version)
            .execute(&mut *tx)
            .await?;
        let empty = format!("select not exists (select from {table})");
        let empty: bool = sqlx::query_scalar(AssertSqlSafe(empty))
            .persistent(false)
            .fetch_one(&mut *tx)
            .await?;
        if made && empty {
            sqlx::raw_sql(AssertSqlSafe(format!("drop table {table}")))
                .execute(tx)
                .await?;
        }
        Ok(())
    }
}

/// Within an open transaction on SQLite.
#[cfg(feature = "sqlite")]
pub(super) mod sqlite {
    use sqlx::SqliteConnection;

    use super::{COLUMNS, TABLE};
    use crate::db::DbError;

    pub(in super::super) async fn exists(tx: &mut SqliteConnection) -> Result<bool, DbError> {
        let found: Option<i64> = sqlx::query_scalar(
            "select 1 from sqlite_master where type = 'table' and name = 'schema_versions'",
        )
        .fetch_optional(tx)
        .await?;
        Ok(found.is_some())
    }

    /// Records a version, unless it is there. Whether it was not.
    pub(in super::super) async fn record(
        tx: &mut SqliteConnection,
        version: i64,
    ) -> Result<bool, DbError> {
        let create = format!("CREATE TABLE IF NOT EXISTS {TABLE} ({COLUMNS})");
        sqlx::query(sqlx::AssertSqlSafe(create))
            .execute(&mut *tx)
            .await?;
        let done = sqlx::query(
            "insert into schema_versions (version, applied_at) select ?1, current_timestamp \
             where not exists (select 1 from schema_versions where version = ?1)",
        )
        .persistent(false)
        .bind(version)
        .execute(tx)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes a version, and the table if `made` by the same run and empty.
    pub(in super::super) async fn remove(
        tx: &mut SqliteConnection,
        version: i64,
        made: bool,
    ) -> Result<(), DbError> {
        if !exists(tx).await? {
            return Ok(());
        }
        sqlx::query("delete from schema_versions where version = ?1")
            .persistent(false)
            .bind(version)
            .execute(&mut *tx)
            .await?;
        let rows: i64 = sqlx::query_scalar("select count(*) from schema_versions")
            .persistent(false)
            .fetch_one(&mut *tx)
            .await?;
        if made && rows == 0 {
            sqlx::query("drop table schema_versions")
                .persistent(false)
                .execute(tx)
                .await?;
        }
        Ok(())
    }
}
