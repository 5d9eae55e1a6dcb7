//! Which lock a statement takes on which table of PostgreSQL, and what it does under it.
//!
//! After `AlterTableGetLockLevel` and the manual's chapter on explicit locking; the tests
//! compare it with `pg_locks` and `relfilenode` of a real server.

use std::fmt;

use super::deed::{
    Action, Column, Constraint, ConstraintKind, Deed, DefaultKind, Generated, OnTable, ReindexOf,
    TypeChange,
};
use super::schema::Schema;
use crate::quote::TableName;

/// A lock on a table, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockMode {
    /// Readers.
    AccessShare,
    /// `SELECT … FOR UPDATE`.
    RowShare,
    /// Writers.
    RowExclusive,
    /// `VACUUM`, `CREATE INDEX CONCURRENTLY`: others read and write.
    ShareUpdateExclusive,
    /// Others read.
    Share,
    /// Others read.
    ShareRowExclusive,
    /// Others read.
    Exclusive,
    /// Nobody else, readers included.
    AccessExclusive,
}

impl LockMode {
    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessShare => "ACCESS SHARE",
            Self::RowShare => "ROW SHARE",
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::Exclusive => "EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        }
    }

    /// What others can't do meanwhile; none where they can do both.
    pub fn blocks(self) -> Option<&'static str> {
        match self {
            Self::AccessExclusive => Some("reads and writes"),
            Self::Share | Self::ShareRowExclusive | Self::Exclusive => Some("writes"),
            _ => None,
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        [
            Self::AccessShare,
            Self::RowShare,
            Self::RowExclusive,
            Self::ShareUpdateExclusive,
            Self::Share,
            Self::ShareRowExclusive,
            Self::Exclusive,
            Self::AccessExclusive,
        ]
        .into_iter()
        .find(|mode| mode.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for LockMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a statement does with a table's rows while it holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Nothing: it is over in a moment.
    Instant,
    /// It writes rows.
    WritesRows,
    /// It reads all of them.
    Scans,
    /// It reads all of them and builds an index.
    BuildsIndex,
    /// It writes the whole table again.
    Rewrites,
}

impl Work {
    /// As a word for machines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Instant => "instant",
            Self::WritesRows => "writes-rows",
            Self::Scans => "scan",
            Self::BuildsIndex => "index-build",
            Self::Rewrites => "rewrite",
        }
    }
}

/// A lock that a statement takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableLock {
    /// On what.
    pub table: TableName,
    /// The strongest that it takes there.
    pub mode: LockMode,
    /// What it does meanwhile.
    pub work: Work,
}

/// The locks of a statement on tables that may have been there before, strongest per table.
pub(crate) fn locks(deed: &Deed, schema: &Schema) -> Vec<TableLock> {
    use LockMode::{AccessExclusive, RowExclusive, Share, ShareRowExclusive, ShareUpdateExclusive};
    let mut found = Taken::default();
    match deed {
        Deed::CreateTable {
            columns,
            constraints,
            partition_of,
            ..
        } => {
            for to in columns
                .iter()
                .filter_map(|column| column.references.as_ref())
            {
                found.add(to, ShareRowExclusive, Work::Instant);
            }
            for constraint in constraints {
                if let ConstraintKind::ForeignKey(to) = &constraint.kind {
                    found.add(to, ShareRowExclusive, Work::Instant);
                }
            }
            if let Some(parent) = partition_of {
                found.add(parent, AccessExclusive, Work::Instant);
            }
        }
        Deed::AlterTable { table, actions } => {
            for action in actions {
                altering(&mut found, table, action, schema);
            }
        }
        Deed::DropTable(tables) | Deed::Truncate(tables) => {
            found.all(tables, AccessExclusive, Work::Instant);
        }
        Deed::DropMaterializedView(views) => found.all(views, AccessExclusive, Work::Instant),
        Deed::CreateIndex {
            table,
            concurrently,
            ..
        } => {
            let mode = if *concurrently {
                ShareUpdateExclusive
            } else {
                Share
            };
            found.add(table, mode, Work::BuildsIndex);
        }
        Deed::DropIndex {
            indexes,
            concurrently,
        } => {
            let mode = if *concurrently {
                ShareUpdateExclusive
            } else {
                AccessExclusive
            };
            for table in indexes
                .iter()
                .filter_map(|index| schema.table_of_index(index))
            {
                found.add(&table, mode, Work::Instant);
            }
        }
        Deed::Reindex { what, concurrently } => {
            let mode = if *concurrently {
                ShareUpdateExclusive
            } else {
                Share
            };
            let table = match what {
                ReindexOf::Table(table) => Some(table.clone()),
                ReindexOf::Index(index) => schema.table_of_index(index),
                ReindexOf::More => None,
            };
            if let Some(table) = table {
                found.add(&table, mode, Work::BuildsIndex);
            }
        }
        Deed::Insert { table, .. } | Deed::Update { table, .. } | Deed::Delete { table, .. } => {
            found.add(table, RowExclusive, Work::WritesRows);
        }
        Deed::CreateTrigger { table, .. } => found.add(table, ShareRowExclusive, Work::Instant),
        Deed::OnTable { table, takes } => {
            let mode = match takes {
                OnTable::Statistics => ShareUpdateExclusive,
                OnTable::Policy | OnTable::Rule | OnTable::DropTrigger => AccessExclusive,
            };
            found.add(table, mode, Work::Instant);
        }
        Deed::Comment(table) => found.add(table, ShareUpdateExclusive, Work::Instant),
        Deed::Vacuum {
            table: Some(table),
            full,
        } => {
            let (mode, work) = if *full {
                (AccessExclusive, Work::Rewrites)
            } else {
                (ShareUpdateExclusive, Work::Scans)
            };
            found.add(table, mode, work);
        }
        Deed::Analyze(Some(table)) => found.add(table, ShareUpdateExclusive, Work::Scans),
        Deed::Cluster(Some(table)) => found.add(table, AccessExclusive, Work::Rewrites),
        Deed::Refresh { view, concurrently } => {
            let mode = if *concurrently {
                LockMode::Exclusive
            } else {
                AccessExclusive
            };
            found.add(view, mode, Work::Rewrites);
        }
        Deed::Lock { tables, mode } => {
            if let Some(mode) = LockMode::of_name(mode) {
                found.all(tables, mode, Work::Instant);
            }
        }
        _ => {}
    }
    found.0
}

