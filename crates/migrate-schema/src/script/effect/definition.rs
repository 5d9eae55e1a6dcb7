//! Statements that define: `ALTER TABLE`, `CREATE`, `DROP`.

use super::super::cursor::Cursor;
use super::super::token::Kind;
use super::{DefaultValue, Effect};
use crate::db::Backend;

pub(super) fn alter_table(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Effect> {
    let lenient = cursor.take(&["if", "exists"]);
    cursor.take(&["only"]);
    let table = cursor.table(backend)?;
    if backend == Backend::Postgres || !cursor.take(&["add"]) {
        return Some(Effect::AlterTable((!lenient).then_some(table)));
    }
    cursor.take(&["column"]);
    let column = cursor.name(backend)?;
    Some(Effect::AddColumn {
        table,
        column,
        default: default_value(cursor),
    })
}

/// Looks for `DEFAULT` outside parentheses and at what follows it.
fn default_value(cursor: &Cursor<'_>) -> DefaultValue {
    let mut depth = 0_usize;
    let rest = cursor.rest();
    for (at, token) in rest.iter().enumerate() {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            Kind::Word if depth == 0 && token.is_word(cursor.text, "default") => {
                let now = ["current_timestamp", "current_date", "current_time"];
                let expression = rest.get(at + 1).is_some_and(|value| {
                    value.kind == Kind::Open
                        || now.iter().any(|word| value.is_word(cursor.text, word))
                });
                if expression {
                    return DefaultValue::Expression;
                }
            }
            _ => {}
        }
    }
    DefaultValue::Constant
}

pub(super) fn create(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Effect> {
    let replaces = cursor.take(&["or", "replace"]);
    if cursor.take_any(&["function", "procedure"]) {
        let name = cursor.table(backend)?;
        return Some(if replaces {
            Effect::ReplaceRoutine(name)
        } else {
            Effect::CreateOther
        });
    }
    let temporary = cursor.take_any(&["temp", "temporary"]);
    cursor.take(&["unlogged"]);
    if cursor.take(&["table"]) {
        if cursor.take(&["if", "not", "exists"]) {
            return Some(Effect::CreateTableIfMissing);
        }
        let name = cursor.table(backend)?;
        return Some(Effect::CreateTable((!temporary).then_some(name)));
    }
    cursor.take(&["unique"]);
    let known = cursor.take_any(&[
        "index",
        "view",
        "trigger",
        "type",
        "domain",
        "sequence",
        "schema",
        "extension",
    ]);
    (known && !replaces).then_some(Effect::CreateOther)
}

pub(super) fn drop(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Effect> {
    if backend == Backend::Postgres && cursor.take_any(&["function", "procedure", "routine"]) {
        cursor.take(&["if", "exists"]);
        return Some(Effect::DropRoutine {
            signature: routine_signature(cursor)?,
        });
    }
    cursor
        .take_any(&["index", "view", "trigger"])
        .then_some(Effect::DropOther)
}

/// The text of one routine's name and arguments; none if several are named.
fn routine_signature(cursor: &Cursor<'_>) -> Option<String> {
    let rest = cursor.rest();
    let mut depth = 0_usize;
    let mut end = rest.first()?.start;
    for token in rest {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            Kind::Sign if depth == 0 && token.text(cursor.text) == "," => return None,
            Kind::Word
                if depth == 0
                    && (token.is_word(cursor.text, "cascade")
                        || token.is_word(cursor.text, "restrict")) =>
            {
                break;
            }
            _ => {}
        }
        end = token.end;
    }
    Some(cursor.text[rest[0].start..end].to_owned())
}
