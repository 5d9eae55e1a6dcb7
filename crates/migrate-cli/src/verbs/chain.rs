//! A chain of plans, known as a whole before its first step: read, built and agreed to.

use std::sync::Arc;

use chrono::Utc;
use migrate_core::event::Silent;
use migrate_core::{
    Cancel, Estimate, Finding, Hop, MigrationStep, Readiness, Rehearsal, RunId, RunLog, RunState,
    Scripts, Step, StepContext, StepPreview, StepRegistry, Undoable, Version,
};

use crate::args::{Global, RunArgs};
use crate::failure::Failure;
use crate::plans::{LoadedPlan, Migrations, Recorded};
use crate::report::Output;
use crate::wire::Wired;

/// One plan of the chain, ready to be run.
pub(crate) struct Link {
    pub(crate) loaded: LoadedPlan,
    pub(crate) registry: StepRegistry,
    pub(crate) steps: Vec<Box<dyn Step>>,
    pub(crate) scripts: Arc<Recorded<Migrations>>,
}

/// The version that the last finished run led to, if one did.
pub(crate) fn standing_at(runs: &[RunLog]) -> Result<Option<Version>, Failure> {
    let mut at = None;
    // Of a chain that is taken back, the run that began first ends last.
    let mut runs: Vec<&RunLog> = runs.iter().collect();
    runs.sort_by_key(|log| {
        log.records
            .last()
            .map_or(log.header.started_at, |(at, _)| *at)
    });
    for log in runs {
        let state = RunState::replay(log)
            .map_err(|error| Failure::unchanged(format!("the journal makes no sense: {error}")))?;
        at = super::status::reached(log, &state).or(at);
    }
    Ok(at)
}

/// The part of the way that is left when the deployment stands on the way already; the last
/// plan stays, for it says that there is nothing to do.
pub(crate) fn still_to_go<'a>(chain: &'a [Hop], at: Option<&Version>) -> &'a [Hop] {
    let last = chain.len().saturating_sub(1);
    let reached = chain.iter().position(|hop| Some(&hop.edge.to) == at);
    &chain[reached.map_or(0, |index| (index + 1).min(last))..]
}

/// Reads all plans of a chain, or tells everything that is wrong in any of them: every field,
/// kind and script is looked at, without a database.
pub(crate) fn read(
    migrations: &Migrations,
    chain: &[Hop],
    registry: Option<&StepRegistry>,
) -> Result<Vec<LoadedPlan>, Failure> {
    let mut plans = Vec::new();
    let mut findings = Vec::new();
    for hop in chain {
        match migrations.read_plan(hop, registry) {
            Ok(plan) => {
                let built = registry.map(|registry| steps_of(&plan, registry));
                findings.extend(built.and_then(Result::err).unwrap_or_default());
                plans.push(plan);
            }
            Err(found) => findings.extend(found),
        }
    }
    refuse(chain.len(), findings).map(|()| plans)
}

/// Builds the steps of all plans on the open database.
pub(crate) fn build(
    wired: &Wired,
    migrations: &Migrations,
    plans: Vec<LoadedPlan>,
) -> Result<Vec<Link>, Failure> {
    let mut links = Vec::new();
    let mut findings = Vec::new();
    let count = plans.len();
    for loaded in plans {
        let scripts = Arc::new(Recorded::new(migrations.clone()));
        let port: Arc<dyn Scripts> = scripts.clone();
        let registry = wired.registry(&port);
        match steps_of(&loaded, &registry) {
            Ok(steps) => links.push(Link {
                loaded,
                registry,
                steps,
                scripts,
            }),
            Err(found) => findings.extend(found),
        }
    }
    refuse(count, findings).map(|()| links)
}

/// A plan's steps, if those of its way back can be built too.
fn steps_of(
    loaded: &LoadedPlan,
    registry: &StepRegistry,
) -> Result<Vec<Box<dyn Step>>, Vec<Finding>> {
    let plan = &loaded.plan;
    let back = registry.build_all(plan, "rollback_steps", &plan.rollback_steps);
    let steps = registry.build_all(plan, "steps", &plan.steps);
    match (steps, back) {
        (Ok(steps), Ok(_)) => Ok(steps),
        (steps, back) => {
            let found = steps.err().into_iter().chain(back.err()).flatten();
            Err(loaded.located.locate(found.collect()))
        }
    }
}

