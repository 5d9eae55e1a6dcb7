//! One batch of a range, from the source into the target, in one transaction.

mod rows;

use std::sync::Arc;

use migrate_schema::db::{Backend, Database, DbError, DbErrorKind};

use crate::access::Tx;
use crate::buffers::Buffers;
use crate::cells::SourceColumn;
use crate::claim::Advance;
use crate::failure;
use crate::keyset::KeyRange;
use crate::layout::Layout;
use crate::ledger::{Counts, RangeState, RowSum};
use crate::passing::tries_again;
use crate::planner::{self, Cut};
use crate::script::SqlScript;
use crate::settings::lazily;
use crate::statement::Statements;
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
    /// Whether the target's sessions take a moment that names no zone for one at UTC.
    pub(crate) at_utc: bool,
    /// Taken round a SQLite transaction: one writer at a time, without waiting in the database.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
    /// For rows that pass through here.
    pub(crate) buffers: Buffers,
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
        if self.through_here() {
            let most = (rows, crate::through::BYTES_HERE);
            return planner::cut_by_bytes(self.source(), sql, rest, most, &self.source_columns)
                .await;
        }
        planner::cut(self.source(), sql, rest, &sql.boundary(rest, rows)).await
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
                other => {
                    self.give_back(made);
                    return other;
                }
            }
        }
    }

    /// The room of rows that are not needed any more.
    pub(crate) fn give_back(&self, made: Option<Made>) {
        if let Some(made) = made {
            self.buffers.give(made.rows.into_bytes());
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
}

fn went_straight(made: Option<&Made>) -> bool {
    made.is_some_and(|made| made.way == Way::Straight)
}

fn unbalanced(counts: &Counts) -> RangeError {
    RangeError::Counts(match (counts.read, counts.accounted()) {
        (1, out) => format!("the transform gives {out} rows for it, and should give one"),
        (read, out) => format!("{read} rows were read, but {out} written or found right"),
    })
}
