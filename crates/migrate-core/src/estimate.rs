//! How long a plan may take, and its way back: measured in earlier runs, else assumed.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::executor::StepPreview;
use crate::journal::{Record, RunId, RunLog};
use crate::plan::{MigrationPlan, StepId};

/// The figure of a data step's outcome that its time grows with.
const ROWS: &str = "rows_read";

/// Where an estimate comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Basis {
    /// A rehearsal of this very plan, scaled by the rows.
    Rehearsed(DateTime<Utc>),
    /// An earlier run of a step of this name, scaled by the rows.
    Measured(RunId),
    /// The step's own guess for its rows.
    Rows,
    /// The plan's `estimated_duration`.
    Author,
}

/// How long one step may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StepEstimate {
    /// The step.
    pub step: StepId,
    /// Its run.
    pub forward: Duration,
    /// Its undo: measured, else as long as its run.
    pub back: Duration,
    /// Where that comes from.
    pub basis: Basis,
}

/// How long a plan may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Estimate {
    /// All steps and the rollback point.
    pub forward: Duration,
    /// Taking all of it back by receipts.
    pub back: Duration,
    /// The steps of which something is known.
    pub steps: Vec<StepEstimate>,
    /// Where the sum comes from: the best that any step has.
    pub basis: Basis,
}

impl Estimate {
    /// This plan and then another.
    #[must_use]
    pub fn then(mut self, next: Self) -> Self {
        self.forward += next.forward;
        self.back += next.back;
        self.steps.extend(next.steps);
        self
    }
}

/// What a rehearsal measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// When it was played.
    pub made_at: DateTime<Utc>,
    /// The whole way there, rollback point and checks included.
    pub forward: Duration,
    /// The whole way back.
    pub back: Duration,
    /// Each step with its time and the rows that it read.
    pub steps: Vec<(StepId, Duration, Option<u64>)>,
}

impl Rehearsal {
    /// What the same plan may take now, with the rows that its steps would read.
    pub fn estimate(&self, previews: &[StepPreview]) -> Estimate {
        let basis = Basis::Rehearsed(self.made_at);
        let now = |step: &StepId| {
            let preview = previews.iter().find(|preview| &preview.step == step);
            preview.and_then(|preview| preview.preview.rows)
        };
        let steps: Vec<StepEstimate> = self
            .steps
            .iter()
            .map(|(step, took, rows)| {
                let forward = scaled(*took, now(step), *rows);
                StepEstimate {
                    step: step.clone(),
                    forward,
                    back: forward,
                    basis: basis.clone(),
                }
            })
            .collect();
        let then: Duration = self.steps.iter().map(|(_, took, _)| *took).sum();
        let sum: Duration = steps.iter().map(|step| step.forward).sum();
        let around = self.forward.saturating_sub(then);
        let back = scale(
            self.back,
            u64::try_from(sum.as_millis()).unwrap_or(u64::MAX).max(1),
            u64::try_from(then.as_millis()).unwrap_or(u64::MAX).max(1),
        );
        Estimate {
            forward: around + sum,
            back,
            basis,
            steps,
        }
    }
}

/// Estimates a plan from what its steps would do now and from earlier runs, oldest first.
pub fn estimate(plan: &MigrationPlan, previews: &[StepPreview], earlier: &[RunLog]) -> Estimate {
    let steps: Vec<StepEstimate> = plan
        .steps
        .iter()
        .filter_map(|step| {
            let preview = previews.iter().find(|preview| preview.step == step.id);
            if preview.is_some_and(|preview| preview.already_done.is_some()) {
                return None;
            }
            let rows = preview.and_then(|preview| preview.preview.rows);
            let measured = earlier
                .iter()
                .rev()
                .find_map(|log| measured(log, &step.id, rows));
            measured.or_else(|| {
                let guess = preview.and_then(|preview| preview.preview.estimate)?;
                Some(StepEstimate {
                    step: step.id.clone(),
                    forward: guess,
                    back: guess,
                    basis: Basis::Rows,
                })
            })
        })
        .collect();
    let point = earlier.iter().rev().find_map(point).unwrap_or_default();
    let author = plan.estimated_duration;
    let measured = steps
        .iter()
        .find(|step| matches!(step.basis, Basis::Measured(_)));
    match measured.or(steps.first()) {
        None => Estimate {
            forward: author,
            back: author,
            basis: Basis::Author,
            steps,
        },
        Some(best) => Estimate {
            forward: point + steps.iter().map(|step| step.forward).sum::<Duration>(),
            back: steps.iter().map(|step| step.back).sum(),
            basis: best.basis.clone(),
            steps,
        },
    }
}

/// How long taking a run back by receipts may take: as measured for its steps before, else as
/// long as they took.
pub fn estimate_back(log: &RunLog, earlier: &[RunLog]) -> Duration {
    let steps = log.header.plan.steps.iter();
    steps
        .filter_map(|step| {
            let (took, rows) = run_of(log, &step.id)?;
            let before = earlier
                .iter()
                .rev()
                .find_map(|log| measured(log, &step.id, rows));
            Some(before.map_or(took, |known| known.back))
        })
        .sum()
}

/// A step of an earlier run, scaled to the rows that there are now.
fn measured(log: &RunLog, step: &StepId, rows: Option<u64>) -> Option<StepEstimate> {
    let (took, rows_then) = run_of(log, step)?;
    let scaled = |time: Duration| scaled(time, rows, rows_then);
    Some(StepEstimate {
        step: step.clone(),
        forward: scaled(took),
        back: scaled(undo_of(log, step).unwrap_or(took)),
        basis: Basis::Measured(log.header.run.clone()),
    })
}

fn scaled(time: Duration, now: Option<u64>, then: Option<u64>) -> Duration {
    match (now, then) {
        (Some(now), Some(then @ 1..)) => scale(time, now, then),
        _ => time,
    }
}

fn scale(time: Duration, now: u64, then: u64) -> Duration {
    let nanos = time.as_nanos() * u128::from(now) / u128::from(then);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// How long a completed step took, and the rows that it read.
fn run_of(log: &RunLog, id: &StepId) -> Option<(Duration, Option<u64>)> {
    log.records.iter().find_map(|(_, record)| match record {
        Record::StepCompleted {
            step,
            outcome,
            duration_ms,
        } if step == id => {
            let rows = outcome
                .figures
                .get(ROWS)
                .and_then(serde_json::Value::as_u64);
            Some((Duration::from_millis(*duration_ms), rows))
        }
        _ => None,
    })
}

fn undo_of(log: &RunLog, id: &StepId) -> Option<Duration> {
    let began = moment(
        log,
        |record| matches!(record, Record::UndoStarted { step } if step == id),
    )?;
    let ended = moment(
        log,
        |record| matches!(record, Record::Undone { step, .. } if step == id),
    )?;
    (ended - began).to_std().ok()
}

fn point(log: &RunLog) -> Option<Duration> {
    let began = moment(log, |record| matches!(record, Record::PointStarted))?;
    let ended = moment(log, |record| matches!(record, Record::PointCreated { .. }))?;
    (ended - began).to_std().ok()
}

fn moment(log: &RunLog, fits: impl Fn(&Record) -> bool) -> Option<DateTime<Utc>> {
    let mut records = log.records.iter();
    records.find(|(_, record)| fits(record)).map(|(at, _)| *at)
}
