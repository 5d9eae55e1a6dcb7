//! A section made ready to run: its statements, and what must run together.

use std::ops::Range;

use migrate_core::{Finding, Place};

use crate::db::{Backend, DbError};
use crate::layout::{Layout, Section, Transactions};
use crate::script::{AddedValue, Alone, Effect, reads_stdin, split, token, unreadable};

/// One direction of a migration, split and checked.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    section: Section,
    backend: Backend,
    /// The statements that run, as bytes of the section.
    statements: Vec<Range<usize>>,
    /// What runs together, in order, as ranges of `statements`.
    units: Vec<Unit>,
    /// Whether it runs in one transaction with its record.
    pub(crate) whole: bool,
    /// Whether a transaction must end after it, before what it added can be used.
    pub(crate) ends_transaction: bool,
    /// Whether it changes what holds for the session (`SET …`).
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "SQLite's pragmas are no session settings")
    )]
    pub(crate) sets_session: bool,
    /// What it asks of SQLite's foreign keys.
    pub(crate) foreign_keys: ForeignKeys,
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
        Ok(reading.finish(section))
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

/// What is known while the statements of a section are read one after the other.
struct Reading {
    backend: Backend,
    transactions: Transactions,
    statements: Vec<Range<usize>>,
    units: Vec<Unit>,
    /// The first statement of a transaction that the script itself began.
    open: Option<usize>,
    added: Vec<AddedValue>,
    /// The statement after which a transaction must end because a later one uses a new value.
    cut_after: Option<usize>,
    sets_session: bool,
    foreign_keys: ForeignKeys,
    dropped: Vec<String>,
}

impl Reading {
    fn new(backend: Backend, transactions: Transactions) -> Self {
        Self {
            backend,
            transactions,
            statements: Vec::new(),
            units: Vec::new(),
            open: None,
            added: Vec::new(),
            cut_after: None,
            sets_session: false,
            foreign_keys: ForeignKeys::Either,
            dropped: Vec::new(),
        }
    }

    fn see(&mut self, text: &str, range: &Range<usize>, layout: Layout) -> Result<(), Finding> {
        if self.backend == Backend::Postgres
            && let Some(finding) = reads_stdin(self.backend, text)
        {
            return Err(finding);
        }
        let effect = Effect::of(self.backend, text);
        if effect == Effect::TransactionControl {
            return self.transaction_control(text);
        }
        if let Effect::Pragma { name, value } = &effect
            && name == "foreign_keys"
            && self.transactions == Transactions::One
        {
            // It has no effect inside the transaction; what it asks for is done outside.
            if value.as_deref().is_some_and(is_off) {
                self.foreign_keys = ForeignKeys::CheckedAtEnd;
            }
            return Ok(());
        }
        let how = self.how(text, &effect, layout)?;
        self.look_at_foreign_keys(text);
        let number = self.statements.len();
        if self.added.iter().any(|added| text.contains(&added.literal)) {
            self.cut_after.get_or_insert(number - 1);
        }
        self.added.extend(AddedValue::of(self.backend, text));
        self.statements.push(range.clone());
        let joins = self.open.is_some() && how == How::Covered;
        match self.units.last_mut() {
            Some(last) if joins && self.open != Some(number) => last.statements.end = number + 1,
            _ => self.units.push(Unit {
                statements: number..number + 1,
                how,
            }),
        }
        Ok(())
    }

    fn how(&mut self, text: &str, effect: &Effect, layout: Layout) -> Result<How, Finding> {
        if let Some(alone) = Alone::of(self.backend, text) {
            if self.transactions == Transactions::One || self.open.is_some() {
                let first: Vec<&str> = text.split_whitespace().take(3).collect();
                return Err(Finding::error(
                    "script.not-transactional",
                    format!("{} … can't run inside a transaction", first.join(" ")),
                )
                .hint(layout.no_transaction_mark()));
            }
            return Ok(How::Alone(alone));
        }
        if sets_session(self.backend, text, effect) {
            self.sets_session = true;
            return Ok(How::Session);
        }
        Ok(How::Covered)
    }

