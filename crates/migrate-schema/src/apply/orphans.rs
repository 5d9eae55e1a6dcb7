//! Rows whose parent is missing, before and after a rebuild of tables.

use std::collections::HashSet;

use migrate_core::StepError;
use sqlx::SqliteConnection;

use super::failure::Failed;
use crate::db::DbErrorKind;

/// A row without its parent: table, rowid, parent table, number of the key.
type Orphan = (String, Option<i64>, Option<String>, i64);

/// The violated foreign keys before a transaction; it is to blame only for others.
pub(super) struct Orphans(HashSet<Orphan>);

impl Orphans {
    pub(super) async fn read(tx: &mut SqliteConnection) -> Result<Self, Failed> {
        let rows: Result<Vec<Orphan>, sqlx::Error> =
            sqlx::query_as("select \"table\", rowid, parent, fkid from pragma_foreign_key_check")
                .fetch_all(tx)
                .await;
        match rows {
            Ok(rows) => Ok(Self(rows.into_iter().collect())),
            // A key whose parent columns are not unique can't be checked, before as after.
            Err(sqlx::Error::Database(error))
                if error.message().contains("foreign key mismatch") =>
            {
                Ok(Self(HashSet::new()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses a transaction that left rows without their parents.
    pub(super) async fn refuse_new(&self, tx: &mut SqliteConnection) -> Result<(), Failed> {
        let now = Self::read(tx).await?;
        let mut new: Vec<&Orphan> = now.0.difference(&self.0).collect();
        new.sort();
        let Some((table, row, parent, _)) = new.first() else {
            return Ok(());
        };
        let row = row.map_or_else(String::new, |row| format!(", rowid {row},"));
        let error = StepError::failed(format!(
            "a foreign key is violated: table {table}{row} refers to a missing row of {} ({} more)",
            parent.as_deref().unwrap_or("its parent"),
            new.len() - 1
        ))
        .hint(
            "while tables are rebuilt no ON DELETE or ON UPDATE action runs; \
             delete or change the rows that refer to others first",
        );
        Err(Failed::new(DbErrorKind::Constraint, error))
    }
}
