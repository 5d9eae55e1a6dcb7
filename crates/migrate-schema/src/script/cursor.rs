//! Reads a statement's tokens from the left.

use super::token::{Kind, Token, significant};
use crate::db::Backend;
use crate::quote::TableName;

/// The tokens of one statement, read from the left.
pub(crate) struct Cursor<'t> {
    pub(crate) text: &'t str,
    tokens: Vec<Token>,
    pub(crate) at: usize,
}

impl<'t> Cursor<'t> {
    pub(crate) fn new(backend: Backend, text: &'t str) -> Self {
        Self {
            text,
            tokens: significant(backend, text),
            at: 0,
        }
    }

    /// Over some of a statement's tokens.
    #[cfg(feature = "lint")]
    pub(crate) fn over(text: &'t str, tokens: &[Token]) -> Self {
        Self {
            text,
            tokens: tokens.to_vec(),
            at: 0,
        }
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &[Token] {
        &self.tokens[self.at..]
    }

    pub(crate) fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    /// Takes the words if all of them come next.
    pub(crate) fn take(&mut self, words: &[&str]) -> bool {
        let fits = words.iter().enumerate().all(|(offset, word)| {
            self.tokens
                .get(self.at + offset)
                .is_some_and(|token| token.is_word(self.text, word))
        });
        if fits {
            self.at += words.len();
        }
        fits
    }

    /// Takes one of the words.
    pub(crate) fn take_any(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.take(&[word]))
    }

    pub(crate) fn take_sign(&mut self, sign: &str) -> bool {
        let fits = self
            .peek()
            .is_some_and(|token| token.kind != Kind::Text && token.text(self.text) == sign);
        self.at += usize::from(fits);
        fits
    }

    /// Takes a name, unquoted.
    pub(crate) fn name(&mut self, backend: Backend) -> Option<String> {
        let token = self.peek()?;
        let name = object_name(backend, token.kind, token.text(self.text))?;
        self.at += 1;
        Some(name)
    }

    pub(crate) fn table(&mut self, backend: Backend) -> Option<TableName> {
        let first = self.name(backend)?;
        if !self.take_sign(".") {
            return Some(TableName::new(None, &first));
        }
        let second = self.name(backend)?;
        Some(TableName::new(Some(&first), &second))
    }
}

/// The name that a token stands for: without quotes, and in small letters where PostgreSQL
/// folds it. SQLite takes a text in quotes for a name too.
fn object_name(backend: Backend, kind: Kind, text: &str) -> Option<String> {
    match kind {
        Kind::Word if backend == Backend::Postgres => Some(text.to_lowercase()),
        Kind::Word => Some(text.to_owned()),
        Kind::Text if backend == Backend::Postgres => None,
        Kind::QuotedName | Kind::Text if text.len() >= 2 => {
            let quote = text.chars().last()?;
            let inner = text.get(1..text.len() - 1)?;
            Some(inner.replace(&format!("{quote}{quote}"), &quote.to_string()))
        }
        _ => None,
    }
}

/// The table that an index, trigger or policy is on: what follows the first `ON` of its text.
pub(crate) fn table_after_on(text: &str) -> Option<TableName> {
    let mut cursor = Cursor::new(Backend::Sqlite, text);
    while cursor.peek().is_some() {
        if cursor.take(&["on"]) {
            cursor.take(&["only"]);
            return cursor.table(Backend::Sqlite);
        }
        cursor.at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_an_index_or_trigger_is_found() {
        for (text, expected) in [
            (
                "CREATE INDEX theirs ON public.pipeline_metrics USING btree (labels)",
                "public.pipeline_metrics",
            ),
            ("create index \"on x\" on [my t](a)", "my t"),
            ("CREATE INDEX i ON ONLY s.t USING btree (a)", "s.t"),
            (
                "create trigger t after insert on t2 begin select 1; end",
                "t2",
            ),
        ] {
            assert_eq!(
                table_after_on(text),
                Some(expected.parse().unwrap()),
                "{text}"
            );
        }
        assert_eq!(table_after_on("create view v as select 1"), None);
    }
}
