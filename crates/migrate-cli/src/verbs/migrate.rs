//! Forward: from a version to another, plan by plan.

use std::sync::Arc;

use migrate_core::executor::{Backup, RunEnd};
use migrate_core::{
    Cancel, Journal, MigrationError, MigrationExecutor, MigrationResult, Rehearsal, RunOptions,
    RunState, Scripts, StepErrorKind, Version, estimate,
};

use crate::args::{Global, RunArgs};
use crate::environment;
use crate::exit;
use crate::failure::Failure;
use crate::files_only;
use crate::plan_file::signed;
use crate::plans::{LoadedPlan, Migrations};
use crate::report::Output;
use crate::verbs::chain::{self, Link};
use crate::verbs::rehearse::certificate;
use crate::verbs::{next, resume};
use crate::wire::{Access, Wired};

/// `--from A --to B`.
pub(crate) async fn run(global: &Global, args: &RunArgs, output: &Output) -> Result<u8, Failure> {
    let (from, to) = versions(args)?;
    let deadline = args.time.resolve()?;
    let cancel = Cancel::new();
    crate::signals::watch(&cancel)
        .map_err(|error| Failure::unchanged(format!("signals can't be watched: {error}")))?;
    let deployment = crate::deployment::Deployment::open(global)?;
    let migrations = Migrations::find(&deployment.root, global.migrations.as_deref())?;
    if from == to {
        output.say(&format!("nothing to do: --from and --to are both {to}"));
        return Ok(exit::DONE);
    }
    let whole = migrations.path(&from, &to)?;
    let runs = crate::wire::runs(&deployment).await?;
    environment::refuse_other(global, &runs)?;
    let here = chain::standing_at(&runs)?;
    let hops = chain::still_to_go(&whole, here.as_ref());
    // Why there is none is told when the database is opened.
    let registry = Wired::unconnected(global).ok().map(|wired| {
        let scripts: Arc<dyn Scripts> = Arc::new(migrations.clone());
        wired.registry(&scripts)
    });
    let mut plans = chain::read(&migrations, hops, registry.as_ref())?;
    for loaded in &mut plans {
        environment::add_checks(global, &mut loaded.plan)?;
    }
    let (mut wired, _aside) = files_only::open(global, &deployment, &plans, args.dry_run).await?;
    if args.dry_run {
        wired.only_looking();
    }
    output.database(&wired);
    let links = chain::build(&wired, &migrations, plans)?;
    output.chain(&whole, hops);
    for link in &links {
        output.plan(&link.loaded, &link.steps);
    }
    if !args.dry_run {
        signed::refuse_direct(global, &format!("--from {from} --to {to}"))?;
        chain::consent(global, args, output, &wired, &links)?;
        environment::confirm(global, output, &format!("{from} -> {to}"))?;
    }
    let rehearsal = rehearsal(&wired, &links);
    if deadline.is_some() || rehearsal.is_some() {
        let estimate = chain::estimate(&links, &runs, rehearsal.as_ref(), &cancel).await;
        if let Some(estimate) = estimate {
            output.predict(estimate);
        }
    }
    if !args.dry_run
        && let Some(estimate) = output.predicted()
    {
        output.estimate(&estimate, deadline.as_ref());
    }
    if let Some(deadline) = &deadline
        && !args.dry_run
    {
        crate::deadline::watch(deadline, &cancel);
    }
    let mut ran = Vec::new();
    for (index, link) in links.into_iter().enumerate() {
        if args.dry_run && index > 0 {
            output.say(&format!(
                "{}: can only be looked at once the plan before it has run",
                link.loaded.origin
            ));
            continue;
        }
        let at = link.loaded.plan.from_version.clone();
        let plan = &link.loaded.plan;
        let steps = [plan.steps.clone(), plan.rollback_steps.clone()].concat();
        let done = one_plan(global, args, output, &wired, link, &to, &cancel).await;
        if index == 0 {
            done?;
        } else {
            done.map_err(|failure| chain::stands_at(failure, global, &from, &at, &ran))?;
        }
        ran.extend(steps);
    }
    Ok(exit::DONE)
}

/// What a fresh rehearsal of exactly these plans measured.
fn rehearsal(wired: &Wired, links: &[Link]) -> Option<Rehearsal> {
    let inputs: Vec<_> = links
        .iter()
        .map(|link| inputs(&link.loaded, &link.scripts.scripts()))
        .collect();
    certificate::measured(&wired.deployment.root, &inputs)
}

fn versions(args: &RunArgs) -> Result<(Version, Version), Failure> {
    let missing = |flag: &str| {
        Failure::usage(format!("{flag} VERSION is missing"))
            .hint("for example: etlrs-migrate --from 1.5.0 --to 2.0.0; see --help for the verbs")
    };
    let to = args.to.as_deref().ok_or_else(|| missing("--to"))?;
    let from = args.from.as_deref().ok_or_else(|| missing("--from"))?;
    Ok((version(from, "--from")?, version(to, "--to")?))
}

/// Parses a version of the command line.
pub(crate) fn version(text: &str, flag: &str) -> Result<Version, Failure> {
    text.parse()
        .map_err(|error| Failure::unchanged(format!("{flag}: {error}")))
}

