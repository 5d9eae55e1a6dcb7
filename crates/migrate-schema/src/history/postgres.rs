//! The log on PostgreSQL, within a connection or transaction.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::record::{Action, Entry, Record};
use super::state::State;
use super::statement::{Direction, Started};
use crate::db::DbError;

pub(crate) async fn read(connection: &mut PgConnection) -> Result<State, DbError> {
    let there: bool =
        sqlx::query_scalar("select to_regclass('etlrs_migrate.schema_statements') is not null")
            .fetch_one(&mut *connection)
            .await?;
    if !there {
        return Ok(State::default());
    }
    let rows = sqlx::query(
        "select seq, action, key, version, name, file, checksum, out_of_order, \
                to_char(applied_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') as at, \
                millis, applied_by, run, note \
         from etlrs_migrate.schema_history order by seq",
    )
    .fetch_all(&mut *connection)
    .await?;
    let records = rows.iter().map(record).collect::<Result<_, _>>()?;
    Ok(State::of(records, started(connection).await?))
}

fn record(row: &PgRow) -> Result<Record, DbError> {
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

async fn started(connection: &mut PgConnection) -> Result<Vec<Started>, DbError> {
    let rows: Vec<(String, String, i64, String, bool, Option<String>)> = sqlx::query_as(
        "select key, direction, unit, text_hash, done, session \
         from etlrs_migrate.schema_statements order by key, direction, unit",
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
    connection: &mut PgConnection,
    key: &str,
) -> Result<Option<(String, Option<String>)>, DbError> {
    let found: Option<(Option<String>, Option<String>)> = sqlx::query_as(
        "select up_text, down_text from etlrs_migrate.schema_history \
         where key = $1 and up_text is not null order by seq desc limit 1",
    )
    .bind(key)
    .fetch_optional(connection)
    .await?;
    Ok(found.and_then(|(up, down)| up.map(|up| (up, down))))
}

/// Adds lines, all in one statement.
pub(crate) async fn append(tx: &mut PgConnection, entries: &[Entry]) -> Result<(), DbError> {
    if entries.is_empty() {
        return Ok(());
    }
    let texts = |get: fn(&Entry) -> Option<&str>| -> Vec<Option<String>> {
        entries
            .iter()
            .map(|one| get(one).map(str::to_owned))
            .collect()
    };
    sqlx::query(
        "insert into etlrs_migrate.schema_history (action, key, version, name, layout, file, \
             checksum, up_text, down_text, out_of_order, millis, applied_by, run, note, turn) \
         select e.*, (select count(*) from etlrs_migrate.schema_history h where h.key = e.key) \
             + row_number() over (partition by e.key) \
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], \
             $6::text[], $7::text[], $8::text[], $9::text[], $10::bool[], $11::bigint[], \
             $12::text[], $13::text[], $14::text[]) as e(action, key, version, name, layout, \
             file, checksum, up_text, down_text, out_of_order, millis, applied_by, run, note)",
    )
    .persistent(false)
    .bind(texts(|one| Some(one.action.name())))
    .bind(texts(|one| Some(&one.key)))
    .bind(texts(|one| one.version.as_deref()))
    .bind(texts(|one| Some(&one.name)))
    .bind(texts(|one| Some(one.layout)))
    .bind(texts(|one| Some(&one.file)))
    .bind(texts(|one| Some(&one.checksum)))
    .bind(texts(|one| one.up.as_deref()))
    .bind(texts(|one| one.down.as_deref()))
    .bind(
        entries
            .iter()
            .map(|one| one.out_of_order)
            .collect::<Vec<_>>(),
    )
    .bind(entries.iter().map(|one| one.millis).collect::<Vec<_>>())
    .bind(texts(|one| Some(&one.by)))
    .bind(texts(|one| one.run.as_deref()))
    .bind(texts(|one| one.note.as_deref()))
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes that a unit is begun, or that it ended.
pub(crate) async fn set_statement(tx: &mut PgConnection, one: &Started) -> Result<(), DbError> {
    sqlx::query(
        "insert into etlrs_migrate.schema_statements \
             (key, direction, unit, text_hash, done, session) values ($1, $2, $3, $4, $5, $6) \
         on conflict (key, direction, unit) do update \
             set text_hash = excluded.text_hash, done = excluded.done, session = excluded.session",
    )
    .persistent(false)
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
pub(crate) async fn clear_statements(tx: &mut PgConnection, key: &str) -> Result<(), DbError> {
    sqlx::query("delete from etlrs_migrate.schema_statements where key = $1")
        .persistent(false)
        .bind(key)
        .execute(tx)
        .await?;
    Ok(())
}
