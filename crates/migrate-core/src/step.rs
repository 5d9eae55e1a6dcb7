//! What a step promises to the engine, and the engine to a step.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cancel::Cancel;
use crate::error::StepError;
use crate::event::{Event, Reporter};
use crate::finding::Finding;
use crate::journal::RunId;
use crate::plan::StepId;
use crate::ports::Loss;

/// One unit of change that can be looked at, prepared, run and undone.
///
/// The engine calls, in this order: [`describe`](Self::describe) any time;
/// [`check`](Self::check) and [`foresee`](Self::foresee) before anything of the run changed, `check` again right
/// before `prepare` if it answered [`Readiness::After`]; [`prepare`](Self::prepare), whose
/// receipt is made durable before [`run`](Self::run) is called; and, on failure or
/// rollback, [`undo`](Self::undo) with the same receipt. After a crash it calls
/// [`probe`](Self::probe) to learn whether the effect happened.
///
/// `run` and `undo` are idempotent and tolerate partial effects of themselves and of
/// each other: a crash can happen at any instruction, and the engine then calls them
/// again with the same receipt. A step whose effect is in a database writes a marker in
/// the same transaction, so that `probe` looks instead of guessing.
#[async_trait]
pub trait Step: Send + Sync {
    /// What the step is about. Pure: reads nothing.
    fn describe(&self) -> Description;

    /// Whether a run that is done leaves a note of what it wrote, in the transaction of the change
    /// itself, by which changes of others are told from its own. Pure.
    fn notes_its_writes(&self) -> bool {
        false
    }

    /// What deserves attention in the plan itself, told with the checks' findings; stops nothing.
    /// Pure. Pointers are relative to the step.
    fn warnings(&self) -> Vec<Finding> {
        Vec::new()
    }

    /// What a dry run shows: config diff, row counts, estimates. Read-only, writes nothing anywhere.
    async fn preview(&self, cx: &StepContext) -> Result<Preview, StepError>;

    /// Whether the step could run now. Read-only.
    async fn check(&self, cx: &StepContext) -> Result<Readiness, StepError>;

    /// What its run will meet in the data as it is, found by reading it. Called once, after `check`
    /// and before anything of the run changed, unless that found errors or `rows` is skipped. Errors refuse
    /// the run, warnings are told. Read-only, bounded in time; ends promptly on [`Cancel`].
    async fn foresee(&self, _cx: &StepContext) -> Result<Vec<Finding>, StepError> {
        Ok(Vec::new())
    }

    /// Captures what `undo` will need. May create storage of our own, changes nothing of
    /// the user's. The receipt is small; large pre-images go into the database with `run`.
    async fn prepare(&self, cx: &StepContext) -> Result<Receipt, StepError>;

    /// Does it. On [`Cancel`] it ends promptly at a boundary, with nothing of
    /// it still running anywhere, and returns [`StepError::interrupted`].
    async fn run(&self, cx: &StepContext, receipt: &Receipt) -> Result<Outcome, StepError>;

    /// Brings back what was there when `receipt` was made, except what others wrote since,
    /// which it counts and leaves.
    async fn undo(&self, cx: &StepContext, receipt: &Receipt) -> Result<UndoReport, StepError>;

    /// Looks, before a rollback that a user asks for changes anything, at what stands in the way
    /// of this undo and what it would take from others. Read-only.
    async fn check_undo(
        &self,
        _cx: &StepContext,
        _receipt: &Receipt,
    ) -> Result<UndoCheck, StepError> {
        Ok(UndoCheck::default())
    }

    /// Looks at the real state of a step that was started. Read-only.
    async fn probe(&self, cx: &StepContext, receipt: &Receipt) -> Result<Probe, StepError>;

    /// Whether a later step of the plan changes what this one copied. [`Self::settle`] is called
    /// before that one runs, and [`Self::after_own_change`] after it. Pure.
    fn is_changed_by(&self, _later: &StepId) -> bool {
        false
    }

