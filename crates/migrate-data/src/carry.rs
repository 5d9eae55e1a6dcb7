//! Carries rows that others wrote into the target back into the table they came from, before a
//! copy is undone.
//!
//! Three things happen, each in a transaction with a marker that says so, so that it can be
//! killed anywhere and goes on: the rows and their old form are kept in tables of our own; the
//! old form is copied into the old table by the same engine as any copy, verified; the rows are
//! taken out of the target. Then the copy is undone, and what is kept goes.

mod look;

use migrate_core::{StepContext, StepError, StepId};
use migrate_schema::catalog;
use migrate_schema::db::{Backend, DbError};
use migrate_schema::marks::{self, Marks};
use migrate_schema::own;
use migrate_schema::quote::{TableName, ident, literal};
use serde::{Deserialize, Serialize};

use crate::access::{self, Tx};
use crate::bad_rows::BadRows;
use crate::copy::{LateRows, TableCopy};
use crate::layout::{Layout, own_names};
use crate::range::Program;
use crate::reverse::{ReverseSql, VERDICT};
use crate::script::SqlScript;
use crate::settings::fixed;
use crate::statement::with_batch;
use crate::transform::{OnConflict, Repeatable};
use crate::triggers::{self, Quiet};
use crate::verify::Verify;

/// The temporary table with the keys of rows that others wrote; SQLite only.
const CHANGED: &str = "_etlrs_changed";

/// How many keys one statement puts there.
const PART: usize = 400;

/// How far a way back is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Carried {
    phase: Phase,
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layout: Option<Layout>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    /// The rows are in tables of our own.
    Kept,
    /// The copy into the old table can go on.
    Prepared,
    /// They are in the old table.
    Copied,
    /// They are out of the target; or there were none.
    Moved,
}

/// The way back of one copy.
pub(crate) struct Carry<'a> {
    pub(crate) copy: &'a TableCopy,
    pub(crate) reverse: &'a SqlScript,
    pub(crate) layout: &'a Layout,
}