async fn one_plan(
    global: &Global,
    args: &RunArgs,
    output: &Output,
    wired: &Wired,
    link: Link,
    target: &Version,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let Link {
        loaded,
        registry,
        scripts,
        ..
    } = link;
    let loaded = &loaded;
    let mut options = options(global, args, wired);
    if target != &loaded.plan.to_version {
        options.flags.push(format!("--to {target}"));
    }
    options.scripts = scripts.scripts();
    options.inputs = inputs(loaded, &options.scripts);
    let access = if args.dry_run {
        Access::ReadOnly
    } else {
        Access::Write
    };
    let journal = wired.journal(access).await?;
    let (from, to) = (&loaded.plan.from_version, &loaded.plan.to_version);
    let executor = MigrationExecutor::new(&from.to_string(), &to.to_string(), args.dry_run)
        .with_registry(registry);
    let executor = wired.executor(
        executor,
        &journal,
        options,
        output.reporter(),
        cancel.clone(),
    );
    let result = executor.execute_migration(&loaded.plan).await;
    output.done_with_progress();
    match result {
        Ok(result) => {
            tell(global, output, &journal, loaded, &result).await;
            if result.end == RunEnd::Completed {
                crate::verbs::backup::forget_old(output, wired).await;
            }
            Ok(())
        }
        Err(error) => Err(with_next(global, &journal, error, Some(loaded)).await),
    }
}

fn options(global: &Global, args: &RunArgs, wired: &Wired) -> RunOptions {
    let mut flags = Vec::new();
    if args.no_backup {
        flags.push("--no-backup".to_owned());
    }
    if global.yes {
        flags.push("--yes".to_owned());
    }
    if wired.commands_allowed() {
        flags.push("--allow-commands".to_owned());
    }
    if let Some(name) = &global.env {
        flags.push(format!("--env {name}"));
    }
    flags.extend(args.time.flags());
    flags.extend(
        global
            .skip_check
            .iter()
            .map(|name| format!("--skip-check {name}")),
    );
    RunOptions {
        backup: if args.no_backup {
            Backup::Skip
        } else {
            Backup::Make
        },
        skip_checks: global.skip_check.clone(),
        flags,
        identity: wired.identity.clone(),
        ..RunOptions::default()
    }
}

/// Hashes of what decides the run, by name.
pub(crate) fn inputs(
    loaded: &LoadedPlan,
    scripts: &std::collections::BTreeMap<String, migrate_core::Script>,
) -> std::collections::BTreeMap<String, String> {
    let mut inputs: std::collections::BTreeMap<_, _> = scripts
        .iter()
        .map(|(name, script)| (format!("script {name}"), crate::plans::sha256(&script.text)))
        .collect();
    inputs.insert("plan".to_owned(), loaded.sha256.clone());
    inputs
}

/// Shows what a run did, and how to go back.
pub(crate) async fn tell(
    global: &Global,
    output: &Output,
    journal: &Arc<dyn Journal>,
    loaded: &LoadedPlan,
    result: &MigrationResult,
) {
    let back = match journal.runs().await {
        Ok(runs) => runs
            .iter()
            .rfind(|log| Some(&log.header.run) == result.run.as_ref())
            .map(|log| next::line(global, &next::back(log, None))),
        Err(_) => None,
    };
    match &result.end {
        RunEnd::AlreadyThere(why) => output.already(&loaded.plan.to_version, why),
        RunEnd::DryRun => {
            let earlier = journal.runs().await.unwrap_or_default();
            let estimate = output
                .predicted()
                .unwrap_or_else(|| estimate(&loaded.plan, &result.previews, &earlier));
            output.estimate(&estimate, None);
            output.dry_run(result);
        }
        _ => {
            let head = head(journal, result).await;
            output.summary(&loaded.plan, result, back.as_deref(), head.as_deref());
        }
    }
}

/// What to type next; both ways where it is a choice.
fn ways_out(state: &RunState, command: &str) -> String {
    match state.failure.as_ref().map(|failure| failure.kind) {
        Some(StepErrorKind::OthersWrote) => format!(
            "next, losing what others wrote (the safety copy has it): {command} --accept-data-loss\n\
             or keep it: put it somewhere else, then: {command}"
        ),
        _ if !state.differs.is_empty() => format!(
            "next, losing what others wrote to what differs (a safety copy is made first): {command} --accept-data-loss"
        ),
        Some(StepErrorKind::Differs) => format!(
            "next: {command}\n\
             or, if the difference does not matter: {command} --accept-difference"
        ),
        _ => format!("next: {command}"),
    }
}

/// The hash that names the log of the run that ended.
pub(crate) async fn head(journal: &Arc<dyn Journal>, result: &MigrationResult) -> Option<String> {
    journal.head(result.run.as_ref()?).await.ok().flatten()
}

/// Adds the next command to a failure that leaves a run open.
pub(crate) async fn with_next(
    global: &Global,
    journal: &Arc<dyn Journal>,
    error: MigrationError,
    loaded: Option<&LoadedPlan>,
) -> Failure {
    let of_journal = matches!(error, MigrationError::Journal(_));
    let mut failure = Failure::of(error, loaded.map(|loaded| &loaded.located));
    let Ok(runs) = journal.runs().await else {
        return failure;
    };
    // The journal may fail once its head of the run is durable: then the run is open.
    if of_journal && matches!(resume::open_run(&runs), Ok(Some(_))) {
        failure.code = exit::OPEN_RUN;
    }
    let open_ends = [exit::STUCK, exit::OPEN_RUN, 129, 130, 142, 143];
    if open_ends.contains(&failure.code)
        && let Ok(Some((log, state))) = resume::open_run(&runs)
        && let Some(command) = next::command(global, log, &state)
    {
        failure.hint = Some(ways_out(&state, &command));
    }
    failure
}
