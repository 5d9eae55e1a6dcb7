//! How rows that others wrote after a copy are told from those that it read and wrote.
//!
//! PostgreSQL keeps with each row the transaction that wrote it: rows of transactions that were
//! not done when the copy was compared are later ones. SQLite keeps nothing, so triggers of our own
//! enter the keys of changed rows into a table of our own. Where neither is to be had (a view, a
//! source in a file elsewhere) number and sum of the rows say whether anything changed.

use migrate_core::{StepContext, StepError};
use migrate_schema::db::{Backend, Database, DbError};
use migrate_schema::fingerprint;
use migrate_schema::own;
use migrate_schema::quote::{TableName, ident, literal};
use serde::{Deserialize, Serialize};

use crate::access::{self, Tx};
use crate::copy::TableCopy;
use crate::layout::Layout;

/// What is known of a copy's tables since it was compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watch {
    pub(crate) source: Seen,
    pub(crate) target: Seen,
    /// Transactions of the run's own that brought rows over since; PostgreSQL.
    #[serde(default)]
    pub(crate) ours: Vec<String>,
    #[serde(default)]
    pub(crate) brought: Brought,
    /// Where a step of the run that changes the tables began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) paused: Option<(Moment, Moment)>,
}

impl Watch {
    /// The condition for rows `alias` of a side that others wrote since; none where rows are not
    /// told one by one.
    pub(crate) fn written_late(
        &self,
        layout: &Layout,
        (side, alias): (Side, &str),
    ) -> Option<String> {
        match self.seen(side) {
            Seen::Transactions(seen) => Some(seen.written(alias, &self.ours)),
            Seen::Logged => {
                let log = own::name(Backend::Sqlite, &log_name(layout));
                let keys = layout.conflict.iter().enumerate();
                let same = keys.map(|(at, name)| format!(" AND {alias}.{} = l.k{at}", ident(name)));
                Some(format!(
                    "EXISTS (SELECT 1 FROM {log} AS l WHERE l.side = '{}'{})",
                    side.name(),
                    same.collect::<String>()
                ))
            }
            Seen::Sum(_) => None,
        }
    }

    pub(crate) fn seen(&self, side: Side) -> &Seen {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }
}

/// Rows of the source that were brought over since.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Brought {
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    pub(crate) deleted: u64,
}

/// How later rows of a table are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Seen {
    /// By the transactions that wrote them.
    Transactions(Transactions),
    /// By the keys that triggers enter.
    Logged,
    /// Not one by one.
    Sum(String),
}

/// A table of PostgreSQL at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transactions {
    /// The table, whatever its name is by now.
    oid: String,
    at: Moment,
    /// How many rows it had.
    pub(crate) rows: u64,
    /// Between which moments steps of the run changed it.
    #[serde(default)]
    own: Vec<(Moment, Moment)>,
}

/// Which transactions were done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// The next one to begin; on SQLite the last entry of the log.
    pub(crate) next: String,
    /// Those before it that were not done.
    #[serde(default)]
    pub(crate) running: Vec<String>,
}

/// Which of a copy's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Target,
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Source => "s",
            Self::Target => "t",
        }
    }
}

/// The condition for the rows `alias` of PostgreSQL that are younger than a moment.
fn younger(alias: &str, than: &Moment) -> String {
    let running: Vec<String> = than.running.iter().map(|id| literal(id)).collect();
    let running = if running.is_empty() {
        String::new()
    } else {
        format!(" OR {alias}.xmin::text IN ({})", running.join(", "))
    };
    format!(
        "(age({alias}.xmin) <= age({}::xid){running})",
        literal(&than.next)
    )
}

impl Transactions {
    fn written(&self, alias: &str, ours: &[String]) -> String {
        let mut all = vec![younger(alias, &self.at)];
        if !ours.is_empty() {
            let ours: Vec<String> = ours.iter().map(|id| literal(id)).collect();
            all.push(format!("{alias}.xmin::text NOT IN ({})", ours.join(", ")));
        }
        for (from, to) in &self.own {
            all.push(format!(
                "NOT ({} AND NOT {})",
                younger(alias, from),
                younger(alias, to)
            ));
        }
        format!("({})", all.join(" AND "))
    }
}

