//! What `schema lint` found.

use console::{StyledObject, style};
use migrate_schema::layout::MigrationSet;
use migrate_schema::lint::{Level, LintFinding, Origin, RULES, Report, StatementLocks};
use serde_json::{Value, json};

use super::{Level as Verbosity, Output, document, out};

/// What is shown of a lint.
pub(crate) struct LintShown<'s> {
    pub(crate) set: &'s MigrationSet,
    pub(crate) report: &'s Report,
    /// Whether each statement's locks are shown.
    pub(crate) locks: bool,
    /// How many findings count as failed.
    pub(crate) failed: usize,
}

impl Output {
    /// All rules, a line each.
    pub(crate) fn lint_rules(&self) {
        if self.json() {
            let rules: Vec<Value> = RULES
                .iter()
                .map(|rule| {
                    json!({
                        "rule": rule.name,
                        "level": rule.level.map_or("off", Level::name),
                        "databases": rule.databases.name(),
                        "origin": if rule.origin == Origin::Squawk { "squawk" } else { "own" },
                        "about": rule.about,
                    })
                })
                .collect();
            document(&json!({ "format": 1, "rules": rules }));
            return;
        }
        for rule in RULES {
            let level = rule.level.map_or("off", Level::name);
            out(&format!(
                "{level:<8} {:<9} {:<37} {}",
                rule.databases.name(),
                rule.name,
                rule.about
            ));
        }
    }

    /// What was found. Notes are counted only, unless more is asked for.
    pub(crate) fn lint(&self, shown: &LintShown<'_>) {
        if self.json() {
            document(&as_json(shown));
            return;
        }
        let report = shown.report;
        let all = self.level > Verbosity::Normal;
        if shown.locks {
            report.locks.iter().for_each(locks);
        }
        for found in &report.findings {
            if all || found.level > Level::Note {
                finding(found);
            }
        }
        let count = |level| {
            report
                .findings
                .iter()
                .filter(|one| one.level == level)
                .count()
        };
        let notes = count(Level::Note);
        let more = if notes > 0 && !all {
            " (shown with -v)"
        } else {
            ""
        };
        out(&format!(
            "{} statements of {} migrations ({}): {} errors, {} warnings, {notes} notes{more}, {} ignored",
            report.statements,
            report.migrations,
            shown.set.layout,
            count(Level::Error),
            count(Level::Warning),
            report.ignored.len()
        ));
    }
}

fn coloured(level: Level, text: String) -> StyledObject<String> {
    match level {
        Level::Error => style(text).red().bold(),
        Level::Warning => style(text).yellow(),
        Level::Note => style(text).dim(),
    }
}

fn finding(found: &LintFinding) {
    let head = coloured(found.level, format!("{}[{}]", found.level, found.rule));
    out(&format!("{}: {head}: {}", found.place, found.message));
    if let Some(text) = &found.place.text {
        out(&format!("    | {text}"));
    }
    if let Some(instead) = &found.instead {
        out("    instead:");
        for line in instead.lines() {
            out(&format!("      {line}"));
        }
    }
}

fn locks(one: &StatementLocks) {
    for lock in &one.locks {
        out(&format!(
            "{}: {} on {} ({})",
            one.place,
            lock.mode,
            lock.table,
            lock.work.name()
        ));
    }
}

fn as_json(shown: &LintShown<'_>) -> Value {
    let report = shown.report;
    let mut document = json!({
        "format": 1,
        "layout": shown.set.layout.name(),
        "migrations": report.migrations,
        "statements": report.statements,
        "failed": shown.failed,
        "findings": report.findings.iter().map(found_json).collect::<Vec<_>>(),
        "ignored": report.ignored.iter().map(|one| {
            let mut value = found_json(&one.finding);
            value["reason"] = json!(one.reason);
            value
        }).collect::<Vec<_>>(),
    });
    if shown.locks {
        let locks = report.locks.iter().flat_map(|one| {
            one.locks.iter().map(|lock| {
                json!({
                    "file": one.place.file,
                    "line": one.place.line,
                    "table": lock.table.to_string(),
                    "mode": lock.mode.name(),
                    "work": lock.work.name(),
                })
            })
        });
        document["locks"] = locks.collect();
    }
    document
}

fn found_json(found: &LintFinding) -> Value {
    json!({
        "rule": found.rule,
        "level": found.level.name(),
        "file": found.place.file,
        "line": found.place.line,
        "column": found.place.column,
        "message": found.message,
        "instead": found.instead,
    })
}
