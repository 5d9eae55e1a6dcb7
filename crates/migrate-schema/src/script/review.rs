//! What a script must not hold, found before anything runs.

use migrate_core::Finding;

use crate::db::Backend;

use super::token::{Kind, Token, significant, tokens};
use super::{Effect, SqlScript, Statement};

/// Pragmas that only tell something, without an argument that sets it.
const TELLING_PRAGMAS: &[&str] = &[
    "application_id",
    "auto_vacuum",
    "collation_list",
    "compile_options",
    "database_list",
    "encoding",
    "freelist_count",
    "function_list",
    "journal_mode",
    "page_count",
    "page_size",
    "schema_version",
    "table_list",
    "user_version",
];

/// Pragmas whose argument names what they look at.
const ASKING_PRAGMAS: &[&str] = &[
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "quick_check",
    "table_info",
    "table_xinfo",
];

/// Pragmas of a script that the runner honours itself.
const HONOURED_PRAGMAS: &[&str] = &[
    "foreign_keys",
    "defer_foreign_keys",
    "user_version",
    "application_id",
];

/// Everything that can't be run.
pub(super) fn review(script: &SqlScript) -> Vec<Finding> {
    let mut findings: Vec<Finding> = unreadable(script.backend, &script.text)
        .into_iter()
        .map(|(byte, finding)| finding.in_file(script.place(byte)))
        .collect();
    for (statement, effect) in script.effects() {
        if let Some(finding) = statement_finding(script, statement, &effect) {
            findings.push(finding.in_file(script.place(statement.start)));
        }
    }
    findings
}

