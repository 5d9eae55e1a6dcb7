//! Calls of steps with a time limit that ends the effect, not only the waiting.

use std::future::Future;
use std::time::Duration;

use crate::cancel::{Cancel, CancelCause};
use crate::error::{StepError, StepErrorKind};

/// How long a step may take to end after it was asked to.
const GRACE: Duration = Duration::from_mins(1);

/// How a call of a step ended.
pub(super) enum Ended<T> {
    /// As asked.
    Well(T),
    /// It failed or ran out of time, and nothing of it runs any more.
    Failed(StepError),
    /// It was asked to stop by this signal and did.
    Interrupted(i32),
    /// It was asked to end and did not: its effect is in doubt.
    Hung(StepError),
}

/// Runs `call`, asking it to end through `own` when its time is over or `asked` gives a cause.
pub(super) async fn bounded<T>(
    timeout: Duration,
    asked: impl Future<Output = CancelCause>,
    own: &Cancel,
    call: impl Future<Output = Result<T, StepError>>,
) -> Ended<T> {
    tokio::pin!(call);
    let cause = tokio::select! {
        biased;
        // It may see a request that came during an earlier call with the same context.
        result = &mut call => return plain(result, own.cause(), timeout),
        cause = asked => cause,
        () = tokio::time::sleep(timeout) => CancelCause::Timeout,
    };
    own.cancel(cause);
    match tokio::time::timeout(GRACE, call).await {
        Ok(result) => plain(result, Some(cause), timeout),
        Err(_) => Ended::Hung(
            StepError::failed(format!(
                "it did not end within {} after it was asked to",
                crate::duration::human(GRACE)
            ))
            .hint("find out what it waits for, then resume or roll back"),
        ),
    }
}

fn plain<T>(
    result: Result<T, StepError>,
    cause: Option<CancelCause>,
    timeout: Duration,
) -> Ended<T> {
    match (result, cause) {
        (Ok(value), _) => Ended::Well(value),
        (Err(error), Some(CancelCause::Timeout)) => {
            let message = format!(
                "it took longer than its timeout of {}",
                crate::duration::human(timeout)
            );
            let mut late = StepError::failed(message)
                .cause(error.message)
                .hint("give the step a longer `timeout` in the plan");
            late.causes.extend(error.causes);
            Ended::Failed(late)
        }
        (Err(error), Some(CancelCause::Deadline)) => Ended::Failed(too_late(error)),
        (Err(error), Some(CancelCause::Signal(signal)))
            if error.kind == StepErrorKind::Interrupted =>
        {
            Ended::Interrupted(signal)
        }
        (Err(error), _) => Ended::Failed(error),
    }
}

/// The failure of a run whose deadline passed; what failed because of that is its cause.
pub(super) fn too_late(error: StepError) -> StepError {
    let mut late = StepError::failed("the deadline passed before the upgrade was done")
        .cause(error.message)
        .hint("everything is as before; choose a longer window, or look with --dry-run how long it takes");
    late.causes.extend(error.causes);
    late
}
