//! The guide's table `schema_versions(version, applied_at)`.

use super::versions_table::VersionsTable;
use crate::db::{Database, DbError};

/// Its name.
pub(crate) const TABLE: &str = "schema_versions";

const CREATE: &str = "CREATE TABLE IF NOT EXISTS schema_versions (\
    version INTEGER PRIMARY KEY, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)";

/// The highest version; 0 if there is no table of the guide's form.
pub(crate) async fn current(db: &Database) -> Result<i64, DbError> {
    Ok(VersionsTable::read(db).await?.highest().unwrap_or(0))
}

/// Within an open transaction on PostgreSQL.
#[cfg(feature = "postgres")]
pub(super) mod postgres {
    use sqlx::PgConnection;

    use super::CREATE;
    use crate::db::DbError;

    pub(in super::super) async fn exists(tx: &mut PgConnection) -> Result<bool, DbError> {
        Ok(
            sqlx::query_scalar("select to_regclass('schema_versions') is not null")
                .fetch_one(tx)
                .await?,
        )
    }

    /// Records a version, unless it is there. Whether it was not.
    pub(in super::super) async fn record(
        tx: &mut PgConnection,
        version: i64,
    ) -> Result<bool, DbError> {
        if !exists(tx).await? {
            sqlx::raw_sql(CREATE).execute(&mut *tx).await?;
        }
        let done = sqlx::query(
            "insert into schema_versions (version, applied_at) select $1, current_timestamp \
             where not exists (select from schema_versions where version = $1)",
        )
        .persistent(false)
        .bind(version)
        .execute(tx)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes a version, and the table if `made` by the same run and empty.
    pub(in super::super) async fn remove(
        tx: &mut PgConnection,
        version: i64,
        made: bool,
    ) -> Result<(), DbError> {
        if !exists(tx).await? {
            return Ok(());
        }
        sqlx::query("delete from schema_versions where version = $1")
            .persistent(false)
            .bind(version)
            .execute(&mut *tx)
            .await?;
        let empty: bool = sqlx::query_scalar("select not exists (select from schema_versions)")
            .persistent(false)
            .fetch_one(&mut *tx)
            .await?;
        if made && empty {
            sqlx::raw_sql("drop table schema_versions")
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

    use super::CREATE;
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
        sqlx::query(CREATE).execute(&mut *tx).await?;
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
