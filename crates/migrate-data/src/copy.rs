//! One copy of rows from a table into another: looked at, prepared, run, undone.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::future::join_all;
use migrate_core::{BatchSize, StepContext, StepError};
use migrate_schema::catalog;
use migrate_schema::db::{Backend, Database, DbError};
use migrate_schema::own;
use migrate_schema::quote::TableName;

use crate::access::{self, Tx};
use crate::bad_rows::BadRows;
use crate::buffers::Buffers;
use crate::controller;
use crate::failure;
use crate::given_twice;
use crate::inspect::{Inspection, Inspector};
use crate::layout::{Layout, own_names};
use crate::ledger::{self, Counts, Entry, RangeState};
use crate::planner::Planner;
use crate::progress::Meter;
use crate::range::{Program, RangeWriter};
use crate::rejects;
use crate::sequences;
use crate::spec::{self, Spec};
use crate::statement::Statements;
use crate::verify::{Difference, Verify};
use crate::worker::{Crew, Failed, Role, Worker, totals};

/// Up to how many rows the source is counted exactly.
const COUNTED: u64 = 5_000_000;

/// A copy.
#[derive(Clone)]
pub(crate) struct TableCopy {
    pub(crate) db: Database,
    /// Where the source is, if it is not there.
    pub(crate) elsewhere: Option<Database>,
    pub(crate) source: TableName,
    pub(crate) target: TableName,
    pub(crate) program: Program,
    /// The script's name and text.
    pub(crate) script: (String, String),
    pub(crate) batch: BatchSize,
    pub(crate) workers: usize,
    pub(crate) verify: Verify,
    pub(crate) bad_rows: BadRows,
    /// Whether what others write after it is looked at.
    pub(crate) late_rows: LateRows,
}

/// What is done about rows that others write after a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LateRows {
    /// They are looked at until services start: the copy is a step of a plan.
    Watched,
    /// The copy ends when it is compared.
    Ignored,
}

impl TableCopy {
    pub(crate) async fn inspect(&self) -> Result<Inspection, StepError> {
        let inspector = Inspector {
            db: &self.db,
            elsewhere: self.elsewhere.as_ref(),
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

    /// Where the source is.
    pub(crate) fn at_source(&self) -> &Database {
        self.elsewhere.as_ref().unwrap_or(&self.db)
    }

    pub(crate) fn statements<'a>(&self, layout: &'a Layout) -> Statements<'a> {
        Statements {
            backend: self.db.backend(),
            layout,
        }
    }

    /// Rows of the source: counted, or estimated where counting would take long.
    pub(crate) async fn source_rows(&self) -> Result<u64, DbError> {
        let estimate = catalog::row_estimate(self.at_source(), &self.source).await?;
        if estimate > COUNTED {
            return Ok(estimate);
        }
        access::count(
            self.at_source(),
            &format!("SELECT count(*) FROM {}", self.source.sql()),
        )
        .await
    }

    /// Bytes of a row of the source on average, with what its indexes take.
    pub(crate) async fn row_bytes(&self, rows: u64) -> Result<u64, DbError> {
        let bytes = catalog::table_bytes(self.at_source(), &self.source).await?;
        Ok(bytes.div_ceil(rows.max(1)).max(1))
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
        (layout.run, layout.step) = (run.to_owned(), step.to_owned());
        let made = async {
            layout.rows = self.source_rows().await?;
            layout.row_bytes = self.row_bytes(layout.rows).await?;
            layout.reject_budget = self.bad_rows.budget(layout.rows);
            layout.target_was_empty = self.target_is_empty().await?;
            layout.sequences = sequences::of_target(&self.db, &layout).await?;
            layout.since = given_twice::since(&self.db, &layout).await?;
            layout.sums = self.verify != Verify::Off && self.db.backend() == Backend::Postgres;
            if self.verify != Verify::Off {
                let count = self.statements(&layout).count_target();
                layout.target_rows = Some(access::count(&self.db, &count).await?);
            }
            self.create_own(&layout, None).await
        };
        made.await.map_err(|error| {
            error.into_step_error(format!("can't prepare the copy of {}", self.source))
        })?;
        Ok(layout)
    }

