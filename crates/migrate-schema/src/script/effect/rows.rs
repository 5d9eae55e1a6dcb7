//! Statements about rows, transactions and settings.

use super::super::cursor::Cursor;
use super::super::token::Kind;
use super::Effect;
use crate::db::Backend;

pub(super) fn update(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Effect> {
    cursor.take(&["only"]);
    let table = cursor.table(backend)?;
    if cursor.take(&["as"]) || !cursor.take(&["set"]) {
        return None;
    }
    let mut columns = Vec::new();
    loop {
        columns.push(cursor.name(backend)?);
        if !cursor.take_sign("=") {
            return None;
        }
        let mut depth = 0_usize;
        loop {
            let Some(token) = cursor.peek() else {
                return Some(Effect::Update { table, columns });
            };
            cursor.at += 1;
            match token.kind {
                Kind::Open => depth += 1,
                Kind::Close => depth = depth.saturating_sub(1),
                Kind::Sign if depth == 0 && token.text(cursor.text) == "," => break,
                Kind::Word
                    if depth == 0
                        && ["where", "from", "returning"]
                            .iter()
                            .any(|word| token.is_word(cursor.text, word)) =>
                {
                    return Some(Effect::Update { table, columns });
                }
                _ => {}
            }
        }
    }
}

pub(super) fn insert(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Effect> {
    let table = cursor.table(backend)?;
    let upserts = cursor
        .rest()
        .iter()
        .any(|token| token.is_word(cursor.text, "conflict"));
    (!upserts).then_some(Effect::Insert(table))
}

pub(super) fn pragma(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Effect> {
    let name = cursor.table(backend)?.table().to_lowercase();
    let value = if cursor.take_sign("=") || cursor.take_sign("(") {
        let rest = cursor.rest();
        let value = rest.first().map(|token| token.text(cursor.text));
        Some(value.unwrap_or_default().trim_matches('\'').to_lowercase())
    } else {
        None
    };
    Some(Effect::Pragma { name, value })
}

pub(super) fn other(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Effect> {
    if cursor.take_any(&["savepoint", "release"])
        || cursor.take(&["rollback", "to"])
        || cursor.take(&["rollback", "work", "to"])
        || cursor.take(&["rollback", "transaction", "to"])
    {
        return Some(Effect::Savepoint);
    }
    if cursor.take_any(&["begin", "commit", "rollback", "end"])
        || (backend == Backend::Postgres
            && (cursor.take(&["abort"])
                || cursor.take(&["start", "transaction"])
                || cursor.take(&["prepare", "transaction"])))
    {
        return Some(Effect::TransactionControl);
    }
    cursor
        .take_any(&[
            "select", "values", "explain", "analyze", "reindex", "comment",
        ])
        .then_some(Effect::Harmless)
}
