//! The rows of one batch into the target, in the transaction that was begun for it.

use migrate_schema::db::Backend;

use super::{Done, Job, Program, RangeError, RangeWriter, unbalanced};
use crate::access::Tx;
use crate::cells;
use crate::keyset::KeyRange;
use crate::layout::Images;
use crate::ledger::{Counts, RowSum};
use crate::settings::{fixed, fixed_count};
use crate::statement::{Produced, STAGE};
use crate::transform::OnConflict;
use crate::work::{Made, Way};

impl RangeWriter {
    /// Moves the rows of a batch.
    pub(super) async fn rows(
        &self,
        tx: &mut Tx,
        job: Job<'_>,
        staged: Option<&Made>,
        fresh: bool,
    ) -> Result<Done, RangeError> {
        let policy = self.program.on_conflict();
        if let Some(made) = staged.filter(|made| made.way == Way::Straight) {
            return self.copy_in(tx, job, made).await;
        }
        let plain = fresh || policy == OnConflict::Fail;
        let (read, number) = (job.cut.rows, job.number);
        if plain && self.layout.images == Images::Existing {
            let from = self
                .source_of_rows(tx, &job.cut.range, staged, StageScript::No)
                .await?;
            let done = self.insert(tx, read, from).await?;
            self.clear_stage(tx, from).await?;
            return Ok(done);
        }
        if self.sql().at_once() {
            let from = self
                .source_of_rows(tx, &job.cut.range, staged, StageScript::No)
                .await?;
            let done = self.upsert_at_once(tx, number, read, from, &policy).await?;
            return self.unexpected(done);
        }
        // Computed once, as several statements need it: a key that is made of random bits must
        // not be another one later.
        let stage = match (self.db.backend(), self.layout.images) {
            (Backend::Sqlite, Images::Existing) => StageScript::No,
            _ => StageScript::Yes,
        };
        let from = self
            .source_of_rows(tx, &job.cut.range, staged, stage)
            .await?;
        let images = if plain {
            0
        } else {
            self.look_for_own(tx, from).await?;
            tx.execute(&self.sql().keep_images(number, from)).await?
        };
        let done = if images == 0 {
            let done = self.insert(tx, read, from).await?;
            if self.layout.images == Images::All {
                self.note_new(tx, number, read, from).await?;
            }
            done
        } else {
            (self.upsert(tx, number, read, from, images).await?, None)
        };
        self.clear_stage(tx, from).await?;
        self.unexpected(done)
    }

    /// Into a table that was empty nothing is written twice: which of two rows stays would be
    /// decided by which came later.
    fn unexpected(&self, done: Done) -> Result<Done, RangeError> {
        if self.layout.target_was_empty && done.0.updated + done.0.unchanged > 0 {
            return Err(RangeError::Counts(format!(
                "a key that it gives is in {} already, which was empty when the copy began: \
                 another row gave it, or somebody else wrote it",
                self.layout.target
            )));
        }
        Ok(done)
    }

    pub(crate) async fn clear_stage(
        &self,
        tx: &mut Tx,
        from: Produced<'_>,
    ) -> Result<(), RangeError> {
        if self.db.backend() == Backend::Sqlite && matches!(from, Produced::Stage) {
            tx.execute(&format!("DROP TABLE {}", self.sql().stage()))
                .await?;
        }
        Ok(())
    }