/// The table of the log, without schema or prefix.
pub(crate) fn log_name(layout: &Layout) -> String {
    layout.ledger.replacen("ledger_", "late_", 1)
}

pub(crate) fn marker(step: &str) -> String {
    format!("{step} watched")
}

impl TableCopy {
    pub(crate) fn table_of(&self, side: Side) -> (&Database, &TableName) {
        match side {
            Side::Source => (self.at_source(), &self.source),
            Side::Target => (&self.db, &self.target),
        }
    }

    /// What stands in the database of the watch; none where nobody looks.
    pub(crate) async fn watch(&self, cx: &StepContext) -> Result<Option<Watch>, DbError> {
        let payload = own::marker(&self.db, cx.run.as_str(), &marker(cx.step.as_str())).await?;
        Ok(payload.and_then(|payload| serde_json::from_str(&payload).ok()))
    }

    /// Looks from now on at what others write. Called when all rows are written and before they
    /// are compared, so that whatever is written is met by one or the other. Idempotent.
    pub(crate) async fn begin_watch(
        &self,
        cx: &StepContext,
        layout: &Layout,
    ) -> Result<(), DbError> {
        let watch = Watch {
            target: self.begin_side(layout, Side::Target).await?,
            source: self.begin_side(layout, Side::Source).await?,
            ours: Vec::new(),
            brought: Brought::default(),
            paused: None,
        };
        let mut tx = Tx::begin(&self.db).await?;
        self.enter_watch(&mut tx, cx, &watch).await?;
        tx.commit().await
    }

    pub(crate) async fn enter_watch(
        &self,
        tx: &mut Tx,
        cx: &StepContext,
        watch: &Watch,
    ) -> Result<(), DbError> {
        let payload = serde_json::to_string(watch).expect("names and numbers are JSON");
        tx.set_marker(cx.run.as_str(), &marker(cx.step.as_str()), &payload)
            .await
    }

    async fn begin_side(&self, layout: &Layout, side: Side) -> Result<Seen, DbError> {
        let (db, table) = self.table_of(side);
        match db.backend() {
            Backend::Postgres => match transactions(db, table).await? {
                Some(seen) => Ok(Seen::Transactions(seen)),
                None => Ok(Seen::Sum(sum(db, table).await?)),
            },
            Backend::Sqlite => {
                let ours = side == Side::Target || self.elsewhere.is_none();
                if ours && layout.same_key && self.begin_log(layout, side).await? {
                    Ok(Seen::Logged)
                } else {
                    Ok(Seen::Sum(sum(db, table).await?))
                }
            }
        }
    }

