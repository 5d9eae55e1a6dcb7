//! A script on SQLite.

use std::collections::HashSet;

use migrate_core::{StepContext, StepError};
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::applied::{Applied, brought, changes};
use super::attempt::Failed;
use super::rebuild::{NewShape, rebuild};
use super::versions::sqlite as versions;
use super::{Change, Direction, Versions, changed_since};
use crate::catalog::Catalog;
use crate::catalog::sqlite::master;
use crate::db::{DbError, DbErrorKind, Sqlite};
use crate::history::sqlite as history;
use crate::own::sqlite as own;
use crate::script::{DefaultValue, Effect, SqlScript, Statement};
use crate::wrote::{self, Way};

/// One attempt. On an error the transaction is rolled back and the pragmas are as before.
pub(super) async fn apply(lite: &Sqlite, change: &Change<'_>) -> Result<(), Failed> {
    let keys = foreign_keys_of(change.script);
    let mut held = Held::open(lite, keys).await?;
    let outcome = in_transaction(lite, &mut held, change, keys).await;
    held.give_back().await?;
    outcome
}

async fn in_transaction(
    lite: &Sqlite,
    held: &mut Held,
    change: &Change<'_>,
    keys: ForeignKeys,
) -> Result<(), Failed> {
    let mut tx = lite.begin_on(held.connection()).await?;
    let before = match change.step {
        Some(cx) if is_marked(&mut tx, cx).await? => return Ok(()),
        Some(_) => Some((Catalog::read_sqlite(&mut tx).await?, master(&mut tx).await?)),
        None => None,
    };
    let sums = match change.step {
        Some(_) => wrote::sqlite::sums(&mut tx).await?,
        None => wrote::Sums::new(),
    };
    let violations = Violations::read(&mut tx, keys).await?;
    let begun = std::time::Instant::now();
    for (number, (statement, effect)) in change.script.effects().enumerate() {
        change.started(number);
        execute(&mut tx, statement, &effect)
            .await
            .map_err(|error| change.failed(number, statement, error))?;
    }
    violations.refuse_new(&mut tx, keys).await?;
    let made_versions = !versions::exists(&mut tx).await?;
    let after = match change.step {
        Some(_) => Some(Catalog::read_sqlite(&mut tx).await?),
        None => None,
    };
    let millis = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
    let wrote_version = record(&mut tx, change, millis)
        .await
        .map_err(Failed::at("the schema's version can't be recorded"))?;
    if let (Some(cx), Some((before, texts)), Some(after)) = (change.step, before, after) {
        let changed = changes(&before, &after);
        let applied = Applied {
            version: change.version,
            made_versions,
            wrote_version,
            script: Some(change.key.clone()),
            texts: texts
                .into_iter()
                .filter(|row| changed.iter().any(|changed| changed.name == row.object()))
                .collect(),
            changed,
            ..Applied::default()
        };
        own::set_marker(
            &mut tx,
            cx.run.as_str(),
            cx.step.as_str(),
            &applied.to_marker(),
        )
        .await?;
    }
    if let Some(cx) = change.step {
        wrote::sqlite::keep(&mut tx, cx, &sums, Way::Done).await?;
    }
    migrate_failpoint::hit!("schema.commit")
        .map_err(|error| Failed::at("the schema change can't be committed")(error.into()))?;
    tx.commit()
        .await
        .map_err(|error| Failed::at("the schema change can't be committed")(error.into()))?;
    migrate_failpoint::hit!("schema.committed")
        .map_err(|error| Failed::at("the schema change is committed, but")(error.into()))
}

/// Records that the script ran: its version in the guide's table, its line in the history.
/// Whether the version's row is new.
async fn record(
    tx: &mut SqliteConnection,
    change: &Change<'_>,
    millis: i64,
) -> Result<bool, DbError> {
    let wrote = match change.direction {
        Direction::Up if change.versions == Versions::Kept => {
            versions::record(tx, change.version).await?
        }
        Direction::Up => false,
        Direction::Down => {
            forget(tx, change).await?;
            false
        }
    };
    history::append(tx, &[change.line(millis)]).await?;
    Ok(wrote)
}

