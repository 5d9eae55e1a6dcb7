//! Rows of other tables that refer to rows which an undo takes away.

use migrate_core::{Loss, StepError, UndoCheck};
use migrate_schema::db::{Backend, DbError};
use migrate_schema::quote::literal;

use crate::access;
use crate::copy::TableCopy;
use crate::layout::Layout;
use crate::ledger;

/// A foreign key to the target.
struct Reference {
    /// The table that has it, as people know it, and as it is written in SQL.
    name: String,
    table: String,
    on_delete: OnDelete,
    /// `r.column = t.column AND ...`
    join: String,
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
    /// Rows of the target that were there before the copy stay, and so do theirs.
    pub(crate) async fn look_at_references(
        &self,
        layout: &Layout,
        check: &mut UndoCheck,
    ) -> Result<(), StepError> {
        let looked = self.referring_rows(layout, check).await;
        looked.map_err(|error| {
            error.into_step_error(format!(
                "can't count the rows that refer to {}",
                self.target
            ))
        })
    }

    async fn referring_rows(&self, layout: &Layout, check: &mut UndoCheck) -> Result<(), DbError> {
        if layout.conflict.is_empty() || !ledger::exists(&self.db, &layout.before).await? {
            return Ok(());
        }
        for reference in self.references(layout).await? {
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
        let statements = self.statements(layout);
        let new = match self.db.backend() {
            Backend::Postgres => "b._etlrs_new",
            Backend::Sqlite => "b._etlrs_new = 1",
        };
        // Joined, not correlated: SQLite then indexes the images for the query, once.
        let query = format!(
            "SELECT count(*) FROM {table} AS r JOIN {target} AS t ON {join} \
             LEFT JOIN {before} AS b ON {key} AND NOT ({new}) WHERE b._etlrs_range IS NULL",
            table = reference.table,
            target = statements.target(),
            join = reference.join,
            before = statements.before(),
            key = statements.key_equal("b", "t"),
        );
        access::count(&self.db, &query).await
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
                let (table, action, join) = (cells.next()?, cells.next()?, cells.next()?);
                let on_delete = match action.as_str() {
                    "c" | "CASCADE" => OnDelete::Deleted,
                    "n" | "d" | "SET NULL" | "SET DEFAULT" => OnDelete::Emptied,
                    _ => OnDelete::Refused,
                };
                Some(Reference {
                    name,
                    table,
                    on_delete,
                    join,
                })
            })
            .collect())
    }
}

/// A partition's constraint comes from its parent's, which is asked.
fn of_postgres(layout: &Layout) -> String {
    format!(
        "SELECT n.nspname || '.' || o.relname, format('%I.%I', n.nspname, o.relname), c.confdeltype::text, \
         string_agg(format('r.%I = t.%I', a.attname, b.attname), ' AND ') \
         FROM pg_constraint AS c \
         JOIN pg_class AS o ON o.oid = c.conrelid JOIN pg_namespace AS n ON n.oid = o.relnamespace \
         CROSS JOIN LATERAL unnest(c.conkey, c.confkey) AS k (mine, theirs) \
         JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.mine \
         JOIN pg_attribute AS b ON b.attrelid = c.confrelid AND b.attnum = k.theirs \
         WHERE c.contype = 'f' AND c.conparentid = 0 AND c.confrelid = {}::regclass \
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
         group_concat('r.\"' || replace(f.\"from\", '\"', '\"\"') || '\" = t.\"' || replace(coalesce(f.\"to\", p.name), '\"', '\"\"') || '\"', ' AND ') \
         FROM sqlite_master AS m, pragma_foreign_key_list(m.name) AS f \
         LEFT JOIN pragma_table_info({target}) AS p ON p.pk = f.seq + 1 \
         WHERE m.type = 'table' AND lower(f.\"table\") = lower({target}) AND lower(m.name) <> lower({target}) \
         GROUP BY m.name, f.id, f.on_delete ORDER BY 1, 4"
    )
}
