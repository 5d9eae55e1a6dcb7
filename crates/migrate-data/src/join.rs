//! Taking part in copies that another process began, and looking at them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use migrate_core::{StepContext, StepError};
use migrate_schema::db::{Backend, Database, DbError};
use serde::Serialize;

use crate::copy::TableCopy;
use crate::failure;
use crate::layout::Layout;
use crate::ledger::{self, Counts, RangeState};
use crate::migrator::DataMigrator;
use crate::progress::Meter;
use crate::spec::{self, Begun};
use crate::statement::Statements;
use crate::worker::{Crew, Role, totals};

/// How long the process that began a copy may take to plan it, and how often that is looked at.
const PLANNED_WITHIN: Duration = Duration::from_mins(2);
const PLANNING_PAUSE: Duration = Duration::from_millis(100);

/// How far a copy is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CopyStatus {
    /// The run that it belongs to.
    pub run: String,
    /// The step of that run.
    pub step: String,
    /// The table that is read.
    pub source: String,
    /// The table that is written.
    pub target: String,
    /// `running`, or `done`.
    pub state: &'static str,
    /// Rows of the source when it began.
    pub rows: u64,
    /// Rows that are moved.
    pub moved: u64,
    /// Rows that can't be moved and are kept aside.
    pub quarantined: u64,
    /// Ranges that nobody works on and that are not done.
    pub ranges_left: u64,
    /// Ranges that a worker holds.
    pub ranges_in_flight: u64,
    /// Ranges that are moved.
    pub ranges_done: u64,
    /// Ranges that were compared, too.
    pub ranges_checked: u64,
    /// Who works: host, process and lane.
    pub workers: Vec<String>,
}

/// The copies of a database that are not forgotten, or those of a run. Read-only.
///
/// # Errors
/// What the database says.
pub async fn copies(db: &Database, run: Option<&str>) -> Result<Vec<CopyStatus>, DbError> {
    let mut found = Vec::new();
    for begun in spec::begun(db, run).await? {
        if ledger::exists(db, &begun.spec.layout.ledger).await? {
            found.push(status(db, &begun).await?);
        }
    }
    Ok(found)
}

async fn status(db: &Database, begun: &Begun) -> Result<CopyStatus, DbError> {
    let layout = &begun.spec.layout;
    let sql = Statements {
        backend: db.backend(),
        layout,
    };
    let entries = ledger::entries(db, sql).await?;
    let holders = crate::access::rows(db, &sql.holders()).await?;
    let state = |wanted: RangeState| entries.iter().filter(|e| e.state == wanted).count() as u64;
    let sum = totals(&entries);
    let in_flight = holders
        .iter()
        .filter(|row| row[1].as_deref() == Some("todo"))
        .count() as u64;
    let mut workers: Vec<String> = holders
        .into_iter()
        .filter_map(|mut row| row.swap_remove(0))
        .collect();
    workers.dedup();
    Ok(CopyStatus {
        run: begun.run.clone(),
        step: begun.step.clone(),
        source: layout.source.clone(),
        target: layout.target.clone(),
        state: if begun.finished { "done" } else { "running" },
        rows: layout.rows,
        moved: sum.moved(),
        quarantined: sum.quarantined,
        ranges_left: state(RangeState::Todo).saturating_sub(in_flight),
        ranges_in_flight: in_flight,
        ranges_done: state(RangeState::Done) + state(RangeState::Checked),
        ranges_checked: state(RangeState::Checked),
        workers,
    })
}

impl DataMigrator {
    /// Works on the unfinished copies of a run that another process began, until nothing of them
    /// is left to do; that process ends them. Returns what is moved, by whomever.
    ///
    /// # Errors
    /// No such copy, or what stopped this process; the ranges that it held are given back.
    pub async fn join(&self, run: &str) -> Result<Counts, StepError> {
        if self.database().backend() == Backend::Sqlite {
            return Err(
                StepError::failed("SQLite has one writer: other processes can't help it")
                    .hint("let the process that copies go on alone"),
            );
        }
        let fence = spec::fence_of(self.database(), run).await.map_err(look)?;
        self.database().set_fence(fence);
        let mut sum = Counts::default();
        for begun in self.begun(run).await? {
            if !begun.finished {
                sum += self.take_part(&begun).await?;
            }
        }
        Ok(sum)
    }

    /// Ends a copy of this kind whose own process is gone: moves what is left, compares, and
    /// drops its ledger. What others keep in the database beside it stays.
    ///
    /// # Errors
    /// As [`DataMigrator::migrate`]; what is moved stays, and can be resumed or undone.
    pub async fn resume(&self, run: &str) -> Result<Counts, StepError> {
        let (begun, copy, cx) = self.own_copy(run).await?;
        let counts = Box::pin(copy.run(&cx, &begun.spec.layout)).await?;
        self.clean_up(&copy, &cx, &begun.spec.layout, true).await?;
        Ok(counts)
    }

