//! A data step of a plan: a copy, told to the engine.

use std::time::Duration;

use async_trait::async_trait;
use migrate_core::{
    Description, Finding, Loss, Outcome, Preview, Probe, Readiness, Receipt, ScopeObject, Settled,
    Step, StepContext, StepError, StepId, UndoCheck, UndoReport, Undoable,
};
use migrate_schema::db::{Backend, ConnectOptions, Database, DatabaseUrl, DbError};
use migrate_schema::own;
use migrate_schema::quote::TableName;
use tokio::sync::OnceCell;

use crate::access;
use crate::carry::Carry;
use crate::copy::{LateRows, TableCopy};
use crate::foresee::{BEFORE_A_RUN, Unsettled};
use crate::inspect::{Inspection, Obstacle};
use crate::keyset::{Key, KeyPart, KeyRange};
use crate::layout::Layout;
use crate::ledger::{self, Counts};
use crate::range::Program;
use crate::script::SqlScript;
use crate::statement::Produced;

/// A step before this one that may change a table.
#[derive(Debug, Clone)]
pub(crate) struct EarlierStep {
    pub(crate) id: String,
    /// Its script; none where it can't be known what it does.
    pub(crate) script: Option<String>,
}

impl EarlierStep {
    fn may_change(&self, table: &str) -> bool {
        let Some(script) = &self.script else {
            return true;
        };
        let mut words = script.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words.any(|word| word.eq_ignore_ascii_case(table))
    }
}

/// What carries rows of others back.
pub(crate) struct Reverse {
    pub(crate) script: SqlScript,
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A data step.
pub(crate) struct DataStep {
    pub(crate) copy: TableCopy,
    /// Where the source is, if it is in another database.
    pub(crate) source_url: Option<DatabaseUrl>,
    pub(crate) reverse: Option<Reverse>,
    pub(crate) opened: OnceCell<Database>,
    /// The script's name and text.
    pub(crate) script: (String, String),
    pub(crate) undo: Undoable,
    pub(crate) earlier: Vec<EarlierStep>,
    /// Steps after this one that may change its tables.
    pub(crate) later: Vec<EarlierStep>,
}

impl DataStep {
    fn layout(receipt: &Receipt) -> Result<Layout, StepError> {
        serde_json::from_value(receipt.0.clone())
            .map_err(|error| StepError::caused("the receipt of a data step can't be read", &error))
    }

    /// The tables that the way back drops: those that an earlier step may have made, not those that
    /// somebody else made meanwhile.
    fn drops(&self, cx: &StepContext) -> Vec<String> {
        let made = |name: &&String| {
            let table = name.rsplit('.').next().unwrap_or(name);
            self.earlier.iter().any(|step| step.may_change(table))
        };
        cx.drops.iter().filter(made).cloned().collect()
    }

    /// The copy with its source's database open.
    async fn copy(&self) -> Result<TableCopy, StepError> {
        let mut copy = self.copy.clone();
        copy.late_rows = LateRows::Watched;
        if let Some(url) = &self.source_url {
            let options = ConnectOptions::default();
            let open = || Database::connect(url, &options);
            let opened = self.opened.get_or_try_init(open).await;
            let opened = opened
                .map_err(|error| error.into_step_error(format!("the source's database {url}")))?;
            copy.elsewhere = Some(opened.clone());
        }
        Ok(copy)
    }

    fn failed(&self, error: DbError) -> StepError {
        error.into_step_error(format!(
            "can't look at the copy of {} into {}",
            self.copy.source, self.copy.target
        ))
    }

