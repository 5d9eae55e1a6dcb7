//! Trying again while others hold the locks.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use migrate_core::{StepContext, StepError};
use tokio::time::Instant;

use crate::db::{DbError, DbErrorKind};

/// How long a script waits for locks.
///
/// A statement that needs a strong lock makes every later user of the table queue behind it
/// while it waits. So it waits shortly, gives up, lets them pass, and tries again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long one statement waits for a lock on PostgreSQL (SQLite: five seconds).
    pub lock_timeout: Duration,
    /// How long it is tried altogether.
    pub give_up_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_secs(2),
            give_up_after: Duration::from_mins(5),
        }
    }
}

/// An error of one attempt, with what it takes to decide on another.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) kind: DbErrorKind,
    pub(super) error: StepError,
}

impl Failed {
    /// For an error of ours between the statements.
    pub(super) fn at(what: &str) -> impl Fn(DbError) -> Self + '_ {
        move |error| Self {
            kind: error.kind,
            error: error.into_step_error(what),
        }
    }
}

impl From<DbError> for Failed {
    fn from(error: DbError) -> Self {
        Self::at("the transaction of the schema change failed")(error)
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        DbError::from(error).into()
    }
}

/// Counts attempts and waits between them: 0.1 s, doubled each time up to 5 s, and between
/// half and all of that, so that two who wait for each other do not meet again.
pub(super) struct Attempts<'a> {
    number: u32,
    give_up: Instant,
    step: Option<&'a StepContext>,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(patience: Patience, step: Option<&'a StepContext>) -> Self {
        Self {
            number: 0,
            give_up: Instant::now() + patience.give_up_after,
            step,
        }
    }

    /// Waits if another attempt makes sense.
    ///
    /// # Errors
    /// The error of the attempt, if it was not about locks or the time is over.
    pub(super) async fn again_after(&mut self, failed: Failed) -> Result<(), StepError> {
        self.number += 1;
        let pause = pause(self.number);
        if failed.kind != DbErrorKind::Lock {
            return Err(failed.error);
        }
        if Instant::now() + pause >= self.give_up {
            let mut error = failed.error;
            error.message = format!("{} after {} attempts", error.message, self.number);
            error.hint.get_or_insert_with(|| {
                "end what holds the lock, or give the step more time (`timeout`)".to_owned()
            });
            return Err(error);
        }
        if let Some(cx) = self.step {
            cx.warn(format!(
                "{}; trying again in {:.1} s",
                one_line(&failed.error),
                pause.as_secs_f32()
            ));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

fn one_line(error: &StepError) -> String {
    let mut text = error.message.clone();
    for cause in &error.causes {
        text.push_str(": ");
        text.push_str(cause);
    }
    text
}

/// How long to wait after so many failed attempts.
pub(crate) fn pause(number: u32) -> Duration {
    let whole =
        Duration::from_millis(100 << number.saturating_sub(1).min(6)).min(Duration::from_secs(5));
    let random = RandomState::new().hash_one(number) % 1_000;
    let share = f64::from(u32::try_from(random).unwrap_or(0)) / 2_000.0 + 0.5;
    whole.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_five_seconds() {
        for (number, most) in [(1, 100), (2, 200), (5, 1_600), (7, 5_000), (400, 5_000)] {
            let found = pause(number);
            let most = Duration::from_millis(most);
            assert!(found <= most && found >= most / 2, "{number}: {found:?}");
        }
    }
}
