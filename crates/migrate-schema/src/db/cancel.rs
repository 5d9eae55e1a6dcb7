//! Ending what runs in the database, and making sure that it has ended.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use migrate_core::{Cancel, CancelCause, StepError};
use tokio::time::{Instant, sleep, timeout_at};

use super::Database;

/// How long the caller's future may go on after the end was asked for before it is dropped.
const PATIENCE: Duration = Duration::from_secs(20);

impl Database {
    /// Runs `what`. When `cancel` is asked for, ends everything that this handle's connections
    /// run, waits until `what` has seen that, and confirms that nothing of it is left.
    ///
    /// PostgreSQL: `pg_cancel_backend` on every session of this handle from a connection beside
    /// the pool, `pg_terminate_backend` after five seconds. SQLite: a progress handler
    /// interrupts the statements. A `what` that ended well in the meantime keeps its value: its
    /// effect is there. Everything else that runs on this handle is ended too.
    ///
    /// # Errors
    /// What `what` returned; [`StepError::interrupted`] if it was ended; a failure if it could
    /// not be confirmed that it ended.
    pub async fn cancellable<T>(
        &self,
        cancel: &Cancel,
        what: impl Future<Output = Result<T, StepError>>,
    ) -> Result<T, StepError> {
        if let Some(cause) = cancel.cause() {
            return Err(interrupted(cause, None));
        }
        let mut what = pin!(what);
        let cause = tokio::select! {
            biased;
            done = &mut what => return done,
            cause = cancel.cancelled() => cause,
        };
        match self.end(what).await {
            Ok(Some(Ok(value))) => Ok(value),
            Ok(Some(Err(error))) => Err(interrupted(cause, Some(error))),
            Ok(None) => Err(interrupted(cause, None)),
            Err(why) => Err(StepError::failed(
                "asked the database to stop, but could not confirm that it did",
            )
            .cause(why)
            .hint("look for sessions of this program in the database before going on")),
        }
    }

    /// Drives `what` to its end while its statements are ended. `None`: it did not end and was dropped.
    async fn end<T, F: Future<Output = Result<T, StepError>>>(
        &self,
        what: Pin<&mut F>,
    ) -> Result<Option<Result<T, StepError>>, String> {
        let finished = AtomicBool::new(false);
        let deadline = Instant::now() + PATIENCE;
        let caller = async {
            let ended = timeout_at(deadline, what).await.ok();
            finished.store(true, Ordering::Release);
            ended
        };
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(db) => {
                let (ended, confirmed) = tokio::join!(caller, end_sessions(db, &finished));
                confirmed.map(|()| ended)
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite(db) => {
                let _raised = Raised::new(db.stop_flag());
                let ended = caller.await;
                all_idle(db).await?;
                Ok(ended)
            }
        }
    }
}

fn interrupted(cause: CancelCause, error: Option<StepError>) -> StepError {
    let mut ended = StepError::interrupted(match cause {
        CancelCause::Timeout => "its time was over".to_owned(),
        CancelCause::Deadline => "the deadline passed".to_owned(),
        CancelCause::Signal(number) => format!("stopped by signal {number}"),
        _ => "it was asked to stop".to_owned(),
    });
    if let Some(error) = error {
        ended.causes.push(error.message);
        ended.causes.extend(error.causes);
        ended.place = error.place;
    }
    ended
}

/// The raised flag; lowered when dropped, on every path.
#[cfg(feature = "sqlite")]
struct Raised<'a>(&'a super::sqlite::StopFlag);

#[cfg(feature = "sqlite")]
impl<'a> Raised<'a> {
    fn new(flag: &'a super::sqlite::StopFlag) -> Self {
        flag.fetch_add(1, Ordering::SeqCst);
        Self(flag)
    }
}

#[cfg(feature = "sqlite")]
impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits until all connections are back in the pool: one that still runs something is not.
#[cfg(feature = "sqlite")]
async fn all_idle(db: &super::Sqlite) -> Result<(), String> {
    if db.shared().url.is_none() {
        // An embedder's pool is also used by others. Its statements that run for us watch the
        // same flag and were awaited by `what`.
        return Ok(());
    }
    let deadline = Instant::now() + super::sqlite::BUSY_TIMEOUT + Duration::from_secs(5);
    let pool = db.pool();
    while usize::try_from(pool.size()).unwrap_or(usize::MAX) > pool.num_idle() {
        if Instant::now() >= deadline {
            return Err("a connection is still in use".to_owned());
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Cancels, then terminates the sessions of a handle until all are idle and `what` has ended.
#[cfg(feature = "postgres")]
async fn end_sessions(db: &super::Postgres, finished: &AtomicBool) -> Result<(), String> {
    const TERMINATE_AFTER: Duration = Duration::from_secs(5);

    let started = Instant::now();
    let mut last = "no look at the sessions succeeded".to_owned();
    while started.elapsed() < PATIENCE + Duration::from_secs(10) {
        let mut beside = match db.connect_beside().await {
            Ok(connection) => connection,
            Err(error) => {
                last = error.to_string();
                sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        loop {
            let was_finished = finished.load(Ordering::Acquire);
            let end = if started.elapsed() < TERMINATE_AFTER {
                "pg_cancel_backend"
            } else {
                "pg_terminate_backend"
            };
            match end_busy(&mut beside, db.session_name(), end).await {
                Ok(0) if was_finished => return Ok(()),
                Ok(busy) => last = format!("{busy} sessions are still busy"),
                Err(error) => {
                    last = error.to_string();
                    break;
                }
            }
            if started.elapsed() >= PATIENCE + Duration::from_secs(10) {
                break;
            }
            sleep(Duration::from_millis(25)).await;
        }
    }
    Err(last)
}

/// Asks every session of a handle that is not idle to end; returns how many there were.
#[cfg(feature = "postgres")]
async fn end_busy(
    connection: &mut sqlx::PgConnection,
    session: &str,
    end: &str,
) -> Result<i64, sqlx::Error> {
    let sql = format!(
        "select count({end}(pid)) from pg_stat_activity \
         where application_name = $1 and state is distinct from 'idle' \
         and backend_type = 'client backend' and datname = current_database()"
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(session)
        .fetch_one(connection)
        .await
}
