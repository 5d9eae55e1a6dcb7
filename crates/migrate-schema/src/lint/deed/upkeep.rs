//! Statements that keep tables in order, lock or describe them (PostgreSQL).

use super::column::skip_one;
use super::statement::tables;
use super::{Deed, ReindexOf};
use crate::db::Backend;
use crate::quote::TableName;
use crate::script::Cursor;
use crate::script::token::Kind;

/// What such a statement does.
pub(super) fn upkeep(cursor: &mut Cursor<'_>, first: &str) -> Option<Deed> {
    let backend = Backend::Postgres;
    let word = |cursor: &Cursor<'_>, word: &str| {
        let text = cursor.text;
        cursor.rest().iter().any(|token| token.is_word(text, word))
    };
    match first.to_ascii_lowercase().as_str() {
        "vacuum" => {
            let full = word(cursor, "full");
            if cursor.peek().is_some_and(|token| token.kind == Kind::Open) {
                skip_one(cursor);
            }
            while cursor.take_any(&["full", "freeze", "verbose", "analyze"]) {}
            Some(Deed::Vacuum {
                table: cursor.table(backend),
                full,
            })
        }
        "analyze" => {
            cursor.take(&["verbose"]);
            Some(Deed::Analyze(cursor.table(backend)))
        }
        "cluster" => {
            cursor.take(&["verbose"]);
            Some(Deed::Cluster(cursor.table(backend)))
        }
        "comment" => commented(cursor),
        "refresh" => {
            if !cursor.take(&["materialized", "view"]) {
                return None;
            }
            let concurrently = cursor.take(&["concurrently"]);
            Some(Deed::Refresh {
                view: cursor.table(backend)?,
                concurrently,
            })
        }
        "lock" => {
            cursor.take(&["table"]);
            let tables = tables(backend, cursor);
            let mode = if cursor.take(&["in"]) {
                let words: Vec<String> = cursor
                    .rest()
                    .iter()
                    .map(|token| token.text(cursor.text).to_lowercase())
                    .take_while(|word| word != "mode")
                    .collect();
                words.join(" ")
            } else {
                "access exclusive".to_owned()
            };
            Some(Deed::Lock { tables, mode })
        }
        "reindex" => reindexed(cursor),
        _ => None,
    }
}

fn commented(cursor: &mut Cursor<'_>) -> Option<Deed> {
    let backend = Backend::Postgres;
    cursor.take(&["on"]);
    if cursor.take(&["table"]) {
        return cursor.table(backend).map(Deed::Comment);
    }
    if cursor.take(&["column"]) {
        // `table.column` or `schema.table.column`.
        let mut names = vec![cursor.name(backend)?];
        while cursor.take_sign(".") {
            names.push(cursor.name(backend)?);
        }
        names.pop();
        let table = names.pop()?;
        return Some(Deed::Comment(TableName::new(
            names.pop().as_deref(),
            &table,
        )));
    }
    None
}

fn reindexed(cursor: &mut Cursor<'_>) -> Option<Deed> {
    let backend = Backend::Postgres;
    let text = cursor.text;
    let concurrently = cursor
        .rest()
        .iter()
        .any(|token| token.is_word(text, "concurrently"));
    if cursor.peek().is_some_and(|token| token.kind == Kind::Open) {
        skip_one(cursor);
    }
    let what = if cursor.take(&["index"]) {
        cursor.take(&["concurrently"]);
        ReindexOf::Index(cursor.table(backend)?)
    } else if cursor.take(&["table"]) {
        cursor.take(&["concurrently"]);
        ReindexOf::Table(cursor.table(backend)?)
    } else {
        ReindexOf::More
    };
    Some(Deed::Reindex { what, concurrently })
}
