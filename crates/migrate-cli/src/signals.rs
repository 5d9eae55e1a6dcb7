//! Signals: once means stop at a boundary, twice means stop now.

use migrate_core::{Cancel, CancelCause};
use tokio::signal::unix::{SignalKind, signal};

/// Asks `cancel` for the end at the first SIGHUP, SIGINT or SIGTERM, and ends the process at
/// the second. What was journaled by then can be resumed either way.
pub(crate) fn watch(cancel: &Cancel) -> std::io::Result<()> {
    for (kind, number) in [
        (SignalKind::hangup(), 1),
        (SignalKind::interrupt(), 2),
        (SignalKind::terminate(), 15),
    ] {
        let mut stream = signal(kind)?;
        let cancel = cancel.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if matches!(cancel.cause(), Some(CancelCause::Signal(_))) {
                    std::process::exit(128 + number);
                }
                cancel.cancel(CancelCause::Signal(number));
            }
        });
    }
    Ok(())
}
