//! The step kind `SchemaUpdate`: a script that brings the schema to a version.

mod spec;
mod syntax;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use migrate_core::{
    Description, Finding, MigrationStep, Outcome, Preview, Probe, Readiness, Receipt, ScopeObject,
    Scripts, Step, StepContext, StepError, StepKind, StepSite, UndoReport, Undoable,
};
use serde_json::json;

use crate::catalog::table_columns;
use crate::db::{Backend, Database};
use crate::migrator::{Change, Patience, apply, revert, versions};
use crate::own;
use crate::quote::TableName;
use crate::script::{Effect, SqlScript};

use spec::{Spec, Undo};

/// Builds `SchemaUpdate` steps.
///
/// The script is named by `script` or `command`. `schema_version` is the version that it
/// brings; by default the number after `_v` in a name like `001_v2_changes.sql`, else the
/// number at the name's begin. `down` names the script that takes it back; by default
/// `NAME.down.sql` if it exists.
#[derive(Clone)]
pub struct SchemaUpdateKind {
    db: Database,
    scripts: Arc<dyn Scripts>,
}

impl SchemaUpdateKind {
    /// For a database, with scripts by name.
    pub fn new(db: Database, scripts: Arc<dyn Scripts>) -> Self {
        Self { db, scripts }
    }
}

impl StepKind for SchemaUpdateKind {
    fn name(&self) -> &'static str {
        "SchemaUpdate"
    }

    fn extra_fields(&self) -> &[&str] {
        &["script", "schema_version", "down"]
    }

    fn build(
        &self,
        step: &MigrationStep,
        site: &StepSite<'_>,
    ) -> Result<Box<dyn Step>, Vec<Finding>> {
        let spec = Spec::read(step, &*self.scripts, self.db.backend())?;
        let earlier = site
            .plan
            .steps
            .iter()
            .take(site.index)
            .any(|earlier| !matches!(earlier.step_type.name(), "ConfigUpdate" | "Validation"));
        Ok(Box::new(SchemaUpdate {
            db: self.db.clone(),
            spec,
            earlier,
        }))
    }
}

/// One script, as a step.
struct SchemaUpdate {
    db: Database,
    spec: Spec,
    /// A step before it can make what it needs.
    earlier: bool,
}

impl SchemaUpdate {
    fn statements(&self) -> Vec<String> {
        self.spec
            .script
            .statements()
            .map(|statement| format!("{};", statement.text))
            .collect()
    }

    /// Leaves the engine's own timeout behind, so that the reason is told and not only the end.
    fn patience(cx: &StepContext) -> Patience {
        Patience {
            give_up_after: cx.timeout.mul_f64(0.9),
            ..Patience::default()
        }
    }

    async fn current(&self) -> Result<i64, StepError> {
        versions::current(&self.db)
            .await
            .map_err(|error| error.into_step_error("the schema's version can't be read"))
    }

    async fn readiness(&self) -> Result<Readiness, StepError> {
        let current = self.current().await?;
        if current >= self.spec.version {
            return Ok(Readiness::AlreadyDone(format!(
                "the schema is at version {current}"
            )));
        }
        let mut findings = syntax::check(&self.db, &self.spec.script)
            .await
            .map_err(|error| error.into_step_error("the script can't be checked"))?;
        let missing = self.clashes().await.map_err(|error| {
            error.into_step_error("the script can't be compared with the schema")
        })?;
        if findings.is_empty() && self.earlier && !missing.is_empty() {
            return Ok(Readiness::After(format!(
                "an earlier step may change this: {}",
                missing[0].message
            )));
        }
        findings.extend(missing);
        Ok(if findings.is_empty() {
            Readiness::Ready
        } else {
            Readiness::Blocked(findings)
        })
    }

    /// Tables that a statement needs and that are not there, or makes and that are there.
    async fn clashes(&self) -> Result<Vec<Finding>, crate::db::DbError> {
        let script = &self.spec.script;
        let mut made: HashSet<TableName> = HashSet::new();
        let mut findings = Vec::new();
        for (statement, effect) in script.effects() {
            let finding = match effect {
                Effect::AlterTable(Some(table)) | Effect::Update { table, .. } => {
                    self.missing(&table, &made).await?
                }
                Effect::AddColumn { table, column, .. } => match self.missing(&table, &made).await?
                {
                    Some(finding) => Some(finding),
                    None => self.column_there(&table, &column).await?,
                },
                Effect::CreateTable(Some(table)) => {
                    let there = !table_columns(&self.db, &table).await?.is_empty();
                    let finding = there.then(|| {
                        Finding::error(
                            "schema.table-exists",
                            format!("table {table} is there already"),
                        )
                        .hint(self.by_hand())
                    });
                    made.insert(table);
                    finding
                }
                // What follows may be about what these made or renamed.
                Effect::Other | Effect::CreateTableIfMissing | Effect::AlterTable(None) => {
                    return Ok(findings);
                }
                _ => None,
            };
            findings.extend(finding.map(|found| found.in_file(script.place(statement.start))));
        }
        Ok(findings)
    }

    fn by_hand(&self) -> String {
        format!(
            "if the change was made by hand, record it: \
             INSERT INTO schema_versions (version) VALUES ({})",
            self.spec.version
        )
    }

    async fn missing(
        &self,
        table: &TableName,
        made: &HashSet<TableName>,
    ) -> Result<Option<Finding>, crate::db::DbError> {
        if made.contains(table) || !table_columns(&self.db, table).await?.is_empty() {
            return Ok(None);
        }
        let known: Vec<String> = crate::catalog::user_tables(&self.db)
            .await?
            .iter()
            .map(ToString::to_string)
            .collect();
        Ok(Some(
            Finding::error("schema.no-table", format!("there is no table {table}")).hint(
                if known.is_empty() {
                    "the database holds no tables: is it the right one?".to_owned()
                } else {
                    format!("tables: {}", known.join(", "))
                },
            ),
        ))
    }

