//! Cuts the source into ranges by its key, leaving out what the ledger has.

use std::collections::HashMap;

use migrate_schema::db::{Database, DbError, DbErrorKind};

use crate::access;
use crate::keyset::{Key, KeyRange};
use crate::ledger::Entry;
use crate::statement::Statements;

/// Finds the ranges that are still to do, in the key's order.
pub(crate) struct Planner<'a> {
    db: &'a Database,
    sql: Statements<'a>,
    size: usize,
    /// Ranges that are done, by the bound below them.
    done: HashMap<Option<String>, Key>,
    last: Option<Key>,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(db: &'a Database, sql: Statements<'a>, size: usize, done: &[Entry]) -> Self {
        let bounds = done.iter().map(|entry| {
            (
                entry.range.after.as_ref().map(Key::json),
                entry.range.upto.clone(),
            )
        });
        Self {
            db,
            sql,
            size,
            done: bounds.collect(),
            last: None,
        }
    }

    /// The next range; none when the source ends.
    pub(crate) async fn next(&mut self) -> Result<Option<KeyRange>, DbError> {
        while let Some(upto) = self.done.remove(&self.last.as_ref().map(Key::json)) {
            self.last = Some(upto);
        }
        let Some(upto) = self.boundary().await? else {
            return Ok(None);
        };
        let after = self.last.replace(upto.clone());
        Ok(Some(KeyRange { after, upto }))
    }

    /// The last key of the batch above `last`. A gap ends where a range that is done begins:
    /// the bound below such a range is the key of the gap's last row.
    async fn boundary(&self) -> Result<Option<Key>, DbError> {
        let keys = self.sql.layout.keys(self.sql.backend);
        let query = if self.done.is_empty() {
            self.sql.boundary(self.last.as_ref(), self.size)
        } else {
            self.sql.keys_of_batch(self.last.as_ref(), self.size)
        };
        let mut end = None;
        for row in access::rows(self.db, &query).await? {
            let key = keys.read(&row).map_err(|why| {
                DbError::new(
                    DbErrorKind::Other,
                    format!("a key of {}: {why}", self.sql.layout.source),
                )
            })?;
            let known = self.done.contains_key(&Some(key.json()));
            end = Some(key);
            if known {
                break;
            }
        }
        Ok(end)
    }
}

/// The two halves of a range that has more than one row.
pub(crate) async fn halves(
    db: &Database,
    sql: Statements<'_>,
    range: &KeyRange,
    rows: u64,
) -> Result<Option<(KeyRange, KeyRange)>, DbError> {
    if rows < 2 {
        return Ok(None);
    }
    let half = usize::try_from(rows / 2).unwrap_or(usize::MAX);
    let found = access::rows(db, &sql.boundary(range.after.as_ref(), half)).await?;
    let Some(row) = found.first() else {
        return Ok(None);
    };
    let middle = sql
        .layout
        .keys(sql.backend)
        .read(row)
        .map_err(|why| DbError::new(DbErrorKind::Other, why))?;
    let upper = KeyRange {
        after: Some(middle.clone()),
        upto: range.upto.clone(),
    };
    Ok(Some((
        KeyRange {
            after: range.after.clone(),
            upto: middle,
        },
        upper,
    )))
}
