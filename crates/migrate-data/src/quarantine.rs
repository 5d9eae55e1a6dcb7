//! A batch with rows that can't be moved: what can be moved is, the others are kept aside.
//!
//! The batch is halved until what is left is one row. Each part commits with its place in the
//! ledger, from the lowest key to the highest, so a kill in the midst of it costs the part in
//! flight: whoever goes on begins above the last one.

use migrate_schema::db::Backend;

use crate::access::{self, Tx};
use crate::claim::Advance;
use crate::failure::{is_about_rows, told};
use crate::keyset::{Key, KeyRange};
use crate::ledger::{Counts, RangeState};
use crate::passing::tries_again;
use crate::planner::{Cut, halves};
use crate::range::{Job, Keep, Program, RangeError, RangeWriter};
use crate::rejects::Put;
use crate::statement::Produced;
use crate::transform::OnConflict;
use crate::work::Way;

/// A row on its way into quarantine.
struct Bad {
    number: i64,
    key: Key,
    row: String,
    reason: String,
    /// How the range stands after it.
    state: RangeState,
}

impl RangeWriter {
    /// Whether rows are kept aside, and an error is one of those that say so of rows.
    pub(crate) fn keeps_aside(&self, error: &RangeError) -> bool {
        self.layout.reject_budget.is_some() && is_about_rows(error)
    }

    /// Writes what can be written of a batch that failed, and keeps the other rows aside.
    pub(crate) async fn sift(
        &self,
        job: Job<'_>,
        error: RangeError,
        stopped: &(dyn Fn() -> bool + Sync),
    ) -> Result<Counts, RangeError> {
        let Keep::Commit(end) = job.keep else {
            return Err(error);
        };
        let mut sum = Counts::default();
        let mut before = KeyRange {
            upto: job.cut.range.after.clone(),
            ..job.cut.range.clone()
        };
        // What is left, the lowest part last; the error of that one, where it was tried.
        let mut left = vec![job.cut.range.clone()];
        let mut failed = Some(error);
        while let Some(range) = left.pop() {
            if stopped() {
                return Err(RangeError::Stopped);
            }
            let state = if left.is_empty() {
                end
            } else {
                RangeState::Todo
            };
            let count = self.source_sql().count_source(&range);
            let rows = access::count(self.source(), &count).await?;
            let tried = match failed.take() {
                Some(error) => Err(error),
                None => self.part(job.number, &before, &range, rows, state).await,
            };
            let error = match tried {
                Ok(counts) => {
                    sum += counts;
                    before.upto.clone_from(&range.upto);
                    continue;
                }
                Err(error) if is_about_rows(&error) => error,
                Err(error) => return Err(error),
            };
            if let Some((lower, upper)) =
                halves(self.source(), self.source_sql(), &range, rows).await?
            {
                left.extend([upper, lower]);
                continue;
            }
            let Some(bad) = self.bad(job.number, &range, &error, state).await? else {
                return Err(error);
            };
            sum += self.put_aside(&bad).await?;
            before.upto.clone_from(&range.upto);
            before.except.push(bad.key);
        }
        Ok(sum)
    }

    async fn part(
        &self,
        number: i64,
        before: &KeyRange,
        range: &KeyRange,
        rows: u64,
        state: RangeState,
    ) -> Result<Counts, RangeError> {
        let together = KeyRange {
            upto: range.upto.clone(),
            ..before.clone()
        };
        self.gives_no_key_twice(&together).await?;
        let cut = Cut {
            range: range.clone(),
            rows,
        };
        let job = Job {
            number,
            cut: &cut,
            keep: Keep::Commit(state),
        };
        self.write(job).await
    }

    /// In one statement the database refuses a key that is given twice. Written part by part, the
    /// second row would be taken for an update of the first.
    async fn gives_no_key_twice(&self, together: &KeyRange) -> Result<(), RangeError> {
        if self.layout.target_was_empty || self.program.on_conflict() == OnConflict::Fail {
            return Ok(());
        }
        let twice = if let (Program::Sql(script), false) = (&self.program, self.through_here()) {
            let from = Produced::Script {
                select: &script.select,
                range: together,
            };
            access::rows(&self.db, &self.sql().produced_twice(from)).await?
        } else {
            let rows = self.transformed(together, Way::Staged).await?;
            let mut tx = Tx::look(&self.db).await?;
            let found = async {
                let from = self.staged(&mut tx, rows.as_ref()).await?;
                Ok::<_, RangeError>(tx.rows(&self.sql().produced_twice(from)).await?)
            }
            .await;
            drop(tx.rollback().await);
            found?
        };
        if twice.is_empty() {
            return Ok(());
        }
        Err(RangeError::Counts(
            "the transform gives a key twice".to_owned(),
        ))
    }

    /// The only row of a range with the reason; none if it is gone.
    async fn bad(
        &self,
        number: i64,
        range: &KeyRange,
        error: &RangeError,
        state: RangeState,
    ) -> Result<Option<Bad>, RangeError> {
        let sql = self.source_sql();
        let query = sql.whole_row(range, &self.source_columns);
        let mut found = access::rows(self.source(), &query).await?;
        let (Some(mut row), true) = (found.pop(), found.is_empty()) else {
            return Ok(None);
        };
        let whole = row.pop().flatten().unwrap_or_default();
        let keys = self.layout.keys(sql.backend);
        Ok(Some(Bad {
            number,
            key: keys.read(&row).map_err(RangeError::Counts)?,
            row: whole,
            reason: told(self, range, error).await,
            state,
        }))
    }

    /// Keeps a row aside, if there is room for it; tries again where a lock was in the way.
    async fn put_aside(&self, bad: &Bad) -> Result<Counts, RangeError> {
        let mut tries = 1;
        loop {
            match self.try_to_put_aside(bad).await {
                Err(RangeError::Db(error)) if tries_again(&error, &mut tries).await => {}
                other => return other,
            }
        }
    }

    async fn try_to_put_aside(&self, bad: &Bad) -> Result<Counts, RangeError> {
        let counts = Counts {
            read: 1,
            quarantined: 1,
            ..Counts::default()
        };
        let _turn = match self.db.backend() {
            Backend::Sqlite => Some(self.turn.lock().await),
            Backend::Postgres => None,
        };
        let mut tx = Tx::begin(&self.db).await?;
        self.hold(&mut tx, bad.number).await?;
        let sql = self.sql();
        if let Some(wait) = sql.hold_budget() {
            tx.rows(&wait).await?;
        }
        tx.execute(&sql.put_aside(&Put {
            number: bad.number,
            key: &bad.key,
            reason: &bad.reason,
            row: &bad.row,
        }))
        .await?;
        let to = Advance {
            number: bad.number,
            owner: &self.owner,
            position: Some(&bad.key),
            counts,
            sum: None,
            state: bad.state,
        };
        self.enter(&mut tx, &to).await?;
        let most = self.layout.reject_budget.unwrap_or_default();
        if tx.count(&sql.count_quarantined()).await? > most {
            drop(tx.rollback().await);
            return Err(RangeError::Budget {
                most,
                key: bad.key.named(&self.layout.key),
                reason: bad.reason.clone(),
            });
        }
        tx.commit().await?;
        Ok(counts)
    }
}
