//! A section made ready to run: its statements, and what must run together.

use std::ops::Range;

use migrate_core::{Finding, Place};

use super::reading::Reading;
use crate::db::{Backend, DbError};
use crate::layout::{Layout, Section, Transactions};
use crate::script::{Alone, split, token, unfit, unreadable};

/// One direction of a migration, split and checked.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(super) section: Section,
    pub(super) backend: Backend,
    /// The statements that run, as bytes of the section.
    pub(super) statements: Vec<Range<usize>>,
    /// What runs together, in order, as ranges of `statements`.
    pub(super) units: Vec<Unit>,
    /// Whether it runs in one transaction with its record.
    pub(crate) whole: bool,
    /// What else its transaction may hold.
    pub(crate) company: Company,
    /// Whether it changes what holds for the session (`SET …`).
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "SQLite's pragmas are no session settings")
    )]
    pub(crate) sets_session: bool,
    /// The isolation that its own BEGIN or SET TRANSACTION asks for.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "SQLite has one isolation")
    )]
    pub(crate) isolation: Option<Isolation>,
    /// What it asks of SQLite's foreign keys.
    pub(crate) foreign_keys: ForeignKeys,
}

/// What else a script's transaction may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Company {
    /// Scripts before and after it.
    Any,
    /// Nothing after it: the transaction must end before what it added can be used.
    NothingAfter,
    /// Nothing: it changes what holds to the end of its transaction (`SET TRANSACTION`).
    Nothing,
}

/// Statements that run together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) statements: Range<usize>,
    pub(crate) how: How,
}

/// How a unit runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    /// In a transaction, together with the journal's row about it.
    Covered,
    /// It sets something for the session: it runs again whenever the session is a new one.
    Session,
    /// Outside of any transaction.
    Alone(Alone),
}

/// What a script needs of SQLite's `foreign_keys` pragma, which only works outside transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForeignKeys {
    /// It makes no difference.
    Either,
    /// As the connection has it: it changes rows, whose references may act.
    AsSet,
    /// Not enforced, but checked at the end: tables are rebuilt.
    CheckedAtEnd,
    /// Not enforced: its layout's own tool leaves them off.
    Off,
}

impl ForeignKeys {
    /// Whether the pragma is switched off before the transaction begins.
    #[cfg(any(feature = "sqlite", test))]
    pub(crate) fn are_off(self) -> bool {
        matches!(self, Self::CheckedAtEnd | Self::Off)
    }
}

/// How far a transaction that a script begins sees what others commit meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// `REPEATABLE READ`
    RepeatableRead,
    /// `SERIALIZABLE`
    Serializable,
}

impl Isolation {
    /// What a text says after `ISOLATION LEVEL`; none for read committed, which is the default.
    pub(super) fn of(text: &str) -> Option<Self> {
        let words: Vec<String> = text
            .split(|letter: char| !letter.is_alphabetic())
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        let at = words
            .windows(2)
            .position(|pair| pair == ["isolation", "level"])?;
        match words.get(at + 2).map(String::as_str) {
            Some("serializable") => Some(Self::Serializable),
            Some("repeatable") => Some(Self::RepeatableRead),
            _ => None,
        }
    }

    /// What begins a transaction with it.
    #[cfg(feature = "postgres")]
    pub(crate) fn begin(self) -> &'static str {
        match self {
            Self::RepeatableRead => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            Self::Serializable => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        }
    }
}

