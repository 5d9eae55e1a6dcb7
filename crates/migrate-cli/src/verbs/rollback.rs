//! Back: the run that led here is taken back.

use std::sync::Arc;
use std::time::Duration;

use migrate_core::executor::{Consent, RollbackRequest, RunEnd, StrategyChoice};
use migrate_core::{
    Cancel, Journal, MigrationError, MigrationExecutor, OnDifference, Phase, Proof, RunLog,
    RunOptions, RunState, Scripts, Undoable, Version, estimate_back,
};
use migrate_rollback::TargetDatabase;
use migrate_rollback::journal::Copied;

use crate::args::{Global, RunArgs, StrategyArg};
use crate::deadline::Deadline;
use crate::environment;
use crate::exit;
use crate::failure::Failure;
use crate::plans::Kept;
use crate::report::Output;
use crate::verbs::adopt::{self, Wanted};
use crate::verbs::{migrate, resume};
use crate::wire::{Access, Wired};

/// `--rollback --to V`.
pub(crate) async fn run(global: &Global, args: &RunArgs, output: &Output) -> Result<u8, Failure> {
    if args.from.is_some() {
        return Err(Failure::usage(
            "--from has no meaning beside --rollback: the journal knows where it is",
        )
        .hint("for example: etlrs-migrate --rollback --to 1.5.0"));
    }
    let text = args.to.as_deref().ok_or_else(|| {
        Failure::usage("--to VERSION is missing")
            .hint("for example: etlrs-migrate --rollback --to 1.5.0")
    })?;
    let to = migrate::version(text, "--to")?;
    let deadline = args.time.resolve()?;
    let cancel = Cancel::new();
    crate::signals::watch(&cancel)
        .map_err(|error| Failure::unchanged(format!("signals can't be watched: {error}")))?;
    let mut wired = Wired::open(global).await?;
    if args.dry_run {
        wired.only_looking();
    }
    output.database(&wired);
    if args.adopt {
        let vouched = &args.adopt_unverified;
        adopt::adopt(global, &wired, Wanted::Standing, vouched, output).await?;
    }
    let journal = wired.journal(Access::ReadOnly).await?;
    let runs = journal.runs().await?;
    environment::refuse_other(global, &runs)?;
    let back = match runs_back(&runs, &to) {
        Err(failure) => return Err(lost_run(&wired, &runs, &to, failure).await),
        Ok(back) => back,
    };
    if back.is_empty() {
        output.already(&to, "no run is left to take back");
        return Ok(exit::DONE);
    }
    output.way_back(&back);
    for log in &back {
        same_database(&mut wired, log).await?;
        if !args.dry_run {
            commands_need_consent(&wired, log, args)?;
            variables_are_set(log, args)?;
        }
        if log.header.run != back[0].header.run {
            // Before the first run is taken back: is there a way for the others too?
            let (_, executor) =
                executor(global, args, output, &wired, log, Access::ReadOnly, &cancel).await?;
            executor.preview_rollback(log, choice(args)).await?;
        }
    }
    if !args.dry_run {
        tell_changes(global, args, output, &wired, back[0], &cancel).await?;
        if let Some(deadline) = &deadline {
            fits(deadline, &back, &runs)?;
        }
        environment::confirm(global, output, &format!("going back to {to}"))?;
        if let Some(deadline) = &deadline {
            crate::deadline::watch_back(deadline, &cancel);
        }
    }
    for (index, log) in back.iter().enumerate() {
        if args.dry_run && index > 0 {
            output.say(&format!(
                "{} -> {}: what that would lose shows once the run after it is back",
                log.header.plan.to_version, log.header.plan.from_version
            ));
            continue;
        }
        output.estimate_back(estimate_back(log, &runs));
        let done = one_run(global, args, output, &wired, log, &cancel).await;
        done.map_err(|failure| so_far(failure, index, log))?;
    }
    Ok(exit::DONE)
}

/// A way back is not begun in a window that it does not fit into: nothing turns it round.
fn fits(deadline: &Deadline, back: &[&RunLog], runs: &[RunLog]) -> Result<(), Failure> {
    let needed: Duration = back.iter().map(|log| estimate_back(log, runs)).sum();
    if needed <= deadline.left {
        return Ok(());
    }
    let human = migrate_core::duration::human;
    Err(Failure::unchanged(format!(
        "going back takes about {}, and {} are left until {deadline}; nothing was changed",
        human(needed),
        human(deadline.left)
    ))
    .hint("choose a longer window, or go back without one: past it a rollback stops half-way, to be resumed"))
}

