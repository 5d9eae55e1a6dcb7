//! One batch of a range, from the source into the target, in one transaction.

use std::sync::Arc;

use migrate_schema::db::{Backend, Database, DbError, DbErrorKind};

use crate::access::Tx;
use crate::cells::{self, SourceColumn};
use crate::claim::Advance;
use crate::failure;
use crate::keyset::KeyRange;
use crate::layout::{Images, Layout};
use crate::ledger::{Counts, RangeState, RowSum};
use crate::passing::tries_again;
use crate::planner::{self, Cut};
use crate::script::SqlScript;
use crate::settings::{fixed, fixed_count, lazily};
use crate::statement::{Produced, STAGE, Statements};
use crate::transform::{OnConflict, Repeatable, RowTransform};
use crate::work::{Made, Way};

/// What turns the rows of the source into rows of the target.
#[derive(Clone)]
pub(crate) enum Program {
    /// A script of SQL.
    Sql(Arc<SqlScript>),
    /// A transform in Rust.
    Rust(Arc<dyn RowTransform>),
}

impl Program {
    pub(crate) fn on_conflict(&self) -> OnConflict {
        match self {
            Self::Sql(script) => script.on_conflict.clone(),
            Self::Rust(transform) => transform.on_conflict(),
        }
    }

    pub(crate) fn repeatable(&self) -> Repeatable {
        match self {
            Self::Sql(script) => script.repeatable,
            Self::Rust(transform) => transform.repeatable(),
        }
    }
}

/// Why a batch was not written.
#[derive(Debug)]
pub(crate) enum RangeError {
    /// The database refused.
    Db(DbError),
    /// The transform refused a row.
    Row { key: String, reason: String },
    /// The rows that came out are not those that went in.
    Counts(String),
    /// A transform ended in a panic.
    Panic(String),
    /// Another worker has the range.
    Lost,
    /// Another worker of this process failed, or it shall end.
    Stopped,
    /// More rows can't be moved than may be kept aside; this is the last of them.
    Budget {
        most: u64,
        key: String,
        reason: String,
    },
}

impl From<DbError> for RangeError {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

/// What is to be written, and what for.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    /// The number of the range.
    pub(crate) number: i64,
    pub(crate) cut: &'a Cut,
    /// Whether it is entered into the ledger, or only tried.
    pub(crate) keep: Keep,
}

/// What happens to a batch that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It is entered into the ledger and committed; the range goes on, or ends, after it.
    Commit(RangeState),
    /// It is rolled back.
    Rollback,
}

/// What a batch did.
type Done = (Counts, Option<RowSum>);

/// Writes batches.
#[derive(Clone)]
pub(crate) struct RangeWriter {
    pub(crate) db: Database,
    /// Where the source is, if it is not there.
    pub(crate) elsewhere: Option<Database>,
    pub(crate) layout: Arc<Layout>,
    pub(crate) program: Program,
    pub(crate) source_columns: Arc<Vec<SourceColumn>>,
    /// Taken round a SQLite transaction: one writer at a time, without waiting in the database.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
    /// Whose ranges these are.
    pub(crate) owner: Arc<str>,
}

