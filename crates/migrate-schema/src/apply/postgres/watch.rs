//! Looks from a second connection at what a session waits for and who waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::super::event::{Event, Observer};
use crate::db::Postgres;

/// How long a session runs before somebody looks at it: most end sooner.
const LOOK_AFTER: Duration = Duration::from_millis(200);

/// How long between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long between two messages about the same.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// A watch over a session; ends when dropped.
pub(super) struct Watch {
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    blockers: Mutex<Option<String>>,
    gave_way: AtomicBool,
}

impl Watch {
    /// Begins to watch. When others wait for the session's locks longer than `budget`, what
    /// it runs is cancelled.
    pub(super) fn start(
        pg: &Postgres,
        pid: i32,
        budget: Option<Duration>,
        observer: &Arc<dyn Observer>,
    ) -> Self {
        let seen = Arc::new(Seen::default());
        let task = tokio::spawn(look(
            pg.clone(),
            pid,
            budget,
            seen.clone(),
            observer.clone(),
        ));
        Self { seen, task }
    }

    /// Who blocked the session when it was last looked at, in one line.
    pub(super) fn blockers(&self) -> Option<String> {
        self.seen
            .blockers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the session was cancelled for those who wait behind it.
    pub(super) fn gave_way(&self) -> bool {
        self.seen.gave_way.load(Ordering::Acquire)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(
    pg: Postgres,
    pid: i32,
    budget: Option<Duration>,
    seen: Arc<Seen>,
    observer: Arc<dyn Observer>,
) {
    sleep(LOOK_AFTER).await;
    // Without a second connection errors stay as the server tells them, and nobody gives way.
    let Ok(mut connection) = pg.connect_beside().await else {
        return;
    };
    let mut told: Option<Instant> = None;
    while let Ok((blockers, waited)) = look_once(&mut connection, pid).await {
        if let Some(blockers) = blockers {
            if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                told = Some(Instant::now());
                observer.event(&Event::Waiting {
                    blockers: blockers.clone(),
                });
            }
            *seen.blockers.lock().unwrap_or_else(PoisonError::into_inner) = Some(blockers);
        }
        if budget.is_some_and(|budget| waited > budget.as_secs_f64()) {
            seen.gave_way.store(true, Ordering::Release);
            let _ = sqlx::query("select pg_cancel_backend($1)")
                .bind(pid)
                .execute(&mut connection)
                .await;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Who blocks a session, and how many seconds somebody has waited for it.
async fn look_once(
    connection: &mut PgConnection,
    pid: i32,
) -> Result<(Option<String>, f64), sqlx::Error> {
    let query = crate::db::shown_query(80);
    sqlx::query_as(AssertSqlSafe(format!(
        "select (select string_agg(format('session %s (%s, %s), in a transaction for %s s: %s', \
                        a.pid, coalesce(nullif(a.application_name, ''), 'no name'), a.usename, \
                        coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::int, \
                        {query}), ' and ') \
                 from unnest(pg_blocking_pids($1)) p(pid) join pg_stat_activity a using (pid)), \
                coalesce((select max(extract(epoch from clock_timestamp() - l.waitstart)) \
                 from pg_locks l where not l.granted and l.pid <> $1 \
                   and $1 = any (pg_blocking_pids(l.pid))), 0)::float8"
    )))
    .bind(pid)
    .fetch_one(connection)
    .await
}
