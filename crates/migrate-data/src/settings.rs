//! Settings of a session under which batches run, and rows are compared by their text.

use migrate_schema::db::{Backend, Database, DbError};

use crate::access::{self, Tx};

/// Whether PostgreSQL takes a moment that names no zone for one at UTC, as a session of sqlx does
/// where nobody set another zone. Sessions of an embedder's pool may differ from each other.
pub(crate) async fn at_utc(db: &Database) -> Result<bool, DbError> {
    if db.backend() == Backend::Sqlite || db.url().is_none() {
        return Ok(false);
    }
    let zone = access::rows(db, "SELECT pg_catalog.current_setting('TimeZone')").await?;
    Ok(zone.first().and_then(|row| row[0].as_deref()) == Some("UTC"))
}

/// What makes a commit not wait for the disk. Rows and ledger are lost together if the server
/// crashes, and done again; the mark of the whole copy is committed in full, and all before it.
pub(crate) fn lazily(tx: &Tx) -> &'static str {
    match tx {
        #[cfg(feature = "postgres")]
        // A batch's rows are kept in memory while its statement runs. Compiling the statement of a
        // batch takes as long as running it.
        Tx::Postgres(_) => {
            "SET LOCAL synchronous_commit = off; SET LOCAL work_mem = '32MB'; SET LOCAL jit = off; "
        }
        #[cfg(feature = "sqlite")]
        Tx::Sqlite(_) => "",
    }
}

/// Runs a statement that compares rows by their text under settings that decide that text,
/// whatever those of the session are, and puts the session's back.
pub(crate) async fn fixed(tx: &mut Tx, sql: &str) -> Result<u64, DbError> {
    let Some(session) = fix_settings(tx).await? else {
        return tx.execute(sql).await;
    };
    let done = tx.execute(sql).await?;
    tx.rows(&session).await?;
    Ok(done)
}

/// As [`fixed`], for a query.
pub(crate) async fn fixed_rows(
    tx: &mut Tx,
    sql: &str,
) -> Result<Vec<crate::access::TextRow>, DbError> {
    let Some(session) = fix_settings(tx).await? else {
        return tx.rows(sql).await;
    };
    let rows = tx.rows(sql).await?;
    tx.rows(&session).await?;
    Ok(rows)
}

pub(crate) async fn fixed_count(tx: &mut Tx, sql: &str) -> Result<u64, DbError> {
    let rows = fixed_rows(tx, sql).await?;
    let first = rows
        .first()
        .and_then(|row| row.first())
        .and_then(Option::as_deref);
    Ok(first.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// The query that puts the settings back; none where there are none.
async fn fix_settings(tx: &mut Tx) -> Result<Option<String>, DbError> {
    #[cfg(feature = "postgres")]
    const SETTINGS: [(&str, &str); 5] = [
        ("TimeZone", "UTC"),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("bytea_output", "hex"),
        ("extra_float_digits", "1"),
    ];
    match tx {
        #[cfg(feature = "postgres")]
        Tx::Postgres(_) => {
            let current = SETTINGS
                .map(|(name, _)| format!("pg_catalog.current_setting('{name}')"))
                .join(", ");
            let values = tx
                .rows(&format!("SELECT {current}"))
                .await?
                .pop()
                .unwrap_or_default();
            let set = |name: &str, value: &str| {
                format!(
                    "pg_catalog.set_config('{name}', {}, true)",
                    migrate_schema::quote::literal(value)
                )
            };
            let fix = SETTINGS.map(|(name, value)| set(name, value)).join(", ");
            tx.rows(&format!("SELECT {fix}")).await?;
            let back = SETTINGS
                .iter()
                .zip(&values)
                .map(|((name, _), value)| set(name, value.as_deref().unwrap_or_default()));
            Ok(Some(format!(
                "SELECT {}",
                back.collect::<Vec<_>>().join(", ")
            )))
        }
        #[cfg(feature = "sqlite")]
        Tx::Sqlite(_) => Ok(None),
    }
}
