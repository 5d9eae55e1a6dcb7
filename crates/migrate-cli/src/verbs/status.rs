//! Where a deployment stands. Always answers, whatever is broken.

use migrate_core::{DeploymentVersion, RunLog, RunState, StepStatus, Version, VersionGraph};
use migrate_rollback::journal::Copied;
use migrate_rollback::lock::HolderState;
use serde::Serialize;

use crate::args::Global;
use crate::deployment::Deployment;
use crate::exit;
use crate::failure::Failure;
use crate::plans::Migrations;
use crate::report::Output;
use crate::verbs::{adopt, next};
use crate::wire::Wired;

/// The document of `status --format json`.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    /// The format of this document.
    pub(crate) format: u32,
    /// The deployment's root.
    pub(crate) root: String,
    /// The version that it is at, where a finished run tells.
    pub(crate) version: Option<Version>,
    /// What config and schema look like, where no run is open and nobody is at work.
    pub(crate) looks: Vec<String>,
    /// Who works on it now.
    pub(crate) lock: Option<Lock>,
    /// The newest run.
    pub(crate) run: Option<RunView>,
    /// `null`, `migrate`, `resume`, `rollback` or `manual`.
    pub(crate) next: Option<&'static str>,
    /// The whole line to type.
    pub(crate) next_command: Option<String>,
    /// The whole line that takes the newest run back, where it ended well.
    pub(crate) go_back: Option<String>,
    /// What could not be read.
    pub(crate) problems: Vec<String>,
}

/// Who took the lock and did not let go.
#[derive(Debug, Serialize)]
pub(crate) struct Lock {
    /// `alive`, `silent` or `dead`. A dead holder's lock is free.
    pub(crate) state: HolderState,
    /// In words: run, user, host, process, since when.
    pub(crate) holder: String,
    /// The process number on its host.
    pub(crate) pid: u32,
    /// The host.
    pub(crate) host: String,
    /// Which start of the host.
    pub(crate) boot: String,
    /// When it last said that it is alive.
    pub(crate) heartbeat: Option<String>,
}

/// A run.
#[derive(Debug, Serialize)]
pub(crate) struct RunView {
    pub(crate) id: String,
    pub(crate) from: Version,
    pub(crate) to: Version,
    pub(crate) phase: String,
    pub(crate) started_at: String,
    pub(crate) database: String,
    pub(crate) interrupted_by_signal: Option<i32>,
    pub(crate) steps: Vec<StepView>,
    pub(crate) failure: Option<String>,
    pub(crate) rollback_point: Option<serde_json::Value>,
    pub(crate) left: Vec<String>,
}

/// A step of a run.
#[derive(Debug, Serialize)]
pub(crate) struct StepView {
    pub(crate) id: String,
    pub(crate) status: StepStatus,
    /// `done`, `in_doubt` (begun, its end is not known: it is looked at before anything
    /// else is done) or `not_done`.
    pub(crate) certainty: &'static str,
    pub(crate) attempts: u32,
    pub(crate) message: Option<String>,
    pub(crate) duration_ms: u64,
}

/// `status`.
pub(crate) async fn run(global: &Global, output: &Output) -> Result<u8, Failure> {
    let deployment = Deployment::open(global)?;
    let mut status = Status {
        format: 1,
        root: deployment.shown_root.display().to_string(),
        version: None,
        looks: Vec::new(),
        lock: crate::wire::lock_holder(&deployment).map(|(holder, state)| Lock {
            state,
            holder: holder.to_string(),
            pid: holder.pid,
            boot: holder.boot,
            heartbeat: holder.heartbeat.map(|at| at.to_rfc3339()),
            host: holder.host,
        }),
        run: None,
        next: None,
        next_command: None,
        go_back: None,
        problems: Vec::new(),
    };
    match crate::wire::runs(&deployment).await {
        Ok(runs) => {
            from_runs(global, &deployment, &runs, &mut status);
            if !somebody_works(&status) {
                ask_database(global, &runs, &mut status).await;
            }
        }
        Err(failure) => {
            status.problems.push(failure.to_string());
            status.next = Some("manual");
        }
    }
    match crate::verbs::recover::unfinished(&deployment) {
        Ok(None) => {}
        Ok(Some(record)) => {
            status.problems.push(format!(
                "a restore of backup {} is not finished",
                record.backup
            ));
            status.next = Some("rollback");
            status.next_command = Some(record.command);
        }
        Err(failure) => status.problems.push(failure.to_string()),
    }
    output.status(&status);
    Ok(exit::DONE)
}

