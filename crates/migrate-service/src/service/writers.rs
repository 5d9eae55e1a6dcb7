//! Proving that nobody else writes.

use std::time::Duration;

use async_trait::async_trait;
use migrate_core::StepError;
use tokio::time::{Instant, sleep};

/// Who counts as a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// Everybody who could write: services were stopped, so nobody should be left.
    Any,
    /// Who writes now: a session of somebody's that only reads, or is idle, does not hinder.
    AtWork,
}

/// Tells who else could write to the database now.
///
/// The embedder has the database: on PostgreSQL it looks into `pg_stat_activity`.
#[async_trait]
pub trait WriterProbe: Send + Sync {
    /// A line for each session that is not ours: pid, application and its query, without
    /// secrets. Read-only.
    async fn other_writers(&self, which: Writers) -> Result<Vec<String>, StepError>;
}

/// Waits until nobody is left; at least one look is made.
///
/// # Errors
/// Who is still there when the time is over.
pub(super) async fn wait_for_none(
    probe: &dyn WriterProbe,
    which: Writers,
    patience: Duration,
    pause: Duration,
) -> Result<(), StepError> {
    let until = Instant::now() + patience;
    loop {
        let writers = probe.other_writers(which).await?;
        if writers.is_empty() {
            return Ok(());
        }
        if Instant::now() >= until {
            let human = migrate_core::duration::human(patience);
            let what = match which {
                Writers::Any => "still connected to the database",
                Writers::AtWork => "writing to the database",
            };
            let message = format!("{} {what} after {human}", counted(writers.len()));
            return Err(writers
                .into_iter()
                .fold(StepError::failed(message), StepError::cause)
                .hint("stop these programs, or name their service in etlrs-migrate.toml so that it is stopped; --skip-check writers goes on regardless"));
        }
        sleep(pause).await;
    }
}

fn counted(count: usize) -> String {
    match count {
        1 => "1 other session is".to_owned(),
        count => format!("{count} other sessions are"),
    }
}
