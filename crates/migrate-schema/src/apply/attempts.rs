//! Trying again while others hold the locks.

use tokio::time::Instant;

use super::event::{Event, Observer};
use super::failure::Failed;
use crate::migrator::pause;

/// Counts attempts and waits between them.
pub(super) struct Attempts<'a> {
    number: u32,
    give_up: Instant,
    observer: &'a dyn Observer,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(give_up_after: std::time::Duration, observer: &'a dyn Observer) -> Self {
        Self {
            number: 0,
            give_up: Instant::now() + give_up_after,
            observer,
        }
    }

    /// How many attempts failed.
    pub(super) fn failed(&self) -> u32 {
        self.number
    }

    /// Waits if another attempt makes sense, else gives the failure back.
    pub(super) async fn again_after(&mut self, mut failed: Failed) -> Result<(), Failed> {
        self.number += 1;
        if !failed.may_pass() {
            return Err(failed);
        }
        let mut pause = pause(self.number);
        if failed.gave_way {
            // Those who waited need a moment to get through.
            pause = pause.max(std::time::Duration::from_millis(500));
        }
        if Instant::now() + pause >= self.give_up {
            failed.error.message =
                format!("{} after {} attempts", failed.error.message, self.number);
            failed.error.hint.get_or_insert_with(|| {
                "end what holds the lock, or give it more time with --give-up-after".to_owned()
            });
            return Err(failed);
        }
        let mut why = failed.error.message.clone();
        for cause in &failed.error.causes {
            why.push_str(": ");
            why.push_str(cause);
        }
        self.observer.event(&Event::Again { why, pause });
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
