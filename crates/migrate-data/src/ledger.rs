//! What is done: one row for each range, written in the range's own transaction.

use migrate_schema::db::{Database, DbError, DbErrorKind};
use migrate_schema::own;

use crate::access;
use crate::keyset::{Key, KeyRange};
use crate::statement::Statements;

/// What became of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Read from the source.
    pub read: u64,
    /// Inserted into the target.
    pub inserted: u64,
    /// There before, and changed.
    pub updated: u64,
    /// There before, and right.
    pub unchanged: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
    }
}

/// A range that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) number: i64,
    pub(crate) range: KeyRange,
    pub(crate) counts: Counts,
}

/// Whether a table of ours is there.
pub(crate) async fn exists(db: &Database, table: &str) -> Result<bool, DbError> {
    Ok(own::tables(db).await?.iter().any(|name| name == table))
}

/// All ranges that are done, by number.
pub(crate) async fn entries(db: &Database, sql: Statements<'_>) -> Result<Vec<Entry>, DbError> {
    let query = format!(
        "SELECT range, after_key, upto_key, rows_read, inserted, updated, unchanged FROM {} ORDER BY range",
        sql.ledger()
    );
    access::rows(db, &query)
        .await?
        .iter()
        .map(|row| {
            entry(row).map_err(|why| {
                DbError::new(
                    DbErrorKind::Other,
                    format!("the ledger {} can't be read: {why}", sql.ledger()),
                )
            })
        })
        .collect()
}

fn entry(row: &[Option<String>]) -> Result<Entry, String> {
    let number = |at: usize| -> Result<u64, String> {
        let text = row[at].as_deref().ok_or("a number is NULL")?;
        text.parse().map_err(|_| format!("{text:?} is no number"))
    };
    Ok(Entry {
        number: i64::try_from(number(0)?).map_err(|error| error.to_string())?,
        range: KeyRange {
            after: row[1].as_deref().map(Key::from_json).transpose()?,
            upto: Key::from_json(row[2].as_deref().ok_or("a key is NULL")?)?,
        },
        counts: Counts {
            read: number(3)?,
            inserted: number(4)?,
            updated: number(5)?,
            unchanged: number(6)?,
        },
    })
}
