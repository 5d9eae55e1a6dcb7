//! Queries of a look: they can't write, and end when its time is over.

use migrate_core::{Cancel, CancelCause, StepError};
use migrate_schema::db::{Backend, Database, DbError};
use tokio::time::Instant;

use super::Look;
use crate::access::{TextRow, Tx};

/// Why a query has no answer.
pub(crate) enum Unanswered {
    /// The time is over.
    Late,
    Db(DbError),
}

impl Look<'_> {
    pub(super) async fn rows(&self, query: &str) -> Result<Vec<TextRow>, Unanswered> {
        self.bounded(Box::pin(looked(self.copy.at_source(), query)))
            .await
    }

    /// Ends what runs in the database when the time is over or somebody asks for the end.
    pub(super) async fn bounded<T>(
        &self,
        what: impl Future<Output = Result<T, DbError>>,
    ) -> Result<T, Unanswered> {
        within(self.copy.at_source(), (self.until, self.cancel), what).await
    }
}

/// Rows of a query that can't write, if it has them in time.
pub(crate) async fn rows_within(
    db: &Database,
    until: (Instant, &Cancel),
    query: &str,
) -> Result<Vec<TextRow>, Unanswered> {
    within(db, until, Box::pin(looked(db, query))).await
}

async fn within<T>(
    db: &Database,
    (until, cancel): (Instant, &Cancel),
    what: impl Future<Output = Result<T, DbError>>,
) -> Result<T, Unanswered> {
    let end = Cancel::new();
    let clock = async {
        tokio::select! {
            () = tokio::time::sleep_until(until) => end.cancel(CancelCause::Timeout),
            cause = cancel.cancelled() => end.cancel(cause),
        }
        std::future::pending::<()>().await;
    };
    let mut failed = None;
    let watched = async {
        what.await.map_err(|error| {
            failed = Some(error);
            StepError::failed("")
        })
    };
    let done = tokio::select! {
        done = db.cancellable(&end, watched) => done,
        () = clock => unreachable!("the clock only asks"),
    };
    match (done, failed) {
        (Ok(value), _) => Ok(value),
        (Err(_), Some(error)) if end.cause().is_none() => Err(Unanswered::Db(error)),
        (Err(_), _) => Err(Unanswered::Late),
    }
}

/// Runs a query that can't write.
async fn looked(db: &Database, query: &str) -> Result<Vec<TextRow>, DbError> {
    let mut tx = Tx::look(db).await?;
    if db.backend() == Backend::Postgres {
        tx.execute("SET TRANSACTION READ ONLY").await?;
    }
    let rows = tx.rows(query).await;
    drop(tx.rollback().await);
    rows
}
