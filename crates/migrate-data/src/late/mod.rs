//! What others write to the tables of a copy after it was compared and before the commit point.
//!
//! Rows of the source are brought over; rows of the target are left and count as others'. Where
//! the same row was written on both sides, or rows can't be told one by one, the run fails.

mod amend;
mod lock;
mod sql;
mod watch;

use migrate_core::{Loss, OwnRows, Settled, StepContext, StepError};
use migrate_schema::catalog;
use migrate_schema::db::DbError;
use migrate_schema::fingerprint;
use migrate_schema::marks::{self, Disowned};
use migrate_schema::own;

use crate::access;
use crate::copy::TableCopy;
use crate::layout::Layout;
use watch::{Seen, Side, Watch, log_name, unseen};

/// What others did to one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LateRows {
    /// Rows that are there and were written late.
    pub(crate) written: u64,
    /// Rows that were there and are not as they were, by number.
    pub(crate) missing: u64,
    /// Everything that tells this state from another.
    state: String,
}

/// What others did to both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Late {
    pub(crate) source: LateRows,
    pub(crate) target: LateRows,
}

impl Late {
    fn state(&self) -> String {
        format!("{}/{}", self.source.state, self.target.state)
    }
}

impl LateRows {
    fn is_none(&self) -> bool {
        self.written == 0 && self.missing == 0
    }
}

impl TableCopy {
    /// Brings over what others wrote to the source, and counts what they wrote to the target.
    pub(crate) async fn settle(
        &self,
        cx: &StepContext,
        layout: &Layout,
    ) -> Result<Settled, StepError> {
        let failed = |error: DbError| unseen(self, error);
        let Some(watch) = self.watch(cx).await.map_err(failed)? else {
            return Ok(Settled::default());
        };
        let (mut watch, mut brought) = (watch, 0);
        let mut late = self.late(layout, &watch).await.map_err(failed)?;
        if !late.source.is_none() {
            if let Some(why) = self.not_amendable(layout, &watch) {
                return Err(self.late_source(&late.source, why));
            }
            brought = Box::pin(self.amend(cx, layout, (&watch, &late))).await?;
            let now = self.watch(cx).await.map_err(failed)?;
            watch = now
                .ok_or_else(|| StepError::failed("the tables are no longer watched for writes"))?;
            late = self.late(layout, &watch).await.map_err(failed)?;
        }
        if matches!(watch.target, Seen::Sum(_)) && !late.target.is_none() {
            return Err(StepError::failed(format!(
                "others wrote to {} after rows had been copied into it, and their rows can't be identified",
                self.target
            )));
        }
        let own_rows = self.own_rows(layout, &watch, &late).await.map_err(failed)?;
        Ok(Settled {
            brought,
            notes: self.notes(layout, &watch, &late).await.map_err(failed)?,
            own_rows,
            state: late.state(),
        })
    }

    /// Whether nobody wrote since.
    pub(crate) async fn is_settled(
        &self,
        cx: &StepContext,
        layout: &Layout,
        state: &str,
    ) -> Result<bool, StepError> {
        let failed = |error: DbError| unseen(self, error);
        let Some(watch) = self.watch(cx).await.map_err(failed)? else {
            return Ok(state.is_empty());
        };
        let late = self.late(layout, &watch).await.map_err(failed)?;
        Ok(late.source.is_none() && late.state() == state)
    }

    /// Takes rows of others out of the row hashes that the run has just kept.
    pub(crate) async fn disown(&self, cx: &StepContext, layout: &Layout) -> Result<(), StepError> {
        let failed = |error: DbError| unseen(self, error);
        let Some(watch) = self.watch(cx).await.map_err(failed)? else {
            return Ok(());
        };
        let Some(late) = watch.written_late(layout, (Side::Target, "t")) else {
            return Ok(());
        };
        let known = match self.known(layout) {
            Some(known) => known,
            None => "false".to_owned(),
        };
        let source = self.source.clone();
        let gone = self.known(layout).map(|_| {
            let missing = format!(
                "NOT EXISTS (SELECT 1 FROM {} AS x WHERE {})",
                layout.target_sql(),
                self.statements(layout).key_equal("x", "t")
            );
            (source, missing)
        });
        let rows = Disowned {
            inserted: format!("{late} AND NOT {known}"),
            updated: format!("{late} AND {known}"),
            gone,
        };
        marks::disown(&self.db, cx.run.as_str(), &self.target, &rows)
            .await
            .map_err(failed)
    }