    /// The statement of one batch, with names for the bounds.
    fn batch_sql(&self, layout: &Layout) -> String {
        let bound = |name: &str| {
            Key(layout
                .key
                .iter()
                .map(|_| KeyPart::Text(name.to_owned()))
                .collect())
        };
        let range = KeyRange {
            after: Some(bound(":after")),
            upto: Some(bound(":upto")),
            except: Vec::new(),
        };
        let from = match &self.copy.program {
            Program::Sql(script) if self.source_url.is_none() => Produced::Script {
                select: &script.select,
                range: &range,
            },
            Program::Sql(_) | Program::Rust(_) => Produced::Stage,
        };
        let sql = self
            .copy
            .statements(layout)
            .upsert(from, &self.copy.program.on_conflict());
        sql.replace("':after'", ":after")
            .replace("':upto'", ":upto")
    }
}

#[async_trait]
impl Step for DataStep {
    fn describe(&self) -> Description {
        let copy = &self.copy;
        let (name, text) = &self.script;
        let what = match &copy.program {
            Program::Sql(script) => format!(
                "INSERT INTO {}, batch by batch of {} rows of {}, by column name:\n{}",
                copy.target, copy.batch, copy.source, script.select
            ),
            Program::Rust(_) => format!(
                "{name}: each row of {} into {}, {} rows a batch",
                copy.source, copy.target, copy.batch
            ),
        };
        let mut scope = vec![ScopeObject::Table(copy.target.to_string())];
        let mut inputs = vec![(name.clone(), text.clone())];
        inputs.retain(|(_, text)| !text.is_empty());
        if let Some(reverse) = &self.reverse {
            scope.push(ScopeObject::Rows(copy.target.to_string()));
            inputs.push((reverse.name.clone(), reverse.text.clone()));
        }
        Description {
            title: format!("copy rows from {} into {}", copy.source, copy.target),
            scope,
            undo: self.undo,
            deferred: false,
            runs_commands: false,
            actions: vec![what],
            inputs,
        }
    }

    async fn preview(&self, _cx: &StepContext) -> Result<Preview, StepError> {
        let copy = self.copy().await?;
        let inspection = copy.inspect().await?;
        let mut preview = Preview {
            actions: self.describe().actions,
            ..Preview::default()
        };
        if inspection.obstacles.is_empty() {
            preview.actions = vec![self.batch_sql(&inspection.layout)];
            let rows = copy
                .source_rows()
                .await
                .map_err(|error| self.failed(error))?;
            preview.rows = Some(rows);
            preview.notes.extend(self.not_carried(&inspection.layout));
            if let Some(most) = copy.bad_rows.budget(rows) {
                preview.notes.push(format!(
                    "rows that can't be moved are kept aside, at most {most} of {rows}"
                ));
            }
            preview.notes.push(
                self.already_there(&inspection.layout)
                    .await
                    .map_err(|error| self.failed(error))?,
            );
        } else {
            preview.notes = inspection
                .obstacles
                .into_iter()
                .map(|o| format!("not yet: {}", o.finding.message))
                .collect();
            if !inspection.source_columns.is_empty() {
                preview.rows = Some(
                    copy.source_rows()
                        .await
                        .map_err(|error| self.failed(error))?,
                );
            }
        }
        let rate = match self.copy.db.backend() {
            Backend::Postgres => 50_000,
            Backend::Sqlite => 30_000,
        };
        if let Some(rows) = preview.rows {
            preview.estimate = Some(Duration::from_secs(rows.div_ceil(rate)));
            preview
                .notes
                .push(format!("the estimate takes {rate} rows a second"));
        }
        Ok(preview)
    }

    async fn check(&self, _cx: &StepContext) -> Result<Readiness, StepError> {
        let inspection = self.copy().await?.inspect().await?;
        let more = self.reverse_obstacles(&inspection).await?;
        let mut obstacles = inspection.obstacles;
        obstacles.extend(more);
        if obstacles.is_empty() {
            return Ok(Readiness::Ready);
        }
        let cure = |obstacle: &Obstacle| {
            let names = obstacle.names.iter().map(String::as_str);
            let names = names.chain([obstacle.about.table()]);
            let mut earlier = self.earlier.iter();
            earlier.find(|step| names.clone().any(|name| step.may_change(name)))
        };
        let cures: Option<Vec<&EarlierStep>> = obstacles.iter().map(cure).collect();
        if let Some(first) = cures.and_then(|cures| cures.into_iter().next()) {
            let missing: Vec<String> = obstacles.into_iter().map(|o| o.finding.message).collect();
            return Ok(Readiness::After(format!(
                "step {}: {}",
                first.id,
                missing.join("; ")
            )));
        }
        let findings: Vec<Finding> = obstacles
            .into_iter()
            .map(|obstacle| obstacle.finding)
            .collect();
        Ok(Readiness::Blocked(findings))
    }

    async fn foresee(&self, cx: &StepContext) -> Result<Vec<Finding>, StepError> {
        let copy = self.copy().await?;
        let inspection = copy.inspect().await?;
        let may_change = |table: &TableName| {
            let mut earlier = self.earlier.iter();
            earlier.any(|step| step.may_change(table.table()))
        };
        let unsettled = Unsettled {
            source: self.source_url.is_none() && may_change(&copy.source),
            target: may_change(&copy.target),
        };
        let how = (BEFORE_A_RUN, &cx.cancel);
        copy.foresee(&inspection, unsettled, how).await
    }

