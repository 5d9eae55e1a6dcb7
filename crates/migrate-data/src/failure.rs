//! From a range that failed to the one row that is to blame, and its reason without its content.

use migrate_core::StepError;
use migrate_schema::db::{DbError, DbErrorKind};

use crate::keyset::KeyRange;
use crate::planner::{Cut, halves};
use crate::range::{Job, Keep, Program, RangeError, RangeWriter};
use crate::statement::Produced;

/// The error of the step for a range that failed.
pub(crate) async fn explain(
    writer: &RangeWriter,
    number: i64,
    range: KeyRange,
    error: RangeError,
) -> StepError {
    if matches!(error, RangeError::Budget { .. }) {
        return over_budget(writer, error);
    }
    if !is_about_rows(&error) {
        return plain(writer, error);
    }
    match narrowed(writer, number, range, error).await {
        Ok(found) => found,
        Err(error) => error.into_step_error(format!(
            "can't look for the row of {} that failed",
            writer.layout.source
        )),
    }
}

/// Halves the range as long as one half fails alone.
pub(crate) async fn narrowed(
    writer: &RangeWriter,
    number: i64,
    mut range: KeyRange,
    mut error: RangeError,
) -> Result<StepError, DbError> {
    loop {
        if let RangeError::Row { key, reason } = &error {
            return Ok(bad_row(writer, key, reason));
        }
        let rows = crate::access::count(writer.source(), &writer.source_sql().count_source(&range))
            .await?;
        let Some((lower, upper)) =
            halves(writer.source(), writer.source_sql(), &range, rows).await?
        else {
            let key = range.upto.as_ref().map_or_else(
                || range.named(&writer.layout.key),
                |key| key.named(&writer.layout.key),
            );
            let reason = told(writer, &range, &error).await;
            return Ok(bad_row(writer, &key, &reason));
        };
        let mut failed = None;
        for half in [lower, upper] {
            let cut = Cut {
                rows: crate::access::count(
                    writer.source(),
                    &writer.source_sql().count_source(&half),
                )
                .await?,
                range: half.clone(),
            };
            let trial = Job {
                number,
                cut: &cut,
                keep: Keep::Rollback,
            };
            match writer.write(trial).await {
                Ok(_) => {}
                Err(again) if is_about_rows(&again) => {
                    failed = Some((half, again));
                    break;
                }
                Err(RangeError::Db(other)) => return Err(other),
                Err(other) => return Ok(plain(writer, other)),
            }
        }
        match failed {
            Some(found) => (range, error) = found,
            // Only together are they wrong: two rows that give one key.
            None => return Ok(bad_rows(writer, &range, &reason_of(writer, &error))),
        }
    }
}

pub(crate) fn is_about_rows(error: &RangeError) -> bool {
    match error {
        RangeError::Row { .. } | RangeError::Counts(_) => true,
        RangeError::Panic(_)
        | RangeError::Lost
        | RangeError::Stopped
        | RangeError::Budget { .. } => false,
        RangeError::Db(error) => is_about_a_row(error),
    }
}

pub(crate) fn is_about_a_row(error: &DbError) -> bool {
    match error.kind {
        DbErrorKind::Constraint => true,
        // Classes 22 and 23 and what functions raise; SQLite tells no more than "error" or a type that does not fit.
        DbErrorKind::Other => error.code.as_deref().is_some_and(|code| {
            code.starts_with("22")
                || code.starts_with("21")
                || code.starts_with("44000")
                || code.starts_with("P0001")
                || code.starts_with("SQLITE_ERROR")
                || code.starts_with("SQLITE_MISMATCH")
                || code.starts_with("SQLITE_TOOBIG")
        }),
        _ => false,
    }
}

fn plain(writer: &RangeWriter, error: RangeError) -> StepError {
    plainly(
        error,
        format!(
            "can't move rows of {} into {}",
            writer.layout.source, writer.layout.target
        ),
    )
}

/// The error of a step, without looking for a row.
pub(crate) fn plainly(error: RangeError, what: String) -> StepError {
    match error {
        RangeError::Db(error) if is_about_a_row(&error) => {
            StepError::failed(what).cause(redacted(&error, ""))
        }
        RangeError::Db(error) => error.into_step_error(what),
        RangeError::Counts(why) | RangeError::Panic(why) => StepError::failed(what).cause(why),
        RangeError::Row { key, reason } => {
            StepError::failed(what).cause(format!("{key}: {reason}"))
        }
        RangeError::Lost => StepError::failed(what).cause("another worker took the range over"),
        RangeError::Stopped => StepError::failed(what).cause("it was stopped"),
        RangeError::Budget { most, key, reason } => StepError::failed(what)
            .cause(format!(
                "more rows can't be moved than bad_rows allows, which is {most}"
            ))
            .cause(format!("the last one was {key}: {reason}")),
    }
}

fn over_budget(writer: &RangeWriter, error: RangeError) -> StepError {
    plain(writer, error).hint(format!(
        "`etlrs-migrate data rejects --run {}` shows the rows before it; put them right or take them out of the \
         source, change the script, or allow more; then run again",
        writer.layout.run
    ))
}

fn bad_row(writer: &RangeWriter, key: &str, reason: &str) -> StepError {
    StepError::failed(format!(
        "the row {key} of {} can't be moved into {}",
        writer.layout.source, writer.layout.target
    ))
    .cause(reason)
    .hint("put the row right or take it out of the source, or change the script; then run again")
}

