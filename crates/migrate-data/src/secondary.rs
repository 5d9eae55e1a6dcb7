//! Secondary indexes of a large copy's empty target: put aside before its rows are written, and
//! built once over all of them, which takes less than an entry at a time.
//!
//! Only indexes that are exactly their definition are put aside: none that is unique or backs a
//! constraint, none that anything depends on or that carries a comment, a tablespace, a statistics
//! target or another setting of its own. What is dropped stands in a table of ours by the same
//! transaction, and leaves it by the one that builds it, so that no interruption loses any.

use migrate_schema::db::{Backend, DbError};
use migrate_schema::own;
use migrate_schema::quote::literal;

use crate::access::{self, TextRow, Tx};
use crate::copy::TableCopy;
use crate::layout::{Images, Layout};
use crate::ledger;

/// From how many rows on it pays; below, entries that are added one by one find their pages in
/// memory. Measured: docs/performance.md.
const WORTH: u64 = 1_000_000;

impl TableCopy {
    /// Puts indexes aside in the transaction that enters the ranges; none where the table is in use.
    pub(crate) async fn put_indexes_aside(
        &self,
        tx: &mut Tx,
        layout: &Layout,
    ) -> Result<(), DbError> {
        let wanted = layout.rows >= WORTH
            && layout.target_was_empty
            && layout.images == Images::Existing
            && !layout.triggers;
        if !wanted || !self.hold_alone(tx, layout).await? {
            return Ok(());
        }
        let droppable = self.droppable(tx).await?;
        let found = tx.rows(&droppable).await?;
        if found.is_empty() {
            return Ok(());
        }
        let table = self.put_aside(layout);
        tx.execute(&format!(
            "CREATE TABLE IF NOT EXISTS {table} (name text PRIMARY KEY, definition text NOT NULL)"
        ))
        .await?;
        for (name, definition) in found.iter().filter_map(pair) {
            tx.execute(&format!(
                "INSERT INTO {table} VALUES ({}, {})",
                literal(name),
                literal(definition)
            ))
            .await?;
            tx.execute(&format!("DROP INDEX {name}")).await?;
        }
        Ok(())
    }

    /// Whether nobody else is at the empty target; nobody can be until the transaction ends.
    async fn hold_alone(&self, tx: &mut Tx, layout: &Layout) -> Result<bool, DbError> {
        let target = layout.target_sql();
        if self.db.backend() == Backend::Postgres {
            tx.execute("SAVEPOINT _etlrs_alone").await?;
            let lock = format!("LOCK TABLE ONLY {target} IN ACCESS EXCLUSIVE MODE NOWAIT");
            if tx.execute(&lock).await.is_err() {
                tx.execute("ROLLBACK TO SAVEPOINT _etlrs_alone").await?;
                return Ok(false);
            }
        }
        let any = format!("SELECT 1 FROM {target} LIMIT 1");
        Ok(tx.rows(&any).await?.is_empty())
    }

    /// The query for the indexes that can be dropped and come back the same: name and definition.
    async fn droppable(&self, tx: &mut Tx) -> Result<String, DbError> {
        Ok(match self.db.backend() {
            // With nothing but the catalog in the path, every name in a definition is qualified.
            Backend::Postgres => {
                let number = format!(
                    "SELECT pg_catalog.to_regclass({})::oid",
                    literal(&self.target.sql())
                );
                let table = tx.count(&number).await?;
                format!(
                    "SET LOCAL search_path = pg_catalog; \
                 SELECT format('%I.%I', n.nspname, c.relname), pg_catalog.pg_get_indexdef(c.oid) \
                 FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace \
                 JOIN pg_class AS t ON t.oid = i.indrelid \
                 WHERE i.indrelid = {table} AND t.relkind = 'r' AND NOT t.relispartition AND pg_catalog.pg_has_role(t.relowner, 'USAGE') \
                 AND NOT (i.indisunique OR i.indisprimary OR i.indisexclusion OR i.indisclustered OR i.indisreplident) \
                 AND i.indisvalid AND i.indisready AND i.indislive AND c.reltablespace = 0 \
                 AND obj_description(c.oid, 'pg_class') IS NULL \
                 AND NOT EXISTS (SELECT 1 FROM pg_depend AS d WHERE d.refobjid = c.oid OR (d.objid = c.oid AND d.deptype NOT IN ('n', 'a'))) \
                 AND NOT EXISTS (SELECT 1 FROM pg_attribute AS a WHERE a.attrelid = c.oid AND coalesce(a.attstattarget, -1) <> -1) \
                 ORDER BY 1"
                )
            }
            Backend::Sqlite => format!(
                "SELECT '\"' || replace(m.name, '\"', '\"\"') || '\"', m.sql FROM pragma_index_list({0}) AS i JOIN sqlite_master AS m ON m.type = 'index' AND m.name = i.name \
                 WHERE i.\"unique\" = 0 AND i.origin = 'c' AND m.sql IS NOT NULL ORDER BY m.rowid",
                literal(self.target.table())
            ),
        })
    }

    fn put_aside(&self, layout: &Layout) -> String {
        own::name(self.db.backend(), &layout.put_aside())
    }

    /// Builds what was put aside, an index a transaction. Idempotent.
    pub(crate) async fn build_indexes(&self, layout: &Layout) -> Result<(), DbError> {
        if !ledger::exists(&self.db, &layout.put_aside()).await? {
            return Ok(());
        }
        let table = self.put_aside(layout);
        let query = format!("SELECT name, definition FROM {table} ORDER BY name");
        let left = access::rows(&self.db, &query).await?;
        for (name, definition) in left.iter().filter_map(pair) {
            let mut tx = Tx::begin(&self.db).await?;
            // Of two processes only one builds it; a restore may have brought it back already.
            let mine = format!("DELETE FROM {table} WHERE name = {}", literal(name));
            if tx.execute(&mine).await? == 1 && !self.is_there(&mut tx, name).await? {
                tx.execute(&self.building(definition)).await?;
            }
            tx.commit().await?;
        }
        let mut tx = Tx::begin(&self.db).await?;
        tx.execute(&format!("DROP TABLE IF EXISTS {table}")).await?;
        tx.commit().await
    }

    async fn is_there(&self, tx: &mut Tx, name: &str) -> Result<bool, DbError> {
        let query = match self.db.backend() {
            Backend::Postgres => {
                format!(
                    "SELECT 1 WHERE pg_catalog.to_regclass({}) IS NOT NULL",
                    literal(name)
                )
            }
            Backend::Sqlite => format!(
                "SELECT 1 FROM sqlite_master WHERE type = 'index' AND '\"' || replace(name, '\"', '\"\"') || '\"' = {}",
                literal(name)
            ),
        };
        Ok(!tx.rows(&query).await?.is_empty())
    }

    fn building(&self, definition: &str) -> String {
        match self.db.backend() {
            Backend::Postgres => format!(
                "SET LOCAL search_path = pg_catalog; SET LOCAL default_tablespace = ''; {definition}"
            ),
            Backend::Sqlite => definition.to_owned(),
        }
    }
}

fn pair(row: &TextRow) -> Option<(&str, &str)> {
    match &row[..] {
        [Some(name), Some(definition)] => Some((name, definition)),
        _ => None,
    }
}
