//! What a rule is, and how much its findings weigh.

use std::collections::BTreeMap;
use std::fmt;

use super::rule_table::RULES;
use crate::db::Backend;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Worth knowing.
    Note,
    /// Look at it before it runs.
    Warning,
    /// It loses data, stands in others' way for long, or does not run.
    Error,
}

impl Level {
    /// Its name for people and machines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// How much it weighs where nothing tells more; none if it is off.
    pub level: Option<Level>,
    /// Where it looks.
    pub databases: Databases,
    /// Who made it.
    pub origin: Origin,
    /// One line about it.
    pub about: &'static str,
}

/// The databases that a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Databases {
    /// Either.
    Both,
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

impl Databases {
    /// Its name for people and machines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }

    /// Whether a database is one of them.
    pub fn has(self, backend: Backend) -> bool {
        match self {
            Self::Both => true,
            Self::Postgres => backend == Backend::Postgres,
            Self::Sqlite => backend == Backend::Sqlite,
        }
    }
}

/// Who made a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Ours, which stands for these of squawk's.
    Own(&'static [&'static str]),
    /// squawk's, by the same name.
    Squawk,
}

/// A rule by its name.
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name)
}

/// What a caller says about rules, over what they say themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Levels(BTreeMap<String, Option<Level>>);

impl Levels {
    /// Gives a rule another level, or switches it off.
    ///
    /// # Errors
    /// There is no such rule.
    pub fn set(&mut self, name: &str, level: Option<Level>) -> Result<(), String> {
        if rule(name).is_none() {
            return Err(format!(
                "there is no rule {name:?}; `schema lint --rules` lists them"
            ));
        }
        self.0.insert(name.to_owned(), level);
        Ok(())
    }

    /// The level that a finding of a rule gets, which the rule itself would give `found`.
    pub(super) fn of(&self, name: &str, found: Level) -> Option<Level> {
        match self.0.get(name) {
            Some(level) => *level,
            None => Some(found),
        }
    }

    /// Whether a rule is on.
    pub(super) fn is_on(&self, rule: &Rule) -> bool {
        match self.0.get(rule.name) {
            Some(level) => level.is_some(),
            None => rule.level.is_some(),
        }
    }
}
