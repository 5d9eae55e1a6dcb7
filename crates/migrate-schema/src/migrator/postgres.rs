//! A script on PostgreSQL.

use migrate_core::StepContext;
use sqlx::{AssertSqlSafe, PgConnection, Transaction};

use super::applied::{Applied, Routine, brought, changes};
use super::attempt::{Failed, Patience};
use super::blockers::Blockers;
use super::versions::postgres as versions;
use super::{Change, Direction, Versions, changed_since, failed_at, not_as_before, undone};
use crate::catalog::Catalog;
use crate::db::{DbError, Postgres};
use crate::history::postgres as history;
use crate::own::postgres as own;
use crate::script::{Effect, SqlScript, Statement};
use crate::wrote::{self, Way};

/// One attempt. On an error the transaction is rolled back.
pub(super) async fn apply(
    pg: &Postgres,
    change: &Change<'_>,
    patience: Patience,
) -> Result<(), Failed> {
    let Session {
        mut tx,
        pid,
        search_path,
    } = Session::begin(pg, patience).await?;
    let before = match change.step {
        Some(cx) if is_marked(&mut tx, cx).await? => return Ok(()),
        Some(_) => Some((
            Catalog::read_postgres(&mut tx).await?,
            wrote::postgres::sums(&mut tx).await?,
        )),
        None => None,
    };
    let routines = replaceable(&mut tx, change.script).await?;
    let begun = std::time::Instant::now();
    for (number, statement) in change.script.statements().enumerate() {
        change.started(number);
        execute(pg, &mut tx, pid, statement)
            .await
            .map_err(|error| change.failed(number, statement, error))?;
    }
    session_as_before(&mut tx, &search_path).await?;
    let made_versions = !versions::exists(&mut tx).await?;
    let after = match change.step {
        Some(_) => Some(Catalog::read_postgres(&mut tx).await?),
        None => None,
    };
    let millis = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
    let wrote_version = record(&mut tx, change, millis)
        .await
        .map_err(Failed::at("the schema's version can't be recorded"))?;
    if let (Some(cx), Some((before, _)), Some(after)) = (change.step, &before, after) {
        let applied = Applied {
            version: change.version,
            made_versions,
            wrote_version,
            script: Some(change.key.clone()),
            changed: changes(before, &after),
            routines,
            #[cfg(feature = "sqlite")]
            texts: Vec::new(),
        };
        own::set_marker(
            &mut tx,
            cx.run.as_str(),
            cx.step.as_str(),
            &applied.to_marker(),
        )
        .await?;
    }
    if let (Some(cx), Some((_, sums))) = (change.step, &before) {
        wrote::postgres::keep(&mut tx, cx, sums, Way::Done).await?;
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
async fn record(tx: &mut PgConnection, change: &Change<'_>, millis: i64) -> Result<bool, DbError> {
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
async fn forget(tx: &mut PgConnection, change: &Change<'_>) -> Result<(), DbError> {
    let (mut made, mut wrote) = (false, change.versions == Versions::Kept);
    if let Some(cx) = change.step {
        let payloads: Vec<(String, String)> = sqlx::query_as(
            "select step, payload from etlrs_migrate.markers where run = $1 and step <> $2",
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

/// One attempt to take it back.
pub(super) async fn revert(
    pg: &Postgres,
    cx: &StepContext,
    down: &SqlScript,
    applied: &Applied,
    patience: Patience,
) -> Result<Vec<String>, Failed> {
    let Session {
        mut tx,
        pid,
        search_path,
    } = Session::begin(pg, patience).await?;
    if !own::clear_marker(&mut tx, cx.run.as_str(), cx.step.as_str()).await? {
        return Ok(Vec::new());
    }
    let sums = wrote::postgres::sums(&mut tx).await?;
    let now = Catalog::read_postgres(&mut tx).await?;
    let foreign = applied.changed_since(&now);
    if !foreign.is_empty() {
        return Err(changed_since(&foreign));
    }
    for routine in replaced(applied) {
        sqlx::raw_sql(AssertSqlSafe(routine.definition.as_str()))
            .execute(&mut *tx)
            .await
            .map_err(|error| {
                Failed::at(&format!("{} can't be brought back", routine.name))(error.into())
            })?;
    }
    for (number, (statement, effect)) in down.effects().enumerate() {
        if drops_what_was_there(&mut tx, &effect, &now, applied).await? {
            continue;
        }
        execute(pg, &mut tx, pid, statement)
            .await
            .map_err(|error| failed_at(down, number, statement, error))?;
    }
    session_as_before(&mut tx, &search_path).await?;
    let end = Catalog::read_postgres(&mut tx).await?;
    let (wrong, gone) = applied.review_undo(&now, &end);
    if !wrong.is_empty() {
        return Err(not_as_before(&wrong));
    }
    if applied.wrote_version {
        versions::remove(&mut tx, applied.version, applied.made_versions).await?;
    }
    if let Some(line) = undone(cx, applied) {
        history::append(&mut tx, &[line]).await?;
    }
    wrote::postgres::keep(&mut tx, cx, &sums, Way::Undone).await?;
    migrate_failpoint::hit!("schema.undo")
        .map_err(|error| Failed::at("the undo can't be committed")(error.into()))?;
    tx.commit()
        .await
        .map_err(|error| Failed::at("the undo can't be committed")(error.into()))?;
    migrate_failpoint::hit!("schema.undone")
        .map_err(|error| Failed::at("the undo is committed, but")(error.into()))?;
    Ok(gone)
}

/// A transaction on a connection that is closed afterwards: a script may set anything in its
/// session.
struct Session {
    tx: Transaction<'static, sqlx::Postgres>,
    pid: i32,
    search_path: String,
}

impl Session {
    async fn begin(pg: &Postgres, patience: Patience) -> Result<Self, Failed> {
        let mut connection = pg.pool().acquire().await?;
        connection.close_on_drop();
        let mut tx = pg.begin_on(connection).await?;
        let (pid, search_path, _): (i32, String, String) = sqlx::query_as(
            "select pg_backend_pid(), current_setting('search_path'), \
                    set_config('lock_timeout', $1, true)",
        )
        .bind(format!("{}ms", patience.lock_timeout.as_millis()))
        .fetch_one(&mut *tx)
        .await?;
        Ok(Self {
            tx,
            pid,
            search_path,
        })
    }
}

async fn is_marked(tx: &mut PgConnection, cx: &StepContext) -> Result<bool, Failed> {
    Ok(sqlx::query_scalar(
        "select exists (select from etlrs_migrate.markers where run = $1 and step = $2)",
    )
    .bind(cx.run.as_str())
    .bind(cx.step.as_str())
    .fetch_one(tx)
    .await?)
}

/// Runs one statement, watched for who blocks it.
async fn execute(
    pg: &Postgres,
    tx: &mut PgConnection,
    pid: i32,
    statement: Statement<'_>,
) -> Result<(), DbError> {
    let blockers = Blockers::default();
    let done = tokio::select! {
        biased;
        done = sqlx::raw_sql(AssertSqlSafe(statement.text)).execute(tx) => done,
        never = blockers.watch(pg, pid) => match never {},
    };
    done.map(drop).map_err(|error| {
        let mut error = DbError::from(error);
        if let Some(told) = blockers.told() {
            error.detail = Some(match error.detail.take() {
                Some(detail) => format!("{detail}; {told}"),
                None => told,
            });
        }
        error
    })
}

/// Takes back what a script may have set, before our own statements follow.
async fn session_as_before(tx: &mut PgConnection, search_path: &str) -> Result<(), Failed> {
    sqlx::raw_sql("reset session authorization; reset role; set constraints all immediate")
        .execute(&mut *tx)
        .await?;
    sqlx::query("select set_config('search_path', $1, true)")
        .bind(search_path)
        .execute(tx)
        .await?;
    Ok(())
}

/// The routines that a script could replace, as they are before it.
async fn replaceable(tx: &mut PgConnection, script: &SqlScript) -> Result<Vec<Routine>, Failed> {
    let mut found = Vec::new();
    for (_, effect) in script.effects() {
        let Effect::ReplaceRoutine(name) = effect else {
            continue;
        };
        let rows: Vec<(String, String)> = sqlx::query_as(
            "select p.oid::regprocedure::text, pg_get_functiondef(p.oid) \
             from pg_proc p join pg_namespace n on n.oid = p.pronamespace \
             where p.proname = $1 and p.prokind in ('f', 'p', 'w') \
               and (n.nspname = $2 or ($2 is null and n.nspname = any (current_schemas(false))))",
        )
        .bind(name.table())
        .bind(name.schema())
        .fetch_all(&mut *tx)
        .await?;
        found.extend(
            rows.into_iter()
                .map(|(name, definition)| Routine { name, definition }),
        );
    }
    Ok(found)
}

/// Those whose definition the script changed.
fn replaced(applied: &Applied) -> impl Iterator<Item = &Routine> {
    applied.routines.iter().filter(|routine| {
        applied.changed.iter().any(|changed| {
            changed
                .before
                .as_deref()
                .is_some_and(|before| before.starts_with(&routine.definition))
                && changed.after.is_some()
        })
    })
}

/// Whether a statement of a down script would drop a routine that the script did not create:
/// `CREATE OR REPLACE` found it there, maybe with other users.
async fn drops_what_was_there(
    tx: &mut PgConnection,
    effect: &Effect,
    now: &Catalog,
    applied: &Applied,
) -> Result<bool, Failed> {
    let Effect::DropRoutine { signature } = effect else {
        return Ok(false);
    };
    let lookup = if signature.contains('(') {
        "select to_regprocedure($1)::oid"
    } else {
        "select to_regproc($1)::oid"
    };
    let object: Option<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "select case p.prokind when 'p' then 'procedure ' else 'function ' end \
             || quote_ident(n.nspname) || '.' || quote_ident(p.proname) \
             || '(' || pg_get_function_identity_arguments(p.oid) || ')' \
         from pg_proc p join pg_namespace n on n.oid = p.pronamespace where p.oid = ({lookup})"
    )))
    .bind(signature)
    .fetch_optional(tx)
    .await?;
    Ok(object.is_some_and(|name| {
        now.objects().contains_key(&name)
            && applied
                .changed(&name)
                .is_none_or(|changed| changed.before.is_some())
    }))
}
