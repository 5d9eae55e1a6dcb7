//! Comparing two tables that were copied at some time, by whatever means.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use migrate_core::StepError;
use migrate_schema::db::DbError;

use crate::access;
use crate::controller;
use crate::copy::TableCopy;
use crate::failure;
use crate::keyset::{Key, KeyRange};
use crate::layout::{Images, Layout};
use crate::ledger::{Counts, Entry, RangeState};
use crate::migrator::DataMigrator;
use crate::planner::Planner;
use crate::progress::Meter;
use crate::range::{RangeError, RangeWriter};
use crate::rejects;
use crate::statement::Statements;
use crate::verify::{Difference, Verify};

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Comparison {
    /// Rows of the source that were looked at.
    pub rows: u64,
    /// Rows of the source that an earlier copy left in quarantine, and that were not looked at.
    pub quarantined: u64,
    /// How many rows are missing, differ or are too many.
    pub differing: u64,
    /// The first of them, a line each, with their keys.
    pub found: Vec<String>,
}

impl DataMigrator {
    /// Compares `target` with what the transform gives for `source`, in both directions: every
    /// produced column, and the number of rows. Writes nothing but a temporary table.
    ///
    /// # Errors
    /// What stands in the way of comparing; a difference is no error.
    pub async fn compare(
        &self,
        source: &str,
        target: &str,
        script: &str,
    ) -> Result<Comparison, StepError> {
        let copy = self.copy(source, target, script)?;
        let cx = self.context();
        let compared = Box::pin(copy.compare_all(&cx, self.workers()));
        self.database().cancellable(&cx.cancel, compared).await
    }
}

impl TableCopy {
    async fn compare_all(
        &self,
        cx: &migrate_core::StepContext,
        workers: usize,
    ) -> Result<Comparison, StepError> {
        let look = |error: DbError| {
            error.into_step_error(format!(
                "can't compare {} with {}",
                self.source, self.target
            ))
        };
        let mut layout = self.inspect_strictly().await?.layout;
        if layout.images == Images::All {
            return Err(StepError::failed(
                "the transform gives something else each time: there is nothing to compare with",
            )
            .hint("a clock or random values are in it"));
        }
        layout.rows = self.source_rows().await.map_err(look)?;
        layout.row_bytes = self.row_bytes(layout.rows).await.map_err(look)?;
        // All of the target should come from the source.
        (layout.target_was_empty, layout.target_rows) = (true, Some(0));
        let aside = rejects::keys_between(&self.db, &layout.source, &layout.target)
            .await
            .map_err(look)?;
        let entries = self.ranges(&layout, &aside).await.map_err(look)?;
        let writer = self.writer(&layout).await?;
        let meter = Meter::new(cx, 0, layout.rows);
        let next = AtomicUsize::new(0);
        let lanes = (0..workers).map(|_| self.lane(&writer, &entries, &next, &meter));
        let (mut difference, mut rows) = (Difference::default(), 0);
        for lane in join_all(lanes).await {
            let (found, read) = lane.map_err(|(range, error)| {
                let what = format!(
                    "can't compare the rows {} of {} with {}",
                    range.named(&layout.key),
                    self.source,
                    self.target
                );
                failure::plainly(error, what)
            })?;
            difference.add(found);
            rows += read;
        }
        meter.tell();
        let totals = Counts {
            inserted: rows,
            ..Counts::default()
        };
        let quarantined = aside.len() as u64;
        let total = writer
            .verify_total(&totals, aside, difference.missing)
            .await;
        difference.add(total.map_err(|error| {
            failure::plainly(error, format!("can't count the rows of {}", self.target))
        })?);
        cx.check_cancelled()?;
        Ok(Comparison {
            rows,
            quarantined,
            differing: difference.rows,
            found: difference.found,
        })
    }

    async fn ranges(&self, layout: &Layout, aside: &[Key]) -> Result<Vec<Entry>, DbError> {
        let planner = Planner {
            db: self.at_source(),
            sql: Statements {
                backend: self.at_source().backend(),
                layout,
            },
            batch: controller::first(self.batch),
            workers: self.workers as u64,
        };
        let entry = |(number, range)| Entry {
            number,
            range: KeyRange {
                except: aside.to_vec(),
                ..range
            },
            position: None,
            state: RangeState::Done,
            counts: Counts::default(),
            sum: None,
        };
        Ok(planner.plan().await?.into_iter().map(entry).collect())
    }

    /// Compares ranges until none is left; gives what was found, and how many rows were read.
    async fn lane(
        &self,
        writer: &RangeWriter,
        entries: &[Entry],
        next: &AtomicUsize,
        meter: &Meter<'_>,
    ) -> Result<(Difference, u64), (KeyRange, RangeError)> {
        let (mut difference, mut rows) = (Difference::default(), 0);
        while let Some(entry) = entries.get(next.fetch_add(1, Ordering::Relaxed)) {
            let at = |error: RangeError| (entry.range.clone(), error);
            let count = writer.source_sql().count_source(&entry.range);
            let read = access::count(writer.source(), &count)
                .await
                .map_err(|error| at(error.into()))?;
            if self.verify == Verify::Full || self.verify.takes(entry.number) {
                let mut entry = entry.clone();
                entry.counts.read = read;
                difference.add(writer.verify(&entry).await.map_err(at)?);
            }
            rows += read;
            meter.add(read);
        }
        Ok((difference, rows))
    }
}
