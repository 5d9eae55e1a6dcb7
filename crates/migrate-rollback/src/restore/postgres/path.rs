//! Functions of an archive that find other objects by the search path.
//!
//! `pg_restore` has names mean nothing without their schema, so such a function fails in the index,
//! check, generated column or materialized view that calls it: known of `pg_dump`. The restore is
//! then tried once more, with the user's own path for rows and what follows them, if trusted roles
//! alone decide what names in it mean, and if the result is compared.

use migrate_core::StepError;
use migrate_schema::db::{DbError, Postgres};
use migrate_schema::path_trust;

/// A function, a table or view, a type or the like, or a schema is not found.
const NOT_FOUND: [&str; 4] = ["42883", "42P01", "42704", "3F000"];

/// Whether what `psql` printed is that a name was not found.
pub(super) fn lacks_a_name(said: &str) -> bool {
    let is_said = |code: &&str| said.contains(&format!("ERROR:  {code}: "));
    NOT_FOUND.iter().any(is_said)
}

/// The user's search path, if only trusted roles decide what names in it mean.
///
/// # Errors
/// Others do; or the database can't be asked.
pub(super) async fn trusted(database: &Postgres) -> Result<String, StepError> {
    let failed = |error: DbError| error.into_step_error("can't read the search path");
    let path = database.users_path_after_ours().await.map_err(failed)?;
    let others = path_trust::of(database).await.map_err(failed)?;
    if others.is_empty() {
        return Ok(path);
    }
    let error = StepError::failed(
        "can't restore the database; it is as it was before: a function of the backup names objects \
         without their schema, and others may decide what such names mean",
    );
    let error = others.into_iter().fold(error, StepError::cause);
    Err(error.hint(
        "take that right or those objects from them, then restore again; or give the function \
         SET search_path = ..., and make new backups",
    ))
}

/// SQL of ours, in which names mean nothing without their schema again.
pub(super) fn none_then(sql: &str) -> String {
    format!("SELECT pg_catalog.set_config('search_path', '', true);\n{sql}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_that_is_not_found_asks_for_the_path() {
        let said = "psql:<stdin>:31: ERROR:  42883: function helper(text) does not exist";
        assert!(lacks_a_name(said));
        assert!(!lacks_a_name(
            "ERROR:  55P03: canceling statement due to lock timeout"
        ));
        assert!(!lacks_a_name("ERROR:  23505: 42883: duplicate key"));
    }
}
