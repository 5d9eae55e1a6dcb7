//! SQL scripts.

use crate::db::{Backend, DbError};

/// The one query of a text, without a final semicolon.
pub(crate) fn one_query(_backend: Backend, sql: &str) -> Result<String, DbError> {
    Ok(sql.trim().trim_end_matches(';').to_owned())
}