    /// What others wrote to the target since the copy was compared. Read-only.
    pub(crate) async fn others(
        &self,
        cx: &StepContext,
        layout: &Layout,
    ) -> Result<Vec<Loss>, StepError> {
        let failed = |error: DbError| unseen(self, error);
        let Some(watch) = self.watch(cx).await.map_err(failed)? else {
            return Ok(Vec::new());
        };
        let late = self.late_rows(layout, &watch, Side::Target).await;
        let written = late.map_err(failed)?.written;
        let loss = || {
            let detail = format!("{written} rows that others wrote while the run was under way");
            Loss::new(format!("table {}", self.target), Some(written), detail)
        };
        Ok((written > 0).then(loss).into_iter().collect())
    }

    /// How many rows of both tables others have written since the copy was compared; none where
    /// nobody looked.
    pub(crate) async fn rows_of_others(
        &self,
        cx: &StepContext,
        layout: &Layout,
    ) -> Result<Option<u64>, DbError> {
        let Some(watch) = self.watch(cx).await? else {
            return Ok(None);
        };
        let mut theirs = 0_u64;
        // What was written is computed again from the source.
        for side in [Side::Source, Side::Target] {
            let (db, table) = self.table_of(side);
            if catalog::table_columns(db, table).await?.is_empty() {
                return Ok(None);
            }
            let late = self.late_rows(layout, &watch, side).await?;
            theirs = theirs.saturating_add(match watch.seen(side) {
                // Which rows these are is not known.
                Seen::Sum(_) if late.written > 0 => u64::MAX,
                _ => late.written + late.missing,
            });
        }
        Ok(Some(theirs))
    }

    /// Whether the source has a row for the row `t` of the target, where that can be asked.
    fn known(&self, layout: &Layout) -> Option<String> {
        (layout.same_key && self.elsewhere.is_none()).then(|| {
            format!(
                "EXISTS (SELECT 1 FROM {} AS s WHERE {})",
                layout.source_sql(),
                self.statements(layout).key_equal("s", "t")
            )
        })
    }

    async fn late(&self, layout: &Layout, watch: &Watch) -> Result<Late, DbError> {
        Ok(Late {
            source: self.late_rows(layout, watch, Side::Source).await?,
            target: self.late_rows(layout, watch, Side::Target).await?,
        })
    }

    async fn late_rows(
        &self,
        layout: &Layout,
        watch: &Watch,
        side: Side,
    ) -> Result<LateRows, DbError> {
        let (db, table) = self.table_of(side);
        match watch.seen(side) {
            Seen::Transactions(seen) => {
                let late = watch.written_late(layout, (side, "t")).unwrap_or_default();
                let query = format!(
                    "SELECT count(*) FILTER (WHERE {late}), count(*) FILTER (WHERE NOT {late}), \
                     coalesce(sum(t.xmin::text::bigint) FILTER (WHERE {late}), 0)::text FROM {} AS t",
                    table.sql()
                );
                let row = access::rows(db, &query).await?.pop().unwrap_or_default();
                let number = |at: usize| -> u64 {
                    let text = row.get(at).and_then(Option::as_deref);
                    text.and_then(|text| text.parse().ok()).unwrap_or(0)
                };
                Ok(LateRows {
                    written: number(0),
                    missing: seen.rows.saturating_sub(number(1)),
                    state: format!("{row:?}"),
                })
            }
            Seen::Logged => {
                let log = own::name(db.backend(), &log_name(layout));
                let keys = layout.conflict.iter().enumerate();
                let same = keys
                    .map(|(at, name)| format!("x.{} = l.k{at}", migrate_schema::quote::ident(name)))
                    .collect::<Vec<_>>()
                    .join(" AND ");
                let keys: Vec<String> = (0..layout.conflict.len())
                    .map(|at| format!("k{at}"))
                    .collect();
                let there = format!("EXISTS (SELECT 1 FROM {} AS x WHERE {same})", table.sql());
                let query = format!(
                    "SELECT count(CASE WHEN {there} THEN 1 END), count(CASE WHEN NOT {there} THEN 1 END), \
                     (SELECT count(*) || ' ' || coalesce(max(id), 0) FROM {log} WHERE side = '{side}') \
                     FROM (SELECT DISTINCT {} FROM {log} WHERE side = '{side}') AS l",
                    keys.join(", "),
                    side = side.name()
                );
                let row = access::rows(db, &query).await?.pop().unwrap_or_default();
                let number = |at: usize| -> u64 {
                    let text = row.get(at).and_then(Option::as_deref);
                    text.and_then(|text| text.parse().ok()).unwrap_or(0)
                };
                Ok(LateRows {
                    written: number(0),
                    missing: number(1),
                    state: row.get(2).cloned().flatten().unwrap_or_default(),
                })
            }
            Seen::Sum(then) => {
                let now = watch::sum(db, table).await?;
                Ok(LateRows {
                    written: u64::from(&now != then),
                    missing: 0,
                    state: now,
                })
            }
        }
    }