impl RangeWriter {
    pub(crate) fn sql(&self) -> Statements<'_> {
        Statements {
            backend: self.db.backend(),
            layout: &self.layout,
        }
    }

    /// Where the source is.
    pub(crate) fn source(&self) -> &Database {
        self.elsewhere.as_ref().unwrap_or(&self.db)
    }

    /// Statements for where the source is.
    pub(crate) fn source_sql(&self) -> Statements<'_> {
        Statements {
            backend: self.source().backend(),
            layout: &self.layout,
        }
    }

    /// Whether rows pass through this process.
    pub(crate) fn through_here(&self) -> bool {
        self.elsewhere.is_some() || matches!(self.program, Program::Rust(_))
    }

    /// Cuts the next batch off a range: by rows, and by bytes where they pass through here.
    pub(crate) async fn cut(&self, rest: &KeyRange, rows: u64) -> Result<Option<Cut>, DbError> {
        let sql = self.source_sql();
        let query = if self.through_here() {
            sql.boundary_by_bytes(
                rest,
                (rows, crate::through::BYTES_HERE),
                &self.source_columns,
            )
        } else {
            sql.boundary(rest, rows)
        };
        planner::cut(self.source(), sql, rest, &query).await
    }

    /// The same writer under another name.
    pub(crate) fn owned_by(&self, owner: String) -> Self {
        Self {
            owner: owner.into(),
            ..self.clone()
        }
    }

    /// Writes a batch together with its range's row in the ledger; tries again where a lock was in the way.
    pub(crate) async fn write(&self, job: Job<'_>) -> Result<Counts, RangeError> {
        let made = self.transformed(&job.cut.range, Way::Straight).await?;
        self.write_made(job, made).await
    }

    /// Writes rows that were made of a batch already, if they pass through here.
    pub(crate) async fn write_made(
        &self,
        job: Job<'_>,
        mut made: Option<Made>,
    ) -> Result<Counts, RangeError> {
        let mut fresh = self.layout.target_was_empty;
        let mut tries = 1;
        loop {
            match self.attempt(job, made.as_ref(), fresh).await {
                // The database casts in the stage what it does not take as it is, and what it
                // says of a row is then the same for every way.
                Err(error) if went_straight(made.as_ref()) && failure::is_about_rows(&error) => {
                    made = self.transformed(&job.cut.range, Way::Staged).await?;
                }
                // A key is there although the target was empty: somebody wrote, or the script
                // gives a key twice. The careful way decides.
                Err(RangeError::Db(error)) if fresh && error.kind == DbErrorKind::Constraint => {
                    fresh = false;
                }
                Err(RangeError::Db(error)) if tries_again(&error, &mut tries).await => {}
                other => return other,
            }
        }
    }

    async fn attempt(
        &self,
        job: Job<'_>,
        staged: Option<&Made>,
        fresh: bool,
    ) -> Result<Counts, RangeError> {
        let _turn = match self.db.backend() {
            Backend::Sqlite => Some(self.turn.lock().await),
            Backend::Postgres => None,
        };
        let mut tx = Tx::begin(&self.db).await?;
        let done = self.in_transaction(&mut tx, job, staged, fresh).await;
        match (done, job.keep) {
            (Ok((counts, _)), Keep::Commit(_)) => {
                tx.commit().await?;
                Ok(counts)
            }
            (done, _) => {
                // What failed says more than a rollback that fails too.
                drop(tx.rollback().await);
                done.map(|(counts, _)| counts)
            }
        }
    }

    async fn in_transaction(
        &self,
        tx: &mut Tx,
        job: Job<'_>,
        staged: Option<&Made>,
        fresh: bool,
    ) -> Result<Done, RangeError> {
        if let Keep::Commit(_) = job.keep {
            self.hold(tx, job.number).await?;
        }
        let (counts, sum) = self.rows(tx, job, staged, fresh).await?;
        if job.keep == Keep::Rollback && self.db.backend() == Backend::Postgres {
            // What would be refused by a commit is refused here.
            tx.execute("SET CONSTRAINTS ALL IMMEDIATE").await?;
        }
        if let Keep::Commit(state) = job.keep {
            let to = Advance {
                number: job.number,
                owner: &self.owner,
                position: job.cut.range.upto.as_ref(),
                counts,
                sum: sum.clone(),
                state,
            };
            self.enter(tx, &to).await?;
        }
        Ok((counts, sum))
    }

    /// Locks the range's row, or finds that another worker has it.
    pub(crate) async fn hold(&self, tx: &mut Tx, number: i64) -> Result<(), RangeError> {
        let query = format!("{}{}", lazily(tx), self.sql().hold(number, &self.owner));
        if tx.rows(&query).await?.is_empty() {
            return Err(RangeError::Lost);
        }
        Ok(())
    }

    /// Enters what became of a batch; nothing of it is lost, or it is not committed.
    pub(crate) async fn enter(&self, tx: &mut Tx, to: &Advance<'_>) -> Result<(), RangeError> {
        if to.counts.accounted() != to.counts.read {
            return Err(unbalanced(&to.counts));
        }
        match tx.execute(&self.sql().advance(to)).await? {
            1 => Ok(()),
            _ => Err(RangeError::Lost),
        }
    }

    /// Ends a range that has no row left.
    pub(crate) async fn end(&self, number: i64, state: RangeState) -> Result<(), RangeError> {
        let _turn = match self.db.backend() {
            Backend::Sqlite => Some(self.turn.lock().await),
            Backend::Postgres => None,
        };
        let mut tx = Tx::begin(&self.db).await?;
        self.hold(&mut tx, number).await?;
        let to = Advance {
            number,
            owner: &self.owner,
            position: None,
            counts: Counts::default(),
            sum: None,
            state,
        };
        self.enter(&mut tx, &to).await?;
        Ok(tx.commit().await?)
    }

    /// Moves the rows of a batch.
    async fn rows(
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
        let (there, written, updated, sum) = if self.layout.sums {
            let [there, written, updated, low, high] = figures(&rows)?;
            (there, written, updated, Some(RowSum(low, high)))
        } else {
            let [there, written, updated] = figures(&rows)?;
            (there, written, updated, None)
        };
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

fn went_straight(made: Option<&Made>) -> bool {
    made.is_some_and(|made| made.way == Way::Straight)
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

fn unbalanced(counts: &Counts) -> RangeError {
    RangeError::Counts(match (counts.read, counts.accounted()) {
        (1, out) => format!("the transform gives {out} rows for it, and should give one"),
        (read, out) => format!("{read} rows were read, but {out} written or found right"),
    })
}
