//! The fingerprint of a scope.

use std::path::Path;

use migrate_config::atomic::{self, FileError, Root};
use migrate_core::{Fingerprint, ScopeObject, StepError};
use migrate_schema::catalog;
use migrate_schema::db::{Database, DbError};
use migrate_schema::fingerprint;
use migrate_schema::quote::TableName;

use crate::canonical;

/// What stands for a file or table that is not there.
pub(super) const ABSENT: &str = "absent";

/// `file PATH` with its hash; `rows TABLE` with count and sum; `table TABLE` with a hash of
/// its columns. With the catalog in scope, every object and the rows of every table,
/// because a script can touch any.
pub(super) async fn fingerprint(
    root: &Root,
    database: &Database,
    scope: &[ScopeObject],
) -> Result<Fingerprint, StepError> {
    let failed = |error: DbError| unreadable(error, "can't take the fingerprint");
    let mut found = Fingerprint::default();
    let whole = scope.contains(&ScopeObject::Catalog);
    if whole {
        found = canonical::database(database).await.map_err(failed)?;
    }
    for object in scope {
        match object {
            ScopeObject::File(path) => {
                let bytes = atomic::read_optional(root, Path::new(path))
                    .map_err(FileError::into_step_error)?;
                let sum = bytes.map_or_else(|| ABSENT.to_owned(), |bytes| atomic::sha256(&bytes));
                found.0.insert(format!("file {path}"), sum);
            }
            ScopeObject::Table(name) if !whole => {
                let (definition, rows) = table(database, name).await?;
                found.0.insert(format!("table {name}"), definition);
                found.0.insert(format!("rows {name}"), rows);
            }
            // The catalog covers every table, each under its full name.
            ScopeObject::Table(_)
            | ScopeObject::Rows(_)
            | ScopeObject::Catalog
            | ScopeObject::Service(_)
            | ScopeObject::Outside(_) => {}
        }
    }
    Ok(found)
}

async fn table(database: &Database, name: &str) -> Result<(String, String), StepError> {
    let failed = |error: DbError| unreadable(error, format!("can't look at table {name}"));
    let table: TableName = name
        .parse()
        .map_err(|error| StepError::failed(format!("{name:?} is not a table's name: {error}")))?;
    let columns = catalog::table_columns(database, &table)
        .await
        .map_err(failed)?;
    if columns.is_empty() {
        return Ok((ABSENT.to_owned(), ABSENT.to_owned()));
    }
    let keys = catalog::unique_keys(database, &table)
        .await
        .map_err(failed)?;
    let rows = fingerprint::table(database, &table).await.map_err(failed)?;
    let text = format!("{columns:?} {keys:?}");
    Ok((
        atomic::sha256(text.as_bytes())[..32].to_owned(),
        rows.to_string(),
    ))
}

/// What can't be read can't be compared after a rollback: the run is refused, with the way out.
fn unreadable(error: DbError, what: impl Into<String>) -> StepError {
    let denied = error.code.as_deref() == Some("42501");
    let error = error.into_step_error(what);
    if denied {
        error.hint(
            "every row in the plan's scope is compared before and after: let this role read it \
             (GRANT SELECT ON TABLE .. TO ..), or connect as its owner",
        )
    } else {
        error
    }
}
