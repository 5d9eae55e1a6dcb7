//! Telling the journal which runs a restore has taken back.

use std::sync::Arc;

use chrono::Utc;
use migrate_config::atomic::Root;
use migrate_core::{
    Journal, OnDifference, Phase, Record, RunLog, RunState, StepError, StepStatus, Strategy,
};
use migrate_schema::db::Database;

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

/// Marks the runs whose effects are not in the backup, newest first; their names.
pub(super) async fn mark_rolled_back(
    journal: &Arc<dyn Journal>,
    backup: &Stored,
) -> Result<Vec<String>, StepError> {
    let failed = |error| StepError::caused("can't note it", &error);
    let mut marked = Vec::new();
    for log in journal.runs().await.map_err(failed)?.iter().rev() {
        let Ok(mut state) = RunState::replay(log) else {
            continue;
        };
        if !is_later(log, backup) && !did_nothing(&state) {
            continue;
        }
        for record in records(state.phase, backup) {
            state = state
                .next(&record)
                .map_err(|error| StepError::caused("the journal makes no sense", &error))?;
            journal
                .append(&log.header.run, Utc::now(), &record)
                .await
                .map_err(failed)?;
        }
        marked.push(log.header.run.to_string());
    }
    Ok(marked)
}

/// Whether nothing is left of a run.
pub(super) fn is_rolled_back(log: &RunLog) -> bool {
    RunState::replay(log).is_ok_and(|state| state.phase == Phase::RolledBack)
}

/// Whether a run did something after the backup was made.
fn is_later(log: &RunLog, backup: &Stored) -> bool {
    let last = log
        .records
        .last()
        .map_or(log.header.started_at, |(at, _)| *at);
    last > backup.made()
}

/// Whether a run is open, and none of its steps ever began: no backup has anything of it.
fn did_nothing(state: &RunState) -> bool {
    let idle = |status| matches!(status, StepStatus::Pending | StepStatus::Skipped);
    !state.phase.is_final() && state.steps.iter().all(|step| idle(step.status))
}

fn records(phase: Phase, backup: &Stored) -> Vec<Record> {
    let done = Record::RolledBack;
    match phase {
        Phase::RolledBack => Vec::new(),
        Phase::Reverted => vec![done],
        _ => vec![
            Record::RollbackStarted {
                strategy: Strategy::Restore,
                requested: true,
                cleared: true,
                loses: Vec::new(),
                on_difference: OnDifference::RollBack,
            },
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
