//! What speaks against a run before anything is stopped: rights, room, old transactions.
//!
//! Read-only. Each finding says what is missing and the statement or the place that mends it.

#[cfg(feature = "postgres")]
mod by_path;
#[cfg(feature = "postgres")]
mod rights;
mod room;
#[cfg(feature = "postgres")]
mod transactions;

use std::path::Path;

use migrate_core::{Finding, ScopeObject, StepError};
use migrate_schema::db::Database;
#[cfg(feature = "postgres")]
use migrate_schema::db::{DbError, Postgres};
#[cfg(feature = "postgres")]
use migrate_schema::quote::TableName;

/// Looks at the database for a run that touches `scope`.
///
/// # Errors
/// The database can't be asked.
pub async fn of(
    root: &Path,
    database: &Database,
    scope: &[ScopeObject],
) -> Result<Vec<Finding>, StepError> {
    let failed = |error: migrate_schema::db::DbError| {
        error.into_step_error("can't look at the database before the run")
    };
    let mut findings = Vec::new();
    #[cfg(feature = "postgres")]
    if let Database::Postgres(db) = database {
        findings.extend(rights::missing(db, scope).await.map_err(failed)?);
        findings.extend(transactions::old(db).await.map_err(failed)?);
        findings.extend(by_path::functions(db).await.map_err(failed)?);
    }
    findings.extend(
        room::shortage(root, database, scope)
            .await
            .map_err(failed)?,
    );
    Ok(findings)
}

/// What the role lacks for the work round a run, such as verifying a backup.
///
/// # Errors
/// The database can't be asked.
pub async fn of_the_operator(database: &Database) -> Result<Vec<Finding>, StepError> {
    match database {
        #[cfg(feature = "postgres")]
        Database::Postgres(db) => rights::of_the_operator(db)
            .await
            .map_err(|error| error.into_step_error("can't look at the role's rights")),
        #[cfg(feature = "sqlite")]
        Database::Sqlite(_) => Ok(Vec::new()),
        #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
        _ => Ok(Vec::new()),
    }
}

#[cfg(feature = "postgres")]
fn touches_schema(scope: &[ScopeObject]) -> bool {
    scope.contains(&ScopeObject::Catalog)
}

#[cfg(feature = "postgres")]
async fn tables(db: &Postgres, scope: &[ScopeObject]) -> Result<Vec<String>, DbError> {
    let mut found = Vec::new();
    for object in scope {
        let ScopeObject::Table(name) = object else {
            continue;
        };
        // Quoted: a name can hold anything.
        if let Ok(table) = name.parse::<TableName>() {
            found.push(db.resolve(&table).await?.sql());
        }
    }
    Ok(found)
}
