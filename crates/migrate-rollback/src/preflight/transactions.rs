//! Transactions that are open for long: they hold locks, and a change of a table waits for them.

use migrate_core::Finding;
use migrate_schema::db::{DbError, Postgres};
use sqlx::Row;

/// Older than this is worth a warning.
const OLD: &str = "5 minutes";

/// A warning for each session with an old transaction, and for each prepared one.
pub(super) async fn old(db: &Postgres) -> Result<Vec<Finding>, DbError> {
    let rows = sqlx::query(
        "SELECT format('process %s (%s, role %s, %s)', pid, \
                       coalesce(nullif(application_name, ''), 'unnamed program'), usename, state) AS who, \
                date_trunc('second', now() - xact_start)::text AS age \
         FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid() \
           AND xact_start < now() - $1::interval AND backend_type = 'client backend' \
         UNION ALL \
         SELECT format('prepared transaction %s of role %s', quote_literal(gid), owner), \
                date_trunc('second', now() - prepared)::text \
         FROM pg_prepared_xacts \
         WHERE database = current_database() AND prepared < now() - $1::interval \
         ORDER BY 2 DESC",
    )
    .bind(OLD)
    .fetch_all(&mut *db.acquire().await?)
    .await?;
    rows.iter()
        .map(|row| {
            let message = format!(
                "{} has a transaction open for {}: changes of tables may wait for its locks",
                row.try_get::<String, _>("who")?,
                row.try_get::<String, _>("age")?
            );
            Ok(Finding::warning("sessions.old-transaction", message).hint(
                "end it before the run: SELECT pg_terminate_backend(PID), or ROLLBACK PREPARED",
            ))
        })
        .collect()
}
