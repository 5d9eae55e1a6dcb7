//! Asks the database's own parser about each statement, without running any.

use migrate_core::Finding;
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};

use crate::db::{Database, DbError};
use crate::script::{SqlScript, Statement};

/// Statements that don't parse. A statement may well need what an earlier one makes; only what
/// is wrong by itself counts.
pub(super) async fn check(db: &Database, script: &SqlScript) -> Result<Vec<Finding>, DbError> {
    let mut findings = Vec::new();
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => {
            let mut connection = pg.connect_beside().await?;
            sqlx::raw_sql("set lock_timeout = '200ms'; set statement_timeout = '5s'")
                .execute(&mut connection)
                .await?;
            pg.as_the_user(&mut connection).await?;
            for statement in script.statements() {
                let sql = AssertSqlSafe(statement.text).into_sql_str();
                if let Err(error) = connection.prepare(sql).await {
                    let error = DbError::from(error);
                    if error.code.as_deref() == Some("42601") {
                        findings.push(finding(script, statement, &error));
                    }
                }
            }
            sqlx::Connection::close(connection).await?;
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => {
            let mut connection = lite.acquire().await?;
            for statement in script.statements() {
                let sql = AssertSqlSafe(statement.text).into_sql_str();
                if let Err(error) = connection.prepare(sql).await {
                    let error = DbError::from(error);
                    let unparsable = ["syntax error", "incomplete input", "unrecognized token"]
                        .iter()
                        .any(|words| error.message.contains(words));
                    if unparsable {
                        findings.push(finding(script, statement, &error));
                    }
                }
            }
            sqlx::Connection::clear_cached_statements(&mut *connection).await?;
        }
    }
    Ok(findings)
}

fn finding(script: &SqlScript, statement: Statement<'_>, error: &DbError) -> Finding {
    let found = Finding::error("schema.syntax", error.to_string())
        .in_file(script.place_of(statement, error));
    match &error.hint {
        Some(hint) => found.hint(hint),
        None => found,
    }
}
