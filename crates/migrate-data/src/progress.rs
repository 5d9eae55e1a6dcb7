//! Tells how far a copy is, a few times a second at most.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use migrate_core::StepContext;

const PAUSE: Duration = Duration::from_millis(300);

/// Counts rows over all lanes.
pub(crate) struct Meter<'a> {
    cx: &'a StepContext,
    done: AtomicU64,
    total: u64,
    told: Mutex<Instant>,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(cx: &'a StepContext, done: u64, total: u64) -> Self {
        let meter = Self {
            cx,
            done: done.into(),
            total,
            told: Mutex::new(Instant::now()),
        };
        meter.tell();
        meter
    }

    pub(crate) fn add(&self, rows: u64) {
        self.done.fetch_add(rows, Ordering::Relaxed);
        let due = {
            let mut told = self
                .told
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let due = told.elapsed() >= PAUSE;
            if due {
                *told = Instant::now();
            }
            due
        };
        if due {
            self.tell();
        }
    }

    pub(crate) fn tell(&self) {
        let done = self.done.load(Ordering::Relaxed);
        // The total may be an estimate, or rows may have come since.
        self.cx.progress(done, Some(self.total.max(done)), "rows");
    }
}
