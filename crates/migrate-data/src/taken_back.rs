//! One range taken back: images put back where the row is still what we wrote, new rows deleted
//! where they are still what the transform gives.

use migrate_schema::db::DbError;

use crate::access::{TextRow, Tx};
use crate::keyset::KeyRange;
use crate::layout::{Images, Layout};
use crate::ledger::Entry;
use crate::range::{Program, RangeError, RangeWriter};
use crate::settings::{fixed, fixed_rows};
use crate::statement::Produced;
use crate::triggers::{self, Quiet};
use crate::work::Way;

/// How many rows are computed again at once.
const PART: u64 = 50_000;

/// How many keys of rows that are left are shown.
const SHOWN: usize = 5;

/// What an undo found and did, summed over ranges.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) deleted: u64,
    pub(crate) restored: u64,
    pub(crate) left: u64,
    pub(crate) examples: Vec<String>,
    /// Rows that others wrote between two batches of the copy, by their images.
    pub(crate) between: u64,
    /// Rows that the source has no more, so that what became of them is not known.
    pub(crate) missing: i128,
}

impl Sum {
    fn add(&mut self, done: Self) {
        self.deleted += done.deleted;
        self.restored += done.restored;
        self.left += done.left;
        self.missing += done.missing;
        self.examples.extend(done.examples);
        self.examples.truncate(SHOWN);
    }

    fn note(&mut self, rows: &[TextRow], layout: &Layout) {
        self.left += rows.len() as u64;
        for row in rows.iter().take(SHOWN.saturating_sub(self.examples.len())) {
            let pairs = layout.conflict.iter().zip(row);
            let named =
                pairs.map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("NULL")));
            self.examples.push(named.collect::<Vec<_>>().join(", "));
        }
    }
}

/// What is left to do with a range besides deleting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Its images are put back.
    DeleteOnly,
    /// They could not be put back as long as new rows were there.
    RestoreToo,
}

/// Puts a range's images back. Idempotent: images that are back are found so.
pub(crate) async fn restore_range(
    writer: &RangeWriter,
    entry: &Entry,
    sum: &mut Sum,
) -> Result<(), RangeError> {
    match restore_quietly(writer, entry, Quiet::Altering, sum).await {
        Err(RangeError::Db(error)) if triggers::refused(&error) => {
            restore_quietly(writer, entry, Quiet::All, sum).await
        }
        done => done,
    }
}

async fn restore_quietly(
    writer: &RangeWriter,
    entry: &Entry,
    quiet: Quiet,
    sum: &mut Sum,
) -> Result<(), RangeError> {
    let mut tx = Tx::begin(&writer.db).await?;
    let sleeping = triggers::disable(&mut tx, &writer.layout, quiet).await?;
    let mut done = Sum::default();
    restore(&mut tx, writer, entry, &mut done).await?;
    triggers::enable(&mut tx, sleeping).await?;
    migrate_failpoint::hit!("data.undo").map_err(DbError::from)?;
    tx.commit().await?;
    sum.add(done);
    Ok(())
}

async fn restore(
    tx: &mut Tx,
    writer: &RangeWriter,
    entry: &Entry,
    done: &mut Sum,
) -> Result<(), RangeError> {
    let sql = writer.sql();
    let changed = fixed_rows(tx, &sql.foreign_images(entry.number)).await?;
    done.note(&changed, &writer.layout);
    done.restored = fixed(tx, &sql.restore(entry.number)).await?;
    Ok(())
}

/// Deletes what is new of a range, and forgets what is kept of it.
pub(crate) async fn delete_range(
    writer: &RangeWriter,
    entry: &Entry,
    order: Order,
    sum: &mut Sum,
) -> Result<(), RangeError> {
    match delete_quietly(writer, entry, (order, Quiet::Altering), sum).await {
        Err(RangeError::Db(error)) if triggers::refused(&error) => {
            delete_quietly(writer, entry, (order, Quiet::All), sum).await
        }
        done => done,
    }
}

