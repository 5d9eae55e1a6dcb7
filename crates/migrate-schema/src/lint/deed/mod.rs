//! What a statement does to which tables, read from its tokens.
//!
//! `statement` reads the head, `upkeep` the rarer ones, `alter` the actions of `ALTER TABLE`, `column` what is said of
//! a column or constraint, `types` what a change of type means for the rows.

mod alter;
mod column;
mod statement;
mod types;
mod upkeep;

pub(crate) use alter::Action;
pub(crate) use column::{
    Column, Constraint, ConstraintKind, DefaultKind, Generated, Key, OnDelete,
};
pub(crate) use types::{SqlType, TypeChange};

use crate::db::Backend;
use crate::quote::TableName;

/// What a statement does, as far as a rule asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    CreateTable {
        table: TableName,
        temporary: bool,
        columns: Vec<Column>,
        constraints: Vec<Constraint>,
        partition_of: Option<TableName>,
    },
    AlterTable {
        table: TableName,
        actions: Vec<Action>,
    },
    DropTable(Vec<TableName>),
    CreateIndex {
        name: Option<String>,
        table: TableName,
        concurrently: bool,
    },
    DropIndex {
        indexes: Vec<TableName>,
        concurrently: bool,
    },
    /// `REINDEX`, of one index, one table or more.
    Reindex {
        what: ReindexOf,
        concurrently: bool,
    },
    Truncate(Vec<TableName>),
    Insert {
        table: TableName,
        /// `SELECT * FROM table`.
        star_from: Option<TableName>,
        /// The first table after `FROM`.
        from: Option<TableName>,
        /// Whether it names the columns that it writes.
        names_columns: bool,
    },
    Update {
        table: TableName,
        rows: Rows,
    },
    Delete {
        table: TableName,
        rows: Rows,
    },
    CreateTrigger {
        name: String,
        table: TableName,
    },
    /// Something that is on a table and made, changed or dropped: rule, policy, trigger.
    OnTable {
        table: TableName,
        takes: OnTable,
    },
    AlterIndex(TableName),
    Comment(TableName),
    Vacuum {
        table: Option<TableName>,
        full: bool,
    },
    Analyze(Option<TableName>),
    Cluster(Option<TableName>),
    Refresh {
        view: TableName,
        concurrently: bool,
    },
    Lock {
        tables: Vec<TableName>,
        mode: String,
    },
    DropSchema {
        cascade: bool,
    },
    DropDatabase,
    DropMaterializedView(Vec<TableName>),
    /// `DROP TYPE | DOMAIN | EXTENSION | SEQUENCE … CASCADE`: may take columns along.
    DropCascade(String),
    AddEnumValue,
    /// A pragma of SQLite that sets something: name and value in small letters.
    Pragma {
        name: String,
        value: String,
    },
    Begin,
    End,
    Other,
}

/// What is reindexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReindexOf {
    Index(TableName),
    Table(TableName),
    More,
}

/// Which rows a statement touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    All,
    Some,
}

/// What is done with something that is on a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnTable {
    Statistics,
    Policy,
    Rule,
    DropTrigger,
}

impl Deed {
    pub(crate) fn of(backend: Backend, text: &str) -> Self {
        statement::read(backend, text).unwrap_or(Self::Other)
    }
}

/// A table's name to compare by: the schema that everybody's search path has is left out.
pub(crate) fn key(table: &TableName) -> String {
    match table.schema() {
        None | Some("public" | "main") => table.table().to_lowercase(),
        Some(schema) => format!("{schema}.{}", table.table()).to_lowercase(),
    }
}
