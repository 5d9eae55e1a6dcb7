//! The step kind `SchemaUpdate`: a script that brings the schema to a version.

mod clashes;
mod danger;
mod source;
mod spec;
mod syntax;
mod undo;
mod undo_check;

use std::sync::Arc;

use async_trait::async_trait;
use migrate_core::{
    Description, Finding, MigrationStep, Outcome, Preview, Probe, Readiness, Receipt, ScopeObject,
    Scripts, Step, StepContext, StepError, StepKind, StepSite, UndoCheck, UndoReport, Undoable,
};
use serde_json::json;

use crate::catalog::row_estimate;
use crate::db::{Database, DbError};
use crate::history;
use crate::migrator::script_state::{self, Known, ScriptState};
use crate::migrator::{Applied, Change, Direction, Patience, Versions, apply, revert, versions};
use crate::own;
use crate::script::{DefaultValue, Effect};

use spec::{Spec, Undo};

/// Builds `SchemaUpdate` steps.
///
/// The script is named by `script` or `command`; whether it was applied is decided by its line
/// in our history. `schema_version` is the version that it brings in the guide's
/// `schema_versions`; by default the number at the name's begin. Instead of a script, `source` names a directory of migrations
/// in any [layout](crate::layout), of which those that the database does not have are run, up
/// to the version `to`. `down` names the script that takes it back; by default
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
        &["script", "schema_version", "down", "source", "to", "layout"]
    }

    fn build(
        &self,
        step: &MigrationStep,
        site: &StepSite<'_>,
    ) -> Result<Box<dyn Step>, Vec<Finding>> {
        // Steps of `rollback_steps` are counted in a list of their own.
        let before = match site.plan.steps.get(site.index) {
            Some(same) if same == step => &site.plan.steps[..site.index],
            _ => &[],
        };
        if step.extra.contains_key("source") {
            let built = source::SourceUpdate::read(step, before, &*self.scripts, self.db.clone())?;
            return Ok(Box::new(built));
        }
        let spec = Spec::read(step, &*self.scripts, self.db.backend())?;
        if let Some(clash) = named_before(&spec, before) {
            return Err(vec![clash]);
        }
        let earlier = before
            .iter()
            .any(|earlier| !matches!(earlier.step_type.name(), "ConfigUpdate" | "Validation"));
        Ok(Box::new(SchemaUpdate {
            db: self.db.clone(),
            spec,
            earlier,
        }))
    }
}

