//! Rows of other tables that refer to rows which an undo takes away.

use migrate_core::{Loss, StepError, UndoCheck};
use migrate_schema::db::{Backend, DbError};
use migrate_schema::quote::literal;

use crate::access::{self, Tx};
use crate::copy::TableCopy;
use crate::layout::Layout;
use crate::ledger;

/// A foreign key to the target.
struct Reference {
    /// The table that has it, as people know it, and as it is written in SQL.
    name: String,
    table: String,
    on_delete: OnDelete,
    /// Its columns, `r.column, ...`, and the target's, `t.column, ...`.
    columns: String,
    target: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OnDelete {
    /// A row that is referred to can't be deleted.
    Refused,
    /// The row that refers goes too.
    Deleted,
    /// Its reference is emptied.
    Emptied,
}

impl TableCopy {
    /// Adds the rows that stand in the way of an undo, and those that would go or change with it.
    /// Rows of the target that were there before the copy stay, and so do theirs. Tables that the
    /// way back drops count for themselves.
    pub(crate) async fn look_at_references(
        &self,
        drops: &[String],
        layout: &Layout,
        check: &mut UndoCheck,
    ) -> Result<(), StepError> {
        let looked = self.referring_rows(drops, layout, check).await;
        looked.map_err(|error| {
            error.into_step_error(format!(
                "can't count the rows that refer to {}",
                self.target
            ))
        })
    }

    /// Deletes rows that refer to what an undo takes away, of tables that the way back drops in any
    /// case: else nothing could be taken away. Idempotent, one transaction.
    pub(crate) async fn clear_references(
        &self,
        drops: &[String],
        layout: &Layout,
    ) -> Result<(), StepError> {
        let cleared = self.delete_referring_rows(drops, layout).await;
        cleared.map_err(|error| {
            error.into_step_error(format!(
                "can't delete the rows that refer to {} from tables that the upgrade made",
                self.target
            ))
        })
    }

    async fn delete_referring_rows(
        &self,
        drops: &[String],
        layout: &Layout,
    ) -> Result<(), DbError> {
        if drops.is_empty() || !self.keeps_images(layout).await? {
            return Ok(());
        }
        let mut tx = Tx::begin(&self.db).await?;
        for reference in self.references(layout).await? {
            if drops.contains(&reference.name) {
                let delete = format!(
                    "DELETE FROM {} AS r WHERE ({}) IN (SELECT {} FROM {})",
                    reference.table,
                    reference.columns,
                    reference.target,
                    self.not_there_before(layout)
                );
                tx.execute(&delete).await?;
            }
        }
        tx.commit().await
    }

    async fn keeps_images(&self, layout: &Layout) -> Result<bool, DbError> {
        Ok(!layout.conflict.is_empty() && ledger::exists(&self.db, &layout.before).await?)
    }

    async fn referring_rows(
        &self,
        drops: &[String],
        layout: &Layout,
        check: &mut UndoCheck,
    ) -> Result<(), DbError> {
        if !self.keeps_images(layout).await? {
            return Ok(());
        }
        for reference in self.references(layout).await? {
            if drops.contains(&reference.name) {
                continue;
            }
            let rows = self.count(&reference, layout).await?;
            if rows == 0 {
                continue;
            }
            let what = match reference.on_delete {
                OnDelete::Refused => "which can't be deleted while they do",
                OnDelete::Deleted => "and would be deleted with them",
                OnDelete::Emptied => "and would lose their reference",
            };
            let some = match rows {
                1 => "1 row refers".to_owned(),
                rows => format!("{rows} rows refer"),
            };
            let loss = Loss::new(
                format!("table {}", reference.name),
                Some(rows),
                format!(
                    "{some} to rows of {} that the upgrade copied, {what}",
                    self.target
                ),
            );
            match reference.on_delete {
                OnDelete::Refused => check.in_the_way.push(loss),
                OnDelete::Deleted | OnDelete::Emptied => check.losses.push(loss),
            }
        }
        Ok(())
    }

