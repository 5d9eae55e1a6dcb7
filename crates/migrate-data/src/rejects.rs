//! Rows in quarantine: kept in a table of ours, with the reason, until the user drops them.
//!
//! They outlive the copy's ledger, and also the copy itself when it is taken back: whoever has to
//! mend them reads them here.

use migrate_schema::db::{Backend, Database, DbError, DbErrorKind};
use migrate_schema::own::{self, REJECTS, UNSEEN};
use migrate_schema::quote::{ident, literal};
use serde::Serialize;

use crate::access::{self, Tx};
use crate::keyset::{Key, KeyRange};
use crate::layout::Layout;
use crate::ledger::{self, Entry};
use crate::range::{RangeError, RangeWriter};
use crate::statement::Statements;

/// A row that could not be moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reject {
    /// The run that met it.
    pub run: String,
    /// The step of that run.
    pub step: String,
    /// The table that it stands in.
    pub source: String,
    /// The table that it could not be moved into.
    pub target: String,
    /// Its key, as people read it.
    pub key: String,
    /// Why it could not be moved.
    pub reason: String,
    /// The row as JSON; bytes are hexadecimal digits.
    pub row: String,
    /// Whether the copy was taken back since, so that no row of it was moved.
    pub taken_back: bool,
}

/// What is entered for a row.
pub(crate) struct Put<'a> {
    pub(crate) number: i64,
    pub(crate) key: &'a Key,
    pub(crate) reason: &'a str,
    pub(crate) row: &'a str,
}

/// The statement that creates their table. Idempotent.
pub(crate) fn create(backend: Backend) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (run text NOT NULL, step text NOT NULL, key text NOT NULL, range bigint NOT NULL, \
         source text NOT NULL, target text NOT NULL, named text NOT NULL, reason text NOT NULL, row text NOT NULL, \
         state text NOT NULL, PRIMARY KEY (run, step, key))",
        own::name(backend, REJECTS)
    )
}

impl Statements<'_> {
    fn rejects(&self) -> String {
        own::name(self.backend, REJECTS)
    }

    fn of_this_copy(&self) -> String {
        let Layout { run, step, .. } = self.layout;
        format!("run = {} AND step = {}", literal(run), literal(step))
    }

    /// Makes every other worker of the copy wait, so that what is kept aside is counted over all.
    pub(crate) fn hold_budget(&self) -> Option<String> {
        let copies = own::name(self.backend, "copies");
        match self.backend {
            Backend::Postgres => Some(format!(
                "SELECT 1 FROM {copies} WHERE {} FOR UPDATE",
                self.of_this_copy()
            )),
            // It has one writer.
            Backend::Sqlite => None,
        }
    }

    /// How many rows of the copy are kept aside, by the ledger.
    pub(crate) fn count_quarantined(&self) -> String {
        format!(
            "SELECT coalesce(sum(quarantined), 0) FROM {}",
            self.ledger()
        )
    }

    /// Enters a row. One that an earlier attempt entered is entered anew.
    pub(crate) fn put_aside(&self, put: &Put<'_>) -> String {
        let layout = self.layout;
        let values = [
            layout.run.as_str(),
            &layout.step,
            &put.key.json(),
            &layout.source,
            &layout.target,
            &put.key.named(&layout.key),
            put.reason,
            put.row,
            "aside",
        ]
        .map(literal)
        .join(", ");
        format!(
            "INSERT INTO {} (run, step, key, source, target, named, reason, row, state, range) VALUES ({values}, {}) \
             ON CONFLICT (run, step, key) DO UPDATE SET reason = excluded.reason, row = excluded.row, \
             state = excluded.state, range = excluded.range",
            self.rejects(),
            put.number
        )
    }

    /// Notes that a range was taken back.
    pub(crate) fn rejects_taken_back(&self, number: i64) -> String {
        format!(
            "UPDATE {} SET state = 'taken back' WHERE {} AND range = {number}",
            self.rejects(),
            self.of_this_copy()
        )
    }

    /// The keys of rows that are kept aside, of a range or of all.
    fn reject_keys(&self, number: Option<i64>) -> String {
        let range = number.map_or(String::new(), |number| format!(" AND range = {number}"));
        format!(
            "SELECT key FROM {} WHERE {} AND state <> 'taken back'{range} ORDER BY range, key",
            self.rejects(),
            self.of_this_copy()
        )
    }

    /// The key of the only row of a range, and the row as JSON.
    pub(crate) fn whole_row(
        &self,
        range: &KeyRange,
        columns: &[crate::cells::SourceColumn],
    ) -> String {
        let keys = self.layout.keys(self.backend);
        let row = match self.backend {
            Backend::Postgres => "pg_catalog.row_to_json(src)::text".to_owned(),
            Backend::Sqlite => {
                let pairs = columns.iter().map(|column| {
                    let name = ident(&column.name);
                    format!(
                        "{}, CASE typeof({name}) WHEN 'blob' THEN hex({name}) ELSE {name} END",
                        literal(&column.name)
                    )
                });
                format!("json_object({})", pairs.collect::<Vec<_>>().join(", "))
            }
        };
        format!(
            "SELECT {}, {row} FROM {} AS src WHERE {} LIMIT 2",
            keys.selection(),
            self.layout.source_sql(),
            keys.within(range)
        )
    }
}