impl Carry<'_> {
    fn backend(&self) -> Backend {
        self.copy.db.backend()
    }

    fn failed(&self, error: DbError) -> StepError {
        error.into_step_error(format!(
            "can't carry rows of {} back into {}",
            self.copy.target, self.copy.source
        ))
    }

    fn temp(&self, name: &str) -> String {
        match self.backend() {
            Backend::Postgres => format!("pg_temp.{}", ident(name)),
            Backend::Sqlite => format!("temp.{}", ident(name)),
        }
    }

    /// Whether the target's columns are those that were marked.
    fn fits(&self, marks: &Marks) -> bool {
        let names = self.layout.columns.iter().map(|column| &column.name);
        marks
            .find(&self.copy.target)
            .is_some_and(|(_, marked)| names.eq(&marked.columns))
    }

    async fn marks(&self, cx: &StepContext) -> Result<Option<Marks>, DbError> {
        marks::of_run(&self.copy.db, cx.run.as_str()).await
    }

    async fn sql(&self, back: String) -> Result<Parts, DbError> {
        let query = with_batch(
            "*",
            &self.reverse.select,
            &self.layout.target_sql(),
            " WHERE 1 = 0",
        );
        let mut outputs = access::columns_of(&self.copy.db, &query).await?;
        outputs.retain(|name| name != VERDICT);
        Ok(Parts {
            outputs,
            old: catalog::table_columns(&self.copy.db, &self.copy.source).await?,
            back,
        })
    }

    fn write<'b>(&'b self, parts: &'b Parts) -> ReverseSql<'b> {
        let forward = match &self.copy.program {
            Program::Sql(script) => script.select.as_str(),
            Program::Rust(_) => "",
        };
        let statements = self.copy.statements(self.layout);
        let updates = statements.updates(&self.copy.program.on_conflict());
        ReverseSql {
            backend: self.backend(),
            layout: self.layout,
            forward,
            updates: updates.map_or_else(Vec::new, |(columns, _)| columns),
            reverse: &self.reverse.select,
            old: &parts.old,
            outputs: &parts.outputs,
            back: parts.back.clone(),
        }
    }

    /// The conditions for rows `t` of the target that others inserted or updated.
    async fn conditions(&self, tx: &mut Tx, marks: &Marks) -> Result<(String, String), DbError> {
        let found = marks::written(&self.copy.db, marks, &self.copy.target).await?;
        let (inserted, updated) = match found {
            marks::Written::Conditions { inserted, updated } => return Ok((inserted, updated)),
            marks::Written::Keys {
                key,
                inserted,
                updated,
            } => {
                let changed = self.temp(CHANGED);
                tx.execute(&format!(
                    "CREATE TEMP TABLE {} (key text PRIMARY KEY, fresh integer) WITHOUT ROWID",
                    ident(CHANGED)
                ))
                .await?;
                for (keys, fresh) in [(inserted, 1), (updated, 0)] {
                    for part in keys.chunks(PART) {
                        let values = part
                            .iter()
                            .map(|key| format!("({}, {fresh})", literal(key)));
                        let values = values.collect::<Vec<_>>().join(", ");
                        tx.execute(&format!("INSERT INTO {changed} VALUES {values}"))
                            .await?;
                    }
                }
                let of = |fresh: u8| {
                    format!("{key} IN (SELECT key FROM {changed} WHERE fresh = {fresh})")
                };
                (of(1), of(0))
            }
        };
        Ok((inserted, updated))
    }

    /// Carries them back, or goes on with it. None if no run ended here, or there were none.
    pub(crate) async fn back(&self, cx: &StepContext) -> Result<Option<Carried>, StepError> {
        let begun = self.begun(cx).await.map_err(|error| self.failed(error))?;
        let mut carried = match begun {
            Some(carried) => carried,
            None => match self.keep(cx).await.map_err(|error| self.failed(error))? {
                Some(carried) => carried,
                None => return Ok(None),
            },
        };
        let (copy, at) = (self.copy_into_old(cx), back_context(cx)?);
        if carried.phase == Phase::Kept {
            carried.layout = Some(copy.prepare(at.run.as_str(), at.step.as_str()).await?);
            self.note(cx, &mut carried, Phase::Prepared)
                .await
                .map_err(|error| self.failed(error))?;
        }
        if carried.phase == Phase::Prepared
            && let Some(layout) = carried.layout.clone()
        {
            Box::pin(copy.run(&at, &layout)).await?;
            self.note(cx, &mut carried, Phase::Copied)
                .await
                .map_err(|error| self.failed(error))?;
        }
        if carried.phase == Phase::Copied {
            self.move_out(cx, &mut carried)
                .await
                .map_err(|error| self.failed(error))?;
        }
        Ok((carried.inserted + carried.updated > 0).then_some(carried))
    }

    async fn begun(&self, cx: &StepContext) -> Result<Option<Carried>, DbError> {
        let payload = own::marker(&self.copy.db, cx.run.as_str(), &marker(cx)).await?;
        Ok(payload.and_then(|payload| serde_json::from_str(&payload).ok()))
    }

    /// Keeps the rows and their old form. None if no run ended here.
    async fn keep(&self, cx: &StepContext) -> Result<Option<Carried>, DbError> {
        let Some(marks) = self.marks(cx).await? else {
            return Ok(None);
        };
        let name = |what: &str| own::name(self.backend(), &own_name(cx, what));
        let mut carried = Carried {
            phase: Phase::Moved,
            inserted: 0,
            updated: 0,
            layout: None,
        };
        let changes = marks::changes(&self.copy.db, &marks, &self.copy.target).await?;
        let parts = self.sql(name("back")).await?;
        let mut tx = Tx::begin(&self.copy.db).await?;
        if changes.is_some_and(|changes| changes.inserted + changes.updated > 0)
            && self.fits(&marks)
        {
            let (inserted, updated) = self.conditions(&mut tx, &marks).await?;
            let sql = self.write(&parts);
            let rows = sql.changed(&inserted, &updated);
            fixed(&mut tx, &format!("CREATE TABLE {} AS {rows}", name("back"))).await?;
            let give = format!("CREATE TABLE {} AS {}", name("give"), sql.given());
            tx.execute(&give).await?;
            let all = tx
                .count(&format!("SELECT count(*) FROM {}", name("back")))
                .await?;
            carried.updated = tx.count(&sql.count_known()).await?;
            carried.inserted = all - carried.updated;
            carried.phase = if all > 0 { Phase::Kept } else { Phase::Moved };
            if self.backend() == Backend::Sqlite {
                tx.execute(&format!("DROP TABLE {}", self.temp(CHANGED)))
                    .await?;
            }
        }
        tx.set_marker(cx.run.as_str(), &marker(cx), &payload(&carried))
            .await?;
        tx.commit().await?;
        Ok(Some(carried))
    }

    async fn note(
        &self,
        cx: &StepContext,
        carried: &mut Carried,
        phase: Phase,
    ) -> Result<(), DbError> {
        carried.phase = phase;
        let mut tx = Tx::begin(&self.copy.db).await?;
        tx.set_marker(cx.run.as_str(), &marker(cx), &payload(carried))
            .await?;
        tx.commit().await
    }

    async fn move_out(&self, cx: &StepContext, carried: &mut Carried) -> Result<(), DbError> {
        match self.move_out_quietly(cx, carried, Quiet::Altering).await {
            Err(error) if triggers::refused(&error) => {
                self.move_out_quietly(cx, carried, Quiet::All).await
            }
            done => done,
        }
    }

    async fn move_out_quietly(
        &self,
        cx: &StepContext,
        carried: &mut Carried,
        quiet: Quiet,
    ) -> Result<(), DbError> {
        let back = own::name(self.backend(), &own_name(cx, "back"));
        let parts = self.sql(back).await?;
        carried.phase = Phase::Moved;
        let mut tx = Tx::begin(&self.copy.db).await?;
        let sleeping = triggers::disable(&mut tx, self.layout, quiet).await?;
        for statement in self.write(&parts).move_out() {
            fixed(&mut tx, &statement).await?;
        }
        triggers::enable(&mut tx, sleeping).await?;
        tx.set_marker(cx.run.as_str(), &marker(cx), &payload(carried))
            .await?;
        tx.commit().await
    }

    /// The copy of the old form into the old table.
    fn copy_into_old(&self, cx: &StepContext) -> TableCopy {
        let give = own_name(cx, "give");
        let source = match self.backend() {
            Backend::Postgres => TableName::new(Some(own::SCHEMA), &give),
            Backend::Sqlite => TableName::new(None, &format!("{}{give}", own::SQLITE_PREFIX)),
        };
        let select = "SELECT * FROM batch".to_owned();
        TableCopy {
            source,
            target: self.copy.source.clone(),
            program: Program::Sql(std::sync::Arc::new(SqlScript {
                select: select.clone(),
                on_conflict: OnConflict::default(),
                repeatable: Repeatable::Yes,
            })),
            script: ("rows in their old form".to_owned(), select),
            verify: Verify::Full,
            bad_rows: BadRows::Fail,
            late_rows: LateRows::Ignored,
            ..self.copy.clone()
        }
    }

    /// Drops the tables that hold the rows. Idempotent; what was done stays known.
    pub(crate) async fn clear(&self, cx: &StepContext) -> Result<(), StepError> {
        let dropped = async {
            let at = self.begun(cx).await?;
            if let Some(layout) = at.and_then(|carried| carried.layout)
                && let Ok(at) = back_context(cx)
            {
                self.copy_into_old(cx).forget(&at, &layout).await?;
            }
            if !own::exists(&self.copy.db).await? {
                return Ok(());
            }
            let mut tx = Tx::begin(&self.copy.db).await?;
            for what in ["back", "give"] {
                let table = own::name(self.backend(), &own_name(cx, what));
                tx.execute(&format!("DROP TABLE IF EXISTS {table}")).await?;
            }
            tx.commit().await
        };
        dropped.await.map_err(|error| self.failed(error))
    }

    /// Removes also what says that it was done, after a finished rollback. Idempotent.
    pub(crate) async fn forget(&self, cx: &StepContext) -> Result<(), StepError> {
        self.clear(cx).await?;
        let cleared = async {
            if crate::ledger::exists(&self.copy.db, "markers").await? {
                let mut tx = Tx::begin(&self.copy.db).await?;
                tx.clear_marker(cx.run.as_str(), &marker(cx)).await?;
                tx.commit().await?;
            }
            Ok(())
        };
        cleared.await.map_err(|error: DbError| self.failed(error))
    }
}

