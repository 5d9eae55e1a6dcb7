//! Which database migrations are written for, by what they say.

use crate::db::Backend;
use crate::layout::SourceFile;

/// Words that only SQLite knows.
const SQLITE: [&str; 5] = [
    "autoincrement",
    "pragma ",
    "without rowid",
    "fts5",
    "sqlite_master",
];

/// Words that only PostgreSQL knows.
const POSTGRES: [&str; 14] = [
    "$$",
    "plpgsql",
    "jsonb",
    "timestamptz",
    "bigserial",
    " serial",
    "concurrently",
    "create extension",
    "create type",
    "::text",
    "uuid_",
    "create schema",
    "execute function",
    "execute procedure",
];

/// What the files say they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    /// One database, as far as words tell.
    For(Backend),
    /// No word tells.
    Nothing,
    /// Words of both.
    Both,
}

/// Guesses from words that only one database knows; a trigger with a body is SQLite's.
pub fn guess_backend(files: &[SourceFile]) -> Guess {
    let (mut sqlite, mut postgres) = (false, false);
    for file in files {
        let text = file.text.to_lowercase();
        postgres |= POSTGRES.iter().any(|word| text.contains(word));
        sqlite |= SQLITE.iter().any(|word| text.contains(word)) || has_trigger_body(&text);
    }
    match (sqlite, postgres) {
        (true, false) => Guess::For(Backend::Sqlite),
        (false, true) => Guess::For(Backend::Postgres),
        (false, false) => Guess::Nothing,
        (true, true) => Guess::Both,
    }
}

/// `CREATE TRIGGER … BEGIN`; PostgreSQL's call a function.
fn has_trigger_body(text: &str) -> bool {
    text.match_indices("create trigger").any(|(at, _)| {
        let rest = &text[at..];
        let body = rest.find("begin");
        let call = rest.find("execute");
        body.is_some_and(|body| call.is_none_or(|call| body < call))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_database_tell() {
        for (text, expected) in [
            (
                "create trigger t after insert on a begin update b set c = 1; end;",
                Guess::For(Backend::Sqlite),
            ),
            (
                "create trigger t before update on a for each row execute function f();",
                Guess::For(Backend::Postgres),
            ),
            (
                "create table t (id integer primary key autoincrement)",
                Guess::For(Backend::Sqlite),
            ),
            ("create table t (a jsonb)", Guess::For(Backend::Postgres)),
            ("create table t (a int)", Guess::Nothing),
            ("pragma foreign_keys=off; create extension x", Guess::Both),
        ] {
            assert_eq!(
                guess_backend(&[SourceFile::new("1_a.sql", text)]),
                expected,
                "{text}"
            );
        }
    }
}
