//! Taking a live database over from the tool that migrated it before.
//!
//! Reading order: [`ForeignHistory`] (what the other tool's table says), `tables` (where each
//! keeps it), `check` (comparing it with the files). Nothing is run, and their table is only read.

mod check;
mod tables;

pub(crate) use tables::NAMES as HISTORY_TABLES;

use tables::Within;

use crate::apply::{ApplyError, SchemaEngine};
use crate::db::{Database, DbError};
use crate::layout::{Layout, MigrationSet};

/// What another tool's history says is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignHistory {
    layout: Layout,
    table: String,
    lines: Vec<Line>,
    upto: bool,
}

/// A migration that it says is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    /// The version, none for a repeatable one.
    version: Option<String>,
    name: String,
    /// Whether it ended well; else the other tool calls it dirty or failed.
    success: bool,
    checksum: Option<String>,
}

impl ForeignHistory {
    /// The layout of the tool that keeps it.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Its table, as SQL names it.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// How many lines say that something is applied.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether nothing is applied.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// Looks for the history of another tool: the first that says something, else an empty one.
/// Read-only.
pub async fn find(db: &Database) -> Result<Option<ForeignHistory>, DbError> {
    let mut empty = None;
    for (layout, table) in tables::there(db, Within::SearchPath).await? {
        let found = tables::read(db, layout, table).await?;
        if !found.is_empty() {
            return Ok(Some(found));
        }
        empty.get_or_insert(found);
    }
    Ok(empty)
}

/// The layout whose tool has a history table in the database.
pub async fn layout_of(db: &Database) -> Result<Option<Layout>, DbError> {
    let there = tables::there(db, Within::SearchPath).await?;
    Ok(there.first().map(|(layout, _)| *layout))
}

/// The keys of the set's migrations that another tool's history says are applied.
///
/// # Errors
/// It names a failed migration or one without a file, or a file that is not what was applied.
pub fn applied_keys(
    set: &MigrationSet,
    history: &ForeignHistory,
) -> Result<Vec<String>, Vec<migrate_core::Finding>> {
    check::keys(set, history)
}

impl SchemaEngine {
    /// Records what another tool's history says is applied, without running anything. A repeatable
    /// migration that was changed since is left pending.
    ///
    /// # Errors
    /// Refused where there is no such history (on PostgreSQL: in the search path; one outside of it,
    /// which can be another application's, is named), where it names a failed migration or one
    /// without a file, or where a file is not what was applied as far as its checksum tells.
    pub async fn take_over(&self, set: &MigrationSet) -> Result<Vec<String>, ApplyError> {
        let unread = "the other tool's history can't be read";
        let found = find(self.database())
            .await
            .map_err(ApplyError::db(unread))?;
        let Some(found) = found else {
            let elsewhere = tables::there(self.database(), Within::OtherSchemas)
                .await
                .map_err(ApplyError::db(unread))?;
            return Err(ApplyError::Refused(vec![check::no_history(&elsewhere)]));
        };
        let keys = check::keys(set, &found).map_err(ApplyError::Refused)?;
        let note = format!("taken over from {}", found.table);
        self.baseline_keys(set, &keys, Some(&note)).await
    }
}
