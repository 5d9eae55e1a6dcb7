//! What the engine needs from outside, each a trait of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cancel::Cancel;
use crate::error::{MigrationError, StepError};
use crate::finding::Finding;
use crate::journal::RunId;
use crate::plan::StepId;
use crate::printable::one_line;
use crate::step::ScopeObject;
use crate::version::Version;

/// Finds scripts by the names that plans use. Synchronous: scripts are small files.
pub trait Scripts: Send + Sync {
    /// The script's text and the name to show for it.
    ///
    /// # Errors
    /// Why there is none: a finding with the places that were looked at.
    fn read(&self, name: &str) -> Result<Script, Finding>;

    /// The names that exist, for "nearest" hints.
    fn names(&self) -> Vec<String>;
}

/// A script that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// The name to show in errors: a path relative to the root, or `embedded:NAME`.
    pub origin: String,
    /// Its text.
    pub text: String,
}

/// What version the deployment is at, as far as it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeploymentVersion {
    /// A journal of ours says so.
    Exact(Version, String),
    /// Its shape fits this major version, for the reason given.
    Major(u64, String),
    /// Parts of it fit different versions: why, part by part.
    Mixed(Vec<String>),
    /// Nothing tells.
    Unknown,
}

/// Hashes of everything in a scope, by object name: `table public.pipelines rows`, `file config/config.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub BTreeMap<String, String>);

impl Fingerprint {
    /// Begins the name of a fact that fingerprints of earlier releases do not hold: `fact owner of
    /// publication p`.
    pub const FACT: &'static str = "fact ";

    /// The entry that says of a fingerprint that it holds facts.
    pub const HOLDS_FACTS: &'static str = "facts";

    /// The names of what both could know, in order. A fingerprint taken by an earlier release says
    /// nothing of facts, so that their absence from it is no difference.
    pub fn names_to_compare<'a>(&'a self, other: &'a Self) -> BTreeSet<&'a String> {
        let known = |of: &Self| of.0.get(Self::HOLDS_FACTS).cloned();
        let both = known(self).is_some() && known(self) == known(other);
        (self.0.keys().chain(other.0.keys()))
            .filter(|name| *name != Self::HOLDS_FACTS && (both || !name.starts_with(Self::FACT)))
            .collect()
    }

    /// The names of what differs, with both sides, in order; empty when equal.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut out = Vec::new();
        for name in self.names_to_compare(other) {
            match (self.0.get(name), other.0.get(name)) {
                (Some(_), None) => out.push(format!("{name}: gone")),
                (None, _) => out.push(format!("{name}: new")),
                (Some(mine), Some(theirs)) if theirs != mine => {
                    out.push(format!("{name}: {mine} -> {theirs}"));
                }
                (Some(_), Some(_)) => {}
            }
        }
        out
    }
}

/// What somebody else wrote since the upgrade and a rollback would lose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Where: a table or file.
    pub object: String,
    /// How many rows, where that can be counted.
    pub rows: Option<u64>,
    /// What is known, as people read it: `at least 3 rows inserted since the upgrade`.
    pub detail: String,
    /// What was done to the rows of a table, where that is what this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<RowChanges>,
}

impl Loss {
    /// One that is told in words, with the rows it is about.
    pub fn new(object: impl Into<String>, rows: Option<u64>, detail: impl Into<String>) -> Self {
        Self {
            object: object.into(),
            rows,
            detail: detail.into(),
            changes: None,
        }
    }
}

/// What others did to the rows of a table since an upgrade ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChanges {
    /// Rows that are new.
    pub inserted: u64,
    /// Rows that were changed.
    pub updated: u64,
    /// Rows that are gone.
    pub deleted: u64,
    /// How that is known.
    pub counted: Counted,
    /// Rows that were inserted or updated, where only their sum is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<u64>,
}

/// How changes were counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Row by row: keys and hashes of every row were kept when the upgrade ended.
    Exact,
    /// Less can't be; it may be more. The table was too large to keep marks of its rows.
    AtLeast,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", one_line(&self.object), one_line(&self.detail))
    }
}

