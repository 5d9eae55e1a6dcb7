//! Queries of a look: they can't write, and end when its time is over.

use migrate_core::{Cancel, CancelCause, StepError};
use migrate_schema::db::{Backend, Database, DbError};

use super::Look;
use crate::access::{TextRow, Tx};

/// Why a query has no answer.
pub(super) enum Unanswered {
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
        let end = Cancel::new();
        let clock = async {
            tokio::select! {
                () = tokio::time::sleep_until(self.until) => end.cancel(CancelCause::Timeout),
                cause = self.cancel.cancelled() => end.cancel(cause),
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
        let db = self.copy.at_source();
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
