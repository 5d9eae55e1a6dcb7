//! One migration of a set.

use super::{Section, Version};
use crate::db::Backend;
use crate::script::needs_no_transaction;

/// A migration: what brings it, what takes it back, what proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its version; none for a repeatable one, which runs again whenever its text changes.
    pub version: Option<Version>,
    /// Its name for people, unique among the repeatable ones.
    pub name: String,
    /// What brings it.
    pub up: Section,
    /// How `up` runs.
    pub transactions: Transactions,
    /// What takes it back.
    pub down: Option<Section>,
    /// How `down` runs.
    pub down_transactions: Transactions,
    /// A query that proves it: every row of one false, null or zero column is a failure.
    pub verify: Option<Section>,
    /// Whether `${name}` in its SQL stands for a value.
    pub placeholders: bool,
}

/// How a section's statements are put into transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transactions {
    /// All of it in one, together with its row in the history.
    One,
    /// Each statement by itself, with a journal.
    PerStatement,
}

impl Transactions {
    /// For tools that look at the statements themselves.
    pub(super) fn by_content(backend: Backend, section: &Section) -> Self {
        if needs_no_transaction(backend, section.sql()) {
            Self::PerStatement
        } else {
            Self::One
        }
    }
}

impl Migration {
    pub(super) fn versioned(version: Version, name: &str, up: Section) -> Self {
        Self {
            version: Some(version),
            ..Self::repeatable(name, up)
        }
    }

    pub(crate) fn repeatable(name: &str, up: Section) -> Self {
        Self {
            version: None,
            name: name.to_owned(),
            up,
            transactions: Transactions::One,
            down: None,
            down_transactions: Transactions::One,
            verify: None,
            placeholders: false,
        }
    }

    /// Where it stands in the order of its set: repeatable ones last, by name.
    pub(super) fn order(&self) -> ((bool, Option<&Version>), &str) {
        let name = if self.version.is_some() {
            ""
        } else {
            self.name.as_str()
        };
        ((self.version.is_none(), self.version.as_ref()), name)
    }

    /// The key in our history: the version's, or `R:name`.
    pub fn key(&self) -> String {
        match &self.version {
            Some(version) => version.key(),
            None => format!("R:{}", self.name),
        }
    }

    /// How it is named to people: `20240101 create users`.
    pub fn label(&self) -> String {
        match &self.version {
            Some(version) if self.name.is_empty() => version.to_string(),
            Some(version) => format!("{version} {}", self.name),
            None => format!("repeatable {}", self.name),
        }
    }
}
