//! A line of the log.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::db::{DbError, DbErrorKind};
use crate::layout::{Layout, Migration};

/// What a line says was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It was run.
    Up,
    /// It was taken back.
    Down,
    /// It was there already, brought by another tool or by hand: nothing was run.
    Baseline,
    /// Its file was edited after it was run, and that was accepted.
    Accept,
    /// It was taken out of the log; nothing was run.
    Forget,
}

impl Action {
    /// How it stands in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Baseline => "baseline",
            Self::Accept => "accept",
            Self::Forget => "forget",
        }
    }

    /// Reads it back.
    pub(super) fn read(name: &str) -> Result<Self, DbError> {
        [
            Self::Up,
            Self::Down,
            Self::Baseline,
            Self::Accept,
            Self::Forget,
        ]
        .into_iter()
        .find(|action| action.name() == name)
        .ok_or_else(|| {
            DbError::new(
                DbErrorKind::Other,
                format!("the history holds a line of the unknown kind {name:?}"),
            )
            .hint("it was written by a newer etlrs-migrate; use that one")
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A line of the log, without the texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number.
    pub seq: i64,
    /// What was done.
    pub action: Action,
    /// Which migration: its version's key, or `R:name`.
    pub key: String,
    /// The version as the file's name had it; none for a repeatable one.
    pub version: Option<String>,
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// The checksum of what brings it.
    pub checksum: String,
    /// Whether a later version was there before.
    pub out_of_order: bool,
    /// When, in UTC.
    pub at: String,
    /// How long it took.
    pub millis: i64,
    /// Who.
    pub by: String,
    /// The run of a deployment that it belongs to, if any.
    pub run: Option<String>,
    /// Why, or from where.
    pub note: Option<String>,
}

/// A line to add, with the texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) action: Action,
    pub(crate) key: String,
    pub(crate) version: Option<String>,
    pub(crate) name: String,
    pub(crate) layout: &'static str,
    pub(crate) file: String,
    pub(crate) checksum: String,
    pub(crate) up: Option<String>,
    pub(crate) down: Option<String>,
    pub(crate) out_of_order: bool,
    pub(crate) millis: i64,
    pub(crate) by: String,
    pub(crate) run: Option<String>,
    pub(crate) note: Option<String>,
}

/// What a line about the script of a plan says.
pub(crate) struct ScriptEntry<'a> {
    pub(crate) key: &'a str,
    pub(crate) version: i64,
    pub(crate) name: &'a str,
    pub(crate) file: &'a str,
    pub(crate) checksum: String,
    pub(crate) text: Option<&'a str>,
    pub(crate) millis: i64,
    pub(crate) run: Option<&'a str>,
}

impl Entry {
    /// A line about the script of a plan.
    pub(crate) fn of_script(action: Action, line: ScriptEntry<'_>) -> Self {
        Self {
            action,
            key: line.key.to_owned(),
            version: Some(line.version.to_string()),
            name: line.name.to_owned(),
            layout: "script",
            file: line.file.to_owned(),
            checksum: line.checksum,
            up: line.text.map(str::to_owned),
            down: None,
            out_of_order: false,
            millis: line.millis,
            by: "etlrs-migrate".to_owned(),
            run: line.run.map(str::to_owned),
            note: None,
        }
    }

    /// A line about a migration. Taking one back needs no texts.
    pub(crate) fn of(action: Action, migration: &Migration, layout: Layout, by: &str) -> Self {
        let texts = !matches!(action, Action::Down | Action::Forget);
        Self {
            action,
            key: migration.key(),
            version: migration.version.as_ref().map(ToString::to_string),
            name: migration.name.clone(),
            layout: layout.name(),
            file: migration.up.file().to_owned(),
            checksum: migration.up.checksum(),
            up: texts.then(|| migration.up.sql().to_owned()),
            down: migration
                .down
                .as_ref()
                .filter(|_| texts)
                .map(|down| down.sql().to_owned()),
            out_of_order: false,
            millis: 0,
            by: by.to_owned(),
            run: None,
            note: None,
        }
    }
}