    async fn count(&self, reference: &Reference, layout: &Layout) -> Result<u64, DbError> {
        // In a list, not correlated: SQLite then indexes the images for the query, once.
        let query = format!(
            "SELECT count(*) FROM {} AS r WHERE ({}) IN (SELECT {} FROM {})",
            reference.table,
            reference.columns,
            reference.target,
            self.not_there_before(layout)
        );
        access::count(&self.db, &query).await
    }

    /// The rows of the target, `t`, that were not there before the copy.
    fn not_there_before(&self, layout: &Layout) -> String {
        let statements = self.statements(layout);
        let new = match self.db.backend() {
            Backend::Postgres => "b._etlrs_new",
            Backend::Sqlite => "b._etlrs_new = 1",
        };
        format!(
            "{target} AS t LEFT JOIN {before} AS b ON {key} AND NOT ({new}) WHERE b._etlrs_range IS NULL",
            target = statements.target(),
            before = statements.before(),
            key = statements.key_equal("b", "t"),
        )
    }

    async fn references(&self, layout: &Layout) -> Result<Vec<Reference>, DbError> {
        let query = match self.db.backend() {
            Backend::Postgres => of_postgres(layout),
            Backend::Sqlite => of_sqlite(layout),
        };
        let rows = access::rows(&self.db, &query).await?;
        Ok(rows
            .into_iter()
            .filter_map(|row| {
                let mut cells = row.into_iter().flatten();
                let name = cells.next()?;
                let (table, action) = (cells.next()?, cells.next()?);
                let (columns, target) = (cells.next()?, cells.next()?);
                let on_delete = match action.as_str() {
                    "c" | "CASCADE" => OnDelete::Deleted,
                    "n" | "d" | "SET NULL" | "SET DEFAULT" => OnDelete::Emptied,
                    _ => OnDelete::Refused,
                };
                Some(Reference {
                    name,
                    table,
                    on_delete,
                    columns,
                    target,
                })
            })
            .collect())
    }
}

/// A partition's constraint comes from its parent's, which is asked.
fn of_postgres(layout: &Layout) -> String {
    format!(
        "SELECT pg_catalog.concat(n.nspname, '.', o.relname), pg_catalog.format('%I.%I', n.nspname, o.relname), c.confdeltype::text, \
         pg_catalog.string_agg(pg_catalog.format('r.%I', a.attname), ', ' ORDER BY k.mine), \
         pg_catalog.string_agg(pg_catalog.format('t.%I', b.attname), ', ' ORDER BY k.mine) \
         FROM pg_constraint AS c \
         JOIN pg_class AS o ON o.oid = c.conrelid JOIN pg_namespace AS n ON n.oid = o.relnamespace \
         CROSS JOIN LATERAL unnest(c.conkey, c.confkey) AS k (mine, theirs) \
         JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.mine \
         JOIN pg_attribute AS b ON b.attrelid = c.confrelid AND b.attnum = k.theirs \
         WHERE c.contype = 'f' AND c.conparentid = '0'::oid AND c.confrelid = {}::regclass::oid \
         AND c.conrelid <> c.confrelid \
         GROUP BY c.oid, n.nspname, o.relname, c.confdeltype ORDER BY 1, 4",
        literal(&layout.target_sql())
    )
}

/// Where a key names no columns, it means the primary key's.
fn of_sqlite(layout: &Layout) -> String {
    let target = literal(&crate::triggers::plain_name(&layout.target));
    format!(
        "SELECT m.name, '\"' || replace(m.name, '\"', '\"\"') || '\"', f.on_delete, \
         group_concat('r.\"' || replace(f.\"from\", '\"', '\"\"') || '\"', ', '), \
         group_concat('t.\"' || replace(coalesce(f.\"to\", p.name), '\"', '\"\"') || '\"', ', ') \
         FROM sqlite_master AS m, pragma_foreign_key_list(m.name) AS f \
         LEFT JOIN pragma_table_info({target}) AS p ON p.pk = f.seq + 1 \
         WHERE m.type = 'table' AND lower(f.\"table\") = lower({target}) AND lower(m.name) <> lower({target}) \
         GROUP BY m.name, f.id, f.on_delete ORDER BY 1, 4"
    )
}