/// Looks at the deployment.
#[async_trait]
pub trait Observer: Send + Sync {
    /// The version that the deployment shows.
    async fn version(&self) -> Result<DeploymentVersion, StepError>;

    /// What speaks against a run on this scope: rights, room, old transactions. Read-only.
    async fn preflight(&self, scope: &[ScopeObject]) -> Result<Vec<Finding>, StepError> {
        let _ = scope;
        Ok(Vec::new())
    }

    /// The fingerprint of a scope. Our own objects are left out.
    async fn fingerprint(&self, scope: &[ScopeObject]) -> Result<Fingerprint, StepError>;

    /// Keeps what tells rows apart that others write after a run. Called when all its steps are
    /// done and `after` was taken, before services start. Replaces what was kept before.
    async fn mark(
        &self,
        _run: &RunId,
        _scope: &[ScopeObject],
        _after: &Fingerprint,
    ) -> Result<(), StepError> {
        Ok(())
    }

    /// Drops what [`mark`](Self::mark) kept, after a finished rollback. Idempotent.
    async fn unmark(&self, _run: &RunId) -> Result<(), StepError> {
        Ok(())
    }

    /// What was written since `then` (taken when the run ended) in the same scope, by others.
    async fn losses(
        &self,
        run: &RunId,
        then: &Fingerprint,
        scope: &[ScopeObject],
    ) -> Result<Vec<Loss>, StepError>;

    /// What others wrote beside a run, since its rollback point was made: whatever differs from
    /// that and is not the run's. `then` is the fingerprint up to which it counts; now without one.
    /// Read-only.
    async fn beside(
        &self,
        _own: &OwnWrites,
        _point: &Value,
        _then: Option<&Fingerprint>,
    ) -> Result<Vec<Loss>, StepError> {
        Ok(Vec::new())
    }

    /// Rows in objects that exist now and did not in `before`: a reverse would drop them.
    async fn losses_of_reverse(&self, before: &Fingerprint) -> Result<Vec<Loss>, StepError>;
}

/// Runs the queries of validation checks. Read-only.
#[async_trait]
pub trait CheckRunner: Send + Sync {
    /// The result: a scalar for one row of one column, an array of values for one row of
    /// more, an array of arrays for several rows, an empty array for none.
    async fn query(&self, sql: &str, cancel: &Cancel) -> Result<Value, StepError>;
}

/// Whether anybody but the run may write while its rollback point is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OtherWriters {
    /// Nobody: everything that writes is stopped, and who writes all the same is found out.
    #[default]
    Refused,
    /// They may: the point is of one moment, and what they write later is theirs.
    Expected,
}

/// What a restore does when its result is not what the rollback point was made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDifference {
    /// Rolls back: the database is as it was before the restore.
    #[default]
    RollBack,
    /// Commits, and reports what differs: a user asked for that.
    Accept,
}

impl OnDifference {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::RollBack
    }
}

/// What a run wrote itself, as far as that is declared or noted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnWrites {
    /// The run.
    pub run: String,
    /// The tables that its steps declare: what differs in them is the run's.
    pub tables: Vec<String>,
    /// The steps that were done and leave a note of what they wrote. Where one has none, an
    /// earlier build ran it, and nothing can be told from what others wrote.
    pub noted: Vec<StepId>,
}

/// What a restore does about rows that others wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RowsOfOthers {
    /// Keeps them where the run did not touch their tables, and is refused where it did: every
    /// change that is not the run's is another's.
    Keep(OwnWrites),
    /// Takes them with everything else: nobody wrote, or a user agreed to that.
    #[default]
    Replace,
}

/// How a rollback point is restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreOrder {
    /// What becomes of rows of others.
    pub others: RowsOfOthers,
    /// What a result leads to that is not what the point was made of.
    pub on_difference: OnDifference,
}