    async fn create_own(
        &self,
        layout: &Layout,
        begun: Option<&StepContext>,
    ) -> Result<(), DbError> {
        own::ensure(&self.db).await?;
        let mut tx = Tx::begin(&self.db).await?;
        for sql in self.statements(layout).create() {
            tx.execute(&sql).await?;
        }
        if layout.reject_budget.is_some() {
            tx.execute(&rejects::create(self.db.backend())).await?;
        }
        if let Some(cx) = begun {
            let names = (cx.run.as_str(), cx.step.as_str());
            spec::enter(&mut tx, self.db.backend(), names, &Spec::of(self, layout)).await?;
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
        let entries = self.planned(cx, layout).await?;
        let writer = self.writer(layout).await?;
        let crew = Crew {
            cx,
            meter: Meter::new(cx, totals(&entries).read, layout.rows),
            stop: AtomicBool::new(false),
            batch: self.batch,
            verify: self.verify,
            role: Role::Owner,
        };
        if let Err(failed) = self.copy_all(&crew, &writer).await {
            let Failed {
                number,
                range,
                error,
            } = failed;
            return Err(failure::explain(&writer, number, range, error).await);
        }
        crew.meter.tell();
        cx.check_cancelled()?;
        self.build_indexes(layout)
            .await
            .map_err(|error| error.into_step_error(what()))?;
        self.index_images(layout)
            .await
            .map_err(|error| error.into_step_error(what()))?;
        if self.late_rows == LateRows::Watched {
            let begun = self.begin_watch(cx, layout).await;
            begun.map_err(|error| error.into_step_error(what()))?;
        }
        self.prove(&crew, &writer).await?;
        cx.check_cancelled()?;
        self.complete(cx, layout)
            .await
            .map_err(|error| error.into_step_error(what()))
    }

    /// The ranges of the ledger, which are planned where there are none yet. What an interrupted
    /// run held is given back: its transactions can't pass the fence any more.
    async fn planned(&self, cx: &StepContext, layout: &Layout) -> Result<Vec<Entry>, StepError> {
        let failed = |error: DbError| {
            error.into_step_error(format!("can't copy {} into {}", self.source, self.target))
        };
        self.create_own(layout, Some(cx)).await.map_err(failed)?;
        let sql = self.statements(layout);
        let entries = ledger::entries(&self.db, sql).await.map_err(failed)?;
        if entries.is_empty() {
            self.refuse_twins(cx, layout).await?;
        }
        let ranges = self.ranges_of(layout, entries.is_empty()).await;
        ranges.map_err(failed)
    }

    async fn ranges_of(&self, layout: &Layout, fresh: bool) -> Result<Vec<Entry>, DbError> {
        let sql = self.statements(layout);
        if fresh {
            let planner = Planner {
                db: self.at_source(),
                sql: Statements {
                    backend: self.at_source().backend(),
                    layout,
                },
                batch: controller::first(self.batch),
                workers: self.lanes() as u64,
            };
            let ranges = planner.plan().await?;
            let mut tx = Tx::begin(&self.db).await?;
            self.put_indexes_aside(&mut tx, layout).await?;
            for part in ranges.chunks(500) {
                tx.execute(&sql.enter(part)).await?;
            }
            tx.commit().await?;
        } else {
            let mut tx = Tx::begin(&self.db).await?;
            tx.execute(&sql.release_all()).await?;
            tx.commit().await?;
        }
        ledger::entries(&self.db, sql).await
    }

    /// Makes the images findable for comparing and undo.
    pub(crate) async fn index_images(&self, layout: &Layout) -> Result<(), DbError> {
        let mut tx = Tx::begin(&self.db).await?;
        tx.execute(&self.statements(layout).index_images()).await?;
        tx.commit().await
    }

    pub(crate) async fn copy_all(
        &self,
        crew: &Crew<'_>,
        writer: &RangeWriter,
    ) -> Result<(), Failed> {
        let lanes = (0..self.lanes()).map(|at| {
            let worker = Worker {
                crew,
                writer: writer.owned_by(owner(at)),
            };
            async move { worker.copy().await }
        });
        join_all(lanes).await.into_iter().collect()
    }

    /// Compares source and target as far as was asked for.
    async fn prove(&self, crew: &Crew<'_>, writer: &RangeWriter) -> Result<(), StepError> {
        if self.verify == Verify::Off {
            return Ok(());
        }
        let mut difference = self.check_all(crew, writer).await?;
        let look = |error: DbError| {
            error.into_step_error(format!("can't look at the ledger of {}", self.source))
        };
        let sums = self.totals(&writer.layout).await.map_err(look)?;
        let aside = writer.rejected_keys(None).await.map_err(look)?;
        let total = writer.verify_total(&sums, aside, difference.missing).await;
        difference.add(total.map_err(|error| {
            failure::plainly(error, format!("can't count the rows of {}", self.target))
        })?);
        if difference.is_none() {
            return Ok(());
        }
        self.check_again(&writer.layout).await.map_err(look)?;
        Err(difference.into_error(&self.source.to_string(), &self.target.to_string()))
    }

    /// Compares all ranges that are done, with all workers.
    pub(crate) async fn check_all(
        &self,
        crew: &Crew<'_>,
        writer: &RangeWriter,
    ) -> Result<Difference, StepError> {
        let failed = |failed: Failed| {
            let what = format!(
                "can't compare the rows {} of {} with {}",
                failed.range.named(&writer.layout.key),
                self.source,
                self.target
            );
            failure::plainly(failed.error, what)
        };
        let lanes = (0..self.workers).map(|at| {
            let worker = Worker {
                crew,
                writer: writer.owned_by(owner(at)),
            };
            async move { worker.check().await }
        });
        let mut difference = Difference::default();
        for found in join_all(lanes).await {
            difference.add(found.map_err(failed)?);
        }
        Ok(difference)
    }

    /// Ranges that were compared are to be compared again: a resumed run must not pass over what
    /// was found.
    async fn check_again(&self, layout: &Layout) -> Result<(), DbError> {
        let sql = self.statements(layout);
        let mut tx = Tx::begin(&self.db).await?;
        tx.execute(&sql.set_back(RangeState::Checked, RangeState::Done))
            .await?;
        tx.commit().await
    }

    pub(crate) async fn writer(&self, layout: &Layout) -> Result<RangeWriter, StepError> {
        let columns = catalog::table_columns(self.at_source(), &self.source).await;
        let columns = columns
            .map_err(|error| error.into_step_error(format!("can't look at {}", self.source)))?;
        let columns = columns.into_iter().map(|c| crate::cells::SourceColumn {
            name: c.name,
            type_name: c.type_name,
        });
        let at_utc = crate::settings::at_utc(&self.db).await.map_err(|error| {
            error.into_step_error(format!("can't look at the settings for {}", self.target))
        })?;
        Ok(RangeWriter {
            at_utc,
            db: self.db.clone(),
            elsewhere: self.elsewhere.clone(),
            layout: Arc::new(layout.clone()),
            program: self.program.clone(),
            source_columns: Arc::new(columns.collect()),
            turn: Arc::default(),
            buffers: Buffers::default(),
            owner: owner(0).into(),
        })
    }

    /// How many ranges are worked on at once. SQLite writes one at a time, so only Rust
    /// transforms, which read and compute outside the transaction, gain from more.
    fn lanes(&self) -> usize {
        match (self.db.backend(), &self.program) {
            (Backend::Sqlite, Program::Sql(_)) if self.elsewhere.is_none() => 1,
            _ => self.workers,
        }
    }

    /// The mark that everything is done.
    async fn complete(&self, cx: &StepContext, layout: &Layout) -> Result<Counts, DbError> {
        let counts = self.totals(layout).await?;
        let payload = serde_json::json!({
            "read": counts.read, "inserted": counts.inserted,
            "updated": counts.updated, "unchanged": counts.unchanged,
            "quarantined": counts.quarantined,
        });
        let mut tx = Tx::begin(&self.db).await?;
        let (run, step) = (cx.run.as_str(), cx.step.as_str());
        tx.set_marker(run, step, &payload.to_string()).await?;
        spec::finish(&mut tx, self.db.backend(), (run, step)).await?;
        tx.commit().await?;
        Ok(counts)
    }

    /// The sum of the ledger.
    pub(crate) async fn totals(&self, layout: &Layout) -> Result<Counts, DbError> {
        Ok(totals(
            &ledger::entries(&self.db, self.statements(layout)).await?,
        ))
    }

    /// Drops what is kept for undo. Idempotent.
    pub(crate) async fn forget(&self, cx: &StepContext, layout: &Layout) -> Result<(), DbError> {
        if !own::exists(&self.db).await? {
            return Ok(());
        }
        self.end_watch(cx, layout).await?;
        self.build_indexes(layout).await?;
        let marked = ledger::exists(&self.db, "markers").await?;
        let mut tx = Tx::begin(&self.db).await?;
        for sql in self.statements(layout).drop() {
            tx.execute(&sql).await?;
        }
        let names = (cx.run.as_str(), cx.step.as_str());
        spec::forget(&self.db, &mut tx, names).await?;
        rejects::forget_unseen(&self.db, &mut tx, names).await?;
        if marked {
            tx.clear_marker(cx.run.as_str(), cx.step.as_str()).await?;
        }
        tx.commit().await
    }
}

/// A worker's name, which no other worker anywhere has at the time.
fn owner(at: usize) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}:{}:{at}", host.trim(), std::process::id())
}