/// What makes everything after it unreadable, so that it alone is told: data lines for psql,
/// backslashes with a meaning of their own.
pub(crate) fn unfit(backend: Backend, text: &str) -> Option<(usize, Finding)> {
    if backend == Backend::Sqlite {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    if !lower.contains("stdin") && !lower.contains("standard_conforming_strings") {
        return None;
    }
    super::split(backend, text).into_iter().find_map(|range| {
        let statement = &text[range.clone()];
        if let Some(finding) = reads_stdin(backend, statement) {
            return Some((range.start, finding));
        }
        let words: Vec<String> = words(backend, statement)
            .into_iter()
            .map(str::to_ascii_lowercase)
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let off = matches!(
            words.as_slice(),
            ["set", "standard_conforming_strings", .., "off" | "false"]
        ) || (words.starts_with(&["set", "standard_conforming_strings"])
            && statement.to_ascii_lowercase().contains("'off'"));
        off.then(|| {
            let finding = Finding::error(
                "script.conforming-strings",
                "standard_conforming_strings = off changes what backslashes mean in strings, so the script \
                 can't be split into statements",
            )
            .hint("remove the line, and write strings with backslashes as E'...'");
            (range.start, finding)
        })
    })
}

/// What is no SQL that a server could run, each with the byte where it stands: text that is
/// cut off, commands of psql or the sqlite3 shell.
pub(crate) fn unreadable(backend: Backend, text: &str) -> Vec<(usize, Finding)> {
    let mut findings: Vec<(usize, Finding)> = tokens(backend, text)
        .into_iter()
        .find(|token| token.kind == Kind::Unterminated)
        .map(|token| {
            let finding = Finding::error(
                "script.unterminated",
                "a text, name or comment that begins here has no end",
            );
            (token.start, finding)
        })
        .into_iter()
        .collect();
    findings.extend(meta_commands(backend, text));
    findings
}

/// `\i file` of psql anywhere outside quotes; `.read file` of sqlite3 at a line's start.
fn meta_commands(backend: Backend, text: &str) -> Vec<(usize, Finding)> {
    let found = significant(backend, text);
    let mut findings = Vec::new();
    for (at, token) in found.iter().enumerate() {
        let shell = match (backend, token.kind) {
            (Backend::Postgres, Kind::Backslash)
                if super::split::dump_guard(text, token.start).is_some() =>
            {
                None
            }
            (Backend::Postgres, Kind::Backslash) => Some("psql"),
            (Backend::Sqlite, Kind::Sign)
                if token.text(text) == "." && begins_statement(text, &found, at) =>
            {
                Some("the sqlite3 shell")
            }
            _ => None,
        };
        if let Some(shell) = shell {
            let finding = Finding::error(
                "script.meta-command",
                format!("a command of {shell} is not SQL"),
            )
            .hint("put the statements themselves into the script");
            findings.push((token.start, finding));
        }
    }
    findings
}

fn begins_statement(text: &str, tokens: &[Token], at: usize) -> bool {
    let line_start = text[..tokens[at].start].ends_with('\n') || tokens[at].start == 0;
    line_start && (at == 0 || tokens[at - 1].kind == Kind::Semicolon)
}

fn statement_finding(
    script: &SqlScript,
    statement: Statement<'_>,
    effect: &Effect,
) -> Option<Finding> {
    match effect {
        Effect::TransactionControl => Some(
            Finding::error(
                "script.transaction",
                "the script begins or ends a transaction, but it is run as one transaction",
            )
            .hint("remove BEGIN, COMMIT and ROLLBACK"),
        ),
        Effect::Pragma { name, value } if !pragma_fits(name, value.as_deref()) => Some(
            Finding::error(
                "script.pragma",
                format!(
                    "PRAGMA {name} has no effect in a transaction or changes a lasting setting"
                ),
            )
            .hint("remove it; foreign_keys is the one switch that a script may set"),
        ),
        Effect::Other | Effect::CreateOther | Effect::DropOther => {
            copy_from_stdin(script, statement).or_else(|| outside(script, statement))
        }
        _ => None,
    }
}

fn pragma_fits(name: &str, value: Option<&str>) -> bool {
    HONOURED_PRAGMAS.contains(&name)
        || ASKING_PRAGMAS.contains(&name)
        || (value.is_none() && TELLING_PRAGMAS.contains(&name))
}

fn words(backend: Backend, text: &str) -> Vec<&str> {
    significant(backend, text)
        .iter()
        .filter(|token| token.kind == Kind::Word)
        .map(|token| token.text(text))
        .collect()
}

fn copy_from_stdin(script: &SqlScript, statement: Statement<'_>) -> Option<Finding> {
    reads_stdin(script.backend, statement.text)
}

/// `COPY … FROM STDIN`, whose data only psql reads.
pub(crate) fn reads_stdin(backend: Backend, text: &str) -> Option<Finding> {
    let words = words(backend, text);
    let copies = words.first()?.eq_ignore_ascii_case("copy")
        && words.windows(2).any(|pair| {
            pair[0].eq_ignore_ascii_case("from") && pair[1].eq_ignore_ascii_case("stdin")
        });
    (backend == Backend::Postgres && copies).then(|| {
        Finding::error(
            "script.copy-stdin",
            "COPY FROM STDIN needs psql, which reads the data lines",
        )
        .hint("use INSERT statements or a data step")
    })
}

/// Statements that reach outside the database or can't stand in a transaction.
fn outside(script: &SqlScript, statement: Statement<'_>) -> Option<Finding> {
    let words = words(script.backend, statement.text);
    let first = words.first()?.to_ascii_lowercase();
    let refused = match script.backend {
        Backend::Sqlite => matches!(first.as_str(), "attach" | "detach" | "vacuum"),
        Backend::Postgres => {
            first == "vacuum"
                || words
                    .iter()
                    .take(4)
                    .any(|word| word.eq_ignore_ascii_case("concurrently"))
        }
    };
    refused.then(|| {
        Finding::error(
            "script.not-transactional",
            format!("{} can't run inside a transaction", first.to_uppercase()),
        )
        .hint("take it out of the script, or use the form that can")
    })
}

/// Whether a query of SQLite only reads. `query_only` stops writes to the file; this stops
/// what it does not: pragmas that set something, ATTACH.
pub(super) fn reads_only(query: &str) -> bool {
    match Effect::of(Backend::Sqlite, query) {
        Effect::Pragma { name, value } => {
            let name = name.as_str();
            ASKING_PRAGMAS.contains(&name) || (value.is_none() && TELLING_PRAGMAS.contains(&name))
        }
        _ => significant(Backend::Sqlite, query)
            .first()
            .is_some_and(|token| {
                ["select", "with", "values", "explain"]
                    .iter()
                    .any(|word| token.is_word(query, word))
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(backend: Backend, text: &str) -> Vec<String> {
        match SqlScript::parse(backend, "x.sql", text) {
            Ok(_) => Vec::new(),
            Err(findings) => findings
                .iter()
                .map(|finding| {
                    let place = finding.place.as_ref().unwrap();
                    format!("{}@{}:{}", finding.code, place.line, place.column)
                })
                .collect(),
        }
    }

    #[test]
    fn what_can_not_be_run_is_found_before_anything_runs() {
        for (text, expected) in [
            (
                "select 1;\n\\i other.sql\n",
                vec!["script.meta-command@2:1"],
            ),
            (
                "begin;\nselect 1;\ncommit;",
                vec!["script.transaction@1:1", "script.transaction@3:1"],
            ),
            ("select 'x", vec!["script.unterminated@1:8"]),
            ("select 1; /* x", vec!["script.unterminated@1:11"]),
            ("do $x$ begin end", vec!["script.unterminated@1:4"]),
            ("copy t from stdin;\n", vec!["script.copy-stdin@1:1"]),
            (
                "create index concurrently i on t (a)",
                vec!["script.not-transactional@1:1"],
            ),
            ("vacuum t", vec!["script.not-transactional@1:1"]),
            (
                r"select '\i x', $$ \q $$; savepoint a; rollback to a",
                vec![],
            ),
            ("do $$ begin perform 1; end $$; copy t from '/x'", vec![]),
            (
                "create function f() returns int begin atomic select 1; end",
                vec![],
            ),
        ] {
            assert_eq!(codes(Backend::Postgres, text), expected, "{text}");
        }
        for (text, expected) in [
            ("select 1;\n.read x.sql\n", vec!["script.meta-command@2:1"]),
            (
                "BEGIN IMMEDIATE;\nEND",
                vec!["script.transaction@1:1", "script.transaction@2:1"],
            ),
            ("select \"x", vec!["script.unterminated@1:8"]),
            ("select [x", vec!["script.unterminated@1:8"]),
            ("pragma journal_mode = wal", vec!["script.pragma@1:1"]),
            ("attach 'x' as y", vec!["script.not-transactional@1:1"]),
            ("vacuum", vec!["script.not-transactional@1:1"]),
            ("pragma foreign_keys=off; select 1 /* x", vec![]),
            (
                "create trigger t after insert on a begin select 1; end;",
                vec![],
            ),
        ] {
            assert_eq!(codes(Backend::Sqlite, text), expected, "{text}");
        }
    }

    #[test]
    fn only_reading_queries_of_sqlite_are_let_through() {
        for query in [
            "select 1",
            "with a as (select 1) select * from a",
            "values (1)",
            "pragma integrity_check",
            "pragma table_info(t)",
            "pragma user_version",
        ] {
            assert!(reads_only(query), "{query}");
        }
        for query in [
            "pragma query_only = off",
            "pragma user_version = 3",
            "pragma journal_mode(wal)",
            "attach 'x' as y",
            "delete from t",
            "vacuum into 'x'",
        ] {
            assert!(!reads_only(query), "{query}");
        }
    }
}
