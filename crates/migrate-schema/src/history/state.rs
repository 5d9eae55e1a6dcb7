//! What the lines of the log come to. Pure.

use std::collections::BTreeMap;

use super::record::{Action, Record};
use super::statement::{Direction, Started};
use crate::migrator::script_name::KEY_PREFIX;

/// A migration that the database has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The line that brought it.
    pub record: Record,
    /// The checksum that counts: of what ran, or of what was accepted since.
    pub checksum: String,
    /// Whether it was there before our log.
    pub baseline: bool,
}

/// What the log says about the script of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScriptLine<'s> {
    /// It was applied.
    Applied(&'s Applied),
    /// It was applied and rolled back.
    RolledBack,
    /// There is no line about it.
    Unknown,
}

/// What a database has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    applied: BTreeMap<String, Applied>,
    /// The scripts of plans, which no directory of migrations holds.
    scripts: BTreeMap<String, Applied>,
    records: Vec<Record>,
    pub(crate) started: Vec<Started>,
}

impl State {
    /// Follows the lines in order.
    pub(crate) fn of(records: Vec<Record>, started: Vec<Started>) -> Self {
        let mut applied: BTreeMap<String, Applied> = BTreeMap::new();
        let mut scripts: BTreeMap<String, Applied> = BTreeMap::new();
        for record in &records {
            let applied = if is_script(record) {
                &mut scripts
            } else {
                &mut applied
            };
            match record.action {
                Action::Up | Action::Baseline => {
                    applied.insert(
                        record.key.clone(),
                        Applied {
                            checksum: record.checksum.clone(),
                            baseline: record.action == Action::Baseline,
                            record: record.clone(),
                        },
                    );
                }
                Action::Down | Action::Forget => {
                    applied.remove(&record.key);
                }
                Action::Accept => {
                    if let Some(one) = applied.get_mut(&record.key) {
                        one.checksum.clone_from(&record.checksum);
                    }
                }
            }
        }
        Self {
            applied,
            scripts,
            records,
            started,
        }
    }

    /// What the log says about the script of a plan, by its key.
    pub(crate) fn script(&self, key: &str) -> ScriptLine<'_> {
        match self.scripts.get(key) {
            Some(applied) => ScriptLine::Applied(applied),
            None if self.records.iter().any(|one| one.key == key) => ScriptLine::RolledBack,
            None => ScriptLine::Unknown,
        }
    }

    /// The versions that applied scripts brought.
    pub(crate) fn script_versions(&self) -> Vec<i64> {
        self.scripts
            .values()
            .filter_map(|one| one.record.version.as_deref()?.parse().ok())
            .collect()
    }

    /// The applied scripts of plans, by key.
    pub(super) fn scripts(&self) -> &BTreeMap<String, Applied> {
        &self.scripts
    }

    /// What is applied of directories, by key; not the scripts of plans.
    pub fn applied(&self) -> &BTreeMap<String, Applied> {
        &self.applied
    }

    /// A line for each migration and script of a plan that is applied, with the checksum that was
    /// accepted last.
    pub fn standing(&self) -> Vec<Record> {
        let all = self.applied.values().chain(self.scripts.values());
        all.map(|one| Record {
            checksum: one.checksum.clone(),
            ..one.record.clone()
        })
        .collect()
    }

    /// The whole log, in order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Whether nothing was ever recorded of a directory of migrations.
    pub fn is_empty(&self) -> bool {
        self.records.iter().all(is_script) && self.started.is_empty()
    }

    /// Whether it tells nothing beyond runs of deployments that were taken back whole.
    pub(crate) fn is_settled(&self) -> bool {
        self.applied.is_empty()
            && self.scripts.is_empty()
            && self.started.is_empty()
            && self.records.iter().all(|record| record.run.is_some())
    }

    /// Whether a migration stopped while it was taken back.
    pub(crate) fn is_half_taken_back(&self, key: &str) -> bool {
        self.started
            .iter()
            .any(|one| one.key == key && one.direction == Direction::Down)
    }

    /// The keys of migrations that stopped between two of their statements.
    pub fn half_done(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = self.started.iter().map(|one| one.key.as_str()).collect();
        keys.dedup();
        keys
    }
}

fn is_script(record: &Record) -> bool {
    record.key.starts_with(KEY_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seq: i64, action: Action, key: &str, checksum: &str) -> Record {
        Record {
            seq,
            action,
            key: key.to_owned(),
            version: Some(key.to_owned()),
            name: String::new(),
            file: String::new(),
            checksum: checksum.to_owned(),
            out_of_order: false,
            at: String::new(),
            millis: 0,
            by: String::new(),
            run: None,
            note: None,
        }
    }

    #[test]
    fn the_log_is_followed_line_by_line() {
        let state = State::of(
            vec![
                record(1, Action::Baseline, "1", "a"),
                record(2, Action::Up, "2", "b"),
                record(3, Action::Up, "3", "c"),
                record(4, Action::Down, "3", "c"),
                record(5, Action::Accept, "2", "b2"),
                record(6, Action::Forget, "1", "a"),
                record(7, Action::Up, "R:v", "d"),
                record(8, Action::Up, "R:v", "e"),
            ],
            Vec::new(),
        );
        let found: Vec<(&str, &str)> = state
            .applied()
            .iter()
            .map(|(key, one)| (key.as_str(), one.checksum.as_str()))
            .collect();
        assert_eq!(found, [("2", "b2"), ("R:v", "e")]);
    }
}