    async fn prepare(&self, cx: &StepContext) -> Result<Receipt, StepError> {
        let copy = self.copy().await?;
        let layout = copy.prepare(cx.run.as_str(), cx.step.as_str()).await?;
        let receipt = serde_json::to_value(&layout);
        receipt.map(Receipt).map_err(|error| {
            StepError::caused("the receipt of a data step can't be written", &error)
        })
    }

    async fn run(&self, cx: &StepContext, receipt: &Receipt) -> Result<Outcome, StepError> {
        let layout = Self::layout(receipt)?;
        let copy = self.copy().await?;
        let counts = Box::pin(copy.run(cx, &layout)).await?;
        let mut outcome = outcome(&counts);
        outcome.notes.extend(self.not_carried(&layout));
        outcome.notes.extend(aside(&counts, &layout));
        Ok(outcome)
    }

    async fn undo(&self, cx: &StepContext, receipt: &Receipt) -> Result<UndoReport, StepError> {
        let (copy, layout) = (self.copy().await?, Self::layout(receipt)?);
        copy.clear_references(&self.drops(cx), &layout).await?;
        let Some(carry) = self.carry(&copy, &layout) else {
            return copy.undo(cx, &layout).await;
        };
        let carried = Box::pin(carry.back(cx)).await?;
        let mut report = copy.undo(cx, &layout).await?;
        carry.clear(cx).await?;
        report
            .left
            .extend(carried.map(|carried| carried.line(&copy)));
        Ok(report)
    }

    async fn check_undo(
        &self,
        cx: &StepContext,
        receipt: &Receipt,
    ) -> Result<UndoCheck, StepError> {
        let (copy, layout) = (self.copy().await?, Self::layout(receipt)?);
        let mut check = match self.carry(&copy, &layout) {
            Some(carry) => carry.look(cx).await?,
            None => UndoCheck::default(),
        };
        copy.look_at_references(&self.drops(cx), &layout, &mut check)
            .await?;
        Ok(check)
    }

    async fn probe(&self, cx: &StepContext, receipt: &Receipt) -> Result<Probe, StepError> {
        let layout = Self::layout(receipt)?;
        let look = async {
            if !ledger::exists(&self.copy.db, &layout.ledger).await? {
                return Ok(Probe::NotApplied);
            }
            if own::marker(&self.copy.db, cx.run.as_str(), cx.step.as_str())
                .await?
                .is_some()
            {
                return Ok(Probe::Applied(outcome(&self.copy.totals(&layout).await?)));
            }
            let counts = self.copy.totals(&layout).await?;
            Ok(if counts == Counts::default() {
                Probe::NotApplied
            } else {
                Probe::Partial
            })
        };
        look.await.map_err(|error| self.failed(error))
    }

    fn is_changed_by(&self, later: &StepId) -> bool {
        let mut all = self.later.iter().filter(|step| step.id == later.as_str());
        all.any(|step| {
            step.may_change(self.copy.source.table()) || step.may_change(self.copy.target.table())
        })
    }

    async fn settle(&self, cx: &StepContext, receipt: &Receipt) -> Result<Settled, StepError> {
        let copy = self.copy().await?;
        Box::pin(copy.settle(cx, &Self::layout(receipt)?)).await
    }

    async fn is_settled(
        &self,
        cx: &StepContext,
        receipt: &Receipt,
        state: &str,
    ) -> Result<bool, StepError> {
        let copy = self.copy().await?;
        copy.is_settled(cx, &Self::layout(receipt)?, state).await
    }

    async fn lock_out(
        &self,
        cx: &StepContext,
        _receipt: &Receipt,
    ) -> Result<Option<Box<dyn Send>>, StepError> {
        self.copy().await?.lock_out(cx).await
    }

    async fn disown(&self, cx: &StepContext, receipt: &Receipt) -> Result<(), StepError> {
        let copy = self.copy().await?;
        copy.disown(cx, &Self::layout(receipt)?).await
    }

    async fn before_own_change(
        &self,
        cx: &StepContext,
        receipt: &Receipt,
    ) -> Result<(), StepError> {
        let copy = self.copy().await?;
        copy.settle_before_own_change(cx, &Self::layout(receipt)?)
            .await
    }

