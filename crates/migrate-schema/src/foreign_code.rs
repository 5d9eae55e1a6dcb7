//! Code of other roles that would run as this one on the way: triggers, event triggers, rules, policies,
//! and functions in indexes, defaults and constraints.
//!
//! Whoever owns such a function can give it another body at any time, and it runs with the rights of
//! the role that writes or reads the table. PostgreSQL means it so; it is for an operator to know.

use migrate_core::Finding;

use crate::db::{Database, DbError};

#[cfg(feature = "postgres")]
const QUERY: &str = concat!(
    "WITH RECURSIVE ",
    include_str!("own/trust.sql"),
    include_str!("foreign_code.sql")
);

/// More of a kind are counted, not listed.
#[cfg(feature = "postgres")]
const SHOWN: usize = 20;

/// Lists it, a warning each; none on SQLite, which has no roles. Read-only.
///
/// # Errors
/// The database's.
pub async fn of(db: &Database) -> Result<Vec<Finding>, DbError> {
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => {
            let schemas = pg.users_schemas().await?;
            let found: Vec<(String, String)> = sqlx::query_as(QUERY)
                .bind(&schemas)
                .fetch_all(&mut *pg.acquire().await?)
                .await?;
            let more = found.len().saturating_sub(SHOWN);
            let mut findings: Vec<Finding> = found
                .into_iter()
                .take(SHOWN)
                .map(|(kind, what)| warning(&kind, what))
                .collect();
            if more > 0 {
                findings.push(warning("more", format!("and {more} more of this kind")));
            }
            Ok(findings)
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(_) => Ok(Vec::new()),
    }
}

#[cfg(feature = "postgres")]
fn warning(kind: &str, what: String) -> Finding {
    let hint = match kind {
        "create" => {
            "REVOKE CREATE ON SCHEMA ... FROM that role, unless it is trusted with this database"
        }
        _ => {
            "it would run as this role: look at it, then trust its owner, or let a superuser change the owner or drop it"
        }
    };
    Finding::warning(&format!("foreign-code.{kind}"), what).hint(hint)
}
