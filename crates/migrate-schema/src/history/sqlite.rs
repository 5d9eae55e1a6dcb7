//! The log on SQLite, within a connection or transaction.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::record::{Action, Entry, Record};
use super::state::State;
use super::statement::{Direction, Started};
use crate::db::DbError;

pub(crate) async fn read(connection: &mut SqliteConnection) -> Result<State, DbError> {
    let there: Option<i64> = sqlx::query_scalar(
        "select 1 from sqlite_master where type = 'table' and name = '_etlrs_schema_statements'",
    )
    .fetch_optional(&mut *connection)
    .await?;
    if there.is_none() {
        return Ok(State::default());
    }
    let rows = sqlx::query(
        "select seq, action, key, version, name, file, checksum, out_of_order, \
                applied_at as at, millis, applied_by, run, note from _etlrs_schema_history order by seq",
    )
    .fetch_all(&mut *connection)
    .await?;
    let records = rows.iter().map(record).collect::<Result<_, _>>()?;
    Ok(State::of(records, started(connection).await?))
}

fn record(row: &SqliteRow) -> Result<Record, DbError> {
    let action: String = row.try_get("action")?;
    Ok(Record {
        seq: row.try_get("seq")?,
        action: Action::read(&action)?,
        key: row.try_get("key")?,
        version: row.try_get("version")?,
        name: row.try_get("name")?,
        file: row.try_get("file")?,
        checksum: row.try_get("checksum")?,
        out_of_order: row.try_get("out_of_order")?,
        at: row.try_get("at")?,
        millis: row.try_get("millis")?,
        by: row.try_get("applied_by")?,
        run: row.try_get("run")?,
        note: row.try_get("note")?,
    })
}

async fn started(connection: &mut SqliteConnection) -> Result<Vec<Started>, DbError> {
    let rows: Vec<(String, String, i64, String, bool, Option<String>)> = sqlx::query_as(
        "select key, direction, unit, text_hash, done, session \
         from _etlrs_schema_statements order by key, direction, unit",
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(key, direction, unit, text_hash, done, session)| Started {
            key,
            direction: Direction::of_name(&direction),
            unit,
            text_hash,
            done,
            session,
        })
        .collect())
}

pub(crate) async fn texts(
    connection: &mut SqliteConnection,
    key: &str,
) -> Result<Option<(String, Option<String>)>, DbError> {
    Ok(sqlx::query_as(
        "select up_text, down_text from _etlrs_schema_history \
         where key = ?1 and up_text is not null order by seq desc limit 1",
    )
    .bind(key)
    .fetch_optional(connection)
    .await?)
}

/// Adds lines.
pub(crate) async fn append(tx: &mut SqliteConnection, entries: &[Entry]) -> Result<(), DbError> {
    for one in entries {
        sqlx::query(
            "insert into _etlrs_schema_history (action, key, version, name, layout, file, \
                 checksum, up_text, down_text, out_of_order, millis, applied_by, run, note, turn) \
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, \
                 (select count(*) + 1 from _etlrs_schema_history where key = ?2))",
        )
        .bind(one.action.name())
        .bind(&one.key)
        .bind(&one.version)
        .bind(&one.name)
        .bind(one.layout)
        .bind(&one.file)
        .bind(&one.checksum)
        .bind(&one.up)
        .bind(&one.down)
        .bind(one.out_of_order)
        .bind(one.millis)
        .bind(&one.by)
        .bind(&one.run)
        .bind(&one.note)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// Writes that a unit is begun, or that it ended.
pub(crate) async fn set_statement(tx: &mut SqliteConnection, one: &Started) -> Result<(), DbError> {
    sqlx::query(
        "insert into _etlrs_schema_statements \
             (key, direction, unit, text_hash, done, session) values (?1, ?2, ?3, ?4, ?5, ?6) \
         on conflict (key, direction, unit) do update \
             set text_hash = excluded.text_hash, done = excluded.done, session = excluded.session",
    )
    .bind(&one.key)
    .bind(one.direction.name())
    .bind(one.unit)
    .bind(&one.text_hash)
    .bind(one.done)
    .bind(&one.session)
    .execute(tx)
    .await?;
    Ok(())
}

/// Removes all about a migration, because its line in the log says it now.
pub(crate) async fn clear_statements(tx: &mut SqliteConnection, key: &str) -> Result<(), DbError> {
    sqlx::query("delete from _etlrs_schema_statements where key = ?1")
        .bind(key)
        .execute(tx)
        .await?;
    Ok(())
}