    /// Brings over what others wrote, after the step had run, to what it reads, and counts what
    /// they wrote to what it writes, which is left. Called before a step that
    /// [`Self::is_changed_by`] names, and when all steps are done, as often as others write,
    /// until services start. Idempotent; a crash leaves all of one call or nothing.
    ///
    /// # Errors
    /// What others wrote can't be brought over; the message says how much that is.
    async fn settle(&self, _cx: &StepContext, _receipt: &Receipt) -> Result<Settled, StepError> {
        Ok(Settled::default())
    }

    /// Whether nobody has written since [`Self::settle`] returned `state`. Read-only and cheap.
    async fn is_settled(
        &self,
        _cx: &StepContext,
        _receipt: &Receipt,
        _state: &str,
    ) -> Result<bool, StepError> {
        Ok(true)
    }

    /// Keeps writers out of what the step reads and writes until the value is dropped; none where
    /// that can't be done. Called for plans with downtime, round the last
    /// [`Self::is_settled`] and the commit point's record.
    ///
    /// # Errors
    /// Somebody holds a lock; it is tried again.
    async fn lock_out(
        &self,
        _cx: &StepContext,
        _receipt: &Receipt,
    ) -> Result<Option<Box<dyn Send>>, StepError> {
        Ok(None)
    }

    /// Takes what others wrote out of what [`Observer::mark`](crate::Observer::mark) has just
    /// kept of the run, so that a rollback counts it as theirs. Called where
    /// [`Settled::own_rows`] is not empty.
    async fn disown(&self, _cx: &StepContext, _receipt: &Receipt) -> Result<(), StepError> {
        Ok(())
    }

    /// Called when [`Self::settle`] is done and a step is about to run that
    /// [`Self::is_changed_by`] names: what is written from now on is that step's.
    async fn before_own_change(
        &self,
        _cx: &StepContext,
        _receipt: &Receipt,
    ) -> Result<(), StepError> {
        Ok(())
    }

    /// Takes what a step that [`Self::is_changed_by`] names did for the run's own. Idempotent.
    async fn after_own_change(
        &self,
        _cx: &StepContext,
        _receipt: &Receipt,
    ) -> Result<(), StepError> {
        Ok(())
    }

    /// What others wrote, since the step ran, to the tables or the file that it writes. Asked when a
    /// run fails, before it is undone. Read-only.
    async fn others(&self, _cx: &StepContext, _receipt: &Receipt) -> Result<Vec<Loss>, StepError> {
        Ok(Vec::new())
    }

    /// Stops looking at what others write: called between the commit point and the start of
    /// services, and after a rollback. Idempotent.
    async fn end_watch(&self, _cx: &StepContext, _receipt: &Receipt) -> Result<(), StepError> {
        Ok(())
    }

    /// Drops what the step keeps for its undo (pre-images, ledger) after a finished rollback. Idempotent.
    async fn forget(&self, _cx: &StepContext, _receipt: &Receipt) -> Result<(), StepError> {
        Ok(())
    }
}

/// What a step gets from the engine for one call.
#[derive(Clone)]
pub struct StepContext {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepId,
    /// 1 for the first try, more after a resume.
    pub attempt: u32,
    /// How long this call may take; the engine cancels when it is over.
    pub timeout: Duration,
    /// Asked for when the call shall end early.
    pub cancel: Cancel,
    /// Where events go.
    pub reporter: Arc<dyn Reporter>,
    /// Tables that the run made, which its way back drops whole, rows of others in them too: an
    /// undo deletes rows of theirs that refer to what it takes away. Empty on the way there.
    pub drops: Arc<[String]>,
}

impl StepContext {
    /// Tells how far the step is, in its own unit (rows for a data step). Best effort.
    pub fn progress(&self, done: u64, total: Option<u64>, unit: &str) {
        self.reporter.event(&Event::StepProgress {
            step: self.step.clone(),
            done,
            total,
            unit: unit.to_owned(),
        });
    }

    /// Tells something that deserves attention but stops nothing. Best effort.
    pub fn warn(&self, message: impl Into<String>) {
        self.reporter.event(&Event::Warning {
            step: Some(self.step.clone()),
            message: message.into(),
        });
    }

    /// Ends with `interrupted` if the end was asked for; for use between batches.
    ///
    /// # Errors
    /// [`StepError::interrupted`].
    pub fn check_cancelled(&self) -> Result<(), StepError> {
        match self.cancel.cause() {
            None => Ok(()),
            Some(_) => Err(StepError::interrupted("asked to stop")),
        }
    }
}

