//! Telling the journal what a restore has taken back of runs, and what it has brought back.

use std::sync::Arc;

use chrono::Utc;
use migrate_config::atomic::Root;
use migrate_core::{
    IllegalTransition, Journal, JournalError, OnDifference, Phase, Record, RunLog, RunState,
    StepError, StepStatus, Strategy,
};
use migrate_schema::db::Database;
use serde_json::Value;

use crate::inventory::Stored;
use crate::journal::{JOURNAL_FILE, MirroredJournal, SqliteJournal};
use crate::state_dir;

/// What there is of a journal.
pub(super) enum Found {
    Journal(Arc<dyn Journal>),
    None,
    Unreadable { why: String, aside: String },
}

/// Opens the journal. One that can't be read is renamed: the deployment must not depend on it
/// any longer, and nothing of it is lost.
pub(super) async fn open(root: &Root, database: &Database) -> Result<Found, StepError> {
    let dir = state_dir::path(root.path());
    let file = dir.join(JOURNAL_FILE);
    if !file.exists() {
        return Ok(Found::None);
    }
    let opened = match SqliteJournal::create(root.path()).await {
        Ok(journal) => journal.runs().await.map(|_| journal),
        Err(error) => Err(error),
    };
    match opened {
        Ok(journal) => {
            let journal = MirroredJournal::new(journal, database.clone());
            Ok(Found::Journal(Arc::new(journal)))
        }
        Err(error) => {
            let name = format!(
                "{JOURNAL_FILE}.unreadable-{}",
                Utc::now().format("%Y%m%d_%H%M%S")
            );
            std::fs::rename(&file, dir.join(&name)).map_err(|error| {
                StepError::caused(format!("can't put {} aside", file.display()), &error)
            })?;
            Ok(Found::Unreadable {
                why: error.to_string(),
                aside: format!("{}/{name}", state_dir::STATE_DIR),
            })
        }
    }
}

/// What became of runs.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Those that count as rolled back, newest first.
    pub(super) rolled_back: Vec<String>,
    /// Those whose result is there again, a line each.
    pub(super) standing: Vec<String>,
    /// What commands of rolled back runs did elsewhere, a line each.
    pub(super) outside: Vec<String>,
}

/// What a backup makes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Becomes {
    /// Nothing else.
    Same,
    /// Nothing of it is in the backup.
    RolledBack,
    /// The backup has what it had left when its way back began.
    BroughtBack,
    /// The backup was made in the middle of it, and it has gone on since.
    HalfDone,
}

/// Makes the journal say what is there: every run stands as it stood when the backup was made.
pub(super) async fn follow(
    journal: &Arc<dyn Journal>,
    backup: &Stored,
) -> Result<Followed, StepError> {
    let mut followed = Followed::default();
    let logs = journal.runs().await.map_err(not_noted)?;
    let becomes: Vec<Becomes> = logs.iter().map(|log| becomes(log, backup)).collect();
    // The last line of the newest run that stands tells the version, or that of the oldest one
    // that was taken back.
    for (log, becomes) in logs.iter().zip(&becomes).rev() {
        if *becomes == Becomes::RolledBack {
            let state = RunState::replay(log).map_err(makes_no_sense)?;
            followed.outside.extend(left_outside(log, &state));
            append(journal, log, state.clone(), back(state.phase, backup)).await?;
            followed.rolled_back.push(log.header.run.to_string());
        }
    }
    for (log, becomes) in logs.iter().zip(&becomes) {
        let records = match becomes {
            Becomes::Same | Becomes::RolledBack => continue,
            Becomes::BroughtBack => vec![Record::BroughtBack {
                message: brought_back(backup),
            }],
            Becomes::HalfDone => vec![
                started(),
                Record::RestoreFailed {
                    error: StepError::failed(format!(
                        "{} as it was in the middle of this run",
                        brought_back(backup)
                    )),
                },
            ],
        };
        let state = RunState::replay(log).map_err(makes_no_sense)?;
        let state = append(journal, log, state, records).await?;
        followed.standing.push(stands(log, &state));
    }
    Ok(followed)
}

async fn append(
    journal: &Arc<dyn Journal>,
    log: &RunLog,
    mut state: RunState,
    records: Vec<Record>,
) -> Result<RunState, StepError> {
    for record in records {
        state = state.next(&record).map_err(makes_no_sense)?;
        journal
            .append(&log.header.run, Utc::now(), &record)
            .await
            .map_err(not_noted)?;
    }
    Ok(state)
}

#[expect(clippy::needless_pass_by_value, reason = "it is the end of an error")]
fn not_noted(error: JournalError) -> StepError {
    StepError::caused("can't note it", &error)
}

#[expect(clippy::needless_pass_by_value, reason = "it is the end of an error")]
fn makes_no_sense(error: IllegalTransition) -> StepError {
    StepError::caused("the journal makes no sense", &error)
}

