//! Going on with an interrupted run.

use std::sync::Arc;

use clap::Args;
use migrate_core::executor::RunEnd;
use migrate_core::{
    Cancel, Estimate, Hop, MigrationExecutor, MigrationPlan, MigrationStep, Phase, RunLog,
    RunOptions, RunState, Scripts, StepStatus, estimate,
};

use crate::args::Global;
use crate::deadline::DeadlineArgs;
use crate::environment;
use crate::exit;
use crate::failure::Failure;
use crate::plans::{Kept, Migrations, sha256};
use crate::report::Output;
use crate::verbs::adopt::{self, Wanted};
use crate::verbs::{migrate, next, rollback};
use crate::wire::{Access, Wired};

/// What `resume` may take up.
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// Take up what the database knows of runs that this deployment's journal lost.
    #[arg(long)]
    pub(crate) adopt: bool,
    /// Vouch for a run that nothing proves: it is shown in full and taken up if all of it lies on
    /// disk or is embedded, and never runs a command. Only where this deployment's key was lost.
    #[arg(long, value_name = "RUN", requires = "adopt")]
    pub(crate) adopt_unverified: Vec<String>,
    #[command(flatten)]
    pub(crate) time: DeadlineArgs,
}

/// With no run open here, the database may still know one: then "nothing to do" would be wrong.
async fn refuse_unknown(global: &Global, runs: &[RunLog]) -> Result<(), Failure> {
    let Ok(wired) = Wired::open(global).await else {
        return Ok(());
    };
    let known = wired.runs_in_database().await?;
    let open = known.iter().find(|copy| {
        let log = &copy.run.log;
        let here = |own: &RunLog| own.header.run == log.header.run;
        !runs.iter().any(here) && RunState::replay(log).is_ok_and(|state| !state.phase.is_final())
    });
    let Some(copy) = open else {
        return Ok(());
    };
    let run = &copy.run.log.header.run;
    let why = if copy.run.proof.holds() {
        "this deployment's journal was lost".to_owned()
    } else {
        format!("nothing proves that this tool wrote it: {}", copy.run.proof)
    };
    Err(Failure {
        code: exit::OPEN_RUN,
        ..Failure::unchanged(format!(
            "run {run} is open, and known to the database alone: {why}"
        ))
    }
    .hint(format!("next: {}", adopt::next_command(global, copy))))
}

/// `resume [--adopt]`.
pub(crate) async fn run(
    global: &Global,
    args: &ResumeArgs,
    output: &Output,
) -> Result<u8, Failure> {
    let deadline = args.time.resolve()?;
    let deployment = crate::deployment::Deployment::open(global)?;
    if args.adopt {
        let wired = Wired::open(global).await?;
        adopt::adopt(global, &wired, Wanted::Open, &args.adopt_unverified, output).await?;
    }
    let runs = crate::wire::runs(&deployment).await?;
    environment::refuse_other(global, &runs)?;
    let Some((log, state)) = open_run(&runs)? else {
        refuse_unknown(global, &runs).await?;
        output.say("nothing to resume: no run is open");
        return Ok(exit::DONE);
    };
    if matches!(state.phase, Phase::Stuck | Phase::Unhealthy) {
        let command = next::command(global, log, &state).unwrap_or_default();
        let message = format!("run {} can't be resumed: {}", log.header.run, why(&state));
        let failure = Failure {
            code: exit::STUCK,
            ..Failure::unchanged(message)
        };
        return Err(failure.hint(format!("next: {command}")));
    }
    let forward = !matches!(
        state.phase,
        Phase::Failed | Phase::RollingBack(_) | Phase::Reverted
    );
    if forward {
        same_inputs(global, &deployment, log)?;
        variables_are_set(global, log, &state)?;
    }
    environment::confirm(global, output, "going on with the interrupted run")?;
    let cancel = Cancel::new();
    crate::signals::watch(&cancel)
        .map_err(|error| Failure::unchanged(format!("signals can't be watched: {error}")))?;
    let mut wired = Wired::open(global).await?;
    output.database(&wired);
    rollback::same_database(&mut wired, log).await?;
    if let Some(deadline) = &deadline {
        if forward {
            output.estimate(&still_to_do(log, &state, &runs), Some(deadline));
            crate::deadline::watch(deadline, &cancel);
        } else {
            crate::deadline::watch_back(deadline, &cancel);
        }
    }
    let journal = wired.journal(Access::Write).await?;
    let plan = &log.header.plan;
    let scripts: Arc<dyn Scripts> = Arc::new(Kept(log.header.scripts.clone()));
    let executor = MigrationExecutor::new(
        &plan.from_version.to_string(),
        &plan.to_version.to_string(),
        false,
    )
    .with_registry(wired.registry(&scripts));
    let options = RunOptions {
        identity: wired.identity.clone(),
        flags: std::iter::once("resume".to_owned())
            .chain(args.adopt.then(|| "--adopt".to_owned()))
            .chain(unverified(&args.adopt_unverified))
            .chain(args.time.flags())
            .collect(),
        ..RunOptions::default()
    };
    let executor = wired.executor(executor, &journal, options, output.reporter(), cancel);
    let result = executor.resume(log).await;
    output.done_with_progress();
    match result {
        Ok(result) if result.end == RunEnd::RolledBack => {
            let head = migrate::head(&journal, &result).await;
            output.rolled_back(plan, &result, head.as_deref());
            Ok(exit::DONE)
        }
        Ok(result) => {
            let back = next::line(global, &next::back(log, None));
            let head = migrate::head(&journal, &result).await;
            output.summary(plan, &result, Some(&back), head.as_deref());
            if let Some(rest) = next::onwards(log) {
                output.note(&format!("next: {}", next::line(global, &rest)));
            }
            Ok(exit::DONE)
        }
        Err(error) => Err(migrate::with_next(global, &journal, error, None).await),
    }
}