/// Shows what others wrote since the run that goes back first, before anybody is asked. Why it
/// can't go back is said by the rollback itself.
async fn tell_changes(
    global: &Global,
    args: &RunArgs,
    output: &Output,
    wired: &Wired,
    log: &RunLog,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let (_, executor) =
        executor(global, args, output, wired, log, Access::ReadOnly, cancel).await?;
    if let Ok(preview) = executor.preview_rollback(log, choice(args)).await {
        output.changes(&preview);
    }
    Ok(())
}

/// After the first run is back, a failure says how far it is.
fn so_far(mut failure: Failure, taken_back: usize, log: &RunLog) -> Failure {
    if taken_back > 0 {
        failure.message = format!(
            "{}\nthe runs after it are taken back: the deployment is at {}",
            failure.message, log.header.plan.to_version
        );
    }
    failure
}

/// With no way back in the journal, the database may still know one.
async fn lost_run(wired: &Wired, runs: &[RunLog], to: &Version, failure: Failure) -> Failure {
    let known = wired.runs_in_database().await.unwrap_or_default();
    let lost = known.iter().find(|copy| {
        let log = &copy.run.log;
        &log.header.plan.from_version == to
            && runs.iter().all(|own| own.header.run != log.header.run)
    });
    match lost {
        None => failure,
        Some(copy) if copy.run.proof.holds() => {
            let header = &copy.run.log.header;
            failure.hint(format!(
                "the database knows run {} of {}@{}: if its state directory was lost, add --adopt",
                header.run, header.user, header.host
            ))
        }
        Some(copy) => failure.hint(format!(
            "the database names a run {}, and nothing proves that this tool wrote its log ({}): \
             see `audit verify {0}`; where the state directory was lost, --adopt asks about it",
            copy.run.log.header.run, copy.run.proof
        )),
    }
}

/// The runs to take back, newest first; none if the deployment is back at `to` already.
fn runs_back<'a>(runs: &'a [RunLog], to: &Version) -> Result<Vec<&'a RunLog>, Failure> {
    let mut standing = Vec::new();
    for log in runs {
        let state = RunState::replay(log)
            .map_err(|error| Failure::unchanged(format!("the journal makes no sense: {error}")))?;
        if state.phase != Phase::RolledBack {
            standing.push(log);
        }
    }
    let first = standing
        .iter()
        .rposition(|log| &log.header.plan.from_version == to);
    if let Some(first) = first {
        return Ok(standing[first..].iter().rev().copied().collect());
    }
    let back_already = runs
        .iter()
        .rev()
        .find(|log| &log.header.plan.from_version == to);
    if back_already.is_some() && standing.is_empty() {
        return Ok(Vec::new());
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
    let access = if args.dry_run {
        Access::ReadOnly
    } else {
        Access::Write
    };
    let plan = &log.header.plan;
    let (journal, executor) = executor(global, args, output, wired, log, access, cancel).await?;
    let choice = choice(args);
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
        on_difference: if args.accept_difference {
            OnDifference::Accept
        } else {
            OnDifference::RollBack
        },
    };
    let result = executor.rollback(log, request).await;
    output.done_with_progress();
    match result {
        Ok(result) if matches!(result.end, RunEnd::AlreadyThere(_)) => Ok(()),
        Ok(result) => {
            let head = migrate::head(&journal, &result).await;
            output.rolled_back(plan, &result, head.as_deref());
            Ok(())
        }
        Err(error @ MigrationError::WouldLose(_)) => Err(Failure::of(error, None)),
        Err(error) => Err(migrate::with_next(global, &journal, error, None).await),
    }
}

fn choice(args: &RunArgs) -> StrategyChoice {
    match args.strategy {
        StrategyArg::Auto => StrategyChoice::Auto,
        StrategyArg::Reverse => StrategyChoice::Reverse,
        StrategyArg::Restore => StrategyChoice::Restore,
    }
}

/// An executor with the very scripts that the run began with.
async fn executor(
    global: &Global,
    args: &RunArgs,
    output: &Output,
    wired: &Wired,
    log: &RunLog,
    access: Access,
    cancel: &Cancel,
) -> Result<(Arc<dyn Journal>, MigrationExecutor), Failure> {
    let journal = wired.journal(access).await?;
    let scripts: Arc<dyn Scripts> = Arc::new(Kept(log.header.scripts.clone()));
    let plan = &log.header.plan;
    let executor = MigrationExecutor::new(
        &plan.to_version.to_string(),
        &plan.from_version.to_string(),
        access == Access::ReadOnly,
    )
    .with_registry(wired.registry(&scripts));
    let options = RunOptions {
        identity: wired.identity.clone(),
        skip_checks: global.skip_check.clone(),
        flags: flags(global, args),
        ..RunOptions::default()
    };
    let reporter = output.reporter();
    let executor = wired.executor(executor, &journal, options, reporter, cancel.clone());
    Ok((journal, executor))
}

