//! The file that a snapshot is written to, and read from.

use std::fmt;

use super::{Block, Snapshot};
use crate::db::Backend;

/// Stands before the name of each block.
const MARK: &str = "--@ ";

const FIRST: &str = "-- The schema as etlrs-migrate found it: ";

/// Why a text is no snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotError(String);

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SnapshotError {}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST}{}", self.backend)?;
        for table in &self.left_out {
            writeln!(f, "-- left out: {table} (another tool's history)")?;
        }
        if self.backend == Backend::Postgres {
            f.write_str(
                "SET client_min_messages = warning;\nSET check_function_bodies = false;\n\
                 SELECT pg_catalog.set_config('search_path', '', false);\n",
            )?;
        }
        for block in &self.blocks {
            write!(f, "\n{MARK}{}\n{}", block.name, block.sql)?;
        }
        Ok(())
    }
}

impl Snapshot {
    /// Reads what [`Display`](fmt::Display) wrote.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Self, SnapshotError> {
        let mut lines = text.lines();
        let backend = match lines.next().and_then(|line| line.strip_prefix(FIRST)) {
            Some("PostgreSQL") => Backend::Postgres,
            Some("SQLite") => Backend::Sqlite,
            _ => {
                return Err(SnapshotError(format!(
                    "it does not begin with {FIRST:?}: it was not written by `schema dump`"
                )));
            }
        };
        let mut snapshot = Self {
            backend,
            blocks: Vec::new(),
            left_out: Vec::new(),
        };
        for line in lines {
            if let Some(name) = line.strip_prefix(MARK) {
                snapshot.blocks.push(Block {
                    name: name.to_owned(),
                    sql: String::new(),
                });
            } else if let Some(block) = snapshot.blocks.last_mut() {
                block.sql.push_str(line);
                block.sql.push('\n');
            }
        }
        for block in &mut snapshot.blocks {
            block.sql.truncate(block.sql.trim_end().len());
            block.sql.push('\n');
        }
        Ok(snapshot)
    }
}
