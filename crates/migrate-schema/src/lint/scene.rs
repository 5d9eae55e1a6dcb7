//! One statement with all that a rule may ask about it.

use std::collections::{BTreeMap, BTreeSet};

use super::batch::{self, Rebuild};
use super::deed::{Deed, key};
use super::known::{Known, TableSize};
use super::lock::{LockMode, TableLock};
use super::rule::Level;
use super::schema::Schema;
use crate::layout::Layout;
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
    /// How the migrations are laid out: tools differ in SQLite's foreign keys.
    pub(super) layout: Layout,
    /// The schema right before it.
    pub(super) schema: &'s Schema,
    /// Tables that nobody else can see or use yet: made by the same batch.
    pub(super) fresh: &'s BTreeSet<String>,
    /// Those of them that took the name and the rows of a table that was there, with the
    /// transaction that did it.
    pub(super) taken: &'s BTreeMap<String, Option<u32>>,
    pub(super) held: &'s [Held],
    /// All statements of the set, and where this migration's begin.
    pub(super) batch: &'s [Read<'s>],
    pub(super) start: usize,
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

    /// How a table that this statement drops is built again, in this file or another one of the
    /// same set.
    pub(super) fn rebuild(&self, table: &TableName) -> Option<Rebuild<'s>> {
        batch::rebuild(self.batch, self.start + self.at, table)
    }

    /// Whether nobody can write between an earlier statement of the set and this one; a file is
    /// taken for one piece of work.
    pub(super) fn is_at_once_with(&self, earlier: usize) -> bool {
        let with = self.batch[earlier].transaction;
        earlier >= self.start || with.is_some() && with == self.statement().transaction
    }

    /// What comes before this statement in the same file or transaction.
    pub(super) fn earlier(&self) -> impl Iterator<Item = &'s Read<'s>> + use<'s> {
        let (start, mine) = (self.start, self.statement().transaction);
        let before = self.batch[..start + self.at].iter().enumerate();
        before
            .filter(move |(number, read)| {
                *number >= start || mine.is_some() && read.transaction == mine
            })
            .map(|(_, read)| read)
    }

    /// What comes after this statement in the same file or transaction.
    pub(super) fn later(&self) -> impl Iterator<Item = &'s Read<'s>> + use<'s> {
        let (at, end) = (self.start + self.at, self.start + self.all.len());
        let mine = self.statement().transaction;
        let after = self.batch.iter().enumerate().skip(at + 1);
        after
            .filter(move |(number, read)| {
                *number < end || mine.is_some() && read.transaction == mine
            })
            .map(|(_, read)| read)
    }

    /// Whether a table is new and holds no rows that stood somewhere else before.
    pub(super) fn holds_nothing(&self, table: &TableName) -> bool {
        self.is_fresh(table) && !self.taken.contains_key(&key(table))
    }
}