fn from_runs(global: &Global, deployment: &Deployment, runs: &[RunLog], status: &mut Status) {
    let mut open = None;
    // Of a chain that is taken back, the run that began first is worked on last.
    let mut runs: Vec<&RunLog> = runs.iter().collect();
    runs.sort_by_key(|log| {
        log.records
            .last()
            .map_or(log.header.started_at, |(at, _)| *at)
    });
    for log in runs.iter().copied() {
        match RunState::replay(log) {
            Ok(state) => {
                if let Some(version) = reached(log, &state) {
                    status.version = Some(version);
                }
                let is_open = !state.phase.is_final();
                if is_open || open.is_none() {
                    status.run = Some(view(log, &state));
                }
                if is_open {
                    open = Some((log, state));
                }
            }
            Err(error) => {
                status
                    .problems
                    .push(format!("run {}: {error}", log.header.run));
                status.next = Some("manual");
                return;
            }
        }
    }
    if let Some((log, state)) = open {
        // What an earlier run left is not what is there in the middle of this one.
        status.version = None;
        status.next = next::word(state.next_action());
        status.next_command = next::command(global, log, &state);
        return;
    }
    let standing = runs.last().copied().filter(|log| completed(log));
    status.go_back = standing.map(|log| next::line(global, &next::back(log, None)));
    if let Some(rest) = standing.and_then(next::onwards) {
        status.next = Some("migrate");
        status.next_command = Some(next::line(global, &rest));
    } else {
        offer_migration(global, deployment, status);
    }
}

fn completed(log: &RunLog) -> bool {
    RunState::replay(log).is_ok_and(|state| state.phase == migrate_core::Phase::Completed)
}

/// Who is at work keeps the database to itself, and changes what is seen.
fn somebody_works(status: &Status) -> bool {
    let alive = |lock: &Lock| lock.state != HolderState::Dead;
    status.lock.as_ref().is_some_and(alive)
}

/// What the database says. One that can't be reached says nothing: what the journal says stands.
async fn ask_database(global: &Global, runs: &[RunLog], status: &mut Status) {
    let wired = match crate::wire::Wired::open(global).await {
        Ok(wired) => wired,
        Err(failure) => {
            let hint = failure.hint.clone().map(|hint| format!(" ({hint})"));
            let hint = hint.unwrap_or_default();
            status.problems.push(format!("{}{hint}", failure.message));
            // What can't be reached is neither migrated nor taken back.
            status.go_back = None;
            if status.next == Some("migrate") {
                status.next = Some("manual");
                status.next_command = Some(next::line(global, "health-check"));
            }
            return;
        }
    };
    if matches!(status.next, Some("resume" | "rollback")) {
        return;
    }
    adoptable(global, &wired, runs, status).await;
    if status.next != Some("resume") {
        compare_looks(&wired, status).await;
    }
}

/// With no run open, config and schema have to look like the version that the last run left.
async fn compare_looks(wired: &Wired, status: &mut Status) {
    let problem = match wired.version_by_shape().await {
        Ok(DeploymentVersion::Major(major, why)) => {
            status.looks.push(why.clone());
            let other = status.version.as_ref().filter(|at| at.major() != major);
            other.map(|at| format!("the last run left {at}, but {why}"))
        }
        Ok(DeploymentVersion::Mixed(reasons)) => {
            status.looks.clone_from(&reasons);
            Some(format!(
                "its parts do not fit together: {}",
                reasons.join("; ")
            ))
        }
        Ok(_) => None,
        Err(failure) => Some(failure.to_string()),
    };
    status.problems.extend(problem);
}

/// A run that only the database knows comes before anything new.
async fn adoptable(global: &Global, wired: &Wired, runs: &[RunLog], status: &mut Status) {
    let known = match wired.runs_in_database().await {
        Ok(known) => known,
        Err(failure) => {
            status.problems.push(failure.to_string());
            return;
        }
    };
    for copy in &known {
        let log = &copy.run.log;
        if runs.iter().any(|own| own.header.run == log.header.run) {
            continue;
        }
        let Ok(state) = RunState::replay(log) else {
            continue;
        };
        if !copy.run.proof.holds() {
            unproven(global, copy, &state, status);
            continue;
        }
        let what = format!(
            "run {} of {}@{} is known to the database and not to this deployment's journal",
            log.header.run, log.header.user, log.header.host
        );
        status.problems.push(what);
        status.run = Some(view(log, &state));
        if state.phase.is_final() {
            status.version = status.version.take().or_else(|| reached(log, &state));
            if completed(log) {
                let rest = format!("{} --adopt", next::back(log, None));
                status.go_back = Some(next::line(global, &rest));
            }
        } else {
            status.next = Some("resume");
            status.next_command = Some(adopt::next_command(global, copy));
        }
    }
}

