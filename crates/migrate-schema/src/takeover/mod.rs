//! Taking a live database over from the tool that migrated it before.
//!
//! Reading order: [`ForeignHistory`] (what the other tool's table says), `tables` (where each
//! keeps it), `check` (comparing it with the files). Nothing is run, and their table is only read.

mod check;
mod shapes;
mod tables;

pub(crate) use tables::NAMES as HISTORY_TABLES;

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

/// A table that looks like another tool's history and says that something is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The tool.
    pub tool: &'static str,
    /// Its layout, where it is one that is read here.
    pub layout: Option<Layout>,
    /// The table, as SQL names it.
    pub table: String,
}

impl Seen {
    /// The tool's name, as `--layout` has it where there is one.
    fn name(&self) -> &'static str {
        self.layout.map_or(self.tool, Layout::name)
    }
}

/// Looks in all schemas for tables that look like another tool's history, by their columns, and
/// that say that something is applied. Read-only.
pub async fn seen(db: &Database) -> Result<Vec<Seen>, DbError> {
    let mut found = Vec::new();
    let mut tables = tables::shaped(db).await?;
    for (layout, table) in tables::there(db).await? {
        let plain = |name: &str| name.replace('"', "");
        if !tables
            .iter()
            .any(|(_, _, known)| plain(known) == plain(&table))
        {
            tables.push((layout.name(), Some(layout), table));
        }
    }
    for (tool, layout, table) in tables {
        let applied = match layout {
            Some(layout) => match tables::read(db, layout, table.clone()).await {
                Ok(history) => !history.is_empty(),
                // What can't be read may say anything.
                Err(_) => true,
            },
            None => tables::has_rows(db, &table).await.unwrap_or(true),
        };
        if applied {
            found.push(Seen {
                tool,
                layout,
                table,
            });
        }
    }
    Ok(found)
}

/// Looks for the history of another tool: the first that says something, else an empty one. One
/// in another schema or of another name counts where there is no other. Read-only.
pub async fn find(db: &Database) -> Result<Option<ForeignHistory>, DbError> {
    let mut empty = None;
    let mut places = tables::there(db).await?;
    for (_, layout, table) in tables::shaped(db).await? {
        if let Some(layout) = layout
            && !places
                .iter()
                .any(|(_, known)| known.replace('"', "") == table.replace('"', ""))
        {
            places.push((layout, table));
        }
    }
    for (layout, table) in places {
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
    let there = tables::there(db).await?;
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
    /// Refuses where our history says nothing and another tool's says that something is applied:
    /// all of it would run again.
    ///
    /// # Errors
    /// [`ApplyError::Refused`], naming the table and the tool.
    pub async fn refuse_foreign(&self, state: &crate::history::State) -> Result<(), ApplyError> {
        if !state.is_empty() {
            return Ok(());
        }
        let found = seen(self.database())
            .await
            .map_err(ApplyError::db("other tools' histories can't be looked for"))?;
        let findings: Vec<_> = found
            .iter()
            .filter(|one| !self.ignores(&one.table))
            .map(check::foreign)
            .collect();
        if findings.is_empty() {
            Ok(())
        } else {
            Err(ApplyError::Refused(findings))
        }
    }

    /// Records what another tool's history says is applied, without running anything. A repeatable
    /// migration that was changed since is left pending.
    ///
    /// # Errors
    /// Refused where there is no such history, or several of which none is in the search path (they
    /// can be of other applications, and are named), where it names a failed migration or one
    /// without a file, or where a file is not what was applied as far as its checksum tells.
    pub async fn take_over(&self, set: &MigrationSet) -> Result<Vec<String>, ApplyError> {
        let unread = ApplyError::db("the other tool's history can't be read");
        let db = self.database();
        let in_path = tables::there(db).await.map_err(&unread)?;
        let all = seen(db).await.map_err(&unread)?;
        let elsewhere: Vec<&Seen> = all.iter().filter(|one| !self.ignores(&one.table)).collect();
        let readable = elsewhere.iter().filter(|one| one.layout.is_some()).count();
        if in_path.is_empty() && readable != 1 {
            return Err(ApplyError::Refused(vec![check::no_history(&elsewhere)]));
        }
        let found = find(db).await.map_err(&unread)?;
        let Some(found) = found else {
            return Err(ApplyError::Refused(vec![check::no_history(&elsewhere)]));
        };
        let keys = check::keys(set, &found).map_err(ApplyError::Refused)?;
        let note = format!("taken over from {}", found.table);
        self.baseline_keys(set, &keys, Some(&note)).await
    }
}

impl SchemaEngine {
    /// Whether a table was named as another application's, quoted or not, with its schema or not.
    fn ignores(&self, table: &str) -> bool {
        let plain = |name: &str| name.replace('"', "").to_lowercase();
        let table = plain(table);
        self.options.ignored_histories.iter().any(|name| {
            let name = plain(name);
            table == name || table.rsplit('.').next() == Some(name.as_str())
        })
    }
}
