//! Asking a step to end, and why.

use std::sync::Arc;

use tokio::sync::watch;

/// Why a step is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelCause {
    /// The step's own time is over; what it did will be undone.
    Timeout,
    /// The run's time is over; it ends its step and takes everything back. Once it is on the way
    /// back, this cause counts no more.
    Deadline,
    /// SIGINT, SIGTERM or SIGHUP, by number; the run stops at a boundary it can be resumed from.
    Signal(i32),
    /// A service came back that has to be down; the step ends at its next boundary, and the run
    /// goes back.
    Disturbed,
}

/// The signal whose number stands for the end of a way back's time: SIGALRM. The run stops at a
/// boundary from which it can be resumed.
pub const TIME_OVER: i32 = 14;

/// A cancellation that is asked for once and seen by every clone.
///
/// A step that sees it ends promptly, with no effect of it still running anywhere
/// (a database statement is cancelled *and* confirmed to have ended), and returns
/// [`StepError::interrupted`](crate::StepError::interrupted).
#[derive(Debug, Clone)]
pub struct Cancel {
    sender: Arc<watch::Sender<Option<CancelCause>>>,
}

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}

impl Cancel {
    /// One that nobody has asked for yet.
    pub fn new() -> Self {
        Self {
            sender: Arc::new(watch::Sender::new(None)),
        }
    }

    /// Asks for the end. The first cause stays; only a signal goes before a deadline.
    pub fn cancel(&self, cause: CancelCause) {
        self.sender.send_if_modified(|present| {
            let counts = match *present {
                None => true,
                Some(CancelCause::Deadline) => matches!(cause, CancelCause::Signal(_)),
                Some(_) => false,
            };
            if counts {
                *present = Some(cause);
            }
            counts
        });
    }

    /// The cause, if the end was asked for.
    pub fn cause(&self) -> Option<CancelCause> {
        *self.sender.borrow()
    }

    /// Waits until the end is asked for; safe to drop.
    pub async fn cancelled(&self) -> CancelCause {
        self.asked(|_| true).await
    }

    /// Waits until a signal asks for the end: what counts on the way back. Safe to drop.
    pub async fn signalled(&self) -> CancelCause {
        self.asked(|cause| matches!(cause, CancelCause::Signal(_)))
            .await
    }

    async fn asked(&self, counts: impl Fn(CancelCause) -> bool) -> CancelCause {
        let mut receiver = self.sender.subscribe();
        loop {
            let present = *receiver.borrow_and_update();
            if let Some(cause) = present.filter(|cause| counts(*cause)) {
                return cause;
            }
            if receiver.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
