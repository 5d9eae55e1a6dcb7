//! Functions whose names only the search path explains: a backup that holds an index on one can't be
//! restored where others decide what names in the path mean.

use migrate_core::Finding;
use migrate_schema::db::{DbError, Postgres};
use migrate_schema::path_trust;

/// A warning for each.
pub(super) async fn functions(db: &Postgres) -> Result<Vec<Finding>, DbError> {
    let found = path_trust::depends_on(db).await?;
    let warning = |(function, name): (String, String)| {
        let message = format!(
            "the function {function}, on which an index, a constraint, a generated column or a \
             materialized view depends, names {name} without its schema: a backup can't be \
             restored, because others may create in the search path"
        );
        Finding::warning("restore.search-path", message).hint(format!(
            "ALTER FUNCTION {function} SET search_path = SCHEMA; or take the right to create in \
             the schemas of the path from roles that are not trusted"
        ))
    };
    Ok(found.into_iter().map(warning).collect())
}
