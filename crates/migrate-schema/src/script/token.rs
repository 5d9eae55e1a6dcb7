//! Tokens of SQL, just fine enough to find where statements end and what they begin with.

use crate::db::Backend;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Spaces and comments.
    Trivia,
    /// A name or keyword without quotes.
    Word,
    /// A name in quotes.
    QuotedName,
    /// A text or blob in quotes.
    Text,
    /// A number.
    Number,
    /// `;`
    Semicolon,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `\`, which is no SQL: a meta command of psql begins with it.
    Backslash,
    /// Any other sign.
    Sign,
    /// A text, name or comment that the end of the file cuts off.
    Unterminated,
}

/// A token and where it stands, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Token {
    pub(crate) fn text<'t>(&self, text: &'t str) -> &'t str {
        &text[self.start..self.end]
    }

    /// Whether it is this keyword, in any case, without quotes.
    pub(crate) fn is_word(&self, text: &str, word: &str) -> bool {
        self.kind == Kind::Word && self.text(text).eq_ignore_ascii_case(word)
    }
}

/// All tokens of a text; they cover it without a gap.
pub(crate) fn tokens(backend: Backend, text: &str) -> Vec<Token> {
    match backend {
        #[cfg(feature = "postgres")]
        Backend::Postgres => super::postgres_lexer::tokens(text),
        #[cfg(not(feature = "postgres"))]
        Backend::Postgres => super::sqlite_lexer::tokens(text),
        Backend::Sqlite => super::sqlite_lexer::tokens(text),
    }
}

/// The tokens that mean something.
pub(crate) fn significant(backend: Backend, text: &str) -> Vec<Token> {
    tokens(backend, text)
        .into_iter()
        .filter(|token| token.kind != Kind::Trivia)
        .collect()
}