fn bad_rows(writer: &RangeWriter, range: &KeyRange, reason: &str) -> StepError {
    let place = range.named(&writer.layout.key);
    StepError::failed(format!(
        "the rows {place} of {} can't be moved into {} together",
        writer.layout.source, writer.layout.target
    ))
    .cause(reason)
    .hint("look for rows that give the same key in the target")
}

/// Why the only row of a range can't be moved: the database's reason, and the column where it
/// can be had.
pub(crate) async fn told(writer: &RangeWriter, range: &KeyRange, error: &RangeError) -> String {
    let reason = reason_of(writer, error);
    // Words of the script's own say enough.
    if !matches!(error, RangeError::Db(error) if error.code.as_ref().is_some_and(|code| reason.contains(code.as_str())))
    {
        return reason;
    }
    match refused_column(writer, range, error).await {
        Some(column) => format!("column {column}: {reason}"),
        None => reason,
    }
}

/// PostgreSQL does not say which column's value it can't read: each is asked for alone.
async fn refused_column(
    writer: &RangeWriter,
    range: &KeyRange,
    error: &RangeError,
) -> Option<String> {
    let (RangeError::Db(error), Program::Sql(script), false) =
        (error, &writer.program, writer.through_here())
    else {
        return None;
    };
    let of_a_value = |error: &DbError| error.code.as_deref().is_some_and(|c| c.starts_with("22"));
    if !of_a_value(error) {
        return None;
    }
    let from = Produced::Script {
        select: &script.select,
        range,
    };
    for column in &writer.layout.outputs {
        let query = writer.sql().one_column(from, column);
        match crate::access::rows(&writer.db, &query).await {
            Err(error) if of_a_value(&error) => return Some(column.clone()),
            _ => {}
        }
    }
    None
}

fn reason_of(writer: &RangeWriter, error: &RangeError) -> String {
    let script = match &writer.program {
        Program::Sql(script) => script.select.as_str(),
        Program::Rust(_) => "",
    };
    match error {
        RangeError::Db(error) => redacted(error, script),
        RangeError::Counts(why) | RangeError::Panic(why) => why.clone(),
        RangeError::Row { reason, .. } | RangeError::Budget { reason, .. } => reason.clone(),
        RangeError::Lost => "another worker took the range over".to_owned(),
        RangeError::Stopped => "it was stopped".to_owned(),
    }
}

/// The database's message without the row's values: what it quotes after a colon is shown only
/// where it stands in the script, and then alone, so that a script can fail a row in its own words.
pub(crate) fn redacted(error: &DbError, script: &str) -> String {
    let message = error.message.as_str();
    // SQLite's messages come with their code in front: `(code: 1) bad JSON path: 'x'`.
    let quoted = [(": \"", '"'), (": '", '\'')]
        .into_iter()
        .find_map(|(open, close)| {
            let (front, rest) = message.split_once(open)?;
            let end = rest.rfind(close)?;
            Some((front, &rest[..end]))
        });
    let code = error
        .code
        .as_deref()
        .map(|code| format!(" ({code})"))
        .unwrap_or_default();
    match quoted {
        Some((_, words))
            if !words.is_empty()
                && script.contains(&format!("'{}'", words.replace('\'', "''"))) =>
        {
            words.to_owned()
        }
        Some((front, _)) => format!("{}{code}", without_values(front, error)),
        None => format!("{}{code}", without_values(message, error)),
    }
}

/// What stands in quotes in the message of a data exception is a value of the row, or may be;
/// what a constraint's message quotes is a name.
fn without_values(message: &str, error: &DbError) -> String {
    if !error.code.as_deref().is_some_and(|c| c.starts_with("22")) {
        return message.to_owned();
    }
    let mut shown = String::new();
    for (at, part) in message.split('"').enumerate() {
        match at % 2 {
            0 => shown.push_str(part),
            _ => shown.push_str("\"...\""),
        }
    }
    // `invalid byte sequence for encoding "UTF8": 0xc3 0x28`
    let end = shown.find(": 0x").unwrap_or(shown.len());
    shown.truncate(end);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_hold_no_values_of_the_row() {
        let error = |message: &str, code: &str| DbError {
            code: Some(code.to_owned()),
            detail: Some("Failing row contains (1, secret).".to_owned()),
            ..DbError::new(DbErrorKind::Other, message)
        };
        for (message, code, reason) in [
            (
                r#"invalid input syntax for type integer: "se"c: "ret""#,
                "22P02",
                "invalid input syntax for type integer (22P02)",
            ),
            (
                r#"invalid input syntax for type boolean: "config is NULL""#,
                "22P02",
                "config is NULL",
            ),
            (
                r#"value "99999999999" is out of range for type integer"#,
                "22003",
                r#"value "..." is out of range for type integer (22003)"#,
            ),
            (
                r#"invalid byte sequence for encoding "UTF8": 0xc3 0x28"#,
                "22021",
                r#"invalid byte sequence for encoding "..." (22021)"#,
            ),
            (
                r#"time zone "Secret/Place" not recognized"#,
                "22023",
                r#"time zone "..." not recognized (22023)"#,
            ),
            (
                "bad JSON path: 'config is NULL'",
                "SQLITE_ERROR",
                "config is NULL",
            ),
            (
                "malformed JSON",
                "SQLITE_ERROR",
                "malformed JSON (SQLITE_ERROR)",
            ),
            (
                r#"null value in column "name" of relation "t" violates not-null constraint"#,
                "23502",
                r#"null value in column "name" of relation "t" violates not-null constraint (23502)"#,
            ),
        ] {
            assert_eq!(
                redacted(&error(message, code), "SELECT 'config is NULL'"),
                reason
            );
        }
    }
}
