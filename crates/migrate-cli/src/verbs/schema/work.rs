//! Doing something to a schema: under the lock, cancellable, with an exit code for what failed.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use migrate_core::{Cancel, CancelCause, Finding, RunId, StepError, StepErrorKind};
use migrate_rollback::DatabaseGuard;
use migrate_schema::apply::{ApplyError, Options, SchemaEngine, Target as Upto};
use migrate_schema::db::Database;
use migrate_schema::layout::MigrationSet;
use migrate_schema::lint;

use super::source::{SourceArgs, Target};
use crate::args::Global;
use crate::environment;
use crate::exit;
use crate::failure::Failure;
use crate::plan_file::signed;
use crate::report::Output;

/// How long another run is waited for.
const LOCK_DEADLINE: Duration = Duration::from_secs(10);

/// Does something under the database's lock, once the environment's name was given where it
/// wants that. A signal ends it at a boundary from which the next run goes on.
pub(crate) fn locked<'w, T: 'w>(
    global: &'w Global,
    output: &'w Output,
    db: &'w Database,
    work: impl Future<Output = Result<T, ApplyError>> + 'w,
) -> Pin<Box<dyn Future<Output = Result<T, Failure>> + 'w>> {
    Box::pin(async move {
        signed::refuse_direct(global, "a change of the schema alone")?;
        environment::confirm(global, output, "changing the schema")?;
        let run = RunId::fresh(chrono::Utc::now());
        let guard = DatabaseGuard::acquire(db, &run, LOCK_DEADLINE).await?;
        let cancel = Cancel::new();
        crate::signals::watch(&cancel)
            .map_err(|error| Failure::unchanged(format!("signals can't be watched: {error}")))?;
        let done = db
            .cancellable(&cancel, async { Ok::<_, StepError>(work.await) })
            .await;
        guard.release().await;
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(failure(error, cancel.cause())),
            Err(error) => Err(failure(ended(error), cancel.cause())),
        }
    })
}

fn ended(error: StepError) -> ApplyError {
    ApplyError::Failed(Box::new(migrate_schema::apply::Broken {
        error,
        committed: Vec::new(),
        half_done: None,
        in_doubt: Vec::new(),
        began: true,
    }))
}

/// The engine for a target.
pub(crate) fn engine(target: &Target, options: Options, output: &Output) -> SchemaEngine {
    SchemaEngine::new(target.db.clone(), options).with_observer(output.schema_observer())
}

/// Running everything again on a database that another tool has migrated would be a disaster.
pub(crate) async fn refuse_foreign(engine: &SchemaEngine) -> Result<(), Failure> {
    let state = engine.state().await.map_err(|error| failure(error, None))?;
    engine
        .refuse_foreign(&state)
        .await
        .map_err(|error| failure(error, None))
}

/// What the lint says of the gravest about what is to be run: shown, not refused.
pub(crate) async fn gravest(
    engine: &SchemaEngine,
    target: &Target,
    set: &MigrationSet,
    upto: &Upto,
    source: &SourceArgs,
) -> Result<Vec<Finding>, Failure> {
    let state = engine.state().await.map_err(|error| failure(error, None))?;
    let pending = engine
        .pending(set, &state, upto)
        .await
        .map_err(|error| failure(error, None))?;
    let keys = pending.iter().map(|(one, _)| one.key()).collect();
    lint::gravest(&target.db, set, keys, &source.placeholders())
        .await
        .map_err(|error| Failure::from(error.into_step_error("the schema can't be read")))
}

/// What failed, with its exit code.
pub(crate) fn failure(error: ApplyError, cause: Option<CancelCause>) -> Failure {
    let broken = match error {
        ApplyError::Refused(findings) => {
            return Failure::findings("refused; nothing was changed", findings);
        }
        ApplyError::Failed(broken) => broken,
    };
    let stays =
        !broken.committed.is_empty() || broken.half_done.is_some() || !broken.in_doubt.is_empty();
    let signal = match cause {
        Some(CancelCause::Signal(number)) => Some(number),
        _ => None,
    };
    let mut failure = Failure::unchanged(broken.error.to_string());
    failure.code = match (signal, stays) {
        (Some(number), _) => u8::try_from(128 + number).unwrap_or(u8::MAX),
        (None, _) if broken.error.kind == StepErrorKind::Interrupted => exit::UNCHANGED,
        (None, true) => exit::STUCK,
        (None, false) if !broken.began => exit::UNCHANGED,
        (None, false) => exit::ROLLED_BACK,
    };
    let rest = match (&broken.half_done, broken.committed.len()) {
        (Some(label), committed) => {
            let verb = if label.starts_with("down ") {
                "down"
            } else {
                "apply"
            };
            format!(
                "{committed} migrations are committed; {label} stopped between two of its statements: the next `schema {verb}` goes on there"
            )
        }
        (None, _) if !broken.in_doubt.is_empty() => format!(
            "{} is there as a whole, or not at all",
            broken.in_doubt.join(", ")
        ),
        (None, 0) => "nothing was changed".to_owned(),
        (None, committed) => {
            let last = &broken.committed[committed - 1];
            let verb = if last.starts_with("down ") {
                "down"
            } else {
                "apply"
            };
            format!(
                "{committed} migrations are committed, the last one {last}; the next `schema {verb}` goes on after it"
            )
        }
    };
    failure.message = format!("{}\n{rest}", failure.message);
    failure
}
