//! Comments that take findings back: `-- lint:ignore RULE reason` before a statement.

use std::ops::Range;

use super::rule::{Origin, Rule};
use crate::db::Backend;
use crate::script::token::{Kind, tokens};

/// A comment that says which findings are meant to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ignore {
    /// Where it stands, in bytes.
    pub(super) at: usize,
    /// The statement that it is about; none for the whole file.
    statement: Option<usize>,
    names: Vec<String>,
    pub(super) reason: Option<String>,
    pub(super) kind: Kindred,
}

/// Whose comment it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kindred {
    /// `lint:ignore`: it must give a reason, and be of use.
    Ours,
    /// `squawk-ignore`: as squawk reads it.
    Squawk,
}

impl Ignore {
    /// The rules that it names.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether it is about a rule at a statement.
    pub(super) fn covers(&self, rule: &Rule, statement: usize) -> bool {
        if self.statement.is_some_and(|about| about != statement) {
            return false;
        }
        match self.kind {
            Kindred::Ours => self.reason.is_some() && self.names.iter().any(|one| one == rule.name),
            Kindred::Squawk => {
                let also: &[&str] = match rule.origin {
                    Origin::Own(also) => also,
                    Origin::Squawk => &[],
                };
                self.names.is_empty()
                    || self
                        .names
                        .iter()
                        .any(|one| one == rule.name || also.contains(&one.as_str()))
            }
        }
    }
}

/// The ignore comments of a script, whose statements are at `statements`.
pub(super) fn ignores(backend: Backend, sql: &str, statements: &[Range<usize>]) -> Vec<Ignore> {
    if !sql.contains("lint:ignore") && !sql.contains("squawk-ignore") {
        return Vec::new();
    }
    tokens(backend, sql)
        .into_iter()
        .filter(|token| token.kind == Kind::Trivia)
        .filter_map(|token| {
            let about = statements.iter().position(|range| range.end > token.start);
            read(token.text(sql), token.start, about)
        })
        .collect()
}

fn read(comment: &str, at: usize, about: Option<usize>) -> Option<Ignore> {
    let body = match comment.strip_prefix("--") {
        Some(body) => body,
        None => comment.strip_prefix("/*")?.strip_suffix("*/")?,
    };
    let body = body.trim();
    // A comment after the last statement is about none: number that no statement has.
    let about = Some(about.unwrap_or(usize::MAX));
    if let Some(rest) = body.strip_prefix("lint:ignore") {
        let (statement, rest) = match rest.strip_prefix("-file") {
            Some(rest) => (None, rest),
            None => (about, rest),
        };
        let (names, reason) = rest
            .trim()
            .split_once(char::is_whitespace)
            .unwrap_or((rest.trim(), ""));
        let reason = reason.trim_start_matches([':', '-', ' ']).trim();
        return Some(Ignore {
            at,
            statement,
            names: listed(names.trim_end_matches(':')),
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
            kind: Kindred::Ours,
        });
    }
    let rest = body.strip_prefix("squawk-ignore")?;
    let (statement, rest) = match rest.strip_prefix("-file") {
        Some(rest) => (None, rest),
        None => (about, rest),
    };
    let (names, reason) = rest.split_once("--").unwrap_or((rest, ""));
    Some(Ignore {
        at,
        statement,
        names: listed(names),
        reason: (!reason.trim().is_empty()).then(|| reason.trim().to_owned()),
        kind: Kindred::Squawk,
    })
}

fn listed(names: &str) -> Vec<String> {
    names
        .split(',')
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}
