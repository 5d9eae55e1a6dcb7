//! Keeps writers of PostgreSQL out of a copy's tables for a moment.

use migrate_core::{StepContext, StepError};
#[cfg(feature = "postgres")]
use migrate_schema::db::{Database, DbError};
#[cfg(feature = "postgres")]
use migrate_schema::quote::TableName;

use super::watch::unseen;
use crate::copy::TableCopy;

/// How long others may take to end what they write.
#[cfg(feature = "postgres")]
const WAIT: &str = "2s";

impl TableCopy {
    /// Locks both tables against writers until the value is dropped, which ends the session. None on SQLite,
    /// whose only write lock would keep the journal's copy out too, and where the role may not lock.
    pub(crate) async fn lock_out(
        &self,
        cx: &StepContext,
    ) -> Result<Option<Box<dyn Send>>, StepError> {
        let watch = self.watch(cx).await.map_err(|error| unseen(self, error))?;
        match &self.db {
            // Nobody looks at tables that a later step replaced.
            _ if watch.is_none() => Ok(None),
            #[cfg(feature = "postgres")]
            Database::Postgres(db) => {
                let mut tables = vec![self.target.clone()];
                if self.elsewhere.is_none() {
                    tables.insert(0, self.source.clone());
                }
                let held = locked(db, &tables).await;
                held.map_err(|error| {
                    error.into_step_error(format!(
                        "can't keep writers out of {} and {}",
                        self.source, self.target
                    ))
                })
            }
            _ => Ok(None),
        }
    }
}

#[cfg(feature = "postgres")]
async fn locked(
    db: &migrate_schema::db::Postgres,
    tables: &[TableName],
) -> Result<Option<Box<dyn Send>>, DbError> {
    let mut session = db.connect_beside().await?;
    let begin = format!("BEGIN; SET LOCAL lock_timeout = '{WAIT}'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(begin))
        .execute(&mut session)
        .await?;
    for table in tables {
        let table = db.resolve(table).await?.sql();
        let lock = format!("LOCK TABLE {table} IN SHARE MODE");
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(lock))
            .execute(&mut session)
            .await;
        match done.map_err(DbError::from) {
            Ok(_) => {}
            // Who may only read a table may not lock it: what is written meanwhile is found.
            Err(error) if error.code.as_deref() == Some("42501") => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(Box::new(session)))
}
