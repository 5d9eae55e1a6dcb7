//! Brings late rows of the source over, in one transaction with the ledger and the watch.

use migrate_core::{StepContext, StepError};
use migrate_schema::db::{Backend, DbError};
use migrate_schema::own;

use super::Late;
use super::sql::{FRESH, LateSql, ORPHANS};
use super::watch::{Seen, Side, Watch, log_name, transactions, unseen};
use crate::access::Tx;
use crate::copy::TableCopy;
use crate::keyset::{Key, KeyRange};
use crate::layout::{Images, Layout};
use crate::ledger::{self, Entry};
use crate::range::Program;
use crate::settings::{fixed, fixed_rows};
use crate::statement::STAGE;

/// How many keys of rows are named.
const SHOWN: usize = 5;

/// Why rows were not brought over.
enum Refused {
    Db(DbError),
    Because(String, Vec<String>),
}

impl From<DbError> for Refused {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

/// What became of the rows of one range.
#[derive(Default)]
struct Delta {
    inserted: u64,
    /// Rows that the copy had made.
    deleted: u64,
    /// Rows that were there before the copy, which had changed them or found them right.
    restored: (u64, u64),
    highest: Option<Key>,
}

impl TableCopy {
    /// Why late rows of the source can't be brought over one by one; none if they can.
    pub(super) fn not_amendable(&self, layout: &Layout, watch: &Watch) -> Option<&'static str> {
        match (&self.program, &self.elsewhere) {
            (Program::Rust(_), _) => Some("a transform in Rust is not run again for single rows"),
            (_, Some(_)) => Some("the source is in another database"),
            _ if !layout.same_key => Some("source and target have no key in common"),
            _ if matches!(watch.source, Seen::Sum(_)) || matches!(watch.target, Seen::Sum(_)) => {
                Some("the changed rows can't be identified one by one")
            }
            _ => None,
        }
    }

    /// Brings late rows over; says how many.
    pub(super) async fn amend(
        &self,
        cx: &StepContext,
        layout: &Layout,
        (watch, late): (&Watch, &Late),
    ) -> Result<u64, StepError> {
        let mut tx = Tx::begin(&self.db)
            .await
            .map_err(|error| unseen(self, error))?;
        match self.amend_in(&mut tx, cx, layout, (watch, late)).await {
            Ok(brought) => {
                tx.commit().await.map_err(|error| unseen(self, error))?;
                Ok(brought)
            }
            Err(refused) => {
                drop(tx.rollback().await);
                Err(match refused {
                    Refused::Db(error) => error.into_step_error(format!(
                        "can't bring over what others wrote to {} after it had been copied to {}",
                        self.source, self.target
                    )),
                    Refused::Because(message, causes) => StepError {
                        causes,
                        ..StepError::failed(message)
                    }
                    .hint("stop every program that writes to these tables, then run it again"),
                })
            }
        }
    }

    async fn amend_in(
        &self,
        tx: &mut Tx,
        cx: &StepContext,
        layout: &Layout,
        (watch, late): (&Watch, &Late),
    ) -> Result<u64, Refused> {
        let mut watch = watch.clone();
        let Program::Sql(script) = &self.program else {
            return Ok(0);
        };
        let policy = self.program.on_conflict();
        let condition = |side, alias| watch.written_late(layout, (side, alias));
        let sql = LateSql {
            sql: self.statements(layout),
            select: &script.select,
            policy: &policy,
            source_late: condition(Side::Source, "src").unwrap_or_default(),
            target_late: condition(Side::Target, "t").unwrap_or_default(),
        };
        // What is written while this transaction works is late once more.
        let now = match &watch.source {
            Seen::Transactions(_) => transactions(self.at_source(), &self.source).await?,
            _ => None,
        };
        let log = own::name(Backend::Sqlite, &log_name(layout));
        let logged = watch.target == Seen::Logged;
        let before = if logged {
            tx.count(&format!("SELECT max(id) FROM {log}")).await?
        } else {
            0
        };
        tx.execute(&sql.stage()).await?;
        self.refuse_conflicts(tx, &sql, late).await?;
        let mut updated = 0;
        for update in [sql.update_own(), sql.update_known()].into_iter().flatten() {
            updated += fixed(tx, &update).await?;
        }
        fixed(tx, &sql.note_again()).await?;
        tx.execute(&sql.find_fresh()).await?;
        tx.execute(&sql.insert_fresh()).await?;
        self.find_orphans(tx, layout, (&sql, logged.then_some(log.as_str())), late)
            .await?;
        let deltas = self.account(tx, layout, &sql).await?;
        for statement in sql.take_orphans_back() {
            fixed(tx, &statement).await?;
        }
        let inserted: u64 = deltas.iter().map(|one| one.inserted).sum();
        let deleted: u64 = deltas.iter().map(|one| one.deleted).sum();
        let restored: u64 = deltas
            .iter()
            .map(|one| one.restored.0 + one.restored.1)
            .sum();
        watch.brought.inserted += inserted;
        watch.brought.updated += updated;
        watch.brought.deleted += deleted + restored;
        if logged {
            let side = Side::Source.name();
            tx.execute(&format!(
                "DELETE FROM {log} WHERE side = '{side}' OR id > {before}"
            ))
            .await?;
            for table in [STAGE, FRESH, ORPHANS] {
                tx.execute(&format!("DROP TABLE {}", sql.own(table)))
                    .await?;
            }
        }
        if let Some(now) = now {
            watch.source = Seen::Transactions(now);
        }
        if let Seen::Transactions(target) = &mut watch.target {
            target.rows = (target.rows + inserted).saturating_sub(deleted);
            let ours = tx.rows("SELECT pg_current_xact_id()::xid::text").await?;
            watch.ours.extend(ours.into_iter().flatten().flatten());
        }
        self.enter_watch(tx, cx, &watch).await?;
        Ok(inserted + updated + deleted + restored)
    }

