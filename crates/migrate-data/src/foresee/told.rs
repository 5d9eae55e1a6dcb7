//! What a look found, as findings.

use std::time::Duration;

use migrate_core::Finding;

use super::Unsettled;
use super::rules::{Question, Twins};
use crate::copy::TableCopy;

const HINT: &str = "put the rows right or take them out of the source, change the script, or let bad_rows keep \
                    them aside; `--skip-check rows` leaves this look out";

/// Rows of one kind that the target would refuse.
pub(super) struct Seen {
    code: &'static str,
    what: String,
    rows: u64,
    keys: Vec<String>,
}

impl Seen {
    pub(super) fn of(question: &Question, rows: u64, keys: Vec<String>) -> Self {
        Self {
            code: question.code,
            what: question.what.clone(),
            rows,
            keys,
        }
    }

    pub(super) fn twins(twins: &Twins, keys: u64, rows: u64, named: Vec<String>) -> Self {
        Self {
            code: "rows.twin",
            what: format!(
                "give {keys} {} more than once that {} ({}) takes once",
                if keys == 1 { "key" } else { "keys" },
                twins.name,
                twins.columns.join(", ")
            ),
            rows,
            keys: named,
        }
    }
}

/// A row on which the script, or the target's type, fails.
pub(super) struct Bad {
    pub(super) key: String,
    pub(super) reason: String,
    /// Whatever the target is like.
    pub(super) of_the_script: bool,
}

/// Everything that a look has to say.
pub(super) struct Story<'a> {
    copy: &'a TableCopy,
    /// Rows of the source.
    pub(super) rows: u64,
    unsettled: Unsettled,
    patience: Duration,
    pub(super) seen: Vec<Seen>,
    pub(super) bad: Vec<Bad>,
    /// Rows that any question refuses.
    pub(super) refused: u64,
    pub(super) looked: u64,
    pub(super) late: bool,
    pub(super) twins_overlooked: bool,
    pub(super) overlooked: Vec<String>,
    why_not: Option<String>,
}

impl<'a> Story<'a> {
    pub(super) fn new(
        copy: &'a TableCopy,
        rows: u64,
        unsettled: Unsettled,
        patience: Duration,
    ) -> Self {
        Self {
            copy,
            rows,
            unsettled,
            patience,
            seen: Vec::new(),
            bad: Vec::new(),
            refused: 0,
            looked: 0,
            late: false,
            twins_overlooked: false,
            overlooked: Vec::new(),
            why_not: None,
        }
    }

    pub(super) fn not_looked_at(&mut self, why: &str) {
        self.why_not.get_or_insert_with(|| why.to_owned());
    }

    pub(super) fn findings(self) -> Vec<Finding> {
        let mut findings = self.rows_told();
        findings.extend(self.over_budget());
        findings.extend(self.not_told());
        findings
    }

    /// An error only where nothing can put it right before the copy, and no row may be kept aside.
    fn finding(&self, code: &str, message: String, of_the_script: bool) -> Finding {
        let settled = !self.unsettled.source && (of_the_script || !self.unsettled.target);
        match self.copy.bad_rows.budget(self.rows) {
            None if settled => Finding::error(code, message).hint(HINT),
            None => Finding::warning(
                code,
                format!("{message}, unless a step before the copy changes that"),
            )
            .hint(HINT),
            Some(most) => Finding::warning(
                code,
                format!("{message}; bad_rows allows {most} to be kept aside"),
            ),
        }
    }

    fn rows_told(&self) -> Vec<Finding> {
        let (source, target) = (&self.copy.source, &self.copy.target);
        let mut findings = Vec::new();
        for bad in &self.bad {
            let message = format!(
                "the row {} of {source} can't be moved into {target}: {}",
                bad.key, bad.reason
            );
            findings.push(self.finding("rows.failing", message, bad.of_the_script));
        }
        for seen in &self.seen {
            let mut message = format!("{} of {source} {}", rows(seen.rows), seen.what);
            if !seen.keys.is_empty() {
                let more = if seen.rows > seen.keys.len() as u64 {
                    ", ..."
                } else {
                    ""
                };
                message += &format!(": {}{more}", seen.keys.join("; "));
            }
            findings.push(self.finding(seen.code, message, false));
        }
        findings
    }

    /// That more rows are bad than may be kept aside, which the copy would find only late.
    fn over_budget(&self) -> Option<Finding> {
        let most = self.copy.bad_rows.budget(self.rows)?;
        let least = self.refused.max(self.twins_at_least()) + self.bad.len() as u64;
        if least <= most {
            return None;
        }
        let message = format!(
            "at least {} of {} can't be moved, and bad_rows allows {most} to be kept aside",
            rows(least),
            self.copy.source
        );
        let settled = !self.unsettled.source && !self.unsettled.target;
        Some(if settled {
            Finding::error("rows.over-budget", message).hint(HINT)
        } else {
            Finding::warning("rows.over-budget", message).hint(HINT)
        })
    }

    /// Of rows that share a key one can be moved.
    fn twins_at_least(&self) -> u64 {
        let twins = self.seen.iter().filter(|seen| seen.code == "rows.twin");
        twins.map(|seen| seen.rows / 2).max().unwrap_or_default()
    }

    fn not_told(&self) -> Vec<Finding> {
        let source = &self.copy.source;
        let later = "the copy itself finds it, batch by batch";
        let mut findings = Vec::new();
        let mut tell = |message: String| {
            findings.push(Finding::warning("rows.not-looked-at", message));
        };
        if let Some(why) = &self.why_not {
            tell(format!(
                "rows of {source} were not looked at before the copy: {why}; {later}"
            ));
            return findings;
        }
        let stopped = self.bad.len() >= super::NAMED && self.looked < self.rows;
        if self.late || stopped {
            let reason = if self.late {
                format!("{} seconds were over", self.patience.as_secs())
            } else {
                "enough was found".to_owned()
            };
            tell(format!(
                "{} of about {} of {source} were looked at before {reason}; {later}",
                self.looked, self.rows
            ));
        }
        if self.twins_overlooked && !stopped {
            tell(format!(
                "whether rows of {source} give a key twice was not looked at; {later}"
            ));
        }
        for what in &self.overlooked {
            tell(format!(
                "not looked at in the rows of {source}: {what}; {later}"
            ));
        }
        findings
    }
}

fn rows(count: u64) -> String {
    if count == 1 {
        "1 row".to_owned()
    } else {
        format!("{count} rows")
    }
}
