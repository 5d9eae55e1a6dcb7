//! One copy of rows from a table into another: looked at, prepared, run, undone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use futures_util::future::{join, join_all};
use migrate_core::{StepContext, StepError};
use migrate_schema::catalog;
use migrate_schema::db::{Backend, Database, DbError};
use migrate_schema::own;
use migrate_schema::quote::TableName;
use tokio::sync::{Mutex, mpsc};

use crate::access::{self, Tx};
use crate::failure;
use crate::inspect::{Inspection, Inspector};
use crate::keyset::KeyRange;
use crate::layout::{Layout, own_names};
use crate::ledger::{self, Counts, Entry};
use crate::planner::Planner;
use crate::progress::Meter;
use crate::range::{Keep, Program, RangeError, RangeWriter};
use crate::statement::Statements;

/// Up to how many rows the source is counted exactly.
const COUNTED: u64 = 5_000_000;

/// A copy.
#[derive(Clone)]
pub(crate) struct TableCopy {
    pub(crate) db: Database,
    pub(crate) source: TableName,
    pub(crate) target: TableName,
    pub(crate) program: Program,
    pub(crate) batch_size: usize,
    pub(crate) workers: usize,
}

impl TableCopy {
    pub(crate) async fn inspect(&self) -> Result<Inspection, StepError> {
        let inspector = Inspector {
            db: &self.db,
            source: &self.source,
            target: &self.target,
            program: &self.program,
        };
        inspector.inspect().await
    }

    /// As [`Self::inspect`], with every obstacle an error.
    pub(crate) async fn inspect_strictly(&self) -> Result<Inspection, StepError> {
        let inspection = self.inspect().await?;
        let mut findings = inspection.obstacles.iter().map(|o| &o.finding);
        let Some(first) = findings.next() else {
            return Ok(inspection);
        };
        let mut error = StepError::failed(first.message.clone());
        error.causes = findings.map(|finding| finding.message.clone()).collect();
        error.hint.clone_from(&first.hint);
        Err(error)
    }

