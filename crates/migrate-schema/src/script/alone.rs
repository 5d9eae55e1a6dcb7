//! Statements that can't stand in a transaction, and what tells whether one took effect.

use super::cursor::Cursor;
use super::split;
use super::token::Kind;
use crate::db::Backend;
use crate::quote::TableName;

/// A statement that a transaction does not cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Alone {
    /// `CREATE [UNIQUE] INDEX CONCURRENTLY [IF NOT EXISTS] name ON table`.
    CreateIndex {
        /// None where PostgreSQL chooses it.
        name: Option<String>,
        table: TableName,
    },
    /// `DROP INDEX CONCURRENTLY [IF EXISTS] index`.
    DropIndex(TableName),
    /// `REINDEX … CONCURRENTLY …`.
    Reindex,
    /// `ALTER TABLE table DETACH PARTITION partition CONCURRENTLY | FINALIZE`.
    Detach {
        table: TableName,
        partition: TableName,
    },
    /// `CREATE DATABASE name`.
    CreateDatabase(String),
    /// `DROP DATABASE name`.
    DropDatabase(String),
    /// Does the same when it runs again: `VACUUM`, `ALTER SYSTEM`, a pragma, `ATTACH`.
    Repeatable,
    /// Whether it took effect can't be told by looking.
    Unknown,
}

impl Alone {
    /// What a statement is, if it can't stand in a transaction.
    pub(crate) fn of(backend: Backend, text: &str) -> Option<Self> {
        let mut cursor = Cursor::new(backend, text);
        match backend {
            Backend::Postgres => postgres(&mut cursor),
            Backend::Sqlite => sqlite(&mut cursor),
        }
    }
}

/// Whether a script holds a statement that can't stand in a transaction.
pub(crate) fn needs_no_transaction(backend: Backend, sql: &str) -> bool {
    const POSTGRES: &[&str] = &[
        "concurrently",
        "vacuum",
        "system",
        "database",
        "tablespace",
        "subscription",
        "finalize",
    ];
    const SQLITE: &[&str] = &["vacuum", "journal_mode", "detach", "attach"];
    let words = match backend {
        Backend::Postgres => POSTGRES,
        Backend::Sqlite => SQLITE,
    };
    // Splitting thousands of files only to find nothing would cost more than running them.
    words.iter().any(|word| contains_word(sql, word))
        && split(backend, sql)
            .into_iter()
            .any(|range| Alone::of(backend, &sql[range]).is_some())
}

fn contains_word(text: &str, word: &str) -> bool {
    let (text, word) = (text.as_bytes(), word.as_bytes());
    text.windows(word.len())
        .any(|window| window.eq_ignore_ascii_case(word))
}

fn postgres(cursor: &mut Cursor<'_>) -> Option<Alone> {
    if cursor.take(&["create"]) {
        return created(cursor);
    }
    if cursor.take(&["drop"]) {
        return dropped(cursor);
    }
    if cursor.take(&["alter", "system"]) || cursor.take(&["vacuum"]) {
        return Some(Alone::Repeatable);
    }
    if cursor.take(&["alter", "table"]) {
        cursor.take(&["if", "exists"]);
        cursor.take(&["only"]);
        let table = cursor.table(Backend::Postgres)?;
        if cursor.take(&["detach", "partition"]) {
            let partition = cursor.table(Backend::Postgres)?;
            if cursor.take_any(&["concurrently", "finalize"]) {
                return Some(Alone::Detach { table, partition });
            }
        }
        return None;
    }
    if cursor.take(&["reindex"]) {
        let whole = |cursor: &Cursor<'_>| {
            let text = cursor.text;
            cursor.rest().iter().any(|token| {
                ["concurrently", "database", "system", "schema"]
                    .iter()
                    .any(|word| token.is_word(text, word))
            })
        };
        return whole(cursor).then_some(Alone::Reindex);
    }
    None
}

fn created(cursor: &mut Cursor<'_>) -> Option<Alone> {
    if cursor.take(&["database"]) {
        return Some(Alone::CreateDatabase(cursor.name(Backend::Postgres)?));
    }
    if cursor.take_any(&["tablespace", "subscription"]) {
        return Some(Alone::Unknown);
    }
    cursor.take(&["unique"]);
    if !cursor.take(&["index", "concurrently"]) {
        return None;
    }
    cursor.take(&["if", "not", "exists"]);
    let name = if cursor
        .peek()
        .is_some_and(|token| token.is_word(cursor.text, "on"))
    {
        None
    } else {
        cursor.name(Backend::Postgres)
    };
    cursor.take(&["on"]);
    cursor.take(&["only"]);
    let table = cursor.table(Backend::Postgres)?;
    Some(Alone::CreateIndex { name, table })
}