    /// What the run itself wrote to the target, if others wrote too.
    async fn own_rows(
        &self,
        layout: &Layout,
        watch: &Watch,
        late: &Late,
    ) -> Result<Vec<OwnRows>, DbError> {
        let condition = watch.written_late(layout, (Side::Target, "t"));
        let Some(condition) = condition.filter(|_| !late.target.is_none()) else {
            return Ok(Vec::new());
        };
        let sum =
            fingerprint::table_where(&self.db, &self.target, &format!("NOT {condition}")).await?;
        let mut names = vec![self.target.to_string()];
        let tables = catalog::user_tables(&self.db).await?.into_iter();
        let same = tables
            .filter(|table| table.table() == self.target.table() && self.target.schema().is_none());
        names.extend(same.map(|table| table.to_string()));
        Ok(vec![OwnRows {
            names,
            sum: sum.to_string(),
        }])
    }

    async fn notes(
        &self,
        layout: &Layout,
        watch: &Watch,
        late: &Late,
    ) -> Result<Vec<String>, DbError> {
        let mut notes = Vec::new();
        let brought = watch.brought;
        if brought.inserted + brought.updated + brought.deleted > 0 {
            notes.push(format!(
                "rows of {} that others wrote after they had been copied are in {} too: {} new, {} changed, {} deleted",
                self.source, self.target, brought.inserted, brought.updated, brought.deleted
            ));
        }
        if !late.target.is_none() {
            let known = match (
                self.known(layout),
                watch.written_late(layout, (Side::Target, "t")),
            ) {
                (Some(known), Some(late)) => {
                    let query = format!(
                        "SELECT count(*) FROM {} AS t WHERE {late} AND {known}",
                        layout.target_sql()
                    );
                    access::count(&self.db, &query).await?
                }
                _ => 0,
            };
            let deleted = match &watch.target {
                Seen::Transactions(_) => late.target.missing.saturating_sub(known),
                _ => late.target.missing,
            };
            notes.push(format!(
                "others wrote to {} after rows had been copied into it: {} new, {known} changed, {deleted} deleted; \
                 that is left, and a rollback counts it as theirs",
                self.target,
                late.target.written.saturating_sub(known)
            ));
        }
        Ok(notes)
    }

    fn late_source(&self, late: &LateRows, why: &str) -> StepError {
        let how_many = match late.missing {
            0 => format!("{} rows", late.written),
            gone => format!("{} rows, and changed or deleted {gone}", late.written),
        };
        StepError::failed(format!(
            "others wrote to {} after it had been copied into {}: {how_many}",
            self.source, self.target
        ))
        .cause(format!("they can't be brought over: {why}"))
        .hint("stop every program that writes to these tables, then run it again")
    }

    /// Prepares for a step of the run that changes the tables: what others wrote until now is
    /// brought over.
    pub(crate) async fn settle_before_own_change(
        &self,
        cx: &StepContext,
        layout: &Layout,
    ) -> Result<(), StepError> {
        let failed = |error: DbError| unseen(self, error);
        match self.watch(cx).await.map_err(failed)? {
            Some(watch) => self.pause_watch(cx, layout, watch).await.map_err(failed),
            None => Ok(()),
        }
    }

    /// As [`Self::resume_watch`], for the engine.
    pub(crate) async fn after_own_change(
        &self,
        cx: &StepContext,
        layout: &Layout,
    ) -> Result<(), StepError> {
        let resumed = self.resume_watch(cx, layout).await;
        resumed.map_err(|error| unseen(self, error))
    }
}
