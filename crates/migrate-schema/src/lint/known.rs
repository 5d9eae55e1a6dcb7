//! What is known when statements are looked at.

use std::collections::BTreeMap;

use super::deed::key;
use super::schema::Schema;
use crate::db::Backend;
use crate::quote::TableName;

/// How big a table is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableSize {
    /// About how many rows; none where the server has not counted yet.
    pub rows: Option<u64>,
    /// Its bytes on disk, indexes included.
    pub bytes: u64,
}

impl TableSize {
    /// From here on reading a table takes noticeably long.
    const LARGE_BYTES: u64 = 64 << 20;
    const LARGE_ROWS: u64 = 500_000;

    /// Whether work on all of it takes noticeably long.
    pub fn is_large(self) -> bool {
        self.bytes >= Self::LARGE_BYTES || self.rows.is_some_and(|rows| rows >= Self::LARGE_ROWS)
    }

    /// As people say it.
    pub(super) fn words(self) -> String {
        let bytes = match self.bytes {
            small if small < 10 << 20 => format!("{} kB", small >> 10),
            large => format!("{} MB", large >> 20),
        };
        match self.rows {
            Some(rows) => format!("about {rows} rows, {bytes}"),
            None => bytes,
        }
    }
}

/// The database that migrations are for, as far as it is known.
#[derive(Debug, Clone)]
pub struct Known {
    /// Which database.
    pub backend: Backend,
    /// The major version of the server, as `15`; the oldest that is supported without one.
    pub major: u32,
    /// The tables of the live database; none where there is no database.
    pub(super) sizes: Option<BTreeMap<String, TableSize>>,
    /// Its columns, keys, indexes.
    pub(super) schema: Schema,
}

impl Known {
    /// Nothing but which database it will be.
    pub fn nothing(backend: Backend) -> Self {
        Self {
            backend,
            major: 15,
            sizes: None,
            schema: Schema::default(),
        }
    }

    /// The same with the size of a table, as a live database would tell it.
    #[must_use]
    pub fn with_size(mut self, table: &TableName, size: TableSize) -> Self {
        self.sizes.get_or_insert_default().insert(key(table), size);
        self.schema.with_table(table);
        self
    }

    pub(super) fn size(&self, table: &TableName) -> Option<TableSize> {
        self.sizes.as_ref()?.get(&key(table)).copied()
    }
}