fn brought_back(backup: &Stored) -> String {
    format!("the database was restored from {}", backup.file())
}

fn stands(log: &RunLog, state: &RunState) -> String {
    let (run, plan) = (&log.header.run, &log.header.plan);
    match state.phase {
        Phase::Completed => format!("{run} stands again: this is {}", plan.to_version),
        _ => format!(
            "{run} stands half done between {} and {}: `etlrs-migrate status` tells the way out",
            plan.from_version, plan.to_version
        ),
    }
}

/// What ran before an open run stopped it, by the journal's file; nothing where that can't be read.
pub(super) async fn stopped_services(root: &Root) -> Vec<Value> {
    if !state_dir::path(root.path()).join(JOURNAL_FILE).exists() {
        return Vec::new();
    }
    let Ok(journal) = SqliteJournal::create(root.path()).await else {
        return Vec::new();
    };
    let logs = Journal::runs(&journal).await.unwrap_or_default();
    let states = logs.iter().filter_map(|log| RunState::replay(log).ok());
    let open = states.filter(|state| !state.phase.is_final());
    open.filter_map(|state| state.running).collect()
}

/// The runs of which nothing is left.
pub(super) async fn taken_back(journal: &Arc<dyn Journal>) -> Result<Vec<String>, StepError> {
    let logs = journal.runs().await.map_err(not_noted)?;
    let back = logs.iter().filter(|log| is_rolled_back(log));
    Ok(back.map(|log| log.header.run.to_string()).collect())
}

/// Whether nothing is left of a run.
pub(super) fn is_rolled_back(log: &RunLog) -> bool {
    RunState::replay(log).is_ok_and(|state| state.phase == Phase::RolledBack)
}

/// By what the log said when the backup was made, and what it says now.
fn becomes(log: &RunLog, backup: &Stored) -> Becomes {
    let Ok(now) = RunState::replay(log) else {
        return Becomes::Same;
    };
    let made = backup.made();
    let earlier = log.records.iter().filter(|(at, _)| *at <= made);
    let then = RunLog {
        header: log.header.clone(),
        records: earlier.cloned().collect(),
    };
    let same = then.records.len() == log.records.len();
    let then = RunState::replay(&then).ok();
    let then = then.filter(|_| log.header.started_at <= made);
    let taken_back = matches!(
        now.phase,
        Phase::RolledBack | Phase::Reverted | Phase::RollingBack(_) | Phase::Stuck
    );
    match then {
        Some(then)
            if !did_nothing(&then)
                && !matches!(then.phase, Phase::Reverted | Phase::RolledBack) =>
        {
            let stood = matches!(
                then.phase,
                Phase::Completed | Phase::Committing | Phase::Serving | Phase::Unhealthy
            );
            match (same, taken_back, stood) {
                (true, ..) | (_, false, true) => Becomes::Same,
                (_, true, _) => Becomes::BroughtBack,
                (_, false, false) => Becomes::HalfDone,
            }
        }
        _ if now.phase == Phase::RolledBack => Becomes::Same,
        _ => Becomes::RolledBack,
    }
}

/// Whether a run is open, and none of its steps ever began: no backup has anything of it.
fn did_nothing(state: &RunState) -> bool {
    let idle = |status| matches!(status, StepStatus::Pending | StepStatus::Skipped);
    !state.phase.is_final() && state.steps.iter().all(|step| idle(step.status))
}

/// What the commands of a run did is in no backup, and a restore runs none.
fn left_outside(log: &RunLog, state: &RunState) -> Vec<String> {
    let specs = log.header.plan.steps.iter();
    let did = specs.zip(&state.steps).filter(|(spec, step)| {
        let undone = matches!(step.status, StepStatus::Undone | StepStatus::Skipped);
        spec.step_type.name() == "Command" && step.receipt.is_some() && !undone
    });
    did.map(|(spec, _)| {
        format!(
            "not undone, step {} of run {}: what its command did elsewhere",
            spec.id, log.header.run
        )
    })
    .collect()
}

fn started() -> Record {
    Record::RollbackStarted {
        strategy: Strategy::Restore,
        requested: true,
        cleared: true,
        loses: Vec::new(),
        on_difference: OnDifference::RollBack,
    }
}

fn back(phase: Phase, backup: &Stored) -> Vec<Record> {
    let done = Record::RolledBack;
    match phase {
        Phase::RolledBack => Vec::new(),
        Phase::Reverted => vec![done],
        _ => vec![
            started(),
            Record::RestoreStarted,
            Record::Restored {
                message: format!("restored from {} outside of the run", backup.file()),
                differences: Vec::new(),
                kept: Vec::new(),
            },
            Record::Reverted { left: Vec::new() },
            done,
        ],
    }
}