    /// Takes a copy of this kind back whose own process is gone.
    ///
    /// # Errors
    /// What stands in the way.
    pub async fn undo(&self, run: &str) -> Result<String, StepError> {
        let (begun, copy, cx) = self.own_copy(run).await?;
        let report = Box::pin(copy.undo(&cx, &begun.spec.layout)).await?;
        self.clean_up(&copy, &cx, &begun.spec.layout, true).await?;
        let mut message = report.message;
        for left in report.left {
            message = format!("{message}; {left}");
        }
        Ok(message)
    }

    async fn begun(&self, run: &str) -> Result<Vec<Begun>, StepError> {
        let found = spec::begun(self.database(), Some(run))
            .await
            .map_err(look)?;
        if !found.is_empty() {
            return Ok(found);
        }
        let all = spec::begun(self.database(), None).await.map_err(look)?;
        let error = StepError::failed(format!("there is no copy of run {run} in this database"));
        let mut runs: Vec<String> = all.into_iter().map(|begun| begun.run).collect();
        runs.dedup();
        Err(error.hint(if runs.is_empty() {
            "no copy is under way here".to_owned()
        } else {
            format!("runs with copies: {}", runs.join(", "))
        }))
    }

    /// A copy that no plan began.
    async fn own_copy(&self, run: &str) -> Result<(Begun, TableCopy, StepContext), StepError> {
        let begun = self
            .begun(run)
            .await?
            .into_iter()
            .find(|begun| begun.step == "copy");
        let fenced = spec::fence_of(self.database(), run).await.map_err(look)?;
        let (Some(begun), None) = (begun, fenced) else {
            return Err(StepError::failed(format!("run {run} is a plan's"))
                .hint("use `etlrs-migrate resume`, or roll it back"));
        };
        let copy = begun
            .spec
            .copy(self.database(), self.source(), self.transforms())?;
        let name = serde_json::Value::from(begun.run.as_str());
        let run = serde_json::from_value(name)
            .map_err(|_| StepError::failed(format!("{run} is no run's name")))?;
        let cx = StepContext {
            run,
            ..self.context()
        };
        Ok((begun, copy, cx))
    }

    async fn take_part(&self, begun: &Begun) -> Result<Counts, StepError> {
        let copy = begun
            .spec
            .copy(self.database(), self.source(), self.transforms())?;
        let cx = self.context();
        let layout = &begun.spec.layout;
        let work = Box::pin(copy.help(&cx, layout, self.workers()));
        self.database().cancellable(&cx.cancel, work).await
    }
}

impl TableCopy {
    /// Waits until the process whose copy this is has planned what is to be moved. False where
    /// the copy is gone meanwhile.
    async fn wait_for_ranges(&self, cx: &StepContext, layout: &Layout) -> Result<bool, StepError> {
        let until = tokio::time::Instant::now() + PLANNED_WITHIN;
        loop {
            if !ledger::exists(&self.db, &layout.ledger)
                .await
                .map_err(look)?
            {
                return Ok(false);
            }
            let sql = self.statements(layout);
            if !ledger::entries(&self.db, sql)
                .await
                .map_err(look)?
                .is_empty()
            {
                return Ok(true);
            }
            cx.check_cancelled()?;
            if tokio::time::Instant::now() >= until {
                return Err(StepError::failed(format!(
                    "the copy of {} into {} has not begun: nothing of it is planned yet",
                    layout.source, layout.target
                ))
                .hint("see whether its own process is alive, then join it again"));
            }
            tokio::time::sleep(PLANNING_PAUSE).await;
        }
    }

    /// Moves and compares ranges beside the process whose copy this is.
    async fn help(
        mut self,
        cx: &StepContext,
        layout: &Layout,
        workers: usize,
    ) -> Result<Counts, StepError> {
        self.workers = workers;
        if !self.wait_for_ranges(cx, layout).await? {
            return Ok(Counts::default());
        }
        let writer = self.writer(layout).await?;
        let entries = ledger::entries(&self.db, self.statements(layout))
            .await
            .map_err(look)?;
        let crew = Crew {
            cx,
            meter: Meter::new(cx, totals(&entries).read, layout.rows),
            stop: AtomicBool::new(false),
            batch: self.batch,
            verify: self.verify,
            role: Role::Helper,
        };
        let done = self.copy_all(&crew, &writer).await;
        let gone = !ledger::exists(&self.db, &layout.ledger)
            .await
            .map_err(look)?;
        if gone {
            // The copy ended, or was taken back, while we worked: nothing of ours is left there.
            return Ok(Counts::default());
        }
        if let Err(failed) = done {
            let (number, range, error) = (failed.number, failed.range, failed.error);
            return Err(failure::explain(&writer, number, range, error).await);
        }
        crew.meter.tell();
        if self.verify != crate::verify::Verify::Off && !crew.stop.load(Ordering::Acquire) {
            self.check_all(&crew, &writer).await?;
        }
        cx.check_cancelled()?;
        match ledger::entries(&self.db, self.statements(layout)).await {
            Ok(entries) => Ok(totals(&entries)),
            Err(error)
                if ledger::exists(&self.db, &layout.ledger)
                    .await
                    .map_err(look)? =>
            {
                Err(look(error))
            }
            Err(_) => Ok(Counts::default()),
        }
    }
}

fn look(error: DbError) -> StepError {
    error.into_step_error("can't look at the copies of this database")
}
