//! A catalog as SQL: written in a stable order, read back, and compared.
//!
//! Reading order: [`Snapshot`] (blocks of SQL, one for each object), `blocks` (made of a
//! catalog's pieces), `order` (so that each object comes after what it needs), `text` (the file),
//! [`CatalogDiff`] (what differs, object by object).
//!
//! Our own objects and other tools' history tables are not in it; the latter are named. Owners
//! are left out, so that it loads as any role.

mod blocks;
mod diff;
#[cfg(feature = "postgres")]
mod order;
mod text;

use crate::catalog::Catalog;
use crate::db::{Backend, Database, DbError};

pub use diff::{CatalogDiff, Change, ObjectDiff};
pub use text::SnapshotError;

/// An object with all that belongs to it, as SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The object: `table public.accounts`.
    pub name: String,
    /// Its statements, each with its semicolon.
    pub sql: String,
}

/// A catalog as SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Of which database.
    pub backend: Backend,
    /// The objects; in an order in which they can be made when read by [`Snapshot::read`].
    pub blocks: Vec<Block>,
    /// History tables of other tools, which are not among them.
    pub left_out: Vec<String>,
}

impl Snapshot {
    /// Reads a database's catalog, in one snapshot, in an order in which it can be loaded.
    pub async fn read(db: &Database) -> Result<Self, DbError> {
        match db {
            #[cfg(feature = "postgres")]
            Database::Postgres(pg) => {
                let mut tx = pg.begin_snapshot().await?;
                let catalog = Catalog::read_postgres(&mut tx).await?;
                let edges = crate::catalog::postgres_edges(&mut tx).await?;
                tx.rollback().await?;
                Ok(order::ordered(&catalog, &edges))
            }
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => {
                let mut snapshot = Self::of(&Catalog::read(db).await?, Backend::Sqlite);
                by_sort(&mut snapshot.blocks);
                Ok(snapshot)
            }
        }
    }

    /// Of a catalog that was read, by name: for comparing, not for loading.
    pub fn of(catalog: &Catalog, backend: Backend) -> Self {
        let made = blocks::of(catalog.pieces(), backend);
        Self {
            backend,
            blocks: made.blocks.iter().map(blocks::Made::whole).collect(),
            left_out: made.left_out,
        }
    }
}

/// As SQLite's objects can be made: by sort and name.
#[cfg(feature = "sqlite")]
fn by_sort(blocks: &mut [Block]) {
    blocks.sort_by_cached_key(|block| {
        let index = block.name.starts_with("index ");
        let trigger = block.name.starts_with("trigger ");
        let view = block.name.starts_with("view ");
        (
            if index {
                1
            } else if view {
                2
            } else if trigger {
                3
            } else {
                0
            },
            block.name.clone(),
        )
    });
}
