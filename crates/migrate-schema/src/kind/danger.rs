//! What the lint says of the gravest about a step's SQL: warnings, nothing is refused.

use std::collections::BTreeSet;

use migrate_core::StepError;

use crate::db::Database;
use crate::layout::MigrationSet;
use crate::script::SqlScript;

/// About the migrations of these keys.
#[cfg(feature = "lint")]
pub(super) async fn of_source(
    db: &Database,
    set: &MigrationSet,
    keys: BTreeSet<String>,
) -> Result<Vec<String>, StepError> {
    let placeholders = crate::apply::Options::default().placeholders;
    shown(crate::lint::gravest(db, set, keys, &placeholders).await)
}

/// About a script.
#[cfg(feature = "lint")]
pub(super) async fn of_script(db: &Database, script: &SqlScript) -> Result<Vec<String>, StepError> {
    shown(crate::lint::gravest_of_script(db, script.origin(), script.text()).await)
}

#[cfg(feature = "lint")]
fn shown(
    found: Result<Vec<migrate_core::Finding>, crate::db::DbError>,
) -> Result<Vec<String>, StepError> {
    let found = found.map_err(|error| error.into_step_error("the schema can't be read"))?;
    Ok(found.iter().map(ToString::to_string).collect())
}

#[cfg(not(feature = "lint"))]
#[expect(
    clippy::unused_async,
    reason = "with the feature `lint` it asks the database"
)]
pub(super) async fn of_source(
    _db: &Database,
    _set: &MigrationSet,
    _keys: BTreeSet<String>,
) -> Result<Vec<String>, StepError> {
    Ok(Vec::new())
}

#[cfg(not(feature = "lint"))]
#[expect(
    clippy::unused_async,
    reason = "with the feature `lint` it asks the database"
)]
pub(super) async fn of_script(
    _db: &Database,
    _script: &SqlScript,
) -> Result<Vec<String>, StepError> {
    Ok(Vec::new())
}
