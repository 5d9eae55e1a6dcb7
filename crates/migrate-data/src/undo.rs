//! Takes a copy back: first the images of all ranges, then what is new, range by range.

use migrate_core::{StepContext, StepError, UndoReport};
use migrate_schema::db::{Backend, DbError, DbErrorKind};
use migrate_schema::{catalog, own};

use crate::access::Tx;
use crate::copy::TableCopy;
use crate::layout::{Images, Layout};
use crate::ledger::{self, Entry};
use crate::progress::Meter;
use crate::range::{RangeError, RangeWriter};
use crate::sequences;
use crate::settings::fixed;
use crate::taken_back::{self, Order, Sum};
use crate::triggers;

impl TableCopy {
    /// Brings back what was there. Idempotent; ranges that are undone are out of the ledger.
    pub(crate) async fn undo(
        &self,
        cx: &StepContext,
        layout: &Layout,
    ) -> Result<UndoReport, StepError> {
        self.db
            .cancellable(&cx.cancel, Box::pin(self.undo_to_the_end(cx, layout)))
            .await
    }

    async fn undo_to_the_end(
        &self,
        cx: &StepContext,
        layout: &Layout,
    ) -> Result<UndoReport, StepError> {
        let what = || {
            format!(
                "can't take back the copy of {} into {}",
                self.source, self.target
            )
        };
        let failed = |error: DbError| error.into_step_error(what());
        if !ledger::exists(&self.db, &layout.ledger)
            .await
            .map_err(failed)?
        {
            return Ok(UndoReport::line("nothing had been copied"));
        }
        let of_others = self.known_of_others(cx, layout).await.map_err(failed)?;
        self.clear_marker(cx).await.map_err(failed)?;
        self.end_watch(cx, layout).await.map_err(failed)?;
        self.build_indexes(layout).await.map_err(failed)?;
        self.index_images(layout).await.map_err(failed)?;
        let mut entries = ledger::entries(&self.db, self.statements(layout))
            .await
            .map_err(failed)?;
        entries.retain(|entry| entry.position.is_some());
        if !entries.is_empty() {
            self.need_tables(layout).await?;
        }
        let total = entries.iter().map(|entry| entry.counts.read).sum();
        let meter = Meter::new(cx, 0, total);
        let writer = self.writer(layout).await?;
        let mut sum = Sum::default();
        let back = self.ranges_back(cx, (&writer, &entries), &meter, &mut sum);
        if let Err(error) = back.await {
            return Err(self.refused(error, layout, what()).await);
        }
        cx.check_cancelled()?;
        if of_others.is_some_and(|theirs| sum.left > theirs.saturating_add(sum.between)) {
            return Err(nobodys(&sum, layout));
        }
        meter.tell();
        // Nothing is left to take back; images of the target's types must not keep those from being dropped.
        let sequences = sequences::set_back(&self.db, layout)
            .await
            .map_err(failed)?;
        self.forget(cx, layout).await.map_err(failed)?;
        let mut report = report(&sum, layout);
        report.left.extend(sequences);
        Ok(report)
    }

    /// Images first, of all ranges: a row that one range inserted and another one overwrote is
    /// what the first one wrote only then. Stops between ranges where it is cancelled.
    async fn ranges_back(
        &self,
        cx: &StepContext,
        (writer, entries): (&RangeWriter, &[Entry]),
        meter: &Meter<'_>,
        sum: &mut Sum,
    ) -> Result<(), RangeError> {
        let with_images = |entry: &&Entry| entry.counts.updated + entry.counts.unchanged > 0;
        if entries.iter().any(|entry| with_images(&entry)) {
            let mut tx = Tx::begin(&self.db).await?;
            fixed(&mut tx, &writer.sql().fold_images()).await?;
            sum.between = tx.count(&writer.sql().broken_images()).await?;
            tx.commit().await?;
        }
        let mut refused = Vec::new();
        for entry in entries.iter().rev().filter(with_images) {
            if cx.check_cancelled().is_err() {
                return Ok(());
            }
            match taken_back::restore_range(writer, entry, sum).await {
                Ok(()) => {}
                // A value that must be unique may be a new row's now, which goes below.
                Err(RangeError::Db(error)) if error.kind == DbErrorKind::Constraint => {
                    refused.push(entry.number);
                }
                Err(error) => return Err(error),
            }
        }
        for entry in entries.iter().rev() {
            if cx.check_cancelled().is_err() {
                return Ok(());
            }
            let order = if refused.contains(&entry.number) {
                Order::RestoreToo
            } else {
                Order::DeleteOnly
            };
            taken_back::delete_range(writer, entry, order, sum).await?;
            meter.add(entry.counts.read);
        }
        Ok(())
    }

