//! What is left to do, and what stands in its way. Pure.

use std::collections::BTreeSet;

use migrate_core::Finding;

use super::options::{Missing, Options, OutOfOrder, Target};
use crate::history::State;
use crate::layout::{Migration, MigrationSet, Version};

/// How a migration of a set stands to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is there.
    Applied,
    /// It was there before our log.
    Baseline,
    /// It is to be run.
    Pending,
    /// It is to be run, and a later version is there.
    OutOfOrder,
    /// It stopped between two of its statements.
    HalfDone,
    /// It is there, and its file was edited since.
    Edited,
    /// It is there, and its file is gone.
    Missing,
}

impl Standing {
    /// Its name for people and machines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Baseline => "baseline",
            Self::Pending => "pending",
            Self::OutOfOrder => "out of order",
            Self::HalfDone => "half done",
            Self::Edited => "edited",
            Self::Missing => "missing",
        }
    }
}

/// How each migration of a set stands, in order.
pub fn standings<'s>(set: &'s MigrationSet, state: &State) -> Vec<(&'s Migration, Standing)> {
    let latest = latest(set, state);
    let half: BTreeSet<&str> = state.half_done().into_iter().collect();
    set.migrations
        .iter()
        .map(|one| {
            let key = one.key();
            let standing = match state.applied().get(&key) {
                _ if half.contains(key.as_str()) => Standing::HalfDone,
                Some(applied) if applied.checksum != one.up.checksum() => {
                    if one.version.is_none() {
                        Standing::Pending
                    } else {
                        Standing::Edited
                    }
                }
                Some(applied) if applied.baseline => Standing::Baseline,
                Some(_) => Standing::Applied,
                None if one.version.is_some() && one.version.as_ref() < latest => {
                    Standing::OutOfOrder
                }
                None => Standing::Pending,
            };
            (one, standing)
        })
        .collect()
}

/// The latest version of the set that the database has.
pub fn latest<'s>(set: &'s MigrationSet, state: &State) -> Option<&'s Version> {
    set.versioned()
        .rev()
        .find(|one| state.applied().contains_key(&one.key()))
        .and_then(|one| one.version.as_ref())
}

/// The applied migrations that the set has no file for, by label.
pub fn missing(set: &MigrationSet, state: &State) -> Vec<(String, String)> {
    let keys: BTreeSet<String> = set.migrations.iter().map(Migration::key).collect();
    state
        .applied()
        .iter()
        .filter(|(key, _)| !keys.contains(*key))
        .map(|(key, one)| (key.clone(), one.record.file.clone()))
        .collect()
}

/// The keys of migrations that stopped between two of their statements, and that the set has no
/// file for.
pub fn stranded(set: &MigrationSet, state: &State) -> Vec<String> {
    let keys: BTreeSet<String> = set.migrations.iter().map(Migration::key).collect();
    let half = state.half_done().into_iter().map(str::to_owned);
    half.filter(|key| !keys.contains(key)).collect()
}

/// What is not there of the files: everything that a run in either direction would pass by.
pub(crate) fn without_files(set: &MigrationSet, state: &State, options: &Options) -> Vec<Finding> {
    let mut findings: Vec<Finding> = stranded(set, state)
        .iter()
        .map(|key| half_gone(key))
        .collect();
    if options.missing == Missing::Refuse {
        let half = state.half_done();
        let mut others = missing(set, state);
        others.retain(|(key, _)| !half.contains(&key.as_str()));
        findings.extend(others.into_iter().map(gone));
    }
    findings
}

/// The migrations to run, in order.
///
/// # Errors
/// Everything that stands in the way: edited files, files that are gone, versions that come
/// too late, a target that is not there.
pub(crate) fn pending<'s>(
    set: &'s MigrationSet,
    state: &State,
    target: &Target,
    options: &Options,
) -> Result<Vec<(&'s Migration, Standing)>, Vec<Finding>> {
    let mut findings = Vec::new();
    if let Target::Version(version) = target
        && set.find(version).is_none()
    {
        findings.push(
            Finding::error(
                "schema.no-version",
                format!("there is no migration {version}"),
            )
            .hint("see `schema status` for the versions that there are"),
        );
    }
    let within = |one: &Migration| match (target, &one.version) {
        (Target::Latest, _) => true,
        (Target::Version(last), Some(version)) => version <= last,
        (Target::Version(_), None) => false,
    };
    let mut found = Vec::new();
    for (one, standing) in standings(set, state) {
        match standing {
            Standing::HalfDone if state.is_half_taken_back(&one.key()) => {
                findings.push(half_taken_back(one));
            }
            Standing::Edited => findings.push(edited(one)),
            Standing::OutOfOrder if within(one) && options.out_of_order == OutOfOrder::Refuse => {
                findings.push(too_late(set, state, one));
            }
            Standing::Pending | Standing::OutOfOrder | Standing::HalfDone if within(one) => {
                found.push((one, standing));
            }
            _ => {}
        }
    }
    findings.extend(without_files(set, state, options));
    if findings.is_empty() {
        Ok(found)
    } else {
        Err(findings)
    }
}

fn half_taken_back(one: &Migration) -> Finding {
    Finding::error(
        "schema.half-taken-back",
        format!(
            "taking {} back stopped between two of its statements",
            one.label()
        ),
    )
    .in_file(one.down.as_ref().unwrap_or(&one.up).place(0))
    .hint("go on with `schema down`; what it ran already is not run again")
}

fn edited(one: &Migration) -> Finding {
    Finding::error(
        EDITED,
        format!("{} was edited after it was applied", one.label()),
    )
    .in_file(one.up.place(0))
    .hint(format!(
        "undo the edit and write a new migration; or accept it with `schema repair --accept {}`",
        one.up.file()
    ))
}

/// The finding that a difference can be shown for.
pub(crate) const EDITED: &str = "schema.edited";

fn too_late(set: &MigrationSet, state: &State, one: &Migration) -> Finding {
    let latest = latest(set, state).map_or_else(String::new, ToString::to_string);
    Finding::error(
        "schema.out-of-order",
        format!("{} is not applied, but the later {latest} is", one.label()),
    )
    .in_file(one.up.place(0))
    .hint("give it a later version, or run it with --allow-out-of-order, which is recorded")
}

fn half_gone(key: &str) -> Finding {
    Finding::error(
        "schema.half-done-missing",
        format!("{key} stopped between two of its statements, and its file is not there"),
    )
    .hint("bring the file back; the next `schema apply` or `schema down` goes on with it")
}

fn gone((key, file): (String, String)) -> Finding {
    Finding::error(
        "schema.missing",
        format!("{key} was applied from {file}, which is not there"),
    )
    .hint(format!(
        "bring the file back; or run with --ignore-missing; or take it out of the history with `schema repair --forget {key}`"
    ))
}