/// What was asked for and agreed to, for the journal.
fn flags(global: &Global, args: &RunArgs) -> Vec<String> {
    let strategy = match args.strategy {
        StrategyArg::Auto => "--strategy auto",
        StrategyArg::Reverse => "--strategy reverse",
        StrategyArg::Restore => "--strategy restore",
    };
    let mut flags = vec!["--rollback".to_owned(), strategy.to_owned()];
    let given = [
        (args.accept_data_loss, "--accept-data-loss"),
        (args.accept_difference, "--accept-difference"),
        (args.adopt, "--adopt"),
        (global.yes, "--yes"),
        (global.allow_commands, "--allow-commands"),
    ];
    flags.extend(
        given
            .iter()
            .filter(|(given, _)| *given)
            .map(|(_, flag)| (*flag).to_owned()),
    );
    let skipped = global.skip_check.iter();
    flags.extend(skipped.map(|name| format!("--skip-check {name}")));
    flags.extend(args.time.flags());
    flags.extend(resume::unverified(&args.adopt_unverified));
    flags
}

/// Refuses to touch another database than the one that the run was on. One that was moved or
/// copied with its deployment carries the run's whole log, and is taken for it.
pub(crate) async fn same_database(wired: &mut Wired, log: &RunLog) -> Result<(), Failure> {
    let (then, now) = (&log.header.database, &wired.identity.database);
    if then == now {
        return Ok(());
    }
    let carried = wired.runs_in_database().await?;
    let whole =
        |copy: &Copied| !matches!(copy.run.proof, Proof::Wrong { .. }) && &copy.run.log == log;
    if carried.iter().any(whole) {
        wired.target = TargetDatabase::Any;
        return Ok(());
    }
    Err(Failure::unchanged(format!(
        "run {} was on the database {then}, but this is {now}, which does not carry that run's log",
        log.header.run
    ))
    .hint("name the same database with --database-url or $DATABASE_URL, or bring a backup back: `etlrs-migrate restore --help`"))
}

/// The plan's own way back finds the variables that it takes values from. Nothing else on a way
/// back needs one.
fn variables_are_set(log: &RunLog, args: &RunArgs) -> Result<(), Failure> {
    let missing = resume::unset_variables(log.header.plan.rollback_steps.iter());
    if missing.is_empty() || args.strategy != StrategyArg::Auto {
        return Ok(());
    }
    Err(
        Failure::unchanged(format!("{}; nothing was changed", missing.join("; "))).hint(
            "set it for this command, or go back without the plan's rollback_steps: --strategy restore",
        ),
    )
}

/// Commands run on the way back only with the same consent as on the way forward.
fn commands_need_consent(wired: &Wired, log: &RunLog, args: &RunArgs) -> Result<(), Failure> {
    if wired.commands_allowed() || args.strategy == StrategyArg::Restore {
        return Ok(());
    }
    let scripts: Arc<dyn Scripts> = Arc::new(Kept(log.header.scripts.clone()));
    let registry = wired.registry(&scripts);
    let plan = &log.header.plan;
    let state = RunState::replay(log)
        .map_err(|error| Failure::unchanged(format!("the journal makes no sense: {error}")))?;
    let mut commands = Vec::new();
    let steps = registry.build_all(plan, "steps", &plan.steps);
    for (spec, step) in plan.steps.iter().zip(steps.iter().flatten()) {
        let about = step.describe();
        let touched = state
            .step(&spec.id)
            .is_some_and(|step| step.receipt.is_some());
        if about.runs_commands && about.undo == Undoable::Yes && touched {
            commands.push(spec.id.to_string());
        }
    }
    let back = registry.build_all(plan, "rollback_steps", &plan.rollback_steps);
    for (spec, step) in plan.rollback_steps.iter().zip(back.iter().flatten()) {
        if step.describe().runs_commands {
            commands.push(spec.id.to_string());
        }
    }
    if commands.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "going back runs the commands of {}; nothing was changed",
        commands.join(", ")
    ))
    .hint("agree with --allow-commands, or with `allow_commands = true` in etlrs-migrate.toml"))
}
