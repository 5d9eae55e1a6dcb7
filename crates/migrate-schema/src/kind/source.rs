//! A schema step that runs a directory of migrations: `source = DIR`, `to = VERSION`.

use std::sync::Arc;

use async_trait::async_trait;
use migrate_core::{
    Description, Finding, MigrationStep, Outcome, Preview, Probe, Readiness, Receipt, ScopeObject,
    Scripts, Step, StepContext, StepError, UndoReport, Undoable,
};
use serde_json::json;

use super::danger;
use crate::apply::{ApplyError, Down, Event, Observer, Options, SchemaEngine, Target};
use crate::db::Database;
use crate::layout::{Choice, Layout, Migration, MigrationSet, SourceFile, Version};

/// A directory of migrations, as a step.
pub(super) struct SourceUpdate {
    db: Database,
    title: String,
    source: String,
    set: MigrationSet,
    target: Target,
    /// How far an earlier step of the plan brings the same directory.
    earlier: Option<Target>,
    can_rollback: bool,
}

impl SourceUpdate {
    pub(super) fn read(
        step: &MigrationStep,
        before: &[MigrationStep],
        scripts: &dyn Scripts,
        db: Database,
    ) -> Result<Self, Vec<Finding>> {
        let source = text(step, "source")?.unwrap_or_default();
        if step.extra.contains_key("script") || step.command.is_some() {
            return Err(vec![
                Finding::error("schema.source", "both `source` and a script are named")
                    .at("/source")
                    .hint("name a directory or a script"),
            ]);
        }
        let choice =
            match text(step, "layout")?.as_deref() {
                None | Some("auto") => Choice::Auto { history: None },
                Some(name) => Choice::Named(name.parse().map_err(|why: String| {
                    vec![Finding::error("schema.layout", why).at("/layout")]
                })?),
            };
        let set = MigrationSet::of_files(&files(scripts, &source)?, choice, db.backend())
            .map_err(|findings| at(findings, "/source"))?;
        let target = match text(step, "to")? {
            None => Target::Latest,
            Some(version) => Target::Version(version_of(&set, &version)?),
        };
        let mut earlier: Option<Target> = None;
        for step in before {
            if text(step, "source").ok().flatten().as_ref() != Some(&source) {
                continue;
            }
            let upto = match text(step, "to").ok().flatten() {
                None => Target::Latest,
                Some(version) => Target::Version(version_of(&set, &version)?),
            };
            earlier = Some(match (earlier, upto) {
                (Some(Target::Version(one)), Target::Version(other)) => {
                    Target::Version(one.max(other))
                }
                (None, upto) => upto,
                _ => Target::Latest,
            });
        }
        let title = match step.description.trim() {
            "" => format!("migrations of {source}"),
            text => text.to_owned(),
        };
        Ok(Self {
            db,
            title,
            source,
            set,
            target,
            earlier,
            can_rollback: step.can_rollback,
        })
    }

    fn engine(&self, cx: &StepContext) -> SchemaEngine {
        let options = Options {
            run: Some(cx.run.to_string()),
            give_up_after: cx.timeout.mul_f64(0.9),
            ..Options::default()
        };
        SchemaEngine::new(self.db.clone(), options).with_observer(Arc::new(Told(cx.clone())))
    }

    /// Those up to the target.
    fn migrations(&self) -> impl Iterator<Item = &Migration> {
        let all = self.set.migrations.iter();
        all.filter(|one| within(&self.target, one))
    }

    /// Whether an earlier step of the plan brings a file's migration.
    fn is_brought(&self, file: &str) -> bool {
        self.earlier.as_ref().is_some_and(|earlier| {
            let mut all = self.set.migrations.iter();
            all.any(|one| one.up.file() == file && within(earlier, one))
        })
    }

    fn undoable(&self) -> bool {
        self.can_rollback
            && self
                .migrations()
                .all(|one| one.version.is_some() && one.down.is_some())
    }