/// The runs that the operator vouched for, as the journal keeps it.
pub(crate) fn unverified(runs: &[String]) -> impl Iterator<Item = String> + '_ {
    runs.iter().map(|run| format!("--adopt-unverified {run}"))
}

/// The estimate of what an interrupted run has left.
fn still_to_do(log: &RunLog, state: &RunState, runs: &[RunLog]) -> Estimate {
    let mut plan = log.header.plan.clone();
    plan.steps.retain(|spec| {
        let status = state.step(&spec.id).map(|step| step.status);
        matches!(status, Some(StepStatus::Pending | StepStatus::Started))
    });
    let mut left = estimate(&plan, &[], runs);
    left.back = estimate(&log.header.plan, &[], runs).back;
    left
}

/// Steps that are still to be done find the variables that they take values from.
fn variables_are_set(global: &Global, log: &RunLog, state: &RunState) -> Result<(), Failure> {
    let open = log.header.plan.steps.iter().filter(|spec| {
        let status = state.step(&spec.id).map(|step| step.status);
        matches!(status, Some(StepStatus::Pending | StepStatus::Started))
    });
    let missing = unset_variables(open);
    if missing.is_empty() {
        return Ok(());
    }
    let back = next::line(global, &next::back(log, None));
    Err(Failure::unchanged(format!(
        "run {} can't go on: {}; nothing was changed",
        log.header.run,
        missing.join("; ")
    ))
    .hint(format!("set it and resume, or go back without it: {back}")))
}

/// What steps take from variables that are not set, a line each, without any value.
pub(crate) fn unset_variables<'a>(steps: impl Iterator<Item = &'a MigrationStep>) -> Vec<String> {
    let mut missing = Vec::new();
    for spec in steps {
        for (path, value) in spec.config_changes.iter().flatten() {
            for name in migrate_config::written::variables(value) {
                if std::env::var(name).is_ok_and(|value| !value.is_empty()) {
                    continue;
                }
                missing.push(format!(
                    "the variable {name}, which step {} writes to {path}, is not set or empty",
                    spec.id
                ));
            }
        }
    }
    missing
}

fn why(state: &RunState) -> String {
    state
        .failure
        .as_ref()
        .map_or_else(|| "it is stuck".to_owned(), ToString::to_string)
}

/// The run that is not finished, if there is one.
pub(crate) fn open_run(runs: &[RunLog]) -> Result<Option<(&RunLog, RunState)>, Failure> {
    for log in runs.iter().rev() {
        let state = RunState::replay(log)
            .map_err(|error| Failure::unchanged(format!("the journal makes no sense: {error}")))?;
        if !state.phase.is_final() {
            return Ok(Some((log, state)));
        }
    }
    Ok(None)
}

/// Whether two plans do the same: that one was withdrawn meanwhile keeps no run from its end.
pub(crate) fn same_work(now: &MigrationPlan, then: &MigrationPlan) -> bool {
    let mut now = now.clone();
    now.withdrawn.clone_from(&then.withdrawn);
    now.mandatory_stop = then.mandatory_stop;
    &now == then
}

/// A run goes on only with the plan and scripts that it began with.
fn same_inputs(
    global: &Global,
    deployment: &crate::deployment::Deployment,
    log: &RunLog,
) -> Result<(), Failure> {
    let migrations = Migrations::find(&deployment.root, global.migrations.as_deref())?;
    let plan = &log.header.plan;
    let mut changed = Vec::new();
    for (name, kept) in &log.header.scripts {
        match migrations.read(name) {
            Ok(now) if sha256(&now.text) == sha256(&kept.text) => {}
            Ok(now) => changed.push(format!("{} has changed since", now.origin)),
            // What is gone is in the journal, word for word.
            Err(_) => {}
        }
    }
    let graph = migrations.graph()?;
    let edge = graph.edge(&plan.from_version, &plan.to_version);
    let hop = edge.map(|edge| Hop {
        from: plan.from_version.clone(),
        edge: edge.clone(),
    });
    let loaded = hop.map(|hop| {
        let mut loaded = migrations.load(&hop)?;
        environment::add_checks(global, &mut loaded.plan)?;
        Ok::<_, Failure>(loaded)
    });
    match loaded {
        Some(Ok(loaded)) if same_work(&loaded.plan, plan) => {}
        Some(Ok(loaded)) => changed.push(format!("{} has changed since", loaded.origin)),
        Some(Err(failure)) => changed.push(failure.to_string()),
        None => {}
    }
    if changed.is_empty() {
        return Ok(());
    }
    let command = next::line(global, &next::back(log, None));
    Err(Failure::unchanged(format!(
        "run {} can't go on with another plan than it began with: {}",
        log.header.run,
        changed.join("; ")
    ))
    .hint(format!(
        "bring the files back as they were, or go back: {command}"
    )))
}