/// A script that an earlier step applies would not run again.
fn named_before(spec: &Spec, before: &[MigrationStep]) -> Option<Finding> {
    let first = before
        .iter()
        .find(|step| spec::applied_by(step).as_ref() == Some(&spec.name))?;
    (spec.direction == Direction::Up).then(|| {
        Finding::error(
            "schema.script-twice",
            format!(
                "step {} applies {} already, and a script is applied once",
                first.id,
                spec.name.as_str()
            ),
        )
        .at("/script")
        .hint("put what is to run twice into two scripts")
    })
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

    fn brings(&self, current: i64) -> String {
        match self.spec.direction {
            Direction::Up => format!(
                "the schema goes from version {current} to {}",
                self.spec.version
            ),
            Direction::Down => format!("the schema goes back from version {current}"),
        }
    }

    /// Tables that SQLite has to rebuild, with their rows.
    async fn rebuilt(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (_, effect) in self.spec.script.effects() {
            let Effect::AddColumn {
                table,
                column,
                default: DefaultValue::Expression,
            } = effect
            else {
                continue;
            };
            if let Ok(rows @ 1..) = row_estimate(&self.db, &table).await {
                notes.push(format!(
                    "table {table} with its {rows} rows is rebuilt for column {column}"
                ));
            }
        }
        notes
    }

    async fn current(&self) -> Result<i64, StepError> {
        versions::current(&self.db)
            .await
            .map_err(|error| error.into_step_error("the schema's version can't be read"))
    }

    async fn known(&self) -> Result<Known, StepError> {
        Known::read(&self.db)
            .await
            .map_err(|error| error.into_step_error("the history of scripts can't be read"))
    }

    /// Why nothing is left to do, or why that can't be said; none if the script is to run.
    async fn settled(&self, known: &Known) -> Result<Option<Readiness>, StepError> {
        let Spec {
            script,
            name,
            version,
            direction,
            ..
        } = &self.spec;
        let unread = |error: DbError| error.into_step_error("the history of scripts can't be read");
        if *direction == Direction::Down {
            let there = script_state::is_there(&self.db, known, name, *version)
                .await
                .map_err(unread)?;
            return Ok((!there)
                .then(|| Readiness::AlreadyDone(format!("{} is not applied", name.as_str()))));
        }
        let state = script_state::look(&self.db, known, script, name, *version)
            .await
            .map_err(unread)?;
        Ok(match state {
            ScriptState::Applied(how) => Some(Readiness::AlreadyDone(how)),
            ScriptState::Unclear(finding) => Some(Readiness::Blocked(vec![*finding])),
            ScriptState::NotApplied => None,
        })
    }

    async fn readiness(&self, known: &Known) -> Result<Readiness, StepError> {
        if let Some(settled) = self.settled(known).await? {
            return Ok(settled);
        }
        let mut findings = syntax::check(&self.db, &self.spec.script)
            .await
            .map_err(|error| error.into_step_error("the script can't be checked"))?;
        let missing = clashes::find(&self.db, &self.spec).await.map_err(|error| {
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

    fn outcome(&self) -> Outcome {
        let statements = self.spec.script.statements().len();
        let mut outcome = Outcome::line(format!(
            "{statements} statements, schema {} version {}",
            match self.spec.direction {
                Direction::Up => "at",
                Direction::Down => "back from",
            },
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

    fn notes_its_writes(&self) -> bool {
        true
    }

    async fn preview(&self, cx: &StepContext) -> Result<Preview, StepError> {
        let look = async {
            let known = self.known().await?;
            let mut notes = vec![match self.settled(&known).await? {
                Some(Readiness::AlreadyDone(how)) => format!("{how}: nothing would run"),
                _ => self.brings(self.current().await?),
            }];
            notes.extend(known.leaves_versions(self.spec.version));
            notes.extend(self.rebuilt().await);
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
        let look = async {
            let known = self.known().await?;
            let found = self.readiness(&known).await?;
            if matches!(found, Readiness::Ready) && self.spec.direction == Direction::Up {
                if let Some(note) = known.leaves_versions(self.spec.version) {
                    cx.warn(note);
                }
                for warning in danger::of_script(&self.db, &self.spec.script).await? {
                    cx.warn(&warning);
                }
            }
            Ok(found)
        };
        self.db.cancellable(&cx.cancel, look).await
    }

    async fn prepare(&self, cx: &StepContext) -> Result<Receipt, StepError> {
        let look = async {
            history::ensure(&self.db)
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
        let work = async {
            let known = self.known().await?;
            let spec = &self.spec;
            let key =
                spec.name.key(&self.db).await.map_err(|error| {
                    error.into_step_error("the script has no key in the history")
                })?;
            let change = Change {
                script: &spec.script,
                name: &spec.name,
                key,
                version: spec.version,
                versions: Versions::after(&known, spec.version),
                direction: spec.direction,
                step: Some(cx),
            };
            apply(&self.db, &change, Self::patience(cx)).await
        };
        self.db.cancellable(&cx.cancel, work).await?;
        Ok(self.outcome())
    }

    async fn undo(&self, cx: &StepContext, _receipt: &Receipt) -> Result<UndoReport, StepError> {
        let down = self.spec.undo.script();
        let work = revert(&self.db, cx, down, Self::patience(cx));
        self.db.cancellable(&cx.cancel, work).await
    }

    async fn check_undo(
        &self,
        cx: &StepContext,
        _receipt: &Receipt,
    ) -> Result<UndoCheck, StepError> {
        let look = async {
            let marker = own::marker(&self.db, cx.run.as_str(), cx.step.as_str()).await?;
            match marker.as_deref().map(Applied::parse) {
                None => Ok(Ok(UndoCheck::default())),
                Some(Err(error)) => Ok(Err(error)),
                Some(Ok(applied)) => undo_check::look(&self.db, &self.spec, &applied)
                    .await
                    .map(Ok),
            }
        };
        look.await.unwrap_or_else(|error: DbError| {
            Err(error.into_step_error("can't look at what an undo of the schema would meet"))
        })
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