fn refuse(plans: usize, findings: Vec<Finding>) -> Result<(), Failure> {
    if findings.is_empty() {
        return Ok(());
    }
    let message = if plans == 1 {
        "the plan has errors; nothing was changed"
    } else {
        "the plans of this chain have errors; nothing was changed"
    };
    Err(Failure::findings(message, findings))
}

/// Asks once for everything in the chain that needs consent; without a terminal it names
/// the missing flag.
pub(crate) fn consent(
    global: &Global,
    args: &RunArgs,
    output: &Output,
    wired: &Wired,
    links: &[Link],
) -> Result<(), Failure> {
    let about = || {
        let steps = links.iter().flat_map(|link| &link.steps);
        steps.map(|step| step.describe())
    };
    if about().any(|about| about.runs_commands) && !wired.commands_allowed() {
        return Err(Failure::refused("refused: this plan runs commands, and nobody agreed to that")
            .hint("read them with `etlrs-migrate plan`, then agree with --allow-commands (or allow_commands = true in etlrs-migrate.toml)"));
    }
    let for_good: Vec<String> = about()
        .filter(|about| about.undo == Undoable::No && !about.deferred)
        .map(|about| about.title)
        .collect();
    if for_good.is_empty() || global.yes {
        return Ok(());
    }
    let net = if args.no_backup {
        "and --no-backup leaves nothing to restore"
    } else {
        "only the rollback point covers them"
    };
    let question = format!(
        "these steps can't be undone ({net}): {}",
        for_good.join("; ")
    );
    if output.confirm(&question)? {
        Ok(())
    } else {
        Err(Failure::refused("not confirmed; nothing was changed"))
    }
}

/// How long the chain may take: the first plan by what it would do now, the others by what is
/// known of them. What can't be looked at is told by the checks of the run itself.
///
/// A fresh rehearsal of these very plans says more than anything else.
pub(crate) async fn estimate(
    links: &[Link],
    earlier: &[RunLog],
    rehearsal: Option<&Rehearsal>,
    cancel: &Cancel,
) -> Option<Estimate> {
    let first = previews(links.first()?, cancel).await;
    if let Some(rehearsal) = rehearsal {
        return Some(rehearsal.estimate(&first));
    }
    let mut whole: Option<Estimate> = None;
    for (index, link) in links.iter().enumerate() {
        let plan = &link.loaded.plan;
        let previews = if index == 0 {
            first.clone()
        } else {
            Vec::new()
        };
        let one = migrate_core::estimate(plan, &previews, earlier);
        whole = Some(match whole {
            Some(before) => before.then(one),
            None => one,
        });
    }
    whole
}

async fn previews(link: &Link, cancel: &Cancel) -> Vec<StepPreview> {
    let mut previews = Vec::new();
    for (spec, step) in link.loaded.plan.steps.iter().zip(&link.steps) {
        let looking = StepContext {
            run: RunId::new(Utc::now(), 0),
            step: spec.id.clone(),
            attempt: 1,
            timeout: spec.timeout,
            cancel: cancel.clone(),
            reporter: Arc::new(Silent),
            drops: [].into(),
        };
        let already_done = match step.check(&looking).await {
            Ok(Readiness::AlreadyDone(reason)) => Some(reason),
            _ => None,
        };
        if let Ok(preview) = step.preview(&looking).await {
            previews.push(StepPreview {
                step: spec.id.clone(),
                description: step.describe(),
                preview,
                already_done,
            });
        }
    }
    previews
}

/// Where the deployment stands when a plan after the first one failed: those before it, of which
/// these are the steps, stay.
pub(crate) fn stands_at(
    mut failure: Failure,
    global: &Global,
    from: &Version,
    at: &Version,
    ran: &[MigrationStep],
) -> Failure {
    use crate::exit;
    if ![exit::UNCHANGED, exit::ROLLED_BACK].contains(&failure.code) {
        return failure;
    }
    // "Failed before any change" would not be true of the whole way.
    failure.code = exit::ROLLED_BACK;
    failure.message = format!(
        "{}\nthe plans before it are done: the deployment is at {at}",
        failure.message
    );
    let back = format!("--rollback --to {from}");
    let back = super::next::line(global, &super::next::consenting(&back, ran));
    let stay = format!("once that is mended, go on from {at}; or go back to {from}: {back}");
    failure.hint = Some(match failure.hint {
        Some(hint) => format!("{hint}\n{stay}"),
        None => stay,
    });
    failure
}