/// What the SQL of a way back is made of.
struct Parts {
    outputs: Vec<String>,
    old: Vec<catalog::Column>,
    back: String,
}

impl Carried {
    /// What is told of it.
    pub(crate) fn line(&self, copy: &TableCopy) -> String {
        let count = self.inserted + self.updated;
        format!(
            "{} written into {} since {} in {} now ({} new, {} changed)",
            rows(count),
            copy.target,
            if count == 1 { "is" } else { "are" },
            copy.source,
            self.inserted,
            self.updated
        )
    }
}

/// The step under which the copy into the old table keeps its ledger.
pub(crate) fn back_step(step: &StepId) -> Result<StepId, String> {
    let mut name: String = step.as_str().chars().take(59).collect();
    name.push_str(".back");
    StepId::try_from(name)
}

/// A table of our own of this way back, without schema or prefix.
fn own_name(cx: &StepContext, what: &str) -> String {
    let (ledger, _) = own_names(cx.run.as_str(), cx.step.as_str());
    format!("{what}_{}", ledger.trim_start_matches("ledger_"))
}

/// The context of the copy into the old table, whose ledger is its own.
fn back_context(cx: &StepContext) -> Result<StepContext, StepError> {
    Ok(StepContext {
        step: back_step(&cx.step).map_err(StepError::failed)?,
        ..cx.clone()
    })
}

fn marker(cx: &StepContext) -> String {
    format!("{} carried back", cx.step)
}

fn payload(carried: &Carried) -> String {
    serde_json::to_string(carried).expect("counts and names are JSON")
}

fn rows(count: u64) -> String {
    if count == 1 {
        "1 row".to_owned()
    } else {
        format!("{count} rows")
    }
}
