//! Back: the run that led here is taken back.

use std::sync::Arc;

use migrate_core::executor::{Consent, RollbackRequest, RunEnd, StrategyChoice};
use migrate_core::{
    Cancel, MigrationError, MigrationExecutor, Phase, RunLog, RunOptions, RunState, Scripts,
    Version,
};

use crate::args::{Global, RunArgs, StrategyArg};
use crate::exit;
use crate::failure::Failure;
use crate::plans::Kept;
use crate::report::Output;
use crate::verbs::migrate;
use crate::wire::{Access, Wired};

/// `--rollback --to V`.
pub(crate) async fn run(global: &Global, args: &RunArgs, output: &Output) -> Result<u8, Failure> {
    let text = args.to.as_deref().ok_or_else(|| {
        Failure::usage("--to VERSION is missing")
            .hint("for example: etlrs-migrate --rollback --to 1.5.0")
    })?;
    let to = migrate::version(text, "--to")?;
    let cancel = Cancel::new();
    crate::signals::watch(&cancel)
        .map_err(|error| Failure::unchanged(format!("signals can't be watched: {error}")))?;
    let wired = Wired::open(global).await?;
    output.database(&wired);
    loop {
        let journal = wired.journal(Access::ReadOnly).await?;
        let runs = journal.runs().await?;
        let Some(log) = next_run_back(&runs, &to)? else {
            output.already(&to, "no run is left to take back");
            return Ok(exit::DONE);
        };
        let reached = log.header.plan.from_version == to;
        one_run(global, args, output, &wired, log, &cancel).await?;
        if reached || args.dry_run {
            return Ok(exit::DONE);
        }
    }
}

/// The newest run that is not taken back yet, if it leads towards `to`.
fn next_run_back<'a>(runs: &'a [RunLog], to: &Version) -> Result<Option<&'a RunLog>, Failure> {
    let mut standing = Vec::new();
    for log in runs {
        let state = RunState::replay(log)
            .map_err(|error| Failure::unchanged(format!("the journal makes no sense: {error}")))?;
        if state.phase != Phase::RolledBack {
            standing.push(log);
        }
    }
    let leads_there = standing
        .iter()
        .any(|log| &log.header.plan.from_version == to);
    if leads_there {
        return Ok(standing.last().copied());
    }
    let back_already = runs
        .iter()
        .rev()
        .find(|log| &log.header.plan.from_version == to);
    if back_already.is_some() && standing.is_empty() {
        return Ok(None);
    }
    let known: Vec<String> = standing
        .iter()
        .map(|log| log.header.plan.from_version.to_string())
        .collect();
    let failure = Failure::unchanged(format!("there is no rollback point for version {to}"));
    Err(if known.is_empty() {
        failure.hint("no run of this deployment is recorded, so there is nothing to take back")
    } else {
        failure.hint(format!("there is a way back to: {}", known.join(", ")))
    })
}

async fn one_run(
    global: &Global,
    args: &RunArgs,
    output: &Output,
    wired: &Wired,
    log: &RunLog,
    cancel: &Cancel,
) -> Result<(), Failure> {
    same_database(wired, log)?;
    let access = if args.dry_run {
        Access::ReadOnly
    } else {
        Access::Write
    };
    let journal = wired.journal(access).await?;
    let scripts: Arc<dyn Scripts> = Arc::new(Kept(log.header.scripts.clone()));
    let plan = &log.header.plan;
    let executor = MigrationExecutor::new(
        &plan.to_version.to_string(),
        &plan.from_version.to_string(),
        args.dry_run,
    )
    .with_registry(wired.registry(&scripts));
    let options = RunOptions {
        identity: wired.identity.clone(),
        skip_checks: global.skip_check.clone(),
        ..RunOptions::default()
    };
    let executor = wired.executor(
        executor,
        &journal,
        options,
        output.reporter(),
        cancel.clone(),
    );
    let choice = match args.strategy {
        StrategyArg::Auto => StrategyChoice::Auto,
        StrategyArg::Reverse => StrategyChoice::Reverse,
        StrategyArg::Restore => StrategyChoice::Restore,
    };
    if args.dry_run {
        let preview = executor.preview_rollback(log, choice).await?;
        output.rollback_preview(plan, &preview);
        return Ok(());
    }
    let request = RollbackRequest {
        strategy: choice,
        accept_data_loss: if args.accept_data_loss {
            Consent::Given
        } else {
            Consent::Missing
        },
    };
    let result = executor.rollback(log, request).await;
    output.done_with_progress();
    match result {
        Ok(result) if matches!(result.end, RunEnd::AlreadyThere(_)) => Ok(()),
        Ok(result) => {
            output.rolled_back(plan, &result);
            Ok(())
        }
        Err(error @ MigrationError::WouldLose(_)) => Err(Failure::of(error, None)),
        Err(error) => Err(migrate::with_next(global, &journal, error, None).await),
    }
}

/// Refuses to touch another database than the one that the run was on.
pub(crate) fn same_database(wired: &Wired, log: &RunLog) -> Result<(), Failure> {
    let (then, now) = (&log.header.database, &wired.identity.database);
    if then == now {
        return Ok(());
    }
    Err(Failure::unchanged(format!(
        "run {} was on the database {then}, but this is {now}",
        log.header.run
    ))
    .hint("name the same database with --database-url or $DATABASE_URL"))
}