/// An object in the declared scope of a step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "snake_case")]
pub enum ScopeObject {
    /// A file below the root, by relative path.
    File(String),
    /// A table: its definition and its rows.
    Table(String),
    /// The rows of a table, each of which must be told apart when a rollback carries back what
    /// others wrote.
    Rows(String),
    /// The whole catalog of the database (a script can touch anything).
    Catalog,
    /// A service.
    Service(String),
    /// Something outside what a rollback covers, such as the files a command makes.
    Outside(String),
}

/// Whether a step can be undone by its receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undoable {
    /// Its undo brings everything back.
    Yes,
    /// It changes nothing that would need one.
    NotNeeded,
    /// Only the rollback point covers it.
    No,
}

/// What a step is about, told without looking at anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// One line for people.
    pub title: String,
    /// What it touches.
    pub scope: Vec<ScopeObject>,
    /// Whether it can be undone.
    pub undo: Undoable,
    /// It runs after all checks passed, and its failure is a warning (cleanup).
    pub deferred: bool,
    /// It runs commands of the plan's author, which need consent.
    pub runs_commands: bool,
    /// The exact SQL, edits or argv, for people.
    pub actions: Vec<String>,
    /// The texts that decide what it does, by name (scripts): a change of one is a changed plan.
    pub inputs: Vec<(String, String)>,
}

/// What a dry run says of one step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// A unified diff of config files, empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub diff: String,
    /// The exact SQL or argv, statement by statement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// Rows that would be read, if the step moves rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// How long it may take, where that can be estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Duration>,
    /// Anything else worth reading, a line each (unknown keys, rows already there).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Whether a step can run.
#[derive(Debug, Clone, PartialEq)]
pub enum Readiness {
    /// It can run now.
    Ready,
    /// Its effect is there already; it is not run.
    AlreadyDone(String),
    /// It can't run; every reason, together.
    Blocked(Vec<crate::finding::Finding>),
    /// It depends on what an earlier step does; it is checked again right before its run.
    After(String),
}

/// What `prepare` captured: a small JSON document, opaque to the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Receipt(pub Value);

/// What a step did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// One line for the summary: `10,000 rows read, 9,990 inserted, 10 updated`.
    pub message: String,
    /// More lines for the summary: unknown keys, files written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Figures for machines, by name (`rows_read`).
    #[serde(default)]
    pub figures: serde_json::Map<String, Value>,
}

impl Outcome {
    /// An outcome of one line.
    pub fn line(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            ..Self::default()
        }
    }
}

/// What [`Step::settle`] found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Rows that were brought over by this call.
    pub brought: u64,
    /// What came in since the step ran, whether brought over or left, a line each.
    pub notes: Vec<String>,
    /// Tables to which others wrote, with what the run itself wrote.
    pub own_rows: Vec<OwnRows>,
    /// For [`Step::is_settled`], opaque to the engine.
    pub state: String,
}

/// The rows of a table without those that others wrote while a run was under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnRows {
    /// The names under which a fingerprint may hold the table.
    pub names: Vec<String>,
    /// Count and sum, as a fingerprint has them.
    pub sum: String,
}

/// What an undo would meet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UndoCheck {
    /// Why it can't be done now; each with a way out.
    pub blocked: Vec<Finding>,
    /// What others wrote and would lose. One on `table NAME` counts only if that table's rows
    /// are not as the run left them.
    pub losses: Vec<Loss>,
    /// What others wrote and this undo can't get past. One on `table NAME` counts as a loss does.
    pub in_the_way: Vec<Loss>,
}

/// What an undo did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UndoReport {
    /// One line for the summary.
    pub message: String,
    /// What others wrote since and was therefore left, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

impl UndoReport {
    /// A report of one line, with nothing left.
    pub fn line(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            left: Vec::new(),
        }
    }
}

/// What looking at a started step shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Probe {
    /// Nothing of it happened.
    NotApplied,
    /// A part of it happened; `run` continues, `undo` takes it back.
    Partial,
    /// All of it happened.
    Applied(Outcome),
}
