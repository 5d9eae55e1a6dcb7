//! Reads a section's statements one after the other, and puts them into units.

use std::ops::Range;

use migrate_core::Finding;

use super::script::{Company, ForeignKeys, How, Isolation, Script, Unit};
use crate::db::Backend;
use crate::layout::{Layout, Section, Transactions};
use crate::script::{AddedValue, Alone, Effect, reads_stdin};

/// What is known while the statements of a section are read one after the other.
pub(super) struct Reading {
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
    sets_transaction: bool,
    isolation: Option<Isolation>,
    /// It ended a transaction that it did not begin; fine as the last statement only.
    ended: bool,
    foreign_keys: ForeignKeys,
    dropped: Vec<String>,
}

impl Reading {
    pub(super) fn new(backend: Backend, transactions: Transactions) -> Self {
        Self {
            backend,
            transactions,
            statements: Vec::new(),
            units: Vec::new(),
            open: None,
            added: Vec::new(),
            cut_after: None,
            sets_session: false,
            sets_transaction: false,
            isolation: None,
            ended: false,
            foreign_keys: ForeignKeys::Either,
            dropped: Vec::new(),
        }
    }

    pub(super) fn see(
        &mut self,
        text: &str,
        range: &Range<usize>,
        layout: Layout,
    ) -> Result<(), Finding> {
        if self.ended {
            return Err(ended_too_early());
        }
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
        if self.backend == Backend::Postgres && sets_isolation(text) {
            self.isolation = Isolation::of(text);
            self.sets_transaction |= self.isolation.is_some();
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
        let bare = self.transactions == Transactions::PerStatement && self.open.is_none();
        if let Some(alone) = unfit_for_a_transaction(self.backend, text)
            && bare
        {
            return Ok(How::Alone(alone));
        }
        if sets_session(self.backend, text, effect) {
            self.sets_session = true;
            self.sets_transaction |= sets_transaction(text);
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
            ("begin" | "start", None) => {
                self.open = Some(self.statements.len());
                if self.backend == Backend::Postgres
                    && let Some(isolation) = Isolation::of(text)
                {
                    self.isolation = Some(isolation);
                    self.sets_transaction = true;
                }
            }
            ("commit" | "end", Some(_)) => self.open = None,
            ("commit" | "end", None) => self.ended = true,
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

    pub(super) fn finish(mut self, section: &Section) -> Script {
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
            company: if self.sets_transaction {
                Company::Nothing
            } else if self.added.is_empty() {
                Company::Any
            } else {
                Company::NothingAfter
            },
            statements: self.statements,
            units: self.units,
            whole,
            isolation: self.isolation,
            sets_session: self.sets_session,
            foreign_keys: self.foreign_keys,
        }
    }
}

/// Tools that send a file as it is let a last COMMIT end it; nothing may follow.
fn ended_too_early() -> Finding {
    Finding::error(
        "script.transaction",
        "this follows a COMMIT of a transaction that the script did not begin",
    )
    .hint("remove the COMMIT: each migration runs in a transaction of its own")
}

/// `SET TRANSACTION ISOLATION LEVEL …`, which must come before the first query: the transaction
/// is begun with it.
fn sets_isolation(text: &str) -> bool {
    let words: Vec<String> = text
        .split_whitespace()
        .take(4)
        .map(str::to_ascii_lowercase)
        .collect();
    words == ["set", "transaction", "isolation", "level"]
}

/// A statement that may commit by itself, or that a transaction can't hold for every table: a
/// mark that a file runs without a transaction is meant for it.
fn unfit_for_a_transaction(backend: Backend, text: &str) -> Option<Alone> {
    if backend == Backend::Sqlite {
        return None;
    }
    let first = text.split(|letter: char| !letter.is_alphabetic()).next()?;
    match first.to_ascii_lowercase().as_str() {
        "call" => Some(Alone::Unknown),
        "do" => {
            let mut words = text.split(|letter: char| !letter.is_alphabetic());
            let commits = words.any(|word| {
                ["commit", "rollback", "call"]
                    .iter()
                    .any(|one| word.eq_ignore_ascii_case(one))
            });
            commits.then_some(Alone::Unknown)
        }
        "cluster" | "reindex" => Some(Alone::Repeatable),
        _ => None,
    }
}

fn is_off(value: &str) -> bool {
    matches!(value, "off" | "0" | "false" | "no")
}

/// Whether one that sets something sets it for its transaction: nothing takes that back before its end.
fn sets_transaction(text: &str) -> bool {
    let mut words = text.split_whitespace();
    if !words
        .next()
        .is_some_and(|word| word.eq_ignore_ascii_case("set"))
    {
        return false;
    }
    let what = words.map(str::to_ascii_lowercase);
    let mut what = what.skip_while(|word| matches!(word.as_str(), "local" | "session"));
    what.next()
        .is_some_and(|word| word == "constraints" || word.starts_with("transaction"))
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