    pub(crate) fn statements<'a>(&self, layout: &'a Layout) -> Statements<'a> {
        Statements {
            backend: self.db.backend(),
            layout,
        }
    }

    /// Rows of the source: counted, or estimated where counting would take long.
    pub(crate) async fn source_rows(&self) -> Result<u64, DbError> {
        let estimate = catalog::row_estimate(&self.db, &self.source).await?;
        if estimate > COUNTED {
            return Ok(estimate);
        }
        access::count(
            &self.db,
            &format!("SELECT count(*) FROM {}", self.source.sql()),
        )
        .await
    }

    pub(crate) async fn target_is_empty(&self) -> Result<bool, DbError> {
        let found = access::rows(
            &self.db,
            &format!("SELECT 1 FROM {} LIMIT 1", self.target.sql()),
        )
        .await?;
        Ok(found.is_empty())
    }

    /// Creates the ledger and the table for images; what comes back is the receipt.
    pub(crate) async fn prepare(&self, run: &str, step: &str) -> Result<Layout, StepError> {
        let mut layout = self.inspect_strictly().await?.layout;
        (layout.ledger, layout.before) = own_names(run, step);
        let made = async {
            layout.rows = self.source_rows().await?;
            layout.target_was_empty = self.target_is_empty().await?;
            self.create_own(&layout).await
        };
        made.await.map_err(|error| {
            error.into_step_error(format!("can't prepare the copy of {}", self.source))
        })?;
        Ok(layout)
    }

    async fn create_own(&self, layout: &Layout) -> Result<(), DbError> {
        own::ensure(&self.db).await?;
        let mut tx = Tx::begin(&self.db).await?;
        for sql in self.statements(layout).create() {
            tx.execute(&sql).await?;
        }
        tx.commit().await
    }

    /// Moves what the ledger does not have yet. Idempotent.
    pub(crate) async fn run(&self, cx: &StepContext, layout: &Layout) -> Result<Counts, StepError> {
        self.db
            .cancellable(&cx.cancel, Box::pin(self.run_to_the_end(cx, layout)))
            .await
    }

    async fn run_to_the_end(&self, cx: &StepContext, layout: &Layout) -> Result<Counts, StepError> {
        let what = || format!("can't copy {} into {}", self.source, self.target);
        self.create_own(layout)
            .await
            .map_err(|error| error.into_step_error(what()))?;
        let done = ledger::entries(&self.db, self.statements(layout))
            .await
            .map_err(|error| error.into_step_error(what()))?;
        let writer = self.writer(layout).await?;
        let failed = self.move_ranges(cx, &writer, &done).await?;
        if let Some((number, range, error)) = failed {
            return Err(failure::explain(&writer, number, range, error).await);
        }
        self.complete(cx, layout)
            .await
            .map_err(|error| error.into_step_error(what()))
    }

    pub(crate) async fn writer(&self, layout: &Layout) -> Result<RangeWriter, StepError> {
        let columns = catalog::table_columns(&self.db, &self.source).await;
        let columns = columns
            .map_err(|error| error.into_step_error(format!("can't look at {}", self.source)))?;
        let columns = columns.into_iter().map(|c| crate::cells::SourceColumn {
            name: c.name,
            type_name: c.type_name,
        });
        Ok(RangeWriter {
            db: self.db.clone(),
            layout: Arc::new(layout.clone()),
            program: self.program.clone(),
            source_columns: Arc::new(columns.collect()),
            turn: Arc::default(),
        })
    }

    /// How many ranges are worked on at once. SQLite writes one at a time, so only Rust
    /// transforms, which read and compute outside the transaction, gain from more.
    fn lanes(&self) -> usize {
        match (self.db.backend(), &self.program) {
            (Backend::Sqlite, Program::Sql(_)) => 1,
            _ => self.workers,
        }
    }

    /// Plans and writes ranges until the source ends or one fails; the first failure comes back.
    async fn move_ranges(
        &self,
        cx: &StepContext,
        writer: &RangeWriter,
        done: &[Entry],
    ) -> Result<Option<(i64, KeyRange, RangeError)>, StepError> {
        let moved = done.iter().map(|entry| entry.counts.read).sum();
        let meter = Meter::new(cx, moved, writer.layout.rows);
        let next_number =
            AtomicI64::new(done.iter().map(|entry| entry.number + 1).max().unwrap_or(1));
        let stop = AtomicBool::new(false);
        let (sender, receiver) = mpsc::channel::<KeyRange>(2 * self.lanes());
        let receiver = Mutex::new(receiver);
        let plan = async {
            // Moved in, so that the channel closes when planning ends.
            let sender = sender;
            let mut planner = Planner::new(&self.db, writer.sql(), self.batch_size, done);
            while !stop.load(Ordering::Acquire) {
                match planner.next().await {
                    Ok(Some(range)) => {
                        if sender.send(range).await.is_err() {
                            break;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        stop.store(true, Ordering::Release);
                        return Err(error
                            .into_step_error(format!("can't read the keys of {}", self.source)));
                    }
                }
            }
            Ok(())
        };
        let lane = || async {
            let mut failed = None;
            loop {
                let range = receiver.lock().await.recv().await;
                let Some(range) = range else { return failed };
                // Once stopped, the rest is only taken off the channel, so that planning ends too.
                if stop.load(Ordering::Acquire) || cx.cancel.cause().is_some() {
                    stop.store(true, Ordering::Release);
                    continue;
                }
                let number = next_number.fetch_add(1, Ordering::Relaxed);
                match writer.write(number, &range, Keep::Commit).await {
                    Ok(counts) => meter.add(counts.read),
                    Err(error) => {
                        stop.store(true, Ordering::Release);
                        failed = Some((number, range, error));
                    }
                }
            }
        };
        let lanes = (0..self.lanes()).map(|_| lane()).collect::<Vec<_>>();
        let (planned, failures) = join(plan, join_all(lanes)).await;
        meter.tell();
        planned?;
        let failed = failures.into_iter().flatten().next();
        if failed.is_none() {
            cx.check_cancelled()?;
        }
        Ok(failed)
    }

    /// The mark that everything is done.
    async fn complete(&self, cx: &StepContext, layout: &Layout) -> Result<Counts, DbError> {
        let counts = self.totals(layout).await?;
        let payload = serde_json::json!({
            "read": counts.read, "inserted": counts.inserted,
            "updated": counts.updated, "unchanged": counts.unchanged,
        });
        let mut tx = Tx::begin(&self.db).await?;
        let (run, step) = (cx.run.as_str(), cx.step.as_str());
        tx.set_marker(run, step, &payload.to_string()).await?;
        tx.commit().await?;
        Ok(counts)
    }

    /// The sum of the ledger.
    pub(crate) async fn totals(&self, layout: &Layout) -> Result<Counts, DbError> {
        let mut sum = Counts::default();
        for entry in ledger::entries(&self.db, self.statements(layout)).await? {
            sum += entry.counts;
        }
        Ok(sum)
    }

    /// Drops what is kept for undo. Idempotent.
    pub(crate) async fn forget(&self, cx: &StepContext, layout: &Layout) -> Result<(), DbError> {
        if !own::exists(&self.db).await? {
            return Ok(());
        }
        let marked = ledger::exists(&self.db, "markers").await?;
        let mut tx = Tx::begin(&self.db).await?;
        for sql in self.statements(layout).drop() {
            tx.execute(&sql).await?;
        }
        if marked {
            tx.clear_marker(cx.run.as_str(), cx.step.as_str()).await?;
        }
        tx.commit().await
    }
}