/// A run that whoever may write to the database may have made up: nothing of it is believed.
fn unproven(global: &Global, copy: &Copied, state: &RunState, status: &mut Status) {
    let header = &copy.run.log.header;
    status.problems.push(format!(
        "run {} of the database's copy of the log is not believed: {}",
        header.run, copy.run.proof
    ));
    if !state.phase.is_final() {
        status.next = Some("manual");
        status.next_command = Some(adopt::next_command(global, copy));
    }
}

fn certainty(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Completed | StepStatus::Skipped => "done",
        StepStatus::Pending | StepStatus::Undone => "not_done",
        _ => "in_doubt",
    }
}

/// The version that a finished run left the deployment at.
pub(crate) fn reached(log: &RunLog, state: &RunState) -> Option<Version> {
    match state.phase {
        migrate_core::Phase::Completed => Some(log.header.plan.to_version.clone()),
        migrate_core::Phase::RolledBack => Some(log.header.plan.from_version.clone()),
        _ => None,
    }
}

/// With no run open, the way forward is a plan that starts where the deployment is.
fn offer_migration(global: &Global, deployment: &Deployment, status: &mut Status) {
    let shape = migrate_config::atomic::read_regular_text(
        &deployment.root.join(crate::deployment::CONFIG_FILE),
    )
    .ok()
    .map(|text| migrate_config::detect(crate::deployment::CONFIG_FILE, &text));
    let found = Migrations::find(&deployment.root, global.migrations.as_deref())
        .and_then(|migrations| Ok((migrations.graph()?, migrations)));
    let (graph, migrations) = match found {
        Ok(found) => found,
        Err(failure) => {
            status.problems.push(failure.to_string());
            return;
        }
    };
    let ways: Vec<(Version, &Version)> = match (&status.version, &shape) {
        (Some(version), _) => {
            let plans = graph.leaving(version).into_iter();
            plans.map(|edge| (version.clone(), &edge.to)).collect()
        }
        (None, Some(migrate_config::Shape::V1)) => of_major(&graph, 1),
        (None, Some(migrate_config::Shape::V2)) => of_major(&graph, 2),
        _ => Vec::new(),
    };
    let upwards = ways.iter().filter(|(from, to)| *to > from);
    if let Some((from, to)) = upwards.max() {
        let rest = format!("--from {from} --to {to}");
        // What is wrong with a plan is reported when it is run.
        let hops = migrations.path(from, to).unwrap_or_default();
        let plans: Vec<_> = hops
            .iter()
            .filter_map(|hop| migrations.load(hop).ok())
            .collect();
        let steps = plans.iter().flat_map(|loaded| &loaded.plan.steps);
        status.next = Some("migrate");
        status.next_command = Some(next::line(global, &next::consenting(&rest, steps)));
    }
}

/// The plans in force that start at one named version of a major: without a run that tells
/// the exact version, they are the best guess.
fn of_major(graph: &VersionGraph, major: u64) -> Vec<(Version, &Version)> {
    let starts = graph.edges().iter().filter(|edge| !edge.from.is_range());
    starts
        .map(|edge| (edge.from.lowest(), edge))
        .filter(|(from, _)| from.major() == major)
        .filter(|(from, edge)| graph.leaving(from).contains(edge))
        .map(|(from, edge)| (from, &edge.to))
        .collect()
}

fn view(log: &RunLog, state: &RunState) -> RunView {
    let header = &log.header;
    RunView {
        id: header.run.to_string(),
        from: header.plan.from_version.clone(),
        to: header.plan.to_version.clone(),
        phase: phase_name(state),
        started_at: header.started_at.to_rfc3339(),
        database: header.database.clone(),
        interrupted_by_signal: state.interrupted,
        steps: state
            .steps
            .iter()
            .map(|step| StepView {
                id: step.id.to_string(),
                status: step.status,
                certainty: certainty(step.status),
                attempts: step.attempts,
                message: step.outcome.as_ref().map(|outcome| outcome.message.clone()),
                duration_ms: step.duration_ms,
            })
            .collect(),
        failure: state.failure.as_ref().map(ToString::to_string),
        rollback_point: state.point.clone(),
        left: state.left.clone(),
    }
}

/// A phase as one word: `rolling-back`.
pub(crate) fn phase_name(state: &RunState) -> String {
    migrate_core::executor::phase_name(state.phase)
}
