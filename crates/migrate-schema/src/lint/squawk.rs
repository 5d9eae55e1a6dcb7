//! The rules of squawk, as a library.

use std::ops::Range;

use squawk_linter::{Linter, Rule as SquawkRule, Version};
use squawk_syntax::SourceFile;

use super::rule::{Level, Levels, Origin, Rule};
use super::rule_table::RULES;

/// The linter with the rules that are on.
pub(super) struct Squawk {
    rules: Vec<(SquawkRule, &'static Rule)>,
    version: Version,
}

/// What squawk says about a statement.
pub(super) struct Said {
    pub(super) statement: usize,
    pub(super) rule: &'static Rule,
    pub(super) level: Level,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Squawk {
    pub(super) fn new(levels: &Levels, major: u32) -> Self {
        let rules = RULES
            .iter()
            .filter(|rule| rule.origin == Origin::Squawk && levels.is_on(rule))
            .filter_map(|rule| Some((SquawkRule::try_from(rule.name).ok()?, rule)))
            .collect();
        Self {
            rules,
            version: major.to_string().parse().unwrap_or_default(),
        }
    }

    /// What it says about a script. Ignore comments are not its business here.
    pub(super) fn look(
        &self,
        sql: &str,
        statements: &[Range<usize>],
        in_transaction: InTransaction,
    ) -> Vec<Said> {
        if self.rules.is_empty() {
            return Vec::new();
        }
        let mut linter = Linter::from(self.rules.iter().map(|(rule, _)| *rule));
        linter.settings.pg_version = self.version;
        linter.settings.assume_in_transaction = in_transaction == InTransaction::Yes;
        linter
            .lint(&SourceFile::parse(sql), sql)
            .into_iter()
            .filter_map(|violation| {
                let (_, rule) = self
                    .rules
                    .iter()
                    .find(|(squawk, _)| *squawk == violation.code)?;
                let at = usize::from(violation.text_range.start());
                Some(Said {
                    statement: statements.iter().position(|range| range.end > at)?,
                    rule,
                    level: rule.level.unwrap_or(Level::Warning),
                    message: violation.message,
                    help: violation.help,
                })
            })
            .collect()
    }
}

/// Whether the script runs in a transaction that it does not begin itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InTransaction {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_of_squawk_that_we_name_is_there() {
        for rule in RULES {
            match rule.origin {
                Origin::Squawk => assert!(SquawkRule::try_from(rule.name).is_ok(), "{}", rule.name),
                Origin::Own(also) => {
                    for name in also {
                        assert!(SquawkRule::try_from(*name).is_ok(), "{name}");
                    }
                }
            }
        }
    }
}