    async fn after_own_change(&self, cx: &StepContext, receipt: &Receipt) -> Result<(), StepError> {
        let copy = self.copy().await?;
        copy.after_own_change(cx, &Self::layout(receipt)?).await
    }

    async fn others(&self, cx: &StepContext, receipt: &Receipt) -> Result<Vec<Loss>, StepError> {
        let copy = self.copy().await?;
        copy.others(cx, &Self::layout(receipt)?).await
    }

    async fn end_watch(&self, cx: &StepContext, receipt: &Receipt) -> Result<(), StepError> {
        let ended = self.copy.end_watch(cx, &Self::layout(receipt)?).await;
        ended.map_err(|error| self.failed(error))
    }

    async fn forget(&self, cx: &StepContext, receipt: &Receipt) -> Result<(), StepError> {
        let layout = Self::layout(receipt)?;
        if let Some(carry) = self.carry(&self.copy, &layout) {
            carry.forget(cx).await?;
        }
        self.copy
            .forget(cx, &layout)
            .await
            .map_err(|error| self.failed(error))
    }
}

impl DataStep {
    /// The way back for rows of others, where the plan has a script for it and both tables have
    /// the key that it goes by.
    fn carry<'a>(&'a self, copy: &'a TableCopy, layout: &'a Layout) -> Option<Carry<'a>> {
        let reverse = &self.reverse.as_ref()?.script;
        layout.same_key.then_some(Carry {
            copy,
            reverse,
            layout,
        })
    }

    /// That rows which are written after the upgrade stay where they are in a rollback, although
    /// the plan would carry them back.
    fn not_carried(&self, layout: &Layout) -> Option<String> {
        self.reverse.as_ref().filter(|_| !layout.same_key)?;
        Some(format!(
            "rows that are written after the upgrade can't be carried back: {} and {} have no key in \
             common",
            self.copy.source, self.copy.target
        ))
    }

    /// What is in the way of the reverse script, which is looked at before anything is copied.
    async fn reverse_obstacles(&self, inspection: &Inspection) -> Result<Vec<Obstacle>, StepError> {
        match self.carry(&self.copy, &inspection.layout) {
            Some(carry) => carry.obstacles().await.map_err(|error| self.failed(error)),
            None => Ok(Vec::new()),
        }
    }

    /// How many rows of the target have a key that the source has too, where both keys bear the same names.
    async fn already_there(&self, layout: &Layout) -> Result<String, DbError> {
        let target = &self.copy.target;
        if self.copy.target_is_empty().await? {
            return Ok(format!("{target} is empty"));
        }
        if layout.key != layout.conflict || self.source_url.is_some() {
            return Ok(format!(
                "{target} has rows; those with a key that is produced are updated"
            ));
        }
        let pairs = layout.key.iter().map(|name| {
            let name = migrate_schema::quote::ident(name);
            format!("t.{name} = s.{name}")
        });
        let query = format!(
            "SELECT count(*) FROM {} AS t WHERE EXISTS (SELECT 1 FROM {} AS s WHERE {})",
            layout.target_sql(),
            layout.source_sql(),
            pairs.collect::<Vec<_>>().join(" AND ")
        );
        let there = access::count(&self.copy.db, &query).await?;
        Ok(format!(
            "{there} rows of {target} have a key that {} has too",
            self.copy.source
        ))
    }
}

/// Where the rows are that were kept aside.
fn aside(counts: &Counts, layout: &Layout) -> Option<String> {
    (counts.quarantined > 0).then(|| {
        format!(
            "{} rows of {} could not be moved: etlrs-migrate data rejects --run {}",
            counts.quarantined, layout.source, layout.run
        )
    })
}

/// What is told of counts.
pub(crate) fn outcome(counts: &Counts) -> Outcome {
    let mut outcome = Outcome::line(counts.to_string());
    if counts.quarantined > 0 {
        let aside = counts.quarantined.into();
        outcome.figures.insert("rows_quarantined".to_owned(), aside);
    }
    for (name, value) in [
        ("rows_read", counts.read),
        ("rows_inserted", counts.inserted),
        ("rows_updated", counts.updated),
        ("rows_unchanged", counts.unchanged),
    ] {
        outcome.figures.insert(name.to_owned(), value.into());
    }
    outcome
}