    /// Others wrote the same rows on both sides, each another way: neither may be lost.
    async fn refuse_conflicts(
        &self,
        tx: &mut Tx,
        sql: &LateSql<'_>,
        late: &Late,
    ) -> Result<(), Refused> {
        let Some(query) = sql.conflicts().filter(|_| late.target.written > 0) else {
            return Ok(());
        };
        let rows = fixed_rows(tx, &query).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let keys = &sql.sql.layout.conflict;
        let named = rows.iter().take(SHOWN).map(|row| {
            let pairs = keys.iter().zip(row);
            let pairs =
                pairs.map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("NULL")));
            format!("the row {} differs", pairs.collect::<Vec<_>>().join(", "))
        });
        Err(Refused::Because(
            format!(
                "{} rows were written by others both in {} and in {} after they had been copied",
                rows.len(),
                self.source,
                self.target
            ),
            named.collect(),
        ))
    }

    async fn find_orphans(
        &self,
        tx: &mut Tx,
        layout: &Layout,
        (sql, log): (&LateSql<'_>, Option<&str>),
        late: &Late,
    ) -> Result<(), Refused> {
        let told = log.is_some() || layout.target_was_empty || layout.since.is_some();
        let quarantined = self.totals(layout).await?.quarantined > 0;
        if late.source.missing > 0 && (!told || quarantined) {
            return Err(Refused::Because(
                format!(
                    "{} rows of {} were changed or deleted after they had been copied to {}",
                    late.source.missing, self.source, self.target
                ),
                vec!["rows of the target that existed before can't be identified".to_owned()],
            ));
        }
        let find = if late.source.missing == 0 && log.is_none() {
            // Nothing is gone: the table is only there.
            format!("{} AND false", sql.find_orphans(log))
        } else {
            sql.find_orphans(log)
        };
        tx.execute(&find).await?;
        Ok(())
    }

    /// Enters into the ledger what becomes of the rows of each range.
    async fn account(
        &self,
        tx: &mut Tx,
        layout: &Layout,
        sql: &LateSql<'_>,
    ) -> Result<Vec<Delta>, Refused> {
        let mut all = Vec::new();
        for entry in ledger::entries(&self.db, self.statements(layout)).await? {
            let delta = delta(tx, sql, &entry).await?;
            if layout.images == Images::All
                && delta.inserted > 0
                && let Some(note) = sql.note_fresh(entry.number, &entry.range)
            {
                fixed(tx, &note).await?;
            }
            tx.execute(&advance(sql, &entry, &delta)).await?;
            all.push(delta);
        }
        Ok(all)
    }
}

async fn delta(tx: &mut Tx, sql: &LateSql<'_>, entry: &Entry) -> Result<Delta, DbError> {
    let inserted = tx.count(&sql.count_within(FRESH, &entry.range)).await?;
    let orphans = tx.count(&sql.count_within(ORPHANS, &entry.range)).await?;
    let mut delta = Delta {
        inserted,
        deleted: orphans,
        ..Delta::default()
    };
    if orphans > 0 {
        let known = fixed_rows(tx, &sql.count_known_orphans(&entry.range)).await?;
        let number = |at: usize| -> u64 {
            let row = known.first().and_then(|row| row.get(at));
            row.and_then(Option::as_deref)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0)
        };
        delta.restored = (number(0), number(1));
        delta.deleted = orphans.saturating_sub(delta.restored.0 + delta.restored.1);
    }
    if inserted > 0 {
        let above = KeyRange {
            after: entry.position.clone().or_else(|| entry.range.after.clone()),
            ..entry.range.clone()
        };
        let keys = sql.sql.layout.keys(sql.sql.backend);
        let highest = tx.rows(&sql.highest_fresh(&above)).await?.pop();
        let key = highest.map(|row| keys.read(&row)).transpose();
        delta.highest =
            key.map_err(|why| DbError::new(migrate_schema::db::DbErrorKind::Other, why))?;
    }
    Ok(delta)
}

/// The range with what was done to it. Its sum is not that of what was written any more.
fn advance(sql: &LateSql<'_>, entry: &Entry, delta: &Delta) -> String {
    let position = match &delta.highest {
        Some(key) => format!(
            ", position = {}",
            migrate_schema::quote::literal(&key.json())
        ),
        None => String::new(),
    };
    let (updated, unchanged) = delta.restored;
    format!(
        "UPDATE {} SET sum0 = NULL, sum1 = NULL, rows_read = rows_read + {} - {}, inserted = inserted + {} - {}, \
         updated = updated - {updated}, unchanged = unchanged - {unchanged}{position} WHERE range = {}",
        sql.sql.ledger(),
        delta.inserted,
        delta.deleted + updated + unchanged,
        delta.inserted,
        delta.deleted,
        entry.number
    )
}