/// Removes the version that a script brought. The step that ran it knows whether it wrote
/// the row and made the table.
async fn forget(tx: &mut SqliteConnection, change: &Change<'_>) -> Result<(), DbError> {
    let (mut made, mut wrote) = (false, change.versions == Versions::Kept);
    if let Some(cx) = change.step {
        let payloads: Vec<(String, String)> = sqlx::query_as(
            "select step, payload from _etlrs_markers where run = ?1 and step <> ?2",
        )
        .bind(cx.run.as_str())
        .bind(cx.step.as_str())
        .fetch_all(&mut *tx)
        .await?;
        for (step, applied) in brought(payloads, &change.key, change.version) {
            made |= applied.made_versions;
            wrote &= applied.wrote_version;
            own::clear_marker(tx, cx.run.as_str(), &step).await?;
        }
    }
    if wrote {
        versions::remove(tx, change.version, made).await?;
    }
    Ok(())
}

/// Whether foreign keys are enforced while a transaction runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForeignKeys {
    /// As the connection has it.
    AsSet,
    /// Not enforced, but checked at the end: tables are rebuilt, which drops the old ones.
    CheckedAtEnd,
}

/// A script gets them checked at its end if it asks for that (`PRAGMA foreign_keys = off`,
/// which has no effect inside a transaction) or if a column of it may need a rebuild.
fn foreign_keys_of(script: &SqlScript) -> ForeignKeys {
    let off = |value: &str| matches!(value, "off" | "0" | "false" | "no");
    let at_end = script.effects().any(|(_, effect)| match effect {
        Effect::Pragma { name, value } => {
            name == "foreign_keys" && value.as_deref().is_some_and(off)
        }
        Effect::AddColumn { default, .. } => default == DefaultValue::Expression,
        _ => false,
    });
    if at_end {
        ForeignKeys::CheckedAtEnd
    } else {
        ForeignKeys::AsSet
    }
}

pub(super) async fn execute(
    tx: &mut SqliteConnection,
    statement: Statement<'_>,
    effect: &Effect,
) -> Result<(), DbError> {
    if matches!(effect, Effect::Pragma { name, .. } if name == "foreign_keys") {
        return Ok(());
    }
    let done = sqlx::query(AssertSqlSafe(statement.text))
        .persistent(false)
        .execute(&mut *tx)
        .await;
    match (done, effect) {
        (Ok(_), _) => Ok(()),
        (
            Err(error),
            Effect::AddColumn {
                table,
                default: DefaultValue::Expression,
                ..
            },
        ) if error.to_string().contains("non-constant default")
            && table
                .schema()
                .is_none_or(|schema| schema.eq_ignore_ascii_case("main")) =>
        {
            rebuild(tx, table.table(), NewShape::Altered(statement.text)).await
        }
        (Err(error), _) => Err(error.into()),
    }
}

async fn is_marked(tx: &mut SqliteConnection, cx: &StepContext) -> Result<bool, Failed> {
    let found: Option<i64> =
        sqlx::query_scalar("select 1 from _etlrs_markers where run = ?1 and step = ?2")
            .bind(cx.run.as_str())
            .bind(cx.step.as_str())
            .fetch_optional(tx)
            .await?;
    Ok(found.is_some())
}

/// A connection with the pragmas for a rebuild. They can't be changed inside a transaction,
/// and must not stay: a connection that is dropped before [`Held::give_back`] is closed.
pub(super) struct Held {
    connection: Option<PoolConnection<sqlx::Sqlite>>,
    foreign_keys: i64,
    legacy_alter_table: i64,
    changed: bool,
}