fn dropped(cursor: &mut Cursor<'_>) -> Option<Alone> {
    if cursor.take(&["database"]) {
        cursor.take(&["if", "exists"]);
        return Some(Alone::DropDatabase(cursor.name(Backend::Postgres)?));
    }
    if cursor.take_any(&["tablespace", "subscription"]) {
        return Some(Alone::Unknown);
    }
    if !cursor.take(&["index", "concurrently"]) {
        return None;
    }
    cursor.take(&["if", "exists"]);
    Some(Alone::DropIndex(cursor.table(Backend::Postgres)?))
}

fn sqlite(cursor: &mut Cursor<'_>) -> Option<Alone> {
    if cursor.take_any(&["vacuum", "attach", "detach"]) {
        return Some(Alone::Repeatable);
    }
    if !cursor.take(&["pragma"]) {
        return None;
    }
    let name = cursor.name(Backend::Sqlite)?;
    let sets = cursor
        .peek()
        .is_some_and(|token| token.kind == Kind::Open || token.text(cursor.text) == "=");
    (sets && name.eq_ignore_ascii_case("journal_mode")).then_some(Alone::Repeatable)
}

/// `ALTER TYPE type ADD VALUE [IF NOT EXISTS] 'value'`: it may stand in a transaction, but
/// the value can be used only after its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AddedValue {
    /// The enum.
    pub(crate) enumeration: TableName,
    /// The value as it stands in the script, in quotes.
    pub(crate) literal: String,
}

impl AddedValue {
    pub(crate) fn of(backend: Backend, text: &str) -> Option<Self> {
        if backend == Backend::Sqlite {
            return None;
        }
        let mut cursor = Cursor::new(backend, text);
        if !cursor.take(&["alter", "type"]) {
            return None;
        }
        let enumeration = cursor.table(backend)?;
        if !cursor.take(&["add", "value"]) {
            return None;
        }
        cursor.take(&["if", "not", "exists"]);
        let token = cursor.peek().filter(|token| token.kind == Kind::Text)?;
        Some(Self {
            enumeration,
            literal: token.text(text).to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_stand_alone_are_told_apart() {
        let table = |name: &str| name.parse::<TableName>().unwrap();
        for (text, expected) in [
            (
                "create unique index concurrently if not exists \"I\" on only s.t (a)",
                Some(Alone::CreateIndex {
                    name: Some("I".to_owned()),
                    table: table("s.t"),
                }),
            ),
            (
                "CREATE INDEX CONCURRENTLY ON t (a)",
                Some(Alone::CreateIndex {
                    name: None,
                    table: table("t"),
                }),
            ),
            (
                "drop index concurrently if exists s.i",
                Some(Alone::DropIndex(table("s.i"))),
            ),
            (
                "reindex (verbose) index concurrently i",
                Some(Alone::Reindex),
            ),
            (
                "alter table p detach partition p1 concurrently",
                Some(Alone::Detach {
                    table: table("p"),
                    partition: table("p1"),
                }),
            ),
            ("vacuum analyze t", Some(Alone::Repeatable)),
            ("create index i on t (concurrently)", None),
            ("refresh materialized view concurrently v", None),
            ("alter table p detach partition p1", None),
            ("reindex index i", None),
        ] {
            assert_eq!(Alone::of(Backend::Postgres, text), expected, "{text}");
        }
        for (text, expected) in [
            ("pragma journal_mode = wal", true),
            ("pragma journal_mode", false),
            ("PRAGMA foreign_keys = off", false),
            ("vacuum", true),
        ] {
            assert_eq!(
                Alone::of(Backend::Sqlite, text).is_some(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_value_that_is_added_to_an_enum_is_found() {
        let found = AddedValue::of(
            Backend::Postgres,
            "ALTER TYPE s.mood ADD VALUE IF NOT EXISTS 'it''s' BEFORE 'x'",
        );
        assert_eq!(found.map(|found| found.literal).as_deref(), Some("'it''s'"));
        assert_eq!(
            AddedValue::of(Backend::Postgres, "alter type mood rename to m"),
            None
        );
    }
}