    /// Makes the log and a side's triggers anew; says whether the table can have any.
    async fn begin_log(&self, layout: &Layout, side: Side) -> Result<bool, DbError> {
        let (_, table) = self.table_of(side);
        let plain = format!(
            "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND lower(name) = lower({}) AND type = 'table'",
            literal(table.table())
        );
        let mut tx = Tx::begin(&self.db).await?;
        if tx.count(&plain).await? == 0 {
            tx.rollback().await?;
            return Ok(false);
        }
        let log = own::name(Backend::Sqlite, &log_name(layout));
        let keys: Vec<String> = (0..layout.conflict.len())
            .map(|at| format!("k{at}"))
            .collect();
        let keys = keys.join(", ");
        tx.execute(&format!(
            "CREATE TABLE IF NOT EXISTS {log} (id INTEGER PRIMARY KEY, side text NOT NULL, {keys})"
        ))
        .await?;
        let index = own::name(Backend::Sqlite, &format!("{}_keys", log_name(layout)));
        tx.execute(&format!(
            "CREATE INDEX IF NOT EXISTS {index} ON {log} (side, {keys})"
        ))
        .await?;
        tx.execute(&format!("DELETE FROM {log} WHERE side = '{}'", side.name()))
            .await?;
        for (event, rows) in [
            ("INSERT", &["NEW"][..]),
            ("UPDATE", &["OLD", "NEW"]),
            ("DELETE", &["OLD"]),
        ] {
            let trigger = trigger(layout, side, event);
            tx.execute(&format!("DROP TRIGGER IF EXISTS {trigger}"))
                .await?;
            let enter = rows.iter().map(|row| {
                let values = layout
                    .conflict
                    .iter()
                    .map(|name| format!("{row}.{}", ident(name)));
                let values = values.collect::<Vec<_>>().join(", ");
                format!(
                    "INSERT INTO {log} (side, {keys}) VALUES ('{}', {values}); ",
                    side.name()
                )
            });
            tx.execute(&format!(
                "CREATE TRIGGER {trigger} AFTER {event} ON {} BEGIN {}END",
                table.sql(),
                enter.collect::<String>()
            ))
            .await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Removes triggers, log and marker. Idempotent.
    pub(crate) async fn end_watch(&self, cx: &StepContext, layout: &Layout) -> Result<(), DbError> {
        if !crate::ledger::exists(&self.db, "markers").await? {
            return Ok(());
        }
        let mut tx = Tx::begin(&self.db).await?;
        if self.db.backend() == Backend::Sqlite {
            for side in [Side::Source, Side::Target] {
                for event in ["INSERT", "UPDATE", "DELETE"] {
                    let trigger = trigger(layout, side, event);
                    tx.execute(&format!("DROP TRIGGER IF EXISTS {trigger}"))
                        .await?;
                }
            }
            let log = own::name(Backend::Sqlite, &log_name(layout));
            tx.execute(&format!("DROP TABLE IF EXISTS {log}")).await?;
        }
        tx.clear_marker(cx.run.as_str(), &marker(cx.step.as_str()))
            .await?;
        tx.commit().await
    }

    /// Notes where a step of the run begins that changes the tables.
    pub(crate) async fn pause_watch(
        &self,
        cx: &StepContext,
        layout: &Layout,
        mut watch: Watch,
    ) -> Result<(), DbError> {
        let source = self.moment(layout, &watch, Side::Source).await?;
        let target = self.moment(layout, &watch, Side::Target).await?;
        watch.paused = Some((source, target));
        let mut tx = Tx::begin(&self.db).await?;
        self.enter_watch(&mut tx, cx, &watch).await?;
        tx.commit().await
    }

    /// Takes what was written since the pause for the run's own. A table that is not the same any
    /// more is looked at no longer.
    pub(crate) async fn resume_watch(
        &self,
        cx: &StepContext,
        layout: &Layout,
    ) -> Result<(), DbError> {
        let Some(mut watch) = self.watch(cx).await? else {
            return Ok(());
        };
        let Some((source, target)) = watch.paused.take() else {
            return Ok(());
        };
        let there = self
            .resume_side(layout, &mut watch, (Side::Source, source))
            .await?
            && self
                .resume_side(layout, &mut watch, (Side::Target, target))
                .await?;
        if !there {
            return self.end_watch(cx, layout).await;
        }
        let mut tx = Tx::begin(&self.db).await?;
        self.enter_watch(&mut tx, cx, &watch).await?;
        tx.commit().await
    }

    async fn resume_side(
        &self,
        layout: &Layout,
        watch: &mut Watch,
        (side, from): (Side, Moment),
    ) -> Result<bool, DbError> {
        let (db, table) = self.table_of(side);
        let (db, table) = (db.clone(), table.clone());
        let ours = watch.ours.clone();
        let seen = match side {
            Side::Source => &mut watch.source,
            Side::Target => &mut watch.target,
        };
        match seen {
            Seen::Transactions(seen) => {
                let Some(now) = transactions(&db, &table).await? else {
                    return Ok(false);
                };
                if now.oid != seen.oid {
                    return Ok(false);
                }
                seen.own.push((from, now.at));
                let written = seen.written("t", &ours);
                let count = format!(
                    "SELECT count(*) FROM {} AS t WHERE NOT {written}",
                    table.sql()
                );
                seen.rows = access::count(&db, &count).await?;
            }
            Seen::Logged => {
                let triggers = format!(
                    "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower({}) AND name = {}",
                    literal(table.table()),
                    literal(&trigger_name(layout, side, "INSERT"))
                );
                if access::count(&db, &triggers).await? == 0 {
                    return Ok(false);
                }
                let log = own::name(Backend::Sqlite, &log_name(layout));
                let mut tx = Tx::begin(&db).await?;
                tx.execute(&format!(
                    "DELETE FROM {log} WHERE side = '{}' AND id > {}",
                    side.name(),
                    from.next
                ))
                .await?;
                tx.commit().await?;
            }
            Seen::Sum(then) => match sum(&db, &table).await {
                Ok(now) => *then = now,
                Err(_) => return Ok(false),
            },
        }
        Ok(true)
    }

    async fn moment(&self, layout: &Layout, watch: &Watch, side: Side) -> Result<Moment, DbError> {
        match watch.seen(side) {
            Seen::Transactions(_) => {
                let query = format!("SELECT {MOMENT}");
                moment_of(access::rows(self.table_of(side).0, &query).await?.pop())
            }
            Seen::Logged => {
                let log = own::name(Backend::Sqlite, &log_name(layout));
                let last = access::count(&self.db, &format!("SELECT max(id) FROM {log}")).await?;
                Ok(Moment {
                    next: last.to_string(),
                    running: Vec::new(),
                })
            }
            Seen::Sum(_) => Ok(Moment::default()),
        }
    }
}

fn trigger(layout: &Layout, side: Side, event: &str) -> String {
    ident(&trigger_name(layout, side, event))
}

fn trigger_name(layout: &Layout, side: Side, event: &str) -> String {
    let name = format!("{}{}", own::SQLITE_PREFIX, log_name(layout));
    format!("{name}_{}_{}", side.name(), event.to_lowercase())
}

/// The moment of a statement's snapshot.
const MOMENT: &str = "pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::xid::text, \
     (SELECT pg_catalog.string_agg(x::xid::text, ',') FROM pg_catalog.pg_snapshot_xip(pg_catalog.pg_current_snapshot()) AS x)";

fn moment_of(row: Option<access::TextRow>) -> Result<Moment, DbError> {
    let mut row = row.unwrap_or_default().into_iter();
    let next = row.next().flatten().ok_or_else(|| {
        DbError::new(
            migrate_schema::db::DbErrorKind::Other,
            "the server returned no snapshot",
        )
    })?;
    let running = row.next().flatten().unwrap_or_default();
    Ok(Moment {
        next,
        running: running
            .split(',')
            .filter(|id| !id.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}

/// A table of PostgreSQL whose rows know their transactions, as it is now.
pub(crate) async fn transactions(
    db: &Database,
    table: &TableName,
) -> Result<Option<Transactions>, DbError> {
    let name = literal(&table.sql());
    let query = format!(
        "SELECT c.oid::text FROM pg_class AS c WHERE c.oid = pg_catalog.to_regclass({name})::oid AND c.relkind IN ('r', 'p') \
         AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_partition_tree(c.oid::regclass) AS p JOIN pg_class AS f ON f.oid = p.relid::oid WHERE f.relkind = 'f')"
    );
    let oid = access::rows(db, &query).await?.pop();
    let Some(oid) = oid.and_then(|mut row| row.pop().flatten()) else {
        return Ok(None);
    };
    // One statement, so that both are of one snapshot.
    let query = format!(
        "SELECT {MOMENT}, (SELECT count(*) FROM {})::text",
        table.sql()
    );
    let mut row = access::rows(db, &query).await?.pop().unwrap_or_default();
    let rows = row.pop().flatten().and_then(|rows| rows.parse().ok());
    Ok(Some(Transactions {
        oid,
        at: moment_of(Some(row))?,
        rows: rows.unwrap_or(0),
        own: Vec::new(),
    }))
}

/// Number and sum of a table's rows.
pub(crate) async fn sum(db: &Database, table: &TableName) -> Result<String, DbError> {
    Ok(fingerprint::table(db, table).await?.to_string())
}

/// What fails to be looked at.
pub(crate) fn unseen(copy: &TableCopy, error: DbError) -> StepError {
    error.into_step_error(format!(
        "can't look for rows that others wrote to {} and {}",
        copy.source, copy.target
    ))
}