/// What a restore came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// A line for the summary.
    pub message: String,
    /// What differs from the rollback point and was accepted, an object each.
    pub differences: Vec<String>,
    /// What others wrote and was kept, a table each.
    pub kept: Vec<Loss>,
}

/// Makes and restores rollback points.
#[async_trait]
pub trait RollbackPoints: Send + Sync {
    /// Refuses before anything changed if a point could not be made (no `pg_dump`, no space).
    async fn check(&self) -> Result<Vec<Finding>, StepError>;

    /// Makes a verified point of all layers. Durable when it returns; the value is what
    /// `restore` needs, small, without secrets.
    ///
    /// # Errors
    /// Nothing was kept; with [`OtherWriters::Refused`] also where somebody wrote meanwhile.
    async fn create(
        &self,
        run: &RunId,
        from: &Version,
        scope: &[ScopeObject],
        others: OtherWriters,
        cancel: &Cancel,
    ) -> Result<Value, StepError>;

    /// Why a point could not be restored now (gone, damaged, of another database); none if it
    /// can. Read-only; asked before a restore that a user asks for changes anything.
    async fn check_restore(&self, _point: &Value) -> Result<(), StepError> {
        Ok(())
    }

    /// Copies what a restore is about to replace, before it goes back to a version. Returns a
    /// line about the copy. Called with the lock held and services down, before every restore
    /// that loses something of others.
    async fn safety_copy(&self, back_to: &Version, cancel: &Cancel) -> Result<String, StepError>;

    /// Restores all layers, whole or nothing per layer, and compares the database before it
    /// commits. Idempotent.
    ///
    /// # Errors
    /// The database is as it was; files may be back. [`StepErrorKind::OthersWrote`]: rows of
    /// others would be lost.
    ///
    /// [`StepErrorKind::OthersWrote`]: crate::StepErrorKind::OthersWrote
    async fn restore(
        &self,
        point: &Value,
        order: &RestoreOrder,
    ) -> Result<RestoreReport, StepError>;

    /// A line about a point for people: where it is, how large.
    fn describe(&self, point: &Value) -> String;
}

/// Stops and starts the services round a run.
#[async_trait]
pub trait ServiceControl: Send + Sync {
    /// Findings before anything is stopped (unknown service, no rights).
    async fn check(&self) -> Result<Vec<Finding>, StepError>;

    /// What runs now and would have to be stopped: what `start` needs; null if nothing runs.
    /// Read-only.
    async fn running(&self) -> Result<Value, StepError>;

    /// Stops what `running` named (null: nothing ran) and proves that no other writer is left.
    /// Idempotent.
    async fn stop(&self, running: &Value) -> Result<Vec<String>, StepError>;

    /// Whether everything is still down that has to be, looked at again while rows move: a
    /// service may come back by itself, another program may begin to write. Read-only.
    ///
    /// # Errors
    /// Who came back.
    async fn still_down(&self) -> Result<(), StepError> {
        Ok(())
    }

    /// Who came back that has to be down; none if nobody did or it can't be told. Read-only and
    /// cheap: asked every few seconds while a step runs, also while that writes.
    async fn came_back(&self) -> Option<StepError> {
        None
    }

    /// Starts what ran before. Idempotent.
    async fn start(&self, running: &Value) -> Result<Vec<String>, StepError>;
}

/// Keeps two runs apart.
#[async_trait]
pub trait RunGuard: Send + Sync {
    /// Takes the locks, with a deadline.
    ///
    /// # Errors
    /// [`MigrationError::Locked`] naming the holder.
    async fn acquire(&self, run: &RunId) -> Result<(), MigrationError>;

    /// Writes the fencing epoch that every transaction of this run checks. After this the
    /// database holds objects of ours.
    async fn arm(&self, run: &RunId) -> Result<(), StepError>;

    /// Removes our objects from the database after a finished rollback, where no other run needs them.
    async fn disarm(&self) -> Result<(), StepError>;

    /// Lets go of the locks. Called on every path.
    async fn release(&self);
}
