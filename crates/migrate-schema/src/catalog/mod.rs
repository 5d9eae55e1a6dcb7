//! What is in a database: every object with its definition, and the facts of one table.

mod items;
mod piece;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
mod trigger_writes;

use std::collections::BTreeMap;

pub use items::table_items;
#[cfg(feature = "postgres")]
pub(crate) use piece::Edge;
pub(crate) use piece::{Address, Part, Piece};
#[cfg(feature = "postgres")]
pub(crate) use postgres::{READ_UNDER, edges as postgres_edges, user_tables as postgres_tables};

use crate::db::{Database, DbError};
use crate::quote::TableName;

pub use trigger_writes::{Triggers, written_by_triggers};

/// All objects of the user's schemas by name (`column public.pipelines.id`), each with its
/// definition as SQL. Our own objects are left out. The text holds no oids and no numbers of
/// columns: an object that was changed and changed back reads the same.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    objects: BTreeMap<String, String>,
    pieces: Vec<Piece>,
}

impl PartialEq for Catalog {
    fn eq(&self, other: &Self) -> bool {
        self.objects == other.objects
    }
}

impl Eq for Catalog {}

impl Catalog {
    /// Reads it, in one snapshot.
    pub async fn read(db: &Database) -> Result<Self, DbError> {
        match db {
            #[cfg(feature = "postgres")]
            Database::Postgres(pg) => {
                let mut tx = pg.begin_snapshot().await?;
                let catalog = Self::read_postgres(&mut tx).await?;
                tx.rollback().await?;
                Ok(catalog)
            }
            #[cfg(feature = "sqlite")]
            Database::Sqlite(lite) => Self::read_sqlite(&mut *lite.acquire().await?).await,
        }
    }

    /// Reads it within a transaction.
    #[cfg(feature = "postgres")]
    pub async fn read_postgres(connection: &mut sqlx::PgConnection) -> Result<Self, DbError> {
        Ok(Self::of(postgres::pieces(connection).await?))
    }

    /// Reads it within a transaction.
    #[cfg(feature = "sqlite")]
    pub async fn read_sqlite(connection: &mut sqlx::SqliteConnection) -> Result<Self, DbError> {
        Ok(Self::of(sqlite::pieces(connection).await?))
    }

    /// Of the rows of `postgres.sql` as another program's session printed them.
    #[cfg(feature = "postgres")]
    pub(crate) fn of_printed(rows: Vec<postgres::PrintedRow>) -> Self {
        Self::of(rows.into_iter().map(postgres::PrintedRow::piece).collect())
    }

    fn of(pieces: Vec<Piece>) -> Self {
        let mut objects: BTreeMap<String, String> = BTreeMap::new();
        for piece in &pieces {
            let known = objects.entry(piece.name.clone()).or_default();
            if !known.is_empty() && !piece.text.is_empty() {
                known.push('\n');
            }
            known.push_str(&piece.text);
        }
        Self { objects, pieces }
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The definitions by name.
    pub fn objects(&self) -> &BTreeMap<String, String> {
        &self.objects
    }

    /// What differs in `now`, an object a line, in order of names; empty when equal.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let gone_or_changed =
            self.objects
                .iter()
                .filter_map(|(name, before)| match now.objects.get(name) {
                    None => Some(format!("{name} is missing")),
                    Some(after) if after != before => {
                        Some(format!("{name} is {after:?} and was {before:?}"))
                    }
                    Some(_) => None,
                });
        let new = now
            .objects
            .keys()
            .filter(|name| !self.objects.contains_key(*name))
            .map(|name| format!("{name} is new"));
        gone_or_changed.chain(new).collect()
    }
}

impl Catalog {
    /// What differs in `now` as a diff: each object by name, its lines with `-` as they were and
    /// with `+` as they are; empty when equal.
    pub fn diff(&self, now: &Self) -> Vec<String> {
        let names: std::collections::BTreeSet<&String> =
            self.objects.keys().chain(now.objects.keys()).collect();
        let mut out = Vec::new();
        for name in names {
            let (old, new) = (self.objects.get(name), now.objects.get(name));
            let how = match (old, new) {
                _ if old == new => continue,
                (_, None) => "is missing",
                (None, _) => "is new",
                _ => "is another",
            };
            out.push(format!("{name} {how}{}", lines_of_diff(old, new)));
        }
        out
    }
}