    async fn pending(&self, cx: &StepContext) -> Result<Vec<String>, ApplyError> {
        let engine = self.engine(cx);
        let state = engine.state().await?;
        engine.refuse_foreign(&state).await?;
        let found = engine.pending(&self.set, &state, &self.target).await?;
        // Everything that runs is split and checked now.
        engine.items(&self.set, &found)?;
        Ok(found.into_iter().map(|(one, _)| one.label()).collect())
    }

    /// What is worth a warning about what is pending.
    async fn danger(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        let engine = self.engine(cx);
        let state = engine.state().await.map_err(ApplyError::into_step_error)?;
        let pending = engine
            .pending(&self.set, &state, &self.target)
            .await
            .map_err(ApplyError::into_step_error)?;
        let keys = pending.iter().map(|(one, _)| one.key()).collect();
        danger::of_source(&self.db, &self.set, keys).await
    }

    fn outcome(&self, ran: usize) -> Outcome {
        let mut outcome = Outcome::line(format!("{ran} migrations of {}", self.source));
        outcome.figures.insert("migrations".to_owned(), json!(ran));
        outcome
    }
}

#[async_trait]
impl Step for SourceUpdate {
    fn describe(&self) -> Description {
        Description {
            title: self.title.clone(),
            scope: vec![ScopeObject::Catalog],
            undo: if self.undoable() {
                Undoable::Yes
            } else {
                Undoable::No
            },
            deferred: false,
            runs_commands: false,
            actions: self
                .migrations()
                .map(|one| format!("-- {}\n{}", one.up.file(), one.up.sql().trim()))
                .collect(),
            inputs: self
                .migrations()
                .flat_map(|one| [Some(&one.up), one.down.as_ref()])
                .flatten()
                .map(|part| (part.file().to_owned(), part.sql().to_owned()))
                .collect(),
        }
    }

    async fn preview(&self, cx: &StepContext) -> Result<Preview, StepError> {
        let look = async {
            let engine = self.engine(cx);
            let planned = engine
                .preview(&self.set, &self.target)
                .await
                .map_err(ApplyError::into_step_error)?;
            let mut transactions = 0;
            let mut migrations = Vec::new();
            for mut one in planned {
                one.migrations.retain(|one| !self.is_brought(&one.file));
                transactions += usize::from(!one.migrations.is_empty());
                migrations.append(&mut one.migrations);
            }
            let warnings = self.danger(cx).await?;
            Ok(Preview {
                notes: std::iter::once(format!(
                    "{} migrations of {} in {transactions} transactions",
                    migrations.len(),
                    self.source
                ))
                .chain(warnings)
                .collect(),
                actions: migrations
                    .into_iter()
                    .flat_map(|one| one.statements)
                    .map(|statement| format!("{statement};"))
                    .collect(),
                ..Preview::default()
            })
        };
        self.db.cancellable(&cx.cancel, look).await
    }

    async fn check(&self, cx: &StepContext) -> Result<Readiness, StepError> {
        let look = async {
            match self.pending(cx).await {
                Ok(pending) if pending.is_empty() => Ok(Readiness::AlreadyDone(format!(
                    "the database has all migrations of {}",
                    self.source
                ))),
                Ok(_) => {
                    for warning in self.danger(cx).await? {
                        cx.warn(&warning);
                    }
                    Ok(Readiness::Ready)
                }
                Err(ApplyError::Refused(findings)) => Ok(Readiness::Blocked(findings)),
                Err(error) => Err(error.into_step_error()),
            }
        };
        self.db.cancellable(&cx.cancel, look).await
    }

    async fn prepare(&self, cx: &StepContext) -> Result<Receipt, StepError> {
        let look = async {
            let engine = self.engine(cx);
            engine
                .prepare()
                .await
                .map_err(ApplyError::into_step_error)?;
            let state = engine.state().await.map_err(ApplyError::into_step_error)?;
            let found = engine
                .pending(&self.set, &state, &self.target)
                .await
                .map_err(ApplyError::into_step_error)?;
            let keys: Vec<String> = found.iter().map(|(one, _)| one.key()).collect();
            Ok(Receipt(json!({ "source": self.source, "keys": keys })))
        };
        self.db.cancellable(&cx.cancel, look).await
    }

