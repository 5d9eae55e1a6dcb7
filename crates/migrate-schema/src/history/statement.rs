//! The journal of migrations that are not one transaction.

use sha2::{Digest, Sha256};

/// Which way a migration goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    Up,
    Down,
}

impl Direction {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    pub(crate) fn of_name(name: &str) -> Self {
        if name == "down" { Self::Down } else { Self::Up }
    }
}

/// A unit of statements that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Started {
    pub(crate) key: String,
    pub(crate) direction: Direction,
    /// Its number in the migration, from 0.
    pub(crate) unit: i64,
    /// A hash of its text.
    pub(crate) text_hash: String,
    /// Whether it ended well; else it is in doubt.
    pub(crate) done: bool,
    /// The session that ran it, on PostgreSQL.
    pub(crate) session: Option<String>,
}

/// The hash of a unit's text.
pub(crate) fn text_hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest[..16].iter().fold(String::new(), |mut out, byte| {
        use std::fmt::Write as _;
        let _ = write!(out, "{byte:02x}");
        out
    })
}