impl Script {
    /// Splits a section and checks it.
    ///
    /// # Errors
    /// Everything that can't be run this way, each with its place and a way out.
    pub(crate) fn prepare(
        section: &Section,
        transactions: Transactions,
        backend: Backend,
        layout: Layout,
    ) -> Result<Self, Vec<Finding>> {
        let sql = section.sql();
        if let Some((byte, finding)) = unfit(backend, sql) {
            return Err(vec![finding.in_file(section.place(byte))]);
        }
        let mut findings: Vec<Finding> = unreadable(backend, sql)
            .into_iter()
            .map(|(byte, finding)| finding.in_file(section.place(byte)))
            .collect();
        let mut reading = Reading::new(backend, transactions);
        for range in split(backend, sql) {
            if let Err(finding) = reading.see(&sql[range.clone()], &range, layout) {
                findings.push(finding.in_file(section.place(range.start)));
            }
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        let mut script = reading.finish(section);
        if backend == Backend::Sqlite && !layout.enforces_foreign_keys() {
            script.foreign_keys = ForeignKeys::Off;
        }
        Ok(script)
    }

    /// The statements, each with its place.
    pub(crate) fn statements(&self) -> impl ExactSizeIterator<Item = &str> {
        self.statements
            .iter()
            .map(|range| &self.section.sql()[range.clone()])
    }

    pub(crate) fn statement(&self, number: usize) -> &str {
        &self.section.sql()[self.statements[number].clone()]
    }

    pub(crate) fn units(&self) -> &[Unit] {
        &self.units
    }

    pub(crate) fn section(&self) -> &Section {
        &self.section
    }

    /// Whether it may leave something in its session that nothing but the session's end takes away, or
    /// that only a new session sees: settings of its own naming, libraries, defaults of the database.
    #[cfg(feature = "postgres")]
    pub(crate) fn lingers(&self) -> bool {
        let text = self.section.sql().to_ascii_lowercase();
        let words: Vec<&str> = text.split_whitespace().collect();
        let named = |name: &str| text.contains(name);
        let sets = |at: usize| {
            let mut rest = words[at + 1..].iter();
            let mut what = rest
                .by_ref()
                .skip_while(|word| matches!(**word, "local" | "session"));
            // `SET app.user = …`; also where it stands in a function.
            what.next()
                .is_some_and(|word| word.split('=').next().unwrap_or(word).contains('.'))
        };
        ["set_config", "setseed", "dblink"].into_iter().any(named)
            || words.windows(2).any(|pair| {
                pair[0] == "alter" && matches!(pair[1], "database" | "role" | "user" | "system")
                    || pair[0] == "load"
            })
            || (0..words.len()).any(|at| words[at] == "set" && sets(at))
    }

    /// The text of a unit.
    pub(crate) fn text_of(&self, unit: &Unit) -> String {
        let parts: Vec<&str> = unit
            .statements
            .clone()
            .map(|number| self.statement(number))
            .collect();
        parts.join(";\n")
    }

    /// All statements as one text for the server, and where each begins in it.
    pub(crate) fn joined(&self) -> String {
        let mut text = String::with_capacity(self.section.sql().len());
        for statement in self.statements() {
            text.push_str(statement);
            text.push_str(";\n");
        }
        text
    }

    /// The statement that a position (characters from 1) of [`Self::joined`] is in, and the
    /// position inside it.
    #[cfg(feature = "postgres")]
    pub(crate) fn located(&self, position: usize) -> Option<(usize, usize)> {
        let mut left = position;
        for (number, statement) in self.statements().enumerate() {
            let length = statement.chars().count() + 2;
            if left <= length {
                return Some((number, left));
            }
            left -= length;
        }
        None
    }

    /// Where an error of a statement is: the server's position, or the token that SQLite
    /// names, or the statement's begin.
    pub(crate) fn place_of(&self, number: usize, error: &DbError) -> Place {
        let start = self.statements.get(number).map_or(0, |range| range.start);
        let text = self
            .statements
            .get(number)
            .map_or("", |range| &self.section.sql()[range.clone()]);
        let inside = match error.position {
            Some(position) => position
                .checked_sub(1)
                .and_then(|at| text.char_indices().nth(at))
                .map_or(0, |(byte, _)| byte),
            None => named_token(self.backend, text, &error.message).unwrap_or(0),
        };
        self.section.place(start + inside)
    }
}

/// Where the token of `near "TOKEN": syntax error` stands, if it is there once.
fn named_token(backend: Backend, text: &str, message: &str) -> Option<usize> {
    let named = message
        .strip_prefix("near \"")?
        .rsplit_once("\": syntax error")
        .map(|(token, _)| token)?;
    let mut found = token::significant(backend, text)
        .into_iter()
        .filter(|token| token.text(text) == named);
    match (found.next(), found.next()) {
        (Some(token), None) => Some(token.start),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(
        backend: Backend,
        transactions: Transactions,
        text: &str,
    ) -> Result<Script, Vec<String>> {
        let section = Section::of_text("x.sql", text);
        Script::prepare(&section, transactions, backend, Layout::Sqlx).map_err(|findings| {
            findings
                .iter()
                .map(|finding| {
                    let place = finding.place.as_ref().unwrap();
                    format!("{}@{}:{}", finding.code, place.line, place.column)
                })
                .collect()
        })
    }

    fn units(transactions: Transactions, text: &str) -> Vec<(Range<usize>, How)> {
        prepared(Backend::Postgres, transactions, text)
            .unwrap()
            .units()
            .iter()
            .map(|unit| (unit.statements.clone(), unit.how.clone()))
            .collect()
    }

    #[test]
    fn a_scripts_own_transaction_becomes_ours() {
        let script = prepared(
            Backend::Postgres,
            Transactions::One,
            "begin;\ncreate table t (a int);\ncommit;\nselect 1",
        )
        .unwrap();
        let found: Vec<&str> = script.statements().collect();
        assert_eq!(found, ["create table t (a int)", "select 1"]);
        assert!(script.whole);
        assert_eq!(
            units(
                Transactions::PerStatement,
                "a; begin; b; c; commit; d; create index concurrently i on t (x)"
            )
            .into_iter()
            .map(|(range, _)| range)
            .collect::<Vec<_>>(),
            [0..1, 1..3, 3..4, 4..5]
        );
    }

    #[test]
    fn what_can_not_run_this_way_is_told() {
        for (text, expected) in [
            ("rollback", "script.transaction@1:1"),
            ("commit;\nselect 1", "script.transaction@2:1"),
            ("begin;\nbegin", "script.transaction@2:1"),
            (
                "create index concurrently i on t (a)",
                "script.not-transactional@1:1",
            ),
            ("\\i x", "script.meta-command@1:1"),
            ("copy t from stdin", "script.copy-stdin@1:1"),
        ] {
            let found = prepared(Backend::Postgres, Transactions::One, text);
            assert_eq!(found.unwrap_err(), [expected], "{text}");
        }
    }

    #[test]
    fn a_new_value_of_an_enum_ends_a_transaction() {
        let used = "alter type m add value 'x'; create table t (a m default 'x')";
        assert_eq!(
            units(Transactions::One, used),
            [(0..1, How::Covered), (1..2, How::Covered)]
        );
        let script = prepared(Backend::Postgres, Transactions::One, used).unwrap();
        assert!(!script.whole && script.company == Company::NothingAfter);
        let unused = prepared(
            Backend::Postgres,
            Transactions::One,
            "alter type m add value 'x'; select 1",
        )
        .unwrap();
        assert!(unused.whole && unused.company == Company::NothingAfter);
    }

    #[test]
    fn a_transactions_isolation_is_the_scripts_own() {
        for (text, isolation, statements) in [
            (
                "begin isolation level repeatable read; select 1; commit",
                Some(Isolation::RepeatableRead),
                1,
            ),
            (
                "start transaction isolation level serializable; select 1; commit",
                Some(Isolation::Serializable),
                1,
            ),
            (
                "begin; set transaction isolation level repeatable read; select 1; commit",
                Some(Isolation::RepeatableRead),
                1,
            ),
            (
                "set transaction isolation level serializable, read write; select 1",
                Some(Isolation::Serializable),
                1,
            ),
            ("begin; select 1; commit", None, 1),
            ("select 1;\ncommit", None, 1),
        ] {
            let script = prepared(Backend::Postgres, Transactions::One, text).unwrap();
            assert_eq!(script.isolation, isolation, "{text}");
            assert_eq!(script.statements().len(), statements, "{text}");
            assert_eq!(
                script.company == Company::Nothing,
                isolation.is_some(),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_marked_so_runs_without_a_transaction() {
        for (text, how) in [
            ("do $$ begin commit; end $$", How::Alone(Alone::Unknown)),
            ("do $$ begin perform 1; end $$", How::Covered),
            ("call p()", How::Alone(Alone::Unknown)),
            ("cluster t using i", How::Alone(Alone::Repeatable)),
            ("reindex table t", How::Alone(Alone::Repeatable)),
        ] {
            assert_eq!(units(Transactions::PerStatement, text)[0].1, how, "{text}");
        }
        assert_eq!(units(Transactions::One, "call p()")[0].1, How::Covered);
        assert_eq!(
            units(Transactions::PerStatement, "begin; call p(); commit")[0].1,
            How::Covered
        );
    }

    #[test]
    fn foreign_keys_are_as_the_layouts_own_tool_has_them() {
        let section = Section::of_text("x.sql", "drop table org");
        for (layout, off) in [
            (Layout::Dbmate, true),
            (Layout::GolangMigrate, true),
            (Layout::Goose, true),
            (Layout::Flyway, true),
            (Layout::Ours, false),
            (Layout::Sqlx, false),
        ] {
            let script =
                Script::prepare(&section, Transactions::One, Backend::Sqlite, layout).unwrap();
            assert_eq!(script.foreign_keys.are_off(), off, "{layout}");
        }
    }

    #[test]
    fn rebuilds_of_sqlite_turn_the_foreign_keys_off() {
        for (text, expected) in [
            ("create table t (a)", ForeignKeys::Either),
            ("update t set a = 1", ForeignKeys::AsSet),
            (
                "pragma foreign_keys=off; delete from t; pragma foreign_keys=on",
                ForeignKeys::CheckedAtEnd,
            ),
            (
                "create table n (a); insert into n select * from t; drop table \"t\"; alter table n rename to t",
                ForeignKeys::CheckedAtEnd,
            ),
            (
                "drop table t; alter table n rename to u",
                ForeignKeys::Either,
            ),
        ] {
            let script = prepared(Backend::Sqlite, Transactions::One, text).unwrap();
            assert_eq!(script.foreign_keys, expected, "{text}");
        }
    }

    #[test]
    fn a_position_in_the_joined_text_finds_its_statement() {
        let script = prepared(Backend::Postgres, Transactions::One, "é;\n\nselect 1;\nx").unwrap();
        let joined = script.joined();
        for (what, expected) in [("é", (0, 1)), ("1", (1, 8)), ("x", (2, 1))] {
            let at = joined[..joined.find(what).unwrap()].chars().count() + 1;
            assert_eq!(script.located(at), Some(expected), "{what}");
        }
    }
}
