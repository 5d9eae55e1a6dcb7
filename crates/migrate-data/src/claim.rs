//! Who works on which range: claims with leases, in statements that any process can run.
//!
//! A range belongs to a worker until its lease runs out. Every batch's transaction locks the
//! range's row first and renews the lease with what it did, so that a worker is never robbed
//! inside a transaction, and one that lost its range finds no row to lock and writes nothing.

use migrate_schema::db::{Backend, Database, DbError};
use migrate_schema::quote::literal;

use crate::access::Tx;
use crate::keyset::{Key, KeyRange};
use crate::ledger::{self, COLUMNS, Counts, Entry, RangeState, RowSum};
use crate::statement::Statements;

/// How long a worker may go without a commit before another may take its range, in seconds.
const LEASE: u32 = 5;

/// What a batch's transaction enters into its range's row.
pub(crate) struct Advance<'a> {
    pub(crate) number: i64,
    pub(crate) owner: &'a str,
    /// The last key that was written; none where there was no row left.
    pub(crate) position: Option<&'a Key>,
    pub(crate) counts: Counts,
    pub(crate) sum: Option<RowSum>,
    /// Whether the range ends here.
    pub(crate) state: RangeState,
}

impl Statements<'_> {
    fn moment(&self) -> (&'static str, String) {
        match self.backend {
            Backend::Postgres => ("now()", format!("now() + interval '{LEASE} seconds'")),
            Backend::Sqlite => ("unixepoch()", format!("unixepoch() + {LEASE}")),
        }
    }

    /// Takes the first range of a state that nobody works on.
    pub(crate) fn claim(&self, state: RangeState, owner: &str) -> String {
        let (now, until) = self.moment();
        let skip = match self.backend {
            Backend::Postgres => " FOR UPDATE SKIP LOCKED",
            Backend::Sqlite => "",
        };
        let (ledger, state) = (self.ledger(), state.name());
        format!(
            "UPDATE {ledger} SET owner = {}, lease = {until} WHERE range = (SELECT range FROM {ledger} \
             WHERE state = '{state}' AND (owner IS NULL OR lease < {now}) ORDER BY range LIMIT 1{skip}) RETURNING {COLUMNS}",
            literal(owner)
        )
    }

    /// Locks a range that a worker holds; gives a row only if it still does.
    pub(crate) fn hold(&self, number: i64, owner: &str) -> String {
        let lock = match self.backend {
            Backend::Postgres => " FOR UPDATE",
            Backend::Sqlite => "",
        };
        format!(
            "SELECT 1 FROM {} WHERE range = {number} AND owner = {}{lock}",
            self.ledger(),
            literal(owner)
        )
    }

    /// Enters what a batch did.
    pub(crate) fn advance(&self, to: &Advance<'_>) -> String {
        let (_, until) = self.moment();
        let counts = &to.counts;
        let mut sets = vec![
            format!("rows_read = rows_read + {}", counts.read),
            format!("inserted = inserted + {}", counts.inserted),
            format!("updated = updated + {}", counts.updated),
            format!("unchanged = unchanged + {}", counts.unchanged),
            format!("quarantined = quarantined + {}", counts.quarantined),
            format!("state = '{}'", to.state.name()),
        ];
        if let Some(position) = to.position {
            sets.push(format!("position = {}", literal(&position.json())));
            sets.push("batches = batches + 1".to_owned());
        }
        if let Some(RowSum(low, high)) = &to.sum {
            sets.push(format!("sum0 = coalesce(sum0, 0) + {low}"));
            sets.push(format!("sum1 = coalesce(sum1, 0) + {high}"));
        }
        sets.extend(self.enter_writer().map(str::to_owned));
        sets.push(match to.state {
            RangeState::Todo => format!("lease = {until}"),
            RangeState::Done | RangeState::Checked => "owner = NULL, lease = NULL".to_owned(),
        });
        format!(
            "UPDATE {} SET {} WHERE range = {} AND owner = {}",
            self.ledger(),
            sets.join(", "),
            to.number,
            literal(to.owner)
        )
    }

    /// Gives back what a worker holds.
    pub(crate) fn release(&self, owner: &str) -> String {
        format!(
            "UPDATE {} SET owner = NULL, lease = NULL WHERE owner = {}",
            self.ledger(),
            literal(owner)
        )
    }

    /// Gives back what everybody holds: for the run itself, whose fence stopped all others.
    pub(crate) fn release_all(&self) -> String {
        format!(
            "UPDATE {} SET owner = NULL, lease = NULL WHERE owner IS NOT NULL",
            self.ledger()
        )
    }

    /// Who holds ranges, and of which state, as long as the lease lasts.
    pub(crate) fn holders(&self) -> String {
        let (now, _) = self.moment();
        format!(
            "SELECT owner, state FROM {} WHERE owner IS NOT NULL AND lease >= {now} ORDER BY owner",
            self.ledger()
        )
    }

    /// Puts ranges of a state back into another.
    pub(crate) fn set_back(&self, from: RangeState, to: RangeState) -> String {
        format!(
            "UPDATE {} SET state = '{}', owner = NULL, lease = NULL WHERE state = '{}'",
            self.ledger(),
            to.name(),
            from.name()
        )
    }

    /// How many ranges are in a state.
    pub(crate) fn count_ranges(&self, state: RangeState) -> String {
        format!(
            "SELECT count(*) FROM {} WHERE state = '{}'",
            self.ledger(),
            state.name()
        )
    }

    /// Enters planned ranges; those that are there stay as they are.
    pub(crate) fn enter(&self, ranges: &[(i64, KeyRange)]) -> String {
        let key = |key: &Option<Key>| {
            key.as_ref()
                .map_or_else(|| "NULL".to_owned(), |key| literal(&key.json()))
        };
        let rows = ranges.iter().map(|(number, range)| {
            format!("({number}, {}, {})", key(&range.after), key(&range.upto))
        });
        format!(
            "INSERT INTO {} (range, after_key, upto_key) VALUES {} ON CONFLICT (range) DO NOTHING",
            self.ledger(),
            rows.collect::<Vec<_>>().join(", ")
        )
    }
}

/// Takes a range of a state for a worker, in a transaction of its own.
pub(crate) async fn claim(
    db: &Database,
    sql: Statements<'_>,
    state: RangeState,
    owner: &str,
) -> Result<Option<Entry>, DbError> {
    let mut tx = Tx::begin(db).await?;
    let found = tx.rows(&sql.claim(state, owner)).await?;
    tx.commit().await?;
    found
        .first()
        .map(|row| ledger::read(row, &sql.ledger()))
        .transpose()
}

/// Gives back what a worker holds.
pub(crate) async fn release(
    db: &Database,
    sql: Statements<'_>,
    owner: &str,
) -> Result<(), DbError> {
    let mut tx = Tx::begin(db).await?;
    tx.execute(&sql.release(owner)).await?;
    tx.commit().await
}
