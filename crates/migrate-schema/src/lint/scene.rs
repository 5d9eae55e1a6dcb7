//! One statement with all that a rule may ask about it.

use std::collections::BTreeSet;

use super::deed::{Action, Deed, key};
use super::known::{Known, TableSize};
use super::lock::{LockMode, TableLock};
use super::rule::Level;
use super::schema::Schema;
use crate::quote::TableName;

/// A statement that was read.
#[derive(Debug, Clone)]
pub(super) struct Read<'s> {
    pub(super) text: &'s str,
    pub(super) deed: Deed,
    /// The transaction that it runs in; none if it runs by itself.
    pub(super) transaction: Option<u32>,
    /// Whether that transaction was begun by the script itself.
    pub(super) own_transaction: bool,
}

/// A strong lock that an earlier statement of the same transaction took.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) table: TableName,
    pub(super) mode: LockMode,
    pub(super) transaction: u32,
    /// Where it was taken, as `FILE:LINE`.
    pub(super) since: String,
}

/// A statement and what is known when it runs.
pub(super) struct Scene<'s> {
    pub(super) known: &'s Known,
    /// The schema right before it.
    pub(super) schema: &'s Schema,
    /// Tables that nobody else can see or use yet: made by the same batch.
    pub(super) fresh: &'s BTreeSet<String>,
    pub(super) held: &'s [Held],
    /// All statements of the migration.
    pub(super) all: &'s [Read<'s>],
    /// Which of them it is.
    pub(super) at: usize,
    pub(super) locks: &'s [TableLock],
}

/// What a rule has to say about a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) rule: &'static str,
    pub(super) level: Level,
    pub(super) message: String,
    /// SQL that does the same with less danger.
    pub(super) instead: Option<String>,
}

impl Found {
    pub(super) fn new(rule: &'static str, level: Level, message: impl Into<String>) -> Self {
        Self {
            rule,
            level,
            message: message.into(),
            instead: None,
        }
    }

    pub(super) fn instead(mut self, sql: impl Into<String>) -> Self {
        self.instead = Some(sql.into());
        self
    }
}

/// How much work on a table matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// It was made in the same batch.
    Fresh,
    Small(TableSize),
    Large(TableSize),
    Unknown,
}

impl Weight {
    /// How much slow work on it weighs; none if nobody can be in its way.
    pub(super) fn level(self) -> Option<Level> {
        match self {
            Self::Fresh => None,
            Self::Small(_) => Some(Level::Note),
            Self::Unknown => Some(Level::Warning),
            Self::Large(_) => Some(Level::Error),
        }
    }

    /// ` (about 5 rows, 8 kB)`.
    pub(super) fn words(self) -> String {
        match self {
            Self::Small(size) | Self::Large(size) => format!(" ({})", size.words()),
            Self::Fresh | Self::Unknown => String::new(),
        }
    }
}

impl<'s> Scene<'s> {
    pub(super) fn statement(&self) -> &'s Read<'s> {
        &self.all[self.at]
    }

    pub(super) fn before(&self) -> &'s [Read<'s>] {
        &self.all[..self.at]
    }

    pub(super) fn after(&self) -> &'s [Read<'s>] {
        &self.all[self.at + 1..]
    }

    pub(super) fn is_fresh(&self, table: &TableName) -> bool {
        self.fresh.contains(&key(table))
    }

    pub(super) fn weight(&self, table: &TableName) -> Weight {
        if self.is_fresh(table) {
            return Weight::Fresh;
        }
        match self.known.size(table) {
            Some(size) if size.is_large() => Weight::Large(size),
            Some(size) => Weight::Small(size),
            None => Weight::Unknown,
        }
    }

    /// Whether a table was copied into another one before, which takes its name later.
    pub(super) fn is_rebuilt(&self, table: &TableName) -> bool {
        self.before().iter().any(|earlier| match &earlier.deed {
            Deed::Insert {
                table: copy,
                from: Some(from),
                ..
            } if key(from) == key(table) => self.takes_name(copy, table),
            _ => false,
        })
    }

    /// Whether a copy takes a table's name, or is copied back into it.
    fn takes_name(&self, copy: &TableName, table: &TableName) -> bool {
        self.all.iter().any(|read| match &read.deed {
            Deed::AlterTable {
                table: renamed,
                actions,
            } => {
                key(renamed) == key(copy)
                    && actions.iter().any(|action| {
                        matches!(action, Action::RenameTo(name)
                            if name.eq_ignore_ascii_case(table.table()))
                    })
            }
            Deed::Insert {
                table: back,
                from: Some(from),
                ..
            } => key(back) == key(table) && key(from) == key(copy),
            _ => false,
        })
    }
}
