//! Which tables' rows a schema step changed: noted in the transaction of the change itself, so
//! that what others wrote can be told from it later.
//!
//! A note holds, for each table that the step changed, the sum of its rows before and after. Where
//! the sums of a run's notes do not follow one on the other, somebody else wrote in between.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::db::{Database, DbError, DbErrorKind};
use crate::own;
use crate::quote::literal;

/// How the markers are called under which notes are kept. No step can be called like that.
const MARKER: &str = "rows written by ";

/// The sums of tables' rows by name, as fingerprints hold them.
pub type Sums = BTreeMap<String, String>;

/// What one transaction of a step changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Its place among the notes of its run.
    pub number: u32,
    /// The step; none where it was undone.
    pub step: Option<String>,
    /// The tables whose rows are not as they were, with their sums before and after; none where
    /// there is no such table.
    pub tables: BTreeMap<String, (Option<String>, Option<String>)>,
}

/// Which way a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It was done.
    Done,
    /// It was undone.
    Undone,
}

impl Note {
    fn between(before: &Sums, after: &Sums, step: &str, way: Way) -> Self {
        let names = before.keys().chain(after.keys());
        let sums = |name: &String| (before.get(name).cloned(), after.get(name).cloned());
        Self {
            number: 0,
            step: (way == Way::Done).then(|| step.to_owned()),
            tables: names
                .map(|name| (name.clone(), sums(name)))
                .filter(|(_, (old, new))| old != new)
                .collect(),
        }
    }

    fn marker(&self, step: &str) -> String {
        match &self.step {
            Some(step) => format!("{MARKER}{step}"),
            None => format!("{MARKER}the undo of {step}"),
        }
    }

    fn payload(&self) -> String {
        serde_json::to_string(self).expect("it holds texts and numbers only")
    }
}

/// A run's notes in their order. Read-only.
///
/// # Errors
/// The database's.
pub async fn of_run(db: &Database, run: &str) -> Result<Vec<Note>, DbError> {
    if !own::tables(db)
        .await?
        .iter()
        .any(|table| table == "markers")
    {
        return Ok(Vec::new());
    }
    let markers = own::name(db.backend(), "markers");
    let sql = format!(
        "select payload from {markers} where run = {} and substr(step, 1, {}) = {}",
        literal(run),
        MARKER.len(),
        literal(MARKER)
    );
    let payloads: Vec<String> = match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => {
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .persistent(false)
                .fetch_all(&mut *pg.acquire().await?)
                .await?
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => {
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .persistent(false)
                .fetch_all(&mut *lite.acquire().await?)
                .await?
        }
    };
    let mut notes = Vec::with_capacity(payloads.len());
    for payload in &payloads {
        let note: Note = serde_json::from_str(payload).map_err(|error| {
            let what = format!("what run {run} noted of its own writes makes no sense: {error}");
            DbError::new(DbErrorKind::Other, what)
        })?;
        notes.push(note);
    }
    notes.sort_by_key(|note| note.number);
    Ok(notes)
}

/// Notes within a transaction of PostgreSQL.
#[cfg(feature = "postgres")]
pub(crate) mod postgres {
    use migrate_core::StepContext;
    use sqlx::{Connection, PgConnection};

    use super::{MARKER, Note, Sums, Way};
    use crate::catalog::postgres_tables;
    use crate::db::DbError;
    use crate::fingerprint::postgres::sum;
    use crate::own::postgres as own;
    use crate::quote::TableName;

    /// Every table that a transaction may have written to is locked by it until its end.
    const LOCKED: &str = "select distinct n.nspname::text, c.relname::text from pg_catalog.pg_locks l \
        join pg_catalog.pg_class c on c.oid = coalesce(pg_catalog.pg_partition_root(l.relation), l.relation) \
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
        where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.granted \
        and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()) \
        and l.mode not in ('AccessShareLock', 'RowShareLock')";

    /// The sums of all tables; the transaction's settings and locks stay as they are.
    pub(crate) async fn sums(tx: &mut PgConnection) -> Result<Sums, DbError> {
        let mut inner = tx.begin().await?;
        let mut sums = Sums::new();
        for table in postgres_tables(&mut inner).await? {
            sums.insert(
                table.to_string(),
                sum(&mut inner, &table).await?.to_string(),
            );
        }
        inner.rollback().await?;
        Ok(sums)
    }

    /// Notes what the transaction changed since `before`.
    pub(crate) async fn keep(
        tx: &mut PgConnection,
        cx: &StepContext,
        before: &Sums,
        way: Way,
    ) -> Result<(), DbError> {
        let locked: Vec<(String, String)> = sqlx::query_as(LOCKED).fetch_all(&mut *tx).await?;
        let locked: Vec<TableName> = locked
            .into_iter()
            .map(|(schema, table)| TableName::new(Some(&schema), &table))
            .collect();
        let mut inner = tx.begin().await?;
        let mut after = Sums::new();
        for table in postgres_tables(&mut inner).await? {
            let name = table.to_string();
            match before.get(&name) {
                Some(known) if !locked.contains(&table) => after.insert(name, known.clone()),
                _ => after.insert(name, sum(&mut inner, &table).await?.to_string()),
            };
        }
        inner.rollback().await?;
        let mut note = Note::between(before, &after, cx.step.as_str(), way);
        let (run, marker) = (cx.run.as_str(), note.marker(cx.step.as_str()));
        let earlier: i64 = sqlx::query_scalar(
            "select count(*) from etlrs_migrate.markers where run = $1 and substr(step, 1, length($2)) = $2",
        )
        .bind(run)
        .bind(MARKER)
        .fetch_one(&mut *tx)
        .await?;
        note.number = u32::try_from(earlier).unwrap_or(u32::MAX);
        own::set_marker(tx, run, &marker, &note.payload()).await
    }
}

/// Notes within a transaction of SQLite.
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite {
    use migrate_core::StepContext;
    use sqlx::SqliteConnection;

    use super::{MARKER, Note, Sums, Way};
    use crate::db::DbError;
    use crate::own::sqlite as own;

    /// The sums of all tables.
    pub(crate) async fn sums(tx: &mut SqliteConnection) -> Result<Sums, DbError> {
        let mut sums = Sums::new();
        for table in crate::catalog::sqlite::user_tables(tx).await? {
            let sum = crate::fingerprint::sqlite::sum(tx, &table).await?;
            sums.insert(table.to_string(), sum.to_string());
        }
        Ok(sums)
    }

    /// Notes what the transaction changed since `before`.
    pub(crate) async fn keep(
        tx: &mut SqliteConnection,
        cx: &StepContext,
        before: &Sums,
        way: Way,
    ) -> Result<(), DbError> {
        let after = sums(tx).await?;
        let mut note = Note::between(before, &after, cx.step.as_str(), way);
        let (run, marker) = (cx.run.as_str(), note.marker(cx.step.as_str()));
        let earlier: i64 = sqlx::query_scalar(
            "select count(*) from _etlrs_markers where run = ?1 and substr(step, 1, length(?2)) = ?2",
        )
        .bind(run)
        .bind(MARKER)
        .fetch_one(&mut *tx)
        .await?;
        note.number = u32::try_from(earlier).unwrap_or(u32::MAX);
        own::set_marker(tx, run, &marker, &note.payload()).await
    }
}