    /// How many rows others can have changed, where that is known: since all was compared, or where
    /// the database itself may have changed what was written.
    async fn known_of_others(
        &self,
        cx: &StepContext,
        layout: &Layout,
    ) -> Result<Option<u64>, DbError> {
        let done = own::marker(&self.db, cx.run.as_str(), cx.step.as_str()).await?;
        if done.is_none() && !layout.triggers && self.db.backend() == Backend::Postgres {
            return Ok(None);
        }
        self.rows_of_others(cx, layout).await
    }

    async fn clear_marker(&self, cx: &StepContext) -> Result<(), DbError> {
        if !ledger::exists(&self.db, "markers").await? {
            return Ok(());
        }
        let mut tx = Tx::begin(&self.db).await?;
        tx.clear_marker(cx.run.as_str(), cx.step.as_str()).await?;
        tx.commit().await
    }

    /// Undo computes what was written from the source again, so it must be there as it was.
    async fn need_tables(&self, layout: &Layout) -> Result<(), StepError> {
        let look = |error: DbError| {
            error.into_step_error(format!("can't look at {} and {}", self.source, self.target))
        };
        let source = catalog::table_columns(self.at_source(), &self.source)
            .await
            .map_err(look)?;
        let target = catalog::table_columns(&self.db, &self.target)
            .await
            .map_err(look)?;
        if target.is_empty() {
            return Err(
                StepError::failed(format!("the table {} is gone", self.target))
                    .hint("restore from the rollback point"),
            );
        }
        if layout.images == Images::All {
            return Ok(());
        }
        if source.is_empty() {
            return Err(StepError::failed(format!(
                "the table {} is gone, from which is computed what was written to {}",
                self.source, self.target
            ))
            .hint("restore from the rollback point"));
        }
        match layout
            .key
            .iter()
            .filter(|_| !layout.by_place)
            .find(|key| !source.iter().any(|column| &column.name == *key))
        {
            None => Ok(()),
            Some(key) => Err(StepError::failed(format!(
                "{} has no column {key} any more",
                self.source
            ))
            .hint("restore from the rollback point")),
        }
    }

    /// The error of a range, with the tables whose rows stand in the way where the database does not name them.
    async fn refused(&self, error: RangeError, layout: &Layout, what: String) -> StepError {
        let error = match error {
            RangeError::Db(error) => error,
            other => return crate::failure::plainly(other, what),
        };
        if error.kind != DbErrorKind::Constraint {
            return error.into_step_error(what);
        }
        let mut refused = error.into_step_error(what);
        if self.db.backend() == Backend::Sqlite {
            match triggers::referring_tables(&self.db, layout).await {
                Ok(tables) => refused.causes.extend(
                    tables
                        .into_iter()
                        .map(|t| format!("rows of {t} refer to it")),
                ),
                Err(error) => refused.causes.push(error.to_string()),
            }
        }
        refused.hint("somebody wrote rows that refer to copied ones: remove those, or restore from the rollback point")
    }
}

/// Rows that differ from what was copied, though nobody else wrote them: they must not be left.
fn nobodys(sum: &Sum, layout: &Layout) -> StepError {
    StepError::failed(format!(
        "{} rows of {} are not what the script gives ({}), and nobody else wrote them: a trigger, a column's type \
         or a later step of the plan changed them",
        sum.left,
        layout.target,
        sum.examples.join("; ")
    ))
    .hint("only the rollback point brings back what was there: roll back with --strategy restore")
}

fn report(sum: &Sum, layout: &Layout) -> UndoReport {
    let mut left = Vec::new();
    if sum.left > 0 {
        let more = if sum.left > sum.examples.len() as u64 {
            ", ..."
        } else {
            ""
        };
        left.push(format!(
            "{} rows of {} were changed by others since and are left: {}{more}",
            sum.left,
            layout.target,
            sum.examples.join("; ")
        ));
    }
    if sum.missing > 0 {
        left.push(format!(
            "{} rows are gone from {}; what had been copied from them is left in {}",
            sum.missing, layout.source, layout.target
        ));
    }
    UndoReport {
        message: format!(
            "{} rows deleted from {}, {} restored",
            sum.deleted, layout.target, sum.restored
        ),
        left,
    }
}
