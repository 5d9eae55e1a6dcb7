//! What stands in the database about a copy, so that any process can take part in it.

use migrate_core::{BatchSize, StepError};
use migrate_schema::db::{Backend, Database, DbError, DbErrorKind, Fence};
use migrate_schema::own;
use migrate_schema::quote::literal;
use serde::{Deserialize, Serialize};

use crate::access::{self, Tx};
use crate::bad_rows::BadRows;
use crate::copy::{LateRows, TableCopy};
use crate::layout::Layout;
use crate::ledger;
use crate::range::Program;
use crate::script;
use crate::transform::TransformRegistry;

/// The table of all copies of this database that are not forgotten.
const COPIES: &str = "copies";

/// A copy as another process can take it up. No URL and no secret is in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) layout: Layout,
    /// `rust:NAME`, or the script's name.
    pub(crate) script: String,
    /// The script's text.
    pub(crate) text: String,
    pub(crate) batch: BatchSize,
    pub(crate) workers: usize,
    pub(crate) verify: String,
    /// The source is in another database.
    pub(crate) elsewhere: bool,
}

/// A copy that was begun.
#[derive(Debug, Clone)]
pub(crate) struct Begun {
    pub(crate) run: String,
    pub(crate) step: String,
    pub(crate) finished: bool,
    pub(crate) spec: Spec,
}

fn table(db: &Database) -> String {
    own::name(db.backend(), COPIES)
}

/// Enters a copy, in the transaction that creates its ledger. Idempotent.
pub(crate) async fn enter(
    tx: &mut Tx,
    backend: Backend,
    (run, step): (&str, &str),
    spec: &Spec,
) -> Result<(), DbError> {
    let table = own::name(backend, COPIES);
    let json = serde_json::to_string(spec)
        .map_err(|error| DbError::new(DbErrorKind::Other, error.to_string()))?;
    tx.execute(&format!(
        "CREATE TABLE IF NOT EXISTS {table} (run text NOT NULL, step text NOT NULL, state text NOT NULL, spec text NOT NULL, PRIMARY KEY (run, step))"
    ))
    .await?;
    tx.execute(&format!(
        "INSERT INTO {table} (run, step, state, spec) VALUES ({}, {}, 'running', {}) ON CONFLICT (run, step) DO UPDATE SET state = 'running'",
        literal(run),
        literal(step),
        literal(&json)
    ))
    .await?;
    Ok(())
}

/// Notes that a copy is done.
pub(crate) async fn finish(
    tx: &mut Tx,
    backend: Backend,
    (run, step): (&str, &str),
) -> Result<(), DbError> {
    tx.execute(&format!(
        "UPDATE {} SET state = 'done' WHERE run = {} AND step = {}",
        own::name(backend, COPIES),
        literal(run),
        literal(step)
    ))
    .await?;
    Ok(())
}

/// Removes a copy. Idempotent.
pub(crate) async fn forget(
    db: &Database,
    tx: &mut Tx,
    (run, step): (&str, &str),
) -> Result<(), DbError> {
    if !ledger::exists(db, COPIES).await? {
        return Ok(());
    }
    tx.execute(&format!(
        "DELETE FROM {} WHERE run = {} AND step = {}",
        table(db),
        literal(run),
        literal(step)
    ))
    .await?;
    Ok(())
}

/// All copies that are not forgotten, or those of a run.
pub(crate) async fn begun(db: &Database, run: Option<&str>) -> Result<Vec<Begun>, DbError> {
    if !ledger::exists(db, COPIES).await? {
        return Ok(Vec::new());
    }
    let of_run = run.map_or_else(String::new, |run| format!(" WHERE run = {}", literal(run)));
    let query = format!(
        "SELECT run, step, state, spec FROM {}{of_run} ORDER BY run, step",
        table(db)
    );
    let read = |row: &access::TextRow| -> Result<Begun, String> {
        let text = |at: usize| row[at].clone().ok_or("a value is NULL");
        Ok(Begun {
            run: text(0)?,
            step: text(1)?,
            finished: text(2)? == "done",
            spec: serde_json::from_str(&text(3)?).map_err(|error| error.to_string())?,
        })
    };
    access::rows(db, &query)
        .await?
        .iter()
        .map(|row| {
            read(row).map_err(|why| {
                DbError::new(
                    DbErrorKind::Other,
                    format!("what is kept of a copy can't be read: {why}"),
                )
            })
        })
        .collect()
}

/// The fence that a run raised, if the database is that run's.
pub(crate) async fn fence_of(db: &Database, run: &str) -> Result<Option<Fence>, DbError> {
    if !ledger::exists(db, "fence").await? {
        return Ok(None);
    }
    let query = format!(
        "SELECT epoch FROM {} WHERE id = 1 AND run = {}",
        own::name(db.backend(), "fence"),
        literal(run)
    );
    let found = access::rows(db, &query).await?;
    let epoch = found
        .first()
        .and_then(|row| row[0].as_deref()?.parse().ok());
    Ok(epoch.map(|epoch| Fence {
        run: run.to_owned(),
        epoch,
    }))
}

impl Spec {
    /// Of a copy.
    pub(crate) fn of(copy: &TableCopy, layout: &Layout) -> Self {
        Self {
            layout: layout.clone(),
            script: copy.script.0.clone(),
            text: copy.script.1.clone(),
            batch: copy.batch,
            workers: copy.workers,
            verify: copy.verify.to_string(),
            elsewhere: copy.elsewhere.is_some(),
        }
    }

    /// The copy again.
    pub(crate) fn copy(
        &self,
        db: &Database,
        elsewhere: Option<&Database>,
        transforms: &TransformRegistry,
    ) -> Result<TableCopy, StepError> {
        let no = |why: String| {
            StepError::failed(format!(
                "the copy of {} can't be taken up",
                self.layout.source
            ))
            .cause(why)
        };
        if self.elsewhere && elsewhere.is_none() {
            return Err(no("its source is in another database".to_owned())
                .hint("name that database, as the copy's own command does (--source-url)"));
        }
        let program = match self.script.strip_prefix("rust:") {
            Some(name) => Program::Rust(
                transforms
                    .get(name.trim())
                    .ok_or_else(|| no(format!("no Rust transform is called {name:?} here")))?,
            ),
            None => Program::Sql(std::sync::Arc::new(script::parse(&self.text).map_err(no)?)),
        };
        Ok(TableCopy {
            late_rows: LateRows::Ignored,
            db: db.clone(),
            elsewhere: elsewhere.filter(|_| self.elsewhere).cloned(),
            source: self.layout.source.parse().map_err(no)?,
            target: self.layout.target.parse().map_err(no)?,
            program,
            script: (self.script.clone(), self.text.clone()),
            batch: self.batch,
            workers: self.workers,
            verify: self.verify.parse().map_err(no)?,
            // What was allowed stands in the layout.
            bad_rows: BadRows::Fail,
        })
    }
}
