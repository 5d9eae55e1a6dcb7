//! SQL scripts: their statements, each with its place in the file, and what can't be run.

mod alone;
mod cursor;
mod effect;
mod place;
#[cfg(feature = "postgres")]
mod postgres_lexer;
mod review;
mod shared;
mod split;
mod sqlite_lexer;
pub(crate) mod token;

use std::ops::Range;

use migrate_core::ports::Script;
use migrate_core::{Finding, Place, Scripts};

use crate::db::{Backend, DbError, DbErrorKind};

pub(crate) use alone::{AddedValue, Alone, needs_no_transaction};
pub(crate) use cursor::Cursor;
pub(crate) use cursor::table_after_on;
pub(crate) use effect::{DefaultValue, Effect};
pub use place::place;
pub(crate) use review::{reads_stdin, unfit, unreadable};
pub(crate) use shared::shared;
pub use split::split;

/// A script that can be run statement by statement in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlScript {
    origin: String,
    text: String,
    backend: Backend,
    ranges: Vec<Range<usize>>,
}

/// One statement of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement<'s> {
    /// Its text, without the semicolon.
    pub text: &'s str,
    /// Where it begins in the script, in bytes.
    pub start: usize,
}

impl SqlScript {
    /// Splits a script and reviews it. `origin` is the name to show in errors.
    ///
    /// # Errors
    /// Everything that can't be run: text that is cut off, meta commands of psql or of the
    /// sqlite3 shell, data after `COPY … FROM STDIN`, statements that begin or end
    /// transactions. Nothing has run.
    pub fn parse(
        backend: Backend,
        origin: impl Into<String>,
        text: impl Into<String>,
    ) -> Result<Self, Vec<Finding>> {
        let mut text = text.into();
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        let script = Self {
            ranges: split(backend, &text),
            origin: origin.into(),
            text,
            backend,
        };
        let mut findings = review::review(&script);
        if let Some(at) = script.text.find('\0') {
            findings.push(
                Finding::error("script.nul", "a NUL byte, which ends what a database reads")
                    .in_file(script.place(at))
                    .hint("take it out"),
            );
        }
        if findings.is_empty() {
            Ok(script)
        } else {
            Err(findings)
        }
    }

    /// The name to show in errors.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The database it is written for.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Its statements, in order.
    pub fn statements(&self) -> impl ExactSizeIterator<Item = Statement<'_>> {
        self.ranges.iter().map(|range| Statement {
            text: &self.text[range.clone()],
            start: range.start,
        })
    }

    /// The place of a byte of the script.
    pub fn place(&self, byte: usize) -> Place {
        place(&self.origin, &self.text, byte)
    }

    /// The place of a statement, or of a position (in characters, from 1) inside it.
    pub fn place_in(&self, statement: Statement<'_>, position: Option<usize>) -> Place {
        let inside = position
            .and_then(|at| at.checked_sub(1))
            .and_then(|at| statement.text.char_indices().nth(at))
            .map_or(0, |(byte, _)| byte);
        self.place(statement.start + inside)
    }

    /// The place that an error is about: the server's position, or the token that SQLite names
    /// (`near "TOKEN": syntax error`) if it stands there once, or the statement's begin.
    pub(crate) fn place_of(&self, statement: Statement<'_>, error: &DbError) -> Place {
        if error.position.is_some() {
            return self.place_in(statement, error.position);
        }
        let named = error
            .message
            .strip_prefix("near \"")
            .and_then(|rest| rest.rsplit_once("\": syntax error"))
            .map(|(token, _)| token);
        let mut found = token::significant(self.backend, statement.text)
            .into_iter()
            .filter(|token| named == Some(token.text(statement.text)));
        match (found.next(), found.next()) {
            (Some(token), None) => self.place(statement.start + token.start),
            _ => self.place(statement.start),
        }
    }

    pub(crate) fn effects(&self) -> impl Iterator<Item = (Statement<'_>, Effect)> {
        self.statements()
            .map(|statement| (statement, Effect::of(self.backend, statement.text)))
    }
}

/// Finds a script by the name in a plan: for `N.sql`, `N.postgres.sql` or `N.sqlite.sql` of the
/// database at hand if there is one, else `N.sql`.
///
/// # Errors
/// Why there is none.
pub fn find(scripts: &dyn Scripts, backend: Backend, name: &str) -> Result<Script, Finding> {
    let own = name
        .strip_suffix(".sql")
        .map(|stem| format!("{stem}.{}.sql", backend.file_suffix()));
    match own {
        Some(own) if scripts.names().contains(&own) => scripts.read(&own),
        _ => scripts.read(name),
    }
}

/// The one query of a text, without a final semicolon.
pub(crate) fn one_query(backend: Backend, sql: &str) -> Result<String, DbError> {
    let refuse = |message: &str| {
        Err(DbError::new(DbErrorKind::Other, message.to_owned())
            .hint("give one SELECT, WITH or VALUES query"))
    };
    match split(backend, sql).as_slice() {
        [] => refuse("there is no query"),
        [range] => {
            let query = &sql[range.clone()];
            if backend == Backend::Sqlite && !review::reads_only(query) {
                return refuse("only a query that reads can be run here");
            }
            Ok(query.to_owned())
        }
        _ => refuse("there is more than one statement"),
    }
}
