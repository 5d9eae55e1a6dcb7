//! Two batches that give the same key into a table that had rows before.
//!
//! Into an empty table the second finds the key there. In one with rows it would take what the first
//! wrote for a row that was there before, and overwrite it. PostgreSQL tells which transaction
//! wrote a row: the ledger keeps those of a copy's batches, and a batch that meets a row of one of them
//! fails. SQLite does not, so there the keys are looked through before the first batch.

use migrate_core::{StepContext, StepError};
use migrate_schema::db::{Backend, Database, DbError};
use migrate_schema::quote::literal;
use tokio::time::Instant;

use crate::access::{self, Tx};
use crate::bad_rows::BadRows;
use crate::copy::TableCopy;
use crate::foresee::{BEFORE_A_COPY, Unanswered, rows_within};
use crate::keyset::KeyRange;
use crate::layout::Layout;
use crate::range::{Program, RangeError, RangeWriter};
use crate::statement::{Produced, Statements};

impl Statements<'_> {
    /// The transaction that wrote a row, if that was after the copy began; where it can be told.
    ///
    /// A trigger of the user's can write rows that no batch gives.
    pub(crate) fn writer(&self, alias: &str) -> Option<String> {
        let since = self
            .layout
            .since
            .as_ref()
            .filter(|_| !self.layout.triggers)?;
        Some(format!(
            "CASE WHEN pg_catalog.age({alias}.xmin) < pg_catalog.age({}::xid) THEN {alias}.xmin::text END",
            literal(since)
        ))
    }

    /// Those of the rows that a batch would overwrite, with commas.
    fn writers(&self, from: Produced<'_>) -> Option<String> {
        Some(format!(
            "SELECT pg_catalog.string_agg(DISTINCT {}, ',') FROM {} AS t WHERE {}",
            self.writer("t")?,
            self.target(),
            self.is_produced("t", from),
        ))
    }

    /// Enters the transaction of a batch.
    pub(crate) fn enter_writer(&self) -> Option<&'static str> {
        let tells = self.layout.since.is_some();
        tells.then_some("writers = writers || pg_catalog.pg_current_xact_id()::xid::text::bigint")
    }

    /// How many ranges some transactions wrote.
    fn count_written_by(&self, writers: &str) -> String {
        format!(
            "SELECT count(*) FROM {} WHERE writers && {}::bigint[]",
            self.ledger(),
            literal(&format!("{{{writers}}}"))
        )
    }
}

impl RangeWriter {
    /// Fails where a batch overwrites what another batch of the copy wrote.
    pub(crate) async fn refuse_own(&self, tx: &mut Tx, writers: &str) -> Result<(), RangeError> {
        if writers.is_empty() || tx.count(&self.sql().count_written_by(writers)).await? == 0 {
            return Ok(());
        }
        Err(RangeError::Counts(
            "a key that it gives was given by another row already".to_owned(),
        ))
    }

    /// The same before rows are written.
    pub(crate) async fn look_for_own(
        &self,
        tx: &mut Tx,
        from: Produced<'_>,
    ) -> Result<(), RangeError> {
        let Some(query) = self.sql().writers(from) else {
            return Ok(());
        };
        let found = tx
            .rows(&query)
            .await?
            .into_iter()
            .flatten()
            .flatten()
            .next();
        self.refuse_own(tx, &found.unwrap_or_default()).await
    }
}

/// A transaction before any of the copy's, where those that wrote a row can be told.
pub(crate) async fn since(db: &Database, layout: &Layout) -> Result<Option<String>, DbError> {
    if db.backend() == Backend::Sqlite || layout.target_was_empty || !layout.plain {
        return Ok(None);
    }
    let query = format!(
        "SELECT pg_catalog.pg_current_xact_id()::xid::text WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass({})) AS p \
         JOIN pg_class AS c ON c.oid = p.relid::oid WHERE c.relkind = 'f')",
        literal(&layout.target_sql())
    );
    Ok(access::rows(db, &query)
        .await?
        .into_iter()
        .flatten()
        .flatten()
        .next())
}

impl TableCopy {
    /// On SQLite, refuses a script that gives a key twice into a table with rows. What takes longer
    /// than a look before a copy may is left to the comparison at the end.
    pub(crate) async fn refuse_twins(
        &self,
        cx: &StepContext,
        layout: &Layout,
    ) -> Result<(), StepError> {
        let (Backend::Sqlite, None, Program::Sql(script), BadRows::Fail, false) = (
            self.db.backend(),
            &self.elsewhere,
            &self.program,
            self.bad_rows,
            layout.target_was_empty,
        ) else {
            return Ok(());
        };
        let from = Produced::Script {
            select: &script.select,
            range: &KeyRange::default(),
        };
        let until = Instant::now() + BEFORE_A_COPY;
        let query = self.statements(layout).produced_twice(from);
        let twice = match rows_within(&self.db, (until, &cx.cancel), &query).await {
            Ok(twice) => twice,
            Err(Unanswered::Late) => {
                cx.check_cancelled()?;
                return Ok(());
            }
            // The script fails on a row: the batch that has it tells which.
            Err(Unanswered::Db(error)) if crate::failure::is_about_a_row(&error) => return Ok(()),
            Err(Unanswered::Db(error)) => {
                return Err(
                    error.into_step_error(format!("can't look at the rows of {}", self.source))
                );
            }
        };
        let Some(key) = twice.into_iter().next() else {
            return Ok(());
        };
        let named =
            layout.conflict.iter().zip(key).map(|(name, value)| {
                format!("{name}={}", value.unwrap_or_else(|| "NULL".to_owned()))
            });
        Err(StepError::failed(format!(
            "rows of {} can't be moved into {} together",
            self.source, self.target
        ))
        .cause(format!(
            "the transform gives the key {} twice",
            named.collect::<Vec<_>>().join(", ")
        ))
        .hint("look for rows that give the same key in the target"))
    }
}