    async fn column_there(
        &self,
        table: &TableName,
        column: &str,
    ) -> Result<Option<Finding>, crate::db::DbError> {
        let there = table_columns(&self.db, table)
            .await?
            .iter()
            .any(|found| found.name.eq_ignore_ascii_case(column));
        Ok(there.then(|| {
            Finding::error(
                "schema.column-exists",
                format!("table {table} has a column {column} already"),
            )
            .hint(self.by_hand())
        }))
    }

    fn outcome(&self) -> Outcome {
        let statements = self.spec.script.statements().len();
        let mut outcome = Outcome::line(format!(
            "{statements} statements, schema at version {}",
            self.spec.version
        ));
        outcome
            .figures
            .insert("statements".to_owned(), json!(statements));
        outcome
            .figures
            .insert("schema_version".to_owned(), json!(self.spec.version));
        outcome
    }
}

#[async_trait]
impl Step for SchemaUpdate {
    fn describe(&self) -> Description {
        let script = &self.spec.script;
        let mut inputs = vec![(script.origin().to_owned(), script.text().to_owned())];
        if let Some(down) = self.spec.undo.script() {
            inputs.push((down.origin().to_owned(), down.text().to_owned()));
        }
        Description {
            title: self.spec.title.clone(),
            scope: vec![ScopeObject::Catalog],
            undo: match self.spec.undo {
                Undo::Down(_) | Undo::ByCatalog => Undoable::Yes,
                Undo::None(_) => Undoable::No,
            },
            deferred: false,
            runs_commands: false,
            actions: self.statements(),
            inputs,
        }
    }

    async fn preview(&self, cx: &StepContext) -> Result<Preview, StepError> {
        let look = async {
            let current = self.current().await?;
            let mut notes = Vec::new();
            if current >= self.spec.version {
                notes.push(format!(
                    "the schema is at version {current}: nothing would run"
                ));
            } else {
                notes.push(format!(
                    "the schema goes from version {current} to {}",
                    self.spec.version
                ));
            }
            if let Undo::None(why) = &self.spec.undo {
                notes.push(format!("can't be undone by itself: {why}"));
            }
            Ok(Preview {
                actions: self.statements(),
                notes,
                ..Preview::default()
            })
        };
        self.db.cancellable(&cx.cancel, look).await
    }

    async fn check(&self, cx: &StepContext) -> Result<Readiness, StepError> {
        self.db.cancellable(&cx.cancel, self.readiness()).await
    }

    async fn prepare(&self, cx: &StepContext) -> Result<Receipt, StepError> {
        let look = async {
            own::ensure(&self.db)
                .await
                .map_err(|error| error.into_step_error("our own tables can't be made"))?;
            Ok(Receipt(json!({
                "script": self.spec.script.origin(),
                "version_before": self.current().await?,
                "version": self.spec.version,
            })))
        };
        self.db.cancellable(&cx.cancel, look).await
    }

    async fn run(&self, cx: &StepContext, _receipt: &Receipt) -> Result<Outcome, StepError> {
        let change = Change {
            script: &self.spec.script,
            version: self.spec.version,
            step: Some(cx),
        };
        let work = apply(&self.db, &change, Self::patience(cx));
        self.db.cancellable(&cx.cancel, work).await?;
        Ok(self.outcome())
    }

    async fn undo(&self, cx: &StepContext, _receipt: &Receipt) -> Result<UndoReport, StepError> {
        let down = self.spec.undo.script();
        let work = revert(&self.db, cx, down, Self::patience(cx));
        self.db.cancellable(&cx.cancel, work).await
    }

    async fn probe(&self, cx: &StepContext, _receipt: &Receipt) -> Result<Probe, StepError> {
        let look = async {
            own::marker(&self.db, cx.run.as_str(), cx.step.as_str())
                .await
                .map_err(|error| error.into_step_error("the step's marker can't be read"))
        };
        Ok(match self.db.cancellable(&cx.cancel, look).await? {
            Some(_) => Probe::Applied(self.outcome()),
            None => Probe::NotApplied,
        })
    }
}

/// Whether SQLite can take a script back by its catalog alone: nothing in it destroys or
/// changes rows that were there. The reason if not.
fn undo_by_catalog(script: &SqlScript) -> Result<(), String> {
    if script.backend() == Backend::Postgres {
        return Err("there is no down script".to_owned());
    }
    let mut made: HashSet<String> = HashSet::new();
    let mut added: HashSet<(String, String)> = HashSet::new();
    for (statement, effect) in script.effects() {
        let small = |table: &TableName| table.table().to_lowercase();
        let keeps_rows = match effect {
            Effect::CreateTable(table) => {
                made.extend(table.as_ref().map(small));
                true
            }
            Effect::AddColumn { table, column, .. } => {
                added.insert((small(&table), column.to_lowercase()));
                true
            }
            Effect::Update { table, columns } => {
                made.contains(&small(&table))
                    || columns
                        .iter()
                        .all(|column| added.contains(&(small(&table), column.to_lowercase())))
            }
            Effect::Insert(table) => made.contains(&small(&table)),
            Effect::Pragma { .. }
            | Effect::Savepoint
            | Effect::CreateTableIfMissing
            | Effect::CreateOther
            | Effect::DropOther
            | Effect::Harmless => true,
            _ => false,
        };
        if !keeps_rows {
            let place = script.place(statement.start);
            return Err(format!(
                "{place} changes or drops rows that are there; only the rollback point has them"
            ));
        }
    }
    Ok(())
}