impl Held {
    pub(super) async fn open(lite: &Sqlite, keys: ForeignKeys) -> Result<Self, Failed> {
        let mut connection = lite.acquire().await?;
        let mut held = Self {
            foreign_keys: read_pragma(&mut connection, "foreign_keys").await?,
            legacy_alter_table: read_pragma(&mut connection, "legacy_alter_table").await?,
            changed: keys == ForeignKeys::CheckedAtEnd,
            connection: Some(connection),
        };
        if held.changed {
            held.set(0, 1).await?;
        }
        Ok(held)
    }

    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        self.connection
            .as_mut()
            .expect("it is taken only by `give_back`")
    }

    async fn set(&mut self, foreign_keys: i64, legacy: i64) -> Result<(), Failed> {
        for pragma in [
            format!("pragma foreign_keys = {foreign_keys}"),
            format!("pragma legacy_alter_table = {legacy}"),
        ] {
            sqlx::query(AssertSqlSafe(pragma))
                .persistent(false)
                .execute(self.connection())
                .await?;
        }
        Ok(())
    }

    /// Sets the pragmas back and returns the connection to the pool.
    pub(super) async fn give_back(mut self) -> Result<(), Failed> {
        // A transaction that was dropped is rolled back before the next command. One that
        // SQLite itself rolled back is still counted as open by sqlx: such a connection is closed.
        self.connection().ping().await?;
        if self.changed {
            let (foreign_keys, legacy) = (self.foreign_keys, self.legacy_alter_table);
            self.set(foreign_keys, legacy).await?;
        }
        if !self.connection().is_in_transaction() {
            self.connection = None;
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

async fn read_pragma(connection: &mut SqliteConnection, name: &str) -> Result<i64, Failed> {
    Ok(sqlx::query_scalar(AssertSqlSafe(format!("pragma {name}")))
        .fetch_one(connection)
        .await?)
}

/// A row whose parent is missing: table, rowid, parent table, number of the key.
type Orphan = (String, Option<i64>, Option<String>, i64);

/// The violated foreign keys before a transaction; it is to blame only for others.
pub(super) struct Violations(HashSet<Orphan>);

impl Violations {
    pub(super) async fn read(tx: &mut SqliteConnection, keys: ForeignKeys) -> Result<Self, Failed> {
        match keys {
            ForeignKeys::AsSet => Ok(Self(HashSet::new())),
            ForeignKeys::CheckedAtEnd => Ok(Self(orphans(tx).await?)),
        }
    }

    pub(super) async fn refuse_new(
        &self,
        tx: &mut SqliteConnection,
        keys: ForeignKeys,
    ) -> Result<(), Failed> {
        if keys == ForeignKeys::AsSet {
            return Ok(());
        }
        let now = orphans(tx).await?;
        let mut new = now.difference(&self.0);
        let Some((table, row, parent, _)) = new.next() else {
            return Ok(());
        };
        let row = row.map_or_else(String::new, |row| format!(", rowid {row},"));
        Err(Failed {
            kind: DbErrorKind::Constraint,
            error: StepError::failed(format!(
                "a foreign key is violated: table {table}{row} refers to a missing row of {} \
                 ({} more)",
                parent.as_deref().unwrap_or("its parent"),
                new.count()
            ))
            .hint(
                "while tables are rebuilt no ON DELETE or ON UPDATE action runs; \
                 delete or change the rows that refer to others first",
            ),
        })
    }
}

async fn orphans(tx: &mut SqliteConnection) -> Result<HashSet<Orphan>, Failed> {
    let rows: Result<Vec<Orphan>, sqlx::Error> =
        sqlx::query_as("select \"table\", rowid, parent, fkid from pragma_foreign_key_check")
            .fetch_all(tx)
            .await;
    match rows {
        Ok(rows) => Ok(rows.into_iter().collect()),
        // A key whose parent columns are not unique can't be checked, before as after.
        Err(sqlx::Error::Database(error)) if error.message().contains("foreign key mismatch") => {
            Ok(HashSet::new())
        }
        Err(error) => Err(error.into()),
    }
}

/// Refuses an undo of what others changed since.
pub(super) fn refuse_foreign_changes(applied: &Applied, now: &Catalog) -> Result<(), Failed> {
    let foreign = applied.changed_since(now);
    if foreign.is_empty() {
        Ok(())
    } else {
        Err(changed_since(&foreign))
    }
}