    async fn run(&self, cx: &StepContext, _receipt: &Receipt) -> Result<Outcome, StepError> {
        let engine = self.engine(cx);
        let work = async {
            engine
                .apply(&self.set, &self.target)
                .await
                .map_err(ApplyError::into_step_error)
        };
        let done = Box::pin(self.db.cancellable(&cx.cancel, work)).await?;
        Ok(self.outcome(done.migrations.len()))
    }

    async fn undo(&self, cx: &StepContext, receipt: &Receipt) -> Result<UndoReport, StepError> {
        let keys: Vec<String> = receipt.0["keys"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|key| key.as_str().map(str::to_owned))
            .collect();
        let engine = self.engine(cx);
        let work = async {
            engine
                .down(&self.set, &Down::Keys(keys))
                .await
                .map_err(ApplyError::into_step_error)
        };
        let done = Box::pin(self.db.cancellable(&cx.cancel, work)).await?;
        Ok(UndoReport::line(format!(
            "{} migrations of {} are taken back",
            done.migrations.len(),
            self.source
        )))
    }

    async fn probe(&self, cx: &StepContext, receipt: &Receipt) -> Result<Probe, StepError> {
        let look = async {
            match self.pending(cx).await {
                Ok(pending) if pending.is_empty() => {
                    let ran = receipt.0["keys"].as_array().map_or(0, Vec::len);
                    Ok(Probe::Applied(self.outcome(ran)))
                }
                // What is there of it stays: the run goes on with what is left.
                Ok(_) | Err(ApplyError::Refused(_)) => Ok(Probe::NotApplied),
                Err(error) => Err(error.into_step_error()),
            }
        };
        self.db.cancellable(&cx.cancel, look).await
    }
}

/// Passes what happens on to the run's reporter.
struct Told(StepContext);

impl Observer for Told {
    fn event(&self, event: &Event) {
        match event {
            Event::Running { number, total, .. } => self.0.progress(
                u64::try_from(*number).unwrap_or(u64::MAX),
                u64::try_from(*total).ok(),
                "migrations",
            ),
            Event::Waiting { .. } | Event::Again { .. } | Event::Note(_) => {
                self.0.warn(event.to_string().trim());
            }
            _ => {}
        }
    }
}

fn within(target: &Target, one: &Migration) -> bool {
    match (target, &one.version) {
        (Target::Latest, _) => true,
        (Target::Version(last), Some(version)) => version <= last,
        (Target::Version(_), None) => false,
    }
}

fn text(step: &MigrationStep, field: &str) -> Result<Option<String>, Vec<Finding>> {
    match step.extra.get(field) {
        None => Ok(None),
        Some(value) => match value.as_str() {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(vec![
                Finding::error("schema.source", format!("`{field}` is not a text"))
                    .at(format!("/{field}")),
            ]),
        },
    }
}

/// The files below a directory of the scripts.
fn files(scripts: &dyn Scripts, source: &str) -> Result<Vec<SourceFile>, Vec<Finding>> {
    let prefix = format!("{}/", source.trim_end_matches('/'));
    let names = scripts.names();
    let below = names.iter().filter(|name| name.starts_with(&prefix));
    let mut found = Vec::new();
    for name in below {
        let script = scripts.read(name).map_err(|finding| vec![finding])?;
        found.push(SourceFile::new(&name[prefix.len()..], &script.text));
    }
    if found.is_empty() {
        return Err(vec![
            Finding::error(
                "schema.source",
                format!("there is no directory {source} with SQL files"),
            )
            .at("/source")
            .hint("it is taken from the migrations directory"),
        ]);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn version_of(set: &MigrationSet, text: &str) -> Result<Version, Vec<Finding>> {
    let version = match set.layout {
        Layout::Diesel => Version::literal(&text.replace('-', "")),
        Layout::Dbmate => Version::literal(text),
        _ => Version::numeric(text),
    };
    if set.find(&version).is_some() {
        return Ok(version);
    }
    Err(vec![
        Finding::error("schema.no-version", format!("there is no migration {text}")).at("/to"),
    ])
}

fn at(findings: Vec<Finding>, pointer: &str) -> Vec<Finding> {
    findings
        .into_iter()
        .map(|finding| finding.at(pointer))
        .collect()
}
