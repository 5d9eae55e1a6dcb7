//! Comparing with the copy before the commit.

use migrate_core::StepError;
use migrate_schema::db::DbError;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::POINT;
use super::schema::{Object, objects};

/// Refuses the commit if the schema differs from the copy's, if foreign keys are broken
/// that were not broken there, or if the database is not sound.
pub(super) async fn verify(connection: &mut SqliteConnection) -> Result<(), StepError> {
    let fail = |error: sqlx::Error| {
        DbError::from(error).into_step_error("can't check what was restored; it was taken back")
    };
    let wanted = texts(objects(connection, POINT).await.map_err(fail)?);
    let found = texts(objects(connection, "main").await.map_err(fail)?);
    if wanted != found {
        let mut error = differs("the schema that was restored differs from the copy's");
        error.causes = difference(&wanted, &found);
        return Err(error);
    }
    let keys = violations(connection, "main").await.map_err(fail)?;
    if keys != violations(connection, POINT).await.map_err(fail)? {
        return Err(differs(
            "foreign keys are broken that were not broken in the copy",
        ));
    }
    let said: Vec<String> = sqlx::query_scalar("PRAGMA main.quick_check(5)")
        .fetch_all(&mut *connection)
        .await
        .map_err(fail)?;
    if said != ["ok"] {
        let mut error = differs("what was restored is not sound");
        error.causes = said;
        return Err(error);
    }
    Ok(())
}

fn differs(what: &str) -> StepError {
    StepError::failed(format!("{what}; it was taken back"))
}

/// What can be compared: tables that SQLite makes for itself stay when they are empty.
fn texts(objects: Vec<Object>) -> Vec<Object> {
    let mut kept: Vec<Object> = objects
        .into_iter()
        .filter(|object| object.is("index") || !object.is_internal())
        .collect();
    kept.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
    kept
}

fn difference(wanted: &[Object], found: &[Object]) -> Vec<String> {
    let missing = wanted.iter().filter(|object| !found.contains(object));
    let extra = found.iter().filter(|object| !wanted.contains(object));
    let name = |sign: &str, object: &Object| format!("{sign}{} {}", object.kind, object.name);
    missing
        .map(|object| name("-", object))
        .chain(extra.map(|object| name("+", object)))
        .collect()
}

async fn violations(
    connection: &mut SqliteConnection,
    schema: &str,
) -> Result<Vec<String>, sqlx::Error> {
    let sql = format!("PRAGMA {schema}.foreign_key_check");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .fetch_all(connection)
        .await?;
    // Key numbers follow the order of the text, so they are the same on both sides.
    let text = |row: &SqliteRow| -> Result<String, sqlx::Error> {
        Ok(format!(
            "{} {:?} {}",
            row.try_get::<String, _>(0)?,
            row.try_get::<Option<i64>, _>(1)?,
            row.try_get::<String, _>(2)?,
        ))
    };
    let mut all = rows.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    // Without a visible rowid (WITHOUT ROWID) rows come in the order of their key.
    all.retain(|line| !line.starts_with(migrate_schema::own::SQLITE_PREFIX));
    all.sort();
    Ok(all)
}
