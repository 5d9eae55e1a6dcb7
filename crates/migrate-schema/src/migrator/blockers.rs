//! Who holds the lock that a statement of PostgreSQL waits for.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::sleep;

use crate::db::Postgres;

/// How long a statement runs before somebody looks what it waits for.
const LOOK_AFTER: Duration = Duration::from_millis(500);

/// How long between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A session that holds a lock.
#[derive(Debug, Clone, PartialEq)]
struct Blocker {
    pid: i32,
    application_name: String,
    query: String,
    age: f64,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "session {} ({:?}, in a transaction for {:.0} s, last statement {:?})",
            self.pid, self.application_name, self.age, self.query
        )
    }
}

/// The sessions that blocked a statement when it was last looked at.
#[derive(Default)]
pub(super) struct Blockers {
    seen: Mutex<Vec<Blocker>>,
}

impl Blockers {
    /// Looks again and again what `pid` waits for, on a connection of its own. Dropped when
    /// the statement has ended.
    pub(super) async fn watch(&self, pg: &Postgres, pid: i32) -> Infallible {
        sleep(LOOK_AFTER).await;
        if let Ok(mut connection) = pg.connect_beside().await {
            while let Ok(found) = look(&mut connection, pid).await {
                if !found.is_empty() {
                    *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = found;
                }
                sleep(LOOK_EVERY).await;
            }
        }
        // Without a look the error stays as the server tells it.
        std::future::pending().await
    }

    /// What was seen, in one line; empty if nothing was.
    pub(super) fn told(&self) -> Option<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<String> = seen.iter().map(ToString::to_string).collect();
        (!lines.is_empty()).then(|| format!("blocked by {}", lines.join(" and ")))
    }
}

async fn look(connection: &mut PgConnection, pid: i32) -> Result<Vec<Blocker>, sqlx::Error> {
    let query = crate::db::shown_query(60);
    let rows: Vec<(i32, String, String, f64)> = sqlx::query_as(AssertSqlSafe(format!(
        "select a.pid, coalesce(a.application_name, '') as application_name, \
                {query} as query, \
                coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::float8 as age \
         from unnest(pg_blocking_pids($1)) p(pid) join pg_stat_activity a using (pid)"
    )))
    .bind(pid)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(pid, application_name, query, age)| Blocker {
            pid,
            application_name,
            query,
            age,
        })
        .collect())
}