/// Locks by table, each at its strongest.
#[derive(Default)]
struct Taken(Vec<TableLock>);

impl Taken {
    fn add(&mut self, table: &TableName, mode: LockMode, work: Work) {
        match self.0.iter_mut().find(|lock| lock.table == *table) {
            Some(lock) => {
                lock.mode = lock.mode.max(mode);
                lock.work = lock.work.max(work);
            }
            None => self.0.push(TableLock {
                table: table.clone(),
                mode,
                work,
            }),
        }
    }

    fn all(&mut self, tables: &[TableName], mode: LockMode, work: Work) {
        for table in tables {
            self.add(table, mode, work);
        }
    }
}

fn altering(found: &mut Taken, table: &TableName, action: &Action, schema: &Schema) {
    use LockMode::{AccessExclusive, RowShare, ShareRowExclusive, ShareUpdateExclusive};
    let (mode, work) = match action {
        Action::AddColumn { column, .. } => {
            if let Some(to) = &column.references {
                found.add(to, ShareRowExclusive, Work::Instant);
            }
            (AccessExclusive, adding(column))
        }
        Action::AlterType { column, to, using } => {
            let change = schema.column_type(table, column).changed_to(to);
            let work = if change == TypeChange::CatalogOnly && !using {
                Work::Instant
            } else {
                Work::Rewrites
            };
            (AccessExclusive, work)
        }
        Action::SetNotNull(column) => {
            let work = if schema.is_proven_not_null(table, column) {
                Work::Instant
            } else {
                Work::Scans
            };
            (AccessExclusive, work)
        }
        Action::AddConstraint(constraint) => constraining(found, constraint),
        Action::ValidateConstraint(name) => {
            if let Some(to) = schema.referenced_by(table, name) {
                found.add(&to, RowShare, Work::Instant);
            }
            (ShareUpdateExclusive, Work::Scans)
        }
        Action::SetStatistics | Action::ClusterOn | Action::Parameters { catalog: false } => {
            (ShareUpdateExclusive, Work::Instant)
        }
        Action::EnableTrigger => (ShareRowExclusive, Work::Instant),
        Action::SetLogged
        | Action::SetAccessMethod
        | Action::SetTablespace
        | Action::SetExpression(_) => (AccessExclusive, Work::Rewrites),
        Action::Attach(partition) => {
            found.add(partition, AccessExclusive, Work::Scans);
            (ShareUpdateExclusive, Work::Instant)
        }
        Action::Detach {
            partition,
            concurrently,
        } => {
            found.add(partition, AccessExclusive, Work::Instant);
            let mode = if *concurrently {
                ShareUpdateExclusive
            } else {
                AccessExclusive
            };
            (mode, Work::Instant)
        }
        Action::Inherit(parent) => {
            found.add(parent, ShareUpdateExclusive, Work::Instant);
            (AccessExclusive, Work::Instant)
        }
        _ => (AccessExclusive, Work::Instant),
    };
    found.add(table, mode, work);
}

/// What adding a column does with the rows that are there.
fn adding(column: &Column) -> Work {
    let rewrites = column.is_serial()
        || column.generated == Some(Generated::Stored)
        || matches!(column.default, DefaultKind::Volatile(_));
    if rewrites {
        Work::Rewrites
    } else if column.key.is_some() {
        Work::BuildsIndex
    } else if column.check {
        Work::Scans
    } else {
        Work::Instant
    }
}

fn constraining(found: &mut Taken, constraint: &Constraint) -> (LockMode, Work) {
    let scans = if constraint.not_valid {
        Work::Instant
    } else {
        Work::Scans
    };
    match &constraint.kind {
        ConstraintKind::ForeignKey(to) => {
            found.add(to, LockMode::ShareRowExclusive, Work::Instant);
            (LockMode::ShareRowExclusive, scans)
        }
        ConstraintKind::Check | ConstraintKind::NotNull(_) => (LockMode::AccessExclusive, scans),
        ConstraintKind::Unique { using_index: true }
        | ConstraintKind::PrimaryKey { using_index: true } => {
            (LockMode::AccessExclusive, Work::Instant)
        }
        ConstraintKind::Unique { .. }
        | ConstraintKind::PrimaryKey { .. }
        | ConstraintKind::Exclude => (LockMode::AccessExclusive, Work::BuildsIndex),
    }
}