/// The lines of an object with `-` as they were and with `+` as they are, each after a line's end.
pub fn lines_of_diff(old: Option<&String>, new: Option<&String>) -> String {
    let text = |definition: Option<&String>| definition.cloned().unwrap_or_default();
    let (old, new) = (text(old), text(new));
    let mut lines = String::new();
    for change in similar::TextDiff::from_lines(&old, &new).iter_all_changes() {
        let sign = match change.tag() {
            similar::ChangeTag::Delete => '-',
            similar::ChangeTag::Insert => '+',
            similar::ChangeTag::Equal => ' ',
        };
        lines.push_str(&format!("\n{sign} {}", change.value().trim_end()));
    }
    lines
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as the database writes it; empty for a SQLite column without one.
    pub type_name: String,
    /// Whether it refuses nulls.
    pub not_null: bool,
    /// Its default as SQL.
    pub default: Option<String>,
    /// Whether its value is computed from other columns, so that it can't be written.
    pub generated: bool,
    /// Whether it is `GENERATED ALWAYS AS IDENTITY`: written only with `OVERRIDING SYSTEM VALUE`.
    pub identity_always: bool,
}

/// Columns that tell the rows of a table apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueKey {
    /// The name of its index, or of the table for SQLite's rowid alias.
    pub name: String,
    /// Its columns, in order; none of them is ever null.
    pub columns: Vec<String>,
    /// Whether it is the primary key.
    pub primary: bool,
}

/// A table's columns in order; empty if there is no such table (or view).
pub async fn table_columns(db: &Database, table: &TableName) -> Result<Vec<Column>, DbError> {
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => postgres::columns(pg, table).await,
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => sqlite::columns(&mut *lite.acquire().await?, table).await,
    }
}

/// The keys by which a table can be walked: unique, whole, of plain columns that are never
/// null and sort the way the key does. The primary one first.
pub async fn unique_keys(db: &Database, table: &TableName) -> Result<Vec<UniqueKey>, DbError> {
    let mut keys = match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => postgres::unique_keys(pg, table).await?,
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => sqlite::unique_keys(&mut *lite.acquire().await?, table).await?,
    };
    keys.sort_by(|a, b| b.primary.cmp(&a.primary).then_with(|| a.name.cmp(&b.name)));
    Ok(keys)
}

/// The columns of a unique index that may hold NULLs, of a table without another key: they tell
/// rows apart that have none. None where there is no such index.
pub async fn key_with_nulls(
    db: &Database,
    table: &TableName,
) -> Result<Option<Vec<String>>, DbError> {
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => postgres::key_with_nulls(pg, table).await,
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => sqlite::key_with_nulls(&mut *lite.acquire().await?, table).await,
    }
}

/// About how many rows a table has: exact where counting is cheap, else the planner's estimate.
pub async fn row_estimate(db: &Database, table: &TableName) -> Result<u64, DbError> {
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => postgres::row_estimate(pg, table).await,
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => sqlite::row_count(&mut *lite.acquire().await?, table).await,
    }
}

/// How many bytes a table takes on disk, its indexes included.
pub async fn table_bytes(db: &Database, table: &TableName) -> Result<u64, DbError> {
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => postgres::table_bytes(pg, table).await,
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => sqlite::table_bytes(&mut *lite.acquire().await?, table).await,
    }
}

/// The user's tables by name, in order. Partitions are part of their parent; on SQLite the
/// tables that hold a virtual table's content stand for it.
pub async fn user_tables(db: &Database) -> Result<Vec<TableName>, DbError> {
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => postgres::user_tables(&mut *pg.acquire().await?).await,
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => sqlite::user_tables(&mut *lite.acquire().await?).await,
    }
}
