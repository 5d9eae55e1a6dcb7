//! What is done: one row for each range, advanced in the transaction of each of its batches.

use migrate_schema::db::{Database, DbError, DbErrorKind};
use migrate_schema::own;

use crate::access::{self, TextRow};
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
    /// They could not be moved, and are kept aside.
    pub quarantined: u64,
}

impl Counts {
    /// What became of all rows that were read.
    pub(crate) fn accounted(&self) -> u64 {
        self.inserted + self.updated + self.unchanged + self.quarantined
    }

    /// Rows that were moved, or found right.
    pub fn moved(&self) -> u64 {
        self.read - self.quarantined
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} rows read, {} inserted, {} updated, {} unchanged",
            self.read, self.inserted, self.updated, self.unchanged
        )?;
        if self.quarantined > 0 {
            write!(f, ", {} in quarantine", self.quarantined)?;
        }
        Ok(())
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.quarantined += other.quarantined;
    }
}

/// An order-independent sum of 128-bit row hashes: two sums of 64 bits each, as decimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowSum(pub(crate) String, pub(crate) String);

/// How far a range is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RangeState {
    /// Rows are left to be moved.
    Todo,
    /// All its rows are moved.
    Done,
    /// And were compared.
    Checked,
}

impl RangeState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Todo => "todo",
            Self::Done => "done",
            Self::Checked => "checked",
        }
    }

    fn of(name: &str) -> Result<Self, String> {
        [Self::Todo, Self::Done, Self::Checked]
            .into_iter()
            .find(|state| state.name() == name)
            .ok_or_else(|| format!("{name:?} is no state of a range"))
    }
}

/// A range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) number: i64,
    /// As it was planned.
    pub(crate) range: KeyRange,
    /// The last key that is done; none as long as nothing is.
    pub(crate) position: Option<Key>,
    pub(crate) state: RangeState,
    pub(crate) counts: Counts,
    /// The sum of the hashes of what was written, where they are kept.
    pub(crate) sum: Option<RowSum>,
}

impl Entry {
    /// The part that is done.
    pub(crate) fn done(&self) -> Option<KeyRange> {
        let upto = self.position.clone()?;
        Some(KeyRange {
            after: self.range.after.clone(),
            upto: Some(upto),
            except: self.range.except.clone(),
        })
    }

    /// The part that is left.
    pub(crate) fn rest(&self) -> KeyRange {
        KeyRange {
            after: self.position.clone().or_else(|| self.range.after.clone()),
            upto: self.range.upto.clone(),
            except: Vec::new(),
        }
    }
}

/// The columns of the ledger in the order in which [`entry`] reads them.
pub(crate) const COLUMNS: &str = "range, after_key, upto_key, position, state, rows_read, inserted, updated, unchanged, sum0, sum1, quarantined";

/// Whether a table of ours is there.
pub(crate) async fn exists(db: &Database, table: &str) -> Result<bool, DbError> {
    Ok(own::tables(db).await?.iter().any(|name| name == table))
}

/// All ranges, by number.
pub(crate) async fn entries(db: &Database, sql: Statements<'_>) -> Result<Vec<Entry>, DbError> {
    let query = format!("SELECT {COLUMNS} FROM {} ORDER BY range", sql.ledger());
    let rows = access::rows(db, &query).await?;
    rows.iter().map(|row| read(row, &sql.ledger())).collect()
}

/// A row of the ledger.
pub(crate) fn read(row: &TextRow, ledger: &str) -> Result<Entry, DbError> {
    entry(row).map_err(|why| {
        DbError::new(
            DbErrorKind::Other,
            format!("the ledger {ledger} can't be read: {why}"),
        )
    })
}

fn entry(row: &[Option<String>]) -> Result<Entry, String> {
    let text = |at: usize| row.get(at).and_then(Option::as_deref);
    let number = |at: usize| -> Result<u64, String> {
        let text = text(at).ok_or("a number is NULL")?;
        text.parse().map_err(|_| format!("{text:?} is no number"))
    };
    let key = |at: usize| text(at).map(Key::from_json).transpose();
    let sum = text(9).zip(text(10));
    Ok(Entry {
        number: i64::try_from(number(0)?).map_err(|error| error.to_string())?,
        range: KeyRange {
            after: key(1)?,
            upto: key(2)?,
            except: Vec::new(),
        },
        position: key(3)?,
        state: RangeState::of(text(4).unwrap_or_default())?,
        counts: Counts {
            read: number(5)?,
            inserted: number(6)?,
            updated: number(7)?,
            unchanged: number(8)?,
            quarantined: number(11)?,
        },
        sum: sum.map(|(a, b)| RowSum(a.to_owned(), b.to_owned())),
    })
}