impl RangeWriter {
    /// The keys of the copy's rows that are kept aside.
    pub(crate) async fn rejected_keys(&self, number: Option<i64>) -> Result<Vec<Key>, DbError> {
        if self.layout.reject_budget.is_none() {
            return Ok(Vec::new());
        }
        read_keys(&access::rows(&self.db, &self.sql().reject_keys(number)).await?)
    }

    /// A range without its rows that are kept aside: the transform can't be asked for those.
    pub(crate) async fn but_rejects(&self, entry: &Entry) -> Result<Entry, RangeError> {
        let mut entry = entry.clone();
        if entry.counts.quarantined > 0 {
            entry.range.except = self.rejected_keys(Some(entry.number)).await?;
        }
        Ok(entry)
    }
}

fn read_keys(rows: &[access::TextRow]) -> Result<Vec<Key>, DbError> {
    let read = |row: &access::TextRow| {
        let text = row.first().and_then(Option::as_deref).unwrap_or_default();
        Key::from_json(text).map_err(|why| DbError::new(DbErrorKind::Other, why))
    };
    rows.iter().map(read).collect()
}

/// The keys of rows that any copy between two tables left in quarantine.
pub(crate) async fn keys_between(
    db: &Database,
    source: &str,
    target: &str,
) -> Result<Vec<Key>, DbError> {
    if !ledger::exists(db, REJECTS).await? {
        return Ok(Vec::new());
    }
    let query = format!(
        "SELECT DISTINCT key FROM {} WHERE source = {} AND target = {} AND state = 'aside' ORDER BY key",
        own::name(db.backend(), REJECTS),
        literal(source),
        literal(target)
    );
    read_keys(&access::rows(db, &query).await?)
}

/// Whether anything of ours but rows in quarantine is there.
pub(crate) async fn others_are_there(db: &Database) -> Result<bool, DbError> {
    Ok(own::tables(db).await?.iter().any(|name| name != REJECTS))
}

fn seen(run: Option<&str>) -> String {
    let of_run = run.map_or(String::new(), |run| format!(" AND run = {}", literal(run)));
    format!("state <> '{UNSEEN}'{of_run}")
}

/// The rows in quarantine, or those of a run. Read-only.
///
/// # Errors
/// What the database says.
pub async fn rejects(db: &Database, run: Option<&str>) -> Result<Vec<Reject>, DbError> {
    if !ledger::exists(db, REJECTS).await? {
        return Ok(Vec::new());
    }
    let query = format!(
        "SELECT run, step, source, target, named, reason, row, state FROM {} WHERE {} ORDER BY run, step, range, key",
        own::name(db.backend(), REJECTS),
        seen(run)
    );
    let read = |row: access::TextRow| {
        let mut cells = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || cells.next().unwrap_or_default();
        Reject {
            run: next(),
            step: next(),
            source: next(),
            target: next(),
            key: next(),
            reason: next(),
            row: next(),
            taken_back: next() == "taken back",
        }
    };
    Ok(access::rows(db, &query)
        .await?
        .into_iter()
        .map(read)
        .collect())
}

/// Drops rows that are in quarantine, or those of a run; how many that were. The rows of the
/// source stay as they are. Of a copy that can still be taken back the keys stay, unseen, for that.
///
/// # Errors
/// A copy is at work; what the database says.
pub async fn drop_rejects(db: &Database, run: Option<&str>) -> Result<u64, DbError> {
    if !ledger::exists(db, REJECTS).await? {
        return Ok(0);
    }
    let begun = crate::spec::begun(db, run).await?;
    if let Some(copy) = begun.iter().find(|copy| !copy.finished) {
        let why = format!("the copy of run {} is not at its end", copy.run);
        return Err(DbError::new(DbErrorKind::Other, why)
            .hint("`data status` shows how far it is; go on with it, or take it back, first"));
    }
    let seen = rejects(db, run).await?.len() as u64;
    let table = own::name(db.backend(), REJECTS);
    let needed = begun.iter().map(|copy| {
        let names = format!("({}, {})", literal(&copy.run), literal(&copy.step));
        format!(" AND (run, step) <> {names}")
    });
    let needed: String = needed.collect();
    let within = run.map_or("true".to_owned(), |run| format!("run = {}", literal(run)));
    let mut tx = Tx::begin(db).await?;
    tx.execute(&format!(
        "DELETE FROM {table} WHERE {within} AND (state = 'taken back' OR (true{needed}))"
    ))
    .await?;
    tx.execute(&format!(
        "UPDATE {table} SET state = '{UNSEEN}', reason = '', row = '' WHERE {within}"
    ))
    .await?;
    if tx.count(&format!("SELECT count(*) FROM {table}")).await? == 0 {
        tx.execute(&format!("DROP TABLE {table}")).await?;
    }
    tx.commit().await?;
    if !own::exists(db).await? {
        // The schema goes too.
        own::drop_all(db).await?;
    }
    Ok(seen)
}

/// Removes what was kept of dropped rows for the sake of a copy that is forgotten now.
pub(crate) async fn forget_unseen(
    db: &Database,
    tx: &mut Tx,
    (run, step): (&str, &str),
) -> Result<(), DbError> {
    if ledger::exists(db, REJECTS).await? {
        tx.execute(&format!(
            "DELETE FROM {} WHERE run = {} AND step = {} AND state = '{UNSEEN}'",
            own::name(db.backend(), REJECTS),
            literal(run),
            literal(step)
        ))
        .await?;
    }
    Ok(())
}
