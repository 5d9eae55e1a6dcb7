//! The lock on a PostgreSQL database: an advisory lock on a session of its own.
//!
//! Polled, never waited for: a session that waits inside a statement keeps a snapshot open,
//! and `CREATE INDEX CONCURRENTLY` of the holder would wait for it for ever. The session
//! has no open transaction while it holds the lock. A connection pooler that gives each
//! transaction another session (transaction pooling) can't carry such a lock; the fence
//! catches what is lost that way.

use crate::db::{DbError, pin};
use migrate_core::MigrationError;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Row};
use tokio::time::Instant;

use super::{Holder, POLL};

/// `ETLR`, and the lock's number.
const KEY: (i32, i32) = (0x4554_4c52, 1);

/// What PostgreSQL keeps of an application name.
const NAME_BYTES: usize = 63;

/// The held lock; the server lets go when its connection ends.
pub(super) struct SessionLock {
    connection: PgConnection,
}

impl SessionLock {
    pub(super) async fn acquire(
        options: &PgConnectOptions,
        me: &Holder,
        until: Instant,
    ) -> Result<Self, MigrationError> {
        Self::try_acquire(options, me, until)
            .await
            .map_err(|error| {
                let error = DbError::from(error);
                MigrationError::Unchanged(error.into_step_error("can't lock the database"))
            })?
            .map_err(MigrationError::Locked)
    }

    async fn try_acquire(
        options: &PgConnectOptions,
        me: &Holder,
        until: Instant,
    ) -> Result<Result<Self, String>, sqlx::Error> {
        let options = options.clone().application_name(&session_name(me));
        let mut connection = PgConnection::connect_with(&options).await?;
        pin(&mut connection).await?;
        // The server notices a host that vanished within a minute, and never ends the
        // session for being idle.
        sqlx::raw_sql(
            "SET tcp_keepalives_idle = 20; SET tcp_keepalives_interval = 10; \
             SET tcp_keepalives_count = 4; SET idle_session_timeout = 0",
        )
        .execute(&mut connection)
        .await?;
        loop {
            let got: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1, $2)")
                .bind(KEY.0)
                .bind(KEY.1)
                .fetch_one(&mut connection)
                .await?;
            if got {
                return Ok(Ok(Self { connection }));
            }
            if Instant::now() >= until {
                return holder(&mut connection).await.map(Err);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub(super) async fn release(mut self: Box<Self>) {
        // If the connection is gone, so is the lock.
        let _ = sqlx::query("SELECT pg_advisory_unlock($1, $2)")
            .bind(KEY.0)
            .bind(KEY.1)
            .execute(&mut self.connection)
            .await;
        let _ = self.connection.close().await;
    }
}

fn session_name(me: &Holder) -> String {
    let mut name = format!("etlrs-migrate run {} pid {} {}", me.run, me.pid, me.host);
    while name.len() > NAME_BYTES {
        name.pop();
    }
    name
}

/// Who holds it, as far as this role may see.
async fn holder(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    let row = sqlx::query(
        "SELECT a.pid, coalesce(a.application_name, '') AS name, coalesce(a.usename, '') AS role, \
                coalesce(host(a.client_addr), 'the same host') AS client, \
                coalesce(to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '?') AS since \
         FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 \
           AND l.classid = $1::bigint::oid AND l.objid = $2::bigint::oid \
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .bind(i64::from(KEY.0))
    .bind(i64::from(KEY.1))
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else {
        return Ok("a session that ended just now".to_owned());
    };
    Ok(format!(
        "{} (role {}, from {}, database session {}) since {}",
        row.try_get::<String, _>("name")?,
        row.try_get::<String, _>("role")?,
        row.try_get::<String, _>("client")?,
        row.try_get::<i32, _>("pid")?,
        row.try_get::<String, _>("since")?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_name_fits_and_names_run_and_process() {
        let me = Holder {
            host: "ä".repeat(80),
            pid: 4_194_304,
            user: "u".into(),
            since: chrono::Utc::now(),
            run: "20260101000000beef".into(),
            boot: String::new(),
            heartbeat: None,
        };
        let name = session_name(&me);
        assert!(name.len() <= NAME_BYTES, "{name}");
        assert!(
            name.contains("run 20260101000000beef pid 4194304"),
            "{name}"
        );
    }
}
