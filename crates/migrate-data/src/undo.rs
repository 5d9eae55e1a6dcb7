//! Takes a copy back, range by range, the last one first.

use migrate_core::{StepContext, StepError, UndoReport};
use migrate_schema::catalog;
use migrate_schema::db::{Backend, DbError, DbErrorKind};

use crate::access::{TextRow, Tx};
use crate::copy::TableCopy;
use crate::keyset::KeyRange;
use crate::layout::{Images, Layout};
use crate::ledger::{self, Entry};
use crate::progress::Meter;
use crate::range::{Program, RangeError, RangeWriter};
use crate::settings::{fixed, fixed_rows};
use crate::statement::Produced;
use crate::triggers;

/// How many rows are computed again at once.
const PART: u64 = 50_000;

/// How many keys of rows that are left are shown.
const SHOWN: usize = 5;

/// What an undo found and did, summed over ranges.
#[derive(Debug, Default)]
struct Sum {
    deleted: u64,
    restored: u64,
    left: u64,
    examples: Vec<String>,
    /// Rows that the source has no more, so that what became of them is not known.
    missing: i128,
}

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
        self.clear_marker(cx).await.map_err(failed)?;
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
        for entry in entries.iter().rev() {
            cx.check_cancelled()?;
            match undo_range(&writer, entry, &mut sum).await {
                Ok(()) => meter.add(entry.counts.read),
                Err(error) => return Err(self.refused(error, layout, what()).await),
            }
        }
        meter.tell();
        // Nothing is left to take back; images of the target's types must not keep those from being dropped.
        self.forget(cx, layout).await.map_err(failed)?;
        Ok(report(&sum, layout))
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

async fn undo_range(writer: &RangeWriter, entry: &Entry, sum: &mut Sum) -> Result<(), RangeError> {
    let Some(range) = entry.done() else {
        return Ok(());
    };
    let mut tx = Tx::begin(&writer.db).await?;
    let sleeping = triggers::disable(&mut tx, &writer.layout).await?;
    let mut done = Sum::default();
    let sql = writer.sql();
    let changed = fixed_rows(&mut tx, &sql.foreign_images(entry.number)).await?;
    note(&mut done, &changed, &writer.layout);
    done.restored = fixed(&mut tx, &sql.restore(entry.number)).await?;
    match writer.layout.images {
        Images::All => {
            done.deleted = fixed(&mut tx, &sql.delete_noted(entry.number)).await?;
            let left = tx.rows(&sql.left_noted(entry.number)).await?;
            note(&mut done, &left, &writer.layout);
        }
        Images::Existing if entry.counts.inserted > 0 => {
            delete_computed(&mut tx, writer, (entry, &range), &mut done).await?;
        }
        Images::Existing => {}
    }
    for statement in sql.forget_range(entry.number) {
        tx.execute(&statement).await?;
    }
    triggers::enable(&mut tx, sleeping).await?;
    tx.commit().await?;
    sum.deleted += done.deleted;
    sum.restored += done.restored;
    sum.left += done.left;
    sum.missing += done.missing;
    sum.examples.extend(done.examples);
    sum.examples.truncate(SHOWN);
    Ok(())
}

async fn delete_computed(
    tx: &mut Tx,
    writer: &RangeWriter,
    (entry, range): (&Entry, &KeyRange),
    done: &mut Sum,
) -> Result<(), RangeError> {
    let count = writer.source_sql().count_source(range);
    let there = crate::access::count(writer.source(), &count).await?;
    done.missing = i128::from(entry.counts.read) - i128::from(there);
    let (Program::Sql(script), false) = (&writer.program, writer.through_here()) else {
        return delete_in_parts(tx, writer, (entry, range), done).await;
    };
    let script = Produced::Script {
        select: &script.select,
        range,
    };
    tx.execute(&writer.sql().stage_script(script)).await?;
    let delete = writer.sql().delete_new(entry.number, Produced::Stage);
    done.deleted = tx.execute(&delete).await?;
    // Everything that was inserted is deleted: nobody changed anything, and there is nothing to look for.
    if done.deleted != entry.counts.inserted {
        let left = writer.sql().left_new(entry.number, Produced::Stage);
        note(done, &tx.rows(&left).await?, &writer.layout);
    }
    writer.clear_stage(tx, Produced::Stage).await
}

/// Rows that pass through this process are computed again a part at a time.
async fn delete_in_parts(
    tx: &mut Tx,
    writer: &RangeWriter,
    (entry, range): (&Entry, &KeyRange),
    done: &mut Sum,
) -> Result<(), RangeError> {
    let mut rest = range.clone();
    while let Some(part) = writer.cut(&rest, PART).await? {
        let rows = writer.transformed(&part.range).await?;
        let from = writer.staged(tx, rows.as_ref()).await?;
        let delete = writer.sql().delete_new(entry.number, from);
        let deleted = tx.execute(&delete).await?;
        done.deleted += deleted;
        if deleted != part.rows {
            let left = writer.sql().left_new(entry.number, from);
            note(done, &tx.rows(&left).await?, &writer.layout);
        }
        match from {
            // The session's table is emptied by commits only, and this is one transaction.
            Produced::Copied => {
                tx.execute(&format!("TRUNCATE {}", writer.sql().copied()))
                    .await?;
            }
            _ => writer.clear_stage(tx, from).await?,
        }
        rest.after = part.range.upto;
    }
    Ok(())
}

fn note(sum: &mut Sum, rows: &[TextRow], layout: &Layout) {
    sum.left += rows.len() as u64;
    for row in rows.iter().take(SHOWN.saturating_sub(sum.examples.len())) {
        let pairs = layout.conflict.iter().zip(row);
        let named =
            pairs.map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("NULL")));
        sum.examples.push(named.collect::<Vec<_>>().join(", "));
    }
}