    /// Where the statements take the produced rows from; fills the stage where one is needed.
    async fn source_of_rows<'a>(
        &'a self,
        tx: &mut Tx,
        range: &'a KeyRange,
        staged: Option<&Made>,
        script_too: StageScript,
    ) -> Result<Produced<'a>, RangeError> {
        if staged.is_some() {
            return self.staged(tx, staged).await;
        }
        let Program::Sql(script) = &self.program else {
            return Err(RangeError::Panic(format!("nothing was put into {STAGE}")));
        };
        let from = Produced::Script {
            select: &script.select,
            range,
        };
        if script_too == StageScript::No {
            return Ok(from);
        }
        tx.execute(&self.sql().stage_script(from)).await?;
        Ok(Produced::Stage)
    }

    /// Puts rows of this process where statements can take them from.
    pub(crate) async fn staged<'a>(
        &self,
        tx: &mut Tx,
        rows: Option<&Made>,
    ) -> Result<Produced<'a>, RangeError> {
        let Some(rows) = rows else {
            return Err(RangeError::Panic(format!("nothing was put into {STAGE}")));
        };
        cells::stage(tx, self.sql(), &rows.rows).await?;
        Ok(match self.db.backend() {
            Backend::Postgres => Produced::Copied,
            Backend::Sqlite => Produced::Stage,
        })
    }

    /// Copies rows straight into the target, which was empty.
    async fn copy_in(&self, tx: &mut Tx, job: Job<'_>, made: &Made) -> Result<Done, RangeError> {
        let inserted = cells::copy_in(tx, &self.sql().copy_in(), &made.rows).await?;
        let counts = balanced(Counts {
            read: job.cut.rows,
            inserted,
            ..Counts::default()
        })?;
        if !self.layout.sums {
            return Ok((counts, None));
        }
        // Rows of others in the range would be in the sums: their number tells.
        let rows = tx.rows(&self.sql().sum_of_target(&job.cut.range)).await?;
        let [there, low, high] = figures(&rows)?;
        balanced(Counts {
            read: number_of(&there)?,
            ..counts
        })?;
        Ok((counts, Some(RowSum(low, high))))
    }

    async fn insert(&self, tx: &mut Tx, read: u64, from: Produced<'_>) -> Result<Done, RangeError> {
        let counts = |inserted| Counts {
            read,
            inserted,
            ..Counts::default()
        };
        if !self.layout.sums {
            let inserted = tx.execute(&self.sql().insert(from)).await?;
            return Ok((balanced(counts(inserted))?, None));
        }
        let rows = tx.rows(&self.sql().insert_at_once(from)).await?;
        let [inserted, low, high] = figures(&rows)?;
        Ok((
            balanced(counts(number_of(&inserted)?))?,
            Some(RowSum(low, high)),
        ))
    }

    async fn upsert_at_once(
        &self,
        tx: &mut Tx,
        number: i64,
        read: u64,
        from: Produced<'_>,
        policy: &OnConflict,
    ) -> Result<Done, RangeError> {
        let rows = tx
            .rows(&self.sql().upsert_at_once(number, from, policy))
            .await?;
        let (writers, there, written, updated, sum) = if self.layout.sums {
            let [writers, there, written, updated, low, high] = figures(&rows)?;
            (writers, there, written, updated, Some(RowSum(low, high)))
        } else {
            let [writers, there, written, updated] = figures(&rows)?;
            (writers, there, written, updated, None)
        };
        self.refuse_own(tx, &writers).await?;
        let updated = number_of(&updated)?;
        let counts = balanced(Counts {
            read,
            inserted: number_of(&written)?.saturating_sub(updated),
            updated,
            unchanged: number_of(&there)?.saturating_sub(updated),
            quarantined: 0,
        })?;
        Ok((counts, sum))
    }

    async fn upsert(
        &self,
        tx: &mut Tx,
        number: i64,
        read: u64,
        from: Produced<'_>,
        images: u64,
    ) -> Result<Counts, RangeError> {
        let sql = self.sql();
        let written = tx
            .execute(&sql.upsert(from, &self.program.on_conflict()))
            .await?;
        let updated = fixed_count(tx, &sql.count_changed(number)).await?;
        fixed(tx, &sql.mark_after(number)).await?;
        let inserted = written.saturating_sub(updated);
        let counts = balanced(Counts {
            read,
            inserted,
            updated,
            unchanged: images.saturating_sub(updated),
            quarantined: 0,
        })?;
        // PostgreSQL refuses a key that is given twice; SQLite would take the last of them.
        if self.db.backend() == Backend::Sqlite && tx.count(&sql.count_written(from)).await? != read
        {
            return Err(RangeError::Counts(
                "the transform gives a key twice".to_owned(),
            ));
        }
        if self.layout.images == Images::All {
            self.note_new(tx, number, inserted, from).await?;
        }
        Ok(counts)
    }

    async fn note_new(
        &self,
        tx: &mut Tx,
        number: i64,
        inserted: u64,
        from: Produced<'_>,
    ) -> Result<(), RangeError> {
        let noted = fixed(tx, &self.sql().keep_new(number, from)).await?;
        if noted == inserted {
            return Ok(());
        }
        Err(RangeError::Counts(format!(
            "{inserted} rows were written, but {noted} of them could be found again"
        )))
    }
}
/// Whether a script's rows are computed into the stage before they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StageScript {
    Yes,
    No,
}

/// The values of a result's only row.
fn figures<const N: usize>(rows: &[crate::access::TextRow]) -> Result<[String; N], RangeError> {
    let values: Option<Vec<String>> = rows.first().and_then(|row| row.iter().cloned().collect());
    values
        .and_then(|values| values.try_into().ok())
        .ok_or_else(|| RangeError::Counts("the database did not tell what it wrote".to_owned()))
}

fn number_of(text: &str) -> Result<u64, RangeError> {
    text.parse()
        .map_err(|_| RangeError::Counts(format!("{text:?} is no count")))
}

fn balanced(counts: Counts) -> Result<Counts, RangeError> {
    if counts.accounted() == counts.read {
        return Ok(counts);
    }
    Err(unbalanced(&counts))
}