async fn delete_quietly(
    writer: &RangeWriter,
    entry: &Entry,
    (order, quiet): (Order, Quiet),
    sum: &mut Sum,
) -> Result<(), RangeError> {
    let entry = &writer.but_rejects(entry).await?;
    let Some(range) = entry.done() else {
        return Ok(());
    };
    let mut tx = Tx::begin(&writer.db).await?;
    let sleeping = triggers::disable(&mut tx, &writer.layout, quiet).await?;
    let mut done = Sum::default();
    let sql = writer.sql();
    match writer.layout.images {
        Images::All => {
            done.deleted = fixed(&mut tx, &sql.delete_noted(entry.number)).await?;
            let left = tx.rows(&sql.left_noted(entry.number)).await?;
            done.note(&left, &writer.layout);
        }
        Images::Existing if entry.counts.inserted > 0 => {
            delete_computed(&mut tx, writer, (entry, &range), &mut done).await?;
        }
        Images::Existing => {}
    }
    if order == Order::RestoreToo {
        restore(&mut tx, writer, entry, &mut done).await?;
    }
    for statement in sql.forget_range(entry.number) {
        tx.execute(&statement).await?;
    }
    if entry.counts.quarantined > 0 {
        tx.execute(&sql.rejects_taken_back(entry.number)).await?;
    }
    triggers::enable(&mut tx, sleeping).await?;
    migrate_failpoint::hit!("data.undo").map_err(DbError::from)?;
    tx.commit().await?;
    sum.add(done);
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
    done.missing = i128::from(entry.counts.moved()) - i128::from(there);
    let (Program::Sql(script), false) = (&writer.program, writer.through_here()) else {
        delete_in_parts(tx, writer, (entry, range), done).await?;
        if is_doubled(entry, done) {
            delete_doubled_in_parts(tx, writer, (entry, range), done).await?;
        }
        return Ok(());
    };
    let script = Produced::Script {
        select: &script.select,
        range,
    };
    tx.execute(&writer.sql().stage_script(script)).await?;
    let delete = writer.sql().delete_new(entry.number, Produced::Stage);
    done.deleted = tx.execute(&delete).await?;
    if is_doubled(entry, done) {
        let doubled = writer.sql().delete_doubled(entry.number, Produced::Stage);
        done.deleted += tx.execute(&doubled).await?;
    }
    // Everything that was inserted is deleted: nobody changed anything, and there is nothing to look for.
    if done.deleted != entry.counts.inserted {
        let left = writer.sql().left_new(entry.number, Produced::Stage);
        done.note(&tx.rows(&left).await?, &writer.layout);
    }
    writer.clear_stage(tx, Produced::Stage).await
}

/// Whether rows that were inserted may have an image, as the same range wrote them again.
fn is_doubled(entry: &Entry, done: &Sum) -> bool {
    done.deleted < entry.counts.inserted && entry.counts.updated + entry.counts.unchanged > 0
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
        let rows = writer.transformed(&part.range, Way::Staged).await?;
        let from = writer.staged(tx, rows.as_ref()).await?;
        let delete = writer.sql().delete_new(entry.number, from);
        let deleted = tx.execute(&delete).await?;
        done.deleted += deleted;
        if deleted != part.rows {
            let left = writer.sql().left_new(entry.number, from);
            done.note(&tx.rows(&left).await?, &writer.layout);
        }
        empty(tx, writer, from).await?;
        rest.after = part.range.upto;
    }
    Ok(())
}

/// Which rows a range gives twice can be told only from all of them.
async fn delete_doubled_in_parts(
    tx: &mut Tx,
    writer: &RangeWriter,
    (entry, range): (&Entry, &KeyRange),
    done: &mut Sum,
) -> Result<(), RangeError> {
    let (mut rest, mut all) = (range.clone(), None);
    while let Some(part) = writer.cut(&rest, PART).await? {
        let rows = writer.transformed(&part.range, Way::Staged).await?;
        all = Some(writer.staged(tx, rows.as_ref()).await?);
        rest.after = part.range.upto;
    }
    if let Some(from) = all {
        let delete = writer.sql().delete_doubled(entry.number, from);
        done.deleted += tx.execute(&delete).await?;
        empty(tx, writer, from).await?;
    }
    Ok(())
}

/// The session's table of PostgreSQL is emptied by commits only, and this is one transaction.
async fn empty(tx: &mut Tx, writer: &RangeWriter, from: Produced<'_>) -> Result<(), RangeError> {
    match from {
        Produced::Copied => {
            let truncate = format!("TRUNCATE {}", writer.sql().copied());
            tx.execute(&truncate).await?;
            Ok(())
        }
        _ => writer.clear_stage(tx, from).await,
    }
}