    /// The script's own BEGIN and COMMIT: we open and end the transaction ourselves, so that
    /// it also covers our record.
    fn transaction_control(&mut self, text: &str) -> Result<(), Finding> {
        let first = text
            .split(|letter: char| !letter.is_alphabetic())
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        match (first.as_str(), self.open) {
            ("begin" | "start", None) => self.open = Some(self.statements.len()),
            ("commit" | "end", Some(_)) => self.open = None,
            ("commit" | "end", None) => {
                return Err(Finding::error(
                    "script.transaction",
                    "the script ends a transaction that it did not begin",
                )
                .hint("remove it: each migration runs in a transaction of its own"));
            }
            ("begin" | "start", Some(_)) => {
                return Err(Finding::error(
                    "script.transaction",
                    "the script begins a transaction inside another",
                )
                .hint("remove it, or end the one before"));
            }
            _ => {
                return Err(Finding::error(
                    "script.transaction",
                    "the script takes its own transaction back",
                )
                .hint("remove ROLLBACK and PREPARE TRANSACTION"));
            }
        }
        Ok(())
    }

    /// A rebuild drops a table and gives its name to another: with foreign keys enforced
    /// the drop would delete the rows that refer to it.
    fn look_at_foreign_keys(&mut self, text: &str) {
        if self.backend == Backend::Postgres || self.foreign_keys == ForeignKeys::CheckedAtEnd {
            return;
        }
        let mut words = text.split_whitespace().map(|word| {
            word.trim_matches(['"', '`', '[', ']', '\''])
                .to_ascii_lowercase()
        });
        let head = (words.next(), words.next());
        let head = (head.0.as_deref(), head.1.as_deref());
        match head {
            (Some("drop"), Some("table")) => {
                let name = words.find(|word| word != "if" && word != "exists");
                self.dropped.extend(name);
            }
            (Some("alter"), Some("table")) => {
                let all: Vec<String> = words.collect();
                if let [_, rename, to, name] = all.as_slice()
                    && rename == "rename"
                    && to == "to"
                    && self.dropped.contains(name)
                {
                    self.foreign_keys = ForeignKeys::CheckedAtEnd;
                }
            }
            (Some("delete" | "update" | "replace"), _) => self.foreign_keys = ForeignKeys::AsSet,
            _ => {}
        }
    }

    fn finish(mut self, section: &Section) -> Script {
        let backend = self.backend;
        let mut whole = self.transactions == Transactions::One;
        if let (true, Some(cut)) = (whole, self.cut_after) {
            // The new value can be used only after a commit: two transactions, one after the other.
            whole = false;
            let all = self.statements.len();
            let covered = |statements| Unit {
                statements,
                how: How::Covered,
            };
            self.units = vec![covered(0..cut + 1), covered(cut + 1..all)];
        }
        Script {
            section: section.clone(),
            backend,
            ends_transaction: !self.added.is_empty(),
            statements: self.statements,
            units: self.units,
            whole,
            sets_session: self.sets_session,
            foreign_keys: self.foreign_keys,
        }
    }
}

fn is_off(value: &str) -> bool {
    matches!(value, "off" | "0" | "false" | "no")
}

/// Whether a statement changes what holds for the rest of the session.
fn sets_session(backend: Backend, text: &str, effect: &Effect) -> bool {
    match backend {
        Backend::Sqlite => matches!(effect, Effect::Pragma { .. }),
        Backend::Postgres => {
            let mut words = text.split_whitespace();
            let first = words.next().unwrap_or_default().to_ascii_lowercase();
            match first.as_str() {
                "set" | "reset" | "discard" | "load" | "listen" | "prepare" | "deallocate" => true,
                "select" => text.contains("set_config"),
                _ => false,
            }
        }
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
            ("select 1;\ncommit", "script.transaction@2:1"),
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
        assert!(!script.whole && script.ends_transaction);
        let unused = prepared(
            Backend::Postgres,
            Transactions::One,
            "alter type m add value 'x'; select 1",
        )
        .unwrap();
        assert!(unused.whole && unused.ends_transaction);
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
