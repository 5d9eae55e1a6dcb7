//! Who holds locks on the user's tables.

use migrate_schema::db::{DbError, Postgres};
use migrate_schema::own;
use sqlx::Row;

/// Other sessions with a lock on one of the user's relations, a line each. Their queries
/// are not shown: they may hold anything.
pub(super) async fn read(database: &Postgres) -> Result<Vec<String>, DbError> {
    let rows = sqlx::query(
        "SELECT a.pid, coalesce(a.usename, '?')::text AS role, \
                coalesce(nullif(a.application_name, ''), 'unnamed program') AS program, \
                coalesce(host(a.client_addr), 'the same host') AS client, \
                coalesce(a.state, 'unknown') AS state, \
                string_agg(DISTINCT l.relation::regclass::text, ', ') AS tables \
         FROM pg_locks l \
         JOIN pg_stat_activity a ON a.pid = l.pid \
         JOIN pg_class c ON c.oid = l.relation \
         JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE l.granted AND a.pid <> pg_backend_pid() AND a.datname = current_database() \
           AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', $1) \
         GROUP BY 1, 2, 3, 4, 5 ORDER BY 1",
    )
    .bind(own::SCHEMA)
    .fetch_all(&mut *database.acquire().await?)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(format!(
                "session {} of role {} ({}, from {}, {}) has locks on {}",
                row.try_get::<i32, _>("pid")?,
                row.try_get::<String, _>("role")?,
                row.try_get::<String, _>("program")?,
                row.try_get::<String, _>("client")?,
                row.try_get::<String, _>("state")?,
                row.try_get::<String, _>("tables")?,
            ))
        })
        .collect()
}
