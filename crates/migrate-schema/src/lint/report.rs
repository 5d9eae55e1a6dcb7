//! What came of looking at migrations, without what comments take back.

use std::ops::Range;

use migrate_core::Place;

use super::ignore::{Ignore, Kindred, ignores};
use super::lock::TableLock;
use super::rule::{Level, Levels, rule};
use super::scene::Found;
use crate::db::Backend;
use crate::layout::Section;

/// Something that a rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LintFinding {
    /// The rule's name.
    pub rule: &'static str,
    /// How much it weighs.
    pub level: Level,
    /// The statement's place.
    pub place: Place,
    /// What is dangerous.
    pub message: String,
    /// SQL that does the same with less danger, or what to do.
    pub instead: Option<String>,
}

/// A finding that a comment took back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// The finding.
    pub finding: LintFinding,
    /// Why it is meant to be; none for one of squawk's comments without.
    pub reason: Option<String>,
}

/// What a statement locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementLocks {
    /// Its place.
    pub place: Place,
    /// Its locks on tables that were there before, strongest first.
    pub locks: Vec<TableLock>,
}

/// What came of looking at a set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// By migration and statement.
    pub findings: Vec<LintFinding>,
    /// What comments took back.
    pub ignored: Vec<Ignored>,
    /// What is locked on PostgreSQL.
    pub locks: Vec<StatementLocks>,
    /// How many migrations were looked at.
    pub migrations: usize,
    /// How many statements they have.
    pub statements: usize,
}

impl Report {
    /// Takes findings into the report, without those that comments take back.
    pub(super) fn take(
        &mut self,
        backend: Backend,
        levels: &Levels,
        section: &Section,
        ranges: &[Range<usize>],
        mut found: Vec<(usize, Found)>,
    ) {
        found.retain(|(_, one)| rule(one.rule).is_some_and(|rule| rule.databases.has(backend)));
        found.sort_by_key(|(at, one)| (*at, std::cmp::Reverse(one.level)));
        let comments = ignores(backend, section.sql(), ranges);
        let mut used = vec![false; comments.len()];
        for (at, one) in found {
            let Some(level) = levels.of(one.rule, one.level) else {
                // A comment about a rule that is off is of use when it is on again.
                mark(&comments, &mut used, one.rule, at);
                continue;
            };
            let finding = LintFinding {
                rule: one.rule,
                level,
                place: section.place(ranges.get(at).map_or(0, |range| range.start)),
                message: one.message,
                instead: one.instead,
            };
            match mark(&comments, &mut used, one.rule, at) {
                Some(comment) => self.ignored.push(Ignored {
                    finding,
                    reason: comment.reason.clone(),
                }),
                None => self.findings.push(finding),
            }
        }
        for (comment, used) in comments.iter().zip(used) {
            let about = about_comment(comment, used);
            for (name, level, message) in about {
                if let Some(level) = levels.of(name, level) {
                    self.findings.push(LintFinding {
                        rule: name,
                        level,
                        place: section.place(comment.at),
                        message,
                        instead: None,
                    });
                }
            }
        }
    }
}

fn mark<'c>(
    comments: &'c [Ignore],
    used: &mut [bool],
    name: &str,
    at: usize,
) -> Option<&'c Ignore> {
    let rule = rule(name)?;
    let number = comments.iter().position(|one| one.covers(rule, at))?;
    used[number] = true;
    comments.get(number)
}

/// What is wrong with an ignore comment of ours.
fn about_comment(comment: &Ignore, used: bool) -> Vec<(&'static str, Level, String)> {
    if comment.kind == Kindred::Squawk {
        return Vec::new();
    }
    let unknown = comment.names().iter().find(|name| rule(name).is_none());
    if comment.names().is_empty() || unknown.is_some() {
        let what = unknown.map_or_else(
            || "lint:ignore names no rule".to_owned(),
            |name| format!("there is no rule {name:?}"),
        );
        return vec![("unused-ignore", Level::Warning, what)];
    }
    if comment.reason.is_none() {
        return vec![(
            "ignore-without-reason",
            Level::Error,
            format!(
                "say why: `lint:ignore {} REASON`; without it nothing is ignored",
                comment.names().join(",")
            ),
        )];
    }
    if used {
        return Vec::new();
    }
    vec![(
        "unused-ignore",
        Level::Warning,
        format!("{} has nothing to ignore here", comment.names().join(", ")),
    )]
}
